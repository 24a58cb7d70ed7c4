//! The control API's end in main: what is asked is answered here, and here alone.
//!
//! Shell, on main's loop. A question about the state makes a [`round`]: both children are asked for a snapshot, and
//! whatever has come within its limit is shown; what has not is said. Nobody waits for a child that stands still, and no
//! child is asked again before it has answered. Rounds keep a distance, so that nobody can keep the children busy.

mod foresee;
mod maintenance;
mod real_servers;
mod round;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;
use tracing::{info, warn};

use self::round::{Part, Round, Waiting};
use super::{MainProcess, namespace};
use crate::cli::DaemonArgs;
use crate::conf::config::Config;
use crate::control::api::{Answer, Refused, Request, done, nearest, refused};
use crate::control::handle::{Ask, Handle, Inbox};
use crate::control::paths;
use crate::control::server::{Permissions, Server};
use crate::daemon::kept::KeptFile;
use crate::ipvs::event::Event as BalancerEvent;
use crate::status::history::{Happening, History};
use crate::status::maintenance::Record;
use crate::status::model::{self, Outcome};
use crate::status::time::Time;
use crate::vrrp::engine::FailoverRefusal;
use crate::vrrp::event::Event as VrrpEvent;
use crate::vrrp::message::ToVrrp;

/// The vrrp process says by then whether a hand-over has begun.
const FAILOVER_LIMIT: Duration = Duration::from_secs(2);
/// Bytes of diagnostics in the answer to a reload.
const MOST_DIAGNOSTICS: usize = 16 * 1024;

/// What main keeps for the control API.
pub(super) struct Control {
    inbox: Option<Inbox>,
    /// After the inbox in the order of dropping: answers leave first.
    _server: Option<Server>,
    handle: Option<Handle>,
    pub history: History,
    started: Time,
    started_at: Instant,
    round: Option<Round>,
    /// For the next round.
    waiting: Vec<Waiting>,
    next_round: Instant,
    /// The child has not answered the last question yet.
    vrrp_owes: bool,
    balancer_owes: bool,
    failovers: BTreeMap<u64, Failover>,
    next_request: u64,
    /// Whoever asked for the reload that is under way, and for the next one.
    reloading: Vec<oneshot::Sender<Answer>>,
    reload_next: Vec<oneshot::Sender<Answer>>,
    /// Reads the file for somebody who wants to know what a reload would do.
    foreseeing: Option<tokio::task::JoinHandle<()>>,
    pub reloads: model::Reloads,
    pub events_lost: u64,
    maintenance: Option<Record>,
    maintenance_file: KeptFile,
    /// The directory of that file is this daemon's.
    has_directory: bool,
    look_at_clock: Instant,
}

struct Failover {
    what: String,
    answer: oneshot::Sender<Answer>,
    late_at: Instant,
}

/// What woke main.
pub(super) enum Wake {
    Asked(Ask),
    /// Something is late, or its time has come.
    Due,
}

/// Waits for either. Safe to drop.
pub(super) async fn wait(control: &mut Control) -> Wake {
    let due = control.next_deadline().map(tokio::time::Instant::from_std);
    let asked = async {
        match &mut control.inbox {
            Some(inbox) => inbox.requests.recv().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        Some(ask) = asked => Wake::Asked(ask),
        () = sleep_until(due) => Wake::Due,
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[allow(clippy::disallowed_methods, reason = "a shell: reads the clock")]
fn wall_clock() -> Time {
    Time(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

#[allow(clippy::disallowed_methods, reason = "a shell: reads the clock")]
impl Control {
    /// Opens the sockets; a daemon without them goes on, and says so.
    pub fn open(args: &DaemonArgs, config: &Config) -> Self {
        let namespace = namespace(args, config);
        let directory = paths::directory(args.control_dir.as_deref(), &config.daemon, namespace.as_deref());
        let owner = nix::unistd::geteuid().as_raw();
        let permissions = Permissions { owner, group: config.daemon.control_group.as_deref().and_then(group) };
        let (server, handle, inbox) = match Server::start(&directory, permissions) {
            Ok((server, handle, inbox)) => (Some(server), Some(handle), Some(inbox)),
            Err(error) => {
                let also = if config.daemon.state_directory.is_none() { ", and no black box is written" } else { "" };
                warn!("no control sockets, `holdfast status` cannot reach this daemon{also}: {error}");
                (None, None, None)
            }
        };
        let state = config.daemon.state_directory.as_deref().unwrap_or(&directory);
        let maintenance_file = KeptFile::new(paths::maintenance_file(state));
        let now = Instant::now();
        // Without a directory of its own what is there is another daemon's.
        let has_directory = server.is_some() || config.daemon.state_directory.is_some();
        let mut control = Self {
            inbox,
            _server: server,
            handle,
            history: History::default(),
            started: wall_clock(),
            started_at: now,
            round: None,
            waiting: Vec::new(),
            next_round: now,
            vrrp_owes: false,
            balancer_owes: false,
            failovers: BTreeMap::new(),
            next_request: 0,
            reloading: Vec::new(),
            reload_next: Vec::new(),
            foreseeing: None,
            reloads: model::Reloads::default(),
            events_lost: 0,
            maintenance: None,
            maintenance_file,
            has_directory,
            look_at_clock: now,
        };
        if has_directory {
            control.restore_maintenance();
        }
        control.note("started", format!("holdfast {} started", env!("CARGO_PKG_VERSION")));
        control
    }

    /// Where files of this daemon go that are not for long; `None` when there is only another daemon's directory.
    pub(super) fn directory(&self) -> Option<&Path> {
        if self.has_directory { self.maintenance_file.path().parent() } else { None }
    }

    /// The file of what operators have said of real servers.
    pub(super) fn real_servers_file(&self) -> Option<PathBuf> {
        self.directory().map(paths::real_servers_file)
    }

    /// For others that ask as the sockets do.
    pub fn handle(&self) -> Option<Handle> {
        self.handle.clone()
    }

    /// Whether this node is in maintenance, as it was before a restart.
    pub fn is_in_maintenance(&self) -> bool {
        self.maintenance.is_some()
    }

    /// Puts something of main's own into the history.
    pub fn note(&mut self, kind: &'static str, text: String) {
        self.happened(wall_clock(), Happening::Main { kind, text });
    }

    fn happened(&mut self, at: Time, what: Happening) {
        let last = self.history.push(at, what);
        if let Some(inbox) = &self.inbox {
            inbox.news.send_replace(last);
        }
    }

    /// The vrrp process says that something happened at this time of the wall clock.
    pub fn vrrp_event(&mut self, event: &VrrpEvent, at: Duration) {
        self.happened(Time(at), Happening::Vrrp(event.clone()));
    }

    /// The same of the balancer process.
    pub fn balancer_event(&mut self, event: &BalancerEvent, at: Duration) {
        self.happened(Time(at), Happening::Balancer(event.clone()));
    }

    /// A child was too slow for main, or main for it.
    pub fn events_lost(&mut self, process: &str, count: u64) {
        self.events_lost += count;
        self.note("events_lost", format!("{count} events of the {process} process were lost"));
    }

    /// The end: whoever waits is told so, and nobody is heard any more.
    pub fn close(&mut self) {
        self.inbox = None;
        self.round = None;
        self.waiting.clear();
        self.failovers.clear();
        self.reloading.clear();
        self.reload_next.clear();
    }

    /// Waits until the last word on maintenance is on the disk, as long as the end of a daemon may.
    pub async fn finish(&self) {
        self.maintenance_file.finish().await;
    }

    fn next_deadline(&self) -> Option<Instant> {
        let round = self.round.as_ref().map(|round| round.late_at);
        let next = (self.round.is_none() && !self.waiting.is_empty()).then_some(self.next_round);
        let failover = self.failovers.values().map(|failover| failover.late_at).min();
        let maintenance = self.maintenance.as_ref().and_then(|record| record.until).map(|_| self.look_at_clock);
        [round, next, failover, maintenance].into_iter().flatten().min()
    }

    /// A reload begins: it is the one that was asked for.
    pub fn reload_begins(&mut self) {
        self.reloading.append(&mut self.reload_next);
    }

    /// What came of it.
    pub fn reload_ended(&mut self, outcome: Outcome) {
        let counter = if outcome.done { &mut self.reloads.succeeded } else { &mut self.reloads.refused };
        *counter += 1;
        self.reloads.last_at = Some(wall_clock());
        self.reloads.last_result = outcome.message.lines().next().map(str::to_owned);
        self.note("reload", outcome.message.lines().next().unwrap_or_default().to_owned());
        for answer in self.reloading.drain(..) {
            let _ = answer.send(Answer::Outcome(outcome.clone()));
        }
    }
}

/// The group's number; `None`, with a word, when there is no such group.
fn group(name: &str) -> Option<u32> {
    match nix::unistd::Group::from_name(name) {
        Ok(Some(group)) => Some(group.gid.as_raw()),
        _ => {
            warn!("control_group {name}: there is no such group, only root may give commands");
            None
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a shell: reads the clock")]
impl MainProcess {
    pub(super) fn handle_control(&mut self, wake: Wake) {
        match wake {
            Wake::Asked(ask) => self.on_ask(ask),
            Wake::Due => {}
        }
        self.control_timeout(Instant::now());
    }

    fn on_ask(&mut self, Ask { request, by, answer }: Ask) {
        let outcome = match request {
            Request::Status => return self.control.waiting.push(Waiting::Status(answer)),
            Request::Events { after, most } => {
                let history = &self.control.history;
                let events = history.after(after).take(most).map(|entry| entry.show()).collect();
                let _ = answer.send(Answer::Events { events, lost: history.lost_after(after) });
                return;
            }
            Request::Why => {
                let record = self.black_box.record(self.vrrp.recorder(), &self.config.vrrp, "asked");
                let _ = answer.send(Answer::Why(Arc::new(record)));
                return;
            }
            _ if self.stopping.is_some() => refused(Refused::Stopping, "the daemon is stopping"),
            Request::Failover { instance } => return self.ask_failover(&instance, &by, answer),
            Request::Maintenance(order) if order.on && !order.force => {
                return self.control.waiting.push(Waiting::Maintenance { order, by, answer });
            }
            Request::Maintenance(order) => self.order_maintenance(&order, &by),
            Request::RealServer { address, virtual_server, state } => {
                self.order_real_server(&address, virtual_server.as_deref(), state, &by)
            }
            Request::Plan => return self.foresee(answer),
            Request::Reload => {
                info!("a reload is asked for by {by}");
                self.control.reload_next.push(answer);
                return self.begin_reload();
            }
            Request::Stop => {
                info!("the end is asked for by {by}");
                self.stop();
                done("stopping")
            }
        };
        let _ = answer.send(Answer::Outcome(outcome));
    }

    /// Begins and ends rounds, gives up what is late, ends maintenance.
    fn control_timeout(&mut self, now: Instant) {
        if self.control.maintenance.is_some() && self.control.look_at_clock <= now {
            self.look_at_maintenance(now);
        }
        let late: Vec<u64> =
            self.control.failovers.iter().filter(|(_, f)| f.late_at <= now).map(|(request, _)| *request).collect();
        for request in late {
            if let Some(Failover { what, answer, .. }) = self.control.failovers.remove(&request) {
                let message = format!("{what}: the vrrp process does not answer; it may hand over yet");
                let _ = answer.send(Answer::Outcome(refused(Refused::Late, message)));
            }
        }
        self.end_round(now);
        if self.control.round.is_none() && !self.control.waiting.is_empty() && self.control.next_round <= now {
            self.begin_round(now);
            self.end_round(now);
        }
    }

    /// A child has died, and owes nothing any more.
    pub(super) fn control_child_died(&mut self, process: &'static str, how: std::process::ExitStatus) {
        if process == "vrrp" {
            self.control.vrrp_owes = false;
            for (_, Failover { what, answer, .. }) in std::mem::take(&mut self.control.failovers) {
                let message = format!("{what}: the vrrp process has died");
                let _ = answer.send(Answer::Outcome(refused(Refused::Conflict, message)));
            }
        } else {
            self.control.balancer_owes = false;
        }
        if let Some(round) = &mut self.control.round {
            if process == "vrrp" {
                round.vrrp = Part::None;
            } else {
                round.balancer = Part::None;
            }
        }
        if self.stopping.is_none() {
            self.control.note("child_died", format!("the {process} process ended: {how}"));
        }
        self.control_timeout(Instant::now());
    }

    /// `name` is an instance, or a sync group, of which any member will do.
    fn ask_failover(&mut self, name: &str, by: &str, answer: oneshot::Sender<Answer>) {
        let vrrp = &self.config.vrrp;
        let instance = match vrrp.groups.get(name).and_then(|group| group.members.first()) {
            Some(member) if !vrrp.instances.contains_key(name) => member.clone(),
            _ => name.to_owned(),
        };
        let refusal = if !vrrp.instances.contains_key(&instance) {
            let names = vrrp.instances.keys().chain(vrrp.groups.keys()).map(String::as_str);
            Some(Outcome {
                did_you_mean: nearest(name, names),
                ..refused(Refused::Unknown, format!("there is no vrrp_instance {name}"))
            })
        } else if !self.vrrp.is_ready() {
            Some(refused(Refused::Conflict, "the vrrp process is not up to its work"))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            let _ = answer.send(Answer::Outcome(refusal));
            return;
        }
        let text = format!("failover of {name} is asked for by {by}");
        info!("{text}");
        self.control.note("command", text);
        self.control.next_request += 1;
        let request = self.control.next_request;
        let late_at = Instant::now() + FAILOVER_LIMIT;
        self.control.failovers.insert(request, Failover { what: name.to_owned(), answer, late_at });
        self.vrrp.send(&ToVrrp::Failover { request, instance });
    }

    pub(super) fn on_failover_answer(&mut self, request: u64, outcome: Result<(), FailoverRefusal>) {
        let Some(Failover { what, answer, .. }) = self.control.failovers.remove(&request) else { return };
        let outcome = match outcome {
            Ok(()) => done(format!("{what} is handed over: its addresses stay until the successor has them")),
            Err(refusal @ FailoverRefusal::Unknown { .. }) => refused(Refused::Unknown, refusal.to_string()),
            Err(refusal @ FailoverRefusal::OwnerAlone { .. }) => refused(Refused::NoPeer, refusal.to_string()),
            Err(refusal @ FailoverRefusal::Stopping) => refused(Refused::Stopping, refusal.to_string()),
            Err(refusal @ FailoverRefusal::NotMaster { .. }) => refused(Refused::Conflict, refusal.to_string()),
        };
        let _ = answer.send(Answer::Outcome(outcome));
    }
}

/// A configuration was refused: every diagnostic, with its place and its line.
pub(super) fn refused_reload(message: String, diagnostics: &crate::conf::Diagnostics) -> Outcome {
    let mut text = format!("{message}\n{}", diagnostics.render(false));
    if text.len() > MOST_DIAGNOSTICS {
        let end = (0..=MOST_DIAGNOSTICS).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str("\n… (`holdfast check` shows all)\n");
    }
    refused(Refused::Invalid, text)
}
