//! NAT whose return path is set up by us (`masquerade`), on a kernel that has both IPVS and nftables: a virtual machine.
#![allow(missing_docs)]
#![allow(clippy::disallowed_methods, reason = "bounds real waiting")]

#[macro_use]
mod common;
#[path = "common/qemu.rs"]
mod qemu;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use holdfast::lab::director::{CONFIG, Daemon, Director};
use holdfast::lab::host::Host;
use holdfast::lab::lan::{self, Lan};
use holdfast::lab::server::Server;

/// Set in the machine.
const VARIABLE: &str = "HOLDFAST_MACHINE";
const HOLDFAST: &str = env!("CARGO_BIN_EXE_holdfast");
const NFT: &str = "/usr/sbin/nft";
/// For the whole machine; it needs a quarter of it on an idle one.
const LIMIT: Duration = Duration::from_secs(230);
const PATIENCE: Duration = Duration::from_secs(60);
const VIPS: [&str; 2] = ["10.60.1.100", "fd60:1::100"];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Real servers on a network of their own, with no route to the clients' and none through the director.
struct World {
    client: Host,
    director: Director,
    _servers: Vec<Server>,
    _reals: Vec<Host>,
    _lans: [Lan; 2],
}

impl World {
    fn new(config: &str) -> Self {
        let (mut outside, mut inside) = (Lan::new("outside").unwrap(), Lan::new("inside").unwrap());
        let client = Host::new("client").unwrap();
        outside.plug(&client, "eth0", &[(ip("10.60.1.1"), 24), (ip("fd60:1::1"), 64)]).unwrap();
        let director = Host::new("director").unwrap();
        outside.plug(&director, "eth0", &[(ip("10.60.1.11"), 24), (ip("fd60:1::11"), 64)]).unwrap();
        inside.plug(&director, "eth1", &[(ip("10.60.2.11"), 24), (ip("fd60:2::11"), 64)]).unwrap();
        let real = |n: u8| {
            let host = Host::new(&format!("r{n}")).unwrap();
            inside
                .plug(&host, "eth0", &[(ip(&format!("10.60.2.2{n}")), 24), (ip(&format!("fd60:2::2{n}")), 64)])
                .unwrap();
            host
        };
        let reals: Vec<Host> = [1, 2].map(real).into();
        outside.wait_ready().unwrap();
        inside.wait_ready().unwrap();
        director.run(|| {
            fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
            fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        });
        for (vip, length) in [(VIPS[0], 32), (VIPS[1], 128)] {
            lan::add_address(&director, "eth0", ip(vip), length).unwrap();
        }
        let servers = reals.iter().map(|host| Server::start(host).unwrap()).collect();
        let daemon = Daemon { program: HOLDFAST.into(), options: vec!["-C".to_owned()] };
        let mut director = Director::new(director, daemon, config, Vec::new()).unwrap();
        director.start().unwrap();
        Self { client, director, _servers: servers, _reals: reals, _lans: [outside, inside] }
    }

    /// Who answers a request, if anybody does in time.
    fn ask(&self, vip: &str, patience: Duration) -> Option<String> {
        let address = SocketAddr::new(ip(vip), 80);
        self.client.run(move || {
            let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
            stream.set_read_timeout(Some(patience)).ok()?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer.split_once("\r\n\r\n")?.1.trim_end().to_owned())
        })
    }

    fn answers(&self, vip: &str, count: usize) -> BTreeMap<String, usize> {
        let mut answers = BTreeMap::new();
        for _ in 0..count {
            *answers.entry(self.ask(vip, PATIENCE).unwrap_or_default()).or_default() += 1;
        }
        answers
    }

    fn wait_until(&self, what: &str, mut good: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !good(self) {
            let log: String = self.director.log().iter().map(|line| format!("  {}\n", line.text)).collect();
            assert!(Instant::now() < deadline, "never: {what}; log:\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What nftables has, and whether IPVS tells connection tracking of its connections.
    fn standing(&self) -> (String, String) {
        self.director.host().run(|| {
            let rules = Command::new(NFT).args(["list", "ruleset"]).output().expect("nft");
            let setting = fs::read_to_string("/proc/sys/net/ipv4/vs/conntrack").unwrap_or_default();
            (String::from_utf8_lossy(&rules.stdout).into_owned(), setting.trim().to_owned())
        })
    }
}

fn config(keyword: &str) -> String {
    let server = |vip: &str, reals: [&str; 2]| {
        let real = |address: &str| format!(" real_server {address} 80 {{\n  weight 1\n }}\n");
        let reals: String = reals.map(real).concat();
        format!("virtual_server {vip} 80 {{\n lb_algo rr\n lb_kind NAT\n protocol TCP\n {keyword}\n{reals}}}\n")
    };
    server(VIPS[0], ["10.60.2.21", "10.60.2.22"]) + &server(VIPS[1], ["fd60:2::21", "fd60:2::22"])
}

#[test]
fn answers_come_back_through_the_director() {
    if std::env::var_os(VARIABLE).is_some() {
        return in_the_machine();
    }
    if let Some(reason) = qemu::missing() {
        return common::skipped(&reason);
    }
    if !Path::new(NFT).exists() {
        return common::skipped("needs the package nftables");
    }
    let program = std::env::current_exe().unwrap();
    let line = format!(
        "{VARIABLE}=1 RUST_BACKTRACE=1 {} --exact answers_come_back_through_the_director --nocapture --test-threads=1",
        program.display()
    );
    let programs = [&program, Path::new(HOLDFAST), Path::new(NFT)];
    let ended = qemu::run(&qemu::Job { command: &line, programs: &programs, limit: LIMIT });
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.output, ended.console);
    println!("{}", ended.output);
}

fn in_the_machine() {
    let others = "table inet of_the_administrator {\n\tset of_his {\n\t\ttype ipv4_addr\n\t}\n}\n";
    let world = World::new(&config(""));
    let list = others.to_owned();
    world.director.host().run(move || {
        fs::write("/tmp/rules", list).unwrap();
        assert!(Command::new(NFT).args(["-f", "/tmp/rules"]).status().unwrap().success());
    });
    // Without it packets reach a real server, and its answers nobody: there is no route.
    world.wait_until("real servers are in the kernel", |world| {
        let table = || fs::read_to_string("/proc/thread-self/net/ip_vs").unwrap_or_default();
        world.director.host().run(move || table().matches("Masq").count() == 4)
    });
    for vip in VIPS {
        assert_eq!(world.ask(vip, Duration::from_secs(2)), None, "{vip} without masquerade");
    }
    assert_eq!(world.standing(), (others.to_owned(), "0".to_owned()));

    world.director.write_file(Path::new(CONFIG), &config("masquerade")).unwrap();
    world.director.reload();
    world.wait_until("masquerade stands", |world| world.standing().0.contains("holdfast_masquerade"));
    let both = BTreeMap::from([("r1".to_owned(), 3), ("r2".to_owned(), 3)]);
    for vip in VIPS {
        assert_eq!(world.answers(vip, 6), both, "{vip}");
    }
    let (rules, setting) = world.standing();
    println!("{rules}");
    assert!(rules.contains("of_the_administrator"), "{rules}");
    assert_eq!(setting, "1");

    world.director.write_file(Path::new(CONFIG), &config("")).unwrap();
    world.director.reload();
    world.wait_until("masquerade is gone", |world| world.standing() == (others.to_owned(), "0".to_owned()));

    // Killed, with other words in the file at the next start: what was left goes.
    world.director.write_file(Path::new(CONFIG), &config("masquerade")).unwrap();
    world.director.reload();
    world.wait_until("masquerade stands again", |world| world.standing().1 == "1");
    let World { client, mut director, _servers, _reals, _lans } = world;
    director.kill_all();
    director.write_file(Path::new(CONFIG), &config("")).unwrap();
    director.start().unwrap();
    let mut world = World { client, director, _servers, _reals, _lans };
    // What the setting was before, nobody knows any more.
    world.wait_until("what was left is gone", |world| world.standing() == (others.to_owned(), "1".to_owned()));
    world.director.host().run(|| fs::write("/proc/sys/net/ipv4/vs/conntrack", "0").unwrap());

    // And at a stop.
    world.director.write_file(Path::new(CONFIG), &config("masquerade")).unwrap();
    world.director.reload();
    world.wait_until("masquerade stands once more", |world| world.standing().1 == "1");
    assert_eq!(world.answers(VIPS[0], 2).len(), 2);
    world.director.stop(PATIENCE).expect("it ends");
    assert_eq!(world.standing(), (others.to_owned(), "0".to_owned()));
}
