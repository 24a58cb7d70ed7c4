//! Address lines: `virtual_ipaddress`, `virtual_ipaddress_excluded`, `static_ipaddress`.
//!
//! Pure. `ADDR[/LEN] [option …]`, options in any order.

use std::net::{IpAddr, Ipv4Addr};

use super::diagnostic::Reporter;
use super::lex;
use super::parse;
use super::tree::{Node, Word};
use crate::vrrp::config::AddressConfig;

/// Options of an address line, for "expected one of".
pub(super) const OPTIONS: [&str; 15] = [
    "dev",
    "scope",
    "broadcast",
    "brd",
    "label",
    "peer",
    "home",
    "-nodad",
    "mngtmpaddr",
    "noprefixroute",
    "autojoin",
    "preferred_lft",
    "use_vmac",
    "no_track",
    "track_group",
];

/// An address whose prefix length means nothing where it stands: keepalived takes the address and says nothing.
pub fn without_length(word: &Word, reporter: &mut Reporter) -> Option<IpAddr> {
    let (address, length) = lex::address(word.text)?;
    length?;
    let message = format!("the prefix length of `{}` is ignored", word.text);
    reporter.warning(word.span, message).help("write the address alone");
    Some(address)
}

/// One line; `None` when it is reported and left out.
pub fn address(node: &Node<'_>, reporter: &mut Reporter) -> Option<AddressConfig> {
    let first = node.keyword();
    let Some((address, length)) = lex::address(first.text) else {
        let shown: String = first.text.chars().take(60).collect();
        let report = reporter.error(first.span, format!("`{shown}` is not an IP address: the line is left out"));
        if let Some(name) = first
            .text
            .strip_prefix('$')
            .filter(|rest| !rest.starts_with('{'))
            .and_then(|rest| rest.split(['/', '.', ':']).next())
        {
            report.help(format!("`${name}` counts only before a blank or the end of the line: write `${{{name}}}`"));
        } else if super::schema::VRRP_INSTANCE.find(first.text).is_some() {
            report.help(format!("`{}` is a keyword of `vrrp_instance`: is a `}}` missing above?", first.text));
        } else if OPTIONS.contains(&first.text) {
            report.help("an option stands after its address, on the same line");
        } else {
            report.help("write `ADDR[/LEN]`, for example `192.0.2.1/24 dev eth0`");
        }
        return None;
    };
    let mut config = AddressConfig::new(address);
    if let Some(length) = length {
        config.prefix_len = length;
    }
    if config.prefix_len != 128 {
        config.preferred_lifetime = None;
    }
    let mut words = node.arguments().iter();
    while let Some(word) = words.next() {
        match option(&mut config, word, &mut words, reporter) {
            Outcome::Fine => {}
            Outcome::RestLost => break,
            Outcome::LineLost => return None,
        }
    }
    Some(config)
}

enum Outcome {
    Fine,
    RestLost,
    LineLost,
}

fn option<'a>(
    config: &mut AddressConfig,
    word: &Word<'_>,
    words: &mut impl Iterator<Item = &'a Word<'a>>,
    reporter: &mut Reporter,
) -> Outcome {
    let name = word.text;
    let v4 = config.address.is_ipv4();
    let mut argument = || -> Option<&'a Word<'a>> {
        let argument = words.next();
        if argument.is_none() {
            reporter.error(word.span, format!("`{name}` needs a value"));
        }
        argument
    };
    match name {
        "dev" => match argument() {
            Some(device) => config.options.device = Some(device.text.to_string()),
            None => return Outcome::RestLost,
        },
        "scope" => {
            let Some(argument) = argument() else { return Outcome::RestLost };
            match scope(argument.text) {
                Some(_) if !v4 => drop(reporter.warning(word.span, "`scope` is ignored: it is for IPv4 addresses")),
                Some(scope) => config.scope = scope,
                None => {
                    let message = format!("`{}` is not a scope", argument.text);
                    reporter
                        .error(argument.span, message)
                        .help("`global`, `site`, `link`, `host`, `nowhere` or 0 to 255");
                }
            }
        }
        "broadcast" | "brd" => {
            let Some(argument) = argument() else { return Outcome::RestLost };
            match broadcast(config, argument.text) {
                _ if !v4 => drop(reporter.warning(word.span, format!("`{name}` is ignored: it is for IPv4 addresses"))),
                Some(address) => config.options.broadcast = Some(address),
                None => {
                    let message = format!("`{}` is not a broadcast address", argument.text);
                    reporter.error(argument.span, message).help("an IPv4 address, `+` or `-`");
                }
            }
        }
        "label" => {
            let Some(argument) = argument() else { return Outcome::RestLost };
            if argument.text.len() > 15 {
                let message = format!("the label `{}` is longer than 15 bytes: the address is left out", argument.text);
                reporter.error(argument.span, message);
                return Outcome::LineLost;
            }
            config.options.label = Some(argument.text.to_string());
        }
        "peer" => {
            let Some(argument) = argument() else { return Outcome::RestLost };
            match argument.text.parse::<IpAddr>() {
                Ok(peer) if peer.is_ipv4() == v4 => config.options.peer = Some(peer),
                _ => drop(reporter.error(argument.span, format!("`{}` is not an address for `peer`", argument.text))),
            }
        }
        "preferred_lft" => {
            let Some(argument) = argument() else { return Outcome::RestLost };
            let seconds = lex::integer(argument.text).and_then(|seconds| u32::try_from(seconds).ok());
            match (argument.text, seconds) {
                ("forever", _) => config.preferred_lifetime = None,
                (_, Some(seconds)) => config.preferred_lifetime = Some(seconds),
                _ => drop(reporter.error(argument.span, "`preferred_lft` takes seconds or `forever`")),
            }
        }
        "home" | "mngtmpaddr" | "-nodad" if v4 => {
            reporter.warning(word.span, format!("`{name}` is ignored: it is for IPv6 addresses"));
        }
        "home" => config.home = true,
        "mngtmpaddr" => config.manage_temporary = true,
        "-nodad" => config.dad = true,
        "noprefixroute" => config.no_prefix_route = true,
        "autojoin" => config.autojoin = true,
        "no_track" => config.track = false,
        "use_vmac" => {
            let message = "`use_vmac` of an address is not built yet: it would have the interface's own MAC address";
            reporter.fatal(word.span, message);
        }
        "track_group" => {
            if argument().is_some() {
                let message = "`track_group` is not built yet: the address is put back when its interface returns, and no instance follows it";
                reporter.warning(word.span, message);
            }
        }
        _ => return unknown(word, reporter),
    }
    Outcome::Fine
}

fn unknown(word: &Word<'_>, reporter: &mut Reporter) -> Outcome {
    let shown: String = word.text.chars().take(60).collect();
    let report =
        reporter.error(word.span, format!("`{shown}` is not an option of an address: the rest of the line is lost"));
    if lex::address(word.text).is_some() {
        report.code("second-address").help("each address stands on a line of its own");
    } else if let Some(near) = super::schema::nearest(word.text, OPTIONS.into_iter()) {
        report.help(format!("did you mean `{near}`?"));
    } else {
        report.help(format!("expected one of {}", parse::list(OPTIONS.into_iter())));
    }
    Outcome::RestLost
}

fn scope(text: &str) -> Option<u8> {
    Some(match text {
        "global" => 0,
        "site" => 200,
        "link" => 253,
        "host" => 254,
        "nowhere" => 255,
        number => u8::try_from(lex::c_integer(number)?).ok()?,
    })
}

fn broadcast(config: &AddressConfig, text: &str) -> Option<Ipv4Addr> {
    let IpAddr::V4(address) = config.address else { return None };
    let host = u32::MAX.checked_shr(u32::from(config.prefix_len)).unwrap_or(0);
    match text {
        "+" => Some(Ipv4Addr::from_bits(address.to_bits() | host)),
        "-" => Some(Ipv4Addr::from_bits(address.to_bits() & !host)),
        text => text.parse().ok(),
    }
}
