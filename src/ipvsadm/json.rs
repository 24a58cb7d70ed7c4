//! What `-L` shows, as JSON (`--json`, ours): numbers in full, names never looked up.
//!
//! Pure.

use serde_json::{Value, json};

use super::connections::Connection;
use super::list::{flags, forward};
use super::source::Entry;
use crate::ipvs::dataplane::Counters;
use crate::ipvs::genl::destination::{method, tunnel};
use crate::ipvs::genl::service::{Netmask, flag};
use crate::ipvs::genl::{Daemon, Info, KernelDestination, Timeouts};
use crate::ipvs::types::ServiceKey;
use crate::vrrp::types::Family;

/// The services; `info` is `None` where there is no kernel IPVS.
pub fn services(entries: &[Entry], info: Option<Info>) -> String {
    let mut root = json!({ "services": entries.iter().map(service).collect::<Vec<_>>() });
    if let (Some(info), Some(root)) = (info, root.as_object_mut()) {
        let [_, major, minor, patch] = info.version.to_be_bytes();
        root.insert("ipvs_version".to_owned(), json!(format!("{major}.{minor}.{patch}")));
        root.insert("connection_table_size".to_owned(), json!(info.table_size));
    }
    text(&root)
}

fn service(entry: &Entry) -> Value {
    let service = &entry.service;
    let mut value = match service.key {
        ServiceKey::Address { protocol, address } => {
            json!({ "protocol": protocol.to_string(), "address": address.ip, "port": address.port })
        }
        ServiceKey::Fwmark { family, mark } => {
            json!({ "fwmark": mark, "family": if family == Family::V4 { "inet" } else { "inet6" } })
        }
    };
    let flags = flags(service, ",");
    let persistence = service.has(flag::PERSISTENT).then(|| {
        let granularity = match service.netmask {
            Netmask::V4(mask) => json!(mask),
            Netmask::V6(length) => json!(length),
        };
        json!({ "timeout": service.timeout, "granularity": granularity, "engine": service.engine })
    });
    if let Some(map) = value.as_object_mut() {
        map.insert("data_plane".to_owned(), json!(if entry.proxied() { "userspace" } else { "kernel" }));
        map.insert("configured_in".to_owned(), json!(entry.configured_in));
        map.insert("scheduler".to_owned(), json!(service.scheduler));
        map.insert("flags".to_owned(), json!(flags.split(',').filter(|flag| !flag.is_empty()).collect::<Vec<_>>()));
        map.insert("one_packet".to_owned(), json!(service.has(flag::ONE_PACKET)));
        map.insert("persistence".to_owned(), json!(persistence));
        map.insert("counters".to_owned(), counters(service.stats));
        let servers = entry.destinations.iter().map(|to| server(to, entry.proxied()));
        map.insert("real_servers".to_owned(), servers.collect());
    }
    value
}

fn server(to: &KernelDestination, proxied: bool) -> Value {
    let tunnel = (to.method == method::TUNNEL).then(|| {
        let sum = match to.tunnel_flags {
            0 => "none",
            tunnel::CHECKSUM => "checksum",
            _ => "remote",
        };
        match to.tunnel_type {
            tunnel::GUE => json!({ "type": "gue", "port": to.tunnel_port, "checksum": sum }),
            tunnel::GRE => json!({ "type": "gre", "checksum": sum }),
            _ => json!({ "type": "ipip" }),
        }
    });
    json!({
        "address": to.address.ip,
        "port": to.address.port,
        "method": if proxied { "proxy".to_owned() } else { forward(to.method).to_lowercase() },
        "tunnel": tunnel,
        "weight": to.weight,
        "upper_threshold": to.upper_threshold,
        "lower_threshold": to.lower_threshold,
        "active_connections": to.active,
        "inactive_connections": to.inactive,
        "persistent_connections": to.persistent,
        "counters": counters(to.stats),
    })
}

fn counters(counters: Counters) -> Value {
    serde_json::to_value(counters).unwrap_or_default()
}

/// The connections.
pub fn connections(connections: &[Connection]) -> String {
    let connection = |connection: &Connection| {
        let place = |(address, port)| json!({ "address": address, "port": port });
        json!({
            "protocol": connection.protocol.to_lowercase(),
            "state": connection.state,
            "expires": connection.expires,
            "client": place(connection.client),
            "service": place(connection.service),
            "real_server": place(connection.destination),
            "engine": connection.engine.as_ref().map(|(name, _)| name),
            "engine_data": connection.engine.as_ref().map(|(_, data)| data),
        })
    };
    text(&json!({ "connections": connections.iter().map(connection).collect::<Vec<_>>() }))
}

/// The timeouts in seconds.
pub fn timeouts(timeouts: Timeouts) -> String {
    text(&json!({ "timeouts": { "tcp": timeouts.tcp, "tcp_fin": timeouts.tcp_fin, "udp": timeouts.udp } }))
}

/// The synchronisation daemons.
pub fn daemons(daemons: &[Daemon]) -> String {
    let daemon = |daemon: &Daemon| {
        json!({
            "state": daemon.state.name(),
            "interface": daemon.interface,
            "sync_id": daemon.sync_id,
            "max_length": daemon.max_length,
            "group": daemon.group,
            "port": daemon.port,
            "ttl": daemon.ttl,
        })
    };
    text(&json!({ "daemons": daemons.iter().map(daemon).collect::<Vec<_>>() }))
}

fn text(value: &Value) -> String {
    format!("{value:#}\n")
}
