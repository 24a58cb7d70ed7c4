//! `global_defs` and the root keywords: settings of the processes, and what instances take when they say nothing.
//!
//! Pure.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::config::{DaemonConfig, ReloadMarker};
use super::diagnostic::Reporter;
use super::lex;
use super::section::{Section, Value};
use super::tree::Word;
use crate::command::RunAs;
use crate::status::page::PageConfig;
use crate::vrrp::config::VrrpGlobal;
use crate::vrrp::types::Family;

/// Everything that `global_defs` says.
#[derive(Debug, Default)]
pub struct Globals {
    /// For main.
    pub daemon: DaemonConfig,
    /// For the vrrp process.
    pub vrrp: VrrpGlobal,
    /// For instances.
    pub defaults: InstanceDefaults,
    /// Interface of static addresses without one.
    pub default_interface: Option<String>,
}

/// What an instance takes when it says nothing itself.
#[derive(Debug, Default)]
pub struct InstanceDefaults {
    /// `vrrp_version`.
    pub version: Option<u8>,
    /// `vrrp_mcast_group4`.
    pub group4: Option<IpAddr>,
    /// `vrrp_mcast_group6`.
    pub group6: Option<IpAddr>,
    /// `vrrp_garp_*`.
    pub garp: GarpSettings,
    /// `vrrp_min_garp`.
    pub min_garp: bool,
    /// `vrrp_down_timer_adverts`.
    pub down_timer_adverts: Option<u8>,
    /// `vrrp_lower_prio_no_advert`.
    pub lower_prio_no_advert: bool,
    /// `vrrp_higher_prio_send_advert`.
    pub higher_prio_send_advert: bool,
    /// `vrrp_check_unicast_src`.
    pub check_unicast_src: bool,
    /// `vrrp_skip_check_adv_addr`.
    pub skip_check_adv_addr: bool,
    /// `vrrp_strict`.
    pub strict: bool,
    /// `vrrp_owner_ignore_adverts`.
    pub owner_ignore_adverts: bool,
    /// `v3_checksum_as_v2`.
    pub v3_checksum_as_v2: bool,
}

/// The gratuitous ARP settings that somebody wrote, of all or of one instance.
#[derive(Debug, Default, Clone, Copy)]
pub struct GarpSettings {
    /// `garp_master_delay`.
    pub delay: Option<Duration>,
    /// `garp_master_repeat`.
    pub repeat: Option<u32>,
    /// `garp_master_refresh`.
    pub refresh: Option<Duration>,
    /// `garp_master_refresh_repeat`.
    pub refresh_repeat: Option<u32>,
    /// `garp_lower_prio_delay`.
    pub lower_prio_delay: Option<Duration>,
    /// `garp_lower_prio_repeat`.
    pub lower_prio_repeat: Option<u32>,
}

/// Reads the root keywords and every `global_defs`, wherever they stand: later ones win.
pub fn globals(root: &Section<'_>, reporter: &mut Reporter) -> Globals {
    let mut globals = Globals::default();
    let daemon = &mut globals.daemon;
    daemon.use_pid_dir = root.flag("use_pid_dir");
    daemon.instance = text(root, "instance");
    daemon.net_namespace = text(root, "net_namespace");
    set(&mut daemon.child_wait, root.duration("child_wait_time"));
    let first_instance = root.sections("vrrp_instance").next().map(|section| section.span);
    for section in root.sections("global_defs") {
        if let Some(instance) = first_instance.filter(|instance| *instance < section.span) {
            reporter
                .warning(
                    section.span,
                    "`global_defs` stands below an instance: keepalived uses it for later instances only",
                )
                .note(instance, "the first instance")
                .help("move `global_defs` to the top; here it counts for all instances");
        }
        daemon_settings(section, &mut globals, reporter);
        vrrp_settings(section, &mut globals.vrrp, reporter);
        instance_defaults(section, &mut globals.defaults, reporter);
    }
    globals
}

fn daemon_settings(section: &Section<'_>, globals: &mut Globals, reporter: &mut Reporter) {
    let daemon = &mut globals.daemon;
    set_some(&mut daemon.router_id, text(section, "router_id"));
    daemon.process_names |= section.flag("process_names");
    set_some(&mut daemon.process_name, text(section, "process_name"));
    set_some(&mut daemon.vrrp_process_name, text(section, "vrrp_process_name"));
    set_some(&mut daemon.checker_process_name, text(section, "checker_process_name"));
    set_some(&mut daemon.script_user, section.words("script_user").and_then(run_as));
    set(&mut daemon.supplementary_groups, section.bool("set_supplementary_groups"));
    daemon.script_security |= section.flag("enable_script_security");
    set_some(&mut daemon.startup_script, section.script("startup_script").cloned());
    set(&mut daemon.startup_script_timeout, section.duration("startup_script_timeout"));
    set_some(&mut daemon.shutdown_script, section.script("shutdown_script").cloned());
    set(&mut daemon.shutdown_script_timeout, section.duration("shutdown_script_timeout"));
    if let Some(words) = section.words("reload_check_config") {
        daemon.reload_check_log = words.first().map(|word| PathBuf::from(word.text));
    }
    set_some(&mut daemon.reload_time_file, absolute(section, "reload_time_file", reporter));
    daemon.reload_repeat |= section.flag("reload_repeat");
    if let Some(words) = section.words("reload_file") {
        daemon.reload_file = match words.first() {
            None => Some(ReloadMarker::Default),
            Some(word) => absolute_path(word, "reload_file", reporter).map(ReloadMarker::At),
        };
    }
    set_some(&mut daemon.config_save_dir, absolute(section, "config_save_dir", reporter));
    set_some(&mut daemon.control_directory, absolute(section, "control_directory", reporter));
    set_some(&mut daemon.control_group, text(section, "control_group"));
    set_some(&mut daemon.state_directory, absolute(section, "state_directory", reporter));
    set_some(&mut daemon.process_buffer, section.int("process_monitor_rcv_bufs").filter(|bytes| *bytes > 0));
    set(&mut daemon.process_buffer_force, section.bool("process_monitor_rcv_bufs_force"));
    set(&mut daemon.data_use_instance, section.bool("data_use_instance"));
    set(&mut daemon.json_version, section.int("json_version"));
    set_some(&mut daemon.state_dump_file, absolute(section, "state_dump_file", reporter));
    set_some(&mut daemon.stats_dump_file, absolute(section, "stats_dump_file", reporter));
    set_some(&mut daemon.json_dump_file, absolute(section, "json_dump_file", reporter));
    if let Some(words) = section.words("status_page") {
        let texts: Vec<&str> = words.iter().map(|word| word.text).collect();
        match PageConfig::parse(&texts) {
            Ok(page) => daemon.status_page = Some(page),
            Err(error) => {
                let span = words.first().map_or(section.span, |word| word.span);
                reporter
                    .error(span, format!("{error}: there is no status page"))
                    .help("for example `status_page 127.0.0.1:8410`, or `status_page [::]:8410 token_file /etc/keepalived/page.token`");
            }
        }
    }
    if let Some(word) = section.word("umask") {
        match umask(word.text) {
            Some(mask) => daemon.umask = Some(mask),
            None => {
                reporter
                    .error(word.span, format!("`{}` is not a file creation mask", word.text))
                    .help("a number from 0 to 0777, or names such as `IRWXG|IRWXO`");
            }
        }
    }
    for word in section.words("include_check").unwrap_or_default() {
        let name = word.text.trim_start_matches(['+', '-']);
        if !["read", "match", "wildcard_match", "brace_match"].contains(&name) {
            reporter
                .error(word.span, format!("`include_check` has no `{name}`"))
                .help("`read`, `match`, `wildcard_match` and `brace_match`, each with `+` or `-` or neither");
        }
    }
    set_some(&mut globals.default_interface, text(section, "default_interface"));
}

fn absolute(section: &Section<'_>, keyword: &str, reporter: &mut Reporter) -> Option<PathBuf> {
    absolute_path(section.word(keyword)?, keyword, reporter)
}

/// The daemon's own directory is nobody's business.
fn absolute_path(word: &Word<'_>, keyword: &str, reporter: &mut Reporter) -> Option<PathBuf> {
    if word.text.starts_with('/') {
        return Some(PathBuf::from(word.text));
    }
    reporter.error(word.span, format!("`{keyword}` takes an absolute path, not `{}`: the line is left out", word.text));
    None
}

/// As `nft` can write it; the kernel takes 255 bytes.
fn is_table_name(name: &str) -> bool {
    name.len() < 128
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
}

fn vrrp_settings(section: &Section<'_>, vrrp: &mut VrrpGlobal, reporter: &mut Reporter) {
    set(&mut vrrp.startup_delay, section.duration("vrrp_startup_delay"));
    set(&mut vrrp.delay_after_boot, section.duration("vrrp_delay_after_boot"));
    set_some(&mut vrrp.rt_priority, real_time(section, "vrrp_rt_priority", reporter));
    set_some(&mut vrrp.nice, section.int("vrrp_priority"));
    if let Some(word) = section.words("nftables").and_then(|words| words.first()) {
        if is_table_name(word.text) {
            vrrp.filter.table = word.text.to_string();
        } else {
            reporter.error(word.span, format!("`{}` cannot be the name of a table", word.text)).help(format!(
                "letters, digits, `_`, `-`, `.` and `/`, a letter first; table {} is used",
                vrrp.filter.table
            ));
        }
    }
    set(&mut vrrp.filter.priority, section.int("nftables_priority"));
    vrrp.filter.counters |= section.flag("nftables_counters");
    vrrp.no_swap |= section.flag("vrrp_no_swap");
    vrrp.cpu_affinity.extend(cpus(section, "vrrp_cpu_affinity", reporter));
    set_some(&mut vrrp.rlimit_rttime, section.int("vrrp_rlimit_rttime"));
    vrrp.log_unknown_vrids |= section.flag("log_unknown_vrids");
    set(&mut vrrp.garp_interval, section.duration("vrrp_garp_interval"));
    set(&mut vrrp.gna_interval, section.duration("vrrp_gna_interval"));
    if let Some(words) = section.words("dynamic_interfaces") {
        match words.first() {
            Some(word) if word.text != "allow_if_changes" => {
                let message = format!("`dynamic_interfaces` takes `allow_if_changes` or nothing, not `{}`", word.text);
                reporter.error(word.span, message).help("the line is left out");
            }
            _ => vrrp.dynamic_interfaces = true,
        }
    }
}

fn instance_defaults(section: &Section<'_>, defaults: &mut InstanceDefaults, reporter: &mut Reporter) {
    set_some(&mut defaults.version, section.int("vrrp_version"));
    set_some(
        &mut defaults.group4,
        section.word("vrrp_mcast_group4").and_then(|w| group(w, Some(Family::V4), reporter)),
    );
    set_some(
        &mut defaults.group6,
        section.word("vrrp_mcast_group6").and_then(|w| group(w, Some(Family::V6), reporter)),
    );
    defaults.garp.take_global(section);
    set(&mut defaults.min_garp, section.bool("vrrp_min_garp"));
    set_some(&mut defaults.down_timer_adverts, section.int("vrrp_down_timer_adverts"));
    set(&mut defaults.lower_prio_no_advert, section.bool("vrrp_lower_prio_no_advert"));
    set(&mut defaults.higher_prio_send_advert, section.bool("vrrp_higher_prio_send_advert"));
    defaults.check_unicast_src |= section.flag("vrrp_check_unicast_src");
    set(&mut defaults.skip_check_adv_addr, section.bool("vrrp_skip_check_adv_addr"));
    set(&mut defaults.strict, section.bool("vrrp_strict"));
    set(&mut defaults.owner_ignore_adverts, section.bool("vrrp_owner_ignore_adverts"));
    set(&mut defaults.v3_checksum_as_v2, section.bool("v3_checksum_as_v2"));
}

impl GarpSettings {
    /// Takes what an instance says.
    pub fn of_instance(section: &Section<'_>) -> Self {
        Self {
            delay: section.duration("garp_master_delay"),
            repeat: section.int("garp_master_repeat"),
            refresh: section.duration("garp_master_refresh"),
            refresh_repeat: section.int("garp_master_refresh_repeat"),
            lower_prio_delay: section.duration("garp_lower_prio_delay"),
            lower_prio_repeat: section.int("garp_lower_prio_repeat"),
        }
    }

    /// Takes what `global_defs` says.
    pub fn take_global(&mut self, section: &Section<'_>) {
        set_some(&mut self.delay, section.duration("vrrp_garp_master_delay"));
        set_some(&mut self.repeat, section.int("vrrp_garp_master_repeat"));
        set_some(&mut self.refresh, section.duration("vrrp_garp_master_refresh"));
        set_some(&mut self.refresh_repeat, section.int("vrrp_garp_master_refresh_repeat"));
        set_some(&mut self.lower_prio_delay, section.duration("vrrp_garp_lower_prio_delay"));
        set_some(&mut self.lower_prio_repeat, section.int("vrrp_garp_lower_prio_repeat"));
    }
}

/// A multicast group of the right family.
pub fn group(word: &Word<'_>, family: Option<Family>, reporter: &mut Reporter) -> Option<IpAddr> {
    let address = word.text.parse::<IpAddr>().ok();
    let fits = address.filter(|a| a.is_multicast() && family.is_none_or(|family| Family::of(*a) == family));
    if fits.is_none() {
        let family = family.map_or(String::new(), |family| format!("{family} "));
        reporter.error(word.span, format!("`{}` is not an {family}multicast address: the line is left out", word.text));
    }
    fits
}

/// `USER [GROUP]`.
pub fn run_as(words: &[Word<'_>]) -> Option<RunAs> {
    words.first().map(|user| RunAs::new(user.text, words.get(1).map(|group| group.text)))
}

/// A SCHED_RR priority; one that the kernel does not have becomes the nearest, as in keepalived.
pub fn real_time(section: &Section<'_>, keyword: &str, reporter: &mut Reporter) -> Option<u8> {
    let entry = section.entry(keyword)?;
    let priority: i64 = section.int(keyword)?;
    let used = priority.clamp(1, 99);
    if used != priority {
        reporter.warning(entry.span, format!("real-time priorities are 1 to 99: {used} is used"));
    }
    u8::try_from(used).ok()
}

/// The numbers of CPUs on all lines of a keyword.
pub fn cpus(section: &Section<'_>, keyword: &str, reporter: &mut Reporter) -> Vec<u16> {
    let mut cpus = Vec::new();
    for entry in section.entries(keyword) {
        let Value::Words(words) = entry.value else { continue };
        for word in words {
            match lex::integer(word.text).and_then(|cpu| u16::try_from(cpu).ok()) {
                Some(cpu) => cpus.push(cpu),
                None => drop(reporter.error(word.span, format!("`{}` is not the number of a CPU", word.text))),
            }
        }
    }
    cpus
}

fn umask(text: &str) -> Option<u32> {
    let value = match lex::c_integer(text) {
        Some(number) => u32::try_from(number).ok()?,
        None => text.split('|').map(umask_bit).try_fold(0, |mask, bit| Some(mask | bit?))?,
    };
    (value <= 0o777).then_some(value)
}

fn umask_bit(name: &str) -> Option<u32> {
    Some(match name.trim() {
        "IRUSR" => 0o400,
        "IWUSR" => 0o200,
        "IXUSR" => 0o100,
        "IRWXU" => 0o700,
        "IRGRP" => 0o040,
        "IWGRP" => 0o020,
        "IXGRP" => 0o010,
        "IRWXG" => 0o070,
        "IROTH" => 0o004,
        "IWOTH" => 0o002,
        "IXOTH" => 0o001,
        "IRWXO" => 0o007,
        _ => return None,
    })
}

fn text(section: &Section<'_>, keyword: &str) -> Option<String> {
    section.word(keyword).map(|word| word.text.to_string())
}

/// Takes a value that is there.
pub fn set<T>(to: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *to = value;
    }
}

/// Takes a value that is there.
pub fn set_some<T>(to: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *to = value;
    }
}
