//! The services of a running daemon's forwarder in every list, and what comes of attempts to change them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use holdfast::ipvs::kernel::Kernel;
use holdfast::lab::director::{Daemon, Director};
use holdfast::lab::host::Host;
use holdfast::lab::lan;
use holdfast::lab::server::Server;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::common::needs_root;

const PATIENCE: Duration = Duration::from_secs(60);
/// Where the node has the program under test.
const HOLDFAST: &str = "/run/lab/holdfast";
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: vip\r\n\r\n";
/// One with affinity and thresholds, and one of UDP.
const CONFIG: &str = "
global_defs {
    virtual_server_forwarder userspace
}
virtual_server 10.9.0.1 80 {
    lb_algo wrr
    persistence_timeout 60
    persistence_granularity 255.255.255.0
    protocol TCP
    real_server 10.9.0.2 8080 { weight 3 }
    real_server 10.9.0.3 8080 {
        weight 1
        uthreshold 50
        lthreshold 20
    }
}
virtual_server 10.9.0.1 53 {
    lb_algo rr
    protocol UDP
    real_server 10.9.0.2 53 { weight 1 }
}
";

/// A node with a daemon, real servers and a client, all in one network namespace.
struct Node {
    director: Director,
    _servers: Vec<Server>,
}

impl Node {
    fn start(options: &[&str]) -> Self {
        let host = Host::new("balancer").unwrap();
        lan::set_up(&host, "lo", true).unwrap();
        for last in 1..=3 {
            lan::add_address(&host, "lo", Ipv4Addr::new(10, 9, 0, last).into(), 32).unwrap();
        }
        let servers = vec![Server::start_on(&host, 8080).unwrap()];
        let options = ["-C"].iter().chain(options).map(|option| (*option).to_owned()).collect();
        let daemon = Daemon { program: env!("CARGO_BIN_EXE_holdfast").into(), options };
        let mut director = Director::new(host, daemon, CONFIG, Vec::new()).unwrap();
        director.start().unwrap();
        Self { director, _servers: servers }
    }

    /// Exit code, standard output and standard error of `holdfast ipvsadm`.
    fn ipvsadm(&self, line: &str, input: &'static str) -> (i32, String, String) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        self.director.host().run(move || {
            let mut command = Command::new(HOLDFAST);
            command.arg("ipvsadm").args(words).stdin(Stdio::piped());
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            // One that does not read its input has ended.
            let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
            let output = child.wait_with_output().unwrap();
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
        })
    }

    /// The rows of a list, without the heading.
    fn rows(&self, line: &str) -> Vec<String> {
        let (code, output, errors) = self.ipvsadm(line, "");
        assert_eq!((code, errors.as_str()), (0, ""), "{line}\n{output}");
        assert!(output.starts_with("IP Virtual Server version "), "{output}");
        output.lines().skip(3).map(str::to_owned).collect()
    }

    fn json(&self, line: &str) -> Value {
        let (code, output, errors) = self.ipvsadm(&format!("{line} --json"), "");
        assert_eq!((code, errors.as_str()), (0, ""), "{line}");
        serde_json::from_str(&output).unwrap()
    }

    /// Until there are both services.
    fn wait_ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (code, output, errors) = self.ipvsadm("-L -n", "");
            if code == 0 && output.lines().filter(|line| line.contains("10.9.0.1:")).count() == 2 {
                return;
            }
            assert!(Instant::now() < deadline, "{code}\n{output}\n{errors}\n{:?}", self.director.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// One request over a connection that stays open.
    fn connect(&self) -> TcpStream {
        self.director.host().run(|| {
            let address = SocketAddr::from(([10, 9, 0, 1], 80));
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(REQUEST.as_bytes()).unwrap();
            assert!(stream.read(&mut [0; 512]).unwrap() > 0);
            stream
        })
    }
}

#[test]
fn the_forwarders_services_are_in_every_list() {
    needs_root!();
    let node = Node::start(&[]);
    node.wait_ready();
    // One client is kept with one real server, and round robin begins with the heaviest.
    let held = [node.connect(), node.connect()];
    assert_eq!(
        node.rows("-L -n"),
        [
            "TCP  10.9.0.1:80 wrr persistent 60 mask 255.255.255.0",
            "  -> 10.9.0.2:8080                Proxy   3      2          0         ",
            "  -> 10.9.0.3:8080                Proxy   1      0          0         ",
            "UDP  10.9.0.1:53 rr",
            "  -> 10.9.0.2:53                  Proxy   1      0          0         ",
        ]
    );
    let fields = |row: &str| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let stats = node.rows("-L -n --stats --exact");
    let (service, server) = (fields(&stats[0]), fields(&stats[1]));
    assert_eq!((service[1].as_str(), service[2].as_str()), ("10.9.0.1:80", "2"));
    assert_eq!((server[1].as_str(), server[2].as_str()), ("10.9.0.2:8080", "2"));
    assert_eq!((service[5].parse::<usize>().unwrap(), service[6] == "0"), (2 * REQUEST.len(), false));
    assert_eq!(service[2..], server[2..]);
    assert_eq!(
        node.rows("-L -n --thresholds")[2],
        "  -> 10.9.0.3:8080                50         20         0          0         "
    );
    assert_eq!(
        node.rows("-L -n --persistent-conn")[1],
        "  -> 10.9.0.2:8080                3         1           2          0         "
    );
    // Nothing came in the second that is measured, whatever came before.
    assert_eq!(fields(&node.rows("-L -n --rate")[0])[2..], ["0", "0", "0", "0", "0"]);
    let (code, one, errors) = node.ipvsadm("-L -n -u 10.9.0.1:53", "");
    assert_eq!((code, errors.as_str()), (0, ""));
    assert_eq!(one.lines().nth(2), Some("UDP  10.9.0.1:53 rr"), "{one}");

    let json = node.json("-L");
    let service = &json["services"][0];
    assert_eq!(
        (&service["data_plane"], &service["configured_in"], &service["persistence"]["timeout"]),
        (&"userspace".into(), &holdfast::lab::director::CONFIG.into(), &60.into())
    );
    assert_eq!(service["real_servers"][0]["active_connections"], 2);
    assert_eq!(json.get("ipvs_version").is_some(), Kernel::available());
    drop(held);
}

#[test]
fn what_is_in_the_file_is_not_changed_by_hand() {
    needs_root!();
    let node = Node::start(&[]);
    node.wait_ready();
    let before = node.rows("-L -n");
    let file = holdfast::lab::director::CONFIG;
    let says = |line: &str, input| {
        let (code, output, errors) = node.ipvsadm(line, input);
        assert_eq!((code, output.as_str()), (255, ""), "{line}\n{errors}");
        errors
    };
    let plain = format!(
        "10.9.0.1:80 tcp is carried by the userspace forwarder: it is changed in {file}, followed by `holdfast reload`"
    );
    for line in ["-A -t 10.9.0.1:80", "-D -t 10.9.0.1:80", "-a -t 10.9.0.1:80 -r 10.9.0.4 -m"] {
        assert_eq!(says(line, ""), format!("{plain}\n"), "{line}");
    }
    assert!(says("-d -t 10.9.0.1:80 -r 10.9.0.2:8080", "").contains("`holdfast drain 10.9.0.2:8080`"));
    assert_eq!(says("-R", "-A -t 10.9.0.1:80 -s rr\n"), format!("line 1: {plain}\n"));
    // What is saved is what can be restored: the kernel's table.
    let (code, saved, errors) = node.ipvsadm("-S -n", "");
    assert_eq!(saved, "");
    if Kernel::available() {
        assert_eq!((code, errors.as_str()), (0, ""));
    } else {
        let told =
            format!("The userspace forwarder carries 2 services of {file}; `{HOLDFAST} ipvsadm -L` shows them.\n");
        assert_eq!((code, errors.ends_with(&told)), (2, true), "{errors}");
    }
    assert_eq!(node.rows("-L -n"), before);
}

/// The daemon answers, and has nobody who knows the forwarder's table.
#[test]
fn a_balancer_process_that_stands_still_is_named() {
    needs_root!();
    let node = Node::start(&[]);
    let deadline = Instant::now() + PATIENCE;
    while !node.ipvsadm("-L -n", "").1.contains("UDP  10.9.0.1:53 rr") {
        assert!(Instant::now() < deadline, "{:?}", node.ipvsadm("-L -n", ""));
        std::thread::sleep(Duration::from_millis(50));
    }
    // The only child there is. The pid file has its number in the node's own namespace.
    let main = node.director.pid().expect("it runs");
    let children = std::fs::read_to_string(format!("/proc/{main}/task/{main}/children")).expect("it is there");
    let pid = Pid::from_raw(children.trim().parse().expect("one child"));
    kill(pid, Signal::SIGSTOP).expect("it runs");
    // An answer of a moment ago may be shown once more.
    let file = holdfast::lab::director::CONFIG;
    let words = format!("the userspace forwarder of {file} is not shown: the balancer process does not answer");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, output, errors) = node.ipvsadm("-L -n", "");
        if errors.contains(&words) {
            assert!(!output.contains("10.9.0.1"), "{output}");
            break;
        }
        assert!(Instant::now() < deadline, "{output}{errors}");
    }
    kill(pid, Signal::SIGCONT).expect("it is there");
}

#[test]
fn a_daemon_elsewhere_is_asked_by_the_directory_of_its_sockets() {
    needs_root!();
    let mut node = Node::start(&["--control-dir", "/run/elsewhere"]);
    let deadline = Instant::now() + PATIENCE;
    let list = |node: &Node| node.ipvsadm("-L -n --control-dir /run/elsewhere", "");
    while !list(&node).1.contains("UDP  10.9.0.1:53 rr") {
        assert!(Instant::now() < deadline, "{:?}", list(&node));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!node.ipvsadm("-L -n", "").1.contains("10.9.0.1"));
    // A daemon that is gone has no services; one that was named is missed.
    node.director.stop(PATIENCE).unwrap();
    let (_, output, errors) = list(&node);
    assert!(!output.contains("10.9.0.1"), "{output}");
    assert!(errors.contains("the userspace forwarder is not shown: the daemon is not running"), "{errors}");
    let (code, _, errors) = node.ipvsadm("-L -n", "");
    assert_eq!(code, if Kernel::available() { 0 } else { 2 }, "{errors}");
    assert!(!errors.contains("forwarder"), "{errors}");
}
