//! Typed configuration of everything that tells people: scripts, FIFOs, e-mail, webhooks.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::notice::{About, Notice, What};
use crate::command::{Command, RunAs};
use crate::ipvs::config::{BalancerConfig, VirtualServerId};
use crate::ipvs::types::SocketKey;
use crate::vrrp::event::StateName;

/// Who is told of which state, by instance, by group and by virtual server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifyConfig {
    /// By `vrrp_instance` name.
    pub instances: BTreeMap<String, NotifyScripts>,
    /// By `vrrp_sync_group` name.
    pub groups: BTreeMap<String, NotifyScripts>,
    /// Of virtual servers and their real servers; main takes them from the balancer's configuration.
    pub virtual_servers: BTreeMap<VirtualServerId, VirtualServerScripts>,
    /// `notify_fifo`, `vrrp_notify_fifo`, `lvs_notify_fifo`.
    pub fifos: Vec<FifoConfig>,
    /// `vrrp_notify_priority_changes`: FIFOs hear of these too.
    pub priority_changes: bool,
    /// `fifo_write_vrrp_states_on_reload`: FIFOs hear all states again after a reload.
    pub states_on_reload: bool,
    /// E-mail; `None` without `smtp_server` and `notification_email`.
    pub email: Option<EmailConfig>,
    /// `notify_webhook` blocks by name.
    pub webhooks: BTreeMap<String, WebhookConfig>,
}

/// One FIFO.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FifoConfig {
    /// Where it is, or is made.
    pub path: PathBuf,
    /// Whom it belongs to.
    pub owner: Option<RunAs>,
    /// What is written to it.
    pub scope: FifoScope,
    /// Its reader, started with the path as its last argument (`notify_fifo_script` and its kind).
    pub script: Option<Command>,
}

/// What a FIFO hears of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FifoScope {
    /// Everything (`notify_fifo`).
    All,
    /// Instances and groups (`vrrp_notify_fifo`).
    Vrrp,
    /// Virtual and real servers (`lvs_notify_fifo`).
    Lvs,
}

/// E-mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmailConfig {
    /// `notification_email`: never empty.
    pub to: Vec<String>,
    /// `notification_email_from`; `None` is the user of the daemon at this host.
    pub from: Option<String>,
    /// `smtp_server HOST [PORT]`.
    pub host: String,
    /// Port, 25 unless it is said.
    pub port: u16,
    /// `smtp_helo_name`; `None` is the host name.
    pub helo: Option<String>,
    /// Limit of each step (`smtp_connect_timeout`).
    pub timeout: Duration,
    /// `smtp_tls` (ours).
    pub tls: SmtpTls,
    /// Trust this CA beside the system's (`smtp_tls_ca`, ours).
    pub ca: Option<PathBuf>,
    /// `smtp_user` with one of the password sources (ours).
    pub login: Option<(String, Secret)>,
    /// No mail on entry to FAULT (`no_email_faults`).
    pub no_faults: bool,
    /// Instances that have mail switched on (`smtp_alert`, or what the globals say).
    pub instances: BTreeSet<String>,
    /// Groups that have.
    pub groups: BTreeSet<String>,
}

/// How the connection to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SmtpTls {
    /// Not at all, as keepalived.
    #[default]
    None,
    /// By STARTTLS, or the mail is not sent.
    StartTls,
    /// From its first byte.
    Implicit,
}

/// Where a secret comes from; it is read when it is needed, and never kept in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Secret {
    /// The first line of a file.
    File(PathBuf),
    /// A variable of the daemon's environment.
    Environment(String),
    /// A credential that systemd passes (`LoadCredential=`).
    Credential(String),
}

/// One `notify_webhook NAME { … }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookConfig {
    /// `url`; `https` certificates are verified.
    pub url: String,
    /// `method`.
    pub method: String,
    /// `events`: the words of [`What::word`] that it hears of; empty is all but PRIORITY and STILL_MASTER.
    pub events: BTreeSet<String>,
    /// Only these subjects (`instance`, `group`, `virtual_server`), as they name themselves; empty is all.
    pub subjects: BTreeSet<String>,
    /// `header NAME VALUE`.
    pub headers: Vec<(String, String)>,
    /// `preset`, or `body_template`.
    pub body: WebhookBody,
    /// `sign hmac-sha256 …`.
    pub sign: Option<Secret>,
    /// `authorization`: the value of that header.
    pub authorization: Option<Secret>,
    /// Limit of one attempt (`timeout`).
    pub timeout: Duration,
    /// Attempts after the first before a notice is given up (`retry`); `None` is for ever.
    pub retry: Option<u32>,
    /// Statuses that are success (`status_code`), both ends included; never empty.
    pub status: Vec<(u16, u16)>,
    /// Trust this CA beside the system's (`tls_ca`).
    pub ca: Option<PathBuf>,
    /// Tell again that an instance is master still, this often (`reassert`).
    pub reassert: Option<Duration>,
}

/// What a webhook sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WebhookBody {
    /// Our own JSON.
    Generic,
    /// A CloudEvent, structured mode (cloudevents.io, 1.0).
    CloudEvents,
    /// Slack's incoming webhooks.
    Slack,
    /// Microsoft Teams: an Adaptive Card.
    Teams,
    /// PagerDuty's Events API v2; the routing key is a secret.
    PagerDuty(Secret),
    /// Prometheus Alertmanager, API v2.
    Alertmanager,
    /// `body_template`: text with `{{name}}` places.
    Template(String),
}

impl FifoConfig {
    /// Whether a notice is written to it.
    pub fn wants(&self, notice: &Notice, priority_changes: bool) -> bool {
        let scope = match self.scope {
            FifoScope::All => true,
            FifoScope::Vrrp => notice.is_vrrp(),
            FifoScope::Lvs => !notice.is_vrrp(),
        };
        scope && (priority_changes || !matches!(notice.what, What::Priority { .. }))
    }
}

impl EmailConfig {
    /// Whether a notice is mailed. Virtual and real servers decide for themselves, before the notice is made.
    pub fn wants(&self, notice: &Notice) -> bool {
        let fault = matches!(notice.what, What::State { to: StateName::Fault, .. });
        let subject = match &notice.about {
            About::Instance(name) => self.instances.contains(name),
            About::Group(name) => self.groups.contains(name),
            About::VirtualServer(_) | About::RealServer { .. } | About::Node => true,
        };
        subject && !(fault && self.no_faults)
    }
}

impl WebhookConfig {
    /// Whether a notice is posted.
    pub fn wants(&self, notice: &Notice) -> bool {
        let quiet = matches!(notice.what, What::Priority { .. } | What::StillMaster { .. });
        let word = match notice.what {
            What::Test => true,
            // Told again for those that asked for it.
            What::StillMaster { .. } => self.reassert.is_some(),
            _ if self.events.is_empty() => !quiet,
            _ => self.events.contains(&notice.what.word()),
        };
        let subject = match &notice.about {
            About::Instance(name) | About::Group(name) | About::VirtualServer(name) => self.subjects.contains(name),
            About::RealServer { virtual_server, .. } => self.subjects.contains(virtual_server),
            About::Node => true,
        };
        word && (subject || self.subjects.is_empty())
    }
}

/// The scripts of one virtual server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualServerScripts {
    /// `quorum_up`.
    pub quorum_up: Option<Command>,
    /// `quorum_down`.
    pub quorum_down: Option<Command>,
    /// Down scripts run at the end too (`omega`).
    pub omega: bool,
    /// `notify_up` and `notify_down` by real server.
    pub real_servers: BTreeMap<SocketKey, RealServerScripts>,
}

/// The scripts of one real server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealServerScripts {
    /// `notify_up`.
    pub up: Option<Command>,
    /// `notify_down`.
    pub down: Option<Command>,
}

/// The scripts that stand in the blocks of virtual servers.
pub fn of_virtual_servers(config: &BalancerConfig) -> BTreeMap<VirtualServerId, VirtualServerScripts> {
    let services = config.services.iter().map(|(id, server)| {
        let scripts = VirtualServerScripts {
            quorum_up: server.quorum_up.clone(),
            quorum_down: server.quorum_down.clone(),
            omega: server.omega,
            real_servers: server
                .real_servers
                .iter()
                .filter(|real| real.notify_up.is_some() || real.notify_down.is_some())
                .map(|real| {
                    (real.address, RealServerScripts { up: real.notify_up.clone(), down: real.notify_down.clone() })
                })
                .collect(),
        };
        (id.clone(), scripts)
    });
    services.collect()
}

/// The scripts of one instance or group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifyScripts {
    /// `notify_master`.
    pub master: Option<Command>,
    /// `notify_backup`.
    pub backup: Option<Command>,
    /// `notify_fault`.
    pub fault: Option<Command>,
    /// `notify_stop`.
    pub stop: Option<Command>,
    /// `notify_deleted` (instances only).
    pub deleted: Option<Command>,
    /// `notify_master_rx_lower_pri` (instances only).
    pub master_rx_lower_pri: Option<Command>,
    /// `notify`: any state, with four more arguments: `INSTANCE|GROUP`, name, state, priority.
    pub any: Option<Command>,
}
