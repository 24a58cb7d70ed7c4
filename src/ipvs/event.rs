//! What the balancer tells people: real servers that come and go, quorum won and lost, each with its cause.
//!
//! Pure. Events go to main, which logs them, runs scripts and writes FIFOs and e-mails. [`Event::fifo_line`] and the
//! `Display` of [`RealServerName`] are keepalived's words, which programs read.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::config::VirtualServerId;
use super::types::{Protocol, SocketKey};

/// A real server as keepalived writes it: `[192.0.2.7]:tcp:80`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RealServerName {
    /// Address and port.
    pub address: SocketKey,
    /// The protocol of its virtual server.
    pub protocol: Protocol,
}

impl fmt::Display for RealServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]:{}:{}", self.address.ip, self.protocol, self.address.port)
    }
}

/// What an operator has said of a real server at run time. It survives a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum AdminState {
    /// Nothing: its health decides.
    #[default]
    Up,
    /// No new connections; those that there are go on.
    Drain,
    /// Out of service, whatever its health.
    Maint,
}

impl fmt::Display for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Drain => "drain",
            Self::Maint => "maint",
        })
    }
}

/// One happening.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A real server is fit to serve, or is not any longer.
    RealServer {
        /// Its virtual server.
        virtual_server: VirtualServerId,
        /// Which.
        real_server: RealServerName,
        /// After.
        up: bool,
        /// It stays in the table with weight 0 (`inhibit_on_failure`).
        inhibit: bool,
        /// Why.
        cause: Cause,
    },
    /// A checker of a real server changed its mind, which may not have changed the real server.
    Checker {
        /// Its virtual server.
        virtual_server: VirtualServerId,
        /// Its real server.
        real_server: RealServerName,
        /// What it is: `TCP CHECK`, …
        kind: CheckerKind,
        /// After.
        up: bool,
        /// What it found, when it is down.
        reason: Option<String>,
        /// The real server changed with it.
        decisive: bool,
    },
    /// A virtual server has its quorum, or has not any longer.
    Quorum {
        /// Which.
        virtual_server: VirtualServerId,
        /// After.
        up: bool,
        /// How it came to that.
        phrase: QuorumPhrase,
        /// The quorum in force.
        quorum: u32,
        /// The hysteresis in force.
        hysteresis: u32,
        /// Live weight.
        weight: u64,
        /// Why.
        cause: Cause,
    },
    /// The sorry server serves, or rests again.
    SorryServer {
        /// Its virtual server.
        virtual_server: VirtualServerId,
        /// Which.
        sorry_server: RealServerName,
        /// After.
        serving: bool,
    },
    /// A real server's effective weight changed.
    Weight {
        /// Its virtual server.
        virtual_server: VirtualServerId,
        /// Which.
        real_server: RealServerName,
        /// Before.
        from: u32,
        /// After.
        to: u32,
        /// Whether it is up.
        up: bool,
        /// Why.
        cause: Cause,
    },
    /// An operator has said something of a real server.
    Admin {
        /// Its virtual server.
        virtual_server: VirtualServerId,
        /// Which.
        real_server: RealServerName,
        /// Before.
        from: AdminState,
        /// After.
        to: AdminState,
    },
    /// So many real servers seem dead at once that we suspect ourselves, or no longer do.
    Panic {
        /// The virtual server.
        virtual_server: VirtualServerId,
        /// It begins.
        begins: bool,
        /// Real servers that seem alive.
        alive: usize,
        /// Of how many.
        of: usize,
    },
    /// A virtual server that follows an instance begins or ends to serve.
    Active {
        /// Which.
        virtual_server: VirtualServerId,
        /// The instance.
        instance: String,
        /// After.
        active: bool,
    },
    /// The checks of a virtual server with `ha_suspend` rest, or go on.
    Checks {
        /// Which.
        virtual_server: VirtualServerId,
        /// After.
        paused: bool,
    },
    /// Something worth a warning, in one sentence.
    Warning {
        /// The virtual server that it is about, if it is about one.
        virtual_server: Option<VirtualServerId>,
        /// The sentence.
        message: String,
    },
    /// Something worth a line, in one sentence.
    Note {
        /// The sentence.
        message: String,
    },
}

/// A kind of checker, in keepalived's words for e-mails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CheckerKind {
    /// TCP_CHECK.
    Tcp,
    /// HTTP_GET.
    Http,
    /// SSL_GET.
    Ssl,
    /// SMTP_CHECK.
    Smtp,
    /// DNS_CHECK.
    Dns,
    /// UDP_CHECK.
    Udp,
    /// PING_CHECK.
    Ping,
    /// MISC_CHECK.
    Misc,
    /// FILE_CHECK.
    File,
    /// BFD_CHECK.
    Bfd,
}

impl fmt::Display for CheckerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Http => "HTTP",
            Self::Ssl => "SSL",
            Self::Smtp => "SMTP",
            Self::Dns => "DNS_CHECK",
            Self::Udp => "UDP",
            Self::Ping => "ICMP",
            Self::Misc => "MISC",
            Self::File => "FILE",
            Self::Bfd => "BFD",
        })
    }
}

impl From<&crate::checkers::config::Probe> for CheckerKind {
    fn from(probe: &crate::checkers::config::Probe) -> Self {
        use crate::checkers::config::Probe;
        match probe {
            Probe::Tcp(_) => Self::Tcp,
            Probe::Http(http) if http.tls.is_some() => Self::Ssl,
            Probe::Http(_) => Self::Http,
            Probe::Smtp(_) => Self::Smtp,
            Probe::Dns(_) => Self::Dns,
            Probe::Udp(_) => Self::Udp,
            Probe::Ping(_) => Self::Ping,
            Probe::Misc(_) => Self::Misc,
            Probe::File(_) => Self::File,
            Probe::Bfd(_) => Self::Bfd,
        }
    }
}

/// How a virtual server came to its quorum, or lost it: the phrase of keepalived's e-mails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum QuorumPhrase {
    /// `Gained quorum`.
    Gained,
    /// `Lost quorum`.
    Lost,
    /// `Starting with quorum down`.
    StartingDown,
    /// `Shutting down`.
    Stopping,
}

impl fmt::Display for QuorumPhrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gained => "Gained quorum",
            Self::Lost => "Lost quorum",
            Self::StartingDown => "Starting with quorum down",
            Self::Stopping => "Shutting down",
        })
    }
}

/// Why something of the balancer changed, with the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The process started.
    Started,
    /// A reload.
    Reconfigured,
    /// A checker.
    Checker {
        /// Its real server.
        real_server: RealServerName,
        /// What it is.
        kind: CheckerKind,
        /// What it found.
        finding: String,
    },
    /// An operator.
    Admin(AdminState),
    /// A step of the slow start.
    SlowStart,
    /// A reload removed it.
    Removed,
    /// The daemon was told to stop.
    Stopping,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::Reconfigured => f.write_str("configuration reloaded"),
            Self::Checker { real_server, kind, finding } => write!(f, "{kind} check of {real_server}: {finding}"),
            Self::Admin(state) => write!(f, "an operator said {state}"),
            Self::SlowStart => f.write_str("slow start"),
            Self::Removed => f.write_str("removed by a reload"),
            Self::Stopping => f.write_str("stopping"),
        }
    }
}

fn up_or_down(up: bool) -> &'static str {
    if up { "UP" } else { "DOWN" }
}

impl Event {
    /// The line for `lvs_notify_fifo` and `notify_fifo`, without line end and NUL: `RS [192.0.2.7]:tcp:80
    /// [192.0.2.1]:tcp:80 UP`, `VS [192.0.2.1]:tcp:80 DOWN`. Other events have none.
    pub fn fifo_line(&self) -> Option<String> {
        match self {
            Self::RealServer { virtual_server, real_server, up, .. } => {
                Some(format!("RS {real_server} {virtual_server} {}", up_or_down(*up)))
            }
            Self::Quorum { virtual_server, up, .. } => Some(format!("VS {virtual_server} {}", up_or_down(*up))),
            _ => None,
        }
    }

    /// Subject (without router id) and body of the e-mail about it, for events that people may be told of.
    pub fn mail(&self) -> Option<(String, String)> {
        match self {
            Self::RealServer { virtual_server, real_server, up, cause, .. } => {
                let body = match cause {
                    Cause::Removed | Cause::Stopping => "=> Removing <=".to_owned(),
                    Cause::Checker { kind, .. } => check_body(*kind, *up),
                    _ => format!("=> CHECK {} on service <=", if *up { "succeed" } else { "failed" }),
                };
                Some((realserver_subject(real_server, virtual_server, *up), body))
            }
            Self::Checker { virtual_server, real_server, kind, up, decisive: false, .. } => {
                Some((realserver_subject(real_server, virtual_server, *up), check_body(*kind, *up)))
            }
            Self::Quorum { virtual_server, up, phrase: QuorumPhrase::Stopping, .. } => {
                Some((virtualserver_subject(virtual_server, *up), "=> Shutting down <=".to_owned()))
            }
            Self::Quorum { virtual_server, up, phrase, quorum, hysteresis, weight, .. } => {
                let threshold = threshold(*up, *quorum, *hysteresis);
                let body = format!("=> {phrase} {quorum}+{hysteresis}={threshold} <= {weight} <=");
                Some((virtualserver_subject(virtual_server, *up), body))
            }
            _ => None,
        }
    }
}

fn realserver_subject(real_server: &RealServerName, virtual_server: &VirtualServerId, up: bool) -> String {
    format!("Realserver {real_server} of virtual server {virtual_server} - {}", up_or_down(up))
}

fn virtualserver_subject(virtual_server: &VirtualServerId, up: bool) -> String {
    format!("Virtualserver {virtual_server} - {}", up_or_down(up))
}

/// keepalived's words, each checker's own.
fn check_body(kind: CheckerKind, up: bool) -> String {
    let what = match kind {
        CheckerKind::Tcp => "TCP CHECK",
        CheckerKind::Udp => "UDP CHECK",
        CheckerKind::Ping => "ICMP CHECK",
        CheckerKind::Dns => "DNS_CHECK",
        CheckerKind::Misc => "MISC CHECK",
        CheckerKind::Bfd => "BFD CHECK",
        CheckerKind::Http | CheckerKind::Ssl | CheckerKind::Smtp | CheckerKind::File => "CHECK",
    };
    format!("=> {what} {} on service <=", if up { "succeed" } else { "failed" })
}

/// The live weight that decides: to win the quorum, or to keep it.
pub fn threshold(up: bool, quorum: u32, hysteresis: u32) -> u64 {
    let (quorum, hysteresis) = (u64::from(quorum), u64::from(hysteresis));
    if up { quorum + hysteresis } else { quorum.saturating_sub(hysteresis) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real_server() -> RealServerName {
        RealServerName { address: SocketKey::new([192, 0, 2, 7].into(), 80), protocol: Protocol::Tcp }
    }

    fn virtual_server() -> VirtualServerId {
        VirtualServerId::Address {
            address: SocketKey::new("2001:db8::1".parse().expect("address"), 443),
            protocol: Protocol::Tcp,
        }
    }

    #[test]
    fn fifos_and_mails_speak_as_keepalived_does() {
        let finding = "connection refused".to_owned();
        let cause = Cause::Checker { real_server: real_server(), kind: CheckerKind::Tcp, finding };
        let down = Event::RealServer {
            virtual_server: virtual_server(),
            real_server: real_server(),
            up: false,
            inhibit: false,
            cause: cause.clone(),
        };
        assert_eq!(down.fifo_line().as_deref(), Some("RS [192.0.2.7]:tcp:80 [2001:db8::1]:tcp:443 DOWN"));
        let subject = "Realserver [192.0.2.7]:tcp:80 of virtual server [2001:db8::1]:tcp:443 - DOWN";
        assert_eq!(down.mail(), Some((subject.to_owned(), "=> TCP CHECK failed on service <=".to_owned())));
        let quorum = |up, phrase| Event::Quorum {
            virtual_server: virtual_server(),
            up,
            phrase,
            quorum: 3,
            hysteresis: 1,
            weight: 5,
            cause: cause.clone(),
        };
        let gained = quorum(true, QuorumPhrase::Gained);
        assert_eq!(gained.fifo_line().as_deref(), Some("VS [2001:db8::1]:tcp:443 UP"));
        let subject = "Virtualserver [2001:db8::1]:tcp:443 - UP";
        assert_eq!(gained.mail(), Some((subject.to_owned(), "=> Gained quorum 3+1=4 <= 5 <=".to_owned())));
        let lost = quorum(false, QuorumPhrase::Lost).mail().expect("a mail").1;
        assert_eq!(lost, "=> Lost quorum 3+1=2 <= 5 <=");
        let stopping = quorum(false, QuorumPhrase::Stopping).mail().expect("a mail").1;
        assert_eq!(stopping, "=> Shutting down <=");
        let note = Event::Note { message: "x".to_owned() };
        assert_eq!((note.fifo_line(), note.mail()), (None, None));
        assert_eq!(cause.to_string(), "TCP check of [192.0.2.7]:tcp:80: connection refused");
    }
}
