//! `virtual_server_group` blocks: addresses, ranges and marks that share real servers.
//!
//! Pure. `ADDR[-N|-ADDR|/MASK] [PORT]`, or `fwmark N [inet|inet6]`, one a line.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

use super::diagnostic::Reporter;
use super::lex;
use super::section::Section;
use super::source::Span;
use super::tree::Node;
use crate::ipvs::config::{GroupConfig, GroupEntry};
use crate::vrrp::types::Family;

/// A group of more addresses than this is a mistake: each is a service of its own.
const MAX_ADDRESSES: u128 = 65_536;

/// Reads all groups of the file; those without a legal line are left out.
pub fn groups(root: &Section<'_>, reporter: &mut Reporter) -> BTreeMap<String, GroupConfig> {
    let mut spans: BTreeMap<&str, Span> = BTreeMap::new();
    let mut groups = BTreeMap::new();
    for (name, span, nodes) in root.named_lines("virtual_server_group") {
        if let Some(first) = spans.get(name.text) {
            let message = format!("there is a `virtual_server_group` `{}` already: this one is left out", name.text);
            reporter.error(span, message).note(*first, "the first one");
            continue;
        }
        spans.insert(name.text, span);
        let entries: Vec<GroupEntry> = nodes.iter().filter_map(|node| entry(node, reporter)).collect();
        if entries.is_empty() {
            let message = format!("`virtual_server_group {}` has no addresses or marks: it is left out", name.text);
            reporter.error(span, message);
            continue;
        }
        groups.insert(name.text.to_string(), GroupConfig { entries });
    }
    groups
}

fn entry(node: &Node<'_>, reporter: &mut Reporter) -> Option<GroupEntry> {
    let first = node.keyword();
    let arguments = node.arguments();
    let (entry, used) = if first.text == "fwmark" { fwmark(node, reporter)? } else { (range(node, reporter)?, 1) };
    if let Some(extra) = arguments.get(used) {
        reporter
            .warning(extra.span, format!("`{}` is ignored", extra.text))
            .help("each address stands on a line of its own, with one port");
    }
    Some(entry)
}

fn fwmark(node: &Node<'_>, reporter: &mut Reporter) -> Option<(GroupEntry, usize)> {
    let arguments = node.arguments();
    let mark = arguments.first().and_then(|word| lex::c_integer(word.text)).and_then(|mark| u32::try_from(mark).ok());
    let Some(mark) = mark.and_then(NonZeroU32::new) else {
        reporter.error(node.span(), "`fwmark` takes a number from 1 to 4294967295: the line is left out");
        return None;
    };
    let family = match arguments.get(1).map(|word| word.text) {
        Some("inet") => Some(Family::V4),
        Some("inet6") => Some(Family::V6),
        _ => None,
    };
    Some((GroupEntry::Fwmark { mark, family }, if family.is_some() { 2 } else { 1 }))
}

fn range(node: &Node<'_>, reporter: &mut Reporter) -> Option<GroupEntry> {
    let word = node.keyword();
    let Some((first, last)) = addresses(word.text) else {
        let shown: String = word.text.chars().take(60).collect();
        let message = format!("`{shown}` is not an address or a range of addresses: the line is left out");
        reporter.error(word.span, message).help("`192.0.2.1`, `192.0.2.1-20`, `192.0.2.0/28` or `fwmark N`");
        return None;
    };
    let count = match (first, last) {
        (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(b.to_bits() - a.to_bits()),
        (IpAddr::V6(a), IpAddr::V6(b)) => b.to_bits() - a.to_bits(),
        _ => 0,
    };
    if count >= MAX_ADDRESSES {
        let message = format!("`{}` is more than {MAX_ADDRESSES} addresses: the line is left out", word.text);
        reporter.error(word.span, message).help("mark such traffic, and balance the mark: `fwmark N`");
        return None;
    }
    let port = match node.arguments().first() {
        None => 0,
        Some(word) => match lex::integer(word.text).and_then(|port| u16::try_from(port).ok()) {
            Some(port) => port,
            None => {
                let message = format!("`{}` is not a port from 1 to 65535: the line is left out", word.text);
                reporter.error(word.span, message);
                return None;
            }
        },
    };
    Some(GroupEntry::Range { first, last, port })
}

/// The first and the last address of `ADDR`, `ADDR-N`, `ADDR-ADDR` or `ADDR/MASK`, in this order.
fn addresses(text: &str) -> Option<(IpAddr, IpAddr)> {
    if let Some((first, last)) = text.split_once('-') {
        let first: IpAddr = first.parse().ok()?;
        let last = last.parse().ok().or_else(|| with_last_part(first, last))?;
        return (first.is_ipv4() == last.is_ipv4() && first <= last).then_some((first, last));
    }
    match lex::address(text)? {
        (address, None) => Some((address, address)),
        (IpAddr::V4(address), Some(length)) => {
            let host = u32::MAX.checked_shr(length.into()).unwrap_or(0);
            let bits = address.to_bits();
            Some((Ipv4Addr::from_bits(bits & !host).into(), Ipv4Addr::from_bits(bits | host).into()))
        }
        (IpAddr::V6(address), Some(length)) => {
            let host = u128::MAX.checked_shr(length.into()).unwrap_or(0);
            let bits = address.to_bits();
            Some((Ipv6Addr::from_bits(bits & !host).into(), Ipv6Addr::from_bits(bits | host).into()))
        }
    }
}

/// `-20` after 192.0.2.1 is 192.0.2.20; `-ff` after 2001:db8::1 is 2001:db8::ff.
fn with_last_part(first: IpAddr, last: &str) -> Option<IpAddr> {
    Some(match first {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Ipv4Addr::new(a, b, c, u8::try_from(lex::integer(last)?).ok()?).into()
        }
        IpAddr::V6(address) => {
            let last = u16::from_str_radix(last, 16).ok().filter(|_| !last.starts_with('+'))?;
            Ipv6Addr::from_bits(address.to_bits() & !0xffff | u128::from(last)).into()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::addresses;

    #[test]
    fn ranges() {
        let both = |a: &str, b: &str| Some((a.parse().expect("literal"), b.parse().expect("literal")));
        let table = [
            ("192.0.2.1", both("192.0.2.1", "192.0.2.1")),
            ("192.0.2.1-20", both("192.0.2.1", "192.0.2.20")),
            ("192.0.2.1-192.0.3.9", both("192.0.2.1", "192.0.3.9")),
            ("192.0.2.5/30", both("192.0.2.4", "192.0.2.7")),
            ("192.0.2.5/32", both("192.0.2.5", "192.0.2.5")),
            ("2001:db8::1-ff", both("2001:db8::1", "2001:db8::ff")),
            ("2001:db8::/126", both("2001:db8::", "2001:db8::3")),
            ("192.0.2.9-3", None),
            ("192.0.2.9-300", None),
            ("192.0.2.9-::1", None),
            ("2001:db8::1-10000", None),
            ("2001:db8::1-+f", None),
            ("192.0.2.9-", None),
            ("-", None),
        ];
        for (text, expected) in table {
            assert_eq!(addresses(text), expected, "{text}");
        }
    }
}
