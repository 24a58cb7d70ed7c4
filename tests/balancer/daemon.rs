//! The whole daemon with real servers, in network namespaces: what clients get, what scripts are told, and what VRRP
//! notices of the balancer process: nothing. Needs root.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use holdfast::lab::director::{CONFIG, Daemon, Director};
use holdfast::lab::host::Host;
use holdfast::lab::lan::{Lan, addresses};
use holdfast::lab::mounts::ExtraFile;
use holdfast::lab::server::Server;

use crate::common::needs_root;

/// For things that happen soon on an idle machine.
const PATIENCE: Duration = Duration::from_secs(90);
const VIP: &str = "10.9.0.100";

/// What a real server's block needs so that its end shows soon: a closed port refuses at once.
const CHECK: &str = "TCP_CHECK {\n connect_timeout 20\n retry 0\n }";

struct Rig {
    servers: Vec<Option<Server>>,
    director: Director,
    client: Host,
    hosts: Vec<Host>,
    _lan: Lan,
    marks: std::cell::Cell<usize>,
}

impl Rig {
    /// A director, a client and two real servers, `web1` and `web2`, on one switch. The scripts append their arguments
    /// to /run/told.
    fn start(config: &str, options: &[&str]) -> Self {
        let mut lan = Lan::new("lan").expect("a namespace");
        let mut host = |name: &str, last: u8| {
            let host = Host::new(name).expect("a namespace");
            lan.plug(&host, "eth0", &[([10, 9, 0, last].into(), 24)]).expect("a cable");
            host
        };
        let (director, client) = (host("director", 1), host("client", 9));
        let hosts = vec![host("web1", 11), host("web2", 12)];
        lan.wait_ready().expect("a switch");
        for host in hosts.iter().chain([&director, &client]) {
            lan.wait_host_ready(host, "eth0").expect("a link");
        }
        let daemon = Daemon {
            program: PathBuf::from(env!("CARGO_BIN_EXE_holdfast")),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
        };
        let script = ExtraFile {
            name: "tell.sh".into(),
            content: b"#!/bin/sh\necho \"$*\" >> /run/told\n".to_vec(),
            mode: 0o755,
        };
        let director = Director::new(director, daemon, config, vec![script]).expect("private mounts");
        let servers = hosts.iter().map(|host| Some(Server::start(host).expect("a server"))).collect();
        let mut rig = Self { servers, director, client, hosts, _lan: lan, marks: std::cell::Cell::new(0) };
        rig.director.start().expect("the daemon starts");
        rig
    }

    fn serve(&mut self, number: usize, on: bool) {
        self.servers[number] = on.then(|| Server::start(&self.hosts[number]).expect("a server"));
    }

    /// Who answers a request to the virtual address.
    fn ask(&self) -> Option<String> {
        let address: SocketAddr = format!("{VIP}:80").parse().expect("an address");
        self.client.run(move || {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer.split_once("\r\n\r\n")?.1.trim_end().to_owned())
        })
    }

    fn wait_until(&self, what: &str, mut good: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !good(self) {
            let log: String = self.director.log().iter().map(|line| format!("  {}\n", line.text)).collect();
            assert!(Instant::now() < deadline, "never: {what}; log:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The next line with these words; everything before it is done with.
    fn wait_for(&self, words: &str) {
        let line = self.director.wait_for_line(self.marks.get(), words, PATIENCE).unwrap_or_else(|e| panic!("{e}"));
        let log = self.director.log();
        let at = log.iter().position(|l| l.at == line.at && l.text == line.text).expect("it was just there");
        self.marks.set(at + 1);
    }

    fn told(&self) -> Vec<String> {
        let text = self.director.host().run(|| fs::read_to_string("/run/told").unwrap_or_default());
        text.lines().map(str::to_owned).collect()
    }

    fn balancer(&self) -> Option<Pid> {
        let main = self.director.pid()?;
        let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children")).ok()?;
        let is_balancer = |pid: &&str| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0)
                .collect::<Vec<_>>()
                .windows(2)
                .any(|pair| pair == [&b"--child"[..], b"balancer"])
        };
        children.split_whitespace().find(is_balancer)?.parse().ok().map(Pid::from_raw)
    }

    fn reload(&self, config: &str) {
        self.director.write_file(Path::new(CONFIG), config).expect("private");
        self.director.reload();
    }

    fn has_vip(&self) -> bool {
        let vip = VIP.parse().expect("an address");
        addresses(self.director.host(), "eth0").expect("an interface").contains(&vip)
    }
}

/// One virtual server on the userspace forwarder; `more` goes into its block, `extra` beside it.
fn config(more: &str, extra: &str) -> String {
    let tell = |what: &str| format!("\"/etc/keepalived/tell.sh {what}\"");
    let real = |n: u8| {
        format!(
            " real_server 10.9.0.{} 80 {{\n weight 1\n notify_up {}\n notify_down {}\n {CHECK}\n }}\n",
            10 + n,
            tell(&format!("up {n}")),
            tell(&format!("down {n}"))
        )
    };
    format!(
        "global_defs {{\n script_user root\n virtual_server_forwarder userspace\n}}\n{extra}\n\
         virtual_server {VIP} 80 {{\n delay_loop 0.2\n lb_algo rr\n lb_kind NAT\n protocol TCP\n quorum_up {}\n \
         quorum_down {}\n {more}\n{}{}}}\n",
        tell("quorum up"),
        tell("quorum down"),
        real(1),
        real(2)
    )
}

fn instance(more: &str) -> String {
    format!(
        "vrrp_instance VI_1 {{\n interface eth0\n version 3\n virtual_router_id 9\n priority 200\n advert_int 0.2\n \
         virtual_ipaddress {{ {VIP}/24 }}\n {more}\n}}\n"
    )
}

#[test]
fn traffic_scripts_reloads_and_the_end() {
    needs_root!();
    let mut rig = Rig::start(&config("", &instance("")), &[]);
    rig.wait_for("Starting Healthcheck child process");
    rig.wait_for("(VI_1) Entering MASTER STATE");
    for server in ["web1", "web2"] {
        rig.wait_until(server, |rig| rig.ask().as_deref() == Some(server));
    }

    rig.serve(0, false);
    rig.wait_for("Removing service [10.9.0.11]:tcp:80 from VS [10.9.0.100]:tcp:80");
    assert!((0..6).all(|_| rig.ask().as_deref() == Some("web2")));
    rig.serve(1, false);
    rig.wait_for("Lost quorum 1-0=1 > 0 for VS [10.9.0.100]:tcp:80");
    rig.serve(0, true);
    rig.wait_for("Gained quorum 1+0=1 <= 1 for VS [10.9.0.100]:tcp:80");
    rig.wait_until("web1 answers", |rig| rig.ask().as_deref() == Some("web1"));
    rig.wait_until("the scripts ran", |rig| rig.told().len() >= 5);
    let mut told = rig.told();
    told.sort();
    assert_eq!(told, ["down 1", "down 2", "quorum down", "quorum up", "up 1"]);

    // A reload keeps what is known: web2 is still down.
    rig.reload(&config("", &instance("")).replace("weight 1", "weight 3"));
    rig.wait_for("Changing weight from 1 to 3 for active service [10.9.0.11]:tcp:80");
    assert!((0..6).all(|_| rig.ask().as_deref() == Some("web1")));
    assert_eq!(rig.told().len(), 5, "{:?}", rig.told());

    let before = rig.balancer().expect("it runs");
    rig.reload(&format!("global_defs {{\n script_user root\n}}\n{}", instance("")));
    rig.wait_for("no virtual_server is configured any more");
    rig.wait_until("it ends", |rig| rig.balancer().is_none());
    rig.wait_until("nobody listens", |rig| rig.ask().is_none());
    rig.reload(&config("omega", &instance("")));
    rig.wait_until("another one serves", |rig| rig.ask().as_deref() == Some("web1"));
    assert!(rig.balancer().is_some_and(|pid| pid != before));
    rig.wait_for("Removing service [10.9.0.12]:tcp:80");

    rig.wait_until("its script ran", |rig| rig.told().len() == 6);
    assert_eq!(rig.director.stop(PATIENCE).and_then(|status| status.code()), Some(0));
    let mut told = rig.told().split_off(6);
    told.sort();
    assert_eq!(told, ["down 1", "quorum down"], "omega");
    assert!(!rig.has_vip());
    let left = rig.director.host().run(|| Path::new("/run/lab-checkers.pid").exists());
    assert!(!left, "the pid file goes with the process");
}

#[test]
fn vrrp_does_not_notice_the_death_of_the_balancer_process() {
    needs_root!();
    let rig = Rig::start(&config("", &instance("")), &[]);
    rig.wait_for("(VI_1) Entering MASTER STATE");
    rig.wait_until("it serves", |rig| rig.ask().is_some());
    let first = rig.balancer().expect("it runs");
    kill(first, Signal::SIGKILL).expect("it runs");
    rig.wait_for("the balancer process died");
    rig.wait_until("another one serves", |rig| rig.balancer().is_some_and(|pid| pid != first) && rig.ask().is_some());
    assert!(rig.has_vip());
    let states = rig.director.log().iter().filter(|line| line.state_change().is_some()).count();
    assert_eq!(states, 2, "BACKUP, then MASTER, and that is all");
    assert_eq!(rig.told(), Vec::<String>::new(), "nobody hears of it twice");
    let pid = rig.director.host().run(|| fs::read_to_string("/run/lab-checkers.pid").expect("a pid file"));
    assert!(pid.trim_end().parse::<u32>().is_ok());
}

#[test]
fn a_director_that_cannot_serve_gives_up_the_address() {
    needs_root!();
    let tracked = instance(&format!("track_virtual_server {{\n {VIP} 80\n }}"));
    let mut rig = Rig::start(&config("", &instance("")), &[]);
    rig.wait_for("(VI_1) Entering MASTER STATE");
    rig.serve(0, false);
    rig.serve(1, false);
    rig.wait_for("Lost quorum");
    assert!(rig.has_vip());
    // Tracked from now on, and known already.
    rig.reload(&config("", &tracked));
    rig.wait_for("(VI_1) Entering FAULT STATE");
    rig.wait_until("the address goes", |rig| !rig.has_vip());
    rig.serve(1, true);
    rig.wait_for("(VI_1) Entering MASTER STATE");
    // Its own death is a reason too, for as long as it lasts.
    kill(rig.balancer().expect("it runs"), Signal::SIGKILL).expect("it runs");
    rig.wait_for("(VI_1) Entering FAULT STATE");
    rig.wait_for("(VI_1) Entering MASTER STATE");
}

#[test]
fn a_director_whose_balancer_process_stands_still_gives_up_the_address() {
    needs_root!();
    let tracked = instance(&format!("track_virtual_server {{\n {VIP} 80\n }}"));
    let rig = Rig::start(&config("", &tracked), &[]);
    rig.wait_for("(VI_1) Entering MASTER STATE");
    let stopped = rig.balancer().expect("it runs");
    kill(stopped, Signal::SIGSTOP).expect("it runs");
    rig.wait_for("its virtual servers count as down");
    rig.wait_for("(VI_1) Entering FAULT STATE");
    // What it says of itself is not believed either.
    rig.reload(&config("quorum 2", &tracked));
    rig.wait_for("1 unchanged");
    kill(stopped, Signal::SIGCONT).expect("it runs");
    rig.wait_for("the balancer process goes on after");
    rig.wait_for("(VI_1) Entering MASTER STATE");
    assert_eq!(rig.balancer(), Some(stopped));
    // For good, this time: another one takes its place.
    kill(stopped, Signal::SIGSTOP).expect("it runs");
    rig.wait_for("(VI_1) Entering FAULT STATE");
    rig.wait_for("killed");
    rig.wait_for("(VI_1) Entering MASTER STATE");
    rig.wait_until("another one serves", |rig| rig.balancer().is_some_and(|pid| pid != stopped) && rig.ask().is_some());
}

#[test]
fn a_virtual_server_serves_while_its_instance_is_master() {
    needs_root!();
    // A tracked file takes the mastership away; the address is reached all the same, by a second instance.
    let file = "track_file down {\n file /run/down\n init_file 0\n}\n";
    let other = "vrrp_instance VI_2 {\n interface eth0\n version 3\n virtual_router_id 10\n advert_int 0.2\n \
                 virtual_ipaddress { 10.9.0.101/24 }\n track_file {\n down weight 0\n }\n}\n";
    let rig = Rig::start(&config("vrrp_instance VI_2", &format!("{file}{}{other}", instance(""))), &[]);
    rig.wait_for("begins to serve: instance VI_2 is master");
    rig.wait_until("it serves", |rig| rig.ask().is_some());
    rig.director.write_file(Path::new("/run/down"), "1\n").expect("private");
    rig.wait_for("serves no longer: instance VI_2 is not master");
    rig.wait_until("nobody listens", |rig| rig.ask().is_none());
    assert!(rig.has_vip());
    rig.director.write_file(Path::new("/run/down"), "0\n").expect("private");
    rig.wait_for("begins to serve");
    rig.wait_until("it serves again", |rig| rig.ask().is_some());
}

#[test]
fn misc_and_file_checks_come_through_main() {
    needs_root!();
    let text = config("", &format!("track_file w {{\n file /run/weight\n init_file 0\n}}\n{}", instance("")));
    let misc = "MISC_CHECK {\n misc_path \"/usr/bin/test ! -e /run/ill\"\n }\n FILE_CHECK {\n track_file w\n }";
    let rig = Rig::start(&text.replace(CHECK, misc), &[]);
    rig.wait_for("(VI_1) Entering MASTER STATE");
    rig.director.write_file(Path::new("/run/weight"), "4\n").expect("private");
    rig.wait_for("Changing weight from 1 to 5 for active service [10.9.0.11]:tcp:80");
    rig.director.write_file(Path::new("/run/ill"), "").expect("private");
    rig.wait_for("Lost quorum");
    rig.director.remove_file(Path::new("/run/ill")).expect("private");
    rig.wait_for("Gained quorum");
    rig.wait_until("it serves", |rig| rig.ask().is_some());
}

#[test]
fn with_p_there_are_no_virtual_servers_and_with_c_no_instances() {
    needs_root!();
    let rig = Rig::start(&config("", &instance("")), &["-P"]);
    rig.wait_for("(VI_1) Entering MASTER STATE");
    assert_eq!(rig.balancer(), None);
    drop(rig);
    let rig = Rig::start(&config("", &instance("")), &["-C"]);
    rig.wait_for("Starting Healthcheck child process");
    rig.wait_until("it listens on an address that is not here", |rig| rig.balancer().is_some());
    assert!(!rig.has_vip());
    assert!(!rig.director.log().iter().any(|line| line.text.contains("Starting VRRP child process")));
}
