//! The status page in a browser that people use, and the manners of its server.
//!
//! The browser is Debian's chromium, without a window; without it (or root, which it is run as here) the test says that
//! it was skipped. With `HOLDFAST_SCREENSHOTS=DIR` pictures are left there: on a desk, on a phone, in the dark, of a page that
//! was made up and of a daemon's own.
#![allow(missing_docs, clippy::disallowed_methods)] // Real time, real processes.

mod common;
#[path = "page/daemon.rs"]
mod daemon;
#[path = "common/rig.rs"]
mod rig;

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdfast::status::model::{
    Address, Cause, Check, Effect, Event, Heard, Instance, Peer, Priority, Process, ProcessState, RealServer, State,
    Status, Tracker, Traffic, VirtualServer,
};
use holdfast::status::page::PageConfig;
use holdfast::status::page::server::{Page, Source};
use holdfast::status::time::Time;

const PATIENCE: Duration = Duration::from_secs(60);
/// A name that a hostile configuration or peer would choose.
const MARKUP: &str = "<img src=x onerror=\"document.title='hacked'\">";

#[derive(Clone, Default)]
struct Fake {
    panics: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
}

impl Source for Fake {
    async fn status(&self) -> Result<Arc<Status>, String> {
        let n = self.asked.fetch_add(1, Ordering::Relaxed);
        assert!(!self.panics.swap(false, Ordering::Relaxed), "as it was told to");
        Ok(Arc::new(status(n)))
    }

    async fn events(&self) -> Result<Vec<Event>, String> {
        Ok(events())
    }
}

fn at(seconds: u64) -> Time {
    Time(Duration::from_secs(1_795_249_000 + seconds))
}

fn status(n: u64) -> Status {
    let mut status =
        Status { node: "gw-a".into(), router_id: Some("gw-a".into()), at: at(600 + 2 * n), ..Status::default() };
    status.daemon.version = "0.1.0".into();
    status.daemon.uptime_ms = 7_300_000;
    status.daemon.last_event = 3;
    let process = |name: &str| Process { name: name.into(), pid: Some(4), state: ProcessState::Running, restarts: 0 };
    status.daemon.processes = ["main", "vrrp", "balancer"].map(process).into();
    let address = |text: &str| Address { address: text.into(), interface: Some("eth0".into()), excluded: false };
    let instance = |name: &str, state, cause: &str, vrid| Instance {
        name: name.into(),
        state,
        for_ms: Some(754_000),
        cause: Cause { kind: "x".into(), text: cause.into() },
        vrid,
        version: 3,
        family: "IPv4".into(),
        interface: Some("eth0".into()),
        advert_interval_ms: 1000,
        priority: Priority { effective: 100, base: 100, trackers: vec![] },
        ..Instance::default()
    };
    let peer = Peer {
        address: IpAddr::from([192, 0, 2, 12]),
        priority: Some(100),
        version: Some(3),
        advert_interval_ms: Some(1000),
        addresses: vec![],
        last_heard_ms: Some(431),
        jitter_ms: Some(2),
        refused: None,
    };
    status.instances = vec![
        Instance {
            addresses: vec![address("192.0.2.100/24"), address("2001:db8::100/64")],
            priority: Priority {
                effective: 155,
                base: 150,
                trackers: vec![Effect {
                    tracker: "script chk_http".into(),
                    status: "up".into(),
                    adds: 5,
                    ..Effect::default()
                }],
            },
            peers: vec![peer.clone()],
            ..instance("VI_web", State::Master, "no advert from 192.0.2.12 (priority 100) for 3411 ms", 51)
        },
        Instance {
            addresses: vec![address("192.0.2.101/24")],
            master: Some(Heard { address: IpAddr::from([192, 0, 2, 12]), priority: 150, advert_interval_ms: 1000 }),
            peers: vec![peer],
            ..instance("VI_db", State::Backup, "192.0.2.12 (priority 150) is better than ours, 100", 52)
        },
        instance(MARKUP, State::Fault, &format!("interface {MARKUP} is down"), 53),
    ];
    let tracker = |kind: &str, name: &str, status: &str| Tracker {
        kind: kind.into(),
        name: name.into(),
        status: status.into(),
        ..Tracker::default()
    };
    status.trackers =
        vec![tracker("script", "chk_http", "up"), tracker("interface", MARKUP, "down"), tracker("file", "load", "12")];
    let traffic = |connections, rate| Traffic {
        connections: connections + rate * n,
        active: rate,
        in_bytes: 40_000 * n,
        out_bytes: 3_000_000 * n,
        ..Traffic::default()
    };
    let real = |address: &str, up, reason: Option<&str>| RealServer {
        address: address.into(),
        up: Some(up),
        admin: "up".into(),
        configured_weight: 3,
        table_weight: Some(if up { 3 } else { 0 }),
        checks: vec![Check { kind: "HTTP".into(), up, reason: reason.map(str::to_owned), adds_weight: 0 }],
        traffic: Some(traffic(81_000, 40)),
        ..RealServer::default()
    };
    status.virtual_servers = vec![VirtualServer {
        id: "[192.0.2.100]:tcp:443".into(),
        label: Some("shop".into()),
        protocol: "tcp".into(),
        scheduler: "wlc".into(),
        method: "NAT".into(),
        carrier: Some("userspace".into()),
        has_quorum: Some(true),
        active: Some(true),
        quorum: 1,
        live_weight: Some(6),
        real_servers: vec![
            real("192.0.2.7:443", true, None),
            real("192.0.2.8:443", true, None),
            real("192.0.2.9:443", false, Some("connection refused by 192.0.2.9:443")),
        ],
        traffic: Some(traffic(243_000, 120)),
        ..VirtualServer::default()
    }];
    status.virtual_servers.push(VirtualServer {
        id: "[192.0.2.100]:sctp:5060".into(),
        has_quorum: Some(true),
        able: Some(false),
        active: Some(true),
        refused: Some("the forwarder carries TCP and UDP".into()),
        ..VirtualServer::default()
    });
    status
}

fn events() -> Vec<Event> {
    let event = |sequence, kind: &str, text: &str, to: Option<&str>| Event {
        sequence,
        at: at(sequence * 100),
        process: "vrrp".into(),
        kind: kind.into(),
        text: text.into(),
        to: to.map(str::to_owned),
        ..Event::default()
    };
    vec![
        event(1, "started", "holdfast 0.1.0 started", None),
        event(
            2,
            "state_changed",
            "VI_web: BACKUP → MASTER: no advert from 192.0.2.12 (priority 100) for 3411 ms",
            Some("MASTER"),
        ),
        event(3, "state_changed", &format!("{MARKUP}: MASTER → FAULT"), Some("FAULT")),
        event(4, "warning", "only shown when everything is", None),
    ]
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Status line, head and body of the answer.
fn exchange(mut stream: impl Read + Write, request: &str) -> (String, String, String) {
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.lines().next().unwrap_or_default().to_owned(), head.to_ascii_lowercase(), body.to_owned())
}

fn get(socket: &Path, path: &str, more: &str) -> (String, String, String) {
    let stream = UnixStream::connect(socket).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    exchange(stream, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n{more}Connection: close\r\n\r\n"))
}

struct Served {
    dir: tempfile::TempDir,
    page: Page,
    fake: Fake,
}

impl Served {
    fn start(token: Option<&str>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("token");
        let mut words = vec![format!("unix:{}", dir.path().join("page").display())];
        if let Some(token) = token {
            std::fs::write(&file, format!("{token}\n")).expect("written");
            words.extend(["token_file".to_owned(), file.display().to_string()]);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let fake = Fake::default();
        let config = PageConfig::parse(&words).expect("a legal line");
        let page = Page::start(&config, fake.clone(), Arc::default()).expect("a page");
        let served = Self { dir, page, fake };
        wait_for("it listens", || UnixStream::connect(served.socket()).ok());
        served
    }

    fn socket(&self) -> std::path::PathBuf {
        self.dir.path().join("page")
    }
}

#[test]
fn what_is_answered_and_how() {
    let served = Served::start(None);
    let (line, head, body) = get(&served.socket(), "/", "");
    assert!(line.ends_with("200 OK") && body.contains("<title>Holdfast</title>"), "{line}");
    assert!(head.contains("content-security-policy: default-src 'none'") && head.contains("nosniff"), "{head}");
    let (_, _, body) = get(&served.socket(), "/status.json?x", "");
    let parsed: Status = serde_json::from_str(&body).expect("the status");
    assert_eq!(parsed.instances.len(), 3);
    let (_, _, body) = get(&served.socket(), "/events.json", "");
    assert_eq!(serde_json::from_str::<Vec<Event>>(&body).expect("events").len(), 4);
    let (_, head, body) = get(&served.socket(), "/metrics", "");
    assert!(head.contains("text/plain; version=0.0.4") && body.contains("holdfast_instance_state{"), "{head}");
    assert!(get(&served.socket(), "/etc/passwd", "").0.contains("404"));
    let (line, ..) = exchange(UnixStream::connect(served.socket()).unwrap(), "garbage\r\n\r\n");
    assert!(line.contains("400"), "{line}");
    let long = format!("X: {}\r\n", "x".repeat(100_000));
    assert!(!get(&served.socket(), "/", &long).0.contains("200"));
}

#[test]
fn a_token_is_asked_for() {
    let served = Served::start(Some("correct-horse-battery"));
    assert!(get(&served.socket(), "/status.json", "").0.contains("401"));
    assert!(get(&served.socket(), "/metrics", "Authorization: Bearer wrong-horse-battery\r\n").0.contains("401"));
    assert!(get(&served.socket(), "/metrics", "Authorization: Bearer correct-horse-battery\r\n").0.contains("200"));
    let short = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(short.path(), "short\n").expect("written");
    let line = format!("127.0.0.1:0 token_file {}", short.path().display());
    let config = PageConfig::parse(&line.split(' ').collect::<Vec<_>>()).expect("a legal line");
    assert!(Page::start(&config, Fake::default(), Arc::default()).is_err_and(|e| e.to_string().contains("16")));
}

#[test]
fn a_panic_ends_one_connection_and_is_counted() {
    let served = Served::start(None);
    served.fake.panics.store(true, Ordering::Relaxed);
    let (line, ..) = get(&served.socket(), "/status.json", "");
    assert_eq!(line, "", "the connection ends");
    wait_for("it is counted", || (served.page.panics() == 1).then_some(()));
    assert!(get(&served.socket(), "/status.json", "").0.contains("200"), "the next one is served");
}

#[test]
fn a_page_that_is_closed_is_gone() {
    let served = Served::start(None);
    let socket = served.socket();
    let Served { page, dir: _dir, .. } = served;
    drop(page);
    wait_for("nobody listens", || UnixStream::connect(&socket).is_err().then_some(()));
}

// ---- in a browser ---------------------------------------------------------------------------------------------------

fn chromium(profile: &Path, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new("timeout");
    command.args(["120", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    command.args(["--no-first-run", "--hide-scrollbars", "--virtual-time-budget=6000"]);
    command.arg(format!("--user-data-dir={}", profile.display())).args(arguments);
    command.output().ok()
}

#[test]
fn people_see_it_in_a_browser() {
    if !common::root() {
        return;
    }
    if Command::new("chromium").arg("--version").output().is_err() {
        return common::skipped("needs chromium");
    }
    let profile = tempfile::tempdir().expect("a directory");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let config = PageConfig::parse(&[&free.to_string()]).expect("a legal line");
    let _page = Page::start(&config, Fake::default(), Arc::default()).expect("a page");
    wait_for("it listens", || TcpStream::connect(free).ok());
    let url = format!("http://{free}/");
    let output = chromium(profile.path(), &["--dump-dom", &url]).expect("it runs");
    let dom = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    for words in [
        "<title>gw-a · Holdfast</title>",
        "VI_web",
        "MASTER",
        "no advert from 192.0.2.12 (priority 100) for 3411 ms",
        "priority 155 = 150, script chk_http up +5",
        "peer 192.0.2.12, priority 100, heard 0 s ago",
        "connection refused by 192.0.2.9:443",
        "2 of 3 real servers up",
        "the forwarder carries TCP and UDP",
        ">DOWN<",
        // Forty thousand bytes every two seconds.
        ", in 20 kB/s, out 1.5 MB/s",
        "1 of 3 master here",
        "live, ",
        // What a peer says is text.
        "&lt;img src=x onerror=",
    ] {
        assert!(dom.contains(words), "{words:?} is not on the page:\n{dom}\n{said}");
    }
    assert!(!dom.contains("<img") && !dom.contains("hacked<"), "markup from outside:\n{dom}");
    assert!(!dom.contains("only shown when everything is"), "a warning is no change");
    assert!(dom.find("VI_db") > dom.find("VI_web"), "those who need a look come first");
    assert!(!said.contains("Refused to") && !said.contains("Uncaught"), "{said}");
    let Some(pictures) = std::env::var_os("HOLDFAST_SCREENSHOTS") else { return };
    for (name, size, dark) in [("desk", "1280,1200", false), ("phone", "500,2400", false), ("dark", "1280,1200", true)]
    {
        let file = format!("--screenshot={}", Path::new(&pictures).join(format!("{name}.png")).display());
        let size = format!("--window-size={size}");
        let mut arguments = vec![file.as_str(), size.as_str(), "--force-device-scale-factor=1"];
        if dark {
            arguments.push("--blink-settings=preferredColorScheme=0");
        }
        arguments.push(&url);
        chromium(profile.path(), &arguments).expect("it runs");
    }
}
