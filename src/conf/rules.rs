//! Rule lines: `virtual_rules`, `static_rules`.
//!
//! Pure. `[inet|inet6] selector… action`; a line that is wrong somewhere is left out.

use super::diagnostic::Reporter;
use super::routes::{Words, Wrong, integer, number, prefix, realms};
use super::tree::{Node, Word};
use crate::vrrp::routes::{Prefix, RuleAction, RuleConfig};
use crate::vrrp::types::Family;

/// For "did you mean".
pub(super) const OPTIONS: &[&str] = &[
    "from",
    "to",
    "not",
    "dev",
    "iif",
    "oif",
    "tos",
    "dsfield",
    "fwmark",
    "realms",
    "uidrange",
    "l3mdev",
    "tunnel-id",
    "ipproto",
    "sport",
    "dport",
    "protocol",
    "preference",
    "order",
    "priority",
    "suppress_prefixlength",
    "sup_pl",
    "suppress_ifgroup",
    "sup_group",
    "no_track",
    "track_group",
    "table",
    "lookup",
    "goto",
    "nop",
    "blackhole",
    "unreachable",
    "prohibit",
];

/// One line; `None` when it is reported and left out.
pub fn rule(node: &Node<'_>, is_static: bool, reporter: &mut Reporter) -> Option<RuleConfig> {
    read(node, is_static, reporter).ok()
}

fn read(node: &Node<'_>, is_static: bool, reporter: &mut Reporter) -> Result<RuleConfig, Wrong> {
    let mut words = Words::new(node, "rule");
    let mut rule = RuleConfig {
        family: None,
        inverted: false,
        from: None,
        to: None,
        input: None,
        output: None,
        tos: None,
        mark: None,
        realms: None,
        users: None,
        l3mdev: false,
        tunnel: None,
        ip_protocol: None,
        source_ports: None,
        destination_ports: None,
        protocol: None,
        preference: None,
        suppress_prefix_length: None,
        suppress_group: None,
        action: RuleAction::Nop,
        track: true,
        track_group: None,
    };
    let mut action = None;
    while let Some(word) = words.next() {
        let found = match verdict(word, &mut words, reporter)? {
            Some(found) => found,
            None => {
                option(&mut rule, word, &mut words, is_static, reporter)?;
                continue;
            }
        };
        if action.is_some() {
            reporter.error(word.span, "the rule has two actions: the line is left out");
            return Err(Wrong);
        }
        action = Some(found);
    }
    let Some(action) = action else {
        let message = "the rule does nothing: the line is left out";
        reporter.error(node.span(), message).help("end it with `table NAME`, `goto N`, `blackhole`, …");
        return Err(Wrong);
    };
    let addresses = [rule.from, rule.to].into_iter().flatten().map(|prefix| Family::of(prefix.address));
    for its in addresses {
        if *rule.family.get_or_insert(its) != its {
            reporter.error(node.span(), "the rule has addresses of two families: the line is left out");
            return Err(Wrong);
        }
    }
    if rule.preference.is_none() {
        reporter
            .warning(node.span(), "the rule has no `preference`: numbers below 16384 are given")
            .help("rules are tried in the order of their preferences: say which");
    }
    Ok(RuleConfig { action, ..rule })
}

fn verdict(word: &Word<'_>, words: &mut Words<'_>, reporter: &mut Reporter) -> Result<Option<RuleAction>, Wrong> {
    let word = if word.text == "type" { words.next().unwrap_or(word) } else { word };
    Ok(Some(match word.text {
        "table" | "lookup" => RuleAction::Table(words.value(word, "a number or name", reporter, number)?),
        "goto" => RuleAction::Goto(words.value(word, "a preference", reporter, integer)?),
        "nop" => RuleAction::Nop,
        "blackhole" => RuleAction::Blackhole,
        "unreachable" => RuleAction::Unreachable,
        "prohibit" => RuleAction::Prohibit,
        _ => return Ok(None),
    }))
}

fn option(
    rule: &mut RuleConfig,
    word: &Word<'_>,
    words: &mut Words<'_>,
    is_static: bool,
    reporter: &mut Reporter,
) -> Result<(), Wrong> {
    let text = |text: &str| Some(text.to_owned());
    match word.text {
        "inet" => rule.family = Some(Family::V4),
        "inet6" => rule.family = Some(Family::V6),
        "not" => rule.inverted = true,
        "from" => rule.from = words.value(word, "a prefix or `all`", reporter, selector)?,
        "to" => rule.to = words.value(word, "a prefix or `all`", reporter, selector)?,
        "dev" | "iif" => rule.input = Some(words.value(word, "an interface", reporter, text)?),
        "oif" => rule.output = Some(words.value(word, "an interface", reporter, text)?),
        "tos" | "dsfield" => rule.tos = Some(words.value(word, "a number or name", reporter, number)?),
        "fwmark" => rule.mark = Some(words.value(word, "`N[/MASK]`", reporter, mark)?),
        "realms" => rule.realms = Some(words.value(word, "`[FROM/]TO`", reporter, realms)?),
        "uidrange" => rule.users = Some(words.value(word, "a range such as `0-999`", reporter, range)?),
        "l3mdev" => rule.l3mdev = true,
        "tunnel-id" => rule.tunnel = Some(words.value(word, "a number", reporter, integer)?.into()),
        "ipproto" => rule.ip_protocol = Some(words.value(word, "a number or name", reporter, number)?),
        "sport" => rule.source_ports = Some(words.value(word, "a range such as `80-90`", reporter, ports)?),
        "dport" => rule.destination_ports = Some(words.value(word, "a range such as `80-90`", reporter, ports)?),
        "protocol" => rule.protocol = Some(words.value(word, "a number or name", reporter, number)?),
        "preference" | "order" | "priority" => {
            rule.preference = Some(words.value(word, "a number", reporter, integer)?);
        }
        "suppress_prefixlength" | "sup_pl" => {
            let read = |text: &str| u8::try_from(integer(text)?).ok().filter(|length| *length <= 128);
            rule.suppress_prefix_length = Some(words.value(word, "a prefix length", reporter, read)?);
        }
        "suppress_ifgroup" | "sup_group" => {
            rule.suppress_group = Some(words.value(word, "a number or name", reporter, number)?);
        }
        "no_track" => rule.track = false,
        "track_group" if is_static => rule.track_group = Some(words.value(word, "a name", reporter, text)?),
        "ip_proto" => {
            reporter.error(word.span, "`ip_proto` is not known: the rule is left out").help("write `ipproto`");
            return Err(Wrong);
        }
        _ => return Err(words.unknown(word, OPTIONS, reporter)),
    }
    Ok(())
}

/// `all` matches everything, like nothing.
fn selector(text: &str) -> Option<Option<Prefix>> {
    if matches!(text, "all" | "any" | "default") { Some(None) } else { prefix(text).map(Some) }
}

fn mark(text: &str) -> Option<(u32, Option<u32>)> {
    match text.split_once('/') {
        Some((mark, mask)) => Some((integer(mark)?, Some(integer(mask)?))),
        None => Some((integer(text)?, None)),
    }
}

fn range(text: &str) -> Option<(u32, u32)> {
    let (first, last) = text.split_once('-')?;
    Some((integer(first)?, integer(last)?)).filter(|(first, last)| first <= last)
}

fn ports(text: &str) -> Option<(u16, u16)> {
    let (first, last) = range(text)?;
    Some((u16::try_from(first).ok()?, u16::try_from(last).ok()?))
}
