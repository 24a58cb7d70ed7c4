//! Typed blocks → the lines that would say them.
//!
//! Pure. Most blocks go through their JSON form, so that a setting which a release adds shows up here by itself; the
//! file's word for it, and its value as the file has it, come from the tables below. Passwords are never shown.

use serde::Serialize;
use serde_json::{Map, Value};

use super::notices::notices;
use super::servers;
use super::{Block, Blocks, Lines};
use crate::command::RunAs;
use crate::conf::config::Config;
use crate::conf::not_built::NotBuilt;
use crate::conf::places::service_words;
use crate::ipvs::config::VirtualServerId;
use crate::ipvs::types::Protocol;
use crate::vrrp::config::InstanceConfig;
use crate::vrrp::types::Vrid;

/// A configuration as blocks of lines.
pub(super) fn blocks(config: &Config) -> Blocks {
    // What is not built changes nothing.
    let Config { daemon, vrrp, balancer, scripts, files, processes, notify, not_built, order: _ } = config;
    let _: &NotBuilt = not_built;
    let mut blocks = Blocks::new();
    let mut put = |block: Block, name: &str, prefix: &str, value: Value| {
        let lines = blocks.entry((block, name.to_owned())).or_default();
        flatten(block, prefix, &value, lines);
    };
    put(Block::Globals, "", "", json(daemon));
    put(Block::Globals, "", "vrrp", json(&vrrp.global));
    put(Block::Globals, "", "lvs", json(&balancer.global));
    if !vrrp.static_addresses.is_empty() {
        put(Block::StaticAddress, "", "address", json(&vrrp.static_addresses));
    }
    scripts.iter().for_each(|(name, script)| put(Block::Script, name, "", json(script)));
    files.iter().for_each(|(name, file)| put(Block::File, name, "", json(file)));
    processes.iter().for_each(|(name, process)| put(Block::Process, name, "", json(process)));
    vrrp.groups.iter().for_each(|(name, group)| put(Block::Group, name, "", json(group)));
    vrrp.instances.iter().for_each(|(name, config)| put(Block::Instance, name, "", instance(config)));
    // A group or instance without scripts has no entry there, and one with them has its block.
    notify.groups.iter().for_each(|(name, scripts)| put(Block::Group, name, "notify", json(scripts)));
    notify.instances.iter().for_each(|(name, scripts)| put(Block::Instance, name, "notify", json(scripts)));
    notices(notify, &mut blocks);
    for (name, group) in &balancer.groups {
        blocks.insert((Block::ServerGroup, name.clone()), servers::group(group));
    }
    for (id, server) in &balancer.services {
        blocks.insert((Block::Server, server_name(id)), servers::virtual_server(server));
    }
    blocks
}

/// As the line of a virtual server names it; two of them may differ in their protocol alone.
fn server_name(id: &VirtualServerId) -> String {
    let protocol = match id {
        VirtualServerId::Address { protocol, .. } | VirtualServerId::Group { protocol, .. } => *protocol,
        VirtualServerId::Fwmark { .. } => Protocol::Tcp,
    };
    let words = service_words(id);
    if protocol == Protocol::Tcp { words } else { format!("{words} ({protocol})") }
}

/// What a block says beyond what everyone has who says nothing.
pub(super) fn beyond_defaults(block: Block, lines: &Lines) -> Lines {
    let mut defaults = Lines::new();
    match block {
        Block::Instance => {
            if let Some(vrid) = Vrid::new(1) {
                flatten(block, "", &instance(&InstanceConfig::new("", vrid)), &mut defaults);
                defaults.remove("virtual_router_id");
                defaults.remove("priority");
            }
        }
        Block::Server => defaults = servers::defaults(),
        _ => {}
    }
    let says = |(keyword, value): &(&String, &Vec<String>)| defaults.get(*keyword) != Some(*value);
    lines.iter().filter(says).map(|(keyword, value)| (keyword.clone(), value.clone())).collect()
}

pub(super) fn json<T: Serialize>(value: &T) -> Value {
    // All of these are plain data; what has no JSON form at all shows as nothing rather than as a panic.
    let value = serde_json::to_value(value);
    debug_assert!(value.is_ok(), "{value:?}");
    value.unwrap_or(Value::Null)
}

/// An instance as its block says it: what is one setting here may be one of several keywords there.
fn instance(config: &InstanceConfig) -> Value {
    let Value::Object(mut fields) = json(config) else { return Value::Null };
    // The addresses tell it.
    fields.remove("family");
    for (is, is_not) in [("preempt", "nopreempt"), ("accept", "no_accept"), ("track_primary", "dont_track_primary")] {
        if let Some(Value::Bool(on)) = fields.remove(is) {
            fields.insert(is_not.to_owned(), Value::Bool(!on));
        }
    }
    let unicast = fields.get("transport").is_some_and(|transport| transport.get("Unicast").is_some());
    if let Some(source) = fields.remove("source") {
        fields.insert(if unicast { "unicast_src_ip" } else { "mcast_src_ip" }.to_owned(), source);
    }
    if let Some(Value::Array(tracks)) = fields.remove("tracks") {
        for track in tracks {
            let Some((kind, name)) = track.get("tracker").and_then(Value::as_object).and_then(|t| t.iter().next())
            else {
                continue;
            };
            let keyword = match kind.as_str() {
                "Interface" => "track_interface",
                "Script" => "track_script",
                "File" => "track_file",
                "Process" => "track_process",
                _ => "track_virtual_server",
            };
            let mut rest = track.as_object().cloned().unwrap_or_default();
            rest.remove("tracker");
            let line = format!("{}{}", text(name), options(&rest));
            if let Value::Array(lines) = fields.entry(keyword).or_insert_with(|| Value::Array(Vec::new())) {
                lines.push(Value::String(line));
            }
        }
    }
    Value::Object(fields)
}

fn flatten(block: Block, path: &str, value: &Value, lines: &mut Lines) {
    let mut put = |texts: Vec<String>| drop(lines.insert(keyword(block, path).to_owned(), texts));
    match value {
        _ if is_secret(path) => {
            // Different passwords must differ, and not be readable.
            if let Some(mark) = secret(value) {
                put(vec![mark]);
            }
        }
        Value::Object(fields) if leaf(fields).is_none() && !fields.is_empty() => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}_{name}") };
                flatten(block, &path, value, lines);
            }
        }
        Value::Object(fields) if leaf(fields).is_some_and(|text| text.is_empty()) => {}
        Value::Array(entries) if path.ends_with("cpu_affinity") => {
            if !entries.is_empty() {
                put(vec![text(value)]);
            }
        }
        Value::Array(entries) => {
            let texts: Vec<String> = entries.iter().map(text).collect();
            if !texts.is_empty() {
                put(texts);
            }
        }
        Value::Null | Value::Bool(false) => {}
        // A keyword alone is on.
        Value::Bool(true) => put(vec![String::new()]),
        Value::Number(number) if path == "umask" => {
            put(vec![number.as_u64().map_or_else(|| number.to_string(), |mask| format!("{mask:04o}"))]);
        }
        Value::String(word) => match word_of(path, word) {
            Some(word) => put(vec![word]),
            None => drop(lines.remove(keyword(block, path))),
        },
        value => put(vec![text(value)]),
    }
}

/// The file's word for the name of a choice; `None` where no line says it.
fn word_of(path: &str, name: &str) -> Option<String> {
    match (path, name) {
        ("lvs_flush_on_stop", "No") => None,
        ("lvs_flush_on_stop", "All") | ("reload_file", "Default") => Some(String::new()),
        ("lvs_flush_on_stop", "VirtualServers") => Some("VS".to_owned()),
        ("state", name) => Some(name.to_ascii_uppercase()),
        ("version", name) => Some(name.trim_start_matches('V').to_owned()),
        ("lvs_forwarder" | "pattern_CommandLine_matching", name) => Some(name.to_ascii_lowercase()),
        (_, name) => Some(name.to_owned()),
    }
}

fn is_secret(path: &str) -> bool {
    let last = path.rsplit('_').next().unwrap_or(path);
    matches!(last, "auth" | "password" | "passphrase" | "secret") || path.ends_with("auth_hmac")
}

/// A password is shown as a number that tells two of them apart, no more.
pub(super) fn secret(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) if text == "None" => return None,
        other => other.to_string(),
    };
    // 16 bits of FNV-1a: enough to see a change, far too little to find eight bytes again.
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    Some(format!("******** (#{:04x})", (hash >> 16) ^ (hash & 0xffff)))
}

/// An object that people write as one value.
fn leaf(fields: &Map<String, Value>) -> Option<String> {
    let number = |name: &str| fields.get(name).and_then(Value::as_u64);
    let string = |name: &str| fields.get(name).and_then(Value::as_str);
    let has = |names: &[&str]| names.iter().all(|name| fields.contains_key(*name));
    let without = |names: &[&str]| -> Map<String, Value> {
        let rest = fields.iter().filter(|(name, _)| !names.contains(&name.as_str()));
        rest.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    if let (Some(secs), Some(nanos), 2) = (number("secs"), number("nanos"), fields.len()) {
        return Some(seconds(secs, u32::try_from(nanos).unwrap_or(0)));
    }
    if let (Some(centiseconds), 1) = (number("centiseconds"), fields.len()) {
        return Some(seconds(centiseconds / 100, u32::try_from(centiseconds % 100).unwrap_or(0) * 10_000_000));
    }
    if let (Some(command), true) = (string("text"), has(&["form"])) {
        let user = fields.get("user").filter(|user| !user.is_null()).map(|user| format!(" {}", text(user)));
        return Some(format!("\"{command}\"{}", user.unwrap_or_default()));
    }
    if let (Some(user), true, 3) = (string("user"), has(&["group", "supplementary"]), fields.len()) {
        let supplementary = fields.get("supplementary") == Some(&Value::Bool(true));
        let (user, group) = (user.to_owned(), string("group").map(str::to_owned));
        return Some(RunAs { user, group, supplementary }.to_string());
    }
    if let (Some(address), Some(length)) = (string("address"), number("prefix_len")) {
        return Some(format!("{address}/{length}{}", address_options(without(&["address", "prefix_len"]))));
    }
    if let (Some(address), true) = (string("address"), has(&["min_ttl", "max_ttl"])) {
        return Some(format!("{address}{}", options(&without(&["address"]))));
    }
    if has(&["tcp", "tcpfin", "udp"]) {
        return Some(options(fields).trim_start().to_owned());
    }
    if let (Some(interface), true) = (string("interface"), has(&["instance", "max_length", "ttl"])) {
        let mut rest = without(&["interface"]);
        rename(&mut rest, &[("instance", "inst"), ("max_length", "maxlen")]);
        return Some(format!("{interface}{}", options(&rest)));
    }
    if let (Some(value), true, 2) = (fields.get("value"), has(&["overwrite"]), fields.len()) {
        return Some(format!("{}{}", text(value), options(&without(&["value"]))));
    }
    None
}

/// What follows an address on its line.
fn address_options(mut rest: Map<String, Value>) -> String {
    if let Some(Value::Object(rare)) = rest.remove("options") {
        rest.extend(rare);
    }
    let flags = [
        ("device", "dev"),
        ("broadcast", "brd"),
        ("manage_temporary", "mngtmpaddr"),
        ("no_prefix_route", "noprefixroute"),
        ("preferred_lifetime", "preferred_lft"),
        ("dad", "-nodad"),
    ];
    rename(&mut rest, &flags);
    if let Some(Value::Bool(track)) = rest.remove("track") {
        rest.insert("no_track".to_owned(), Value::Bool(!track));
    }
    options(&rest)
}

fn rename(fields: &mut Map<String, Value>, names: &[(&str, &str)]) {
    for (from, to) in names {
        if let Some(value) = fields.remove(*from) {
            fields.insert((*to).to_owned(), value);
        }
    }
}

fn seconds(secs: u64, nanos: u32) -> String {
    std::time::Duration::new(secs, nanos).as_secs_f64().to_string()
}

/// More words of a line: nothing for what is the default everywhere.
fn options(fields: &Map<String, Value>) -> String {
    fields.iter().filter_map(|(name, value)| option(name, value)).collect()
}

fn option(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some(format!(" {name}")),
        Value::Number(number) if number.as_i64() == Some(0) && name != "weight" => None,
        Value::Array(entries) if entries.is_empty() => None,
        value => Some(format!(" {name} {}", text(value))),
    }
}

/// A value on one line.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(on) => if *on { "on" } else { "off" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(entries) => entries.iter().map(text).collect::<Vec<_>>().join(" "),
        Value::Object(fields) => leaf(fields).unwrap_or_else(|| {
            let part = |(name, value): (&String, &Value)| {
                if is_secret(name) { secret(value).map(|mark| format!("{name} {mark}")) } else { option(name, value) }
            };
            let parts: Vec<String> = fields.iter().filter_map(part).map(|part| part.trim().to_owned()).collect();
            parts.join(" ")
        }),
    }
}

/// The file's word for a setting.
fn keyword(block: Block, path: &str) -> &str {
    match (block, path) {
        (Block::Instance, "vrid") => "virtual_router_id",
        (Block::Instance, "advert_interval") => "advert_int",
        (Block::Instance, "addresses") => "virtual_ipaddress",
        (Block::Instance, "excluded") => "virtual_ipaddress_excluded",
        (Block::Instance, "track_source") => "track_src_ip",
        (Block::Instance, "strict") => "strict_mode",
        (Block::Instance, "auth") => "authentication",
        (Block::Instance, "receive_buffer") => "kernel_rx_buf_size",
        (Block::Instance, "transport_Multicast_group") => "mcast_dst_ip",
        (Block::Instance, "transport_Unicast_peers") => "unicast_peer",
        (Block::Instance, "transport_Unicast_ttl") => "unicast_ttl",
        (Block::Instance, "transport_Unicast_check_source") => "check_unicast_src",
        (Block::Instance, "garp_delay") => "garp_master_delay",
        (Block::Instance, "garp_repeat") => "garp_master_repeat",
        (Block::Instance, "garp_refresh") => "garp_master_refresh",
        (Block::Instance, "garp_refresh_repeat") => "garp_master_refresh_repeat",
        (Block::Instance | Block::Group, "notify_any") => "notify",
        (Block::Group, "members") => "group",
        (Block::Script, "command") => "script",
        (Block::File, "path") => "file",
        (Block::File, "init") => "init_file",
        (Block::Process, "pattern_Name" | "pattern_CommandLine_program") => "process",
        (Block::Process, "pattern_CommandLine_parameters") => "process (parameters)",
        (Block::Process, "pattern_CommandLine_matching") => "param_match",
        (Block::Globals, path) => match path {
            "status_page_listen_Tcp" | "status_page_listen_Unix" => "status_page",
            "status_page_token_file" => "status_page token_file",
            "script_security" => "enable_script_security",
            "supplementary_groups" => "set_supplementary_groups",
            "child_wait" => "child_wait_time",
            "reload_check_log" => "reload_check_config",
            "reload_file_At" => "reload_file",
            "process_buffer" => "process_monitor_rcv_bufs",
            "process_buffer_force" => "process_monitor_rcv_bufs_force",
            "vrrp_filter_table" => "nftables",
            "vrrp_filter_priority" => "nftables_priority",
            "vrrp_filter_counters" => "nftables_counters",
            "vrrp_nice" => "vrrp_priority",
            "vrrp_log_unknown_vrids" => "log_unknown_vrids",
            "vrrp_dynamic_interfaces" => "dynamic_interfaces",
            "lvs_forwarder" => "virtual_server_forwarder",
            "lvs_forwarder_threads" => "forwarder_threads",
            "lvs_rs_init_notifies" => "rs_init_notifies",
            "lvs_no_checker_emails" => "no_checker_emails",
            "lvs_nice" => "checker_priority",
            "lvs_rt_priority" => "checker_rt_priority",
            "lvs_no_swap" => "checker_no_swap",
            "lvs_cpu_affinity" => "checker_cpu_affinity",
            "lvs_rlimit_rttime" => "checker_rlimit_rttime",
            "lvs_ssl_password" => "SSL password",
            "lvs_ssl_ca" => "SSL ca",
            "lvs_ssl_certificate" => "SSL certificate",
            "lvs_ssl_key" => "SSL key",
            "lvs_nftables_table" => "nftables_ipvs",
            "lvs_nftables_priority" => "nftables_ipvs_priority",
            "lvs_nftables_start_fwmark" => "nftables_ipvs_start_fwmark",
            path => path,
        },
        (_, path) => path,
    }
}
