//! What the lab has seen: states of instances, answers to clients, adverts on the wire, and the timeline they make.
//!
//! Pure: time is passed in. Happenings go in, lines of the timeline come out, and questions such as "is everything
//! settled?" are answered from what is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::director::{cause, state_change};
use super::frame::Meaning;
use super::outage::{History, Sample};
use super::plan::Probe;
use super::sniffer::Frame;

/// Something that one of the lab's threads observed.
#[derive(Debug, Clone)]
pub enum Happening {
    /// A daemon logged a line.
    Line {
        /// Which node's.
        node: String,
        /// When.
        at: Instant,
        /// The line.
        text: String,
    },
    /// A request of a client ended.
    Sample {
        /// Number of the probe.
        probe: usize,
        /// Its outcome.
        sample: Sample,
    },
    /// A frame entered a switch.
    Frame(Frame),
    /// Somebody wants the lab to end.
    Interrupted,
}

/// A line of the timeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Seconds since the lab began.
    pub seconds: f64,
    /// The node, `client` or `lab`.
    pub who: String,
    /// What happened.
    pub what: String,
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:9.3}  {:<8}  {}", self.seconds, self.who, self.what)
    }
}

/// How long everything must look good before it counts as settled: longer than a client's patience, because only
/// then is it known that no request in between went unanswered.
pub const CALM: Duration = super::client::PATIENCE.saturating_add(Duration::from_millis(100));

/// Repeated announcements of one address are one line.
const BURST: Duration = Duration::from_secs(2);

/// Everything seen so far.
#[derive(Debug)]
pub struct World {
    start: Instant,
    /// Log lines belong into the timeline, too.
    logs: bool,
    probes: Vec<ProbeState>,
    /// Last reported state by node and instance.
    states: BTreeMap<(String, String), Reported>,
    /// Priority of the last advert by node and VRID.
    adverts: BTreeMap<(String, u8), u8>,
    announced: BTreeMap<(String, String), Instant>,
    /// What a node last said of a real server: whether it serves, and when that was.
    real_servers: BTreeMap<(String, String), (bool, Instant)>,
    /// Why each node last took one in or out, or changed its weight.
    real_causes: BTreeMap<(String, String), (Option<String>, Instant)>,
    /// The timeline.
    pub entries: Vec<Entry>,
}

/// What a node last said of an instance.
#[derive(Debug)]
struct Reported {
    state: String,
    at: Instant,
    /// Why, when its daemon says so.
    cause: Option<String>,
}

#[derive(Debug)]
struct ProbeState {
    probe: Probe,
    history: History,
    answers_from: Option<String>,
    /// All that ever answered.
    seen: BTreeSet<String>,
    last_loss: Option<Instant>,
    lost_since: Option<Instant>,
}

impl World {
    /// Nothing seen yet. With `logs` the timeline has the daemons' log lines.
    pub fn new(start: Instant, probes: &[Probe], logs: bool) -> Self {
        let state = |probe: &Probe| ProbeState {
            probe: probe.clone(),
            history: History::default(),
            answers_from: None,
            seen: BTreeSet::new(),
            last_loss: None,
            lost_since: None,
        };
        Self {
            start,
            logs,
            probes: probes.iter().map(state).collect(),
            states: BTreeMap::new(),
            adverts: BTreeMap::new(),
            announced: BTreeMap::new(),
            real_servers: BTreeMap::new(),
            real_causes: BTreeMap::new(),
            entries: Vec::new(),
        }
    }

    /// Writes a line of the timeline.
    pub fn note(&mut self, at: Instant, who: &str, what: impl Into<String>) {
        let seconds = at.saturating_duration_since(self.start).as_secs_f64();
        self.entries.push(Entry { seconds, who: who.to_owned(), what: what.into() });
    }

    /// Takes one happening in.
    pub fn handle(&mut self, happening: Happening) {
        match happening {
            Happening::Line { node, at, text } => {
                if self.logs {
                    self.note(at, &node, format!("| {text}"));
                }
                if let Some((real_server, serves)) = real_server_change(&text) {
                    let what = if serves { "serves" } else { "is out" };
                    let why = cause(&text).map(|cause| format!(": {cause}")).unwrap_or_default();
                    self.note(at, &node, format!("{real_server} {what}{why}"));
                    let key = (node.clone(), real_server.to_owned());
                    self.real_servers.insert(key.clone(), (serves, at));
                    self.real_causes.insert(key, (cause(&text), at));
                }
                if let Some((real_server, weight)) = weight_change(&text) {
                    let cause = cause(&text);
                    let why = cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
                    self.note(at, &node, format!("{real_server} has weight {weight}{why}"));
                    self.real_causes.insert((node.clone(), real_server.to_owned()), (cause, at));
                }
                if let Some((real_server, order)) = admin_change(&text) {
                    self.note(at, &node, format!("{real_server} is {order}: an operator said so"));
                    self.real_causes.insert((node.clone(), real_server.to_owned()), (cause(&text), at));
                }
                if let Some((instance, state)) = state_change(&text) {
                    let cause = cause(&text);
                    let why = cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
                    self.note(at, &node, format!("{instance} is {state}{why}"));
                    if state == "MASTER" {
                        self.announced.retain(|(name, _), _| *name != node);
                    }
                    let reported = Reported { state: state.to_owned(), at, cause };
                    self.states.insert((node, instance.to_owned()), reported);
                }
            }
            Happening::Sample { probe, sample } => self.on_sample(probe, sample),
            Happening::Frame(frame) => self.on_frame(frame),
            Happening::Interrupted => {}
        }
    }

    fn on_sample(&mut self, number: usize, sample: Sample) {
        let Some(probe) = self.probes.get_mut(number) else { return };
        probe.history.add(sample.clone());
        let address = probe.probe.address;
        let what = match &sample.answer {
            // Known late: it may have been overtaken by answers to requests that were started after it.
            None => {
                let overtaken = probe.history.last_answer().is_some_and(|(_, at)| at > sample.started);
                if probe.lost_since.is_some() || overtaken || probe.answers_from.is_none() {
                    return;
                }
                probe.lost_since = Some(sample.started);
                // One dead server of many costs every third request, say: one line for all of them.
                let recent = |last: Instant| sample.started.saturating_duration_since(last) < BURST;
                let known = probe.probe.balanced && probe.last_loss.replace(sample.started).is_some_and(recent);
                if known {
                    return;
                }
                format!("no answer from {address}")
            }
            Some(node) => {
                let back = probe.lost_since.filter(|since| sample.started > *since);
                let balanced = probe.probe.balanced;
                // Of many that answer in turn, each is told of once.
                let known =
                    if balanced { !probe.seen.insert(node.clone()) } else { probe.answers_from.as_ref() == Some(node) };
                if back.is_none() && known {
                    probe.answers_from = Some(node.clone());
                    return;
                }
                probe.answers_from = Some(node.clone());
                match back {
                    Some(since) if balanced && known && sample.started - since < BURST => {
                        probe.lost_since = None;
                        return;
                    }
                    Some(since) => {
                        probe.lost_since = None;
                        format!("{address} answers again, from {node}, after {} ms", millis(sample.started - since))
                    }
                    None => format!("{address} answers from {node}"),
                }
            }
        };
        self.note(sample.started, "client", what);
    }

    fn on_frame(&mut self, frame: Frame) {
        let Frame { host, seen, meaning, .. } = frame;
        match meaning {
            Meaning::Advert(advert) => {
                let before = self.adverts.insert((host.clone(), advert.vrid), advert.priority);
                if before == Some(advert.priority) {
                    return;
                }
                let resigns = if advert.priority == 0 { ", resigning" } else { "" };
                let what = format!("advertises VRID {} with priority {}{resigns}", advert.vrid, advert.priority);
                self.note(seen, &host, what);
            }
            Meaning::GratuitousArp { address, .. } => self.on_announcement(seen, host, address.to_string()),
            Meaning::NeighbourAdvert { address, solicited: false } => {
                self.on_announcement(seen, host, address.to_string());
            }
            Meaning::NeighbourAdvert { .. } | Meaning::Arp | Meaning::Other => {}
        }
    }

    fn on_announcement(&mut self, at: Instant, host: String, address: String) {
        if !self.probes.iter().any(|probe| probe.probe.address.to_string() == address) {
            return;
        }
        let last = self.announced.insert((host.clone(), address.clone()), at);
        if last.is_none_or(|last| at.saturating_duration_since(last) > BURST) {
            self.note(at, &host, format!("announces {address}"));
        }
    }

    /// The node is a dead machine from now on: what its daemon said last counts no longer.
    pub fn forget(&mut self, node: &str) {
        self.states.retain(|(name, _), _| name != node);
        self.adverts.retain(|(name, _), _| name != node);
        self.announced.retain(|(name, _), _| name != node);
        self.real_servers.retain(|(name, _), _| name != node);
    }

    /// Nodes whose last word about an instance is MASTER.
    pub fn masters(&self, instance: &str) -> BTreeSet<String> {
        let of_instance = self.states.iter().filter(|((_, name), said)| name == instance && said.state == "MASTER");
        of_instance.map(|((node, _), _)| node.clone()).collect()
    }

    /// When a node last reported that an instance is MASTER, if it still is.
    pub fn master_since(&self, node: &str, instance: &str) -> Option<Instant> {
        let said = self.states.get(&(node.to_owned(), instance.to_owned()))?;
        (said.state == "MASTER").then_some(said.at)
    }

    /// Why a node's instance is in its state, if its daemon told.
    pub fn cause(&self, node: &str, instance: &str) -> Option<String> {
        self.states.get(&(node.to_owned(), instance.to_owned()))?.cause.clone()
    }

    /// The priority in the node's last advert.
    pub fn advertised(&self, node: &str, vrid: u8) -> Option<u8> {
        self.adverts.get(&(node.to_owned(), vrid)).copied()
    }

    /// Every probed instance has one master, and clients get their answers from it.
    pub fn is_settled(&self) -> bool {
        self.probes.iter().all(|probe| {
            let mut masters = self.masters(&probe.probe.instance).into_iter();
            let (Some(master), None) = (masters.next(), masters.next()) else { return false };
            let served =
                if probe.probe.balanced { probe.answers_from.is_some() } else { probe.answers_from == Some(master) };
            probe.lost_since.is_none() && served
        })
    }

    /// States and answers as they are now, to see whether anything changed.
    pub fn picture(&self) -> Vec<(String, String)> {
        let states =
            self.states.iter().map(|((node, instance), said)| (format!("{node} {instance}"), said.state.clone()));
        let single = self.probes.iter().filter(|p| !p.probe.balanced);
        let answers = single.map(|p| (p.probe.address.to_string(), p.answers_from.clone().unwrap_or_default()));
        states.chain(answers).collect()
    }

    /// The longest total outage of any probe among requests started in this window.
    pub fn outage(&self, from: Instant, to: Instant) -> Duration {
        self.probes.iter().map(|probe| probe.history.outage(from, to)).max().unwrap_or_default()
    }

    /// When a node said that a real server serves (or is out), if that was its last word.
    pub fn real_server_since(&self, node: &str, real_server: &str, serves: bool) -> Option<Instant> {
        let (now, at) = self.real_servers.get(&(node.to_owned(), real_server.to_owned()))?;
        (*now == serves).then_some(*at)
    }

    /// Why a node changed a real server last, if it has since then and its daemon tells.
    pub fn real_server_cause(&self, node: &str, real_server: &str, since: Instant) -> Option<String> {
        let (cause, at) = self.real_causes.get(&(node.to_owned(), real_server.to_owned()))?;
        cause.clone().filter(|_| *at >= since)
    }

    /// Of one probe's requests that were started in this window: how often each server answered, and how many went
    /// unanswered.
    pub fn answers(&self, probe: usize, from: Instant, to: Instant) -> (BTreeMap<String, usize>, usize) {
        let probe = self.probes.get(probe);
        let answers = probe.map(|probe| (probe.history.answers(from, to), probe.history.unanswered(from, to)));
        answers.unwrap_or_default()
    }

    /// Requests that were sent from then to then, and those of them without an answer, over all probes.
    pub fn lost(&self, from: Instant, to: Instant) -> (usize, usize) {
        let probes = self.probes.iter().map(|probe| {
            let unanswered = probe.history.unanswered(from, to);
            (probe.history.answers(from, to).values().sum::<usize>() + unanswered, unanswered)
        });
        probes.fold((0, 0), |sum, (all, lost)| (sum.0 + all, sum.1 + lost))
    }

    /// Requests, and unanswered ones, over all probes.
    pub fn totals(&self) -> (usize, usize) {
        let totals = self.probes.iter().map(|probe| probe.history.totals());
        totals.fold((0, 0), |sum, (all, lost)| (sum.0 + all, sum.1 + lost))
    }
}

/// Reads `Removing service [192.0.2.7]:tcp:80 from VS …` and its siblings, whatever stands before and after it: the real
/// server, and whether it serves now.
fn real_server_change(line: &str) -> Option<(&str, bool)> {
    let words = [("Adding", true), ("Enabling", true), ("Removing", false), ("Disabling", false)];
    words.into_iter().find_map(|(word, serves)| {
        let (_, rest) = line.split_once(&format!("{word} service "))?;
        Some((rest.split(' ').next()?, serves))
    })
}

/// Reads `Changing weight from 1 to 0 for active service [192.0.2.7]:tcp:80 of VS …`: the real server and its new weight.
fn weight_change(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once("Changing weight from ")?;
    let (_, weight) = rest.split(" for ").next()?.split_once(" to ")?;
    let (_, rest) = rest.split_once(" service ")?;
    Some((rest.split(' ').next()?, weight))
}

/// Reads `service [192.0.2.7]:tcp:80 of VS … was up and is drain now`: the real server and what was said of it.
fn admin_change(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once("service ")?;
    let (real_server, rest) = rest.split_once(" of VS ")?;
    let (_, rest) = rest.split_once(" was ")?;
    let (_, order) = rest.split_once(" now")?.0.split_once(" and is ")?;
    Some((real_server, order))
}

/// Milliseconds for people: whole ones.
pub fn millis(duration: Duration) -> u128 {
    (duration + Duration::from_micros(500)).as_millis()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    fn world(start: Instant) -> World {
        let address = "10.0.0.1".parse().unwrap();
        World::new(start, &[Probe { instance: "VI_1".to_owned(), address, segment: 0, balanced: false }], false)
    }

    fn line(node: &str, at: Instant, state: &str) -> Happening {
        Happening::Line { node: node.to_owned(), at, text: format!("(VI_1) Entering {state} STATE") }
    }

    fn sample(started: Instant, answer: Option<&str>) -> Happening {
        Happening::Sample { probe: 0, sample: Sample { started, answer: answer.map(str::to_owned) } }
    }

    #[test]
    fn a_failover_makes_a_timeline() {
        let t0 = Instant::now();
        let at = |ms| t0 + Duration::from_millis(ms);
        let mut world = world(t0);
        world.handle(line("a", at(0), "MASTER"));
        world.handle(line("b", at(1), "BACKUP"));
        world.handle(sample(at(10), Some("a")));
        assert!(world.is_settled());
        // b answers before it is known that the request at 20 ms was lost for good.
        world.handle(sample(at(20), None));
        assert!(!world.is_settled());
        world.forget("a");
        let text = "(VI_1) Entering MASTER STATE cause=\"no advert for 3600 ms\"".to_owned();
        world.handle(Happening::Line { node: "b".to_owned(), at: at(3600), text });
        assert_eq!(world.cause("b", "VI_1").as_deref(), Some("no advert for 3600 ms"));
        world.handle(sample(at(3605), Some("b")));
        world.handle(sample(at(3595), None));
        assert!(world.is_settled());
        assert_eq!(world.outage(at(0), at(4000)), Duration::from_millis(3585));
        let text: Vec<_> = world.entries.iter().map(|e| format!("{} {}", e.who, e.what)).collect();
        let expected = [
            "a VI_1 is MASTER",
            "b VI_1 is BACKUP",
            "client 10.0.0.1 answers from a",
            "client no answer from 10.0.0.1",
            "b VI_1 is MASTER: no advert for 3600 ms",
            "client 10.0.0.1 answers again, from b, after 3585 ms",
        ];
        assert_eq!(text, expected);
    }

    #[test]
    fn two_masters_are_not_settled() {
        let t0 = Instant::now();
        let mut world = world(t0);
        world.handle(sample(t0, Some("a")));
        assert!(!world.is_settled(), "no master");
        world.handle(line("a", t0, "MASTER"));
        assert!(world.is_settled());
        world.handle(line("b", t0, "MASTER"));
        assert!(!world.is_settled());
        world.handle(line("b", t0, "FAULT"));
        assert!(world.is_settled());
    }

    #[test]
    fn real_servers_answer_in_turn_and_are_told_of_once() {
        let t0 = Instant::now();
        let address = "10.0.0.1".parse().unwrap();
        let probe = Probe { instance: "VI_1".to_owned(), address, segment: 0, balanced: true };
        let mut world = World::new(t0, &[probe], false);
        world.handle(line("a", t0, "MASTER"));
        for server in ["web1", "web2", "web1", "web2"] {
            world.handle(sample(t0, Some(server)));
        }
        assert!(world.is_settled());
        let picture = world.picture();
        let text = "x: Removing service [10.0.0.7]:tcp:80 from VS [10.0.0.1]:tcp:80 cause=started".to_owned();
        world.handle(Happening::Line { node: "a".to_owned(), at: t0, text });
        assert_eq!(world.real_server_since("a", "[10.0.0.7]:tcp:80", false), Some(t0));
        assert_eq!(world.real_server_since("a", "[10.0.0.7]:tcp:80", true), None);
        let why = |world: &World, since| world.real_server_cause("a", "[10.0.0.7]:tcp:80", since);
        assert_eq!(why(&world, t0).as_deref(), Some("started"));
        let later = t0 + Duration::from_secs(1);
        assert_eq!(why(&world, later), None, "not since then");
        let weight =
            "Changing weight from 1 to 0 for active service [10.0.0.7]:tcp:80 of VS [10.0.0.1]:tcp:80 cause=\"a b\"";
        world.handle(Happening::Line { node: "a".to_owned(), at: later, text: weight.to_owned() });
        assert_eq!(why(&world, later).as_deref(), Some("a b"));
        let order = "service [10.0.0.7]:tcp:80 of VS [10.0.0.1]:tcp:80 was up and is drain now cause=\"an operator\"";
        world.handle(Happening::Line { node: "a".to_owned(), at: later, text: order.to_owned() });
        assert_eq!(why(&world, later).as_deref(), Some("an operator"));
        let told: Vec<_> = world.entries.iter().map(|e| e.what.as_str()).collect();
        let expected = [
            "VI_1 is MASTER",
            "10.0.0.1 answers from web1",
            "10.0.0.1 answers from web2",
            "[10.0.0.7]:tcp:80 is out: started",
            "[10.0.0.7]:tcp:80 has weight 0: a b",
            "[10.0.0.7]:tcp:80 is drain: an operator said so",
        ];
        assert_eq!(told, expected);
        assert_eq!(world.picture(), picture);
        let (answers, lost) = world.answers(0, t0, t0 + Duration::from_secs(1));
        assert_eq!((answers["web1"], answers["web2"], lost), (2, 2, 0));
    }

    #[test]
    fn adverts_are_told_when_they_change() {
        let t0 = Instant::now();
        let mut world = world(t0);
        for priority in [100, 100, 100, 0] {
            let advert = super::super::frame::Advert {
                source: "10.0.0.2".parse().unwrap(),
                destination: "224.0.0.18".parse().unwrap(),
                ttl: 255,
                version: 2,
                vrid: 51,
                priority,
                interval_cs: 100,
                addresses: Vec::new(),
                bytes: Vec::new(),
            };
            let meaning = Meaning::Advert(advert);
            let frame = Frame { host: "a".to_owned(), at: Duration::ZERO, seen: t0, meaning, bytes: Vec::new() };
            world.handle(Happening::Frame(frame));
        }
        assert_eq!(world.entries.len(), 2);
        assert_eq!(world.advertised("a", 51), Some(0));
    }
}
