//! Virtual servers and their groups → the lines that would say them. A real server is one line, with its checkers.
//!
//! Pure. Every setting is named, so that a new one does not compile before it has its word here.

use std::fmt::{Display, Write};
use std::time::Duration;

use super::Lines;
use crate::checkers::config::{
    CheckerConfig, DnsProbe, FileProbe, HttpProbe, HttpVersion, MiscProbe, Probe, Schedule, SmtpProbe, Sni, Target,
    TlsConfig, UdpProbe, UrlConfig,
};
use crate::command::{Command, RunAs};
use crate::ipvs::config::{
    GroupConfig, GroupEntry, PanicAction, Persistence, ProxyConfig, ProxyProtocol, RealServerConfig, SorryServer,
    VirtualServerConfig,
};
use crate::ipvs::types::{ForwardMethod, Scheduler, SocketKey, Tunnel, TunnelChecksum};
use crate::vrrp::types::Family;

/// The lines of a `virtual_server_group`.
pub(super) fn group(config: &GroupConfig) -> Lines {
    let entry = |entry: &GroupEntry| match entry {
        GroupEntry::Range { first, last, port } if first == last => format!("{first}{}", port_word(*port)),
        GroupEntry::Range { first, last, port } => format!("{first}-{last}{}", port_word(*port)),
        GroupEntry::Fwmark { mark, family } => {
            format!(
                "fwmark {mark}{}",
                family.map_or("", |family| if family == Family::V6 { " inet6" } else { " inet" })
            )
        }
    };
    let mut lines = Lines::new();
    lines.insert("addresses".to_owned(), config.entries.iter().map(entry).collect());
    lines
}

/// The lines of a `virtual_server`.
pub(super) fn virtual_server(config: &VirtualServerConfig) -> Lines {
    let VirtualServerConfig {
        family,
        protocol,
        scheduler,
        flags,
        method,
        persistence,
        ha_suspend,
        active_with,
        omega,
        quorum,
        hysteresis,
        quorum_up,
        quorum_down,
        smtp_alert,
        sorry_server,
        real_servers,
        snmp_name,
        panic_threshold,
        panic_action,
        slow_start,
        masquerade,
        proxy,
    } = config;
    let ProxyConfig {
        connect_timeout,
        idle_timeout,
        udp_timeout,
        max_connections,
        drain_timeout,
        proxy_protocol,
        transparent,
        reset_close,
    } = proxy;
    let mut lines = Lines::new();
    let mut put = |keyword: &str, value: String| drop(lines.insert(keyword.to_owned(), vec![value]));
    put("ip_family", if *family == Family::V6 { "inet6" } else { "inet" }.to_owned());
    put("protocol", protocol.to_string().to_ascii_uppercase());
    put("lb_algo", scheduler.to_string());
    put("lb_kind", method_words(*method));
    put("quorum", quorum.to_string());
    put("hysteresis", hysteresis.to_string());
    put("panic_threshold", panic_threshold.to_string());
    put("panic_action", if *panic_action == PanicAction::SendToAll { "send_to_all" } else { "keep_last" }.to_owned());
    put("slow_start", seconds(*slow_start));
    put("proxy_connect_timeout", seconds(*connect_timeout));
    put("proxy_idle_timeout", seconds(*idle_timeout));
    put("proxy_udp_timeout", seconds(*udp_timeout));
    put("proxy_max_connections", max_connections.to_string());
    let (first, second) = match scheduler {
        Scheduler::Sh => ("sh-fallback", "sh-port"),
        Scheduler::Mh => ("mh-fallback", "mh-port"),
        _ => ("flag-1", "flag-2"),
    };
    let on = [
        ("hashed", flags.hashed),
        ("ops", flags.one_packet),
        (first, flags.flag1),
        (second, flags.flag2),
        ("flag-3", flags.flag3),
        ("ha_suspend", *ha_suspend),
        ("omega", *omega),
        ("smtp_alert", *smtp_alert),
        ("masquerade", *masquerade),
        ("proxy_transparent", *transparent),
        ("proxy_reset_close", *reset_close),
    ];
    on.into_iter().filter(|(_, on)| *on).for_each(|(keyword, _)| put(keyword, String::new()));
    if let Some(Persistence { timeout, granularity, engine }) = persistence {
        put("persistence_timeout", timeout.to_string());
        put("persistence_granularity", format!("/{granularity}"));
        engine.iter().for_each(|engine| put("persistence_engine", engine.clone()));
    }
    if let Some(SorryServer { address, method: own, inhibit }) = sorry_server {
        put("sorry_server", socket(*address));
        if own != method {
            put("sorry_server_lvs_method", method_words(*own));
        }
        if *inhibit {
            put("sorry_server_inhibit", String::new());
        }
    }
    active_with.iter().for_each(|name| put("vrrp_instance", name.clone()));
    quorum_up.iter().for_each(|script| put("quorum_up", command(script)));
    quorum_down.iter().for_each(|script| put("quorum_down", command(script)));
    snmp_name.iter().for_each(|name| put("snmp_name", name.clone()));
    drain_timeout.iter().for_each(|timeout| put("proxy_drain_timeout", seconds(*timeout)));
    proxy_protocol.iter().for_each(|version| {
        put("proxy_protocol", if *version == ProxyProtocol::V1 { "v1" } else { "v2" }.to_owned());
    });
    if !real_servers.is_empty() {
        lines.insert("real_server".to_owned(), real_servers.iter().map(|real| real_server(real, config)).collect());
    }
    lines
}

/// What a virtual server says that says nothing.
pub(super) fn defaults() -> Lines {
    let defaults = [
        ("ip_family", "inet"),
        ("quorum", "1"),
        ("hysteresis", "0"),
        ("panic_threshold", "0"),
        ("panic_action", "keep_last"),
        ("slow_start", "0"),
        ("proxy_max_connections", "0"),
    ];
    let mut lines: Lines = defaults.map(|(keyword, value)| (keyword.to_owned(), vec![value.to_owned()])).into();
    let proxy = ProxyConfig::default();
    for (keyword, time) in [
        ("proxy_connect_timeout", proxy.connect_timeout),
        ("proxy_idle_timeout", proxy.idle_timeout),
        ("proxy_udp_timeout", proxy.udp_timeout),
    ] {
        lines.insert(keyword.to_owned(), vec![seconds(time)]);
    }
    lines
}

fn real_server(config: &RealServerConfig, parent: &VirtualServerConfig) -> String {
    let RealServerConfig {
        address,
        weight,
        method,
        upper_threshold,
        lower_threshold,
        inhibit_on_failure,
        alpha,
        notify_up,
        notify_down,
        smtp_alert,
        snmp_name,
        checkers,
    } = config;
    let mut line = format!("{} weight {weight}", socket(*address));
    if *method != parent.method {
        say(&mut line, "lvs_method", &method_words(*method));
    }
    for (keyword, limit) in [("uthreshold", upper_threshold), ("lthreshold", lower_threshold)] {
        if *limit > 0 {
            say(&mut line, keyword, limit);
        }
    }
    flag(&mut line, "inhibit_on_failure", *inhibit_on_failure);
    flag(&mut line, "alpha", *alpha);
    for (keyword, script) in [("notify_up", notify_up), ("notify_down", notify_down)] {
        if let Some(script) = script {
            say(&mut line, keyword, &command(script));
        }
    }
    if !smtp_alert {
        say(&mut line, "smtp_alert", &"off");
    }
    maybe(&mut line, "snmp_name", snmp_name.as_ref());
    for one in checkers {
        line.push_str(&checker(one, *address));
    }
    line
}

fn checker(config: &CheckerConfig, server: SocketKey) -> String {
    let CheckerConfig { schedule, alpha, log_all_failures, probe } = config;
    let Schedule { delay_loop, retry, delay_before_retry, warmup, rise, max_latency } = schedule;
    let (name, mut line) = asked(probe, server);
    say(&mut line, "delay_loop", &seconds(*delay_loop));
    say(&mut line, "retry", retry);
    say(&mut line, "delay_before_retry", &seconds(*delay_before_retry));
    if warmup != delay_loop {
        say(&mut line, "warmup", &seconds(*warmup));
    }
    if *rise != 1 {
        say(&mut line, "rise", rise);
    }
    maybe(&mut line, "max_latency", max_latency.map(seconds).as_ref());
    flag(&mut line, "alpha", *alpha);
    flag(&mut line, "log_all_failures", *log_all_failures);
    format!(" {name} {{{line} }}")
}

/// The name of a checker of a server, and what it asks.
fn asked(probe: &Probe, server: SocketKey) -> (&'static str, String) {
    match probe {
        Probe::Tcp(to) => ("TCP_CHECK", target(to, server)),
        Probe::Ping(to) => ("PING_CHECK", target(to, server)),
        Probe::Http(probe) => http(probe, server),
        Probe::Smtp(SmtpProbe { targets, helo_name }) => {
            let mut line: String = targets.iter().map(|to| target(to, server)).collect();
            say(&mut line, "helo_name", helo_name);
            ("SMTP_CHECK", line)
        }
        Probe::Dns(probe) => {
            let DnsProbe { target: to, record_type, name } = &**probe;
            ("DNS_CHECK", format!("{} type {record_type} name {name}", target(to, server)))
        }
        Probe::Udp(probe) => ("UDP_CHECK", udp(probe, server)),
        Probe::Misc(probe) => {
            let MiscProbe { command: script, timeout, dynamic, real_weight: _ } = &**probe;
            let mut line = format!(" misc_path {} misc_timeout {}", command(script), seconds(*timeout));
            flag(&mut line, "misc_dynamic", *dynamic);
            ("MISC_CHECK", line)
        }
        Probe::File(FileProbe { file, weight, reverse }) => {
            let mut line = format!(" track_file {file} weight {weight}");
            flag(&mut line, "reverse", *reverse);
            ("FILE_CHECK", line)
        }
        Probe::Bfd(name) => ("BFD_CHECK", format!(" name {name}")),
    }
}

/// Where a checker connects to, where that is not its server.
fn target(config: &Target, server: SocketKey) -> String {
    let Target { address, bind_to, bind_port, bind_interface, connect_timeout, fwmark } = config;
    let mut line = String::new();
    if address.ip != server.ip {
        say(&mut line, "connect_ip", &address.ip);
    }
    if address.port != server.port {
        say(&mut line, "connect_port", &address.port);
    }
    maybe(&mut line, "bindto", bind_to.as_ref());
    maybe(&mut line, "bind_port", bind_port.as_ref());
    maybe(&mut line, "bind_if", bind_interface.as_ref());
    say(&mut line, "connect_timeout", &seconds(*connect_timeout));
    if *fwmark != 0 {
        say(&mut line, "fwmark", fwmark);
    }
    line
}

fn udp(probe: &UdpProbe, server: SocketKey) -> String {
    let UdpProbe { target: to, payload, require_reply, reply, min_reply_length, max_reply_length } = probe;
    let mut line = target(to, server);
    if let Some(payload) = payload {
        say(&mut line, "payload", &payload.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }
    if *require_reply {
        let digit =
            |value: u8, mask: u8| if mask == 0 { 'X' } else { char::from_digit(value.into(), 16).unwrap_or('X') };
        let byte = |(value, mask): &(u8, u8)| [digit(value >> 4, mask >> 4), digit(value & 15, mask & 15)];
        let bytes: String = reply.iter().flat_map(byte).collect();
        say(&mut line, "require_reply", &bytes);
        say(&mut line, "min_reply_length", min_reply_length);
        say(&mut line, "max_reply_length", max_reply_length);
    }
    line.trim_end().to_owned()
}

fn http(probe: &HttpProbe, server: SocketKey) -> (&'static str, String) {
    let HttpProbe { target: to, version, tls, fast_recovery, urls } = probe;
    let mut line = target(to, server);
    match version {
        HttpVersion::V10 => {}
        HttpVersion::V10Close => say(&mut line, "http_protocol", &"1.0C"),
        HttpVersion::V11 => say(&mut line, "http_protocol", &"1.1"),
    }
    if let Some(TlsConfig { sni, compliant_close, verify, ca }) = tls.as_deref() {
        flag(&mut line, "enable_sni", sni.is_some());
        if let Some(Sni::Name(name)) = sni {
            say(&mut line, "sni_name", name);
        }
        flag(&mut line, "tls_compliant", *compliant_close);
        flag(&mut line, "tls_verify", *verify);
        maybe(&mut line, "tls_ca", ca.as_ref().map(|path| path.display()).as_ref());
    }
    flag(&mut line, "fast_recovery", *fast_recovery);
    urls.iter().for_each(|page| line.push_str(&url(page)));
    (if tls.is_some() { "SSL_GET" } else { "HTTP_GET" }, line)
}

fn url(page: &UrlConfig) -> String {
    let UrlConfig {
        path,
        virtualhost,
        digest,
        status,
        regex,
        method,
        headers,
        body,
        expect_headers,
        expect_body,
        expect_json,
        compliant_close,
    } = page;
    let mut line = format!(" path {path}");
    maybe(&mut line, "virtualhost", virtualhost.as_ref());
    if let Some(digest) = digest {
        say(&mut line, "digest", &digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }
    let codes: Vec<String> = status
        .iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    say(&mut line, "status_code", &codes.join(" "));
    if let Some(regex) = regex {
        say(&mut line, "regex", &format!("\"{}\"", regex.pattern));
        flag(&mut line, "regex_no_match", regex.no_match);
        if !regex.options.is_empty() {
            say(&mut line, "regex_options", &regex.options.join(" "));
        }
        maybe(&mut line, "regex_min_offset", regex.min_offset.as_ref());
        maybe(&mut line, "regex_max_offset", regex.max_offset.as_ref());
        maybe(&mut line, "regex_stack", regex.stack.map(|(first, most)| format!("{first} {most}")).as_ref());
    }
    maybe(&mut line, "method", method.as_ref());
    // A header may hold a password.
    headers.iter().for_each(|(name, _)| say(&mut line, "header", &format!("{name} ********")));
    maybe(&mut line, "body", body.as_ref());
    for (name, value) in expect_headers {
        say(&mut line, "expect_header", &format!("{name} {}", value.as_deref().unwrap_or_default()).trim_end());
    }
    maybe(&mut line, "expect_body", expect_body.as_ref());
    expect_json.iter().for_each(|(path, value)| say(&mut line, "expect_json", &format!("{path} {value}")));
    flag(&mut line, "tls_compliant", *compliant_close == Some(true));
    format!(" url {{{line} }}")
}

/// `NAT`, `DR`, `TUN type gue port 5555`, `PROXY`.
fn method_words(method: ForwardMethod) -> String {
    let checksum = |checksum: TunnelChecksum| match checksum {
        TunnelChecksum::None => "",
        TunnelChecksum::Checksum => " csum",
        TunnelChecksum::Remote => " remcsum",
    };
    match method {
        ForwardMethod::Nat => "NAT".to_owned(),
        ForwardMethod::Dr => "DR".to_owned(),
        ForwardMethod::Proxy => "PROXY".to_owned(),
        ForwardMethod::Tun(Tunnel::Ipip) => "TUN".to_owned(),
        ForwardMethod::Tun(Tunnel::Gue { port, checksum: sum }) => format!("TUN type gue port {port}{}", checksum(sum)),
        ForwardMethod::Tun(Tunnel::Gre { checksum: sum }) => format!("TUN type gre{}", checksum(sum)),
    }
}

fn port_word(port: u16) -> String {
    if port == 0 { String::new() } else { format!(" {port}") }
}

fn socket(address: SocketKey) -> String {
    format!("{}{}", address.ip, port_word(address.port))
}

pub(super) fn command(command: &Command) -> String {
    format!("\"{}\"{}", command.text, user(command.user.as_ref()))
}

/// What follows a command, or the path of a FIFO.
pub(super) fn user(user: Option<&RunAs>) -> String {
    user.map(|user| format!(" {user}")).unwrap_or_default()
}

pub(super) fn seconds(time: Duration) -> String {
    time.as_secs_f64().to_string()
}

fn say(line: &mut String, keyword: &str, value: &dyn Display) {
    // Writing to a string cannot fail.
    let _ = write!(line, " {keyword} {value}");
}

fn maybe<T: Display>(line: &mut String, keyword: &str, value: Option<&T>) {
    value.into_iter().for_each(|value| say(line, keyword, value));
}

fn flag(line: &mut String, keyword: &str, on: bool) {
    if on {
        let _ = write!(line, " {keyword}");
    }
}
