//! `/metrics`: the text exposition format of Prometheus (version 0.0.4).
//!
//! Pure. Our own metrics are called `holdfast_…`, in base units. Beside them stand the names of the two public exporters
//! for keepalived, mehdy/keepalived-exporter and gen2brain/keepalived_exporter, with their labels and types, so that
//! dashboards and alerts made for them go on working without either. Virtual servers of the userspace forwarder are
//! among them, which no exporter that reads the kernel's table can see.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write as _};
use std::net::SocketAddr;

use super::model::{Address, Instance, ProcessState, State, Status, Traffic, VirtualServer};
use crate::vrrp::snapshot::Counters;

/// The Content-Type of the answer.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics.
pub fn render(status: &Status) -> String {
    let mut out = Exposition::default();
    daemon(status, &mut out);
    instances(status, &mut out);
    trackers(status, &mut out);
    virtual_servers(status, &mut out);
    mehdy(status, &mut out);
    gen2brain(status, &mut out);
    out.text
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// The samples of a family follow its head; a family without samples is left out.
#[derive(Default)]
struct Exposition {
    text: String,
    head: Option<String>,
    name: &'static str,
}

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    fn family(&mut self, kind: Kind, name: &'static str, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.head = Some(format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        self.name = name;
    }

    fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.text.push_str(&self.head.take().unwrap_or_default());
        self.text.push_str(self.name);
        let mut separator = '{';
        for (name, value) in labels {
            let _ = write!(self.text, "{separator}{name}=\"");
            escape(value, &mut self.text);
            self.text.push('"');
            separator = ',';
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    fn one(&mut self, kind: Kind, name: &'static str, help: &str, value: impl Display) {
        self.family(kind, name, help);
        self.sample(&[], value);
    }
}

/// Backslash, quote and line feed: the names of instances come from a file, those of peers from the wire.
fn escape(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// Milliseconds as seconds, in decimals that stand for exactly that.
fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

fn daemon(status: &Status, out: &mut Exposition) {
    use Kind::{Counter, Gauge};
    let daemon = &status.daemon;
    out.family(Gauge, "holdfast_build_info", "Which Holdfast this is; always 1.");
    out.sample(&[("version", &daemon.version), ("build", &daemon.build), ("node", &status.node)], 1);
    let started = seconds(daemon.started.millis());
    out.one(Gauge, "holdfast_start_time_seconds", "When the daemon started, in seconds since 1970.", started);
    out.one(
        Gauge,
        "holdfast_maintenance",
        "1 while this node takes no part in elections.",
        u8::from(status.maintenance.on),
    );
    out.family(Counter, "holdfast_reloads_total", "Reloads by their result.");
    out.sample(&[("result", "succeeded")], daemon.reloads.succeeded);
    out.sample(&[("result", "refused")], daemon.reloads.refused);
    out.family(Gauge, "holdfast_process_up", "1 while the process runs and answers.");
    for process in &daemon.processes {
        out.sample(&[("process", &process.name)], u8::from(process.state == ProcessState::Running));
    }
    out.family(Counter, "holdfast_process_restarts_total", "Times that a process died and was started again.");
    for process in &daemon.processes {
        out.sample(&[("process", &process.name)], process.restarts);
    }
    out.one(
        Counter,
        "holdfast_events_lost_total",
        "Events that were lost because a process was too slow.",
        daemon.events_lost,
    );
    out.one(
        Counter,
        "holdfast_log_lines_dropped_total",
        "Log lines that were dropped because a reader was too slow.",
        daemon.log_lines_dropped,
    );
    let told = &daemon.notifications;
    out.family(Counter, "holdfast_notifications_total", "Notifications by what became of them.");
    for (result, count) in [("delivered", told.delivered), ("failed", told.failed), ("dropped", told.dropped)] {
        out.sample(&[("result", result)], count);
    }
    out.one(Gauge, "holdfast_notifications_waiting", "Notifications that wait to be delivered.", told.waiting);
    out.one(Counter, "holdfast_page_panics_total", "Panics in the status page.", daemon.page_panics);
    out.one(
        Counter,
        "holdfast_unknown_vrid_adverts_total",
        "Adverts for a VRID that no instance here has.",
        status.unknown_vrid,
    );
}

/// keepalived's numbers; ours have -1 for a state that nobody knows.
fn number(state: State) -> i8 {
    match state {
        State::Unknown => -1,
        State::Init => 0,
        State::Backup => 1,
        State::Master => 2,
        State::Fault => 3,
        State::Deleted => 97,
        State::Stop => 98,
    }
}

/// The refusals and flaws of adverts by kind.
fn flaws(c: &Counters) -> [(&'static str, u64); 13] {
    [
        ("length", c.packet_len_err),
        ("interval", c.advert_interval_err),
        ("ttl", c.ip_ttl_err),
        ("type", c.invalid_type_rcvd),
        ("addresses", c.addr_list_err),
        ("auth_type", c.invalid_authtype),
        ("auth_mismatch", c.authtype_mismatch),
        ("auth_failure", c.auth_failure),
        ("version", c.version_err),
        ("checksum", c.checksum_err),
        ("source", c.source_err),
        ("owner", c.ignored_by_owner),
        ("own", c.own_advert),
    ]
}

fn instances(status: &Status, out: &mut Exposition) {
    use Kind::{Counter, Gauge};
    let all = &status.instances;
    out.family(Gauge, "holdfast_instance_info", "The instances as they are configured; always 1.");
    for i in all {
        let (vrid, version) = (i.vrid.to_string(), i.version.to_string());
        let labels = [
            ("instance", i.name.as_str()),
            ("interface", interface(i)),
            ("vrid", &vrid),
            ("version", &version),
            ("family", &i.family),
            ("sync_group", i.sync_group.as_deref().unwrap_or_default()),
        ];
        out.sample(&labels, 1);
    }
    out.family(Gauge, "holdfast_instance_state", "1 for the state that the instance is in, 0 for the others.");
    for i in all {
        for state in [State::Init, State::Backup, State::Master, State::Fault] {
            out.sample(&[("instance", &i.name), ("state", &state.to_string())], u8::from(i.state == state));
        }
    }
    let mut gauge = |name, help, value: &dyn Fn(&Instance) -> Option<String>| {
        out.family(Gauge, name, help);
        for i in all {
            if let Some(value) = value(i) {
                out.sample(&[("instance", &i.name)], value);
            }
        }
    };
    gauge("holdfast_instance_priority_base", "The configured priority.", &|i| Some(i.priority.base.to_string()));
    gauge("holdfast_instance_priority_effective", "The priority after trackers.", &|i| {
        Some(i.priority.effective.to_string())
    });
    gauge("holdfast_instance_last_transition_seconds", "When it came into its state, in seconds since 1970.", &|i| {
        i.since.map(|since| seconds(since.millis()))
    });
    gauge("holdfast_instance_advert_interval_seconds", "The configured time between two adverts.", &|i| {
        Some(seconds(i.advert_interval_ms))
    });
    gauge("holdfast_instance_handing_over", "1 while it keeps addresses for a successor.", &|i| {
        Some(u8::from(i.handing_over).to_string())
    });
    gauge("holdfast_instance_peers", "Other routers of its VRID that have been heard.", &|i| {
        Some(i.peers.len().to_string())
    });
    gauge("holdfast_instance_master_priority", "The priority of the master that it hears, as backup.", &|i| {
        i.master.as_ref().map(|master| master.priority.to_string())
    });
    out.family(Gauge, "holdfast_dual_master", "1 while another router is master of the same addresses.");
    for i in all {
        out.sample(&[("instance", &i.name)], u8::from(i.dual_master.is_some()));
    }
    out.family(Counter, "holdfast_dual_masters_total", "Times that this began.");
    for i in all {
        out.sample(&[("instance", &i.name)], i.dual_masters);
    }
    out.family(Counter, "holdfast_transitions_total", "Changes of state by where to and why.");
    for i in all {
        for t in &i.transitions {
            out.sample(&[("instance", &i.name), ("to", &t.to.to_string()), ("cause", &t.cause)], t.count);
        }
    }
    let mut counter = |name, help, value: &dyn Fn(&Instance) -> String| {
        out.family(Counter, name, help);
        for i in all {
            out.sample(&[("instance", &i.name)], value(i));
        }
    };
    counter("holdfast_adverts_received_total", "Adverts heard.", &|i| i.counters.advert_rcvd.to_string());
    counter("holdfast_adverts_sent_total", "Adverts sent.", &|i| i.counters.advert_sent.to_string());
    counter("holdfast_resignations_received_total", "Adverts of priority 0 heard.", &|i| {
        i.counters.pri_zero_rcvd.to_string()
    });
    counter("holdfast_resignations_sent_total", "Adverts of priority 0 sent.", &|i| {
        i.counters.pri_zero_sent.to_string()
    });
    counter("holdfast_announcements_total", "Gratuitous ARPs and unsolicited NAs asked for.", &|i| {
        i.counters.announcements.to_string()
    });
    counter("holdfast_addresses_restored_total", "Addresses that somebody else removed.", &|i| {
        i.counters.address_lost.to_string()
    });
    counter("holdfast_timers_late_total", "Timers that fired more than an advert interval late.", &|i| {
        i.counters.timer_late.to_string()
    });
    counter("holdfast_timers_late_seconds_total", "By how much these were late in all.", &|i| {
        seconds(i.timers_late_ms)
    });
    out.family(Counter, "holdfast_advert_errors_total", "Adverts with a flaw, by its kind.");
    for i in all {
        for (kind, count) in flaws(&i.counters) {
            out.sample(&[("instance", &i.name), ("kind", kind)], count);
        }
    }
}

fn interface(instance: &Instance) -> &str {
    instance.interface.as_deref().unwrap_or_default()
}

fn trackers(status: &Status, out: &mut Exposition) {
    out.family(Kind::Gauge, "holdfast_tracker_up", "1 while what is tracked is healthy.");
    for t in status.trackers.iter().filter(|t| ["up", "down", "unknown"].contains(&t.status.as_str())) {
        out.sample(&[("kind", &t.kind), ("name", &t.name)], u8::from(t.status == "up"));
    }
    out.family(Kind::Gauge, "holdfast_tracker_value", "The number in a tracked file.");
    for t in &status.trackers {
        if let Ok(value) = t.status.parse::<i64>() {
            out.sample(&[("kind", &t.kind), ("name", &t.name)], value);
        }
    }
}

fn virtual_servers(status: &Status, out: &mut Exposition) {
    use Kind::Gauge;
    let all = &status.virtual_servers;
    let mut gauge = |name, help, value: &dyn Fn(&VirtualServer) -> Option<u64>| {
        out.family(Gauge, name, help);
        for v in all {
            if let Some(value) = value(v) {
                out.sample(&[("virtual_server", &v.id), ("protocol", &v.protocol)], value);
            }
        }
    };
    gauge("holdfast_virtual_server_up", "1 while it has its quorum.", &|v| v.has_quorum.map(u64::from));
    gauge("holdfast_virtual_server_active", "1 while it is in the data plane.", &|v| v.active.map(u64::from));
    gauge("holdfast_virtual_server_quorum", "The quorum in force.", &|v| Some(u64::from(v.quorum)));
    gauge("holdfast_virtual_server_live_weight", "What the quorum is judged by.", &|v| v.live_weight);
    gauge("holdfast_virtual_server_sorry", "1 while the sorry server serves.", &|v| {
        v.sorry_server.as_ref().map(|_| u64::from(v.sorry_server_serves))
    });
    gauge("holdfast_virtual_server_real_servers", "Real servers that are configured.", &|v| {
        u64::try_from(v.real_servers.len()).ok()
    });
    gauge("holdfast_virtual_server_real_servers_up", "Real servers that are fit to serve.", &|v| {
        u64::try_from(v.real_servers.iter().filter(|r| r.up == Some(true)).count()).ok()
    });
    out.family(Gauge, "holdfast_real_server_up", "1 while it is fit to serve.");
    for (v, r) in pairs(all) {
        if let Some(up) = r.up {
            out.sample(&[("virtual_server", &v.id), ("real_server", &r.address)], u8::from(up));
        }
    }
    out.family(Gauge, "holdfast_real_server_weight", "What the data plane has as its weight.");
    for (v, r) in pairs(all) {
        if let Some(weight) = r.table_weight {
            out.sample(&[("virtual_server", &v.id), ("real_server", &r.address)], weight);
        }
    }
    out.family(Gauge, "holdfast_check_up", "1 while the checker is content.");
    for (v, r) in pairs(all) {
        for (place, check) in r.checks.iter().enumerate() {
            let place = place.to_string();
            let labels = [
                ("virtual_server", v.id.as_str()),
                ("real_server", &r.address),
                ("check", &check.kind),
                ("place", &place),
            ];
            out.sample(&labels, u8::from(check.up));
        }
    }
    for (kind, names, help, value) in TRAFFIC {
        let [of_server, of_real] = names;
        out.family(kind, of_server, help);
        for v in all {
            if let Some(traffic) = &v.traffic {
                out.sample(&[("virtual_server", &v.id), ("protocol", &v.protocol)], value(traffic));
            }
        }
        out.family(kind, of_real, help);
        for (v, r) in pairs(all) {
            if let Some(traffic) = &r.traffic {
                out.sample(&[("virtual_server", &v.id), ("real_server", &r.address)], value(traffic));
            }
        }
    }
}

type Row = (Kind, [&'static str; 2], &'static str, fn(&Traffic) -> u64);

#[rustfmt::skip] // A table.
const TRAFFIC: [Row; 6] = [
    (Kind::Counter, ["holdfast_virtual_server_connections_total", "holdfast_real_server_connections_total"],
        "Connections, or flows of UDP.", |t| t.connections),
    (Kind::Gauge, ["holdfast_virtual_server_connections_active", "holdfast_real_server_connections_active"],
        "Connections at this moment.", |t| t.active),
    (Kind::Counter, ["holdfast_virtual_server_received_bytes_total", "holdfast_real_server_received_bytes_total"],
        "Bytes from clients.", |t| t.in_bytes),
    (Kind::Counter, ["holdfast_virtual_server_sent_bytes_total", "holdfast_real_server_sent_bytes_total"],
        "Bytes to clients.", |t| t.out_bytes),
    (Kind::Counter, ["holdfast_virtual_server_received_packets_total", "holdfast_real_server_received_packets_total"],
        "Packets from clients.", |t| t.in_packets),
    (Kind::Counter, ["holdfast_virtual_server_sent_packets_total", "holdfast_real_server_sent_packets_total"],
        "Packets to clients.", |t| t.out_packets),
];

fn pairs(all: &[VirtualServer]) -> impl Iterator<Item = (&VirtualServer, &super::model::RealServer)> {
    all.iter().flat_map(|v| v.real_servers.iter().map(move |r| (v, r)))
}

type Counted = (&'static str, &'static str, fn(&Counters) -> u64);

/// keepalived's counters under the names of one exporter and the other.
#[rustfmt::skip] // A table.
const COUNTED: [Counted; 14] = [
    ("keepalived_advertisements_received_total", "keepalived_vrrp_advert_rcvd", |c| c.advert_rcvd),
    ("keepalived_advertisements_sent_total", "keepalived_vrrp_advert_sent", |c| c.advert_sent),
    ("keepalived_become_master_total", "keepalived_vrrp_become_master", |c| c.become_master),
    ("keepalived_release_master_total", "keepalived_vrrp_release_master", |c| c.release_master),
    ("keepalived_packet_length_errors_total", "keepalived_vrrp_packet_len_err", |c| c.packet_len_err),
    ("keepalived_advertisements_interval_errors_total", "keepalived_vrrp_advert_interval_err", |c| c.advert_interval_err),
    ("keepalived_ip_ttl_errors_total", "keepalived_vrrp_ip_ttl_err", |c| c.ip_ttl_err),
    ("keepalived_invalid_type_received_total", "keepalived_vrrp_invalid_type_rcvd", |c| c.invalid_type_rcvd),
    ("keepalived_address_list_errors_total", "keepalived_vrrp_addr_list_err", |c| c.addr_list_err),
    ("keepalived_authentication_invalid_total", "keepalived_vrrp_invalid_authtype", |c| c.invalid_authtype),
    ("keepalived_authentication_mismatch_total", "keepalived_vrrp_authtype_mismatch", |c| c.authtype_mismatch),
    ("keepalived_authentication_failure_total", "keepalived_vrrp_auth_failure", |c| c.auth_failure),
    ("keepalived_priority_zero_received_total", "keepalived_vrrp_pri_zero_rcvd", |c| c.pri_zero_rcvd),
    ("keepalived_priority_zero_sent_total", "keepalived_vrrp_pri_zero_sent", |c| c.pri_zero_sent),
];

/// The names of mehdy/keepalived-exporter.
fn mehdy(status: &Status, out: &mut Exposition) {
    out.one(Kind::Gauge, "keepalived_up", "1 while keepalived runs.", 1);
    for (name, excluded) in [("keepalived_vrrp_state", false), ("keepalived_vrrp_excluded_state", true)] {
        out.family(Kind::Gauge, name, "State of an address: 0 init, 1 backup, 2 master, 3 fault.");
        for i in &status.instances {
            let vrid = i.vrid.to_string();
            // An address may be on two lines; a series may not.
            let addresses = i.addresses.iter().filter(|a| a.excluded == excluded);
            let shown: BTreeSet<_> =
                addresses.map(|a| (a.interface.as_deref().unwrap_or(interface(i)), bare(a))).collect();
            for (on, address) in shown {
                let labels = [("iname", i.name.as_str()), ("intf", on), ("vrid", &vrid), ("ip_address", address)];
                out.sample(&labels, number(i.state));
            }
        }
    }
    // That exporter runs a check of its own for each address. Here the checks of its instance are asked.
    let name = "keepalived_exporter_check_script_status";
    out.family(Kind::Gauge, name, "1 while all scripts that the address's instance tracks are good.");
    for i in &status.instances {
        let scripts: Vec<_> = i.priority.trackers.iter().filter(|t| t.tracker.starts_with("script ")).collect();
        if scripts.is_empty() {
            continue;
        }
        let good = scripts.iter().all(|t| t.status == "up");
        let vrid = i.vrid.to_string();
        let addresses = i.addresses.iter().filter(|a| !a.excluded);
        let shown: BTreeSet<_> = addresses.map(|a| (a.interface.as_deref().unwrap_or(interface(i)), bare(a))).collect();
        for (on, address) in shown {
            let labels = [("iname", i.name.as_str()), ("intf", on), ("vrid", &vrid), ("ip_address", address)];
            out.sample(&labels, u8::from(good));
        }
    }
    for (name, _, count) in COUNTED {
        out.family(Kind::Counter, name, "A counter of keepalived, under this name in keepalived-exporter.");
        for i in &status.instances {
            let labels = [("iname", i.name.as_str()), ("intf", interface(i)), ("vrid", &i.vrid.to_string())];
            out.sample(&labels, count(&i.counters));
        }
    }
    // A counter there too, although it is a setting.
    out.family(Kind::Counter, "keepalived_gratuitous_arp_delay_total", "The delay of the second burst, in seconds.");
    for i in &status.instances {
        let labels = [("iname", i.name.as_str()), ("intf", interface(i)), ("vrid", &i.vrid.to_string())];
        out.sample(&labels, i.garp_delay_ms / 1000);
    }
    let scripts = || status.trackers.iter().filter(|t| t.kind == "script");
    out.family(Kind::Gauge, "keepalived_script_status", "1 while a vrrp_script is good, 0 while it is bad.");
    for t in scripts() {
        out.sample(&[("name", &t.name)], u8::from(t.status == "up"));
    }
    out.family(Kind::Gauge, "keepalived_script_state", "1 while a vrrp_script runs, 0 while it is idle.");
    for t in scripts() {
        out.sample(&[("name", &t.name)], u8::from(t.running == Some(true)));
    }
}

/// keepalived leaves out the length of a host's address.
fn bare(address: &Address) -> &str {
    let text = address.address.as_str();
    let whole = if text.contains(':') { "/128" } else { "/32" };
    text.strip_suffix(whole).unwrap_or(text)
}

/// The names of gen2brain/keepalived_exporter.
fn gen2brain(status: &Status, out: &mut Exposition) {
    for (_, name, count) in COUNTED {
        out.family(Kind::Counter, name, "A counter of keepalived, under this name in keepalived_exporter.");
        for i in &status.instances {
            let (vrid, state) = (i.vrid.to_string(), number(i.state).to_string());
            let labels = [("name", i.name.as_str()), ("intf", interface(i)), ("vrid", &vrid), ("state", &state)];
            out.sample(&labels, count(&i.counters));
        }
    }
    let of_servers = sums(status.virtual_servers.iter().flat_map(|v| {
        // Of a group only the sum over its services is known: it stands under the first.
        let service = v.services.first().map_or(v.id.as_str(), |service| service.split(' ').next().unwrap_or(service));
        v.traffic.map(|traffic| ((service, v.protocol.as_str()), traffic))
    }));
    let of_reals =
        sums(pairs(&status.virtual_servers).flat_map(|(v, r)| Some(((&*r.address, &*v.protocol), r.traffic?))));
    for (name, of, kind, value) in LVS {
        out.family(kind, name, "Traffic of a virtual server, under this name in keepalived_exporter.");
        for ((address, protocol), traffic) in if of { &of_reals } else { &of_servers } {
            out.sample(&[("addr", host(address).as_str()), ("proto", &protocol.to_uppercase())], value(traffic));
        }
    }
}

type Lvs = (&'static str, bool, Kind, fn(&Traffic) -> u64);

#[rustfmt::skip] // A table.
const LVS: [Lvs; 10] = [
    ("keepalived_lvs_vip_in_packets", false, Kind::Counter, |t| t.in_packets),
    ("keepalived_lvs_vip_out_packets", false, Kind::Counter, |t| t.out_packets),
    ("keepalived_lvs_vip_in_bytes", false, Kind::Counter, |t| t.in_bytes),
    ("keepalived_lvs_vip_out_bytes", false, Kind::Counter, |t| t.out_bytes),
    ("keepalived_lvs_vip_conn", false, Kind::Counter, |t| t.connections),
    ("keepalived_lvs_rs_in_packets", true, Kind::Counter, |t| t.in_packets),
    ("keepalived_lvs_rs_out_packets", true, Kind::Counter, |t| t.out_packets),
    ("keepalived_lvs_rs_in_bytes", true, Kind::Counter, |t| t.in_bytes),
    ("keepalived_lvs_rs_out_bytes", true, Kind::Counter, |t| t.out_bytes),
    ("keepalived_lvs_rs_conn", true, Kind::Counter, |t| t.connections),
];

/// One sum for each pair of labels: a real server of two virtual servers is one series.
fn sums<'a>(all: impl Iterator<Item = ((&'a str, &'a str), Traffic)>) -> BTreeMap<(&'a str, &'a str), Traffic> {
    let mut sums: BTreeMap<_, Traffic> = BTreeMap::new();
    for (key, traffic) in all {
        let sum = sums.entry(key).or_default();
        sum.connections += traffic.connections;
        sum.active += traffic.active;
        sum.inactive += traffic.inactive;
        sum.in_packets += traffic.in_packets;
        sum.out_packets += traffic.out_packets;
        sum.in_bytes += traffic.in_bytes;
        sum.out_bytes += traffic.out_bytes;
    }
    sums
}

/// Address and port as that exporter joins them: `192.0.2.1:80`, without brackets.
fn host(address: &str) -> String {
    address.parse::<SocketAddr>().map_or_else(|_| address.to_owned(), |a| format!("{}:{}", a.ip(), a.port()))
}

#[cfg(test)]
mod tests;
