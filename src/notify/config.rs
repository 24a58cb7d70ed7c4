//! Typed configuration of everything that tells people: scripts, FIFOs, e-mail, webhooks.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::notice::{About, Notice, What};
use crate::command::{Command, RunAs};
use crate::ipvs::config::{BalancerConfig, VirtualServerConfig, VirtualServerId};
use crate::ipvs::event::Event as BalancerEvent;
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
    /// Instances whose changes of priority FIFOs hear of (`notify_priority_changes`, or what the globals say).
    pub priority_changes: BTreeSet<String>,
    /// `fifo_write_vrrp_states_on_reload`: FIFOs hear all states again after a reload.
    pub states_on_reload: bool,
    /// E-mail; `None` without `smtp_server` and `notification_email`.
    pub email: Option<EmailConfig>,
    /// `notify_webhook` and `cloud_address` blocks by their names in messages.
    pub webhooks: BTreeMap<String, WebhookConfig>,
}

impl NotifyConfig {
    /// Whether e-mail is switched on for what the event is about.
    pub fn mails(&self, event: &BalancerEvent) -> bool {
        match event {
            BalancerEvent::RealServer { virtual_server, real_server, .. }
            | BalancerEvent::Checker { virtual_server, real_server, .. } => {
                self.virtual_servers.get(virtual_server).is_none_or(|own| !own.silent.contains(&real_server.address))
            }
            BalancerEvent::Quorum { virtual_server, .. } => {
                self.virtual_servers.get(virtual_server).is_some_and(|own| own.mail)
            }
            _ => false,
        }
    }
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
    /// `smtp_user` and `smtp_password` (ours).
    pub login: Option<(String, Secret)>,
    /// So many that wait become one mail (`smtp_digest`, ours); 0 is never.
    pub digest: u32,
    /// No mail on entry to FAULT (`no_email_faults`).
    pub no_faults: bool,
    /// No mail about a checker that changes nothing (`no_checker_emails`).
    pub no_checks: bool,
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

/// One `notify_webhook` or `cloud_address`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookConfig {
    /// Where, how and with what it is asked.
    pub request: RequestConfig,
    /// `preset`, `body_template` or `body_file`.
    pub body: WebhookBody,
    /// `events`: the words of [`What::word`] that it hears of; empty is all but `PRIORITY`, `STILL_MASTER` and `CHECK`.
    pub events: BTreeSet<String>,
    /// Whose events it hears, when it stands in somebody's block.
    pub only: Option<About>,
    /// `sign`.
    pub sign: Option<Sign>,
    /// Attempts after the first before a notice is given up (`retry`); `None` is for ever.
    pub retry: Option<u32>,
    /// Tell again that an instance is master still, this often (`reassert`).
    pub reassert: Option<Duration>,
    /// Only the last state of each instance and group counts (`cloud_address`): what a later one overtook is not sent.
    pub last_state: bool,
}

/// One request to somebody's API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestConfig {
    /// `url`; `https` certificates are verified.
    pub url: Url,
    /// `method`.
    pub method: String,
    /// `header NAME VALUE`.
    pub headers: Vec<(String, String)>,
    /// `authorization`: the value of that header.
    pub authorization: Option<Secret>,
    /// `token`: another request first, whose answer is `{{token}}` in this one.
    pub token: Option<Box<TokenConfig>>,
    /// Limit of one attempt (`timeout`).
    pub timeout: Duration,
    /// Statuses that are success (`status_code`), both ends included; never empty.
    pub status: Vec<(u16, u16)>,
    /// Trust this CA beside the system's (`tls_ca`).
    pub ca: Option<PathBuf>,
}

/// A URL, or where it is kept: those of chat services are secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Url {
    /// As it is written.
    Plain(String),
    /// Read when it is needed.
    Secret(Secret),
}

/// How a request proves who it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sign {
    /// `hmac-sha256`, by the Standard Webhooks specification: headers `webhook-id`, `webhook-timestamp` and
    /// `webhook-signature`.
    HmacSha256(Secret),
    /// `aws-sigv4 REGION SERVICE`, with the role of this machine: the metadata service at this URL knows it.
    AwsSigV4 {
        /// `eu-central-1`.
        region: String,
        /// `ec2`.
        service: String,
        /// Of the machine's metadata service.
        metadata: String,
    },
}

/// `token { … }`: asks for a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenConfig {
    /// The request; it has no token of its own.
    pub request: RequestConfig,
    /// What it sends.
    pub body: WebhookBody,
    /// Where the token is in the answer.
    pub from: TokenFrom,
}

/// Where a token is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenFrom {
    /// `field NAME` of the answer's JSON.
    Field(String),
    /// `response_header NAME`.
    Header(String),
}

/// What a webhook sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WebhookBody {
    /// Nothing.
    Empty,
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
    /// `body_file`: the same in a file, read when it is needed.
    File(PathBuf),
}

impl FifoConfig {
    /// For messages.
    pub fn name(&self) -> String {
        let keyword = match self.scope {
            FifoScope::All => "notify_fifo",
            FifoScope::Vrrp => "vrrp_notify_fifo",
            FifoScope::Lvs => "lvs_notify_fifo",
        };
        format!("{keyword} {}", self.path.display())
    }

    /// Whether a notice is written to it.
    pub fn wants(&self, notice: &Notice) -> bool {
        match self.scope {
            FifoScope::All => true,
            FifoScope::Vrrp => notice.is_vrrp(),
            FifoScope::Lvs => !notice.is_vrrp(),
        }
    }
}

impl EmailConfig {
    /// The value of `digest` without its keyword: a few mails are read one by one, a flood is not.
    pub const DIGEST: u32 = 20;

    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self {
            to: vec!["ops@example.org".into()],
            from: None,
            host: "localhost".into(),
            port: 25,
            helo: None,
            timeout: Duration::from_secs(30),
            tls: SmtpTls::None,
            ca: None,
            login: None,
            digest: Self::DIGEST,
            no_faults: false,
            no_checks: false,
            instances: BTreeSet::new(),
            groups: BTreeSet::new(),
        }
    }

    /// Whether a notice is mailed. Virtual and real servers decide for themselves, before the notice is made.
    pub fn wants(&self, notice: &Notice) -> bool {
        let fault = matches!(notice.what, What::State { to: StateName::Fault, .. });
        let subject = match &notice.about {
            About::Instance(name) => self.instances.contains(name),
            About::Group(name) => self.groups.contains(name),
            About::VirtualServer(_) | About::RealServer { .. } | About::Node => true,
        };
        let what = match notice.what {
            What::State { .. } => !(fault && self.no_faults),
            What::Check { .. } => !self.no_checks,
            What::Up { .. } | What::Down { .. } | What::Test => true,
            What::StillMaster { .. } | What::Priority { .. } | What::LowerPriorityAdvert { .. } => false,
        };
        subject && what
    }
}

impl WebhookConfig {
    /// Whether a notice is posted.
    pub fn wants(&self, notice: &Notice) -> bool {
        if notice.what == What::Test {
            return true;
        }
        let quiet = matches!(notice.what, What::Priority { .. } | What::StillMaster { .. } | What::Check { .. });
        let word = if self.last_state {
            // States that are nothing to it tell it that an earlier one is over.
            matches!(notice.what, What::State { .. } | What::StillMaster { .. })
        } else if self.events.is_empty() {
            !quiet
        } else {
            self.events.contains(&notice.what.word())
        };
        word && self.hears_of(&notice.about)
    }

    /// Whether it is about whom it hears of.
    pub fn hears_of(&self, about: &About) -> bool {
        match (&self.only, about) {
            (None, _) => true,
            (Some(About::VirtualServer(own)), About::RealServer { virtual_server, .. }) => own == virtual_server,
            (Some(own), about) => own == about,
        }
    }

    /// Whether a state asks for a request, rather than only for silence about an earlier one.
    pub fn asks(&self, what: &What) -> bool {
        self.events.contains(&what.word()) || matches!(what, What::StillMaster { .. } | What::Test)
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
    /// A change of its quorum is mailed (`smtp_alert`).
    pub mail: bool,
    /// Its real servers whose changes are not mailed (`smtp_alert` of theirs).
    pub silent: BTreeSet<SocketKey>,
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

/// The scripts that stand in the blocks of virtual servers, of those that have any or say something else than the default.
pub fn of_virtual_servers(config: &BalancerConfig) -> BTreeMap<VirtualServerId, VirtualServerScripts> {
    let all = config.services.iter().map(|(id, server)| (id, of_virtual_server(server)));
    all.filter(|(_, own)| *own != VirtualServerScripts::default()).map(|(id, own)| (id.clone(), own)).collect()
}

/// Who is told of one virtual server and its real servers.
pub fn of_virtual_server(server: &VirtualServerConfig) -> VirtualServerScripts {
    VirtualServerScripts {
        quorum_up: server.quorum_up.as_deref().cloned(),
        quorum_down: server.quorum_down.as_deref().cloned(),
        omega: server.omega,
        mail: server.smtp_alert,
        silent: server.real_servers.iter().filter(|real| !real.smtp_alert).map(|real| real.address).collect(),
        real_servers: server
            .real_servers
            .iter()
            .filter(|real| real.notify_up.is_some() || real.notify_down.is_some())
            .map(|real| {
                let (up, down) = (real.notify_up.as_deref().cloned(), real.notify_down.as_deref().cloned());
                (real.address, RealServerScripts { up, down })
            })
            .collect(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(about: About, what: What) -> Notice {
        Notice { sequence: 1, at: Duration::ZERO, about, what, cause: None }
    }

    fn instance(name: &str) -> About {
        About::Instance(name.to_owned())
    }

    fn state(to: StateName) -> What {
        What::State { to, priority: 1 }
    }

    fn check() -> What {
        What::Check { up: false, detail: String::new() }
    }

    fn real_server(of: &str) -> About {
        About::RealServer { real_server: "[192.0.2.7]:tcp:80".into(), virtual_server: of.into() }
    }

    #[test]
    fn who_is_mailed() {
        let mails = |no_faults, no_checks, about: About, what: What| {
            let instances = BTreeSet::from(["told".to_owned()]);
            EmailConfig { instances, no_faults, no_checks, ..EmailConfig::sample() }.wants(&notice(about, what))
        };
        assert!(mails(false, false, instance("told"), state(StateName::Fault)));
        assert!(!mails(true, false, instance("told"), state(StateName::Fault)), "no_email_faults");
        assert!(mails(true, false, instance("told"), state(StateName::Master)));
        assert!(!mails(false, false, instance("other"), state(StateName::Master)), "smtp_alert off");
        assert!(mails(false, false, real_server("v"), check()));
        assert!(!mails(false, true, real_server("v"), check()), "no_checker_emails");
        assert!(!mails(false, false, instance("told"), What::StillMaster { priority: 1 }));
        assert!(!mails(false, false, instance("told"), What::Priority { state: StateName::Master, to: 1 }));
    }

    fn hook(events: &[&str], only: Option<About>) -> WebhookConfig {
        let request = RequestConfig {
            url: Url::Plain(String::new()),
            method: "POST".into(),
            headers: Vec::new(),
            authorization: None,
            token: None,
            timeout: Duration::ZERO,
            status: Vec::new(),
            ca: None,
        };
        let events = events.iter().map(|event| (*event).to_owned()).collect();
        let (body, sign, retry, reassert) = (WebhookBody::Generic, None, None, None);
        WebhookConfig { request, body, events, only, sign, retry, reassert, last_state: false }
    }

    #[test]
    fn what_webhooks_hear_of() {
        let (all, faults) = (hook(&[], None), hook(&["FAULT", "CHECK"], None));
        let of_web = hook(&[], Some(About::VirtualServer("web".into())));
        let cloud = WebhookConfig { last_state: true, ..hook(&["MASTER"], Some(instance("VI"))) };
        let hear = |about: About, what: What| {
            [&all, &faults, &of_web, &cloud].map(|hook| hook.wants(&notice(about.clone(), what.clone())))
        };
        assert_eq!(hear(instance("VI"), state(StateName::Fault)), [true, true, false, true]);
        assert_eq!(hear(instance("VI"), state(StateName::Master)), [true, false, false, true]);
        assert_eq!(hear(instance("other"), state(StateName::Master)), [true, false, false, false]);
        assert_eq!(hear(instance("VI"), What::Priority { state: StateName::Master, to: 1 }), [false; 4]);
        assert_eq!(hear(real_server("web"), What::Down { detail: String::new() }), [true, false, true, false]);
        assert_eq!(hear(real_server("ftp"), What::Down { detail: String::new() }), [true, false, false, false]);
        assert_eq!(hear(real_server("web"), check()), [false, true, false, false]);
        assert!(cloud.asks(&state(StateName::Master)) && !cloud.asks(&state(StateName::Fault)));
    }
}
