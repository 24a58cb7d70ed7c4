//! The whole vrrp process, as a child of these tests in the part of main.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast::vrrp::config::{AddressConfig, ConfigDiff, InitialState, InstanceConfig, VrrpConfig};
use holdfast::vrrp::engine::FailoverRefusal;
use holdfast::vrrp::event::{Cause, Event, StateName};
use holdfast::vrrp::flight::{self, MonotonicClock};
use holdfast::vrrp::former::FormerAddress;
use holdfast::vrrp::message::{FromVrrp, ToVrrp};
use holdfast::vrrp::process::{ProcessOptions, run};
use holdfast::vrrp::types::{AdvertInterval, Vrid};
use holdfast::{BUILD_ID, ipc};

use crate::common::needs_root;
use crate::lan::{Capture, Lan, ip, is_advert_v4};

pub const PATIENCE: Duration = Duration::from_secs(60);
const CHILD: &str = "HOLDFAST_TEST_CHILD";

/// No test: the child's entry, reached by running this binary again.
#[test]
fn child_entry() {
    if std::env::var_os(CHILD).is_some() {
        let options = ProcessOptions::from_standard_streams().expect("started by a test");
        crate::crash::arm();
        std::process::exit(run(options));
    }
}

pub struct FakeMain {
    stream: Option<UnixStream>,
    pub child: Child,
}

impl FakeMain {
    pub fn start(namespace: &str, recorder: &File) -> Self {
        Self::start_with(namespace, recorder, &[])
    }

    /// With these variables in its environment.
    pub fn start_with(namespace: &str, recorder: &File, environment: &[(&str, &str)]) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        // The test harness prints a line before the child's entry is reached: far behind the records.
        let mut recorder = recorder.try_clone().expect("descriptor");
        recorder.seek(SeekFrom::Start(1 << 20)).expect("seek");
        let exe = std::env::current_exe().expect("this binary");
        let child = Command::new("ip")
            .args(["netns", "exec", namespace])
            .arg(exe)
            .args(["process::child_entry", "--exact", "--nocapture"])
            .env(CHILD, "1")
            .envs(environment.iter().copied())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(recorder))
            .spawn()
            .expect("child");
        ours.set_read_timeout(Some(PATIENCE)).expect("timeout");
        Self { stream: Some(ours), child }
    }

    pub fn say(&mut self, message: &ToVrrp) {
        self.say_at_once(&[message]);
    }

    /// In one write, so that the child hears all in one turn.
    pub fn say_at_once(&mut self, messages: &[&ToVrrp]) {
        let frames: Vec<u8> = messages.iter().flat_map(|message| ipc::encode(message).expect("encodes")).collect();
        self.stream.as_mut().expect("open").write_all(&frames).expect("the child reads");
    }

    pub fn hear(&mut self) -> FromVrrp {
        self.try_hear().expect("the child speaks")
    }

    fn try_hear(&mut self) -> std::io::Result<FromVrrp> {
        let stream = self.stream.as_mut().expect("open");
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut frame = vec![0; usize::try_from(u32::from_le_bytes(length)).expect("small")];
        stream.read_exact(&mut frame)?;
        Ok(postcard::from_bytes(&frame).expect("a message"))
    }

    /// Hears until something is as wanted.
    pub fn until<T>(&mut self, mut wanted: impl FnMut(&FromVrrp) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        let mut others = VecDeque::new();
        loop {
            let message = match self.try_hear() {
                Ok(message) => message,
                Err(error) => panic!("{error}; heard only {others:?}"),
            };
            if let Some(found) = wanted(&message) {
                return found;
            }
            assert!(Instant::now() < end, "heard only {others:?}");
            others.truncate(9);
            others.push_front(message);
        }
    }

    pub fn until_master(&mut self) -> Cause {
        self.until(|m| match m {
            FromVrrp::Event { event: Event::StateChanged { to: StateName::Master, cause, .. }, .. } => {
                Some(cause.clone())
            }
            _ => None,
        })
    }

    pub fn begin(&mut self, config: &VrrpConfig, adopt: bool) {
        self.begin_after(config, adopt, Vec::new());
    }

    /// `former`: what a predecessor may have left.
    pub fn begin_after(&mut self, config: &VrrpConfig, adopt: bool, former: Vec<FormerAddress>) {
        self.say(&ToVrrp::Hello { build: BUILD_ID.to_owned() });
        assert_eq!(self.hear(), FromVrrp::Hello { build: BUILD_ID.to_owned() });
        let config = Box::new(config.clone());
        self.say(&ToVrrp::Start { config, trackers: Vec::new(), adopt, maintenance: false, former });
        self.until(|m| (*m == FromVrrp::Ready).then_some(()));
    }

    pub fn exit_code(&mut self) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status.code();
            }
            assert!(Instant::now() < end, "the child ends");
            std::thread::yield_now();
        }
    }
}

impl Drop for FakeMain {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn config() -> VrrpConfig {
    let mut instance = InstanceConfig::new("eth0", Vrid::new(51).expect("not zero"));
    instance.state = InitialState::Master;
    let mut vip = AddressConfig::new(IpAddr::from([192, 0, 2, 100]));
    vip.prefix_len = 24;
    instance.addresses = vec![vip];
    let mut fixed = AddressConfig::new(IpAddr::from([198, 51, 100, 1]));
    fixed.options.device = Some("eth0".to_owned());
    VrrpConfig {
        instances: [("VI_1".to_owned(), instance)].into(),
        static_addresses: vec![fixed],
        ..VrrpConfig::default()
    }
}

fn addresses(lan: &Lan) -> String {
    ip(&format!("-n {} -4 -o addr show dev eth0", lan.a))
}

pub fn priority(frame: &[u8]) -> Option<u8> {
    frame.get(36).copied()
}

struct Setup {
    lan: Lan,
    capture: Capture,
    recorder: File,
    main: FakeMain,
}

/// A master alone on its LAN, with its addresses and its first advert on the wire.
fn master() -> Setup {
    master_of(&config())
}

fn master_of(config: &VrrpConfig) -> Setup {
    let lan = Lan::new();
    let capture = Lan::inside(&lan.b, Capture::open);
    let recorder = flight::create().expect("memfd");
    let mut main = FakeMain::start(&lan.a, &recorder);
    main.begin(config, false);
    main.until_master();
    let advert = capture.next(PATIENCE, is_advert_v4).expect("an advert");
    assert_eq!(priority(&advert), Some(100));
    let vip = [192, 0, 2, 100];
    let arp = capture.next(PATIENCE, |f| f.get(12..14) == Some(&[8, 6]) && f.get(28..32) == Some(&vip));
    assert!(arp.is_some(), "a gratuitous ARP");
    let shown = addresses(&lan);
    assert!(shown.contains("192.0.2.100/24") && shown.contains("198.51.100.1/32"), "{shown}");
    assert!(flight::last_heartbeat(&recorder, MonotonicClock::measure()).is_some(), "the loop's heartbeat");
    Setup { lan, capture, recorder, main }
}

fn assert_handed_over(setup: &mut Setup) {
    let resigned = setup.capture.next(PATIENCE, |f| is_advert_v4(f) && priority(f) == Some(0));
    assert!(resigned.is_some(), "priority 0 on the wire");
    assert_eq!(setup.main.exit_code(), Some(0));
    let shown = addresses(&setup.lan);
    assert!(shown.contains("192.0.2.1/24"), "{shown}");
    assert!(!shown.contains("192.0.2.100") && !shown.contains("198.51.100.1"), "{shown}");
}

#[test]
fn a_master_alone_hands_over_when_told_to_stop() {
    needs_root!();
    let mut setup = master();
    setup.main.say(&ToVrrp::SnapshotPlease);
    let snapshot = setup.main.until(|m| match m {
        FromVrrp::Snapshot(snapshot) => Some(snapshot.clone()),
        _ => None,
    });
    assert_eq!(snapshot.instances["VI_1"].state, StateName::Master);
    setup.main.say(&ToVrrp::Stop);
    setup.main.until(|m| (*m == FromVrrp::Stopped).then_some(()));
    assert_handed_over(&mut setup);
}

/// Alone, it takes up what nobody else wants; in maintenance it does not.
#[test]
fn a_master_that_is_told_to_hand_over_does_and_says_so() {
    needs_root!();
    let mut setup = master();
    let ask = |main: &mut FakeMain, request: u64, instance: &str| {
        main.say(&ToVrrp::Failover { request, instance: instance.to_owned() });
        main.until(|m| match m {
            FromVrrp::Failover { request: answered, outcome } if *answered == request => Some(outcome.clone()),
            _ => None,
        })
    };
    let unknown = FailoverRefusal::Unknown { instance: "VI_2".to_owned() };
    assert_eq!(ask(&mut setup.main, 7, "VI_2"), Err(unknown));
    for round in 0..2 {
        match round {
            0 => assert_eq!(ask(&mut setup.main, 8, "VI_1"), Ok(())),
            _ => setup.main.say(&ToVrrp::Maintenance(true)),
        }
        let resigned = setup.capture.next(PATIENCE, |f| is_advert_v4(f) && priority(f) == Some(0));
        assert!(resigned.is_some(), "priority 0 on the wire");
        let end = Instant::now() + PATIENCE;
        while addresses(&setup.lan).contains("192.0.2.100") {
            assert!(Instant::now() < end, "the address goes when nobody comes");
        }
        if round == 0 {
            assert!(matches!(setup.main.until_master(), Cause::MasterSilent { .. }));
        }
    }
    let refused = ask(&mut setup.main, 9, "VI_1");
    assert!(matches!(refused, Err(FailoverRefusal::NotMaster { state: StateName::Backup, .. })), "{refused:?}");
    setup.main.say(&ToVrrp::SnapshotPlease);
    let shown = setup.main.until(|m| if let FromVrrp::Snapshot(shown) = m { Some(shown.clone()) } else { None });
    assert!(shown.maintenance && !shown.instances["VI_1"].handing_over);
    setup.main.say(&ToVrrp::Maintenance(false));
    setup.main.until_master();
    setup.main.say(&ToVrrp::Stop);
    setup.main.until(|m| (*m == FromVrrp::Stopped).then_some(()));
    assert_eq!(setup.main.exit_code(), Some(0));
}

/// Nanoseconds that all threads were on a CPU so far.
pub fn cpu_time(child: &Child) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{}/task", child.id())).expect("proc");
    let time = |thread: std::io::Result<std::fs::DirEntry>| -> u64 {
        let text = std::fs::read_to_string(thread.expect("a thread").path().join("schedstat")).expect("proc");
        text.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
    };
    threads.map(time).sum()
}

#[test]
fn an_idle_master_sleeps_between_its_adverts() {
    needs_root!();
    let setup = master();
    let (before, begun) = (cpu_time(&setup.main.child), Instant::now());
    for _ in 0..3 {
        assert!(setup.capture.next(PATIENCE, is_advert_v4).is_some(), "an advert");
    }
    let used = Duration::from_nanos(cpu_time(&setup.main.child) - before);
    assert!(used < begun.elapsed() / 10, "{used:?} in {:?}", begun.elapsed());
}

#[test]
fn a_master_whose_main_dies_hands_over() {
    needs_root!();
    let mut setup = master();
    setup.main.stream = None;
    assert_handed_over(&mut setup);
}

#[test]
fn a_terminated_master_hands_over_and_other_signals_are_ignored() {
    needs_root!();
    use nix::sys::signal::{Signal, kill};
    let mut setup = master();
    let child = nix::unistd::Pid::from_raw(i32::try_from(setup.main.child.id()).expect("a pid"));
    for ignored in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2] {
        kill(child, ignored).expect("our child");
    }
    setup.main.say(&ToVrrp::SnapshotPlease);
    setup.main.until(|m| matches!(m, FromVrrp::Snapshot(_)).then_some(()));
    kill(child, Signal::SIGTERM).expect("our child");
    assert_handed_over(&mut setup);
}

#[test]
fn a_killed_master_is_adopted_without_a_gap() {
    needs_root!();
    // The successor must be there before the next advert is due: time enough on the slowest machine.
    let mut config = config();
    for instance in config.instances.values_mut() {
        instance.advert_interval = AdvertInterval::from_seconds(10).expect("a second or more");
    }
    let mut setup = master_of(&config);
    setup.main.child.kill().expect("our child");
    assert_eq!(setup.main.exit_code(), None);
    assert!(addresses(&setup.lan).contains("192.0.2.100/24"), "nobody took it away");
    let mut second = FakeMain::start(&setup.lan.a, &setup.recorder);
    second.begin(&config, true);
    // A backup would wait for three intervals and the skew.
    assert_eq!(second.until_master(), Cause::Adopted);
    let advert = setup.capture.next(PATIENCE, is_advert_v4).expect("an advert");
    assert_eq!(priority(&advert), Some(100));
    setup.main = second;
    setup.main.say(&ToVrrp::Stop);
    assert_handed_over(&mut setup);
}

/// Main is told when it need not remember them any longer.
#[test]
fn what_a_killed_predecessor_left_of_a_former_configuration_goes() {
    needs_root!();
    let lan = Lan::new();
    let recorder = flight::create().expect("memfd");
    ip(&format!("-n {} addr add 192.0.2.77/24 dev eth0", lan.a));
    let mut left = AddressConfig::new(IpAddr::from([192, 0, 2, 77]));
    left.prefix_len = 24;
    let former = |interface: &str| FormerAddress { interface: interface.to_owned(), address: left.clone(), own: false };
    let mut main = FakeMain::start(&lan.a, &recorder);
    main.begin_after(&config(), true, vec![former("eth0"), former("eth7")]);
    main.until(|m| (*m == FromVrrp::Settled(1)).then_some(()));
    assert!(!addresses(&lan).contains("192.0.2.77"), "{}", addresses(&lan));
    main.until_master();
    let (old, new) = (config(), VrrpConfig::default());
    main.say(&ToVrrp::Reconfigure(Box::new(ConfigDiff::between(&old, &new))));
    main.until(|m| (*m == FromVrrp::Settled(1)).then_some(()));
    let shown = addresses(&lan);
    assert!(!shown.contains("192.0.2.100") && !shown.contains("198.51.100.1"), "{shown}");
}

#[test]
fn all_virtual_routers_of_a_lan_at_once() {
    needs_root!();
    let lan = Lan::new();
    let recorder = flight::create().expect("memfd");
    let mut main = FakeMain::start(&lan.a, &recorder);
    let mut all = VrrpConfig::default();
    for vrid in 1..=255 {
        let mut instance = InstanceConfig::new("eth0", Vrid::new(vrid).expect("not zero"));
        instance.state = InitialState::Master;
        let vip = |net| AddressConfig::new(IpAddr::from([198, 18, net, vrid]));
        instance.addresses = (0..4).map(vip).collect();
        all.instances.insert(format!("VI_{vrid}"), instance);
    }
    main.begin(&all, false);
    for _ in 0..255 {
        main.until_master();
    }
    // Addresses follow their masters within a few turns.
    let end = Instant::now() + PATIENCE;
    while addresses(&lan).lines().count() < 1021 {
        assert!(Instant::now() < end, "{}", addresses(&lan).lines().count());
    }
    main.say(&ToVrrp::Stop);
    main.until(|m| (*m == FromVrrp::Stopped).then_some(()));
    assert_eq!(main.exit_code(), Some(0));
    assert_eq!(addresses(&lan).lines().count(), 1, "all are gone");
}

#[test]
fn a_main_of_another_build_is_refused() {
    needs_root!();
    let lan = Lan::new();
    let recorder = flight::create().expect("memfd");
    let mut main = FakeMain::start(&lan.a, &recorder);
    main.say(&ToVrrp::Hello { build: "another".to_owned() });
    assert_eq!(main.exit_code(), Some(70));
}

#[test]
fn a_main_that_dies_or_stops_us_before_the_start_is_survived() {
    needs_root!();
    let lan = Lan::new();
    let recorder = flight::create().expect("memfd");
    for stop in [true, false] {
        let mut main = FakeMain::start(&lan.a, &recorder);
        main.say(&ToVrrp::Hello { build: BUILD_ID.to_owned() });
        if stop {
            main.say(&ToVrrp::Stop);
        }
        main.stream = main.stream.take().filter(|_| stop);
        assert_eq!(main.exit_code(), Some(0));
    }
}

/// The packet filter of host `a`.
fn ruleset(lan: &Lan) -> String {
    let output = Command::new("ip").args(["netns", "exec", &lan.a, "nft", "list", "ruleset"]).output().expect("nft");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn nft(lan: &Lan, words: &str) {
    let status = Command::new("ip").args(["netns", "exec", &lan.a, "nft", words]).status().expect("nft");
    assert!(status.success(), "{words}");
}

/// Whether host `b` gets an answer: no port is open, so an address that accepts packets refuses at once.
fn answers(lan: &Lan, address: &str) -> bool {
    let address = std::net::SocketAddr::new(address.parse().expect("an address"), 9);
    let result = Lan::inside(&lan.b, || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(400)));
    match result.expect_err("no port is open").kind() {
        std::io::ErrorKind::ConnectionRefused => true,
        std::io::ErrorKind::TimedOut => false,
        other => panic!("{address}: {other}"),
    }
}

fn until_answers(lan: &Lan, address: &str, wanted: bool) {
    let end = Instant::now() + PATIENCE;
    while answers(lan, address) != wanted {
        assert!(Instant::now() < end, "{address} answers: {}\n{}", !wanted, ruleset(lan));
    }
}

#[test]
fn a_master_that_does_not_accept_drops_all_but_neighbour_discovery() {
    needs_root!();
    if Command::new("nft").arg("--version").output().is_err() {
        println!("skipped: needs nft");
        return;
    }
    let lan = Lan::new();
    ip(&format!("-n {} addr add fe80::a/64 dev eth0 nodad", lan.a));
    ip(&format!("-n {} addr add 2001:db8::2/64 dev eth0 nodad", lan.b));
    // What a predecessor that was killed has left, and a table of the host's own.
    nft(&lan, "add table inet holdfast { set old { type ipv4_addr; }; }");
    nft(&lan, "add table inet own");
    let mut config = config();
    config.global.filter.counters = true;
    let mut v6 = InstanceConfig::new("eth0", Vrid::new(52).expect("not zero"));
    v6.state = InitialState::Master;
    v6.version = holdfast::vrrp::types::Version::V3;
    v6.family = holdfast::vrrp::types::Family::V6;
    v6.transport =
        holdfast::vrrp::config::Transport::Multicast { group: "ff02::12".parse().expect("a literal address") };
    v6.addresses = ["fe80::100", "2001:db8::100"]
        .map(|address| AddressConfig { prefix_len: 64, ..AddressConfig::new(address.parse().expect("an address")) })
        .into();
    config.instances.insert("VI_6".to_owned(), v6);
    for instance in config.instances.values_mut() {
        instance.accept = false;
    }
    let recorder = flight::create().expect("memfd");
    let mut main = FakeMain::start(&lan.a, &recorder);
    main.begin(&config, false);
    main.until_master();
    main.until_master();
    let end = Instant::now() + PATIENCE;
    while !addresses(&lan).contains("192.0.2.100") || !ruleset(&lan).contains("2001:db8::100") {
        assert!(Instant::now() < end, "the addresses and their filter");
    }
    let shown: String = ruleset(&lan).split_whitespace().collect::<Vec<_>>().join(" ");
    for line in [
        "type filter hook input priority filter - 1; policy accept;",
        "icmpv6 type 135-136 accept",
        "ip daddr @vips4 counter packets",
        "ip6 daddr @vips6 counter packets",
        "ip6 daddr . iif @link_local counter packets",
        "elements = { 192.0.2.100 }",
        "elements = { 2001:db8::100 }",
        "elements = { fe80::100 . \"eth0\" }",
        "table inet own",
    ] {
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
    assert!(!shown.contains("set old"), "{shown}");
    assert!(!answers(&lan, "192.0.2.100") && !answers(&lan, "2001:db8::100"));
    until_answers(&lan, "192.0.2.1", true); // the router's own address
    let neighbours = ip(&format!("-n {} neigh show", lan.b));
    for address in ["192.0.2.100", "2001:db8::100"] {
        let line = neighbours.lines().find(|line| line.starts_with(address));
        assert!(line.is_some_and(|l| l.contains("02:00:00:00:00:0a")), "{address}: {neighbours}");
    }

    // Somebody reloads the host's rules, ours with them: the next change brings the table back whole.
    nft(&lan, "flush ruleset");
    let mut next = config.clone();
    next.instances.get_mut("VI_6").expect("is there").accept = true;
    main.say(&ToVrrp::Reconfigure(Box::new(ConfigDiff::between(&config, &next))));
    until_answers(&lan, "2001:db8::100", true);
    until_answers(&lan, "192.0.2.100", false);
    let shown = ruleset(&lan);
    assert!(shown.contains("192.0.2.100") && !shown.contains("::100"), "{shown}");

    main.say(&ToVrrp::Stop);
    main.until(|m| (*m == FromVrrp::Stopped).then_some(()));
    assert_eq!(main.exit_code(), Some(0));
    assert_eq!(ruleset(&lan), "", "the table goes with the addresses");
}

#[test]
fn an_owner_accepts_whatever_is_configured() {
    needs_root!();
    let lan = Lan::new();
    let mut config = config();
    let instance = config.instances.get_mut("VI_1").expect("is there");
    instance.priority = holdfast::vrrp::types::Priority::OWNER;
    instance.accept = false;
    let recorder = flight::create().expect("memfd");
    let mut main = FakeMain::start(&lan.a, &recorder);
    main.begin(&config, false);
    main.until_master();
    until_answers(&lan, "192.0.2.100", true);
}

#[test]
fn promotion_of_secondary_addresses_is_put_back() {
    needs_root!();
    let lan = Lan::new();
    let promotes = |lan: &Lan| {
        let path = "/proc/sys/net/ipv4/conf/eth0/promote_secondaries";
        Lan::inside(&lan.a, || std::fs::read_to_string(path).expect("proc")).trim().to_owned()
    };
    Lan::inside(&lan.a, || std::fs::write("/proc/sys/net/ipv4/conf/eth0/promote_secondaries", "0").expect("proc"));
    let mut config = config();
    config.instances.get_mut("VI_1").expect("is there").promote_secondaries = true;
    let recorder = flight::create().expect("memfd");
    let mut main = FakeMain::start(&lan.a, &recorder);
    main.begin(&config, false);
    main.until_master();
    assert_eq!(promotes(&lan), "1");
    main.say(&ToVrrp::Stop);
    main.until(|m| (*m == FromVrrp::Stopped).then_some(()));
    assert_eq!(main.exit_code(), Some(0));
    assert_eq!(promotes(&lan), "0");
}

#[test]
fn an_owner_leaves_the_address_that_the_host_had_before() {
    needs_root!();
    for (before, after) in [(Some("192.0.2.100/24"), true), (None, false)] {
        let lan = Lan::new();
        if let Some(before) = before {
            ip(&format!("-n {} addr add {before} dev eth0", lan.a));
        }
        let mut config = config();
        config.instances.get_mut("VI_1").expect("is there").priority = holdfast::vrrp::types::Priority::OWNER;
        let recorder = flight::create().expect("memfd");
        let mut main = FakeMain::start(&lan.a, &recorder);
        main.begin(&config, false);
        main.until_master();
        until_answers(&lan, "192.0.2.100", true);
        main.say(&ToVrrp::Stop);
        main.until(|m| (*m == FromVrrp::Stopped).then_some(()));
        assert_eq!(main.exit_code(), Some(0));
        let shown = addresses(&lan);
        assert_eq!(shown.contains("192.0.2.100/24"), after, "{shown}");
    }
}
