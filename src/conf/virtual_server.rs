//! `virtual_server` blocks → the balancer's services.
//!
//! Pure. Defaults, and the combinations that keepalived refuses or mends, are settled here; how traffic is sent on is in
//! `forwarding`, real servers and their checkers have files of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use super::checkers::Inherited;
use super::diagnostic::Reporter;
use super::forwarding::{self, Title};
use super::lex;
use super::lvs::BalancerDefaults;
use super::real_server::{self, Parent};
use super::section::Section;
use super::source::Span;
use super::trackers::Trackers;
use super::webhook::{has_webhooks, webhooks};
use crate::ipvs::config::{
    GroupConfig, GroupEntry, PanicAction, ProxyConfig, ProxyProtocol, RealServerConfig, SorryServer,
    VirtualServerConfig, VirtualServerId,
};
use crate::ipvs::shared::Shared;
use crate::ipvs::types::{ForwardMethod, Protocol, SocketKey};
use crate::notify::config::WebhookConfig;
use crate::notify::notice::About;
use crate::vrrp::types::Family;

/// What the rest of the file says that virtual servers need.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// What `global_defs` says for all of them.
    pub defaults: &'a BalancerDefaults,
    /// `track_file` blocks.
    pub trackers: &'a Trackers,
    /// `virtual_server_group` blocks.
    pub groups: &'a BTreeMap<String, GroupConfig>,
    /// The names of `vrrp_instance` blocks.
    pub instances: &'a BTreeSet<&'a str>,
    /// The names of `bfd_instance` blocks.
    pub sessions: &'a BTreeSet<&'a str>,
    /// See [`LoadOptions::known`](super::LoadOptions::known).
    pub known: &'a BTreeMap<VirtualServerId, Shared<VirtualServerConfig>>,
}

/// The virtual servers that have been read.
#[derive(Debug)]
pub struct VirtualServers {
    /// Theirs.
    pub webhooks: BTreeMap<String, WebhookConfig>,
    /// In the order of the file.
    services: Vec<(VirtualServerId, Shared<VirtualServerConfig>)>,
    /// Where each of them is.
    spans: Vec<Span>,
}

impl VirtualServers {
    /// None, with room for some.
    pub fn with_capacity(servers: usize) -> Self {
        let (services, spans) = (Vec::with_capacity(servers), Vec::with_capacity(servers));
        Self { webhooks: BTreeMap::new(), services, spans }
    }

    /// Reads one of them.
    pub fn read(&mut self, section: &Section<'_>, around: &Surroundings<'_>, reporter: &mut Reporter) {
        let Some((id, config)) = virtual_server(section, around, reporter) else { return };
        if has_webhooks(section) {
            let about = About::VirtualServer(id.to_string());
            webhooks(section, Some(&about), &mut self.webhooks, reporter);
        }
        let known = around.known.get(&id).filter(|known| ***known == config);
        self.services.push((id, known.cloned().unwrap_or_else(|| config.into())));
        self.spans.push(section.span);
    }

    /// Their identities in the order of the file.
    pub fn order(&self) -> Vec<VirtualServerId> {
        self.services.iter().map(|(id, ..)| id.clone()).collect()
    }

    /// All of them by identity: of two with the same one the first counts.
    pub fn finish(mut self, reporter: &mut Reporter) -> BTreeMap<VirtualServerId, Shared<VirtualServerConfig>> {
        // Places are sorted, the others keep the order of the file for the messages. Stable, so that the first of the file is the first here.
        let mut places: Vec<usize> = (0..self.services.len()).collect();
        places.sort_by_key(|place| self.services.get(*place).map(|(id, _)| id));
        let mut second = BTreeSet::new();
        let mut kept: Option<(&VirtualServerId, Span)> = None;
        for place in places {
            let (Some((id, _)), Some(span)) = (self.services.get(place), self.spans.get(place)) else { continue };
            match kept {
                Some((other, first)) if other == id => {
                    let message = format!("there is a virtual server {id} already: this one is left out");
                    reporter.error(*span, message).note(first, "the first one");
                    second.insert(place);
                }
                _ => kept = Some((id, *span)),
            }
        }
        if !second.is_empty() {
            let mut place = 0..;
            self.services.retain(|_| place.next().is_none_or(|place| !second.contains(&place)));
        }
        // A map that is made of a whole vector has full nodes.
        self.services.into_iter().collect()
    }
}

/// What the line of a block names.
enum Named<'a> {
    Address(SocketKey),
    Fwmark(NonZeroU32),
    Group(&'a str, &'a GroupConfig),
}

impl Named<'_> {
    /// Packets to addresses have one protocol, marked ones may have any.
    fn has_protocol(&self) -> bool {
        match self {
            Self::Address(_) => true,
            Self::Fwmark(_) => false,
            Self::Group(_, group) => group.entries.iter().any(|entry| matches!(entry, GroupEntry::Range { .. })),
        }
    }

    /// Every port of an address is served: the kernel wants clients to stay with their servers then.
    fn has_all_ports(&self) -> bool {
        match self {
            Self::Address(address) => address.port == 0,
            Self::Fwmark(_) => false,
            Self::Group(_, group) => {
                group.entries.iter().any(|entry| matches!(entry, GroupEntry::Range { port: 0, .. }))
            }
        }
    }

    /// The family, where the line or the group tells it.
    fn family(&self) -> Option<Family> {
        match self {
            Self::Address(address) => Some(address.family()),
            Self::Fwmark(_) => None,
            Self::Group(_, group) => group.entries.iter().find_map(|entry| match entry {
                GroupEntry::Range { first, .. } => Some(Family::of(*first)),
                GroupEntry::Fwmark { family, .. } => *family,
            }),
        }
    }
}

fn named<'a>(
    section: &'a Section<'_>,
    around: &'a Surroundings<'_>,
    title: Title<'_>,
    reporter: &mut Reporter,
) -> Option<Named<'a>> {
    let first = section.words.first()?;
    let second = section.words.get(1);
    let named = match first.text {
        "fwmark" => {
            let mark = second.and_then(|word| lex::c_integer(word.text)).and_then(|mark| u32::try_from(mark).ok());
            let mark = mark.and_then(NonZeroU32::new);
            if mark.is_none() {
                let span = second.map_or(first.span, |word| word.span);
                reporter.error(span, format!("{title} needs a mark from 1 to 4294967295: the block is left out"));
            }
            Named::Fwmark(mark?)
        }
        "group" => {
            let name = second.map_or("", |word| word.text);
            let Some((name, group)) = around.groups.get_key_value(name) else {
                let span = second.map_or(first.span, |word| word.span);
                let message =
                    format!("no `virtual_server_group` is called `{name}`, or it is empty: the block is left out");
                let suggests = reporter.suggests();
                let report = reporter.error(span, message);
                let names = around.groups.keys().map(String::as_str);
                if suggests && let Some(near) = super::schema::nearest(name, names) {
                    report.help(format!("did you mean `{near}`?"));
                }
                return None;
            };
            Named::Group(name, group)
        }
        _ => Named::Address(forwarding::socket(section.words, "virtual server", reporter)?.0),
    };
    if let Some(word) = section.words.get(2) {
        let report = reporter.warning(word.span, format!("`{}` is ignored", word.text));
        if matches!(named, Named::Group(..)) {
            report.help("ports stand beside the addresses of the group");
        }
    }
    Some(named)
}

fn virtual_server(
    section: &Section<'_>,
    around: &Surroundings<'_>,
    reporter: &mut Reporter,
) -> Option<(VirtualServerId, VirtualServerConfig)> {
    let title = Title(section.words);
    let named = named(section, around, title, reporter)?;
    let protocol = forwarding::protocol(section, named.has_protocol(), title, reporter);
    let (scheduler, flags) = forwarding::scheduler(section, title, reporter);
    let method = forwarding::kind(section, title, reporter);
    let persistence = forwarding::persistence(section, named.family(), named.has_all_ports(), title, reporter);
    let said = family(section, &named, reporter);
    let port = match &named {
        Named::Address(address) => Some(address.port),
        _ => None,
    };
    // The families of a group's addresses are its own business.
    let strict = if matches!(named, Named::Group(..)) { None } else { said };
    let inherited = Inherited::default().take(section);
    let parent = Parent { section, title, family: strict, port, method, inherited };
    let real_servers = real_server::real_servers(&parent, around, reporter);
    let sorry_server = sorry_server(section, strict, port.unwrap_or_default(), method, reporter);
    let family = said.or_else(|| {
        let sorry = sorry_server.map(|sorry| sorry.address.family());
        real_servers.first().map(|server| server.address.family()).or(sorry)
    });
    let (quorum, hysteresis) = quorum(section, &real_servers, reporter);
    let config = VirtualServerConfig {
        family: family.unwrap_or(Family::V4),
        protocol,
        scheduler,
        flags,
        method,
        persistence,
        ha_suspend: ha_suspend(section, &named, reporter),
        active_with: active_with(section, around, reporter),
        omega: section.flag("omega"),
        quorum,
        hysteresis,
        quorum_up: section.boxed_script("quorum_up"),
        quorum_down: section.boxed_script("quorum_down"),
        smtp_alert: section.bool("smtp_alert").or(around.defaults.smtp_alert).unwrap_or(false),
        sorry_server,
        real_servers,
        snmp_name: section.word("snmp_name").map(|word| word.text.to_string()),
        panic_threshold: section.int("panic_threshold").unwrap_or(0),
        panic_action: match section.word("panic_action").map(|word| word.text) {
            Some("send_to_all") => PanicAction::SendToAll,
            _ => PanicAction::KeepLast,
        },
        slow_start: section.duration("slow_start").unwrap_or_default(),
        masquerade: masquerade(section, method, reporter),
        proxy: proxy(section),
    };
    Some((identity(named, protocol, config.family), config))
}

fn identity(named: Named<'_>, protocol: Protocol, family: Family) -> VirtualServerId {
    match named {
        Named::Address(address) => VirtualServerId::Address { address, protocol },
        Named::Fwmark(mark) => VirtualServerId::Fwmark { mark, family },
        Named::Group(name, _) => VirtualServerId::Group { name: name.to_owned(), protocol },
    }
}

/// What the block itself says of its family. `ip_family` is for marks, which have none of their own.
fn family(section: &Section<'_>, named: &Named<'_>, reporter: &mut Reporter) -> Option<Family> {
    let own = named.family();
    let Some(word) = section.word("ip_family") else { return own };
    let said = if word.text == "inet6" { Family::V6 } else { Family::V4 };
    if own.is_some_and(|own| own != said) {
        reporter.error(word.span, format!("`ip_family {}` contradicts the address: the line is left out", word.text));
        return own;
    }
    Some(said)
}

fn ha_suspend(section: &Section<'_>, named: &Named<'_>, reporter: &mut Reporter) -> bool {
    let Some(entry) = section.entry("ha_suspend") else { return false };
    let has_address = matches!(named, Named::Address(_));
    if !has_address {
        reporter.warning(entry.span, "`ha_suspend` has no effect without an address that is on this host or is not");
    }
    has_address
}

fn active_with(section: &Section<'_>, around: &Surroundings<'_>, reporter: &mut Reporter) -> Option<String> {
    let word = section.word("vrrp_instance")?;
    if around.instances.contains(word.text) {
        return Some(word.text.to_string());
    }
    let message = format!("no `vrrp_instance` is called `{}`: the virtual server is always active", word.text);
    let report = reporter.error(word.span, message);
    if let Some(near) = super::schema::nearest(word.text, around.instances.iter().copied()) {
        report.help(format!("did you mean `{near}`?"));
    }
    None
}

/// `quorum` and `hysteresis`, kept within what the servers can reach.
fn quorum(section: &Section<'_>, servers: &[RealServerConfig], reporter: &mut Reporter) -> (u32, u32) {
    let total: u64 = servers.iter().map(|server| u64::from(server.weight)).sum();
    let total = u32::try_from(total).unwrap_or(u32::MAX);
    let mut quorum: u32 = section.int("quorum").unwrap_or(1);
    if quorum > total {
        if let Some(entry) = section.entry("quorum") {
            let message = format!("`quorum {quorum}` is more than all weights together: {total} is used");
            reporter.warning(entry.span, message);
        }
        quorum = total;
    }
    let mut hysteresis: u32 = section.int("hysteresis").unwrap_or(0);
    if hysteresis >= quorum && hysteresis > 0 {
        let most = quorum.saturating_sub(1);
        if let Some(entry) = section.entry("hysteresis") {
            let message = format!("`hysteresis {hysteresis}` is not below the quorum, {quorum}: {most} is used");
            reporter.warning(entry.span, message);
        }
        hysteresis = most;
    }
    (quorum, hysteresis)
}

fn sorry_server(
    section: &Section<'_>,
    family: Option<Family>,
    port: u16,
    method: ForwardMethod,
    reporter: &mut Reporter,
) -> Option<SorryServer> {
    let own = section.words("sorry_server_lvs_method");
    let own = own.and_then(|words| forwarding::method("sorry_server_lvs_method", words, reporter));
    let Some(entry) = section.entry("sorry_server") else {
        for keyword in ["sorry_server_inhibit", "sorry_server_lvs_method"] {
            if let Some(entry) = section.entry(keyword) {
                reporter.error(entry.span, format!("`{keyword}` without `sorry_server`: the line is left out"));
            }
        }
        return None;
    };
    let method = own.unwrap_or(method);
    let (mut address, _) = forwarding::socket(section.words("sorry_server")?, "sorry server", reporter)?;
    if !forwarding::families_meet(family, address.family(), method) {
        let message = format!("sorry server `{}` is not of the virtual server's family: it is left out", address.ip);
        reporter.error(entry.span, message);
        return None;
    }
    if forwarding::keeps_port(method) {
        address.port = port;
    }
    Some(SorryServer { address, method, inhibit: section.flag("sorry_server_inhibit") })
}

fn masquerade(section: &Section<'_>, method: ForwardMethod, reporter: &mut Reporter) -> bool {
    let Some(entry) = section.entry("masquerade") else { return false };
    let on = section.bool("masquerade").unwrap_or(false);
    if on && method != ForwardMethod::Nat {
        reporter.warning(entry.span, "`masquerade` is for `lb_kind NAT`: answers do not come through here otherwise");
        return false;
    }
    on
}

fn proxy(section: &Section<'_>) -> ProxyConfig {
    let default = ProxyConfig::default();
    ProxyConfig {
        connect_timeout: section.duration("proxy_connect_timeout").unwrap_or(default.connect_timeout),
        idle_timeout: section.duration("proxy_idle_timeout").unwrap_or(default.idle_timeout),
        udp_timeout: section.duration("proxy_udp_timeout").unwrap_or(default.udp_timeout),
        max_connections: section.int("proxy_max_connections").unwrap_or(default.max_connections),
        drain_timeout: section.duration("proxy_drain_timeout"),
        proxy_protocol: section.word("proxy_protocol").map(|word| match word.text {
            "v1" => ProxyProtocol::V1,
            _ => ProxyProtocol::V2,
        }),
        transparent: section.bool("proxy_transparent").unwrap_or(default.transparent),
        reset_close: section.bool("proxy_reset_close").unwrap_or(default.reset_close),
    }
}
