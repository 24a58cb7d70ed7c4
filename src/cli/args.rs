//! The options themselves.
//!
//! Pure. Every option of keepalived 2.4 is here, so that no start script breaks; one that does nothing yet says so.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use super::control::Target;

/// Which child this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ChildKind {
    /// The vrrp process.
    Vrrp,
    /// The balancer process.
    Balancer,
}

/// `holdfast check`.
#[derive(Debug, Clone, Default, Args)]
pub struct CheckArgs {
    /// Print the diagnostics as JSON (docs/check.md tells its shape).
    #[arg(long)]
    pub json: bool,
    /// Exit with 1 when there are warnings.
    #[arg(long)]
    pub strict: bool,
    /// This machine is the director: say what about it is in the way of virtual servers (with the default file always).
    #[arg(long)]
    pub here: bool,
    /// Tell what a keyword means: KEYWORD, BLOCK/KEYWORD, or the name of a finding.
    #[arg(long, value_name = "KEYWORD", conflicts_with_all = ["files", "json", "strict", "here"])]
    pub explain: Option<String>,
    /// For `@ID` lines and `${_INSTANCE}`; the host name up to its first dot when not given.
    #[arg(short = 'i', long = "config-id", value_name = "ID")]
    pub config_id: Option<String>,
    /// The files, each a whole configuration. Two of them are compared as a pair of directors.
    #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
    pub files: Vec<PathBuf>,
}

/// `holdfast plan`.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// Print the plan as JSON (docs/check.md tells its shape).
    #[arg(long)]
    pub json: bool,
    /// For `@ID` lines and `${_INSTANCE}`; the host name up to its first dot when not given.
    #[arg(short = 'i', long = "config-id", value_name = "ID")]
    pub config_id: Option<String>,
    /// Compare with this file instead of what runs.
    #[arg(long, value_name = "FILE", requires = "file")]
    pub against: Option<PathBuf>,
    /// Which daemon.
    #[command(flatten)]
    pub target: Target,
    /// The configuration that would be loaded. When it is the running daemon's own file, or nothing is said, the daemon
    /// compares it with what it runs; any other one is compared with the daemon's file.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// `holdfast doctor`.
#[derive(Debug, Clone, Default, Args)]
pub struct DoctorArgs {
    /// Print the findings as JSON (docs/ipvs.md tells its shape).
    #[arg(long)]
    pub json: bool,
    /// Exit with 1 when there are warnings.
    #[arg(long)]
    pub strict: bool,
    /// This machine is a real server of the file, not a director.
    #[arg(long)]
    pub real_server: bool,
    /// Ask nobody on the links: who else has a virtual address is not found out.
    #[arg(long)]
    pub no_probe: bool,
    /// For `@ID` lines and `${_INSTANCE}`; the host name up to its first dot when not given.
    #[arg(short = 'i', long = "config-id", value_name = "ID")]
    pub config_id: Option<String>,
    /// The directors' configuration.
    #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
    pub file: PathBuf,
}

/// `holdfast notify test`.
#[derive(Debug, Clone, Default, Args)]
pub struct NotifyTestArgs {
    /// For `@ID` lines and `${_INSTANCE}`; the host name up to its first dot when not given.
    #[arg(short = 'i', long = "config-id", value_name = "ID")]
    pub config_id: Option<String>,
    /// The configuration whose targets are tested.
    #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
    pub file: PathBuf,
}

/// The file that keepalived reads when nothing is said.
pub(crate) const DEFAULT_FILE: &str = "/etc/keepalived/keepalived.conf";

/// keepalived's options.
#[derive(Debug, Clone, Default, Args)]
pub struct DaemonArgs {
    /// Use this configuration file.
    #[arg(short = 'f', long = "use-file", value_name = "FILE", default_value = DEFAULT_FILE)]
    pub file: PathBuf,
    /// Only run the VRRP subsystem.
    #[arg(short = 'P', long = "vrrp")]
    pub vrrp: bool,
    /// Only run the health checkers.
    #[arg(short = 'C', long = "check")]
    pub checkers: bool,
    /// Do not run the BFD subsystem (there is none yet).
    #[arg(short = 'B', long = "no_bfd", visible_alias = "no-bfd")]
    pub no_bfd: bool,
    /// Run all subsystems, even those without configuration.
    #[arg(long = "all")]
    pub all: bool,
    /// Log to the standard error stream too (with --dont-fork).
    #[arg(short = 'l', long = "log-console")]
    pub log_console: bool,
    /// Detailed log messages; twice for more.
    #[arg(short = 'D', long = "log-detail", action = ArgAction::Count)]
    pub log_detail: u8,
    /// Syslog facility: 0-7, local0-local7, user or daemon.
    #[arg(short = 'S', long = "log-facility", value_name = "FACILITY", value_parser = facility)]
    pub log_facility: Option<u8>,
    /// Also write log messages to FILE (default /tmp/keepalived.log).
    #[arg(short = 'g', long = "log-file", value_name = "FILE", num_args = 0..=1, require_equals = true,
          default_missing_value = "/tmp/keepalived.log")]
    pub log_file: Option<PathBuf>,
    /// Flush the log file after each line (it always is).
    #[arg(long = "flush-log-file")]
    pub flush_log_file: bool,
    /// What log lines look like: text, or one JSON object a line.
    #[arg(long = "log-format", value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    pub log_format: String,
    /// Do not write to syslog.
    #[arg(short = 'G', long = "no-syslog")]
    pub no_syslog: bool,
    /// File creation mask, octal; overrides the configuration.
    #[arg(short = 'u', long = "umask", value_name = "MASK", value_parser = octal)]
    pub umask: Option<u32>,
    /// At stop, drop virtual addresses at once, without waiting for the successor
    #[arg(short = 'X', long = "release-vips")]
    pub release_vips: bool,
    /// Leave virtual addresses in place at stop.
    #[arg(short = 'V', long = "dont-release-vrrp")]
    pub dont_release_vrrp: bool,
    /// Leave the IPVS table in place at stop.
    #[arg(short = 'I', long = "dont-release-ipvs")]
    pub dont_release_ipvs: bool,
    /// Do not restart child processes that die: end instead.
    #[arg(short = 'R', long = "dont-respawn")]
    pub dont_respawn: bool,
    /// Stay in the foreground.
    #[arg(short = 'n', long = "dont-fork")]
    pub dont_fork: bool,
    /// Log the configuration at start.
    #[arg(short = 'd', long = "dump-conf")]
    pub dump_conf: bool,
    /// Pid file of the main process.
    #[arg(short = 'p', long = "pid", value_name = "FILE")]
    pub pid: Option<PathBuf>,
    /// Pid file of the vrrp process.
    #[arg(short = 'r', long = "vrrp_pid", visible_alias = "vrrp-pid", value_name = "FILE")]
    pub vrrp_pid: Option<PathBuf>,
    /// Pid file of the checker process.
    #[arg(short = 'c', long = "checkers_pid", visible_alias = "checkers-pid", value_name = "FILE")]
    pub checkers_pid: Option<PathBuf>,
    /// Pid file of the BFD process.
    #[arg(short = 'b', long = "bfd_pid", visible_alias = "bfd-pid", value_name = "FILE")]
    pub bfd_pid: Option<PathBuf>,
    /// Directory of the control sockets; overrides the configuration.
    #[arg(long = "control-dir", value_name = "DIR")]
    pub control_dir: Option<PathBuf>,
    /// Log additions and deletions of addresses.
    #[arg(short = 'a', long = "address-monitoring")]
    pub address_monitoring: bool,
    /// Run in this network namespace; overrides the configuration.
    #[arg(short = 's', long = "namespace", value_name = "NAME")]
    pub namespace: Option<String>,
    /// A configuration file that cannot be read is an error.
    #[arg(short = 'e', long = "all-config")]
    pub all_config: bool,
    /// Skip lines that begin with @ and another word than ID.
    #[arg(short = 'i', long = "config-id", value_name = "ID")]
    pub config_id: Option<String>,
    /// Enable SNMP.
    #[arg(short = 'x', long = "snmp")]
    pub snmp: bool,
    /// Address of the SNMP master agent.
    #[arg(short = 'A', long = "snmp-agent-socket", value_name = "ADDRESS")]
    pub snmp_agent_socket: Option<String>,
    /// Write a core file when the daemon crashes.
    #[arg(short = 'm', long = "core-dump")]
    pub core_dump: bool,
    /// Set the kernel's core file pattern too.
    #[arg(short = 'M', long = "core-dump-pattern", value_name = "PATTERN", num_args = 0..=1, require_equals = true,
          default_missing_value = "core")]
    pub core_dump_pattern: Option<String>,
    /// Print the number of the signal for NAME: STOP, RELOAD, DATA, STATS, STATS_CLEAR, JSON.
    #[arg(long = "signum", value_name = "NAME")]
    pub signum: Option<String>,
    /// Check the configuration, to FILE when given, and end.
    #[arg(short = 't', long = "config-test", value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub config_test: Option<Option<PathBuf>>,
    /// Internal to keepalived.
    #[arg(long = "config-fd", value_name = "FD", hide = true)]
    pub config_fd: Option<i32>,
    /// Do not end on SIGINT.
    #[arg(long = "ignore-sigint")]
    pub ignore_sigint: bool,
    /// Performance records (a debugging option of keepalived).
    #[arg(long = "perf", value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "all", hide = true)]
    pub perf: Option<String>,
    /// Debugging options of keepalived.
    #[arg(long = "debug", value_name = "FLAGS", num_args = 0..=1, require_equals = true, default_missing_value = "all", hide = true)]
    pub debug: Option<String>,
    /// Memory debugging of keepalived.
    #[arg(short = 'L', long = "mem-check-log", hide = true)]
    pub mem_check_log: bool,
    /// Memory debugging of keepalived.
    #[arg(short = 'O', long = "openssl-mem-check", hide = true)]
    pub openssl_mem_check: bool,
    /// Memory debugging of keepalived.
    #[arg(long = "no-mem-check", hide = true)]
    pub no_mem_check: bool,
    /// Print the version to the standard error stream.
    #[arg(short = 'v', long = "version")]
    pub version: bool,
    /// This is a child of a main process, which is at the other end of standard input.
    #[arg(long = "child", value_name = "KIND", hide = true)]
    pub child: Option<ChildKind>,
    /// What the configuration calls the child.
    #[arg(long = "process-name", value_name = "NAME", hide = true)]
    pub process_name: Option<OsString>,
    /// What the configuration appends to a child's name in the log.
    #[arg(long = "ident-suffix", value_name = "TEXT", hide = true)]
    pub ident_suffix: Option<String>,
    /// This is the background process: standard output is the pipe to the waiting parent.
    #[arg(long = "detached", hide = true)]
    pub detached: bool,
}

impl DaemonArgs {
    /// The options given that are known but do nothing yet, as they are written.
    pub fn not_built(&self) -> Vec<&'static str> {
        let given = [
            (self.dont_release_vrrp, "--dont-release-vrrp"),
            (self.address_monitoring, "--address-monitoring"),
            (self.snmp, "--snmp"),
            (self.snmp_agent_socket.is_some(), "--snmp-agent-socket"),
            (self.core_dump_pattern.is_some(), "--core-dump-pattern"),
            (self.perf.is_some(), "--perf"),
            (self.debug.is_some(), "--debug"),
            (self.mem_check_log, "--mem-check-log"),
            (self.openssl_mem_check, "--openssl-mem-check"),
        ];
        given.into_iter().filter_map(|(given, name)| given.then_some(name)).collect()
    }
}

/// The syslog facility's number: 0 to 7 and `localN` are LOG_LOCAL0 to 7.
fn facility(text: &str) -> Result<u8, String> {
    match text {
        "user" => return Ok(1),
        "daemon" => return Ok(3),
        _ => {}
    }
    match text.strip_prefix("local").unwrap_or(text).parse::<u8>() {
        Ok(n @ 0..=7) => Ok(16 + n),
        _ => Err("expected 0-7, local0-local7, user or daemon".to_owned()),
    }
}

fn octal(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text.trim_start_matches("0o"), 8) {
        Ok(mask) if mask <= 0o777 => Ok(mask),
        _ => Err("expected an octal number up to 0777".to_owned()),
    }
}
