//! A small cluster for one test: switches, directors of either make, and everything that was on the wire.
//!
//! Interface `eth0` of every node is on the first switch, `eth1` on the second. Node `n` (from 0) has 10.9.0.(11+n)/24
//! and fd09::(11+n)/64 on `eth0`, 10.9.1.(11+n)/24 on `eth1`. All waits are for events; limits are generous, because
//! the machine may be busy with everything else.
#![allow(dead_code, missing_docs, clippy::disallowed_methods)] // Each test uses a part, in real time.

use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use holdfast::lab::director::{self, Daemon, Director};
use holdfast::lab::frame::{Advert, Meaning};
use holdfast::lab::host::Host;
use holdfast::lab::lan::{self, Lan};
use holdfast::lab::mounts::ExtraFile;
use holdfast::lab::sniffer::{Frame, Sniffer};

use crate::common::{KEEPALIVED, steady};

/// How long anything that must happen may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Which daemon a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    Holdfast,
    Keepalived,
    /// FRR's vrrpd; its file is in FRR's words, and its log tells no states.
    Frr,
}

impl Make {
    fn daemon(self) -> Daemon {
        let program = match self {
            Self::Holdfast => env!("CARGO_BIN_EXE_holdfast"),
            Self::Keepalived => KEEPALIVED,
            Self::Frr => concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/frr.sh"),
        };
        Daemon { program: program.into(), options: Vec::new() }
    }
}

/// A node before it runs.
pub struct Node {
    pub name: &'static str,
    pub make: Make,
    pub config: String,
    pub files: Vec<ExtraFile>,
    /// Of the command line, beyond those that every start has.
    pub options: Vec<String>,
}

impl Node {
    pub fn new(name: &'static str, make: Make, config: impl Into<String>) -> Self {
        Self { name, make, config: config.into(), files: Vec::new(), options: Vec::new() }
    }

    /// An executable beside the configuration.
    pub fn script(mut self, name: &str, text: &str) -> Self {
        self.files.push(ExtraFile { name: name.into(), content: text.as_bytes().to_vec(), mode: 0o755 });
        self
    }
}

/// The cluster. Dropping it looks for the cause of each change of state; after a panic it prints every log and the wire.
pub struct Rig {
    sniffers: Vec<Sniffer>,
    pub nodes: Vec<Director>,
    makes: Vec<Make>,
    lans: Vec<Lan>,
    wires: Vec<Wire>,
}

impl Rig {
    /// Everything built and plugged in on `lans` switches; no daemon runs yet.
    pub fn build(lans: usize, nodes: Vec<Node>) -> Self {
        let mut lans: Vec<_> = (0..lans).map(|n| Lan::new(&format!("switch{n}")).expect("a namespace")).collect();
        let mut directors = Vec::new();
        let makes = nodes.iter().map(|node| node.make).collect();
        for (n, node) in nodes.into_iter().enumerate() {
            let host = Host::new(node.name).expect("a namespace");
            for (l, lan) in lans.iter_mut().enumerate() {
                let mut addresses = vec![(ip(&format!("10.9.{l}.{}", 11 + n)), 24)];
                if l == 0 {
                    addresses.push((ip(&format!("fd09::{}", 11 + n)), 64));
                }
                lan.plug(&host, &format!("eth{l}"), &addresses).expect("a cable");
            }
            let daemon = Daemon { options: node.options, ..node.make.daemon() };
            directors.push(Director::new(host, daemon, &node.config, node.files).expect("private mounts"));
        }
        let mut wires = Vec::new();
        let mut sniffers = Vec::new();
        for (l, lan) in lans.iter().enumerate() {
            lan.wait_ready().expect("ports forward");
            for director in &directors {
                lan.wait_host_ready(director.host(), &format!("eth{l}")).expect("links are up");
            }
            let wire = Wire::default();
            let tap = wire.clone();
            sniffers.push(Sniffer::start(lan, move |frame| tap.push(frame)).expect("a packet socket"));
            wires.push(wire);
        }
        Self { sniffers, nodes: directors, makes, lans, wires }
    }

    /// Another machine on the first switch.
    pub fn plug(&mut self, host: &Host, addresses: &[(IpAddr, u8)]) {
        let lan = &mut self.lans[0];
        lan.plug(host, "eth0", addresses).expect("a cable");
        lan.wait_ready().expect("ports forward");
        lan.wait_host_ready(host, "eth0").expect("the link is up");
    }

    /// A new interface `eth0` for a node that has lost its own. The wire does not show what it sends.
    pub fn replug(&mut self, n: usize, addresses: &[(IpAddr, u8)]) {
        let Self { lans, nodes, .. } = self;
        lans[0].plug(nodes[n].host(), "eth0", addresses).expect("a cable");
        lans[0].wait_host_ready(nodes[n].host(), "eth0").expect("the link is up");
    }

    /// One switch, all daemons running.
    pub fn start(nodes: Vec<Node>) -> Self {
        let mut rig = Self::build(1, nodes);
        rig.start_all();
        rig
    }

    /// The first node is master before the others start: at short intervals the start of processes decides otherwise.
    pub fn start_in_turn(&mut self) {
        self.nodes[0].start().expect("the daemon starts");
        wait_state(&self.nodes[0], "VI_1", "MASTER");
        for node in &mut self.nodes[1..] {
            node.start().expect("the daemon starts");
        }
    }

    pub fn start_all(&mut self) {
        for node in &mut self.nodes {
            node.start().expect("the daemon starts");
        }
    }

    /// The nodes of a pair.
    pub fn pair(&mut self) -> (&mut Director, &mut Director) {
        let [a, b] = &mut self.nodes[..] else { panic!("a pair") };
        (a, b)
    }

    pub fn wire(&self) -> Wire {
        self.wires[0].clone()
    }

    pub fn wire_of(&self, lan: usize) -> Wire {
        self.wires[lan].clone()
    }

    pub fn lan(&self, n: usize) -> &Lan {
        &self.lans[n]
    }

    pub fn node(&self, n: usize) -> &Director {
        &self.nodes[n]
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let ours = self.nodes.iter().zip(&self.makes).filter(|(_, make)| **make == Make::Holdfast);
            ours.for_each(|(node, _)| each_change_has_its_cause(node));
            return;
        }
        for node in &self.nodes {
            eprintln!("---- log of {}", node.name());
            for line in node.log() {
                eprintln!("{}", line.text);
            }
        }
        for (n, wire) in self.wires.iter().enumerate() {
            eprintln!("---- wire {n}");
            let frames = wire.since(0);
            let start = frames.first().map_or(Duration::ZERO, |frame| frame.at);
            for frame in frames {
                let at = frame.at.saturating_sub(start).as_secs_f64();
                match &frame.meaning {
                    Meaning::Advert(advert) => eprintln!(
                        "{at:9.4} {} advert VRID {} priority {} of {} to {} ({} addresses)",
                        frame.host,
                        advert.vrid,
                        advert.priority,
                        advert.source,
                        advert.destination,
                        advert.addresses.len()
                    ),
                    other => eprintln!("{at:9.4} {} {other:?}", frame.host),
                }
            }
        }
    }
}

/// Every change of state, whatever test it is of, is told with its cause: one that nobody knows is a defect.
fn each_change_has_its_cause(node: &Director) {
    for line in node.log() {
        let Some((instance, state)) = line.state_change() else { continue };
        let cause = director::cause(&line.text).unwrap_or_default();
        let is_known = !cause.is_empty() && !cause.to_lowercase().starts_with("unknown");
        assert!(is_known, "{}: {instance} is {state}, and nobody knows why: {}", node.name(), line.text);
    }
}

/// All frames of one switch, as they come.
#[derive(Clone, Default)]
pub struct Wire(Arc<(Mutex<Vec<Frame>>, Condvar)>);

impl Wire {
    fn push(&self, frame: Frame) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
        self.0.1.notify_all();
    }

    /// The time by the capture's clock, in nanoseconds: frames after it are those that come later, whenever they are read.
    pub fn mark(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        u64::try_from(now.as_nanos()).expect("for long")
    }

    pub fn since(&self, mark: u64) -> Vec<Frame> {
        let frames = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        after(&frames, mark).to_vec()
    }

    /// The first frame after `mark` of which `wanted` says so; waits for it.
    pub fn wait(&self, mark: u64, what: &str, wanted: impl Fn(&Frame) -> bool) -> Frame {
        let deadline = Instant::now() + PATIENCE;
        let mut frames = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(frame) = after(&frames, mark).iter().find(|frame| wanted(frame)) {
                return frame.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "never on the wire: {what}");
            frames = self.0.1.wait_timeout(frames, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The first advert of `host` after `mark` with this priority.
    pub fn wait_priority(&self, mark: u64, host: &str, priority: u8) -> Frame {
        self.wait(mark, &format!("an advert of {host} with priority {priority}"), |frame| {
            frame.host == host && advert(frame).is_some_and(|advert| advert.priority == priority)
        })
    }

    /// The first advert of `host` after `mark` with any priority above 0.
    pub fn wait_master(&self, mark: u64, host: &str) -> Frame {
        self.wait(mark, &format!("an advert of {host}"), |frame| {
            frame.host == host && advert(frame).is_some_and(|advert| advert.priority > 0)
        })
    }

    /// Waits until `host` has sent `count` adverts after `mark`; these.
    pub fn wait_adverts(&self, mark: u64, host: &str, count: usize) -> Vec<Frame> {
        let mut adverts: Vec<Frame> = Vec::new();
        while adverts.len() < count {
            let last = adverts.last().map_or(mark.saturating_sub(1), nanoseconds);
            adverts.push(self.wait(last + 1, &format!("more adverts of {host}"), |frame| {
                frame.host == host && advert(frame).is_some()
            }));
        }
        adverts
    }

    /// The last advert above priority 0 that `host` sent before `before`.
    pub fn last_master_advert(&self, host: &str, before: Duration) -> Frame {
        let frames = self.since(0);
        let mut sent = frames.into_iter().rev().filter(|frame| frame.host == host && frame.at < before);
        sent.find(|frame| advert(frame).is_some_and(|advert| advert.priority > 0)).expect("it was master")
    }

    /// Who was master of this VRID after `mark`, one after the other. The one before is not master again for an advert
    /// that crossed the first of the new one on the wire, nor for the last one with which it yields; for a third it is.
    pub fn owners(&self, mark: u64, vrid: u8) -> Vec<String> {
        const STILL: usize = 2;
        let mut owners: Vec<(String, usize, usize)> = Vec::new();
        for frame in self.since(mark) {
            if !advert(&frame).is_some_and(|advert| advert.vrid == vrid && advert.priority > 0) {
                continue;
            }
            match &mut owners[..] {
                [.., (host, count, _)] if *host == frame.host => *count += 1,
                [.., (before, ..), (_, 1, still)] if *before == frame.host && *still < STILL => *still += 1,
                _ => owners.push((frame.host, 1, 0)),
            }
        }
        owners.into_iter().map(|(host, ..)| host).collect()
    }
}

fn nanoseconds(frame: &Frame) -> u64 {
    u64::try_from(frame.at.as_nanos()).unwrap_or(u64::MAX)
}

/// Frames are captured in the order of their times.
fn after(frames: &[Frame], mark: u64) -> &[Frame] {
    &frames[frames.partition_point(|frame| nanoseconds(frame) < mark)..]
}

/// The advert in a frame.
pub fn advert(frame: &Frame) -> Option<&Advert> {
    match &frame.meaning {
        Meaning::Advert(advert) => Some(advert),
        _ => None,
    }
}

/// The address that a frame announces to the neighbours.
pub fn announced(frame: &Frame) -> Option<IpAddr> {
    match &frame.meaning {
        Meaning::GratuitousArp { address, .. } => Some((*address).into()),
        Meaning::NeighbourAdvert { address, solicited: false } => Some((*address).into()),
        _ => None,
    }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("a literal address")
}

/// Whether an interface of this node has the address.
pub fn holds(node: &Director, interface: &str, address: IpAddr) -> bool {
    lan::addresses(node.host(), interface).expect("netlink").contains(&address)
}

pub fn wait_address(node: &Director, interface: &str, address: IpAddr, present: bool) {
    let what = format!("{} {} {address}", node.name(), if present { "has" } else { "has no" });
    wait_until(&what, || holds(node, interface, address) == present);
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for `Entering … STATE` in the log.
pub fn wait_state(node: &Director, instance: &str, state: &str) {
    if let Err(error) = node.wait_for(instance, state, PATIENCE) {
        panic!("{error}");
    }
}

/// Waits for these words in the log after `mark`; the line.
pub fn wait_line(node: &Director, mark: usize, words: &str) -> String {
    match node.wait_for_line(mark, words, PATIENCE) {
        Ok(line) => line.text,
        Err(error) => panic!("{error}"),
    }
}

/// Whether the log has these words.
pub fn logged(node: &Director, words: &str) -> bool {
    node.log().iter().any(|line| line.text.contains(words))
}

/// What a shell line prints on the node. It must succeed.
pub fn sh(node: &Director, line: &str) -> String {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut process = node.host().spawn(command).expect("a shell");
    let mut output = String::new();
    process.stdout.take().expect("piped").read_to_string(&mut output).expect("text");
    let status = process.wait(PATIENCE).expect("it ends");
    assert!(status.success(), "{line}: {status}");
    output
}

/// The number of the vrrp process, as the node numbers it.
pub fn vrrp_pid(node: &Director) -> String {
    let pid = node.host().run(|| std::fs::read_to_string("/run/lab-vrrp.pid")).expect("a pid file");
    pid.trim().to_owned()
}

/// Reads a file as the node sees it; nothing if there is none.
pub fn read(node: &Director, path: &str) -> String {
    let path = path.to_owned();
    node.host().run(move || std::fs::read_to_string(path)).unwrap_or_default()
}

/// Writes the node's keepalived.conf and has it read.
pub fn reload(node: &Director, config: &str) {
    node.write_file(Path::new(holdfast::lab::director::CONFIG), config).expect("a private file");
    node.reload();
}

/// Tells a story for each case at the same time ([`steady`]). All end before the first failure is told.
pub fn each<T: std::fmt::Debug + Send + Sync>(cases: &[T], story: impl Fn(&T) + Sync) {
    let failed: Vec<_> = std::thread::scope(|scope| {
        let story = &story;
        let tell = |case| scope.spawn(move || steady(|| story(case)));
        let threads: Vec<_> = cases.iter().map(|case| (case, tell(case))).collect();
        threads.into_iter().filter_map(|(case, thread)| Some((case, thread.join().err()?))).collect()
    });
    if let Some((case, panic)) = failed.into_iter().next() {
        eprintln!("failed: {case:?}");
        std::panic::resume_unwind(panic);
    }
}
