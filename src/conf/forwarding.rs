//! How a virtual server sends traffic on: addresses, protocol, scheduler, method, persistence.
//!
//! Pure. The keywords of one line each, with keepalived's defaults and what it says when they are missing or wrong.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::diagnostic::Reporter;
use super::lex;
use super::section::Section;
use super::tree::Word;
use crate::ipvs::config::{Persistence, SchedulerFlags};
use crate::ipvs::types::{ForwardMethod, Protocol, Scheduler, SocketKey, Tunnel, TunnelChecksum};
use crate::vrrp::types::Family;

/// What `persistence_timeout` without a number is, and persistence that something else implies.
const PERSISTENCE: u32 = 360;

/// A virtual server as messages call it, by the words of its line.
#[derive(Debug, Clone, Copy)]
pub struct Title<'a>(pub &'a [Word<'a>]);

impl fmt::Display for Title<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`virtual_server")?;
        for word in self.0 {
            write!(f, " {}", word.text)?;
        }
        f.write_str("`")
    }
}

/// `IP [PORT]`, and whether the port is there.
pub fn socket(words: &[Word<'_>], what: &str, reporter: &mut Reporter) -> Option<(SocketKey, bool)> {
    let first = words.first()?;
    let Ok(ip) = first.text.parse::<IpAddr>() else {
        let shown: String = first.text.chars().take(60).collect();
        let report = reporter.error(first.span, format!("`{shown}` is not an IP address: the {what} is left out"));
        if first.text.contains('/') {
            report.help("without the prefix length");
        } else if first.text.contains(':') {
            report.help("address and port are separated by a blank: `192.0.2.1 80`");
        }
        return None;
    };
    let Some(word) = words.get(1) else { return Some((SocketKey::new(ip, 0), false)) };
    match lex::integer(word.text).and_then(|port| u16::try_from(port).ok()) {
        Some(port) => Some((SocketKey::new(ip, port), port != 0)),
        None => {
            let shown: String = word.text.chars().take(60).collect();
            reporter.error(word.span, format!("`{shown}` is not a port from 1 to 65535: the {what} is left out"));
            None
        }
    }
}

/// Whether packets keep their port on the way: they are sent on as they are.
pub fn keeps_port(method: ForwardMethod) -> bool {
    matches!(method, ForwardMethod::Dr | ForwardMethod::Tun(_))
}

/// Whether packets of one family can go to a server of another: in a tunnel, and through a proxy.
pub fn families_meet(service: Option<Family>, server: Family, method: ForwardMethod) -> bool {
    matches!(method, ForwardMethod::Tun(_) | ForwardMethod::Proxy) || service.is_none_or(|family| family == server)
}

/// `protocol`. Marked packets may have any.
pub fn protocol(section: &Section<'_>, needed: bool, title: Title<'_>, reporter: &mut Reporter) -> Protocol {
    let Some(word) = section.word("protocol") else {
        if !needed {
            return Protocol::Tcp;
        }
        let message = format!("{title} has no `protocol`: UDP is used, as in keepalived");
        reporter.error(section.span, message).help("`protocol TCP`, `UDP` or `SCTP`");
        return Protocol::Udp;
    };
    if !needed {
        reporter.warning(word.span, "`protocol` is ignored: packets with a mark may have any");
        return Protocol::Tcp;
    }
    let named = [("TCP", Protocol::Tcp), ("UDP", Protocol::Udp), ("SCTP", Protocol::Sctp)];
    match named.into_iter().find(|(name, _)| word.text.eq_ignore_ascii_case(name)) {
        Some((_, protocol)) => protocol,
        None => {
            reporter
                .error(word.span, format!("`protocol` takes `TCP`, `UDP` or `SCTP`, not `{}`", word.text))
                .help("the line is left out; the default is UDP");
            Protocol::Udp
        }
    }
}

/// `lb_algo` and the flags of its scheduler.
pub fn scheduler(section: &Section<'_>, title: Title<'_>, reporter: &mut Reporter) -> (Scheduler, SchedulerFlags) {
    let chosen = section.word("lb_algo").and_then(|word| Scheduler::from_name(word.text));
    if chosen.is_none() && !section.rejected.contains(&"lb_algo") {
        let scheduler = Scheduler::default();
        let message = format!("{title} has no `lb_algo`: {scheduler} is used");
        reporter.error(section.span, message).help("`lb_algo rr`, `wrr`, `lc`, `wlc`, …");
    }
    let scheduler = chosen.unwrap_or_default();
    let mut after = |keyword: &str, needed: Scheduler| {
        let Some(entry) = section.entry(keyword) else { return false };
        let before = section.entry("lb_algo").is_some_and(|algo| algo.span < entry.span);
        let fits = scheduler == needed && before;
        if !fits {
            reporter
                .error(entry.span, format!("`{keyword}` belongs to `lb_algo {needed}`: the line is left out"))
                .help(format!("put `{keyword}` below `lb_algo {needed}`"));
        }
        fits
    };
    let fallback = after("sh-fallback", Scheduler::Sh) | after("mh-fallback", Scheduler::Mh);
    let port = after("sh-port", Scheduler::Sh) | after("mh-port", Scheduler::Mh);
    let flags = SchedulerFlags {
        hashed: section.flag("hashed"),
        one_packet: section.flag("ops"),
        flag1: section.flag("flag-1") || fallback,
        flag2: section.flag("flag-2") || port,
        flag3: section.flag("flag-3"),
    };
    (scheduler, flags)
}

/// `lb_kind` of a virtual server.
pub fn kind(section: &Section<'_>, title: Title<'_>, reporter: &mut Reporter) -> ForwardMethod {
    match section.words("lb_kind") {
        Some(words) => method("lb_kind", words, reporter).unwrap_or_default(),
        None => {
            if !section.rejected.contains(&"lb_kind") {
                let message = format!("{title} has no `lb_kind`: NAT is used");
                reporter.error(section.span, message).help("`lb_kind NAT`, `DR`, `TUN` or `PROXY`");
            }
            ForwardMethod::default()
        }
    }
}

/// `NAT | DR | TUN [type ipip|gue|gre [port N] [nocsum|csum|remcsum]] | PROXY`; `None` when it is reported.
pub fn method(keyword: &str, words: &[Word<'_>], reporter: &mut Reporter) -> Option<ForwardMethod> {
    let (first, options) = words.split_first()?;
    let method = match first.text {
        "NAT" => ForwardMethod::Nat,
        "DR" => ForwardMethod::Dr,
        "PROXY" => ForwardMethod::Proxy,
        "TUN" => return tunnel(keyword, first, options, reporter).map(ForwardMethod::Tun),
        other => {
            let message = format!("`{keyword}` takes `NAT`, `DR`, `TUN` or `PROXY`, not `{other}`");
            let capitals = other.to_ascii_uppercase();
            let report = reporter.error(first.span, message);
            if ["NAT", "DR", "TUN", "PROXY"].contains(&capitals.as_str()) {
                report.help(format!("write it in capitals: `{keyword} {capitals}`; the line is left out"));
            } else {
                report.help("the line is left out");
            }
            return None;
        }
    };
    if let Some(extra) = options.first() {
        reporter.warning(extra.span, format!("`{}` is ignored: only `TUN` has options", extra.text));
    }
    Some(method)
}

fn tunnel(keyword: &str, first: &Word<'_>, options: &[Word<'_>], reporter: &mut Reporter) -> Option<Tunnel> {
    let mut kind = "ipip";
    let mut port = None;
    let mut checksum = TunnelChecksum::None;
    let mut words = options.iter();
    while let Some(word) = words.next() {
        match word.text {
            "type" => match words.next().map(|word| word.text) {
                Some(name @ ("ipip" | "gue" | "gre")) => kind = name,
                _ => {
                    reporter.error(word.span, "`type` of a tunnel takes `ipip`, `gue` or `gre`");
                    return None;
                }
            },
            "port" => {
                let number = words.next().and_then(|word| lex::integer(word.text));
                port = number.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
                if port.is_none() {
                    reporter.error(word.span, "`port` of a tunnel takes a number from 1 to 65535");
                    return None;
                }
            }
            "nocsum" => checksum = TunnelChecksum::None,
            "csum" => checksum = TunnelChecksum::Checksum,
            "remcsum" => checksum = TunnelChecksum::Remote,
            other => {
                reporter
                    .error(word.span, format!("`{other}` is not an option of `{keyword} TUN`"))
                    .help("`type ipip|gue|gre`, `port N`, `nocsum`, `csum` or `remcsum`; the line is left out");
                return None;
            }
        }
    }
    match (kind, port) {
        ("gue", Some(port)) => Some(Tunnel::Gue { port, checksum }),
        ("gue", None) => {
            reporter.error(first.span, "a gue tunnel needs its `port`: the line is left out");
            None
        }
        (_, Some(_)) => {
            reporter.error(first.span, "only a gue tunnel has a `port`: the line is left out");
            None
        }
        ("gre", None) if checksum == TunnelChecksum::Remote => {
            reporter.error(first.span, "`remcsum` is for gue tunnels: the line is left out");
            None
        }
        ("gre", None) => Some(Tunnel::Gre { checksum }),
        _ if checksum != TunnelChecksum::None => {
            reporter.error(first.span, "an ipip tunnel has no checksum: the line is left out");
            None
        }
        _ => Some(Tunnel::Ipip),
    }
}

/// `persistence_timeout`, `persistence_granularity` and `persistence_engine`.
pub fn persistence(
    section: &Section<'_>,
    family: Option<Family>,
    all_ports: bool,
    title: Title<'_>,
    reporter: &mut Reporter,
) -> Option<Persistence> {
    let timeout: Option<u32> = section.int("persistence_timeout");
    let granularity = section.word("persistence_granularity").and_then(|word| granularity(word, family, reporter));
    let engine = section.word("persistence_engine").map(|word| word.text.to_string());
    if timeout.is_none() && granularity.is_none() && engine.is_none() {
        if !all_ports {
            return None;
        }
        let message = format!("{title} serves every port, so clients stay with their servers for {PERSISTENCE} s");
        reporter.warning(section.span, message).help("say so: `persistence_timeout 360`");
    }
    let granularity = granularity.unwrap_or(if family == Some(Family::V6) { 128 } else { 32 });
    Some(Persistence { timeout: timeout.unwrap_or(PERSISTENCE), granularity, engine })
}

/// A netmask for IPv4, a prefix length for IPv6.
fn granularity(word: &Word<'_>, family: Option<Family>, reporter: &mut Reporter) -> Option<u8> {
    if family != Some(Family::V6)
        && let Ok(mask) = word.text.parse::<Ipv4Addr>()
    {
        let bits = mask.to_bits();
        let length = bits.leading_ones();
        if bits != 0 && length + bits.trailing_zeros() == 32 {
            return u8::try_from(length).ok();
        }
        reporter.error(word.span, format!("`{mask}` is not a netmask: the line is left out"));
        return None;
    }
    let length = lex::integer(word.text).and_then(|length| u8::try_from(length).ok());
    match length.filter(|length| (1..=128).contains(length)) {
        Some(length) if family != Some(Family::V4) => Some(length),
        _ => {
            let expected = match family {
                Some(Family::V6) => "a prefix length from 1 to 128",
                _ => "a netmask such as `255.255.255.0`",
            };
            let message = format!("`persistence_granularity` takes {expected}, not `{}`", word.text);
            reporter.error(word.span, message).help("the line is left out; each client counts for itself");
            None
        }
    }
}
