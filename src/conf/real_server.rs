//! `real_server` blocks, with what they take from their virtual server filled in.
//!
//! Pure.

use std::collections::BTreeMap;

use super::checkers::{self, Inherited, Server};
use super::diagnostic::Reporter;
use super::forwarding::{self, Title};
use super::section::Section;
use super::source::Span;
use super::virtual_server::Surroundings;
use crate::ipvs::config::RealServerConfig;
use crate::ipvs::types::{ForwardMethod, SocketKey};
use crate::vrrp::types::Family;

/// The virtual server of some real servers.
pub struct Parent<'a, 's> {
    /// Its block.
    pub section: &'a Section<'s>,
    /// As people call it.
    pub title: Title<'a>,
    /// The family that its real servers must have, where there is one.
    pub family: Option<Family>,
    /// Its port; `None` for marks and groups, which may have several.
    pub port: Option<u16>,
    /// Its forwarding method.
    pub method: ForwardMethod,
    /// What it says for all checkers.
    pub inherited: Inherited,
}

/// All real servers of a virtual server, in the order of the file.
pub fn real_servers(
    parent: &Parent<'_, '_>,
    around: &Surroundings<'_>,
    reporter: &mut Reporter,
) -> Vec<RealServerConfig> {
    let mut spans: BTreeMap<SocketKey, Span> = BTreeMap::new();
    let mut servers = Vec::with_capacity(parent.section.sections("real_server").count());
    for section in parent.section.sections("real_server") {
        let Some(server) = real_server(section, parent, around, reporter) else { continue };
        if let Some(first) = spans.get(&server.address) {
            let message = format!("real server {} is there already: this one is left out", server.address);
            reporter.error(section.span, message).note(*first, "the first one");
            continue;
        }
        spans.insert(server.address, section.span);
        servers.push(server);
    }
    servers
}

fn real_server(
    section: &Section<'_>,
    parent: &Parent<'_, '_>,
    around: &Surroundings<'_>,
    reporter: &mut Reporter,
) -> Option<RealServerConfig> {
    let (mut address, port_given) = forwarding::socket(section.words, "real server", reporter)?;
    let own = section.words("lvs_method").and_then(|words| forwarding::method("lvs_method", words, reporter));
    let method = own.unwrap_or(parent.method);
    if !forwarding::families_meet(parent.family, address.family(), method) {
        let message = format!("real server `{}` is not of the family of {}: it is left out", address.ip, parent.title);
        reporter.error(section.span, message).help("only a tunnel or a proxy takes one family to the other");
        return None;
    }
    // What its checkers connect to: the port that is written, whatever becomes of it.
    let probed = if address.port == 0 { parent.port.unwrap_or(0) } else { address.port };
    match parent.port {
        // All ports: each goes to the same one.
        Some(0) if port_given => {
            let message =
                format!("{} has no port, so its real servers have none: {} is ignored", parent.title, address.port);
            reporter.warning(section.span, message);
            address.port = 0;
        }
        Some(port) if forwarding::keeps_port(method) && address.port != port => {
            let message = if port_given {
                format!("packets keep their port on the way: real server {address} is used with port {port}")
            } else {
                format!("real server `{}` has no port: {port} is used, that of its virtual server", address.ip)
            };
            reporter.warning(section.span, message);
            address.port = port;
        }
        _ => {}
    }
    let virtual_server = parent.section;
    let inhibit = section.bool("inhibit_on_failure").unwrap_or_else(|| virtual_server.flag("inhibit_on_failure"));
    let weight = section.int("weight").or_else(|| virtual_server.int("weight")).unwrap_or(1);
    let (upper_threshold, lower_threshold) = thresholds(section, reporter);
    let alpha = section.bool("alpha").unwrap_or_else(|| virtual_server.flag("alpha"));
    let virtualhost = section.word("virtualhost").or_else(|| virtual_server.word("virtualhost"));
    let server = Server {
        address: SocketKey::new(address.ip, probed),
        weight,
        alpha,
        virtualhost: virtualhost.map(|word| word.text),
        inherited: parent.inherited.take(section),
        misc_timeout: parent.inherited.delay_loop(),
    };
    Some(RealServerConfig {
        address,
        weight,
        method,
        upper_threshold,
        lower_threshold,
        inhibit_on_failure: inhibit,
        alpha,
        notify_up: section.boxed_script("notify_up"),
        notify_down: section.boxed_script("notify_down"),
        smtp_alert: section.bool("smtp_alert").or(around.defaults.smtp_alert).unwrap_or(true),
        snmp_name: section.word("snmp_name").map(|word| word.text.to_string()),
        checkers: checkers::checkers(section, &server, around, reporter),
    })
}

/// The kernel refuses a server whose lower threshold is above its upper one.
fn thresholds(section: &Section<'_>, reporter: &mut Reporter) -> (u32, u32) {
    let upper = section.int("uthreshold").unwrap_or(0);
    let lower = section.int("lthreshold").unwrap_or(0);
    match section.entry("lthreshold") {
        Some(entry) if lower > upper => {
            let message = format!("`lthreshold {lower}` is above `uthreshold {upper}`: the line is left out");
            reporter.error(entry.span, message);
            (upper, 0)
        }
        _ => (upper, lower),
    }
}
