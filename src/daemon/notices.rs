//! Tells people: turns events into notices and puts each into the queues of those targets that want it.
//!
//! Wiring, owned by main's loop, in which nothing here ever waits: every target has a task and a bounded queue of its
//! own ([`crate::notify::outbox`]). A reload changes targets in place; what waits for one that stays is not lost, and
//! one that is gone gets a while for what it was promised.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{error, info};

use super::exec::{self, Runner};
use super::roster::Roster;
use crate::ipvs::event::Event as BalancerEvent;
use crate::notify::config::{FifoConfig, FifoScope, NotifyConfig, WebhookConfig};
use crate::notify::email::{EmailSettings, EmailTarget};
use crate::notify::fifo::{Fifo, FifoReader, FifoWriter};
use crate::notify::node::Node;
use crate::notify::notice::{self, About, Notice, What};
use crate::notify::outbox::{Outbox, TargetStatus};
use crate::notify::webhook::{Clients, WebhookSettings, WebhookTarget};
use crate::vrrp::config::VrrpConfig;
use crate::vrrp::event::{Event, StateName};

/// At the end every target is given this long for what still waits.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// The same for a FIFO: nobody may be reading it.
const FIFO_DRAIN_LIMIT: Duration = Duration::from_secs(1);
/// A target that a reload removed is given this long, beside everything else.
const LEAVE_LIMIT: Duration = Duration::from_secs(30);

/// All targets.
#[derive(Debug, Default)]
pub struct Notices {
    sequence: u64,
    /// Names this life of the daemon in keys and Message-IDs; made when it is first needed.
    life: Option<String>,
    fifos: BTreeMap<PathBuf, FifoTarget>,
    email: Option<(EmailSettings, Outbox)>,
    webhooks: BTreeMap<String, WebhookEntry>,
    clients: Clients,
    leaving: JoinSet<()>,
}

/// Who is told, beside the webhooks, which choose for themselves.
#[derive(Debug, Clone, Copy)]
struct Whom {
    fifos: bool,
    mail: bool,
}

#[derive(Debug)]
struct WebhookEntry {
    settings: WebhookSettings,
    outbox: Outbox,
    /// When instances that are master are said to be master still.
    reassert_at: Option<Instant>,
}

#[derive(Debug)]
struct FifoTarget {
    config: FifoConfig,
    outbox: Outbox,
    reader: Option<FifoReader>,
    /// Last: the file goes when everything is written.
    _file: Fifo,
}

#[allow(clippy::disallowed_methods, reason = "a shell: reads the clock")]
impl Notices {
    /// Makes the targets those of a configuration. Must be called inside the runtime.
    pub fn apply(&mut self, config: &NotifyConfig, router_id: Option<&str>, runner: &Runner) {
        let gone = |path: &PathBuf| !config.fifos.iter().any(|fifo| fifo.path == *path);
        let paths: Vec<PathBuf> = self.fifos.keys().filter(|path| gone(path)).cloned().collect();
        for target in paths.iter().filter_map(|path| self.fifos.remove(path)).collect::<Vec<_>>() {
            self.leaving.spawn(target.leave());
        }
        for fifo in &config.fifos {
            self.apply_fifo(fifo, runner);
        }
        if config.email.is_none() && config.webhooks.is_empty() && self.email.is_none() && self.webhooks.is_empty() {
            return;
        }
        let node = self.node(router_id);
        self.clients.forget();
        self.apply_email(config, &node);
        let gone: Vec<String> =
            self.webhooks.keys().filter(|name| !config.webhooks.contains_key(*name)).cloned().collect();
        for name in gone {
            if let Some(entry) = self.webhooks.remove(&name) {
                self.leaving.spawn(async move { entry.outbox.drain(LEAVE_LIMIT).await });
            }
        }
        for (name, webhook) in &config.webhooks {
            self.apply_webhook(name, webhook, &node);
        }
    }

    fn node(&mut self, router_id: Option<&str>) -> Node {
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let life = self.life.get_or_insert_with(|| format!("{:x}-{:x}", now().as_micros(), std::process::id()));
        let host = host_name();
        let router_id = router_id.map_or_else(|| host.clone(), str::to_owned);
        Node { router_id, host, life: life.clone() }
    }

    fn apply_email(&mut self, config: &NotifyConfig, node: &Node) {
        match (&config.email, &mut self.email) {
            (Some(new), Some((settings, _))) => settings.store(Arc::new((new.clone(), node.clone()))),
            (Some(new), None) => {
                let settings: EmailSettings = Arc::new(ArcSwap::from_pointee((new.clone(), node.clone())));
                let own = settings.clone();
                let outbox = Outbox::start("e-mail".to_owned(), move || EmailTarget::new(own.clone()));
                self.email = Some((settings, outbox));
            }
            (None, _) => {
                if let Some((_, outbox)) = self.email.take() {
                    self.leaving.spawn(async move { outbox.drain(LEAVE_LIMIT).await });
                }
            }
        }
    }

    fn apply_webhook(&mut self, name: &str, config: &WebhookConfig, node: &Node) {
        let new = (config.clone(), node.clone());
        let reassert_at = config.reassert.map(|every| Instant::now() + every);
        if let Some(entry) = self.webhooks.get_mut(name) {
            let same = entry.settings.load().0.reassert == config.reassert;
            entry.settings.store(Arc::new(new));
            if !same {
                entry.reassert_at = reassert_at;
            }
            return;
        }
        let settings: WebhookSettings = Arc::new(ArcSwap::from_pointee(new));
        let (own, clients) = (settings.clone(), self.clients.clone());
        let outbox = Outbox::start(name.to_owned(), move || WebhookTarget::new(own.clone(), clients.clone()));
        self.webhooks.insert(name.to_owned(), WebhookEntry { settings, outbox, reassert_at });
    }

    /// Waits until it is time for [`Self::reassert`]; for ever when there is nothing to say again. Safe to drop.
    pub async fn due(&self) {
        match self.webhooks.values().filter_map(|entry| entry.reassert_at).min() {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Says which instances and groups are master still to those that want to hear it now.
    pub fn reassert(&mut self, roster: &Roster) {
        let now = Instant::now();
        let masters = roster.said().filter(|(_, state, _)| *state == StateName::Master);
        let masters: Vec<(About, u8)> = masters.map(|(about, _, priority)| (about, priority)).collect();
        let due: Vec<String> = self
            .webhooks
            .iter()
            .filter(|(_, entry)| entry.reassert_at.is_some_and(|at| at <= now))
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            for (about, priority) in &masters {
                let Some(entry) = self.webhooks.get(&name) else { continue };
                // One that is being tried says as much.
                if entry.settings.load().0.hears_of(about) && entry.outbox.counters().queued == 0 {
                    let notice = self.notice(about.clone(), What::StillMaster { priority: *priority }, None);
                    if let Some(entry) = self.webhooks.get(&name) {
                        entry.outbox.push(notice);
                    }
                }
            }
            if let Some(entry) = self.webhooks.get_mut(&name) {
                entry.reassert_at = entry.settings.load().0.reassert.map(|every| now + every);
            }
        }
    }

    fn apply_fifo(&mut self, config: &FifoConfig, runner: &Runner) {
        if self.fifos.get(&config.path).is_some_and(|target| target.config == *config) {
            return;
        }
        let name = config.name();
        let owner = match config.owner.as_ref().map(|owner| exec::resolve(owner, false)).transpose() {
            Ok(owner) => owner.map(|owner| (owner.uid, owner.gid)),
            Err(why) => return error!("{name}: {why}: no events are written to it"),
        };
        let file = match Fifo::prepare(&config.path, owner) {
            Ok(file) => file,
            Err(why) => return error!("{name}: {why}: no events are written to it"),
        };
        let before = self.fifos.remove(&config.path);
        let (outbox, file, old_reader) = match before {
            Some(FifoTarget { outbox, reader, _file: mut old, .. }) => {
                let made = old.hand_over();
                (outbox, file.inherit(made), reader)
            }
            None => {
                let path = config.path.clone();
                (Outbox::start(name.clone(), move || FifoWriter::new(path.clone())), file, None)
            }
        };
        let command = config.script.as_ref().map(|script| (script, runner.prepare(script)));
        let reader = match command {
            Some((_, Ok(prepared))) => Some(FifoReader::start(prepared, name, &config.path, old_reader)),
            Some((script, Err(why))) => {
                error!("{name}: its script {} cannot be run: {why}", script.text);
                self.end_reader(old_reader);
                None
            }
            None => {
                self.end_reader(old_reader);
                None
            }
        };
        self.fifos.insert(config.path.clone(), FifoTarget { config: config.clone(), outbox, reader, _file: file });
    }

    fn end_reader(&mut self, reader: Option<FifoReader>) {
        if let Some(reader) = reader {
            self.leaving.spawn(reader.end());
        }
    }

    /// Tells of what VRRP says.
    pub fn on_vrrp(&mut self, event: &Event, config: &NotifyConfig, roster: &mut Roster) {
        let Some((about, what, cause)) = notice::of_event(event) else { return };
        let mut mail = true;
        match (roster.about(&about), &what) {
            (Some(known), What::State { to: state @ (StateName::Stop | StateName::Deleted), .. }) => {
                known.said = None;
                mail = known.mailed.take() != Some(*state);
            }
            (Some(known), What::State { to: state, priority }) => {
                known.said = Some((*state, *priority));
                mail = known.mailed.replace(*state) != Some(*state);
            }
            (Some(known), What::Priority { state, to }) => known.said = Some((*state, *to)),
            _ => {}
        }
        let told = match (&about, &what) {
            (About::Instance(name), What::Priority { .. }) => config.priority_changes.contains(name),
            _ => true,
        };
        self.tell(about, what, cause, Whom { fifos: told, mail });
    }

    /// Tells of what the virtual servers say.
    pub fn on_balancer(&mut self, event: &BalancerEvent, config: &NotifyConfig) {
        if let Some((about, what, cause)) = notice::of_balancer_event(event) {
            self.tell(about, what, cause, Whom { fifos: true, mail: config.mails(event) });
        }
    }

    fn tell(&mut self, about: About, what: What, cause: Option<String>, whom: Whom) {
        let notice = self.notice(about, what, cause);
        for target in self.fifos.values().filter(|target| whom.fifos && target.config.wants(&notice)) {
            target.outbox.push(notice.clone());
        }
        if let Some((settings, outbox)) = &self.email
            && whom.mail
            && settings.load().0.wants(&notice)
        {
            outbox.push(notice.clone());
        }
        for entry in self.webhooks.values().filter(|entry| entry.settings.load().0.wants(&notice)) {
            entry.outbox.push(notice.clone());
        }
    }

    fn notice(&mut self, about: About, what: What, cause: Option<String>) -> Arc<Notice> {
        self.sequence += 1;
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Arc::new(Notice { sequence: self.sequence, at, about, what, cause })
    }

    /// Says all states of instances and groups again to the FIFOs (`fifo_write_vrrp_states_on_reload`).
    pub fn repeat_states(&mut self, config: &VrrpConfig, roster: &Roster) {
        let known = |about: &About| match about {
            About::Instance(name) => config.instances.contains_key(name),
            About::Group(name) => config.groups.contains_key(name),
            _ => false,
        };
        for (about, to, priority) in roster.said().filter(|(about, ..)| known(about)) {
            let notice = self.notice(about, What::State { to, priority }, None);
            for target in self.fifos.values().filter(|target| target.config.scope != FifoScope::Lvs) {
                target.outbox.push(notice.clone());
            }
        }
    }

    /// The end begins: readers of FIFOs are told, as in keepalived, before the last lines are written.
    pub fn begin_stop(&mut self) {
        self.fifos.values_mut().filter_map(|target| target.reader.as_mut()).for_each(FifoReader::terminate);
    }

    /// Waits until everything is delivered, at most [`DRAIN_LIMIT`].
    pub async fn finish(&mut self) {
        let fifos = std::mem::take(&mut self.fifos).into_values();
        let others = self.email.take().into_iter().map(|(_, outbox)| outbox);
        let others: Vec<Outbox> =
            others.chain(std::mem::take(&mut self.webhooks).into_values().map(|entry| entry.outbox)).collect();
        let fifos: Vec<FifoTarget> = fifos.collect();
        let outboxes: Vec<Outbox> = fifos.iter().map(|target| &target.outbox).chain(&others).cloned().collect();
        fifos.into_iter().for_each(|target| drop(self.leaving.spawn(target.leave())));
        for outbox in others {
            self.leaving.spawn(async move { outbox.drain(DRAIN_LIMIT).await });
        }
        let all = async { while self.leaving.join_next().await.is_some() {} };
        // Each target has said what it could not deliver. Those of an earlier reload get no more time than the others.
        let _ = tokio::time::timeout(DRAIN_LIMIT + Duration::from_secs(1), all).await;
        for TargetStatus { name, counters, .. } in outboxes.iter().map(Outbox::status) {
            info!(?counters, "{name}");
        }
    }

    /// Every target with its counters, for status and metrics.
    pub fn status(&self) -> Vec<TargetStatus> {
        let fifos = self.fifos.values().map(|target| &target.outbox);
        let email = self.email.iter().map(|(_, outbox)| outbox);
        fifos.chain(email).chain(self.webhooks.values().map(|entry| &entry.outbox)).map(Outbox::status).collect()
    }
}

/// The name of this machine; mail needs some domain.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

impl FifoTarget {
    async fn leave(self) {
        self.outbox.drain(FIFO_DRAIN_LIMIT).await;
        if let Some(reader) = self.reader {
            reader.end().await;
        }
    }
}
