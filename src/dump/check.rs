//! `keepalived_check.data`: virtual servers, their real servers and what looks after these.
//!
//! Pure.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::IpAddr;

use super::words::{command, either, script};
use super::{Host, global};
use crate::checkers::config::{CheckerConfig, HttpVersion, Probe, Target};
use crate::checkers::report::Health;
use crate::conf::config::{Config, in_order};
use crate::ipvs::config::{GroupEntry, RealServerConfig, SchedulerFlags, VirtualServerConfig, VirtualServerId};
use crate::ipvs::event::{AdminState, RealServerName};
use crate::ipvs::shared::Shared;
use crate::ipvs::snapshot::{RealServerSnapshot, Snapshot, VirtualServerSnapshot};
use crate::ipvs::types::{ForwardMethod, Protocol, Scheduler, Tunnel};
use crate::vrrp::types::Family;

/// The whole file.
pub fn render(config: &Config, snapshot: &Snapshot, host: &Host<'_>) -> String {
    let mut text = global::render(config, host);
    // Writing to a string cannot fail.
    let _ = all(config, snapshot, host, &mut text);
    text
}

fn all(config: &Config, snapshot: &Snapshot, host: &Host<'_>, out: &mut String) -> fmt::Result {
    writeln!(out, "------< LVS Topology >------")?;
    if !config.balancer.groups.is_empty() {
        writeln!(out, " ------< Virtual server group >------")?;
    }
    for (name, group) in in_order(&config.order.virtual_server_groups, &config.balancer.groups) {
        self::group(name, &group.entries, out)?;
    }
    let shown: BTreeMap<_, _> = snapshot.virtual_servers.iter().map(|server| (&server.id, server)).collect();
    let services = in_order(&config.order.virtual_servers, &config.balancer.services);
    let services: Vec<_> = services.filter_map(|(id, server)| Some((*shown.get(id)?, server))).collect();
    for (shown, server) in &services {
        virtual_server(server, shown, host, out)?;
    }
    writeln!(out, "------< Health checkers >------")?;
    for (shown, server) in &services {
        for (real, found) in pairs(server, shown) {
            for (checker, found) in real.checkers.iter().zip(&found.checkers) {
                checker_of(shown, server, real, checker, &found.health, host, out)?;
            }
        }
    }
    file_checkers(config, &services, out)
}

/// They come last, and then the files.
fn file_checkers(
    config: &Config,
    services: &[(&VirtualServerSnapshot, &Shared<VirtualServerConfig>)],
    out: &mut String,
) -> fmt::Result {
    let mut tracked: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (shown, server) in services {
        for (real, found) in pairs(server, shown) {
            for (checker, found) in real.checkers.iter().zip(&found.checkers) {
                let Probe::File(file) = &checker.probe else { continue };
                let who = format!(
                    "{} -> [{}]:{}:{}",
                    shown.id,
                    real.address.ip,
                    protocol(shown, server.protocol),
                    real.address.port
                );
                writeln!(out, " {who}\n   Enabled = {}", either(shown.checks_paused, "no", "yes"))?;
                found_by(&found.health, out)?;
                writeln!(out, "   Log all failures = {}", either(checker.log_all_failures, "yes", "no"))?;
                writeln!(out, "   Keepalive method = FILE_CHECK\n     Tracked file = {}", file.file)?;
                let weight = format!("{who}, weight {}{}", file.weight, either(file.reverse, " reverse", ""));
                tracked.entry(&file.file).or_default().push(weight);
            }
        }
    }
    let mut head = Some("------< Checker track files >------\n");
    for (name, file) in in_order(&config.order.files, &config.balancer.files) {
        let Some(by) = tracked.get(name.as_str()) else { continue };
        write!(out, "{}", head.take().unwrap_or_default())?;
        writeln!(out, " Track file = {name}\n   File = {}\n   Tracking instances :", file.path.display())?;
        for who in by {
            writeln!(out, "     {who}")?;
        }
    }
    Ok(())
}

/// What a checker last found.
fn found_by(health: &Health, out: &mut String) -> fmt::Result {
    let weight = if let Health::Up { weight } = health { *weight } else { 0 };
    writeln!(out, "   Up = {}", either(matches!(health, Health::Up { .. }), "yes", "no"))?;
    writeln!(out, "   Current weight = {weight}")
}

/// What is configured, with what is known of it.
fn pairs<'a>(
    server: &'a VirtualServerConfig,
    shown: &'a VirtualServerSnapshot,
) -> impl Iterator<Item = (&'a RealServerConfig, &'a RealServerSnapshot)> {
    server.real_servers.iter().filter_map(|real| {
        let found = shown.real_servers.iter().find(|found| found.address == real.address)?;
        Some((real, found))
    })
}

fn group(name: &str, entries: &[GroupEntry], out: &mut String) -> fmt::Result {
    let has = |wanted: Family| {
        entries.iter().any(|entry| match entry {
            GroupEntry::Range { first, .. } => Family::of(*first) == wanted,
            GroupEntry::Fwmark { .. } => false,
        })
    };
    let word = |family| either(has(family), "yes", "no");
    writeln!(out, " Virtual Server Group = {name}, IPv4 = {}, IPv6 = {}", word(Family::V4), word(Family::V6))?;
    for entry in entries {
        match entry {
            GroupEntry::Range { first, last, port } if first == last => {
                writeln!(out, "   VIP = {first}, VPORT = {port}")?;
            }
            GroupEntry::Range { first, last, port } => {
                writeln!(out, "   VIP Range = {first}-{last}, VPORT = {port}")?;
            }
            GroupEntry::Fwmark { mark, .. } => writeln!(out, "   FWMARK = {mark}")?,
        }
    }
    Ok(())
}

fn virtual_server(
    server: &VirtualServerConfig,
    shown: &VirtualServerSnapshot,
    host: &Host<'_>,
    out: &mut String,
) -> fmt::Result {
    writeln!(out, " ------< Virtual server >------")?;
    match &shown.id {
        VirtualServerId::Address { address, .. } => {
            writeln!(out, " VS VIP = {}, VPORT = {}", address.ip, address.port)?;
        }
        VirtualServerId::Fwmark { mark, .. } => writeln!(out, " VS FWMARK = {mark}")?,
        VirtualServerId::Group { .. } => writeln!(out, " VS GROUP = {}", shown.id)?,
    }
    writeln!(out, "   Address family = {}", either(server.family == Family::V4, "inet", "inet6"))?;
    writeln!(out, "   lvs_sched = {}", server.scheduler)?;
    flags(server.scheduler, server.flags, out)?;
    if let Some(persistence) = &server.persistence {
        writeln!(out, "   persistence timeout = {}", persistence.timeout)?;
        match server.family {
            Family::V4 if persistence.granularity < 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(persistence.granularity)).unwrap_or(0);
                writeln!(out, "   persistence granularity = {}", IpAddr::from(mask.to_be_bytes()))?;
            }
            Family::V6 if persistence.granularity < 128 => {
                writeln!(out, "   persistence granularity = {}", persistence.granularity)?;
            }
            Family::V4 | Family::V6 => {}
        }
    }
    writeln!(out, "   protocol = {}", protocol(shown, server.protocol).to_uppercase().replace("NONE", "none"))?;
    writeln!(out, "   omega is {}", either(server.omega, "ON", "OFF"))?;
    writeln!(out, "   quorum = {}, hysteresis = {}", server.quorum, server.hysteresis)?;
    for (word, of_state) in [("up", &server.quorum_up), ("down", &server.quorum_down)] {
        if let Some(shown) = of_state {
            writeln!(out, "   Quorum {word} notify script = {}", script(shown, host))?;
        }
    }
    if server.ha_suspend {
        writeln!(out, "   Using HA suspend")?;
    }
    writeln!(out, "   Using smtp notification = {}", either(server.smtp_alert, "yes", "no"))?;
    writeln!(out, "   default forwarding method = {}", method(server.method))?;
    if let Some(sorry) = &server.sorry_server {
        let name = RealServerName { address: sorry.address, protocol: server.protocol };
        writeln!(out, "   sorry server = {name}\n     forwarding method = {}", method(sorry.method))?;
        writeln!(out, "     Inhibit on failure is {}", either(sorry.inhibit, "ON", "OFF"))?;
    }
    writeln!(out, "   alive = {}", u8::from(shown.active))?;
    writeln!(out, "   quorum_state_up = {}", u8::from(shown.has_quorum))?;
    for (real, found) in pairs(server, shown) {
        real_server(real, found, shown.active, host, out)?;
    }
    Ok(())
}

fn flags(scheduler: Scheduler, flags: SchedulerFlags, out: &mut String) -> fmt::Result {
    let word = |on| either(on, "enabled", "disabled");
    writeln!(out, "   Hashed = {}", word(flags.hashed))?;
    match scheduler {
        Scheduler::Sh | Scheduler::Mh => {
            writeln!(out, "   {scheduler}-port = {}", word(flags.flag2))?;
            writeln!(out, "   {scheduler}-fallback = {}", word(flags.flag1))?;
        }
        _ => {
            for (name, on) in [("flag-1", flags.flag1), ("flag-2", flags.flag2), ("flag-3", flags.flag3)] {
                writeln!(out, "   {name} = {}", word(on))?;
            }
        }
    }
    writeln!(out, "   One packet scheduling = {}", word(flags.one_packet))
}

/// A fwmark service carries any protocol.
fn protocol(shown: &VirtualServerSnapshot, protocol: Protocol) -> String {
    match shown.id {
        VirtualServerId::Fwmark { .. } => "none".to_owned(),
        VirtualServerId::Address { .. } | VirtualServerId::Group { .. } => protocol.to_string(),
    }
}

fn method(method: ForwardMethod) -> &'static str {
    match method {
        ForwardMethod::Nat => "NAT",
        ForwardMethod::Dr => "DR",
        ForwardMethod::Tun(Tunnel::Ipip) => "TUN, type = IPIP",
        ForwardMethod::Tun(Tunnel::Gue { .. }) => "TUN, type = GUE",
        ForwardMethod::Tun(Tunnel::Gre { .. }) => "TUN, type = GRE",
        ForwardMethod::Proxy => "PROXY",
    }
}

fn real_server(
    real: &RealServerConfig,
    found: &RealServerSnapshot,
    active: bool,
    host: &Host<'_>,
    out: &mut String,
) -> fmt::Result {
    let (ip, port) = (real.address.ip, real.address.port);
    writeln!(out, "   ------< Real server >------")?;
    writeln!(out, "   RIP = {ip}, RPORT = {port}, WEIGHT = {} EFF WEIGHT = {}", found.weight, found.weight)?;
    writeln!(out, "   forwarding method = {}", method(real.method))?;
    writeln!(out, "   Alpha is {}", either(real.alpha, "ON", "OFF"))?;
    writeln!(out, "   connection limit range = {} -> {}", real.lower_threshold, real.upper_threshold)?;
    writeln!(out, "   Inhibit on failure is {}", either(real.inhibit_on_failure, "ON", "OFF"))?;
    for (word, of_state) in [("up", &real.notify_up), ("down", &real.notify_down)] {
        if let Some(shown) = of_state {
            writeln!(out, "     RS {word} notify script = {}", script(shown, host))?;
        }
    }
    let failed = found.checkers.iter().filter(|checker| matches!(checker.health, Health::Down { .. })).count();
    let set = active && found.admin != AdminState::Maint && (found.up || real.inhibit_on_failure);
    writeln!(out, "   Using smtp notification = {}", either(real.smtp_alert, "yes", "no"))?;
    writeln!(out, "   initial weight = {}", real.weight)?;
    writeln!(out, "   effective weight = {}", found.weight)?;
    writeln!(out, "   alive = {}", u8::from(found.up))?;
    writeln!(out, "   num failed checkers = {failed}")?;
    writeln!(out, "   RS set = {}", u8::from(set))?;
    let files = real.checkers.iter().filter_map(|checker| match &checker.probe {
        Probe::File(file) => Some(file),
        _ => None,
    });
    let mut head = Some("   Tracked Files\n");
    for file in files {
        write!(out, "{}", head.take().unwrap_or_default())?;
        writeln!(out, "     {}, weight {}{}", file.file, file.weight, either(file.reverse, " reverse", ""))?;
    }
    Ok(())
}

fn checker_of(
    shown: &VirtualServerSnapshot,
    server: &VirtualServerConfig,
    real: &RealServerConfig,
    checker: &CheckerConfig,
    health: &Health,
    host: &Host<'_>,
    out: &mut String,
) -> fmt::Result {
    // These come later.
    if matches!(checker.probe, Probe::File(_)) {
        return Ok(());
    }
    let schedule = &checker.schedule;
    let protocol = protocol(shown, server.protocol);
    writeln!(out, " {} -> [{}]:{protocol}:{}", shown.id, real.address.ip, real.address.port)?;
    writeln!(out, "   Enabled = {}", either(shown.checks_paused, "no", "yes"))?;
    found_by(health, out)?;
    writeln!(out, "   Alpha = {}", either(checker.alpha, "yes", "no"))?;
    writeln!(out, "   Delay loop = {} us", schedule.delay_loop.as_micros())?;
    writeln!(out, "   Warmup = {} us", schedule.warmup.as_micros())?;
    writeln!(out, "   Retries = {}", schedule.retry)?;
    if schedule.retry > 0 {
        writeln!(out, "   Delay before retry = {} us", schedule.delay_before_retry.as_micros())?;
    }
    writeln!(out, "   Log all failures = {}", either(checker.log_all_failures, "yes", "no"))?;
    match &checker.probe {
        Probe::Tcp(target) => {
            connection(target, out)?;
            writeln!(out, "   Keepalive method = TCP_CHECK")
        }
        Probe::Http(http) => {
            connection(&http.target, out)?;
            let kind = either(http.tls.is_some(), "SSL_GET", "HTTP_GET");
            let version = match http.version {
                HttpVersion::V10 => "1.0",
                HttpVersion::V10Close => "1.0C",
                HttpVersion::V11 => "1.1",
            };
            writeln!(out, "   Keepalive method = {kind}, http protocol {version}")?;
            for url in http.urls.iter() {
                writeln!(out, "   Checked url = {}", url.path)?;
                if let Some(digest) = url.digest {
                    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                    writeln!(out, "     digest = {digits}")?;
                }
                writeln!(out, "     HTTP Status Code(s)")?;
                for (first, last) in &url.status {
                    let last = if first == last { String::new() } else { format!("-{last}") };
                    writeln!(out, "       {first}{last}")?;
                }
            }
            Ok(())
        }
        Probe::Smtp(smtp) => {
            for target in &smtp.targets {
                connection(target, out)?;
            }
            writeln!(out, "   Keepalive method = SMTP_CHECK\n   helo = {}", smtp.helo_name)
        }
        Probe::Dns(dns) => {
            connection(&dns.target, out)?;
            writeln!(out, "   Keepalive method = DNS_CHECK\n   Type = {}\n   Name = {}", dns.record_type, dns.name)
        }
        Probe::Udp(udp) => {
            connection(&udp.target, out)?;
            writeln!(out, "   Keepalive method = UDP_CHECK")?;
            writeln!(out, "   Payload specified = {}", either(udp.payload.is_some(), "yes", "no"))?;
            writeln!(out, "   Require reply = {}", either(udp.require_reply, "yes", "no"))
        }
        Probe::Ping(target) => {
            connection(target, out)?;
            writeln!(out, "   Keepalive method = PING_CHECK")
        }
        Probe::Misc(misc) => {
            let (uid, gid) = (host.identity)(Some(&misc.command));
            writeln!(out, "   Keepalive method = MISC_CHECK\n   script = {}", command(&misc.command))?;
            writeln!(out, "   timeout = {}", misc.timeout.as_secs())?;
            writeln!(out, "   dynamic = {}", either(misc.dynamic, "YES", "NO"))?;
            writeln!(out, "   uid:gid = {uid}:{gid}")
        }
        Probe::File(_) => Ok(()),
        Probe::Bfd(name) => writeln!(out, "   Keepalive method = BFD_CHECK\n   Name = {name}"),
    }
}

fn connection(target: &Target, out: &mut String) -> fmt::Result {
    writeln!(out, "   Connection\n     Dest = [{}]:{}", target.address.ip, target.address.port)?;
    writeln!(out, "     Timeout = {:.6}", target.connect_timeout.as_secs_f64())
}
