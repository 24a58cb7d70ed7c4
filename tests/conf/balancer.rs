//! What the typed configuration of virtual servers holds: defaults, inheritance, every keyword.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast::checkers::config::{
    CheckerConfig, DnsProbe, FileProbe, HttpProbe, HttpVersion, MiscProbe, Probe, RegexConfig, Schedule, SmtpProbe,
    Sni, Target, TlsConfig, UdpProbe, UrlConfig,
};
use holdfast::command::RunAs;
use holdfast::conf::{self, Config, LoadOptions, Loaded};
use holdfast::ipvs::config::{
    FlushOnStop, ForwarderChoice, GroupEntry, LvsTimeouts, PanicAction, Persistence, ProxyConfig, ProxyProtocol,
    SchedulerFlags, SorryServer, SslConfig, SyncDaemonConfig, VirtualServerConfig, VirtualServerId,
};
use holdfast::ipvs::types::{ForwardMethod, Protocol, Scheduler, SocketKey, Tunnel, TunnelChecksum};
use holdfast::vrrp::config::{Track, TrackerKey};
use holdfast::vrrp::types::Family;

fn read(text: &str) -> Loaded {
    conf::load_text(Path::new("k.conf"), text.as_bytes(), &LoadOptions::default())
}

/// The configuration of a file that nothing is wrong with.
fn load(text: &str) -> Config {
    let loaded = read(text);
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics);
    loaded.config.expect("nothing is fatal")
}

fn only(config: &Config) -> &VirtualServerConfig {
    assert_eq!(config.balancer.services.len(), 1);
    config.balancer.services.values().next().expect("one")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("a literal address")
}

fn socket(text: &str, port: u16) -> SocketKey {
    SocketKey::new(ip(text), port)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn target(text: &str, port: u16) -> Target {
    Target {
        address: socket(text, port),
        bind_to: None,
        bind_port: None,
        bind_interface: None,
        connect_timeout: seconds(5),
        fwmark: 0,
    }
}

fn schedule(retry: u32, delay_before_retry: u64) -> Schedule {
    Schedule {
        delay_loop: seconds(60),
        retry,
        delay_before_retry: seconds(delay_before_retry),
        warmup: seconds(60),
        rise: 1,
        max_latency: None,
    }
}

fn checker(schedule: Schedule, probe: Probe) -> CheckerConfig {
    CheckerConfig { schedule, alpha: false, log_all_failures: false, probe }
}

#[test]
fn a_bare_virtual_server_has_keepaliveds_defaults() {
    let config = load(
        "virtual_server 192.0.2.1 80 {\n lb_algo rr\n lb_kind NAT\n protocol TCP\n real_server 192.0.2.3 80 {\n }\n}\n",
    );
    let id = VirtualServerId::Address { address: socket("192.0.2.1", 80), protocol: Protocol::Tcp };
    let found = config.balancer.services.get(&id).expect("it is there");
    assert_eq!((found.family, found.protocol, found.scheduler), (Family::V4, Protocol::Tcp, Scheduler::Rr));
    assert_eq!((found.method, found.flags), (ForwardMethod::Nat, SchedulerFlags::default()));
    assert_eq!((found.quorum, found.hysteresis, found.panic_threshold), (1, 0, 0));
    assert_eq!((found.persistence.clone(), found.sorry_server, found.proxy), (None, None, ProxyConfig::default()));
    assert!(!found.ha_suspend && !found.omega && !found.smtp_alert && !found.masquerade);
    let server = &found.real_servers[0];
    assert_eq!((server.address, server.weight, server.method), (socket("192.0.2.3", 80), 1, ForwardMethod::Nat));
    assert!(!server.inhibit_on_failure && !server.alpha && server.smtp_alert && server.checkers.is_empty());
    assert_eq!((server.upper_threshold, server.lower_threshold), (0, 0));
}

#[test]
fn every_checker_has_its_defaults() {
    let config = load(
        r#"
track_file numbers {
    file /run/numbers
    weight 3 reverse
}
virtual_server 192.0.2.1 80 {
    lb_algo rr
    lb_kind NAT
    protocol TCP
    real_server 192.0.2.3 8080 {
        TCP_CHECK {
        }
        PING_CHECK {
        }
        UDP_CHECK {
        }
        DNS_CHECK {
        }
        HTTP_GET {
            url {
                path /
            }
        }
        SSL_GET {
            url {
                path /
            }
        }
        SMTP_CHECK {
        }
        MISC_CHECK {
            misc_path /bin/true
        }
        FILE_CHECK {
            track_file numbers
        }
    }
}
"#,
    );
    let page = UrlConfig {
        path: "/".to_owned(),
        virtualhost: None,
        digest: None,
        status: vec![(200, 299)],
        regex: None,
        method: None,
        headers: Vec::new(),
        body: None,
        expect_headers: Vec::new(),
        expect_body: None,
        expect_json: Vec::new(),
        compliant_close: None,
    };
    let to = || target("192.0.2.3", 8080);
    let web = |tls| {
        let urls = vec![page.clone()].into();
        Probe::Http(Box::new(HttpProbe { target: to(), version: HttpVersion::V10, tls, fast_recovery: false, urls }))
    };
    let udp = UdpProbe {
        target: to(),
        payload: None,
        require_reply: false,
        reply: Vec::new(),
        min_reply_length: 0,
        max_reply_length: 255,
    };
    let dns = DnsProbe { target: to(), record_type: "SOA".to_owned(), name: ".".to_owned() };
    let smtp = SmtpProbe { targets: vec![to()], helo_name: "smtpchecker.keepalived.org".to_owned() };
    let checkers = &only(&config).real_servers[0].checkers;
    let Probe::Misc(misc) = &checkers[7].probe else { panic!("{checkers:?}") };
    let MiscProbe { command, timeout, dynamic: false, .. } = &**misc else { panic!("{checkers:?}") };
    assert_eq!((command.text.as_str(), *timeout), ("/bin/true", seconds(60)));
    let expected = [
        checker(schedule(1, 1), Probe::Tcp(to())),
        checker(schedule(1, 1), Probe::Ping(to())),
        checker(schedule(1, 1), Probe::Udp(udp.into())),
        checker(schedule(3, 60), Probe::Dns(dns.into())),
        checker(schedule(1, 3), web(None)),
        checker(schedule(1, 3), web(Some(Box::new(TlsConfig::default())))),
        checker(schedule(1, 1), Probe::Smtp(smtp)),
        checker(schedule(0, 1), checkers[7].probe.clone()),
        checker(schedule(0, 1), Probe::File(FileProbe { file: "numbers".to_owned(), weight: 3, reverse: true })),
    ];
    for (index, expected) in expected.iter().enumerate() {
        assert_eq!(&checkers[index], expected);
    }
    assert_eq!(checkers.len(), expected.len());
    assert_eq!(config.balancer.files["numbers"].path, PathBuf::from("/run/numbers"));
}

#[test]
fn checkers_take_what_they_do_not_say_from_above() {
    let config = load(
        r#"
global_defs {
    checker_log_all_failures
}
virtual_server 192.0.2.1 80 {
    lb_algo rr
    lb_kind NAT
    protocol TCP
    delay_loop 7
    retry 2
    delay_before_retry 3
    warmup 4
    connect_timeout 1.5
    rise 2
    max_latency 0.25
    virtualhost all.example
    alpha
    inhibit_on_failure
    weight 9
    real_server 192.0.2.3 80 {
        TCP_CHECK {
        }
        HTTP_GET {
            virtualhost check.example
            url {
                path /a
            }
            url {
                path /b
                virtualhost page.example
            }
        }
    }
    real_server 192.0.2.4 80 {
        weight 0
        alpha off
        inhibit_on_failure no
        virtualhost server.example
        delay_loop 8
        fall 6
        delay_before_retry 6
        warmup 0
        connect_timeout 2
        rise 3
        max_latency 1
        TCP_CHECK {
            alpha
            log_all_failures off
            retry 0
            fall 9
            connect_timeout 9
            rise 1
        }
        HTTP_GET {
            url {
                path /
            }
        }
        MISC_CHECK {
            misc_path /bin/true
        }
    }
}
"#,
    );
    let [first, second] = only(&config).real_servers.as_slice() else { panic!("two servers") };
    assert!(first.alpha && first.inhibit_on_failure && !second.alpha && !second.inhibit_on_failure);
    assert_eq!((first.weight, second.weight), (9, 0));
    let from_above = Schedule {
        delay_loop: seconds(7),
        retry: 2,
        delay_before_retry: seconds(3),
        warmup: seconds(4),
        rise: 2,
        max_latency: Some(Duration::from_millis(250)),
    };
    let tcp = Target { connect_timeout: Duration::from_millis(1500), ..target("192.0.2.3", 80) };
    let expected = CheckerConfig { schedule: from_above, alpha: true, log_all_failures: true, probe: Probe::Tcp(tcp) };
    assert_eq!(first.checkers[0], expected);
    let hosts = |checker: &CheckerConfig| -> Vec<Option<String>> {
        let Probe::Http(probe) = &checker.probe else { panic!("{checker:?}") };
        probe.urls.iter().map(|url| url.virtualhost.clone()).collect()
    };
    assert_eq!(hosts(&first.checkers[1]), [Some("check.example".to_owned()), Some("page.example".to_owned())]);
    assert_eq!(hosts(&second.checkers[1]), [Some("server.example".to_owned())]);
    let own = &second.checkers[0];
    assert!(own.alpha && !own.log_all_failures);
    let expected = Schedule {
        delay_loop: seconds(8),
        retry: 0,
        delay_before_retry: seconds(6),
        warmup: Duration::ZERO,
        rise: 1,
        max_latency: Some(seconds(1)),
    };
    assert_eq!(own.schedule, expected);
    assert_eq!(second.checkers[1].schedule.retry, 5, "`fall 6`: five failures are tried again");
    let Probe::Misc(misc) = &second.checkers[2].probe else { panic!("{second:?}") };
    assert_eq!(misc.timeout, seconds(7), "that of the virtual server");
}

#[test]
fn every_keyword_of_a_virtual_server_arrives() {
    let loaded = read(
        r#"
vrrp_instance V1 {
    interface eth0
    virtual_router_id 1
    no_virtual_ipaddress
}
virtual_server fwmark 0x10 {
    ip_family inet6
    lb_algo mh
    mh-port
    mh-fallback
    hashed
    ops
    flag-3
    lb_kind TUN type gue port 5555 remcsum
    persistence_engine sip
    persistence_timeout
    persistence_granularity 64
    vrrp_instance V1
    smtp_alert
    snmp_name mark
    omega
    quorum 3
    hysteresis 1
    quorum_up "/bin/up now" nobody
    quorum_down /bin/down
    sorry_server 192.0.2.9 8080
    sorry_server_inhibit
    sorry_server_lvs_method NAT
    panic_threshold 30
    panic_action send_to_all
    slow_start 12.5
    proxy_connect_timeout 2
    proxy_idle_timeout 3
    proxy_udp_timeout 4
    proxy_max_connections 5
    proxy_drain_timeout 6
    proxy_protocol v2
    proxy_transparent
    proxy_reset_close
    real_server 2001:db8::3 8080 {
        weight 4
        lvs_method DR
        uthreshold 100
        lthreshold 50
        notify_up /bin/rs-up
        notify_down "/bin/rs-down x"
        smtp_alert off
        snmp_name one
    }
}
"#,
    );
    let config = loaded.config.expect("nothing is fatal");
    let vs = only(&config);
    assert_eq!(
        config.balancer.services.keys().next(),
        Some(&VirtualServerId::Fwmark { mark: 16.try_into().expect("not zero"), family: Family::V6 })
    );
    assert_eq!((vs.family, vs.scheduler), (Family::V6, Scheduler::Mh));
    assert_eq!(vs.flags, SchedulerFlags { hashed: true, one_packet: true, flag1: true, flag2: true, flag3: true });
    assert_eq!(vs.method, ForwardMethod::Tun(Tunnel::Gue { port: 5555, checksum: TunnelChecksum::Remote }));
    assert_eq!(vs.persistence, Some(Persistence { timeout: 360, granularity: 64, engine: Some("sip".to_owned()) }));
    assert_eq!((vs.active_with.as_deref(), vs.snmp_name.as_deref()), (Some("V1"), Some("mark")));
    assert!(vs.smtp_alert && vs.omega);
    assert_eq!((vs.quorum, vs.hysteresis), (3, 1));
    let up = vs.quorum_up.as_ref().expect("a script");
    assert_eq!((up.text.as_str(), up.user.clone()), ("/bin/up now", Some(RunAs::new("nobody", None))));
    assert_eq!(vs.quorum_down.as_ref().map(|command| command.text.as_str()), Some("/bin/down"));
    assert_eq!((vs.panic_threshold, vs.panic_action), (30, PanicAction::SendToAll));
    assert_eq!(vs.slow_start, Duration::from_millis(12_500));
    let proxy = ProxyConfig {
        connect_timeout: seconds(2),
        idle_timeout: seconds(3),
        udp_timeout: seconds(4),
        max_connections: 5,
        drain_timeout: Some(seconds(6)),
        proxy_protocol: Some(ProxyProtocol::V2),
        transparent: true,
        reset_close: true,
    };
    assert_eq!(vs.proxy, proxy);
    let server = &vs.real_servers[0];
    assert_eq!((server.address, server.weight), (socket("2001:db8::3", 8080), 4));
    assert_eq!((server.method, server.upper_threshold, server.lower_threshold), (ForwardMethod::Dr, 100, 50));
    assert_eq!((server.smtp_alert, server.snmp_name.as_deref()), (false, Some("one")));
    assert_eq!(server.notify_up.as_ref().map(|command| command.text.as_str()), Some("/bin/rs-up"));
    assert_eq!(server.notify_down.as_ref().map(|command| command.text.as_str()), Some("/bin/rs-down x"));
    // NAT does not lead from IPv6 to IPv4.
    assert_eq!(vs.sorry_server, None);
    assert_eq!(loaded.diagnostics.iter().filter(|d| d.message.contains("sorry server")).count(), 1);
}

#[test]
fn sorry_servers_follow_the_method() {
    let config = load(
        "virtual_server 192.0.2.1 80 {\n lb_algo rr\n lb_kind NAT\n protocol TCP\n sorry_server 192.0.2.9 8080\n \
         sorry_server_inhibit\n sorry_server_lvs_method TUN type gre csum\n masquerade\n real_server 192.0.2.3 {\n }\n}\n",
    );
    let vs = only(&config);
    let method = ForwardMethod::Tun(Tunnel::Gre { checksum: TunnelChecksum::Checksum });
    // In a tunnel a packet keeps its port.
    assert_eq!(vs.sorry_server, Some(SorryServer { address: socket("192.0.2.9", 80), method, inhibit: true }));
    assert!(vs.masquerade);
    // And behind NAT, a server without a port has the client's.
    assert_eq!(vs.real_servers[0].address, socket("192.0.2.3", 0));
}

#[test]
fn every_keyword_of_the_checkers_arrives() {
    let config = load(
        r#"
virtual_server 192.0.2.1 80 {
    lb_algo rr
    lb_kind PROXY
    protocol TCP
    real_server 192.0.2.3 80 {
        TCP_CHECK {
            connect_ip 198.51.100.1
            connect_port 81
            bindto 198.51.100.2
            bind_port 82
            bind_if eth1
            connect_timeout 2
            fwmark 7
        }
        SSL_GET {
            http_protocol 1.0c
            enable_sni
            sni_name sni.example
            fast_recovery
            tls_compliant
            tls_verify
            tls_ca /etc/ca.pem
            url {
                path "/health?deep=1"
                digest 0123456789abcdefABCDEF0123456789
                status_code 200 301-302
                status_code 404
                regex "ok: \\d+\n"
                regex_no_match
                regex_options caseless dotall
                regex_options utf
                regex_min_offset 10
                regex_max_offset 20
                regex_stack 1024 4096
                method POST
                header X-One "a b"
                header X-Two c
                body "{}"
                expect_header Server
                expect_header X-Up yes
                expect_body alive
                expect_json status.ok true
                tls_compliant no
            }
        }
        SMTP_CHECK {
            helo_name me.example
            bindto 198.51.100.2
            host {
                connect_ip 192.0.2.10
                connect_port 25
            }
            host {
                connect_port 26
                connect_timeout 1
            }
        }
        DNS_CHECK {
            type aaaa
            name www.example
        }
        UDP_CHECK {
            payload 01 02ff
            require_reply 1X FF
            min_reply_length 2
            max_reply_length 9
        }
        MISC_CHECK {
            misc_path "/bin/check -x"
            misc_timeout 3
            misc_dynamic
            user nobody daemon
        }
    }
}
"#,
    );
    let checkers = &only(&config).real_servers[0].checkers;
    let tcp = Target {
        address: socket("198.51.100.1", 81),
        bind_to: Some(ip("198.51.100.2")),
        bind_port: Some(82),
        bind_interface: Some("eth1".to_owned()),
        connect_timeout: seconds(2),
        fwmark: 7,
    };
    assert_eq!(checkers[0].probe, Probe::Tcp(tcp));
    let regex = RegexConfig {
        pattern: "ok: \\d+\n".to_owned(),
        no_match: true,
        options: ["caseless", "dotall", "utf"].map(str::to_owned).to_vec(),
        min_offset: Some(10),
        max_offset: Some(20),
        stack: Some((1024, 4096)),
    };
    let page = UrlConfig {
        path: "/health?deep=1".to_owned(),
        virtualhost: None,
        digest: Some([1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xab, 0xcd, 0xef, 1, 0x23, 0x45, 0x67, 0x89]),
        status: vec![(200, 200), (301, 302), (404, 404)],
        regex: Some(Box::new(regex)),
        method: Some("POST".to_owned()),
        headers: vec![("X-One".to_owned(), "a b".to_owned()), ("X-Two".to_owned(), "c".to_owned())],
        body: Some("{}".to_owned()),
        expect_headers: vec![("Server".to_owned(), None), ("X-Up".to_owned(), Some("yes".to_owned()))],
        expect_body: Some("alive".to_owned()),
        expect_json: vec![("status.ok".to_owned(), "true".to_owned())],
        compliant_close: Some(false),
    };
    let tls = TlsConfig {
        sni: Some(Sni::Name("sni.example".to_owned())),
        compliant_close: true,
        verify: true,
        ca: Some(PathBuf::from("/etc/ca.pem")),
    };
    let probe = HttpProbe {
        target: target("192.0.2.3", 80),
        version: HttpVersion::V10Close,
        tls: Some(Box::new(tls)),
        fast_recovery: true,
        urls: vec![page].into(),
    };
    assert_eq!(checkers[1].probe, Probe::Http(Box::new(probe)));
    let bound = |target: Target| Target { bind_to: Some(ip("198.51.100.2")), ..target };
    let hosts =
        vec![bound(target("192.0.2.10", 25)), bound(Target { connect_timeout: seconds(1), ..target("192.0.2.3", 26) })];
    assert_eq!(checkers[2].probe, Probe::Smtp(SmtpProbe { targets: hosts, helo_name: "me.example".to_owned() }));
    let Probe::Dns(dns) = &checkers[3].probe else { panic!("{checkers:?}") };
    assert_eq!((dns.record_type.as_str(), dns.name.as_str()), ("AAAA", "www.example"));
    let udp = UdpProbe {
        target: target("192.0.2.3", 80),
        payload: Some(vec![1, 2, 0xff]),
        require_reply: true,
        reply: vec![(0x10, 0xf0), (0xff, 0xff)],
        min_reply_length: 2,
        max_reply_length: 9,
    };
    assert_eq!(checkers[4].probe, Probe::Udp(udp.into()));
    let Probe::Misc(misc) = &checkers[5].probe else { panic!("{checkers:?}") };
    assert_eq!((misc.timeout, misc.dynamic), (seconds(3), true));
    assert_eq!(misc.command.user, Some(RunAs::new("nobody", Some("daemon"))));
}

#[test]
fn the_whole_process_has_its_settings() {
    let config = load(
        r#"
global_defs {
    lvs_timeouts tcp 7200 tcpfin 30 udp 300
    lvs_flush
    lvs_flush_on_stop VS
    lvs_sync_daemon eth1 V1 id 9 maxlen 1400 port 8849 ttl 2 group 224.0.0.82
    checker_priority -5
    checker_rt_priority 50
    checker_no_swap
    checker_cpu_affinity 0 2
    checker_rlimit_rttime 20000
    rs_init_notifies
    virtual_server_forwarder userspace
    forwarder_threads 3
}
SSL {
    password "pass phrase"
    ca /etc/ca
    certificate /etc/cert
    key /etc/key
}
vrrp_instance V1 {
    interface eth0
    virtual_router_id 51
    no_virtual_ipaddress
}
"#,
    );
    let global = config.balancer.global;
    assert_eq!(global.timeouts, LvsTimeouts { tcp: Some(7200), tcpfin: Some(30), udp: Some(300) });
    assert_eq!((global.flush, global.flush_on_stop), (true, FlushOnStop::VirtualServers));
    let sync = SyncDaemonConfig {
        interface: "eth1".to_owned(),
        instance: Some("V1".to_owned()),
        id: 9,
        max_length: Some(1400),
        port: Some(8849),
        ttl: Some(2),
        group: Some(ip("224.0.0.82")),
    };
    assert_eq!(global.sync_daemon, Some(sync));
    assert_eq!((global.nice, global.rt_priority, global.no_swap), (Some(-5), Some(50), true));
    assert_eq!((global.cpu_affinity, global.rlimit_rttime), (vec![0, 2], Some(20_000)));
    assert!(global.rs_init_notifies && !global.no_checker_emails);
    assert_eq!((global.forwarder, global.forwarder_threads), (ForwarderChoice::Userspace, Some(3)));
    let path = |text: &str| Some(text.to_owned());
    let ssl = SslConfig {
        password: path("pass phrase"),
        ca: path("/etc/ca"),
        certificate: path("/etc/cert"),
        key: path("/etc/key"),
    };
    assert_eq!(global.ssl, ssl);
}

#[test]
fn the_sync_daemon_takes_the_id_of_its_instance() {
    let instance = "vrrp_instance V1 {\n interface eth0\n virtual_router_id 51\n no_virtual_ipaddress\n}\n";
    for (line, id, max_length) in [("eth1 V1", 51, None), ("eth1 V1 7 1000", 7, Some(1000)), ("eth1", 0, None)] {
        let config = load(&format!("global_defs {{\n lvs_sync_daemon {line}\n}}\n{instance}"));
        let sync = config.balancer.global.sync_daemon.expect("it is set");
        assert_eq!((sync.id, sync.max_length), (id, max_length), "{line}");
    }
}

#[test]
fn groups_and_who_tracks_them() {
    let config = load(
        r#"
virtual_server_group web {
    192.0.2.1 80
    192.0.2.4-6
    fwmark 9 inet6
}
virtual_server group web {
    lb_algo wlc
    lb_kind DR
    protocol TCP
    persistence_timeout 60
    real_server 192.0.2.33 80 {
    }
}
vrrp_instance V1 {
    interface eth0
    virtual_router_id 51
    no_virtual_ipaddress
    track_virtual_server {
        group web weight -30
    }
}
"#,
    );
    let range = |first, last, port| GroupEntry::Range { first: ip(first), last: ip(last), port };
    let entries = vec![
        range("192.0.2.1", "192.0.2.1", 80),
        range("192.0.2.4", "192.0.2.6", 0),
        GroupEntry::Fwmark { mark: 9.try_into().expect("not zero"), family: Some(Family::V6) },
    ];
    assert_eq!(config.balancer.groups["web"].entries, entries);
    let id = VirtualServerId::Group { name: "web".to_owned(), protocol: Protocol::Tcp };
    let service = config.balancer.services.get(&id).expect("it is there");
    assert_eq!(service.persistence, Some(Persistence { timeout: 60, granularity: 32, engine: None }));
    let tracker = TrackerKey::VirtualServer(id.to_string());
    assert!(config.vrrp.trackers.contains(&tracker));
    assert_eq!(config.vrrp.instances["V1"].tracks, [Track { tracker, weight: -30, reverse: false }]);
}
