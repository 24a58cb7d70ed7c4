//! `global_defs` for the balancer process, and the root block `SSL`.
//!
//! Pure.

use std::num::NonZeroU32;

use super::diagnostic::Reporter;
use super::global::{cpus, real_time, set, set_some};
use super::lex;
use super::section::Section;
use super::tree::Word;
use crate::ipvs::config::{
    BalancerGlobal, FlushOnStop, ForwarderChoice, LvsTimeouts, NftablesIpvs, SslConfig, SyncDaemonConfig,
};

/// What virtual servers and checkers take when they say nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct BalancerDefaults {
    /// `smtp_alert_checker`, else `smtp_alert`.
    pub smtp_alert: Option<bool>,
    /// `checker_log_all_failures`.
    pub log_all_failures: bool,
}

/// Reads every `global_defs`; later ones win. `vrid` tells the virtual router id of an instance; `of_instance` is the sync
/// daemon that an instance asks for, in the old spelling.
pub fn globals(
    root: &Section<'_>,
    vrid: impl Fn(&str) -> Option<u8>,
    of_instance: Option<SyncDaemonConfig>,
    reporter: &mut Reporter,
) -> (BalancerGlobal, BalancerDefaults) {
    let mut global = BalancerGlobal::default();
    let mut defaults = BalancerDefaults::default();
    let mut mails = None;
    for section in root.sections("global_defs") {
        processes(section, &mut global, reporter);
        kernel(section, &mut global, &vrid, reporter);
        set_some(&mut mails, section.bool("smtp_alert"));
        set_some(&mut defaults.smtp_alert, section.bool("smtp_alert_checker"));
        set(&mut defaults.log_all_failures, section.bool("checker_log_all_failures"));
    }
    defaults.smtp_alert = defaults.smtp_alert.or(mails);
    global.sync_daemon = global.sync_daemon.or(of_instance);
    for section in root.sections("SSL") {
        ssl(section, &mut global.ssl);
    }
    (global, defaults)
}

/// The sync daemon that an instance asks for, in the old spelling.
pub fn sync_daemon_of(instance: &Section<'_>, reporter: &mut Reporter) -> Option<SyncDaemonConfig> {
    let (name, word) = (instance.name?, instance.word("lvs_sync_daemon_interface")?);
    let report = reporter.warning(word.span, "`lvs_sync_daemon_interface` is an old spelling");
    report.help(format!("write `lvs_sync_daemon {} {}` in `global_defs`", word.text, name.text));
    Some(SyncDaemonConfig {
        interface: word.text.to_string(),
        instance: Some(name.text.to_string()),
        id: instance.int("virtual_router_id").unwrap_or(0),
        max_length: None,
        port: None,
        ttl: None,
        group: None,
    })
}

fn processes(section: &Section<'_>, global: &mut BalancerGlobal, reporter: &mut Reporter) {
    match section.word("virtual_server_forwarder").map(|word| word.text) {
        Some("kernel") => global.forwarder = ForwarderChoice::Kernel,
        Some("userspace") => global.forwarder = ForwarderChoice::Userspace,
        Some(_) => global.forwarder = ForwarderChoice::Auto,
        None => {}
    }
    set_some(&mut global.forwarder_threads, section.int("forwarder_threads"));
    set(&mut global.rs_init_notifies, section.bool("rs_init_notifies"));
    set(&mut global.no_checker_emails, section.bool("no_checker_emails"));
    set_some(&mut global.nice, section.int("checker_priority"));
    set_some(&mut global.rt_priority, real_time(section, "checker_rt_priority", reporter));
    global.no_swap |= section.flag("checker_no_swap");
    for cpu in cpus(section, "checker_cpu_affinity", reporter) {
        if !global.cpu_affinity.contains(&cpu) {
            global.cpu_affinity.push(cpu);
        }
    }
    set_some(&mut global.rlimit_rttime, section.int("checker_rlimit_rttime"));
}

fn kernel(
    section: &Section<'_>,
    global: &mut BalancerGlobal,
    vrid: &impl Fn(&str) -> Option<u8>,
    reporter: &mut Reporter,
) {
    if let Some(words) = section.words("lvs_timeouts") {
        timeouts(words, &mut global.timeouts, reporter);
    }
    global.flush |= section.flag("lvs_flush");
    if let Some(words) = section.words("lvs_flush_on_stop") {
        global.flush_on_stop = match words.first() {
            None => FlushOnStop::All,
            Some(word) if word.text == "VS" => FlushOnStop::VirtualServers,
            Some(word) => {
                let message = format!("`lvs_flush_on_stop` takes `VS` or nothing, not `{}`", word.text);
                reporter.error(word.span, message).help("the whole table is emptied");
                FlushOnStop::All
            }
        };
    }
    if let Some(words) = section.words("lvs_sync_daemon")
        && global.sync_daemon.is_none()
    {
        global.sync_daemon = sync_daemon(words, vrid, reporter);
    }
    if let Some(words) = section.words("nftables_ipvs") {
        let table = words.first().map_or("keepalived_ipvs", |word| word.text);
        nftables(global).table = table.to_owned();
    }
    if let Some(priority) = section.int("nftables_ipvs_priority") {
        nftables(global).priority = priority;
    }
    if let Some(mark) = section.int("nftables_ipvs_start_fwmark").and_then(NonZeroU32::new) {
        nftables(global).start_fwmark = mark;
    }
}

fn nftables(global: &mut BalancerGlobal) -> &mut NftablesIpvs {
    global.nftables.get_or_insert_with(|| NftablesIpvs {
        table: "keepalived_ipvs".to_owned(),
        priority: -1,
        start_fwmark: const { NonZeroU32::new(1000).expect("not zero") },
    })
}

/// `[tcp N] [tcpfin N] [udp N]`.
fn timeouts(words: &[Word<'_>], timeouts: &mut LvsTimeouts, reporter: &mut Reporter) {
    for pair in words.chunks(2) {
        let [name, rest @ ..] = pair else { continue };
        let to = match name.text {
            "tcp" => &mut timeouts.tcp,
            "tcpfin" => &mut timeouts.tcpfin,
            "udp" => &mut timeouts.udp,
            other => {
                let message = format!("`lvs_timeouts` has no `{other}`: the rest of the line is lost");
                reporter.error(name.span, message).help("`tcp N`, `tcpfin N` and `udp N`, in seconds");
                return;
            }
        };
        let seconds = rest.first().and_then(|word| lex::integer(word.text));
        match seconds.and_then(|seconds| u32::try_from(seconds).ok()).filter(|seconds| *seconds <= 2_678_400) {
            Some(seconds) => *to = Some(seconds),
            None => {
                let message = format!("`{}` takes whole seconds from 0 to 2678400", name.text);
                reporter.error(name.span, message).help("the kernel's value stays");
            }
        }
    }
}

/// `IF [[inst] VRRP] [id N] [maxlen N] [port N] [ttl N] [group ADDR]`; the old way has numbers after the instance, id
/// first.
fn sync_daemon(
    words: &[Word<'_>],
    vrid: &impl Fn(&str) -> Option<u8>,
    reporter: &mut Reporter,
) -> Option<SyncDaemonConfig> {
    let (interface, options) = words.split_first()?;
    let mut config = SyncDaemonConfig {
        interface: interface.text.to_string(),
        instance: None,
        id: 0,
        max_length: None,
        port: None,
        ttl: None,
        group: None,
    };
    let mut id = None;
    let mut instance: Option<&Word<'_>> = None;
    let mut bare = ["id", "maxlen", "port", "ttl", "group"].into_iter();
    let mut words = options.iter();
    while let Some(word) = words.next() {
        let name = word.text;
        let (option, value) = match name {
            "inst" | "id" | "maxlen" | "port" | "ttl" | "group" => (name, words.next()),
            _ if instance.is_none() => ("inst", Some(word)),
            _ => (bare.next().unwrap_or_default(), Some(word)),
        };
        let Some(value) = value else {
            reporter.error(word.span, format!("`{name}` needs a value: `lvs_sync_daemon` is left out"));
            return None;
        };
        let number = |low: i64, high: i64| lex::integer(value.text).filter(|number| (low..=high).contains(number));
        let fits = match option {
            "inst" => {
                instance = Some(value);
                true
            }
            "id" => number(0, 255).map(|number| id = u8::try_from(number).ok()).is_some(),
            "maxlen" => number(1, 65_507).map(|number| config.max_length = u16::try_from(number).ok()).is_some(),
            "port" => number(1, 65_535).map(|number| config.port = u16::try_from(number).ok()).is_some(),
            "ttl" => number(1, 255).map(|number| config.ttl = u8::try_from(number).ok()).is_some(),
            "group" => {
                config.group = value.text.parse().ok().filter(std::net::IpAddr::is_multicast);
                config.group.is_some()
            }
            _ => false,
        };
        if !fits {
            let message = format!("`{}` is not a legal `{option}` here: `lvs_sync_daemon` is left out", value.text);
            reporter
                .error(value.span, message)
                .help("`IF [inst INSTANCE] [id 0-255] [maxlen 1-65507] [port 1-65535] [ttl 1-255] [group MULTICAST]`");
            return None;
        }
    }
    if let Some(word) = instance {
        let Some(vrid) = vrid(word.text) else {
            let message = format!("no `vrrp_instance` is called `{}`: `lvs_sync_daemon` is left out", word.text);
            reporter.error(word.span, message);
            return None;
        };
        config.instance = Some(word.text.to_string());
        id = id.or(Some(vrid));
    }
    config.id = id.unwrap_or(0);
    Some(config)
}

fn ssl(section: &Section<'_>, ssl: &mut SslConfig) {
    let text = |keyword| section.word(keyword).map(|word| word.text.to_string());
    set_some(&mut ssl.password, text("password"));
    set_some(&mut ssl.ca, text("ca"));
    set_some(&mut ssl.certificate, text("certificate"));
    set_some(&mut ssl.key, text("key"));
}
