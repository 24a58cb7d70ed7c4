//! Route lines: `virtual_routes`, `static_routes`.
//!
//! Pure. `[inet|inet6] [TYPE] [to] DESTINATION [option …]`; a line that is wrong somewhere is left out, because half a
//! route leads somewhere else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::diagnostic::Reporter;
use super::lex;
use super::tree::{Node, Word};
use crate::vrrp::routes::{
    Encapsulation, Locked, NextHop, Number, Prefix, RouteConfig, RouteKind, RouteMetrics, RouteMode, RouteTime,
};
use crate::vrrp::types::Family;

/// The words of a line that are still to be read.
pub struct Words<'a> {
    words: &'a [Word<'a>],
    /// What is read, for messages.
    what: &'static str,
}

/// The line is wrong, and that is reported.
pub struct Wrong;

impl<'a> Words<'a> {
    /// All words of a line.
    pub fn new(node: &'a Node<'a>, what: &'static str) -> Self {
        Self { words: node.words, what }
    }

    /// The next word.
    pub fn next(&mut self) -> Option<&'a Word<'a>> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    /// The text of the next word, which is not taken.
    pub fn peek(&self) -> Option<&'a str> {
        self.words.first().map(|word| word.text)
    }

    /// Takes the next word if it is this one.
    pub fn take(&mut self, text: &str) -> bool {
        let found = self.peek() == Some(text);
        if found {
            self.next();
        }
        found
    }

    /// The value of an option, which `read` makes of its word.
    pub fn value<T>(
        &mut self,
        option: &Word<'_>,
        expected: &str,
        reporter: &mut Reporter,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, Wrong> {
        let Some(word) = self.next() else {
            reporter.error(
                option.span,
                format!("`{}` needs a value, {expected}: the {} is left out", option.text, self.what),
            );
            return Err(Wrong);
        };
        read(word.text).ok_or_else(|| {
            let shown: String = word.text.chars().take(60).collect();
            let message = format!("`{}` takes {expected}, not `{shown}`: the {} is left out", option.text, self.what);
            reporter.error(word.span, message);
            Wrong
        })
    }

    /// Nobody knows this option.
    pub fn unknown(&self, word: &Word<'_>, options: &[&'static str], reporter: &mut Reporter) -> Wrong {
        let shown: String = word.text.chars().take(60).collect();
        let message = format!("`{shown}` is not an option of a {}: the {} is left out", self.what, self.what);
        let report = reporter.error(word.span, message);
        if let Some(near) = super::schema::nearest(word.text, options.iter().copied()) {
            report.help(format!("did you mean `{near}`?"));
        } else if lex::address(word.text).is_some() {
            report.help(format!("each {} stands on a line of its own", self.what));
        }
        Wrong
    }
}

/// For "did you mean".
pub(super) const OPTIONS: &[&str] = &[
    "src",
    "via",
    "from",
    "tos",
    "dsfield",
    "table",
    "protocol",
    "scope",
    "metric",
    "priority",
    "preference",
    "dev",
    "oif",
    "onlink",
    "encap",
    "expires",
    "mtu",
    "hoplimit",
    "advmss",
    "rtt",
    "rttvar",
    "reordering",
    "window",
    "cwnd",
    "ssthresh",
    "realms",
    "rto_min",
    "initcwnd",
    "initrwnd",
    "features",
    "quickack",
    "congctl",
    "pref",
    "ttl-propagate",
    "fastopen_no_cookie",
    "add",
    "prepend",
    "append",
    "nexthop",
    "no_track",
    "track_group",
    "vrf",
];

/// One line; `None` when it is reported and left out.
pub fn route(node: &Node<'_>, is_static: bool, reporter: &mut Reporter) -> Option<RouteConfig> {
    read(node, is_static, reporter).ok()
}

fn read(node: &Node<'_>, is_static: bool, reporter: &mut Reporter) -> Result<RouteConfig, Wrong> {
    let mut words = Words::new(node, "route");
    let mut family = match words.peek() {
        Some("inet") => Some(Family::V4),
        Some("inet6") => Some(Family::V6),
        _ => None,
    };
    if family.is_some() {
        words.next();
    }
    let mut route = RouteConfig {
        family: Family::V4,
        kind: RouteKind::default(),
        destination: Prefix { address: Ipv4Addr::UNSPECIFIED.into(), length: 0 },
        from: None,
        source: None,
        tos: None,
        table: None,
        protocol: None,
        scope: None,
        metric: None,
        hop: NextHop::default(),
        hops: Vec::new(),
        expires: None,
        metrics: RouteMetrics::default(),
        preference: None,
        ttl_propagate: None,
        mode: RouteMode::default(),
        track: true,
        track_group: None,
        vrf: None,
    };
    let mut destination: Option<(&Word<'_>, Option<Prefix>)> = None;
    while let Some(word) = words.next() {
        if option(&mut route, word, &mut words, &mut family, is_static, reporter)? {
            continue;
        }
        // What is no option is the destination, once.
        let word = if word.text == "to" { words.next().unwrap_or(word) } else { word };
        let found = match word.text {
            "default" | "any" | "all" => None,
            "default6" => {
                family = Some(Family::V6);
                None
            }
            text => match prefix(text) {
                Some(prefix) => Some(prefix),
                None => return Err(words.unknown(word, OPTIONS, reporter)),
            },
        };
        if destination.is_some() {
            return Err(words.unknown(word, OPTIONS, reporter));
        }
        destination = Some((word, found));
    }
    let Some((word, destination)) = destination else {
        let message = "the route has no destination: the line is left out";
        reporter.error(node.span(), message).help("`192.0.2.0/24 via 198.51.100.1`, or `default via …`");
        return Err(Wrong);
    };
    let addresses = [destination.map(|prefix| prefix.address), route.hop.gateway, route.source];
    let hops = route.hops.iter().map(|hop| hop.gateway);
    let mut known = addresses.into_iter().chain(hops).flatten().chain(route.from.map(|prefix| prefix.address));
    route.family = family.or_else(|| known.clone().next().map(Family::of)).unwrap_or(Family::V4);
    if known.any(|address| Family::of(address) != route.family) {
        reporter.error(word.span, format!("the route is {}, some address in it is not: it is left out", route.family));
        return Err(Wrong);
    }
    let everything: IpAddr = match route.family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    route.destination = destination.unwrap_or(Prefix { address: everything, length: 0 });
    if !route.kind.ends_here() && route.hops.is_empty() && route.hop.gateway.is_none() && route.hop.device.is_none() {
        reporter
            .error(node.span(), "the route leads nowhere: the line is left out")
            .help("`via ADDRESS` or `dev INTERFACE`");
        return Err(Wrong);
    }
    Ok(route)
}

/// Reads one option; whether the word was one.
fn option(
    route: &mut RouteConfig,
    word: &Word<'_>,
    words: &mut Words<'_>,
    family: &mut Option<Family>,
    is_static: bool,
    reporter: &mut Reporter,
) -> Result<bool, Wrong> {
    if hop_option(&mut route.hop, word, words, reporter)? || metric_option(&mut route.metrics, word, words, reporter)? {
        return Ok(true);
    }
    match word.text {
        "src" => route.source = Some(words.value(word, "an address", reporter, |text| text.parse().ok())?),
        "from" => {
            route.from = Some(words.value(word, "a prefix", reporter, prefix)?);
            *family = Some(Family::V6);
        }
        "tos" | "dsfield" => route.tos = Some(words.value(word, "a number or name", reporter, number)?),
        "table" => route.table = Some(words.value(word, "a number or name", reporter, number)?),
        "protocol" => route.protocol = Some(words.value(word, "a number or name", reporter, number)?),
        "scope" => route.scope = Some(words.value(word, "a number or name", reporter, number)?),
        "metric" | "priority" | "preference" => {
            route.metric = Some(words.value(word, "a number", reporter, integer)?);
        }
        "expires" => route.expires = Some(words.value(word, "seconds", reporter, integer)?),
        "pref" => {
            route.preference = Some(words.value(word, "`low`, `medium`, `high` or a number", reporter, number)?)
        }
        "ttl-propagate" => {
            let read = |text: &str| match text {
                "enabled" => Some(true),
                "disabled" => Some(false),
                _ => None,
            };
            route.ttl_propagate = Some(words.value(word, "`enabled` or `disabled`", reporter, read)?);
        }
        "add" => route.mode = RouteMode::Add,
        "prepend" => route.mode = RouteMode::Prepend,
        "append" => route.mode = RouteMode::Append,
        "or" => {
            reporter.warning(word.span, "`or` is an old spelling").help("write `nexthop via A nexthop via B`");
            let gateway = words.value(word, "an address", reporter, |text| text.parse().ok())?;
            route.hops.push(NextHop { gateway: route.hop.gateway.take(), ..NextHop::default() });
            route.hops.push(NextHop { gateway: Some(gateway), ..NextHop::default() });
        }
        "nexthop" => {
            let mut hop = NextHop::default();
            while let Some(next) = words.peek().filter(|next| *next != "nexthop") {
                let _ = next;
                let Some(option) = words.next() else { break };
                if !hop_option(&mut hop, option, words, reporter)? {
                    return Err(words.unknown(
                        option,
                        &["via", "dev", "weight", "onlink", "encap", "realms"],
                        reporter,
                    ));
                }
            }
            route.hops.push(hop);
        }
        "no_track" => route.track = false,
        "track_group" if is_static => {
            route.track_group = Some(words.value(word, "a name", reporter, |text| Some(text.to_owned()))?);
        }
        "vrf" => route.vrf = Some(words.value(word, "an interface", reporter, |text| Some(text.to_owned()))?),
        kind => match RouteKind::from_name(kind) {
            Some(kind) => route.kind = kind,
            None => return Ok(false),
        },
    }
    Ok(true)
}

fn hop_option(
    hop: &mut NextHop,
    word: &Word<'_>,
    words: &mut Words<'_>,
    reporter: &mut Reporter,
) -> Result<bool, Wrong> {
    match word.text {
        "via" | "gw" => {
            let _ = words.take("inet") || words.take("inet6");
            hop.gateway = Some(words.value(word, "an address", reporter, |text| text.parse().ok())?);
        }
        "dev" | "oif" => hop.device = Some(words.value(word, "an interface", reporter, |text| Some(text.to_owned()))?),
        "weight" => {
            let read = |text: &str| integer(text).filter(|weight| (1..=256).contains(weight));
            let weight = words.value(word, "a number from 1 to 256", reporter, read)?;
            hop.weight = u16::try_from(weight).ok();
        }
        "onlink" => hop.on_link = true,
        "encap" => hop.encapsulation = Some(encapsulation(word, words, reporter)?),
        "realms" => hop.realms = Some(words.value(word, "`[FROM/]TO`", reporter, realms)?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn metric_option(
    metrics: &mut RouteMetrics,
    word: &Word<'_>,
    words: &mut Words<'_>,
    reporter: &mut Reporter,
) -> Result<bool, Wrong> {
    let name = word.text;
    let locks = ["mtu", "advmss", "rtt", "rttvar", "reordering", "cwnd", "ssthresh", "rto_min", "congctl"];
    let locked = locks.contains(&name) && words.take("lock");
    match name {
        "mtu" | "advmss" | "reordering" | "cwnd" | "ssthresh" => {
            let value = Some(Locked { value: words.value(word, "a number", reporter, integer)?, locked });
            match name {
                "mtu" => metrics.mtu = value,
                "advmss" => metrics.advmss = value,
                "reordering" => metrics.reordering = value,
                "cwnd" => metrics.cwnd = value,
                _ => metrics.ssthresh = value,
            }
        }
        "rtt" | "rttvar" | "rto_min" => {
            let value = words.value(word, "a time such as `300ms`, up to 120 s", reporter, time)?;
            let value = Some(Locked { value, locked });
            match name {
                "rtt" => metrics.rtt = value,
                "rttvar" => metrics.rttvar = value,
                _ => metrics.rto_min = value,
            }
        }
        "hoplimit" | "window" | "initcwnd" | "initrwnd" => {
            let value = Some(words.value(word, "a number", reporter, integer)?);
            match name {
                "hoplimit" => metrics.hoplimit = value,
                "window" => metrics.window = value,
                "initcwnd" => metrics.initcwnd = value,
                _ => metrics.initrwnd = value,
            }
        }
        "features" => {
            words.value(word, "`ecn`", reporter, |text| (text == "ecn").then_some(()))?;
            metrics.ecn = true;
        }
        "quickack" | "fastopen_no_cookie" => {
            let read = |text: &str| match text {
                "0" => Some(false),
                "1" => Some(true),
                text => lex::boolean(text),
            };
            let value = Some(words.value(word, "0 or 1", reporter, read)?);
            if name == "quickack" { metrics.quickack = value } else { metrics.fastopen_no_cookie = value }
        }
        "congctl" => {
            let value = words.value(word, "a name", reporter, |text| Some(text.to_owned()))?;
            metrics.congctl = Some(Locked { value, locked });
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn encapsulation(word: &Word<'_>, words: &mut Words<'_>, reporter: &mut Reporter) -> Result<Encapsulation, Wrong> {
    let kinds = |text: &str| ["ip", "ip6", "mpls", "ila"].into_iter().find(|kind| *kind == text);
    match words.value(word, "`ip`, `ip6`, `mpls` or `ila`", reporter, kinds)? {
        "mpls" => {
            let labels = |text: &str| {
                let label = |part: &str| integer(part).filter(|label| *label < 1 << 20);
                text.split('/').map(label).collect::<Option<Vec<u32>>>()
            };
            Ok(Encapsulation::Mpls(words.value(word, "labels, `LABEL[/LABEL…]`", reporter, labels)?))
        }
        "ila" => {
            let locator = |text: &str| {
                let parts = text.split(':').map(|part| u16::from_str_radix(part, 16).ok());
                let parts = parts.collect::<Option<Vec<u16>>>().filter(|parts| parts.len() == 4)?;
                Some(parts.into_iter().fold(0, |locator, part| locator << 16 | u64::from(part)))
            };
            Ok(Encapsulation::Ila(words.value(word, "a locator, `1:2:3:4`", reporter, locator)?))
        }
        kind => outer_header(kind == "ip6", words, reporter),
    }
}

fn outer_header(v6: bool, words: &mut Words<'_>, reporter: &mut Reporter) -> Result<Encapsulation, Wrong> {
    let (mut id, mut destination, mut source) = (None, None, None);
    let (mut ttl, mut tos, mut flags) = (None, None, None);
    let address = |text: &str| text.parse::<IpAddr>().ok().filter(|address| address.is_ipv6() == v6);
    while let Some(name) = words.peek() {
        if !matches!(name, "id" | "dst" | "src" | "ttl" | "hoplimit" | "tos" | "tc" | "flags") {
            break;
        }
        let Some(option) = words.next() else { break };
        match name {
            "id" => {
                let read = |text: &str| u64::try_from(lex::c_integer(text)?).ok();
                id = Some(words.value(option, "a number", reporter, read)?);
            }
            "dst" => destination = Some(words.value(option, "an address", reporter, address)?),
            "src" => source = Some(words.value(option, "an address", reporter, address)?),
            "ttl" | "hoplimit" => {
                let read = |text: &str| u8::try_from(integer(text)?).ok();
                ttl = Some(words.value(option, "a number from 0 to 255", reporter, read)?);
            }
            "tos" | "tc" => tos = Some(words.value(option, "a number or name", reporter, number)?),
            _ => {
                let read = |text: &str| u16::try_from(integer(text)?).ok();
                flags = Some(words.value(option, "a number from 0 to 65535", reporter, read)?);
            }
        }
    }
    Ok(Encapsulation::Ip { v6, id, destination, source, ttl, tos, flags })
}

/// `ADDR[/LEN]`.
pub fn prefix(text: &str) -> Option<Prefix> {
    let (address, length) = lex::address(text)?;
    Some(Prefix { address, length: length.unwrap_or(if address.is_ipv4() { 32 } else { 128 }) })
}

/// A number with C's prefixes.
pub fn integer(text: &str) -> Option<u32> {
    u32::try_from(lex::c_integer(text)?).ok()
}

/// A number, or a name of iproute2's files.
pub fn number(text: &str) -> Option<Number> {
    if text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') {
        return integer(text).map(Number::Is);
    }
    Some(Number::Named(text.to_owned()))
}

/// `[FROM/]TO`.
pub fn realms(text: &str) -> Option<(Option<Number>, Number)> {
    match text.split_once('/') {
        Some((from, to)) => Some((Some(number(from)?), number(to)?)),
        None => Some((None, number(text)?)),
    }
}

/// Up to 120 s with a unit, or a number in the kernel's own units.
fn time(text: &str) -> Option<RouteTime> {
    let seconds = |text: &str, unit: u64| {
        let time = Duration::from_micros(lex::microseconds(text)? / unit);
        (time <= Duration::from_secs(120)).then_some(RouteTime::Is(time))
    };
    if let Some(number) = text.strip_suffix("ms") {
        seconds(number, 1000)
    } else if let Some(number) = text.strip_suffix('s') {
        seconds(number, 1)
    } else {
        integer(text).map(RouteTime::Raw)
    }
}
