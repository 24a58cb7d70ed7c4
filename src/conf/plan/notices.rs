//! Who is told, and how → the lines that would say it.
//!
//! Pure. Every setting of mail and FIFOs is named, so that a new one does not compile before it has its word here.

use super::lines::{json, secret};
use super::servers::{command, seconds, user};
use super::{Block, Blocks};
use crate::notify::config::{EmailConfig, FifoConfig, FifoScope, NotifyConfig, Secret, SmtpTls, WebhookConfig};
use crate::notify::notice::About;

/// What main knows of notifications, but for the scripts of instances, groups and virtual servers.
pub(super) fn notices(notify: &NotifyConfig, blocks: &mut Blocks) {
    let NotifyConfig {
        instances: _,
        groups: _,
        virtual_servers: _,
        fifos,
        priority_changes,
        states_on_reload,
        email,
        webhooks,
    } = notify;
    let mut put = |block: Block, name: &str, keyword: &str, value: String| {
        let lines = blocks.entry((block, name.to_owned())).or_default();
        lines.entry(keyword.to_owned()).or_default().push(value);
    };
    fifos.iter().for_each(|one| fifo(one, &mut |keyword, value| put(Block::Globals, "", keyword, value)));
    if *states_on_reload {
        put(Block::Globals, "", "fifo_write_vrrp_states_on_reload", String::new());
    }
    for name in priority_changes {
        put(Block::Instance, name, "notify_priority_changes", String::new());
    }
    if let Some(email) = email {
        mail(email, &mut |keyword, value| put(Block::Globals, "", keyword, value));
        email.instances.iter().for_each(|name| put(Block::Instance, name, "smtp_alert", String::new()));
        email.groups.iter().for_each(|name| put(Block::Group, name, "smtp_alert", String::new()));
    }
    for (title, hook) in webhooks {
        let (block, name) = match &hook.only {
            Some(About::Instance(name)) => (Block::Instance, name.as_str()),
            Some(About::Group(name)) => (Block::Group, name.as_str()),
            _ => (Block::Globals, ""),
        };
        let (keyword, value) = webhook(title, hook);
        put(block, name, keyword, value);
    }
}

fn fifo(fifo: &FifoConfig, put: &mut dyn FnMut(&str, String)) {
    let FifoConfig { path, owner, scope, script } = fifo;
    let keyword = match scope {
        FifoScope::All => "notify_fifo",
        FifoScope::Vrrp => "vrrp_notify_fifo",
        FifoScope::Lvs => "lvs_notify_fifo",
    };
    put(keyword, format!("{}{}", path.display(), user(owner.as_ref())));
    if let Some(script) = script {
        put(&format!("{keyword}_script"), command(script));
    }
}

fn mail(mail: &EmailConfig, put: &mut dyn FnMut(&str, String)) {
    let EmailConfig { to, from, host, port, helo, timeout, tls, ca, login, digest, no_faults, no_checks, .. } = mail;
    to.iter().for_each(|to| put("notification_email", to.clone()));
    put("smtp_server", format!("{host} {port}"));
    put("smtp_connect_timeout", seconds(*timeout));
    put("smtp_digest", digest.to_string());
    let tls = match tls {
        SmtpTls::None => None,
        SmtpTls::StartTls => Some("starttls"),
        SmtpTls::Implicit => Some("implicit"),
    };
    let mut put_some = |keyword: &str, value: Option<String>| value.into_iter().for_each(|value| put(keyword, value));
    put_some("notification_email_from", from.clone());
    put_some("smtp_helo_name", helo.clone());
    put_some("smtp_tls", tls.map(str::to_owned));
    put_some("smtp_tls_ca", ca.as_ref().map(|ca| ca.display().to_string()));
    put_some("smtp_user", login.as_ref().map(|(name, _)| name.clone()));
    // Where it is kept is no secret.
    put_some("smtp_password", login.as_ref().map(|(_, password)| kept(password)));
    put_some("no_email_faults", no_faults.then(String::new));
    put_some("no_checker_emails", no_checks.then(String::new));
}

fn kept(secret: &Secret) -> String {
    match secret {
        Secret::File(path) => format!("file {}", path.display()),
        Secret::Environment(name) => format!("env {name}"),
        Secret::Credential(name) => format!("credential {name}"),
    }
}

/// Its title is `webhook ops` or `cloud address x of instance VI_1`. URLs and headers are secrets often enough.
fn webhook(title: &str, hook: &WebhookConfig) -> (&'static str, String) {
    let (keyword, kind) =
        if hook.last_state { ("cloud_address", "cloud address ") } else { ("notify_webhook", "webhook ") };
    let name = title.strip_prefix(kind).unwrap_or(title);
    let of = match &hook.only {
        Some(about @ (About::Instance(_) | About::Group(_))) => format!(" of {about}"),
        _ => String::new(),
    };
    let name = name.strip_suffix(&of).unwrap_or(name);
    (keyword, format!("{name} {}", secret(&json(hook)).unwrap_or_default()))
}
