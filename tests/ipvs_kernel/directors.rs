//! The whole daemon on two directors before three real servers, with traffic: NAT, DR and TUN at once.
#![allow(clippy::disallowed_methods, reason = "bounds real waiting")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use holdfast::ipvs::dataplane::Dataplane;
use holdfast::ipvs::kernel::Kernel;
use holdfast::lab::director::{Daemon, Director};
use holdfast::lab::host::Host;
use holdfast::lab::lan::{self, Lan};
use holdfast::lab::server::Server;

use crate::in_guest;
use crate::serving::Serving;
use crate::tools::run;
use crate::traffic::{counts, exchange, request, sysctl};

const HOLDFAST: &str = env!("CARGO_BIN_EXE_holdfast");
const PATIENCE: Duration = Duration::from_secs(90);
/// NAT, DR, TUN, and DR to the directors themselves.
const NAT: &str = "10.51.0.100";
const DR: &str = "10.51.0.101";
const TUN: &str = "10.51.0.102";
const OWN: &str = "10.51.0.103";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

struct World {
    _servers: Vec<Serving>,
    client: Host,
    directors: Vec<Director>,
    reals: Vec<Host>,
    lan: Lan,
}

impl World {
    /// Machines and cables, and everything that administrators of real servers do by hand.
    fn new(configs: [String; 2]) -> Self {
        run("modprobe", &["ipip"]);
        let mut lan = Lan::new("switch").unwrap();
        let mut host = |name: &str, last: u8| {
            let host = Host::new(name).unwrap();
            lan.plug(&host, "eth0", &[(Ipv4Addr::new(10, 51, 0, last).into(), 24)]).unwrap();
            host
        };
        let client = host("client", 1);
        let directors = [host("d1", 11), host("d2", 12)];
        let reals = vec![host("r1", 21), host("r2", 22), host("r3", 23)];
        lan.wait_ready().unwrap();
        for director in &directors {
            sysctl(director, &[("net/ipv4/ip_forward", "1"), ("net/ipv4/conf/all/send_redirects", "0")]);
            sysctl(director, &[("net/ipv4/conf/eth0/send_redirects", "0")]);
            // A client's port that comes again belongs to no real server that is gone.
            director.run(|| run("modprobe", &["ip_vs"]));
            sysctl(director, &[("net/ipv4/vs/expire_nodest_conn", "1")]);
        }
        for real in &reals {
            // NAT: the way back to the client leads through the master; that of DR and TUN must not.
            let own = lan::addresses(real, "eth0").unwrap().into_iter().find(IpAddr::is_ipv4).unwrap().to_string();
            real.run(move || {
                run("ip", &["rule", "add", "from", &own, "lookup", "100"]);
                run("ip", &["route", "add", "10.51.0.1/32", "via", NAT, "table", "100"]);
            });
            sysctl(real, &[("net/ipv4/conf/all/arp_ignore", "1"), ("net/ipv4/conf/all/arp_announce", "2")]);
            lan::add_address(real, "lo", ip(DR), 32).unwrap();
            lan::set_up(real, "tunl0", true).unwrap();
            lan::add_address(real, "tunl0", ip(TUN), 32).unwrap();
            sysctl(real, &[("net/ipv4/conf/all/rp_filter", "0"), ("net/ipv4/conf/tunl0/rp_filter", "0")]);
        }
        let servers = reals.iter().map(|real| Serving::http(real, 80)).collect();
        let daemon = || Daemon { program: HOLDFAST.into(), options: Vec::new() };
        let directors = directors.into_iter().zip(configs);
        let directors = directors.map(|(host, config)| Director::new(host, daemon(), &config, Vec::new()).unwrap());
        Self { _servers: servers, client, directors: directors.collect(), reals, lan }
    }

    fn start(&mut self) {
        for director in &mut self.directors {
            director.start().unwrap();
        }
        self.directors[0].wait_for("VI_1", "MASTER", PATIENCE).unwrap();
        self.directors[1].wait_for("VI_1", "BACKUP", PATIENCE).unwrap();
    }

    fn wait_until(&self, what: &str, mut good: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !good(self) {
            if Instant::now() > deadline {
                let log = |director: &Director| -> String {
                    director.log().iter().map(|line| format!("  {}\n", line.text)).collect()
                };
                panic!("never: {what}\n{}\n{}", log(&self.directors[0]), log(&self.directors[1]));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The last numbers of the real servers of a service, as a director's kernel has them.
    fn table(&self, director: usize, vip: &str) -> BTreeSet<u8> {
        let vip = ip(vip);
        let table = self.directors[director].host().run(|| Kernel::default().dump()).unwrap();
        let service = table.services.into_iter().find(|(key, _)| key.to_string().starts_with(&format!("{vip}:")));
        let last = |ip: IpAddr| if let IpAddr::V4(ip) = ip { ip.octets()[3] } else { 0 };
        service.map(|(_, service)| service.destinations.keys().map(|at| last(at.ip)).collect()).unwrap_or_default()
    }

    fn ask(&self, vip: &str) -> (String, TcpStream) {
        let address = SocketAddr::new(ip(vip), 80);
        self.client.run(move || {
            let mut stream =
                TcpStream::connect_timeout(&address, PATIENCE).unwrap_or_else(|error| panic!("{address}: {error}"));
            (request(&mut stream), stream)
        })
    }

    fn answers(&self, vip: &str, count: usize) -> BTreeMap<String, usize> {
        let mut answers = BTreeMap::new();
        for _ in 0..count {
            *answers.entry(self.ask(vip).0).or_default() += 1;
        }
        answers
    }
}

/// When each connection began, and who answered it.
type Seen = Vec<(Instant, Option<String>)>;

/// Clients that ask one address again and again, each time by a new connection, and what they got.
struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(client: &Host, vip: &str) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (ends, tells, address) = (Arc::clone(&stop), Arc::clone(&seen), SocketAddr::new(ip(vip), 80));
        let ask = move || -> Option<String> {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10)).ok()?;
            // One that neither director knows to the end is given up; the others go on.
            stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
            std::panic::catch_unwind(move || exchange(&mut stream)).ok()
        };
        let thread = client.thread("load", move || {
            while !ends.load(Ordering::Relaxed) {
                let at = Instant::now();
                let answer = ask();
                tells.lock().unwrap().push((at, answer));
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self { stop, seen, thread: Some(thread.unwrap()) }
    }

    /// Who answered connections that began after this moment.
    fn answered_since(&self, since: Instant) -> BTreeSet<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(at, _)| *at > since).filter_map(|(_, answer)| answer.clone()).collect()
    }

    /// All connections and those that failed, after this moment.
    fn failed_since(&self, since: Instant) -> (usize, usize) {
        let seen = self.seen.lock().unwrap();
        let since = || seen.iter().filter(|(at, _)| *at > since);
        (since().count(), since().filter(|(_, answer)| answer.is_none()).count())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

const CHECK: &str = "TCP_CHECK {\n connect_timeout 2\n retry 1\n delay_before_retry 1\n }";

fn vrrp(priority: u8) -> String {
    let addresses = [NAT, DR, TUN, OWN].map(|vip| format!("  {vip}/32\n")).concat();
    format!(
        "vrrp_instance VI_1 {{\n state BACKUP\n interface eth0\n virtual_router_id 51\n priority {priority}\n \
         advert_int 1\n virtual_ipaddress {{\n{addresses} }}\n}}\n"
    )
}

fn virtual_server(vip: &str, kind: &str, more: &str, reals: &[u8]) -> String {
    let real = |last: &u8| format!(" real_server 10.51.0.{last} 80 {{\n  weight 1\n  {CHECK}\n }}\n");
    let reals: String = reals.iter().map(real).collect();
    format!(
        "virtual_server {vip} 80 {{\n delay_loop 1\n lb_algo rr\n lb_kind {kind}\n protocol TCP\n {more}\n{reals}}}\n"
    )
}

fn all_kinds(priority: u8) -> String {
    let servers = [(NAT, "NAT"), (DR, "DR"), (TUN, "TUN")];
    let servers = servers.map(|(vip, kind)| virtual_server(vip, kind, "", &[21, 22, 23])).concat();
    format!("global_defs {{\n lvs_sync_daemon eth0 VI_1 id 51\n}}\n{}{servers}", vrrp(priority))
}

#[test]
fn failover_under_load_loses_no_real_server_and_no_synchronised_connection() {
    in_guest!();
    let mut world = World::new([all_kinds(150), all_kinds(100)]);
    world.start();
    let everyone = BTreeSet::from([21, 22, 23]);
    let names: BTreeSet<String> = ["r1", "r2", "r3"].map(str::to_owned).into();
    for vip in [NAT, DR, TUN] {
        for director in [0, 1] {
            world.wait_until("all real servers are in", |world| world.table(director, vip) == everyone);
        }
        assert_eq!(world.answers(vip, 6), counts([("r1", 2), ("r2", 2), ("r3", 2)]), "{vip}");
    }
    let daemons =
        |world: &World, director: usize| world.directors[director].host().run(|| Kernel::default().daemons()).unwrap();
    let states = |world: &World| [0, 1].map(|n| daemons(world, n).iter().map(|d| d.state.name()).collect::<Vec<_>>());
    world.wait_until("the sync daemons follow VRRP", |world| states(world) == [["master"], ["backup"]]);
    for director in &world.directors {
        // Each packet is worth a message.
        let host = director.host();
        sysctl(host, &[("net/ipv4/vs/sync_threshold", "0 1"), ("net/ipv4/vs/sync_refresh_period", "0")]);
    }
    let mut held = Vec::new();
    for vip in [NAT, DR, TUN] {
        let (name, mut stream) = world.ask(vip);
        let port = stream.local_addr().unwrap().port();
        world.wait_until("the backup knows the connection", |world| {
            assert_eq!(request(&mut stream), name);
            let table = || fs::read_to_string("/proc/thread-self/net/ip_vs_conn").unwrap();
            let text = world.directors[1].host().run(table);
            text.lines().any(|line| line.contains(&format!(" {port:04X} ")) && line.contains("ESTABLISHED"))
        });
        held.push((vip, name, stream));
    }

    // A director dies under load.
    let loads = [NAT, DR, TUN].map(|vip| (vip, Load::start(&world.client, vip)));
    let begin = Instant::now();
    for (vip, load) in &loads {
        world.wait_until("all answer under load", |_| load.answered_since(begin) == names);
        assert_eq!(load.failed_since(begin).1, 0, "{vip}");
    }
    let cut = Instant::now();
    world.lan.cut("d1", "eth0").unwrap();
    let since = world.directors[1].wait_for("VI_1", "MASTER", PATIENCE).unwrap();
    for (vip, load) in &loads {
        world.wait_until("all answer after the failover", |_| load.answered_since(since) == names);
        let (all, failed) = load.failed_since(cut);
        println!("{vip}: {failed} of {all} connections failed in the failover, {:?} of it", since - cut);
    }
    for (vip, name, stream) in &mut held {
        assert_eq!(request(stream), *name, "{vip}: the connection goes on through the other director");
    }
    world.wait_until("the sync daemon changes sides", |world| states(world)[1] == ["master"]);

    // A real server dies: no other is asked for longer than the check takes.
    world.lan.cut("r2", "eth0").unwrap();
    let two = BTreeSet::from([21, 23]);
    for vip in [NAT, DR, TUN] {
        world.wait_until("the dead real server is out", |world| world.table(1, vip) == two);
    }
    let out = Instant::now();
    for (vip, load) in &loads {
        let others: BTreeSet<String> = ["r1", "r3"].map(str::to_owned).into();
        world.wait_until("the others answer", |_| load.answered_since(out) == others && load.failed_since(out).0 > 10);
        assert_eq!(load.failed_since(out).1, 0, "{vip}");
    }
    world.lan.mend("r2", "eth0").unwrap();
    for (_, load) in &loads {
        let back = Instant::now();
        world.wait_until("it is back", |_| load.answered_since(back) == names);
    }

    // The first director comes back.
    let mended = Instant::now();
    world.lan.mend("d1", "eth0").unwrap();
    world.directors[0].wait_for("VI_1", "MASTER", PATIENCE).unwrap();
    world.directors[1].wait_for("VI_1", "BACKUP", PATIENCE).unwrap();
    for (vip, load) in &loads {
        world.wait_until("all answer after the return", |_| load.answered_since(mended) == names);
        println!("{vip}: {:?} connections (all, failed) since the return", load.failed_since(mended));
    }
    drop(loads);
    // At a stop its entries go with it.
    world.directors[0].stop(PATIENCE).unwrap();
    assert_eq!(world.table(0, NAT), BTreeSet::new());
    for vip in [NAT, DR, TUN] {
        world.wait_until("all answer after the stop", |world| world.answers(vip, 3).len() == 3);
    }
}

#[test]
fn directors_that_are_real_servers_send_no_packet_round() {
    in_guest!();
    let config = |priority, more: &str| vrrp(priority) + &virtual_server(OWN, "DR", more, &[11, 12]);
    let mut world = World::new([config(150, "vrrp_instance VI_1"), config(100, "vrrp_instance VI_1")]);
    let servers: Vec<Server> = world.directors.iter().map(|d| Server::start(d.host()).unwrap()).collect();
    for director in &world.directors {
        // Both have the address, and keep quiet about it.
        let host = director.host();
        sysctl(host, &[("net/ipv4/conf/all/arp_ignore", "1"), ("net/ipv4/conf/all/arp_announce", "2")]);
        lan::add_address(host, "lo", ip(OWN), 32).unwrap();
    }
    world.start();
    let both = BTreeSet::from([11, 12]);
    world.wait_until("the master has its entries", |world| world.table(0, OWN) == both);
    // It may have been master for a moment at the start.
    world.wait_until("the backup has none", |world| world.table(1, OWN).is_empty());
    assert_eq!(world.answers(OWN, 8), counts([("d1", 4), ("d2", 4)]));
    // The roles change, and the entries with them.
    world.directors[0].stop(PATIENCE).unwrap();
    world.directors[1].wait_for("VI_1", "MASTER", PATIENCE).unwrap();
    world.wait_until("the new master has them", |world| world.table(1, OWN) == both);
    assert_eq!(world.table(0, OWN), BTreeSet::new(), "none after the end");
    world.directors[0].start().unwrap();
    world.directors[0].wait_for("VI_1", "MASTER", PATIENCE).unwrap();
    world.wait_until("back again", |world| world.table(0, OWN) == both && world.table(1, OWN).is_empty());
    assert_eq!(world.answers(OWN, 8), counts([("d1", 4), ("d2", 4)]));
    drop(servers);
}

/// Codes of what `holdfast doctor` finds on a host, notes left out, and its exit code.
fn doctor(host: &Host, arguments: &[&str], config: &str) -> (Vec<String>, i32) {
    found(host, &[&["doctor"], arguments].concat(), config, "findings")
}

/// The same of another command, whose report has the findings elsewhere.
fn found(host: &Host, arguments: &[&str], config: &str, place: &str) -> (Vec<String>, i32) {
    let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
    let config = config.to_owned();
    let output = host.run(move || {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), config).unwrap();
        // A director's private mounts may cover the place where it was built.
        let inside = "/run/lab/holdfast";
        let program = if std::path::Path::new(inside).exists() { inside } else { HOLDFAST };
        let mut command = std::process::Command::new(program);
        let plain = command.args(&arguments).arg(file.path()).output().unwrap();
        println!("{}", String::from_utf8_lossy(&plain.stdout));
        command.arg("--json").output().unwrap()
    });
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report[place].as_array().unwrap();
    let codes = findings.iter().filter(|f| f["level"] != "note").map(|f| f["code"].as_str().unwrap().to_owned());
    (codes.collect(), output.status.code().unwrap())
}

#[test]
fn the_doctor_finds_what_defeats_nat_dr_and_tun() {
    in_guest!();
    let nobody: Vec<String> = Vec::new();
    let mut world = World::new([all_kinds(150), all_kinds(100)]);
    world.start();
    let conf = all_kinds(150);
    world.wait_until("the master has its addresses", |world| {
        lan::addresses(world.directors[0].host(), "eth0").unwrap().contains(&ip(TUN))
    });
    let director = world.directors[0].host();
    assert_eq!(doctor(director, &[], &conf), (nobody.clone(), 0), "on a master");
    assert_eq!(doctor(world.directors[1].host(), &[], &conf), (nobody, 0), "on a backup");
    // Of routes it knows the default ones only, and here a rule leads back through the director.
    let way_back = || "return-path".to_owned();
    assert_eq!(doctor(&world.reals[0], &["--real-server"], &conf), (vec![way_back()], 0), "on a real server");
    // Each trouble is made, seen on the wire or in the settings, and mended.
    sysctl(director, &[("net/ipv4/ip_forward", "0"), ("net/ipv4/conf/eth0/send_redirects", "1")]);
    assert_eq!(doctor(director, &[], &conf), (vec!["forwarding-off".to_owned(), "redirects-on".to_owned()], 2));
    // It is a warning for who checks a file.
    let all = vec!["forwarding-off".to_owned(), "redirects-on".to_owned()];
    assert_eq!(found(director, &["check", "--here", "--strict"], &conf, "machine"), (all, 1));
    sysctl(director, &[("net/ipv4/ip_forward", "1"), ("net/ipv4/conf/eth0/send_redirects", "0")]);
    let real = &world.reals[1];
    sysctl(real, &[("net/ipv4/conf/all/arp_ignore", "0")]);
    assert_eq!(doctor(director, &[], &conf), (vec!["arp-answered".to_owned(); 2], 2), "DR and TUN");
    assert_eq!(doctor(director, &["--no-probe"], &conf).1, 0);
    let answers = || "arp-answered".to_owned();
    assert_eq!(doctor(real, &["--real-server"], &conf), (vec![answers(), answers(), way_back()], 2));
    sysctl(real, &[("net/ipv4/conf/all/arp_ignore", "1"), ("net/ipv4/conf/tunl0/rp_filter", "1")]);
    assert_eq!(doctor(real, &["--real-server"], &conf), (vec!["tunnel-source".to_owned(), way_back()], 2));
    let own = vrrp(150) + &virtual_server(OWN, "DR", "", &[11, 12]);
    assert_eq!(doctor(director, &[], &own), (vec!["director-loop".to_owned()], 2));
}
