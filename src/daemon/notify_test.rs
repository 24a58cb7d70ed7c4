//! `holdfast notify test`: sends one test to every target of a configuration, and says what came back.
//!
//! Shell. FIFOs are only looked at, and scripts only looked for: their readers would take a test for news.

use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::sync::Arc;
use std::time::SystemTime;

use super::exec::{Policy, Runner};
use super::main_process::enter_namespace;
use super::notices::host_name;
use super::{load, trackers};
use crate::cli::NotifyTestArgs;
use crate::command::Command;
use crate::conf;
use crate::conf::config::Config;
use crate::notify::config::NotifyConfig;
use crate::notify::email;
use crate::notify::node::Node;
use crate::notify::notice::{About, Notice, What};
use crate::notify::outbox::Failure;
use crate::notify::said::Said;
use crate::notify::webhook::{self, Clients};

/// Exit code: a target did not take it, or could not.
const FAILED: u8 = 1;
/// Exit code: the configuration cannot be used.
const UNUSABLE: u8 = 2;

/// Tests the targets one by one: 0 when all of them took it.
///
/// # Errors
/// Standard output cannot be written, or there is no runtime.
pub fn run(args: &NotifyTestArgs) -> anyhow::Result<u8> {
    let loaded = conf::load(&args.file, &load::options(args.config_id.as_deref(), false));
    let Some(config) = loaded.config else {
        eprint!("{}", loaded.diagnostics.render(false));
        return Ok(UNUSABLE);
    };
    if let Some(name) = &config.daemon.net_namespace {
        enter_namespace(name)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(test(&config))
}

#[allow(clippy::disallowed_methods, reason = "a shell: reads the clock")]
async fn test(config: &Config) -> anyhow::Result<u8> {
    let mut out = io::stdout().lock();
    let mut code = 0;
    let mut say = |name: &str, result: Result<String, String>| -> io::Result<()> {
        match result {
            Ok(text) => writeln!(out, "ok      {name}: {text}"),
            Err(text) => {
                code = FAILED;
                writeln!(out, "FAILED  {name}: {text}")
            }
        }
    };
    let notify = &config.notify;
    let host = host_name();
    let router_id = config.daemon.router_id.clone().unwrap_or_else(|| host.clone());
    let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let node = Node { router_id, host, life: format!("test-{:x}", at.as_micros()) };
    let cause = Some("holdfast notify test".to_owned());
    let notice = Notice { sequence: 1, at, about: About::Node, what: What::Test, cause };
    let mut targets = 0;
    if let Some(mail) = &notify.email {
        targets += 1;
        let result = email::send(mail, &node, &[Arc::new(notice.clone())], &mut Said::default()).await;
        let taken = format!("{}:{} took a mail for {}", mail.host, mail.port, mail.to.join(", "));
        say("e-mail", result.map(|()| taken).map_err(reason))?;
    }
    let clients = Clients::default();
    for (name, hook) in &notify.webhooks {
        targets += 1;
        if hook.last_state {
            say(name, Ok("not asked: it would move the address".to_owned()))?;
            continue;
        }
        let about = hook.only.clone().unwrap_or(About::Node);
        let result = webhook::post(hook, &node, &Notice { about, ..notice.clone() }, &clients).await;
        say(name, result.map(|status| format!("the answer is status {status}")).map_err(reason))?;
    }
    for fifo in &notify.fifos {
        targets += 1;
        let result = match std::fs::symlink_metadata(&fifo.path) {
            Ok(found) if found.file_type().is_fifo() => Ok("is there; nothing is written to it".to_owned()),
            Ok(_) => Err("is there, and is no FIFO".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok("is made when the daemon starts".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        say(&fifo.name(), result)?;
    }
    let policy = Policy::of(&config.daemon);
    let runner = Runner::new(policy, trackers::commands(config).into_iter());
    for (name, command) in scripts(notify, config) {
        targets += 1;
        let result = runner.prepare(command).map(|_| "can be run; it is not".to_owned());
        say(&format!("{name}: {}", command.text), result.map_err(|why| why.to_string()))?;
    }
    if targets == 0 {
        writeln!(io::stdout(), "nobody is told of anything: there are no notifications in this file")?;
    }
    Ok(code)
}

fn reason(failure: Failure) -> String {
    failure.reason
}

fn scripts<'a>(notify: &'a NotifyConfig, config: &'a Config) -> Vec<(String, &'a Command)> {
    let instances = notify.instances.iter().map(|(name, scripts)| (format!("instance {name}"), scripts));
    let groups = notify.groups.iter().map(|(name, scripts)| (format!("group {name}"), scripts));
    let vrrp = instances.chain(groups).flat_map(|(name, scripts)| {
        let all = [
            &scripts.master,
            &scripts.backup,
            &scripts.fault,
            &scripts.stop,
            &scripts.deleted,
            &scripts.master_rx_lower_pri,
            &scripts.any,
        ];
        all.into_iter().flatten().map(move |command| (name.clone(), command))
    });
    let servers = config.balancer.services.iter().flat_map(|(id, server)| {
        let real = server.real_servers.iter().flat_map(|real| real.notify_up.iter().chain(&real.notify_down));
        let all = server.quorum_up.iter().chain(&server.quorum_down).chain(real);
        all.map(move |command| (format!("virtual server {id}"), &**command))
    });
    let readers = notify.fifos.iter().filter_map(|fifo| Some((fifo.name(), fifo.script.as_ref()?)));
    let hooks = config.daemon.startup_script.iter().map(|command| ("startup_script".to_owned(), command));
    let hooks =
        hooks.chain(config.daemon.shutdown_script.iter().map(|command| ("shutdown_script".to_owned(), command)));
    vrrp.chain(servers).chain(readers).chain(hooks).collect()
}
