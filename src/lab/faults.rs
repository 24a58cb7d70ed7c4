//! The script of a rehearsal: what is broken, what must come of it, and how long it may take.
//!
//! Shell: drives a [`Cluster`]. Every wait is for something to happen, with a deadline.

#![allow(clippy::disallowed_methods)] // A shell: it measures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::cluster::Cluster;
use super::mounts::PRIVATE;
use super::report::Row;
use super::survey::{Instance, Track, TrackKind};
use crate::status::time::Time;
use crate::status::why::Explained;

/// What a rehearsal can break, in the order in which it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Fault {
    /// The master dies like a machine without power, and boots again.
    Crash,
    /// The master's daemon is stopped by SIGTERM, and started again.
    Stop,
    /// The file that a track_script or track_file watches appears on the master, and goes.
    Maintenance,
    /// The master's web server ends, and is started again (when a check asks it).
    Service,
    /// The master's cable is pulled, and put back.
    Cut,
    /// Every daemon reads its unchanged file again.
    Reload,
    /// A real server behind a virtual server loses its power, and boots again.
    RealPower,
    /// A real server's web server ends, and is started again.
    RealPort,
    /// A real server's web server answers with errors, and well again (when a check reads the page).
    RealPage,
    /// A real server is drained, and serves again (when it has control sockets, or a FILE_CHECK).
    RealDrain,
    /// All real servers' web servers end, and are started again (when there is a sorry server).
    AllReal,
}

impl Fault {
    /// Whether it breaks something behind the directors.
    pub fn is_of_services(self) -> bool {
        match self {
            Self::Crash | Self::Stop | Self::Maintenance | Self::Service | Self::Cut | Self::Reload => false,
            Self::RealPower | Self::RealPort | Self::RealPage | Self::RealDrain | Self::AllReal => true,
        }
    }
}

/// All of them.
pub const ALL: [Fault; 11] = [
    Fault::RealPort,
    Fault::RealPower,
    Fault::RealPage,
    Fault::RealDrain,
    Fault::AllReal,
    Fault::Crash,
    Fault::Stop,
    Fault::Maintenance,
    Fault::Service,
    Fault::Cut,
    Fault::Reload,
];

/// Beyond the bound, to be sure that something does not happen rather than happens late.
const GRACE: Duration = Duration::from_secs(5);

/// Between two questions to a daemon that does not know its last change yet.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// A `preempt_delay` longer than this is not waited for.
const LONGEST_PREEMPT_DELAY: Duration = Duration::from_secs(30);

/// A check that names one of these asks the node's own web server.
const ASKS_THE_SERVICE: [&str; 4] = ["127.0.0.1", "localhost", "[::1]", ":80"];

/// Starts all daemons and waits for the first election.
pub fn start(cluster: &mut Cluster) -> Result<()> {
    let start = cluster.note("lab", "starting the daemons");
    for node in 0..cluster.nodes.len() {
        cluster.start(node)?;
    }
    let slowest = cluster.nodes.iter().flat_map(|node| &node.survey.instances);
    let slowest =
        slowest.map(|i| i.master_down(1) + i.tracks.iter().map(|t| t.reaction).max().unwrap_or_default()).max();
    let deadline = start + slowest.unwrap_or_default() + GRACE;
    while !cluster.wait_calm(Instant::now() + Duration::from_millis(500), |world| world.is_settled())? {
        let ended = (0..cluster.nodes.len()).find(|node| !cluster.director(*node).is_ok_and(|d| d.is_running()));
        if ended.is_none() && Instant::now() < deadline {
            continue;
        }
        let node = ended.unwrap_or(0);
        let director = cluster.director(node)?;
        let why = if ended.is_some() { "ended at once" } else { "did not come to one master that serves" };
        let log: String = director.log().iter().rev().take(20).rev().map(|l| format!("\n  {}", l.text)).collect();
        bail!("the daemon of {} {why}; its log ends with:{log}", director.name());
    }
    // A higher priority may still take over from whoever was first.
    if let Some(best) = favourite(cluster)? {
        expect_master(cluster, &best, Instant::now() + GRACE)?;
    }
    Ok(())
}

/// Breaks one thing and repairs it. No rows when these files have nothing of the kind.
pub fn run(cluster: &mut Cluster, fault: Fault) -> Result<Vec<Row>> {
    let probed = cluster.plan.probes.first().context("nothing to ask")?.instance.clone();
    let Some(name) = cluster.world.masters(&probed).into_iter().next() else {
        return Ok(vec![Row { remark: "no master to begin with".to_owned(), ..empty_row("-", "-") }]);
    };
    let victim = cluster.node_number(&name).context("a master that is no node")?;
    let instance = cluster.instance(victim, &probed).context("a master without an instance")?.clone();
    let scene = Scene { victim, name, instance };
    match fault {
        Fault::Crash => scene.crash(cluster),
        Fault::Stop => scene.stop(cluster),
        Fault::Maintenance => scene.maintenance(cluster),
        Fault::Service => scene.service(cluster),
        Fault::Cut => scene.cut(cluster),
        Fault::Reload => scene.reload(cluster),
        Fault::RealPower | Fault::RealPort | Fault::RealPage | Fault::RealDrain | Fault::AllReal => Ok(Vec::new()),
    }
}

/// How long a client may go unserved.
enum Bound {
    /// The successor's master-down interval: the master fell silent.
    MasterDown,
    /// The successor's skew time: the master resigned.
    Skew,
    /// Not at all: the new master takes over from one that serves.
    Nothing,
    /// The RFC says nothing.
    Unknown,
}

/// Who is broken: the master of the first address that clients ask.
struct Scene {
    victim: usize,
    name: String,
    instance: Instance,
}

impl Scene {
    fn crash(&self, cluster: &mut Cluster) -> Result<Vec<Row>> {
        let at = cluster.note("lab", format!("{} crashes: no power", self.name));
        // A dead machine sends no last words and answers for no orphaned address, and its daemon sees no link go.
        cluster.silence(self.victim)?;
        cluster.director_mut(self.victim)?.kill_all();
        cluster.cut(self.victim, None)?;
        cluster.world.forget(&self.name);
        let broken = self.after_fault(cluster, "crash", at, Bound::MasterDown, Duration::ZERO)?;
        cluster.wipe_addresses(self.victim)?;
        cluster.mend(self.victim, None)?;
        cluster.hear(self.victim)?;
        cluster.wait_links(self.victim)?;
        let at = cluster.note("lab", format!("{} boots", self.name));
        cluster.start(self.victim)?;
        Ok(vec![broken, self.after_repair(cluster, "boots again", at)?])
    }

    fn stop(&self, cluster: &mut Cluster) -> Result<Vec<Row>> {
        let at = cluster.note("lab", format!("SIGTERM to the daemon of {}", self.name));
        cluster.director(self.victim)?.signal(Signal::SIGTERM);
        // Its last report may remain MASTER: it is going, and the clients tell who serves.
        cluster.world.forget(&self.name);
        let mut broken = self.after_fault(cluster, "clean stop", at, Bound::Skew, Duration::ZERO)?;
        if cluster.director(self.victim)?.wait_exit(GRACE).is_none() {
            broken.settled = false;
            broken.remark = "the daemon did not end".to_owned();
            cluster.director_mut(self.victim)?.kill_all();
            cluster.wipe_addresses(self.victim)?;
        }
        cluster.world.forget(&self.name);
        let at = cluster.note("lab", format!("the daemon of {} starts", self.name));
        cluster.start(self.victim)?;
        Ok(vec![broken, self.after_repair(cluster, "starts again", at)?])
    }

    fn maintenance(&self, cluster: &mut Cluster) -> Result<Vec<Row>> {
        let Some((path, content, track)) = self.instance.tracks.iter().find_map(|track| {
            let (path, content) = watched_file(track)?;
            Some((path, content, track.clone()))
        }) else {
            return Ok(Vec::new());
        };
        let at = cluster.note("lab", format!("{} appears on {}", path.display(), self.name));
        cluster.director(self.victim)?.write_file(&path, &content)?;
        let bound = if track.weight == 0 { Bound::Skew } else { Bound::Nothing };
        let broken = if self.outweighed(cluster, &track) {
            self.after_fault(cluster, "maintenance file", at, bound, track.reaction)?
        } else {
            let row =
                self.watch_unchanged(cluster, "maintenance file", at, track.reaction + self.instance.interval * 4)?;
            Row { remark: "the weight is too small to change the master".to_owned(), ..row }
        };
        let at = cluster.note("lab", format!("{} goes from {}", path.display(), self.name));
        if content.is_empty() {
            cluster.director(self.victim)?.remove_file(&path)?;
        } else {
            cluster.director(self.victim)?.write_file(&path, "0\n")?;
        }
        Ok(vec![broken, self.after_repair(cluster, "file removed", at)?])
    }

    fn service(&self, cluster: &mut Cluster) -> Result<Vec<Row>> {
        let asks = |track: &&Track| match &track.kind {
            TrackKind::Script(script) => ASKS_THE_SERVICE.iter().any(|word| script.contains(word)),
            TrackKind::File(_) => false,
        };
        let Some(track) = self.instance.tracks.iter().find(asks).cloned() else { return Ok(Vec::new()) };
        let at = cluster.note("lab", format!("the web server of {} ends", self.name));
        cluster.serve(self.victim, false)?;
        let broken = self.after_fault(cluster, "service down", at, Bound::Unknown, track.reaction)?;
        let at = cluster.note("lab", format!("the web server of {} starts", self.name));
        cluster.serve(self.victim, true)?;
        Ok(vec![broken, self.after_repair(cluster, "service up", at)?])
    }

    fn cut(&self, cluster: &mut Cluster) -> Result<Vec<Row>> {
        let interface = self.instance.interface.as_deref();
        let at = cluster.note("lab", format!("the cable of {} is pulled", self.name));
        cluster.cut(self.victim, interface)?;
        let broken = self.after_fault(cluster, "link cut", at, Bound::MasterDown, Duration::ZERO)?;
        let at = cluster.note("lab", format!("the cable of {} is back", self.name));
        cluster.mend(self.victim, interface)?;
        Ok(vec![broken, self.after_repair(cluster, "link mended", at)?])
    }

    fn reload(&self, cluster: &mut Cluster) -> Result<Vec<Row>> {
        let at = cluster.note("lab", "SIGHUP to every daemon, nothing changed");
        for node in 0..cluster.nodes.len() {
            cluster.director(node)?.reload();
        }
        let watch = self.instance.master_down(1) + Duration::from_secs(1);
        Ok(vec![Row { node: "all".to_owned(), ..self.watch_unchanged(cluster, "reload", at, watch)? }])
    }

    /// Waits for another master and measures.
    fn after_fault(
        &self,
        cluster: &mut Cluster,
        what: &str,
        at: Instant,
        bound: Bound,
        reaction: Duration,
    ) -> Result<Row> {
        let deadline = at + reaction + self.instance.master_down(1) + GRACE;
        let other = |world: &super::world::World| {
            world.is_settled() && !world.masters(&self.instance.name).contains(&self.name)
        };
        let settled = cluster.wait_calm(deadline, other)?;
        let mut row = self.measure(cluster, what, at, settled);
        row.bound = self.bound(cluster, row.master.as_deref(), &bound);
        if !settled {
            let masters = cluster.world.masters(&self.instance.name);
            row.remark = match masters.len() {
                0 => "no master".to_owned(),
                1 if masters.contains(&self.name) => "nobody took over".to_owned(),
                1 => "clients are not served".to_owned(),
                _ => "more than one master".to_owned(),
            };
        }
        Ok(row)
    }

    /// Waits until the master is who it should be by priority, and measures.
    fn after_repair(&self, cluster: &mut Cluster, what: &str, at: Instant) -> Result<Row> {
        let back = favourite(cluster)?.filter(|best| *best == self.name);
        let reaction = self.instance.tracks.iter().map(|track| track.reaction).max().unwrap_or_default();
        let deadline = Instant::now() + self.instance.master_down(1) + self.instance.preempt_delay + reaction + GRACE;
        let settled = match &back {
            Some(best) => expect_master(cluster, best, deadline)?,
            // Nothing is to change: long enough to see that it does not.
            None => {
                cluster.wait(Instant::now() + self.instance.master_down(1) + reaction, |_| false)?;
                cluster.wait_calm(deadline, |world| world.is_settled())?
            }
        };
        let mut row = self.measure(cluster, what, at, settled);
        row.bound = Some(Duration::ZERO);
        if !settled {
            row.remark = "not back to one master that serves".to_owned();
        }
        Ok(row)
    }

    /// Watches for a while; every state and every answer must stay as it was.
    fn watch_unchanged(&self, cluster: &mut Cluster, what: &str, at: Instant, watch: Duration) -> Result<Row> {
        let before = cluster.world.picture();
        cluster.wait(at + watch, |_| false)?;
        let same = cluster.world.picture() == before;
        let mut row = self.measure(cluster, what, at, same && cluster.world.is_settled());
        row.bound = Some(Duration::ZERO);
        row.takeover = None;
        row.remark = if same { "nothing changed" } else { "states changed" }.to_owned();
        Ok(row)
    }

    fn measure(&self, cluster: &mut Cluster, what: &str, at: Instant, settled: bool) -> Row {
        let mut masters = cluster.world.masters(&self.instance.name).into_iter();
        let master = masters.next().filter(|_| masters.next().is_none());
        let since = master.as_ref().and_then(|master| cluster.world.master_since(master, &self.instance.name));
        let since = since.filter(|since| *since >= at);
        let cause = since.and(master.as_ref()).and_then(|master| cluster.world.cause(master, &self.instance.name));
        let (requests, lost) = cluster.world.lost(at, Instant::now());
        Row {
            requests,
            lost,
            takeover: since.map(|since| since - at),
            cause,
            outage: Some(cluster.world.outage(at, Instant::now())),
            why: self.explain(cluster, what, at, since.and(master.as_deref())),
            master,
            settled,
            ..empty_row(what, &self.name)
        }
    }

    /// Shows why each node changed its state since then. What happened to the successor, and to the one that was broken
    /// and lives, is known by now, or soon.
    fn explain(
        &self,
        cluster: &mut Cluster,
        what: &str,
        at: Instant,
        successor: Option<&str>,
    ) -> BTreeMap<String, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = Time(now.saturating_sub(at.elapsed()));
        let mut causes = BTreeMap::new();
        for node in 0..cluster.nodes.len() {
            let Some(name) = cluster.nodes.get(node).map(|node| node.name.clone()) else { continue };
            let is_victim = name == self.name && what != "crash";
            let knows = successor.is_some_and(|successor| successor == name || is_victim);
            let deadline = Instant::now() + if knows { GRACE } else { Duration::ZERO };
            let mut explained = cluster.why(node, &self.instance.name, since);
            while explained.is_none() && cluster.can_explain && Instant::now() < deadline {
                std::thread::sleep(ASK_AGAIN);
                explained = cluster.why(node, &self.instance.name, since);
            }
            let Some(Explained { transition, evidence }) = explained else { continue };
            let head = format!("why {} → {}: {}", transition.from, transition.to, transition.cause);
            let peers = transition.peers.iter().map(|peer| format!("    {peer}"));
            let lines = evidence.iter().map(|line| {
                let before = transition.at.since(line.at).as_millis();
                format!("    {before} ms before: {}", line.text)
            });
            for line in std::iter::once(head).chain(peers).chain(lines) {
                cluster.note(&name, line);
            }
            causes.insert(name, transition.cause);
        }
        causes
    }

    /// By the priority that the new master itself advertises: trackers may have changed it.
    fn bound(&self, cluster: &Cluster, master: Option<&str>, bound: &Bound) -> Option<Duration> {
        let node = cluster.node_number(master?)?;
        let theirs = cluster.instance(node, &self.instance.name)?;
        let priority = cluster.world.advertised(master?, theirs.vrid).unwrap_or(theirs.priority);
        match bound {
            Bound::MasterDown => Some(theirs.master_down(priority)),
            Bound::Skew => Some(theirs.skew(priority)),
            Bound::Nothing => Some(Duration::ZERO),
            Bound::Unknown => None,
        }
    }

    /// Whether another node's priority is the higher one once this tracker fails here.
    fn outweighed(&self, cluster: &Cluster, track: &Track) -> bool {
        if track.weight == 0 {
            return true;
        }
        let ours = match track.kind {
            TrackKind::Script(_) => i32::from(self.instance.priority) + track.weight.min(0),
            TrackKind::File(_) => 1,
        };
        let bonus = |i: &Instance| i.tracks.iter().map(|t| t.weight.max(0)).sum::<i32>();
        let others = (0..cluster.nodes.len()).filter(|node| *node != self.victim);
        let mut others = others.filter_map(|node| cluster.instance(node, &self.instance.name));
        others.any(|other| other.preempt && i32::from(other.priority) + bonus(other) > ours)
    }
}

/// The node that takes the first address when all are well: the highest priority, if it preempts soon enough to see.
fn favourite(cluster: &Cluster) -> Result<Option<String>> {
    let probed = &cluster.plan.probes.first().context("nothing to ask")?.instance;
    let nodes = (0..cluster.nodes.len()).filter_map(|n| Some((cluster.nodes.get(n)?, cluster.instance(n, probed)?)));
    let Some((node, instance)) = nodes.max_by_key(|(_, instance)| instance.priority) else { return Ok(None) };
    let preempts = instance.preempt && instance.preempt_delay <= LONGEST_PREEMPT_DELAY;
    Ok(preempts.then(|| node.name.clone()))
}

fn expect_master(cluster: &mut Cluster, node: &str, deadline: Instant) -> Result<bool> {
    let probed = cluster.plan.probes.first().context("nothing to ask")?.instance.clone();
    cluster.wait_calm(deadline, |world| world.is_settled() && world.masters(&probed).contains(node))
}

/// The file that makes a tracker fail, and what to write into it. Only where writing touches nothing outside.
fn watched_file(track: &Track) -> Option<(PathBuf, String)> {
    let (path, content) = match &track.kind {
        TrackKind::Script(script) => (file_in_script(script)?, String::new()),
        TrackKind::File(path) if track.weight == 0 => (path.clone(), "1\n".to_owned()),
        // Far enough down for any priority, short of the value that means FAULT.
        TrackKind::File(path) => {
            (path.clone(), format!("{}\n", -(200 / track.weight.abs()).max(1) * track.weight.signum()))
        }
    };
    PRIVATE.iter().any(|private| path.starts_with(private)).then_some((path, content))
}

/// The path after `-e` or `-f`.
fn file_in_script(script: &str) -> Option<PathBuf> {
    let mut words = script.split_whitespace();
    words.find(|word| matches!(*word, "-e" | "-f"))?;
    let path = words.next()?.trim_matches(['"', '\'', ';']);
    Path::new(path).is_absolute().then(|| PathBuf::from(path))
}

fn empty_row(what: &str, node: &str) -> Row {
    Row {
        what: what.to_owned(),
        node: node.to_owned(),
        master: None,
        takeover: None,
        outage: None,
        requests: 0,
        lost: 0,
        bound: None,
        settled: false,
        cause: None,
        why: BTreeMap::new(),
        remark: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_file_that_a_script_watches() {
        let found = |script| file_in_script(script).map(|path| path.display().to_string());
        assert_eq!(found("[[ -e /etc/keepalived/down ]] && exit 1 || exit 0").as_deref(), Some("/etc/keepalived/down"));
        assert_eq!(found("/usr/bin/test ! -f /run/down").as_deref(), Some("/run/down"));
        assert_eq!(found("killall -0 nginx"), None);
        assert_eq!(found("[ -e down ]"), None);
    }

    #[test]
    fn only_private_files_are_written() {
        let track = |path: &str, weight| Track { kind: TrackKind::File(path.into()), weight, reaction: Duration::ZERO };
        assert_eq!(watched_file(&track("/var/lib/drain", 1)), None);
        assert_eq!(watched_file(&track("/run/drain", 0)).unwrap().1, "1\n");
        assert_eq!(watched_file(&track("/run/drain", 2)).unwrap().1, "-100\n");
        assert_eq!(watched_file(&track("/run/drain", -1)).unwrap().1, "200\n");
    }
}
