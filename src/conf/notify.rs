//! FIFOs and e-mail of `global_defs`, and who of the instances and groups is mailed about.
//!
//! Pure. The defaults that an instance or group takes are settled here, once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::diagnostic::{Kind, Reporter};
use super::draft::InstanceBlock;
use super::global::{run_as, set, set_some};
use super::lex;
use super::section::Section;
use super::source::Span;
use super::tree::Word;
use super::webhook::{has_webhooks, webhooks};
use crate::notify::address;
use crate::notify::config::{EmailConfig, FifoConfig, FifoScope, NotifyConfig, Secret, SmtpTls};
use crate::notify::notice::About;
use crate::vrrp::config::GroupConfig;

/// keepalived's limit of each step.
const SMTP_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads the targets that stand in `global_defs`, and what instances and groups say of them.
pub fn targets(
    root: &Section<'_>,
    instances: &[InstanceBlock],
    groups: &BTreeMap<String, GroupConfig>,
    config: &mut NotifyConfig,
    reporter: &mut Reporter,
) {
    let mut fifos = Fifos::default();
    let mut mail = Mail::default();
    let mut priority_changes = false;
    for section in root.sections("global_defs") {
        fifos.read(section, reporter);
        mail.read(section, reporter);
        set(&mut priority_changes, section.bool("vrrp_notify_priority_changes"));
        webhooks(section, None, &mut config.webhooks, reporter);
        config.states_on_reload |= section.flag("fifo_write_vrrp_states_on_reload");
    }
    config.fifos = fifos.finish(reporter);
    for section in root.sections("vrrp_sync_group") {
        own_webhooks(section, About::Group, config, reporter);
    }
    let mut chatty: BTreeMap<&str, bool> = BTreeMap::new();
    let own = root.sections("vrrp_sync_group").filter_map(|section| Some((section.name?.text, section)));
    let own: BTreeMap<&str, &Section<'_>> = own.collect();
    for (name, group) in groups {
        if let Some(says) = own.get(name.as_str()).and_then(|section| section.bool("notify_priority_changes")) {
            chatty.extend(group.members.iter().map(|member| (member.as_str(), says)));
        }
    }
    config.priority_changes = instances
        .iter()
        .filter(|instance| {
            let group = chatty.get(instance.name.as_str()).copied();
            instance.priority_changes.or(group).unwrap_or(priority_changes)
        })
        .map(|instance| instance.name.clone())
        .collect();
    config.email = mail.finish(
        |default| {
            let instances = instances.iter().filter(|instance| instance.alerts.unwrap_or(default));
            let groups = own.iter().filter(|(_, section)| section.bool("smtp_alert").unwrap_or(default));
            (
                instances.map(|instance| instance.name.clone()).collect(),
                groups.map(|(name, _)| (*name).to_owned()).collect(),
            )
        },
        reporter,
    );
}

/// The webhooks of an instance or a group.
pub fn own_webhooks(
    section: &Section<'_>,
    about: fn(String) -> About,
    config: &mut NotifyConfig,
    reporter: &mut Reporter,
) {
    if let Some(name) = section.name.filter(|_| has_webhooks(section)) {
        webhooks(section, Some(&about(name.text.to_string())), &mut config.webhooks, reporter);
    }
}

/// The three FIFOs; of each keyword the first line counts.
#[derive(Default)]
struct Fifos {
    found: BTreeMap<&'static str, (FifoConfig, Span)>,
    scripts: BTreeMap<&'static str, (crate::command::Command, Span)>,
}

const FIFOS: [(&str, &str, FifoScope); 3] = [
    ("notify_fifo", "notify_fifo_script", FifoScope::All),
    ("vrrp_notify_fifo", "vrrp_notify_fifo_script", FifoScope::Vrrp),
    ("lvs_notify_fifo", "lvs_notify_fifo_script", FifoScope::Lvs),
];

impl Fifos {
    fn read(&mut self, section: &Section<'_>, reporter: &mut Reporter) {
        for (keyword, script_keyword, scope) in FIFOS {
            if let (Some(words), Some(entry)) = (section.words(keyword), section.entry(keyword))
                && let Some((path, owner)) = words.split_first()
            {
                if path.text.starts_with('/') {
                    let config =
                        FifoConfig { path: PathBuf::from(path.text), owner: run_as(owner), scope, script: None };
                    self.found.entry(keyword).or_insert((config, entry.span));
                } else {
                    let message = format!("`{keyword}` takes an absolute path, not `{}`", path.text);
                    reporter.error(path.span, message).help("the line is left out");
                }
            }
            if let (Some(script), Some(entry)) = (section.script(script_keyword), section.entry(script_keyword)) {
                self.scripts.entry(keyword).or_insert((script.clone(), entry.span));
            }
        }
    }

    fn finish(mut self, reporter: &mut Reporter) -> Vec<FifoConfig> {
        let mut fifos: Vec<(FifoConfig, Span)> = Vec::new();
        for (keyword, script_keyword, _) in FIFOS {
            let script = self.scripts.remove(keyword);
            match self.found.remove(keyword) {
                Some((config, span)) => {
                    if let Some((_, first)) = fifos.iter().find(|(other, _)| other.path == config.path) {
                        let message = format!("{} is the FIFO of another keyword already", config.path.display());
                        reporter
                            .error(span, message)
                            .note(*first, "the other one")
                            .help("`notify_fifo` alone hears of everything; this line is left out");
                        continue;
                    }
                    fifos.push((FifoConfig { script: script.map(|(script, _)| script), ..config }, span));
                }
                None => {
                    if let Some((_, span)) = script {
                        let message = format!("`{script_keyword}` without `{keyword}` has nothing to read");
                        reporter.warning(span, message);
                    }
                }
            }
        }
        fifos.into_iter().map(|(config, _)| config).collect()
    }
}

/// The keywords of e-mail, as they are found.
#[derive(Default)]
struct Mail {
    to: Vec<String>,
    from: Option<String>,
    server: Option<(String, Option<u16>)>,
    first: Option<Span>,
    helo: Option<String>,
    timeout: Option<Duration>,
    tls: SmtpTls,
    ca: Option<PathBuf>,
    user: Option<(String, Span)>,
    password: Option<Secret>,
    digest: Option<u32>,
    no_faults: bool,
    no_checks: bool,
    alert: Option<bool>,
    alert_vrrp: Option<bool>,
}

impl Mail {
    fn read(&mut self, section: &Section<'_>, reporter: &mut Reporter) {
        for node in section.lines("notification_email") {
            for word in std::iter::once(node.keyword()).chain(node.arguments()) {
                self.first.get_or_insert(word.span);
                if let Some(address) = mail_address(word, reporter) {
                    self.to.push(address);
                }
            }
        }
        if let Some(words) = section.words("notification_email_from") {
            let text = words.iter().map(|word| word.text).collect::<Vec<_>>().join(" ");
            match address::bare(&text) {
                Ok(_) => self.from = Some(text),
                Err(why) => {
                    let span = words.first().map_or(section.span, |word| word.span);
                    reporter.error(span, why).help("the line is left out: `someone@example.org`, or `Name <a@b>`");
                }
            }
        }
        if let Some([host, port @ ..]) = section.words("smtp_server") {
            self.first.get_or_insert(host.span);
            let port = port.first().and_then(|word| {
                let port = lex::integer(word.text).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
                if port.is_none() {
                    reporter.error(word.span, format!("`{}` is no port: it is left out", word.text));
                }
                port
            });
            self.server = Some((host.text.to_string(), port));
        }
        set_some(&mut self.helo, section.word("smtp_helo_name").map(|word| word.text.to_string()));
        set_some(&mut self.timeout, section.duration("smtp_connect_timeout"));
        set_some(&mut self.alert, section.bool("smtp_alert"));
        set_some(&mut self.alert_vrrp, section.bool("smtp_alert_vrrp"));
        self.no_faults |= section.flag("no_email_faults");
        set(&mut self.no_checks, section.bool("no_checker_emails"));
        match section.word("smtp_tls").map(|word| word.text) {
            Some("starttls") => self.tls = SmtpTls::StartTls,
            Some("implicit") => self.tls = SmtpTls::Implicit,
            Some(_) => self.tls = SmtpTls::None,
            None => {}
        }
        set_some(&mut self.ca, section.word("smtp_tls_ca").map(|word| PathBuf::from(word.text)));
        set_some(&mut self.user, section.word("smtp_user").map(|word| (word.text.to_string(), word.span)));
        set_some(&mut self.password, section.words("smtp_password").and_then(|words| secret(words, reporter)));
        set_some(&mut self.digest, section.int("smtp_digest"));
    }

    /// keepalived starts with half of it and says nothing; here the other half is asked for.
    fn finish(
        self,
        mailed: impl Fn(bool) -> (BTreeSet<String>, BTreeSet<String>),
        reporter: &mut Reporter,
    ) -> Option<EmailConfig> {
        let first = self.first?;
        let Some((host, port)) = self.server else {
            reporter.warning(first, "there are mail addresses and no `smtp_server`: no mail is sent");
            return None;
        };
        if self.to.is_empty() {
            reporter.warning(first, "there is a mail server and nobody in `notification_email`: no mail is sent");
            return None;
        }
        let login = match (self.user, self.password) {
            (Some((user, span)), Some(password)) => {
                if self.tls == SmtpTls::None {
                    reporter
                        .warning(span, "the mail server's password goes over the network unprotected")
                        .help("`smtp_tls starttls`, or `smtp_tls implicit`");
                }
                Some((user, password))
            }
            (Some((_, span)), None) => {
                reporter
                    .error(span, "`smtp_user` needs `smtp_password`: mail is sent without a login")
                    .kind(Kind::Incomplete)
                    .help("`smtp_password file PATH`, `smtp_password env NAME` or `smtp_password credential NAME`");
                None
            }
            (None, _) => None,
        };
        let usual = match self.tls {
            SmtpTls::None => 25,
            SmtpTls::StartTls => 587,
            SmtpTls::Implicit => 465,
        };
        let (instances, groups) = mailed(self.alert_vrrp.or(self.alert).unwrap_or(false));
        Some(EmailConfig {
            to: self.to,
            from: self.from,
            host,
            port: port.unwrap_or(usual),
            helo: self.helo,
            timeout: self.timeout.unwrap_or(SMTP_TIMEOUT).max(Duration::from_secs(1)),
            tls: self.tls,
            ca: self.ca,
            login,
            digest: self.digest.unwrap_or(EmailConfig::DIGEST),
            no_faults: self.no_faults,
            no_checks: self.no_checks,
            instances,
            groups,
        })
    }
}

fn mail_address(word: &Word<'_>, reporter: &mut Reporter) -> Option<String> {
    match address::bare(word.text) {
        Ok(_) => Some(word.text.to_string()),
        Err(why) => {
            reporter.error(word.span, why).help("the address is left out");
            None
        }
    }
}

/// `file PATH`, `env NAME` or `credential NAME`. The secret itself has no place in a configuration.
pub fn secret(words: &[Word<'_>], reporter: &mut Reporter) -> Option<Secret> {
    let (kind, value) = (words.first()?, words.get(1));
    match (kind.text, value) {
        ("file", Some(path)) if path.text.starts_with('/') => Some(Secret::File(PathBuf::from(path.text))),
        ("env", Some(name)) => Some(Secret::Environment(name.text.to_string())),
        ("credential", Some(name)) if !name.text.contains('/') => Some(Secret::Credential(name.text.to_string())),
        _ => {
            reporter
                .error(kind.span, "a secret is named by where it is, not written here: the line is left out")
                .help("`file /ABSOLUTE/PATH`, `env VARIABLE`, or `credential NAME` (systemd's `LoadCredential=`)");
            None
        }
    }
}
