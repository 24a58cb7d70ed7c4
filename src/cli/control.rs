//! The subcommands that speak with a running daemon.
//!
//! Pure.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::control::paths::DEFAULT_DIRECTORY;

/// Which daemon.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// Directory of the daemon's control sockets; /run/holdfast/INSTANCE for one with `instance` in its configuration.
    #[arg(long = "control-dir", value_name = "DIR", default_value = DEFAULT_DIRECTORY)]
    pub control_dir: PathBuf,
}

/// What is asked of the daemon.
#[derive(Debug, Clone, Subcommand)]
pub enum ControlCommand {
    /// Show the daemon's state: instances, priorities with their reasons, virtual servers with their checks.
    Status {
        /// Which daemon.
        #[command(flatten)]
        target: Target,
        /// Show it again every second.
        #[arg(long, conflicts_with = "json")]
        watch: bool,
        /// Print it as JSON (docs/openapi.json tells its shape).
        #[arg(long)]
        json: bool,
    },
    /// Show what happened, oldest first.
    Events {
        /// Which daemon.
        #[command(flatten)]
        target: Target,
        /// Go on with what happens from now on.
        #[arg(short, long)]
        follow: bool,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
        /// Only events after this sequence number.
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        after: u64,
    },
    /// Hand the mastership of an instance over to a peer, without loss.
    Failover {
        /// Which daemon.
        #[command(flatten)]
        target: Target,
        /// The name of a vrrp_instance or vrrp_sync_group.
        instance: String,
        /// Do not wait for a peer to take over.
        #[arg(long)]
        no_wait: bool,
    },
    /// Take no part in elections, or do so again. It outlives a restart of the daemon.
    Maintenance {
        /// Which daemon.
        #[command(flatten)]
        target: Target,
        /// Begin or end; without it the present state is shown.
        state: Option<OnOff>,
        /// End by itself after this time: 90s, 30m, 2h, 1d.
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        lasts: Option<Duration>,
        /// Why, for everybody who looks at the status.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Even when nobody was heard who could take over.
        #[arg(long)]
        force: bool,
    },
    /// Give a real server no new connections; those that there are go on.
    Drain(RealServerArgs),
    /// Take a real server out of service, whatever its health.
    Maint(RealServerArgs),
    /// Let the health of a real server decide again.
    Enable(RealServerArgs),
    /// Have the configuration read again, and say what came of it.
    Reload {
        /// Which daemon.
        #[command(flatten)]
        target: Target,
        /// The daemon with this process number, whose sockets are looked for in and below --control-dir; one that has none
        /// is told by SIGHUP, and its log says what came of it.
        #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(2..))]
        pid: Option<i32>,
    },
    /// End the daemon: it hands over and stops.
    Stop {
        /// Which daemon.
        #[command(flatten)]
        target: Target,
    },
}

/// `drain`, `maint`, `enable`.
#[derive(Debug, Clone, Args)]
pub struct RealServerArgs {
    /// Which daemon.
    #[command(flatten)]
    pub target: Target,
    /// Its address and port, its address, or its snmp_name.
    pub real_server: String,
    /// Only in this virtual server, for example 192.0.2.1:80; in all that have it when not given.
    #[arg(long, value_name = "VS")]
    pub virtual_server: Option<String>,
}

/// `on`, `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnOff {
    /// Begin.
    On,
    /// End.
    Off,
}

/// `90s`, `30m`, `2h`, `1d`, and several of them: `1h30m`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time with its unit: 90s, 30m, 2h, 1d".to_owned();
    let mut total = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = rest.split_at(digits);
        let length = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let (unit, next) = unit.split_at(length);
        let seconds = match unit.trim() {
            "s" | "sec" => 1,
            "m" | "min" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        total = number.checked_mul(seconds).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = next.trim_start();
    }
    if total == 0 { Err(wrong()) } else { Ok(Duration::from_secs(total)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, seconds) in
            [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86_400), ("1h30m", 5400), ("1h 5min", 3900)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "2", "h", "0s", "-1h", "2 weeks", "99999999999999999999d", "2h x"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
