//! Status and events for people: text of at most eighty columns, or as many as the terminal has.
//!
//! Pure. Whatever came from outside (names, reasons of checks) is shown without control characters.

use super::model::{
    Address, Effect, Event, Instance, Maintenance, Outcome, ProcessState, RealServer, State, Status, Traffic,
    VirtualServer,
};
use super::time::Time;

/// How it is shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// With colours.
    pub color: bool,
    /// Columns; lines are cut there. `None` cuts nothing.
    pub width: Option<usize>,
}

/// A moment as the reader's clock shows it.
pub type Clock<'a> = &'a dyn Fn(Time) -> String;

/// More instances than this are shown on a line each.
const MOST_DETAILED: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paint {
    Plain,
    Bold,
    Dim,
    Good,
    Warn,
    Bad,
}

/// Text with colours, cut at the width.
struct Screen {
    text: String,
    style: Style,
    column: usize,
}

impl Screen {
    fn new(style: Style) -> Self {
        Self { text: String::new(), style, column: 0 }
    }

    fn put(&mut self, paint: Paint, text: &str) -> &mut Self {
        let left = self.style.width.map_or(usize::MAX, |width| width.saturating_sub(self.column));
        let clean = text.chars().map(|c| if c.is_control() { '?' } else { c });
        let shown: String = clean.take(left).collect();
        self.column += shown.chars().count();
        let code = match paint {
            Paint::Plain => "",
            Paint::Bold => "\x1b[1m",
            Paint::Dim => "\x1b[2m",
            Paint::Good => "\x1b[32m",
            Paint::Warn => "\x1b[33m",
            Paint::Bad => "\x1b[1;31m",
        };
        if self.style.color && !code.is_empty() && !shown.is_empty() {
            self.text.push_str(&format!("{code}{shown}\x1b[0m"));
        } else {
            self.text.push_str(&shown);
        }
        self
    }

    fn plain(&mut self, text: &str) -> &mut Self {
        self.put(Paint::Plain, text)
    }

    /// Fills with blanks up to a column, at least one.
    fn to(&mut self, column: usize) -> &mut Self {
        let blanks = column.saturating_sub(self.column).max(1);
        self.plain(&" ".repeat(blanks))
    }

    fn end(&mut self) {
        let kept = self.text.trim_end_matches(' ').len();
        self.text.truncate(kept);
        self.text.push('\n');
        self.column = 0;
    }

    fn line(&mut self, paint: Paint, text: &str) {
        self.put(paint, text).end();
    }
}

/// The whole status.
pub fn status(status: &Status, style: &Style, clock: Clock<'_>) -> String {
    let mut screen = Screen::new(*style);
    head(&mut screen, status, clock);
    if !status.instances.is_empty() {
        screen.end();
        screen.line(Paint::Dim, "INSTANCE           STATE    FOR         PRIORITY  INTERFACE  VRID  ADDRESSES");
        let detailed = status.instances.len() <= MOST_DETAILED;
        status.instances.iter().for_each(|one| instance(&mut screen, one, detailed));
    }
    for group in &status.sync_groups {
        let state = if group.state == State::Unknown { "mixed".to_owned() } else { group.state.to_string() };
        screen.put(Paint::Dim, "sync group ").plain(&group.name).plain(": ").put(paint(group.state), &state);
        screen.plain(&format!(" ({})", group.members.join(", "))).end();
    }
    if !status.virtual_servers.is_empty() {
        screen.end();
        screen.line(Paint::Dim, "VIRTUAL SERVER                    STATE   QUORUM      METHOD  SCHEDULER");
        status.virtual_servers.iter().for_each(|one| virtual_server(&mut screen, one));
    }
    screen.text
}

fn head(screen: &mut Screen, status: &Status, clock: Clock<'_>) {
    let daemon = &status.daemon;
    screen.put(Paint::Bold, &status.node);
    screen.plain(&format!("  holdfast {}, up {}, {}", daemon.version, age(daemon.uptime_ms), daemon.config_file)).end();
    screen.put(Paint::Dim, "processes");
    for process in &daemon.processes {
        let pid = process.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        screen.plain(&format!("  {} {pid}", process.name));
        match process.state {
            ProcessState::Running => {}
            state => drop(screen.put(Paint::Bad, &format!(" {state}"))),
        }
        if process.restarts > 0 {
            screen.put(Paint::Warn, &format!(" ({} restarts)", process.restarts));
        }
    }
    screen.end();
    let reloads = &daemon.reloads;
    if let (Some(at), Some(result)) = (reloads.last_at, &reloads.last_result) {
        screen.put(Paint::Dim, "reload").plain(&format!("     {}: {result}", clock(at))).end();
    }
    if status.maintenance.on {
        screen.line(Paint::Bad, &format!("MAINTENANCE {}", since(&status.maintenance, clock)));
    }
    if daemon.events_lost > 0 {
        screen.line(Paint::Bad, &format!("{} events were lost", daemon.events_lost));
    }
    status.remarks.iter().for_each(|remark| screen.line(Paint::Bad, remark));
}

fn since(maintenance: &Maintenance, clock: Clock<'_>) -> String {
    let since = maintenance.since.map(|since| format!("since {}", clock(since)));
    let until =
        maintenance.until.map_or_else(|| "until it is ended".to_owned(), |until| format!("until {}", clock(until)));
    let words: Vec<String> = [since, Some(until), maintenance.reason.clone()].into_iter().flatten().collect();
    words.join(", ")
}

/// `holdfast maintenance` without more.
pub fn maintenance(maintenance: &Maintenance, clock: Clock<'_>) -> String {
    if maintenance.on {
        format!("this node takes no part in elections: {}", since(maintenance, clock))
    } else {
        "this node takes part in elections".to_owned()
    }
}

fn paint(state: State) -> Paint {
    match state {
        State::Master => Paint::Good,
        State::Backup => Paint::Plain,
        State::Init | State::Unknown | State::Stop | State::Deleted => Paint::Warn,
        State::Fault => Paint::Bad,
    }
}

fn instance(screen: &mut Screen, instance: &Instance, detailed: bool) {
    screen.put(Paint::Bold, &instance.name).to(19).put(paint(instance.state), &instance.state.to_string());
    screen.to(28).plain(&instance.for_ms.map_or_else(|| "-".to_owned(), age));
    screen.to(40).plain(&format!("{:>3}", instance.priority.effective));
    if instance.priority.effective != instance.priority.base {
        screen.put(Paint::Dim, &format!(" of {}", instance.priority.base));
    }
    screen.to(50).plain(instance.interface.as_deref().unwrap_or("-"));
    screen.to(61).plain(&format!("{:>4}", instance.vrid)).to(67);
    let mut addresses = instance.addresses.iter();
    if let Some(first) = addresses.next() {
        screen.plain(&address(first));
    }
    if !detailed && instance.addresses.len() > 1 {
        screen.plain(&format!(" +{}", instance.addresses.len() - 1));
    }
    screen.end();
    if !detailed {
        return;
    }
    let others: Vec<String> = addresses.map(address).collect();
    if !others.is_empty() {
        wrap(screen, "  and ", &others, "  ");
    }
    if !instance.cause.text.is_empty() {
        screen.plain("  ").put(Paint::Dim, "because: ").plain(&instance.cause.text).end();
    }
    if instance.handing_over {
        screen.plain("  ").put(Paint::Warn, "handing over: its addresses stay until the successor has them").end();
    }
    if let Some(master) = &instance.master {
        screen.plain("  ").put(Paint::Dim, "master: ");
        screen.plain(&format!("{} (priority {})", master.address, master.priority)).end();
    }
    if let Some(dual) = &instance.dual_master {
        let who = dual.peer.map_or_else(|| "another router".to_owned(), |peer| peer.to_string());
        let text = format!("TWO MASTERS for {}: {who}: {}", age(dual.for_ms), dual.reason);
        screen.plain("  ").put(Paint::Bad, &text).end();
    }
    for peer in instance.peers.iter().filter(|peer| instance.master.as_ref().is_none_or(|m| m.address != peer.address))
    {
        let priority = peer.priority.map(|priority| format!(" (priority {priority})")).unwrap_or_default();
        let heard = peer.last_heard_ms.map(|ms| format!(", heard {} ago", age(ms))).unwrap_or_default();
        screen.plain("  ").put(Paint::Dim, "peer: ").plain(&format!("{}{priority}{heard}", peer.address));
        if let Some(refused) = &peer.refused {
            screen.put(Paint::Bad, &format!(": refused, {refused}"));
        }
        screen.end();
    }
    instance.priority.trackers.iter().for_each(|effect| tracker(screen, effect));
}

fn tracker(screen: &mut Screen, effect: &Effect) {
    let status = match &*effect.status {
        "up" => Paint::Good,
        "down" | "unknown" => Paint::Bad,
        "pending" => Paint::Warn,
        _ => Paint::Plain,
    };
    screen.plain("  ").put(Paint::Dim, "tracks: ").plain(&format!("{} ", effect.tracker)).put(status, &effect.status);
    if effect.fault {
        screen.put(Paint::Bad, ": FAULT");
    } else if effect.adds != 0 {
        screen.plain(&format!(": {:+} to the priority", effect.adds));
    } else if effect.weight != 0 {
        screen.put(Paint::Dim, &format!(" (weight {})", effect.weight));
    }
    screen.end();
}

fn address(address: &Address) -> String {
    if address.excluded { format!("({})", address.address) } else { address.address.clone() }
}

/// Words on as many lines as they need.
fn wrap(screen: &mut Screen, first: &str, words: &[String], between: &str) {
    const WIDTH: usize = 80;
    screen.put(Paint::Dim, first);
    for word in words {
        if screen.column > first.len() && screen.column + between.len() + word.chars().count() > WIDTH {
            screen.end();
            screen.plain(&" ".repeat(first.len()));
        } else if screen.column > first.len() {
            screen.plain(between);
        }
        screen.plain(word);
    }
    screen.end();
}

fn virtual_server(screen: &mut Screen, server: &VirtualServer) {
    let (paint, state) = match (server.active, server.has_quorum, server.able) {
        (None, _, _) => (Paint::Warn, "?"),
        (Some(false), ..) => (Paint::Dim, "rests"),
        (_, _, Some(false)) | (_, Some(false), _) => (Paint::Bad, "DOWN"),
        _ => (Paint::Good, "up"),
    };
    screen.put(Paint::Bold, &server.id).to(34).put(paint, state);
    let live = server.live_weight.map_or_else(|| "?".to_owned(), |weight| weight.to_string());
    screen.to(42).plain(&format!("{live} of {}", server.quorum));
    if server.hysteresis > 0 {
        screen.plain(&format!("±{}", server.hysteresis));
    }
    screen.to(54).plain(&server.method).to(62).plain(&server.scheduler).end();
    if let Some(follows) = &server.follows {
        screen.plain("  ").put(Paint::Dim, &format!("follows {follows}")).end();
    }
    if let Some(traffic) = &server.traffic {
        let Traffic { active, connections, in_bytes, out_bytes, .. } = traffic;
        let text = format!(
            "{} connections now, {} in all, {}B in, {}B out",
            quantity(*active),
            quantity(*connections),
            quantity(*in_bytes),
            quantity(*out_bytes)
        );
        let by = server.carrier.as_deref().unwrap_or("?");
        screen.plain("  ").put(Paint::Dim, &format!("{by}: ")).plain(&text).end();
    }
    if let Some(refused) = &server.refused {
        screen.plain("  ").put(Paint::Bad, refused).end();
    }
    if server.panicking {
        screen.plain("  ").put(Paint::Bad, "nearly all real servers seem dead: this node suspects itself").end();
    }
    if server.checks_paused {
        screen.plain("  ").put(Paint::Warn, "its checks rest (ha_suspend)").end();
    }
    server.real_servers.iter().for_each(|one| real_server(screen, one));
    if let Some(sorry) = &server.sorry_server {
        screen.plain("  ").plain(sorry).to(34);
        if server.sorry_server_serves {
            screen.put(Paint::Bad, "serves").plain(" as sorry server");
        } else {
            screen.put(Paint::Dim, "rests   sorry server");
        }
        screen.end();
    }
}

fn real_server(screen: &mut Screen, server: &RealServer) {
    let (paint, state) = match (&*server.admin, server.up) {
        ("drain", _) => (Paint::Warn, "drain"),
        ("maint", _) => (Paint::Warn, "maint"),
        (_, Some(true)) => (Paint::Good, "up"),
        (_, Some(false)) => (Paint::Bad, "DOWN"),
        (_, None) => (Paint::Warn, "?"),
    };
    screen.plain("  ").plain(&server.address).to(34).put(paint, state);
    let weight = server.table_weight.map_or_else(|| "?".to_owned(), |weight| weight.to_string());
    screen.to(42).plain(&format!("weight {weight}"));
    if server.table_weight.is_some_and(|weight| weight != server.configured_weight) {
        screen.put(Paint::Dim, &format!(" of {}", server.configured_weight));
    }
    screen.to(56);
    if let Some(traffic) = &server.traffic {
        screen.plain(&format!("{} now", quantity(traffic.active)));
    }
    for (n, check) in server.checks.iter().enumerate() {
        let between = if n == 0 && server.traffic.is_none() { "" } else { "; " };
        match (check.up, &check.reason) {
            (true, _) => screen.put(Paint::Dim, &format!("{between}{} ok", check.kind)),
            (false, Some(reason)) => screen.put(Paint::Bad, &format!("{between}{}: {reason}", check.kind)),
            (false, None) => screen.put(Paint::Bad, &format!("{between}{} fails", check.kind)),
        };
    }
    screen.end();
}

/// One event, with its line end.
pub fn event(event: &Event, style: &Style, clock: Clock<'_>) -> String {
    let mut screen = Screen::new(*style);
    let paint = match (&*event.kind, event.to.as_deref()) {
        ("state_changed" | "group_changed", Some("MASTER")) | (_, Some("UP")) => Paint::Good,
        (_, Some("FAULT" | "DOWN")) | ("dual_master" | "events_lost" | "events_missed" | "child_died", _) => Paint::Bad,
        ("advert_flawed" | "address_failed" | "timer_late" | "warning" | "maintenance", _) => Paint::Warn,
        _ => Paint::Plain,
    };
    let millis = event.at.0.subsec_millis();
    screen.put(Paint::Dim, &format!("{}.{millis:03}  ", clock(event.at))).put(paint, &event.text).end();
    screen.text
}

/// Why a command was not carried out.
pub fn refusal(outcome: &Outcome) -> String {
    let text: String = outcome.message.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect();
    let meant = outcome.did_you_mean.as_ref().map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    format!("{}{meant}", text.trim_end())
}

/// A number in few characters: `950`, `1.2k`, `34M`.
pub fn quantity(number: u64) -> String {
    const UNITS: [(u64, char); 4] = [(1_000_000_000_000, 'T'), (1_000_000_000, 'G'), (1_000_000, 'M'), (1_000, 'k')];
    let Some((unit, letter)) = UNITS.into_iter().find(|(unit, _)| number >= *unit) else { return number.to_string() };
    let (whole, tenth) = (number / unit, number % unit / (unit / 10));
    if whole < 10 && tenth > 0 { format!("{whole}.{tenth}{letter}") } else { format!("{whole}{letter}") }
}

/// A length of time in two units: `3 h 12 min`.
pub fn age(millis: u64) -> String {
    let seconds = millis / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match seconds {
        0 if millis > 0 => format!("{millis} ms"),
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {} s", seconds % 60),
        3600..86_400 => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests;
