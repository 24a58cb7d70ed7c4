//! What is not carried out of a `vrrp_instance`.
//!
//! Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{
    HmacConfig, HmacKey, HmacMode, InstanceNotBuilt, IpvlanMode, OwnInterface, SessionConfig, bfd, garp_extra, settings,
};
use crate::conf::diagnostic::Reporter;
use crate::conf::lex;
use crate::conf::routes::{prefix, route};
use crate::conf::rules::rule;
use crate::conf::section::{Section, Value};
use crate::conf::tree::Word;

/// Reads one instance.
pub fn instance(
    section: &Section<'_>,
    sessions: &BTreeMap<String, SessionConfig>,
    reporter: &mut Reporter,
) -> InstanceNotBuilt {
    let mut settings = settings(section);
    for typed in ["use_vmac", "use_ipvlan"] {
        settings.remove(typed);
    }
    garp_extra(section, "garp_extra_if", reporter);
    if let Some(word) = section.words("old_unicast_checksum").and_then(|words| words.first())
        && word.text != "never"
    {
        reporter.error(word.span, format!("`old_unicast_checksum` takes `never` or nothing, not `{}`", word.text));
    }
    let vmac = section.words("use_vmac").and_then(|words| vmac(words, reporter));
    InstanceNotBuilt {
        settings,
        interface: vmac.or_else(|| section.words("use_ipvlan").and_then(|words| ipvlan(words, reporter))),
        hmac: section.sections("auth_hmac").last().and_then(|section| hmac(section, reporter)),
        sessions: bfd::tracked(section, sessions, reporter),
        routes: section.lines("virtual_routes").filter_map(|node| route(node, false, reporter)).collect(),
        rules: section.lines("virtual_rules").filter_map(|node| rule(node, false, reporter)).collect(),
    }
}

/// `[[name] IFNAME] [MAC] [netlink_notify_msg] [group N]`.
fn vmac(all: &[Word<'_>], reporter: &mut Reporter) -> Option<OwnInterface> {
    let (mut name, mut mac, mut notify, mut group) = (None, None, false, None);
    let mut words = all.iter();
    while let Some(word) = words.next() {
        match word.text {
            "name" => name = words.next().map(|word| word.text.to_string()),
            "group" => group = words.next().map(|word| word.text.to_string()),
            "netlink_notify_msg" => notify = true,
            text => match hardware_address(text) {
                Some(bytes) => mac = Some(bytes),
                None if name.is_none() => name = Some(text.to_owned()),
                None => {
                    reporter.error(word.span, format!("`{text}` is not an option of `use_vmac`"));
                    return None;
                }
            },
        }
    }
    check_name(name.as_deref(), all, reporter);
    Some(OwnInterface::Vmac { name, mac, notify, group })
}

/// `[[name] IFNAME] [ADDR[/LEN]] [bridge|private|vepa] [group N]`.
fn ipvlan(all: &[Word<'_>], reporter: &mut Reporter) -> Option<OwnInterface> {
    let (mut name, mut address, mut mode, mut group) = (None, None, IpvlanMode::default(), None);
    let mut words = all.iter();
    while let Some(word) = words.next() {
        match word.text {
            "name" => name = words.next().map(|word| word.text.to_string()),
            "group" => group = words.next().map(|word| word.text.to_string()),
            "bridge" => mode = IpvlanMode::Bridge,
            "private" => mode = IpvlanMode::Private,
            "vepa" => mode = IpvlanMode::Vepa,
            text => match prefix(text) {
                Some(found) => address = Some(found),
                None if name.is_none() => name = Some(text.to_owned()),
                None => {
                    reporter.error(word.span, format!("`{text}` is not an option of `use_ipvlan`"));
                    return None;
                }
            },
        }
    }
    check_name(name.as_deref(), all, reporter);
    Some(OwnInterface::Ipvlan { name, address, mode, group })
}

/// The kernel keeps 15 bytes of a name.
fn check_name(name: Option<&str>, words: &[Word<'_>], reporter: &mut Reporter) {
    if let (Some(name), Some(word)) = (name.filter(|name| name.len() > 15), words.first()) {
        reporter.error(word.span, format!("`{name}` is too long for an interface: 15 bytes"));
    }
}

/// Six bytes, or five before the VRID; not multicast.
fn hardware_address(text: &str) -> Option<Vec<u8>> {
    let parts = text.split(':').map(|part| (part.len() <= 2).then(|| u8::from_str_radix(part, 16).ok()).flatten());
    let bytes = parts.collect::<Option<Vec<u8>>>()?;
    let legal = matches!(bytes.len(), 5 | 6) && bytes.first().is_some_and(|first| first & 1 == 0);
    legal.then_some(bytes)
}

fn hmac(section: &Section<'_>, reporter: &mut Reporter) -> Option<HmacConfig> {
    let mut keys = BTreeMap::new();
    for entry in section.entries("key") {
        let Value::Words([id, value]) = entry.value else { continue };
        let number = lex::integer(id.text).and_then(|id| u8::try_from(id).ok()).filter(|id| *id > 0);
        match (number, key(value.text)) {
            (Some(id), Some(key)) if !keys.contains_key(&id) => drop(keys.insert(id, key)),
            (Some(_), Some(_)) => {
                reporter.error(entry.span, format!("there is a key {} already: this one is left out", id.text));
            }
            (None, _) => drop(reporter.error(id.span, "the id of a key is a number from 1 to 255")),
            (_, None) => {
                reporter
                    .error(value.span, "a key has 32 to 64 bytes: this one is left out")
                    .help("text, `hex:DIGITS` or `file:PATH`");
            }
        }
    }
    let active: u8 = section.int("active_key").unwrap_or(0);
    if !keys.contains_key(&active) {
        let message = "`active_key` names no key of this block: adverts would go out unsigned";
        reporter.error(section.span, message).help("`key ID VALUE`, then `active_key ID`");
        return None;
    }
    Some(HmacConfig {
        keys,
        active,
        window: section.duration("time_window").unwrap_or(Duration::from_secs(5)),
        monotonic: section.word("anti_replay").is_some_and(|word| word.text == "monotonic"),
        mode: match section.word("mode").map(|word| word.text) {
            Some("permissive") => HmacMode::Permissive,
            Some("receive-only") => HmacMode::ReceiveOnly,
            _ => HmacMode::Enforce,
        },
    })
}

/// Text, `hex:DIGITS` or `file:PATH`.
fn key(text: &str) -> Option<HmacKey> {
    if let Some(path) = text.strip_prefix("file:") {
        return (!path.is_empty()).then(|| HmacKey::File(PathBuf::from(path)));
    }
    let bytes = match text.strip_prefix("hex:") {
        Some(digits) => {
            let pairs = digits.as_bytes().chunks(2);
            let byte = |pair: &[u8]| {
                let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2 && !pair.starts_with('+'))?;
                u8::from_str_radix(pair, 16).ok()
            };
            pairs.map(byte).collect::<Option<Vec<u8>>>()?
        }
        None => text.as_bytes().to_vec(),
    };
    (32..=64).contains(&bytes.len()).then_some(HmacKey::Bytes(bytes))
}
