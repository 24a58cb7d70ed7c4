//! How keepalived writes addresses, commands and moments.
//!
//! Pure.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use super::Host;
use crate::command::{Command, CommandForm};
use crate::vrrp::config::AddressConfig;

/// `10.7.1.1/24 brd 10.7.1.255 dev d1 scope global set`. Exporters split it at spaces and take the first word and the
/// third; `set` is its last word while the address is on its link. `filtered`: packets to it are dropped meanwhile.
pub fn address(config: &AddressConfig, interface: Option<&str>, set: bool, filtered: bool) -> String {
    let mut text = config.address.to_string();
    let whole = if config.address.is_ipv4() { 32 } else { 128 };
    if config.options.peer.is_none() && config.prefix_len != whole {
        let _ = write!(text, "/{}", config.prefix_len);
    }
    if let Some(broadcast) = config.options.broadcast {
        let _ = write!(text, " brd {broadcast}");
    }
    if let Some(device) = config.options.device.as_deref().or(interface) {
        let _ = write!(text, " dev {device}");
    }
    let _ = write!(text, " scope {}", scope(config.scope));
    if let Some(peer) = config.options.peer {
        let _ = write!(text, " peer {peer}/{}", config.prefix_len);
    }
    if let Some(label) = &config.options.label {
        let _ = write!(text, " label {label}");
    }
    let flags = [
        (config.home, "home"),
        (config.manage_temporary, "mngtmpaddr"),
        (config.no_prefix_route, "noprefixroute"),
        (config.autojoin, "autojoin"),
        (!config.track, "no_track"),
    ];
    for (_, word) in flags.into_iter().filter(|(on, _)| *on) {
        let _ = write!(text, " {word}");
    }
    match (config.address, config.preferred_lifetime) {
        (IpAddr::V4(_), _) => {}
        (IpAddr::V6(_), None) => text.push_str(" preferred_lft forever"),
        (IpAddr::V6(_), Some(0)) => text.push_str(" deprecated"),
        (IpAddr::V6(_), Some(seconds)) => drop(write!(text, " preferred_lft {seconds}")),
    }
    if set {
        text.push_str(if filtered { " set nftable_set" } else { " set" });
    }
    text
}

fn scope(number: u8) -> String {
    match number {
        0 => "global".to_owned(),
        200 => "site".to_owned(),
        253 => "link".to_owned(),
        254 => "host".to_owned(),
        255 => "nowhere".to_owned(),
        number => number.to_string(),
    }
}

/// `'/usr/bin/true' 'a' 'b c'`: each word in quotes.
pub fn command(command: &Command) -> String {
    let quote = |words: &mut dyn Iterator<Item = &str>| {
        let quoted: Vec<_> = words.map(|word| format!("'{word}'")).collect();
        quoted.join(" ")
    };
    match &command.form {
        CommandForm::Program(words) => quote(&mut words.iter().map(String::as_str)),
        CommandForm::Shell { line, needs_bash } => {
            quote(&mut [if *needs_bash { "bash" } else { "/bin/sh" }, "-c", line].into_iter())
        }
    }
}

/// The same with who runs it: `…, uid:gid 0:0`.
pub fn script(shown: &Command, host: &Host<'_>) -> String {
    let (uid, gid) = (host.identity)(Some(shown));
    format!("{}, uid:gid {uid}:{gid}", command(shown))
}

/// `1795249344.658794 (Sat Nov 21 08:22:24.658794 2026)`.
pub fn moment(at: Duration, host: &Host<'_>) -> String {
    let micros = at.subsec_micros();
    let local = i64::try_from(at.as_secs()).ok().and_then(|seconds| (host.clock)(seconds));
    match local {
        Some((clock, year)) => format!("{}.{micros:06} ({clock}.{micros:06} {year})", at.as_secs()),
        None => format!("{}.{micros:06}", at.as_secs()),
    }
}

/// Seconds as C's `%g` has them: `1`, `1.5`, `0.01`.
pub fn seconds(duration: Duration) -> String {
    duration.as_secs_f64().to_string()
}

/// `yes` and `no` and the other pairs of words.
pub fn either<'a>(on: bool, yes: &'a str, no: &'a str) -> &'a str {
    if on { yes } else { no }
}
