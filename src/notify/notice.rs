//! One thing worth telling people, in the form that all targets share, and its wording for FIFOs and e-mail.
//!
//! Pure: the time is passed in. The words are keepalived's own, which readers' filters look for.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ipvs::event::Event as BalancerEvent;
use crate::vrrp::event::{Event, StateName};

/// One notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Counts from 1 in one life of the daemon; a gap at a target is a notice that was not meant for it, or was lost.
    pub sequence: u64,
    /// Time since the epoch.
    pub at: Duration,
    /// Whom it is about.
    pub about: About,
    /// What happened.
    pub what: What,
    /// Why, in one sentence, where that is known.
    pub cause: Option<String>,
}

/// Whom a notice is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum About {
    /// A `vrrp_instance`.
    Instance(String),
    /// A `vrrp_sync_group`.
    Group(String),
    /// A `virtual_server`, as log lines name it.
    VirtualServer(String),
    /// A `real_server` of a virtual server, both as log lines name them.
    RealServer {
        /// The real server.
        real_server: String,
        /// The virtual server.
        virtual_server: String,
    },
    /// This node: a test of the notifications.
    Node,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// An instance or group entered a state.
    State {
        /// The state.
        to: StateName,
        /// Effective priority; 0 for a group.
        priority: u8,
    },
    /// An instance is master still, told again for those who must not forget it.
    StillMaster {
        /// Effective priority.
        priority: u8,
    },
    /// The effective priority changed, the state did not.
    Priority {
        /// The state.
        state: StateName,
        /// The new priority.
        to: u8,
    },
    /// As master it heard an advert of lower priority.
    LowerPriorityAdvert {
        /// Who sent it.
        peer: IpAddr,
        /// Our own effective priority.
        ours: u8,
    },
    /// A virtual server gained its quorum, or a real server came up.
    Up {
        /// The line of the e-mail.
        detail: String,
    },
    /// A virtual server lost its quorum, or a real server went down.
    Down {
        /// The line of the e-mail.
        detail: String,
    },
    /// One checker of a real server changed its mind, which did not change the real server; only mailed.
    Check {
        /// After.
        up: bool,
        /// The line of the e-mail.
        detail: String,
    },
    /// `holdfast notify test`.
    Test,
}

impl What {
    /// One word for filters (`events` of a webhook): a state, `STILL_MASTER`, `PRIORITY`, `MASTER_RX_LOWER_PRI`, `UP`,
    /// `DOWN`, `CHECK`, `TEST`.
    pub fn word(&self) -> String {
        match self {
            Self::State { to, .. } => to.to_string(),
            Self::StillMaster { .. } => "STILL_MASTER".to_owned(),
            Self::Priority { .. } => "PRIORITY".to_owned(),
            Self::LowerPriorityAdvert { .. } => "MASTER_RX_LOWER_PRI".to_owned(),
            Self::Up { .. } => "UP".to_owned(),
            Self::Down { .. } => "DOWN".to_owned(),
            Self::Check { .. } => "CHECK".to_owned(),
            Self::Test => "TEST".to_owned(),
        }
    }
}

/// What of an engine's event is worth telling; INIT is a state that nobody is told of.
pub fn of_event(event: &Event) -> Option<(About, What, Option<String>)> {
    match event {
        Event::StateChanged { to: StateName::Init, .. } | Event::GroupChanged { to: StateName::Init, .. } => None,
        Event::StateChanged { instance, to, priority, cause, .. } => {
            let what = What::State { to: *to, priority: *priority };
            Some((About::Instance(instance.clone()), what, Some(cause.to_string())))
        }
        Event::GroupChanged { group, to, cause } => {
            Some((About::Group(group.clone()), What::State { to: *to, priority: 0 }, Some(cause.to_string())))
        }
        Event::PriorityChanged { instance, state, to, cause, .. } => {
            let what = What::Priority { state: *state, to: *to };
            Some((About::Instance(instance.clone()), what, Some(cause.to_string())))
        }
        Event::LowerPriorityAdvert { instance, peer, priority, ours } => {
            let cause = format!("{peer} advertised priority {priority}, ours is {ours}");
            let what = What::LowerPriorityAdvert { peer: *peer, ours: *ours };
            Some((About::Instance(instance.clone()), what, Some(cause)))
        }
        _ => None,
    }
}

/// What of the balancer's event is worth telling.
pub fn of_balancer_event(event: &BalancerEvent) -> Option<(About, What, Option<String>)> {
    let (_, detail) = event.mail()?;
    let up_or_down = |up| if up { What::Up { detail: detail.clone() } } else { What::Down { detail: detail.clone() } };
    match event {
        BalancerEvent::RealServer { virtual_server, real_server, up, cause, .. } => {
            let about = About::real_server(real_server, virtual_server);
            Some((about, up_or_down(*up), Some(cause.to_string())))
        }
        BalancerEvent::Quorum { virtual_server, up, cause, .. } => {
            Some((About::VirtualServer(virtual_server.to_string()), up_or_down(*up), Some(cause.to_string())))
        }
        BalancerEvent::Checker { virtual_server, real_server, up, reason, .. } => {
            Some((About::real_server(real_server, virtual_server), What::Check { up: *up, detail }, reason.clone()))
        }
        _ => None,
    }
}

impl About {
    fn real_server(real_server: &impl fmt::Display, virtual_server: &impl fmt::Display) -> Self {
        Self::RealServer { real_server: real_server.to_string(), virtual_server: virtual_server.to_string() }
    }
}

impl Notice {
    /// Whether VRRP said it, rather than the virtual servers.
    pub fn is_vrrp(&self) -> bool {
        matches!(self.about, About::Instance(_) | About::Group(_))
    }

    /// The line of a notify FIFO, with what ends it; `None` when FIFOs are not told of it. Lines of virtual servers end
    /// in a newline and a zero byte, as keepalived writes them.
    pub fn fifo_line(&self) -> Option<String> {
        let (word, priority) = match &self.what {
            What::State { to, priority } => (to.to_string(), *priority),
            What::Priority { state, to } => (format!("{state}_PRIORITY"), *to),
            What::LowerPriorityAdvert { ours, .. } => ("MASTER_RX_LOWER_PRI".to_owned(), *ours),
            What::Up { .. } => ("UP".to_owned(), 0),
            What::Down { .. } => ("DOWN".to_owned(), 0),
            What::StillMaster { .. } | What::Check { .. } | What::Test => return None,
        };
        match &self.about {
            About::Instance(name) => Some(format!("INSTANCE \"{name}\" {word} {priority}\n")),
            About::Group(name) => Some(format!("GROUP \"{name}\" {word} {priority}\n")),
            About::VirtualServer(name) => Some(format!("VS {name} {word}\n\0")),
            About::RealServer { real_server, virtual_server } => {
                Some(format!("RS {real_server} {virtual_server} {word}\n\0"))
            }
            About::Node => None,
        }
    }

    /// Subject, without the `[router_id] ` before it, and body of an e-mail; `None` when nobody is mailed about it.
    pub fn email(&self) -> Option<(String, String)> {
        let (subject, mut body) = match (&self.about, &self.what) {
            (About::Instance(name), What::State { to, .. }) => {
                let (text, body) = match to {
                    StateName::Master => ("Entering MASTER state", "=> VRRP Instance is now owning VRRP VIPs <="),
                    StateName::Backup => ("Entering BACKUP state", "=> VRRP Instance is no longer owning VRRP VIPs <="),
                    StateName::Fault => ("Entering FAULT state", "=> VRRP Instance is no longer owning VRRP VIPs <="),
                    StateName::Stop => ("Stopping", "=> VRRP Instance stopping <="),
                    StateName::Deleted => ("Deleted", "=> VRRP Deleted at reload <="),
                    StateName::Init => return None,
                };
                (format!("VRRP Instance {name} - {text}"), body.to_owned())
            }
            (About::Group(name), What::State { to, .. }) => {
                let (text, body) = match to {
                    StateName::Stop | StateName::Deleted => {
                        ("Stopping".to_owned(), "=> All VRRP group instances are now stopping <=".to_owned())
                    }
                    StateName::Init => return None,
                    _ => (
                        format!("Entering {to} state"),
                        format!("=> All VRRP group instances are now in {to} state <="),
                    ),
                };
                (format!("VRRP Group {name} - {text}"), body)
            }
            (About::VirtualServer(name), what @ (What::Up { detail } | What::Down { detail })) => {
                (format!("Virtualserver {name} - {}", what.word()), detail.clone())
            }
            (
                About::RealServer { real_server, virtual_server },
                what @ (What::Up { detail } | What::Down { detail }),
            ) => (
                format!("Realserver {real_server} of virtual server {virtual_server} - {}", what.word()),
                detail.clone(),
            ),
            (About::RealServer { real_server, virtual_server }, What::Check { up, detail }) => {
                let word = if *up { "UP" } else { "DOWN" };
                (format!("Realserver {real_server} of virtual server {virtual_server} - {word}"), detail.clone())
            }
            (About::Node, What::Test) => ("Test".to_owned(), "=> A test of the notifications <=".to_owned()),
            _ => return None,
        };
        if let Some(cause) = &self.cause {
            body.push_str("\r\n\r\nWhy: ");
            body.push_str(cause);
        }
        Some((subject, body))
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(name) => write!(f, "instance {name}"),
            Self::Group(name) => write!(f, "group {name}"),
            Self::VirtualServer(name) => write!(f, "virtual server {name}"),
            Self::RealServer { real_server, virtual_server } => {
                write!(f, "real server {real_server} of {virtual_server}")
            }
            Self::Node => f.write_str("this node"),
        }
    }
}

impl fmt::Display for Notice {
    /// One sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.about)?;
        match &self.what {
            What::State { to, priority: 0 } => write!(f, "is {to}")?,
            What::State { to, priority } => write!(f, "is {to} (priority {priority})")?,
            What::StillMaster { priority } => write!(f, "is MASTER still (priority {priority})")?,
            What::Priority { to, .. } => write!(f, "has priority {to} now")?,
            What::LowerPriorityAdvert { peer, .. } => write!(f, "is MASTER and heard {peer} contend")?,
            What::Up { .. } => f.write_str("is UP")?,
            What::Down { .. } => f.write_str("is DOWN")?,
            What::Check { up, .. } => write!(f, "has a check that {}", if *up { "succeeds again" } else { "fails" })?,
            What::Test => f.write_str("tests its notifications")?,
        }
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(about: About, what: What) -> Notice {
        Notice { sequence: 1, at: Duration::ZERO, about, what, cause: None }
    }

    fn state(to: StateName, priority: u8) -> What {
        What::State { to, priority }
    }

    #[test]
    fn fifo_lines_are_keepalived_s() {
        let instance = || About::Instance("V1".into());
        let real =
            About::RealServer { real_server: "[10.0.0.1]:tcp:80".into(), virtual_server: "[10.0.0.9]:tcp:80".into() };
        let peer = [10, 0, 0, 2].into();
        let detail = String::new;
        let rows = [
            (instance(), state(StateName::Master, 150), Some("INSTANCE \"V1\" MASTER 150\n")),
            (instance(), state(StateName::Stop, 100), Some("INSTANCE \"V1\" STOP 100\n")),
            (About::Group("G".into()), state(StateName::Fault, 0), Some("GROUP \"G\" FAULT 0\n")),
            (
                instance(),
                What::Priority { state: StateName::Backup, to: 103 },
                Some("INSTANCE \"V1\" BACKUP_PRIORITY 103\n"),
            ),
            (
                instance(),
                What::LowerPriorityAdvert { peer, ours: 150 },
                Some("INSTANCE \"V1\" MASTER_RX_LOWER_PRI 150\n"),
            ),
            (instance(), What::StillMaster { priority: 1 }, None),
            (
                About::VirtualServer("[10.0.0.9]:tcp:80".into()),
                What::Down { detail: detail() },
                Some("VS [10.0.0.9]:tcp:80 DOWN\n\0"),
            ),
            (real, What::Up { detail: detail() }, Some("RS [10.0.0.1]:tcp:80 [10.0.0.9]:tcp:80 UP\n\0")),
            (About::Node, What::Test, None),
        ];
        for (about, what, line) in rows {
            let notice = notice(about, what);
            assert_eq!(notice.fifo_line().as_deref(), line, "{notice}");
        }
    }

    #[test]
    fn mails_have_the_subjects_that_filters_look_for() {
        let rows = [
            (
                About::Instance("VI_1".into()),
                state(StateName::Master, 1),
                "VRRP Instance VI_1 - Entering MASTER state",
                "=> VRRP Instance is now owning VRRP VIPs <=",
            ),
            (
                About::Instance("VI_1".into()),
                state(StateName::Deleted, 1),
                "VRRP Instance VI_1 - Deleted",
                "=> VRRP Deleted at reload <=",
            ),
            (
                About::Group("G".into()),
                state(StateName::Backup, 0),
                "VRRP Group G - Entering BACKUP state",
                "=> All VRRP group instances are now in BACKUP state <=",
            ),
            (
                About::VirtualServer("[10.0.0.9]:tcp:80".into()),
                What::Down { detail: "=> Lost quorum 1-0=1 > 0 <=".into() },
                "Virtualserver [10.0.0.9]:tcp:80 - DOWN",
                "=> Lost quorum 1-0=1 > 0 <=",
            ),
        ];
        for (about, what, subject, body) in rows {
            assert_eq!(notice(about, what).email(), Some((subject.to_owned(), body.to_owned())));
        }
        let mut told = notice(About::Instance("V".into()), state(StateName::Master, 1));
        told.cause = Some("no advert for 3609 ms".into());
        assert!(told.email().is_some_and(|(_, body)| body.ends_with("Why: no advert for 3609 ms")));
        assert_eq!(notice(About::Instance("V".into()), What::StillMaster { priority: 1 }).email(), None);
    }
}
