//! Which notify scripts an event asks for, with which arguments.
//!
//! Pure. Only `notify` is given arguments of ours, keepalived's four: `INSTANCE|GROUP`, the name, the state and the
//! priority (0 for a group). `notify_master` and its kind get the words of the configuration and no more. At a
//! transition the state's own script comes first, then `notify`. INIT is a state that nobody is told of.

use crate::command::Command;
use crate::ipvs::config::VirtualServerId;
use crate::ipvs::event::{Cause as BalancerCause, Event as BalancerEvent};
use crate::ipvs::types::SocketKey;
use crate::vrrp::event::{Cause, Event, StateName};

use super::config::{NotifyConfig, NotifyScripts};

/// Whom a script speaks of; runs for one subject are in order, one at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A `vrrp_instance`.
    Instance(String),
    /// A `vrrp_sync_group`.
    Group(String),
    /// A `virtual_server`.
    VirtualServer(VirtualServerId),
    /// A `real_server` of a `virtual_server`.
    RealServer(VirtualServerId, SocketKey),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Instance(name) => write!(f, "instance {name}"),
            Self::Group(name) => write!(f, "group {name}"),
            Self::VirtualServer(id) => write!(f, "virtual server {id}"),
            Self::RealServer(id, address) => write!(f, "real server {address} of {id}"),
        }
    }
}

/// The last state of an instance or group that people were told of: a vrrp process that was restarted in time and goes on
/// as master is no news to anybody who heard of that master before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told(Option<StateName>);

impl Told {
    /// Takes a change of state down; whether it is news.
    pub fn is_news(&mut self, state: StateName, cause: &Cause) -> bool {
        // A restarted process passes through INIT, of which nobody hears.
        state == StateName::Init || self.0.replace(state) != Some(state) || *cause != Cause::Adopted
    }
}

/// One script to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its command.
    pub command: Command,
    /// Arguments after the command's own.
    pub args: Vec<String>,
}

/// The scripts that an event asks for, in order; nothing for events that scripts are not told of.
pub fn plan(config: &NotifyConfig, event: &Event) -> Option<(Subject, Vec<Job>)> {
    let (subject, jobs) = match event {
        Event::StateChanged { instance, to, priority, .. } => {
            let jobs = transition(config.instances.get(instance)?, "INSTANCE", instance, *to, *priority);
            (Subject::Instance(instance.clone()), jobs)
        }
        Event::GroupChanged { group, to, .. } => {
            (Subject::Group(group.clone()), transition(config.groups.get(group)?, "GROUP", group, *to, 0))
        }
        Event::LowerPriorityAdvert { instance, .. } => {
            let command = config.instances.get(instance)?.master_rx_lower_pri.clone()?;
            (Subject::Instance(instance.clone()), vec![Job { command, args: Vec::new() }])
        }
        Event::Renamed { .. }
        | Event::DualMaster { .. }
        | Event::DualMasterEnded { .. }
        | Event::VridTaken { .. }
        | Event::PriorityChanged { .. }
        | Event::AdvertFlawed { .. }
        | Event::AddressFailed { .. }
        | Event::TimerLate { .. }
        | Event::MainSilent { .. }
        | Event::MainBack { .. }
        | Event::Warning { .. } => return None,
    };
    (!jobs.is_empty()).then_some((subject, jobs))
}

fn transition(scripts: &NotifyScripts, kind: &str, name: &str, to: StateName, priority: u8) -> Vec<Job> {
    let own = match to {
        StateName::Init => return Vec::new(),
        StateName::Master => &scripts.master,
        StateName::Backup => &scripts.backup,
        StateName::Fault => &scripts.fault,
        StateName::Stop => &scripts.stop,
        StateName::Deleted => &scripts.deleted,
    };
    let own = own.clone().map(|command| Job { command, args: Vec::new() });
    let any = scripts.any.clone().map(|command| {
        let args = vec![kind.to_owned(), name.to_owned(), to.to_string(), priority.to_string()];
        Job { command, args }
    });
    own.into_iter().chain(any).collect()
}

/// The script that an event of the balancer asks for: it gets no arguments but its own. A real or virtual server that a
/// reload removes is told of where the end of the daemon is (`omega`).
pub fn plan_balancer(config: &NotifyConfig, event: &BalancerEvent) -> Option<(Subject, Vec<Job>)> {
    let (subject, command) = match event {
        BalancerEvent::RealServer { virtual_server, real_server, up, cause, .. } => {
            let scripts = config.virtual_servers.get(virtual_server)?;
            if *cause == BalancerCause::Removed && !scripts.omega {
                return None;
            }
            let scripts = scripts.real_servers.get(&real_server.address)?;
            let command = if *up { &scripts.up } else { &scripts.down };
            (Subject::RealServer(virtual_server.clone(), real_server.address), command)
        }
        BalancerEvent::Quorum { virtual_server, up, cause, .. } => {
            let scripts = config.virtual_servers.get(virtual_server)?;
            if *cause == BalancerCause::Removed && !scripts.omega {
                return None;
            }
            let command = if *up { &scripts.quorum_up } else { &scripts.quorum_down };
            (Subject::VirtualServer(virtual_server.clone()), command)
        }
        _ => return None,
    };
    Some((subject, vec![Job { command: command.clone()?, args: Vec::new() }]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::command::CommandForm;
    use crate::ipvs::event::{QuorumPhrase, RealServerName};
    use crate::ipvs::types::Protocol;
    use crate::notify::config::{RealServerScripts, VirtualServerScripts};

    fn command(text: &str) -> Command {
        Command { text: text.to_owned(), form: CommandForm::Program(vec![text.to_owned()]), user: None }
    }

    fn scripts() -> NotifyScripts {
        NotifyScripts {
            master: Some(command("master")),
            backup: Some(command("backup")),
            fault: Some(command("fault")),
            stop: Some(command("stop")),
            deleted: Some(command("deleted")),
            master_rx_lower_pri: Some(command("lower")),
            any: Some(command("any")),
        }
    }

    fn changed(to: StateName, cause: Cause) -> Event {
        Event::StateChanged {
            instance: "VI".into(),
            from: StateName::Init,
            to,
            priority: 120,
            cause,
            evidence: Vec::new(),
        }
    }

    fn words(config: &NotifyConfig, event: &Event) -> Vec<String> {
        let jobs = plan(config, event).map(|(_, jobs)| jobs).unwrap_or_default();
        jobs.iter().map(|job| [vec![job.command.text.clone()], job.args.clone()].concat().join(" ")).collect()
    }

    #[test]
    fn table() {
        let config = NotifyConfig {
            instances: BTreeMap::from([("VI".to_owned(), scripts())]),
            groups: BTreeMap::from([("G".to_owned(), scripts())]),
            ..NotifyConfig::default()
        };
        let group = |to| Event::GroupChanged { group: "G".into(), to, cause: Cause::Started };
        let lower =
            Event::LowerPriorityAdvert { instance: "VI".into(), peer: [10, 0, 0, 1].into(), priority: 1, ours: 2 };
        let rows: Vec<(Event, &[&str])> = vec![
            (changed(StateName::Init, Cause::Started), &[]),
            (changed(StateName::Master, Cause::Started), &["master", "any INSTANCE VI MASTER 120"]),
            (changed(StateName::Backup, Cause::Started), &["backup", "any INSTANCE VI BACKUP 120"]),
            (changed(StateName::Fault, Cause::Started), &["fault", "any INSTANCE VI FAULT 120"]),
            (changed(StateName::Stop, Cause::Stopping), &["stop", "any INSTANCE VI STOP 120"]),
            (changed(StateName::Deleted, Cause::Removed), &["deleted", "any INSTANCE VI DELETED 120"]),
            (group(StateName::Master), &["master", "any GROUP G MASTER 0"]),
            (group(StateName::Stop), &["stop", "any GROUP G STOP 0"]),
            (lower, &["lower"]),
            (Event::TimerLate { instance: "VI".into(), by: std::time::Duration::ZERO }, &[]),
        ];
        for (event, want) in rows {
            assert_eq!(words(&config, &event), want, "{event:?}");
        }
        assert_eq!(plan(&NotifyConfig::default(), &changed(StateName::Master, Cause::Started)), None);
    }

    #[test]
    fn an_adopted_master_is_news_only_to_who_never_heard_of_it() {
        let mut told = Told::default();
        for (to, cause, news) in [
            (StateName::Master, Cause::Adopted, true),
            (StateName::Init, Cause::Started, true),
            (StateName::Master, Cause::Adopted, false),
            (StateName::Master, Cause::Started, true),
            (StateName::Backup, Cause::Started, true),
            (StateName::Master, Cause::Adopted, true),
        ] {
            assert_eq!(told.is_news(to, &cause), news, "{to} {cause}");
        }
    }

    #[test]
    fn an_instance_and_a_group_of_one_name_are_two_subjects() {
        let both = BTreeMap::from([("X".to_owned(), scripts())]);
        let config = NotifyConfig { instances: both.clone(), groups: both, ..NotifyConfig::default() };
        let instance = Event::StateChanged {
            instance: "X".into(),
            from: StateName::Init,
            to: StateName::Backup,
            priority: 1,
            cause: Cause::Started,
            evidence: Vec::new(),
        };
        let group = Event::GroupChanged { group: "X".into(), to: StateName::Backup, cause: Cause::Started };
        let subject = |event| plan(&config, event).map(|(subject, _)| subject);
        assert_ne!(subject(&instance), subject(&group));
    }

    #[test]
    fn virtual_and_real_servers() {
        let id = VirtualServerId::Group { name: "web".into(), protocol: Protocol::Tcp };
        let address = SocketKey::new([192, 0, 2, 1].into(), 80);
        let config = |omega| {
            let real = RealServerScripts { up: Some(command("up")), down: Some(command("down")) };
            let scripts = VirtualServerScripts {
                quorum_up: Some(command("quorum up")),
                quorum_down: Some(command("quorum down")),
                omega,
                mail: false,
                silent: Default::default(),
                real_servers: BTreeMap::from([(address, real)]),
            };
            NotifyConfig { virtual_servers: BTreeMap::from([(id.clone(), scripts)]), ..NotifyConfig::default() }
        };
        let real = |up, cause| BalancerEvent::RealServer {
            virtual_server: id.clone(),
            real_server: RealServerName { address, protocol: Protocol::Tcp },
            up,
            inhibit: false,
            cause,
        };
        let quorum = |up, phrase, cause| BalancerEvent::Quorum {
            virtual_server: id.clone(),
            up,
            phrase,
            quorum: 1,
            hysteresis: 0,
            weight: 1,
            cause,
        };
        use BalancerCause::{Reconfigured, Removed, Started, Stopping};
        use QuorumPhrase::{Gained, Lost, StartingDown};
        let rows = [
            (true, real(true, Started), "up"),
            (true, real(false, Stopping), "down"),
            (true, real(false, Removed), "down"),
            (false, real(false, Removed), ""),
            (false, real(false, Reconfigured), "down"),
            (false, quorum(true, Gained, Started), "quorum up"),
            (false, quorum(false, Lost, Started), "quorum down"),
            (false, quorum(false, StartingDown, Started), "quorum down"),
            (false, quorum(false, QuorumPhrase::Stopping, Removed), ""),
            (true, quorum(false, QuorumPhrase::Stopping, Removed), "quorum down"),
            (true, BalancerEvent::Note { message: "x".into() }, ""),
        ];
        for (omega, event, want) in rows {
            let jobs = plan_balancer(&config(omega), &event).map(|(_, jobs)| jobs).unwrap_or_default();
            let words: Vec<_> = jobs.iter().map(|job| job.command.text.as_str()).collect();
            assert_eq!(words.join(" "), want, "{event:?}");
            assert!(jobs.iter().all(|job| job.args.is_empty()));
        }
        assert_eq!(plan_balancer(&NotifyConfig::default(), &real(true, Started)), None);
    }
}
