//! `keepalived.data`: everything about the VRRP side.
//!
//! Pure.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::words::{address, command, either, moment, script, seconds};
use super::{Facts, global};
use crate::conf::config::in_order;
use crate::notify::config::NotifyScripts;
use crate::trackers::config::{ParameterMatch, ProcessPattern};
use crate::trackers::process::ProcessCount;
use crate::vrrp::config::{Auth, InstanceConfig, Track, TrackerKey, Transport};
use crate::vrrp::event::{StateName, TrackerStatus};
use crate::vrrp::snapshot::InstanceSnapshot;
use crate::vrrp::timing;
use crate::vrrp::track::{TrackTable, Verdict};
use crate::vrrp::types::{Family, Priority, Version};

/// The whole file.
pub fn render(facts: &Facts<'_>) -> String {
    let mut text = global::render(facts.config, &facts.host);
    // Writing to a string cannot fail.
    let _ = all(facts, &mut text);
    text
}

fn all(facts: &Facts<'_>, out: &mut String) -> fmt::Result {
    let statics = &facts.config.vrrp.static_addresses;
    if !statics.is_empty() {
        writeln!(out, "------< Static Addresses >------")?;
        for config in statics {
            writeln!(out, "     {}", address(config, None, false, false))?;
        }
    }
    if !facts.config.vrrp.instances.is_empty() {
        writeln!(out, "------< VRRP Topology >------")?;
    }
    let mut table = TrackTable::default();
    for (key, status) in &facts.snapshot.trackers {
        table.set(key.clone(), *status);
    }
    for (name, config, shown) in facts.instances() {
        instance(facts, name, config, shown, &table, out)?;
    }
    groups(facts, out)?;
    scripts(facts, &table, out)?;
    files(facts, &table, out)?;
    processes(facts, &table, out)
}

fn instance(
    facts: &Facts<'_>,
    name: &str,
    config: &InstanceConfig,
    shown: &InstanceSnapshot,
    table: &TrackTable,
    out: &mut String,
) -> fmt::Result {
    let Verdict { adjustment, faults, .. } = table.evaluate(&config.tracks);
    let interface = config.interface.as_deref();
    writeln!(out, " VRRP Instance = {name}")?;
    writeln!(out, "   VRRP Version = {}", config.version.value())?;
    if let Some(group) = group_of(facts, name) {
        writeln!(out, "   Sync group = {group}")?;
    }
    if config.family == Family::V6 {
        writeln!(out, "   Using Native IPv6")?;
    }
    writeln!(out, "   State = {}", shown.state)?;
    if let Some(master) = shown.master {
        writeln!(out, "   Master router = {}\n   Master priority = {}", master.address, master.priority)?;
        if config.version == Version::V3 {
            writeln!(out, "   Master advert int = {:.2} sec", shown.master_interval.duration().as_secs_f64())?;
        }
    }
    match config.transport {
        Transport::Multicast { .. } => writeln!(out, "   Flags: none")?,
        Transport::Unicast { .. } => writeln!(out, "   Flags:\n     Using unicast")?,
    }
    writeln!(out, "   Wantstate = {}", shown.state)?;
    let faults = if shown.state == StateName::Fault { faults.len().max(1) } else { faults.len() };
    let waiting = config.tracks.iter().filter(|track| {
        track.weight == 0
            && matches!(track.tracker, TrackerKey::Script(_))
            && table.status(&track.tracker) == TrackerStatus::Pending
    });
    writeln!(out, "   Number of config faults = 0")?;
    writeln!(out, "   Number of interface and track script faults = {faults}")?;
    writeln!(out, "   Number of track scripts init = {}", waiting.count())?;
    writeln!(out, "   Last transition = {}", moment(facts.last_transition(name, shown), &facts.host))?;
    match shown.next_deadline {
        Some(left) => writeln!(out, "   Read timeout = {}", moment(facts.snapshot.at + left, &facts.host))?,
        None => writeln!(out, "   Read timeout = DISABLED")?,
    }
    let priority = Priority::new(shown.effective_priority).unwrap_or(config.priority);
    let down = timing::master_down(config.version, priority, shown.master_interval, config.down_timer_adverts);
    writeln!(out, "   Master down timer = {} usecs", down.as_micros())?;
    if let Some(interface) = interface {
        writeln!(out, "   Interface = {interface}")?;
    }
    if !config.track_primary {
        writeln!(out, "   VRRP interface tracking disabled")?;
    }
    if config.skip_check_adv_addr {
        writeln!(out, "   Skip checking advert IP addresses")?;
    }
    if config.strict {
        writeln!(out, "   Enforcing strict VRRP compliance")?;
    }
    match (config.source, shown.source) {
        (Some(source), _) => writeln!(out, "   Using src_ip = {source} (from configuration)")?,
        (None, Some(source)) => writeln!(out, "   Using src_ip = {source}")?,
        (None, None) => writeln!(out, "   Using src_ip = (none)")?,
    }
    if let Transport::Multicast { group } = config.transport {
        writeln!(out, "   Multicast address {group}")?;
    }
    let garp = super::json::Garp::of(config);
    writeln!(out, "   Gratuitous ARP delay = {}", garp.delay)?;
    writeln!(out, "   Gratuitous ARP repeat = {}", garp.repeat)?;
    writeln!(out, "   Gratuitous ARP refresh = {}", garp.refresh)?;
    writeln!(out, "   Gratuitous ARP refresh repeat = {}", garp.refresh_repeat)?;
    writeln!(out, "   Gratuitous ARP lower priority delay = {}", garp.lower_prio_delay)?;
    writeln!(out, "   Gratuitous ARP lower priority repeat = {}", garp.lower_prio_repeat)?;
    writeln!(out, "   Down timer adverts = {}", config.down_timer_adverts)?;
    writeln!(out, "   Send advert after receive lower priority advert = {}", !config.lower_prio_no_advert)?;
    writeln!(out, "   Send advert after receive higher priority advert = {}", config.higher_prio_send_advert)?;
    writeln!(out, "   Virtual Router ID = {}", config.vrid)?;
    writeln!(out, "   Priority = {}", shown.base_priority)?;
    writeln!(out, "   Effective priority = {}", shown.effective_priority)?;
    let total = if config.priority.is_owner() { 255 } else { i32::from(shown.base_priority) + adjustment };
    writeln!(out, "   Total priority = {total}")?;
    let interval = config.advert_interval.duration();
    match config.version {
        Version::V2 => writeln!(out, "   Advert interval = {} sec", interval.as_secs())?,
        Version::V3 => writeln!(out, "   Advert interval = {} milli-sec", interval.as_millis())?,
    }
    if shown.state == StateName::Backup && config.version == Version::V3 {
        writeln!(out, "   Master advert interval = {} milli-sec", shown.master_interval.duration().as_millis())?;
    }
    writeln!(out, "   Accept = {}", either(config.accept, "enabled", "disabled"))?;
    writeln!(out, "   Preempt = {}", either(config.preempt, "enabled", "disabled"))?;
    if !config.preempt_delay.is_zero() {
        writeln!(out, "   Preempt delay = {} secs", seconds(config.preempt_delay))?;
    }
    writeln!(out, "   Promote_secondaries = {}", either(config.promote_secondaries, "enabled", "disabled"))?;
    if config.version == Version::V2 {
        match config.auth {
            Auth::None => writeln!(out, "   Authentication type = none")?,
            Auth::Pass(_) => writeln!(out, "   Authentication type = SIMPLE_PASSWORD\n   Password = ********")?,
        }
    }
    addresses(config, shown, out)?;
    unicast(config, out)?;
    tracked(&config.tracks, out)?;
    let mails = facts.mail().is_some_and(|mail| mail.instances.contains(name));
    writeln!(out, "   Using smtp notification = {}", either(mails, "yes", "no"))?;
    writeln!(out, "   Notify deleted = {}", either(config.notify_deleted, "Deleted", "Fault"))?;
    if let Some(scripts) = facts.config.notify.instances.get(name) {
        notify(facts, scripts, out)?;
    }
    writeln!(out, "   Notify priority changes = false")
}

fn addresses(config: &InstanceConfig, shown: &InstanceSnapshot, out: &mut String) -> fmt::Result {
    let interface = config.interface.as_deref();
    let line = |one: &crate::vrrp::config::AddressConfig| {
        address(one, interface, shown.held.contains(&one.address), !config.accept)
    };
    if !config.addresses.is_empty() {
        writeln!(out, "   Virtual IP ({}):", config.addresses.len())?;
    }
    for one in &config.addresses {
        writeln!(out, "     {}", line(one))?;
    }
    if !config.excluded.is_empty() {
        writeln!(out, "   Virtual IP Excluded :")?;
    }
    for one in &config.excluded {
        writeln!(out, "     {}", line(one))?;
    }
    Ok(())
}

fn unicast(config: &InstanceConfig, out: &mut String) -> fmt::Result {
    let Transport::Unicast { peers, ttl, check_source } = &config.transport else { return Ok(()) };
    if let Some(ttl) = ttl.or((config.family == Family::V4).then_some(255)) {
        writeln!(out, "   Unicast TTL = {ttl}")?;
    }
    writeln!(out, "   Check unicast src : {}", either(*check_source, "yes", "no"))?;
    writeln!(out, "   Unicast Peer :")?;
    for peer in peers {
        let (least, most) = (peer.min_ttl.unwrap_or(0), peer.max_ttl.unwrap_or(255));
        writeln!(out, "     {} min_ttl {least} max_ttl {most}", peer.address)?;
    }
    Ok(())
}

/// The trackers of an instance by kind, under keepalived's headings.
fn tracked(tracks: &[Track], out: &mut String) -> fmt::Result {
    type Name = fn(&TrackerKey) -> Option<&str>;
    let kinds: [(&str, &str, Name); 4] = [
        ("interfaces", "", |key| if let TrackerKey::Interface(name) = key { Some(name) } else { None }),
        ("scripts", "", |key| if let TrackerKey::Script(name) = key { Some(name) } else { None }),
        ("files", ",", |key| if let TrackerKey::File(name) = key { Some(name) } else { None }),
        ("processes", ",", |key| if let TrackerKey::Process(name) = key { Some(name) } else { None }),
    ];
    for (kind, comma, name) in kinds {
        let mut head = Some(kind);
        for track in tracks {
            let Some(name) = name(&track.tracker) else { continue };
            if let Some(kind) = head.take() {
                writeln!(out, "   Tracked {kind} :")?;
            }
            writeln!(out, "     {name}{comma} weight {}{}", track.weight, either(track.reverse, " reverse", ""))?;
        }
    }
    Ok(())
}

fn notify(facts: &Facts<'_>, scripts: &NotifyScripts, out: &mut String) -> fmt::Result {
    let all = [
        ("Backup", &scripts.backup),
        ("Master", &scripts.master),
        ("Fault", &scripts.fault),
        ("Stop", &scripts.stop),
        ("Deleted", &scripts.deleted),
        ("Generic", &scripts.any),
        ("Master rx lower pri", &scripts.master_rx_lower_pri),
    ];
    for (state, of_state) in all {
        if let Some(shown) = of_state {
            writeln!(out, "   {state} state transition script = {}", script(shown, &facts.host))?;
        }
    }
    Ok(())
}

fn group_of<'a>(facts: &Facts<'a>, instance: &str) -> Option<&'a str> {
    let mut groups = facts.config.vrrp.groups.iter();
    groups.find(|(_, group)| group.members.iter().any(|member| member == instance)).map(|(name, _)| name.as_str())
}

fn groups(facts: &Facts<'_>, out: &mut String) -> fmt::Result {
    if facts.config.vrrp.groups.is_empty() {
        return Ok(());
    }
    writeln!(out, "------< VRRP Sync groups >------")?;
    for (name, group) in in_order(&facts.config.order.groups, &facts.config.vrrp.groups) {
        let members = || group.members.iter().filter_map(|member| facts.snapshot.instances.get(member));
        let count = |state| members().filter(|member| member.state == state).count();
        let (faults, waiting) = (count(StateName::Fault), count(StateName::Init));
        // Members move together; while they do, the group is where the one that holds it back is.
        let order = [StateName::Init, StateName::Fault, StateName::Stop, StateName::Backup, StateName::Master];
        let state = order.into_iter().find(|state| count(*state) > 0).unwrap_or(StateName::Init);
        writeln!(out, " VRRP Sync Group = {name}, {state}")?;
        writeln!(out, "   Num member fault {faults}, num member init {waiting}")?;
        writeln!(out, "   VRRP member instances :")?;
        for member in &group.members {
            writeln!(out, "     {member}")?;
        }
        writeln!(
            out,
            "   Using smtp notification = {}",
            either(facts.mail().is_some_and(|mail| mail.groups.contains(name)), "yes", "no")
        )?;
        if let Some(scripts) = facts.config.notify.groups.get(name) {
            notify(facts, scripts, out)?;
        }
    }
    Ok(())
}

/// The instances that track something: `     VI_1, weight 5 reverse`.
fn tracking(facts: &Facts<'_>, key: &TrackerKey, out: &mut String) -> fmt::Result {
    writeln!(out, "   Tracking instances :")?;
    for (name, config) in in_order(&facts.config.order.instances, &facts.config.vrrp.instances) {
        for track in config.tracks.iter().filter(|track| track.tracker == *key) {
            writeln!(out, "     {name}, weight {}{}", track.weight, either(track.reverse, " reverse", ""))?;
        }
    }
    Ok(())
}

fn scripts(facts: &Facts<'_>, table: &TrackTable, out: &mut String) -> fmt::Result {
    let all = in_order(&facts.config.order.scripts, &facts.config.scripts);
    let keys = all.map(|(name, config)| (TrackerKey::Script(name.clone()), name, config));
    let mut head = Some("------< VRRP Scripts >------\n");
    // One that nobody tracks is never run, and keepalived knows it no more.
    for (key, name, config) in keys.filter(|(key, ..)| table.knows(key)) {
        write!(out, "{}", head.take().unwrap_or_default())?;
        let (uid, gid) = (facts.host.identity)(Some(&config.command));
        let status = table.status(&key);
        writeln!(out, " VRRP Script = {name}")?;
        writeln!(out, "   Command = {}", command(&config.command))?;
        writeln!(out, "   Interval = {} sec", seconds(config.interval))?;
        // keepalived's 0 is the interval.
        let timeout = if config.timeout == config.interval { Duration::ZERO } else { config.timeout };
        writeln!(out, "   Timeout = {} sec", seconds(timeout))?;
        writeln!(out, "   Rise = {}\n   Fall = {}", config.rise, config.fall)?;
        writeln!(out, "   Status = {}", either(status == TrackerStatus::Up, "GOOD", "BAD"))?;
        writeln!(out, "   Script uid:gid = {uid}:{gid}")?;
        writeln!(out, "   VRRP instances :")?;
        tracking(facts, &key, out)?;
        writeln!(out, "   State = {}", either(facts.running.contains(name), "running", "idle"))?;
    }
    Ok(())
}

fn files(facts: &Facts<'_>, table: &TrackTable, out: &mut String) -> fmt::Result {
    let mut head = Some("------< VRRP Track files >------\n");
    for (name, config) in in_order(&facts.config.order.files, &facts.config.files) {
        write!(out, "{}", head.take().unwrap_or_default())?;
        let key = TrackerKey::File(name.clone());
        writeln!(out, " Track file = {name}\n   File = {}", config.path.display())?;
        if let TrackerStatus::Value(value) = table.status(&key) {
            writeln!(out, "   Status = {value}")?;
        }
        tracking(facts, &key, out)?;
    }
    Ok(())
}

fn processes(facts: &Facts<'_>, table: &TrackTable, out: &mut String) -> fmt::Result {
    let mut head = Some("------< VRRP Track processes >------\n");
    for (name, config) in in_order(&facts.config.order.processes, &facts.config.processes) {
        let key = TrackerKey::Process(name.clone());
        if !table.knows(&key) {
            continue;
        }
        write!(out, "{}", head.take().unwrap_or_default())?;
        let count: ProcessCount = facts.processes.get(name).copied().unwrap_or_default();
        writeln!(out, " VRRP Track process = {name}")?;
        match &config.pattern {
            ProcessPattern::Name(program) => writeln!(out, "   Process = {program}")?,
            ProcessPattern::CommandLine { program, parameters, matching } => {
                writeln!(out, "   Process = {program}")?;
                if !parameters.is_empty() {
                    writeln!(out, "   Parameters = {}", parameters.join(" "))?;
                }
                match matching {
                    ParameterMatch::Exact => writeln!(out, "   Param match")?,
                    ParameterMatch::Initial => writeln!(out, "   Param match = initial")?,
                    ParameterMatch::Partial => writeln!(out, "   Param match = partial")?,
                }
            }
        }
        writeln!(out, "   Min processes = {}", config.quorum)?;
        if let Some(most) = config.quorum_max {
            writeln!(out, "   Max processes = {most}")?;
        }
        writeln!(out, "   Current processes = {}", count.count)?;
        writeln!(out, "   Have quorum = {}", table.status(&key) == TrackerStatus::Up)?;
        writeln!(out, "   Terminate delay = {:.6}s", config.terminate_delay.as_secs_f64())?;
        writeln!(out, "   Fork delay = {:.6}s", config.fork_delay.as_secs_f64())?;
        let running = |on: bool| either(on, "running", "not running");
        writeln!(out, "   Fork delay timer {}", running(count.fork_delay_running))?;
        writeln!(out, "   Terminate delay timer {}", running(count.terminate_delay_running))?;
        let full = matches!(config.pattern, ProcessPattern::CommandLine { .. });
        writeln!(out, "   Full command = {full}")?;
        tracking(facts, &key, out)?;
    }
    Ok(())
}
