use std::path::Path;

use super::*;
use crate::conf::load_text;

const BASE: &str = "\
global_defs {
    router_id one
}
vrrp_script web {
    script \"/bin/check web\"
    interval 2
    rise 2
    fall 2
}
vrrp_instance A {
    interface eth0
    virtual_router_id 1
    priority 150
    authentication {
        auth_type PASS
        auth_pass hunter2
    }
    virtual_ipaddress {
        192.0.2.1/24
    }
    track_script {
        web weight -60
    }
}
vrrp_instance B {
    interface eth0
    virtual_router_id 2
    virtual_ipaddress {
        192.0.2.2/24 dev eth1
    }
}
vrrp_instance C {
    interface eth0
    virtual_router_id 3
    virtual_ipaddress {
        192.0.2.3/24
    }
}
";

fn config(text: &str) -> Config {
    let loaded = load_text(Path::new("k.conf"), text.as_bytes(), &Default::default());
    assert!(!loaded.diagnostics.has_errors(), "{}", loaded.diagnostics);
    loaded.config.unwrap()
}

fn plan(change: impl Fn(&str) -> String) -> Plan {
    Plan::between(&config(BASE), &config(&change(BASE)))
}

#[test]
fn nothing() {
    let plan = plan(|text| format!("# a remark\n{text}"));
    assert_eq!(plan.render(false), "no change: 3 instances stay as they are\n");
}

#[test]
fn it_reads_like_a_diff() {
    let text = plan(|text| {
        let text = text.replace("priority 150", "priority 120").replace("192.0.2.1/24\n", "192.0.2.1/24\n 192.0.2.9\n");
        let text = text.replace("hunter2", "hunter3").replace("router_id one", "router_id two");
        let at = text.find("vrrp_instance C").unwrap();
        format!(
            "{}vrrp_instance D {{\n interface eth0\n virtual_router_id 9\n advert_int 2\n virtual_ipaddress {{ 192.0.2.7 }}\n}}\n",
            &text[..at]
        )
    });
    let expected = "\
~ global_defs: counts from then on
    - router_id one
    + router_id two
~ vrrp_instance A: it goes on in its state
    - authentication ******** (#1)
    + authentication ******** (#2)
    - priority 150
    + priority 120
    + virtual_ipaddress 192.0.2.9/32
- vrrp_instance C: it resigns if it is master, and its addresses are taken off
    - interface eth0
    - priority 100
    - virtual_ipaddress 192.0.2.3/24
    - virtual_router_id 3
+ vrrp_instance D: a new virtual router begins
    + advert_int 2
    + interface eth0
    + priority 100
    + virtual_ipaddress 192.0.2.7/32
    + virtual_router_id 9
blocks: 1 to add, 2 to change, 1 to remove
instances: 3 touched (A, C, D), 1 untouched
";
    assert_eq!(mask(&text.render(false)), expected);
    assert!(!text.render(false).contains("hunter"));
    assert!(text.render(true).contains("\x1b[32m+ priority 120"));
}

/// The marks of passwords are in no order that means anything: numbered as they come.
fn mask(text: &str) -> String {
    let mut number = 0;
    let mut masked = String::new();
    for line in text.split_inclusive('\n') {
        match line.find("(#") {
            Some(at) => {
                number += 1;
                masked.push_str(&format!("{}(#{number})\n", &line[..at]));
            }
            None => masked.push_str(line),
        }
    }
    masked
}

#[test]
fn what_a_change_does_to_an_instance_is_told() {
    let effect = |change: fn(&str) -> String| {
        let plan = plan(change);
        let block = plan.blocks.first().unwrap();
        (block.block.clone(), block.effect.clone(), plan.touched.iter().cloned().collect::<Vec<_>>().join(" "))
    };
    let (block, what, touched) = effect(|text| text.replace("virtual_router_id 2", "virtual_router_id 22"));
    assert!(what.contains("another virtual router") && block == "vrrp_instance B" && touched == "B", "{what}");
    let (block, what, touched) = effect(|text| text.replace("vrrp_instance B", "vrrp_instance Beta"));
    assert_eq!((block.as_str(), what.as_str()), ("vrrp_instance Beta", "was called B; it goes on in its state"));
    assert_eq!(touched, "Beta");
    let (block, _, touched) = effect(|text| text.replace("interval 2", "interval 3"));
    assert_eq!((block.as_str(), touched.as_str()), ("vrrp_script web", "A"), "who tracks it");
    let notify = |text: &str| text.replace(" priority 150", " priority 150\n notify /bin/tell");
    let (block, _, touched) = effect(notify);
    assert_eq!((block.as_str(), touched.as_str()), ("vrrp_instance A", ""), "telling people is no part of its life");
    let (_, what, _) = effect(|text| format!("umask 022\n{text}").replace("umask 022\n", "net_namespace blue\n"));
    assert!(what.contains("net_namespace at the next start only"), "{what}");
}

#[test]
fn the_order_of_addresses_counts_and_shows() {
    let two = |order: &str| BASE.replace("192.0.2.1/24\n", order);
    let (one, other) = (two("192.0.2.1/24\n192.0.2.9/24\n"), two("192.0.2.9/24\n192.0.2.1/24\n"));
    let plan = Plan::between(&config(&one), &config(&other));
    assert_eq!(plan.blocks.first().map(|block| block.lines.len()), Some(1), "{plan:?}");
}

/// A file that says nearly everything, in two versions.
const EVERYTHING: &str = "\
global_defs {
    script_user root :root
    umask 022
    reload_file
    vrrp_cpu_affinity 0 1
    vrrp_priority -5
    dynamic_interfaces
    log_unknown_vrids
    vrrp_startup_delay 1.5
    nftables mine
    nftables_counters
    checker_priority 3
    checker_rt_priority 2
    checker_no_swap
    checker_cpu_affinity 0
    checker_rlimit_rttime 9000
    rs_init_notifies
    lvs_timeouts tcp 900 udp 300
    lvs_flush
    lvs_flush_on_stop VS
    lvs_sync_daemon eth0 inst A id 7
    virtual_server_forwarder userspace
    forwarder_threads 2
    process_monitor_rcv_bufs 65536
    process_monitor_rcv_bufs_force
    notification_email {
        ops@example.org
        night@example.org
    }
    notification_email_from director@example.org
    smtp_server 192.0.2.9 26
    smtp_helo_name me
    smtp_tls starttls
    smtp_user u
    smtp_password file /etc/password
    no_email_faults
    vrrp_notify_fifo /run/fifo root
    vrrp_notify_fifo_script /bin/reader
    fifo_write_vrrp_states_on_reload
    notify_webhook ops {
        url https://hooks.example.org/hunter2
    }
    status_page 192.0.2.1:8410 token_file /etc/token
}
SSL {
    password hunter2
    ca /etc/ca.pem
}
vrrp_track_process p {
    process \"/bin/x -a\"
    param_match initial
    quorum 2
    quorum_max 4
    fork_delay 2
}
track_file f {
    file /tmp/f
    init_file 7 overwrite
}
static_ipaddress {
    192.0.2.77/24 dev eth1 scope link
}
vrrp_instance A {
    state MASTER
    interface eth0
    virtual_router_id 1
    version 3
    advert_int 0.5
    smtp_alert
    notify_priority_changes
    cloud_address aws {
        url https://ec2.example.org/hunter2
    }
    no_accept
    dont_track_primary
    unicast_src_ip 192.0.2.250
    unicast_peer {
        192.0.2.251 min_ttl 3 max_ttl 9
    }
    check_unicast_src
    track_process {
        p weight 3 reverse
    }
    track_file {
        f weight 2
    }
    track_interface {
        eth1
    }
    kernel_rx_buf_size 99999
    notify_master /bin/m root
    virtual_ipaddress {
        192.0.2.1/24 dev eth1 label eth1:0 no_track
    }
}
virtual_server_group g {
    192.0.2.50-53 80
    fwmark 3 inet6
}
virtual_server 192.0.2.9 80 {
    lb_algo sh
    sh-port
    lb_kind TUN type gue port 5555 csum
    protocol UDP
    persistence_timeout 60
    persistence_granularity 255.255.255.0
    quorum 2
    hysteresis 1
    quorum_up \"/bin/up now\" root
    ha_suspend
    vrrp_instance A
    sorry_server 192.0.2.8 80
    sorry_server_inhibit
    panic_threshold 20
    slow_start 30
    real_server 192.0.2.20 80 {
        weight 3
        uthreshold 9
        inhibit_on_failure
        HTTP_GET {
            connect_timeout 2
            retry 4
            url {
                path /ok
                status_code 200 300-302
                regex \"o.k\"
                header X-Token hunter2
            }
        }
        UDP_CHECK {
            payload 00ff
            require_reply 0aX1
        }
        MISC_CHECK {
            misc_path \"/bin/check it\"
            misc_dynamic
        }
    }
    real_server 192.0.2.21 80 {
        weight 3
        DNS_CHECK {
            type a
            name example.org
        }
        FILE_CHECK {
            track_file f
        }
    }
}
";

#[test]
fn every_line_is_one_of_the_language() {
    use crate::conf::schema::{BLOCKS, Block};
    let new = config(EVERYTHING);
    let plan = Plan::between(&Config::default(), &new);
    let text = plan.render(false);
    let block = |name: &str| -> Option<&'static Block> { BLOCKS.into_iter().find(|block| block.name == name) };
    for change in &plan.blocks {
        let kind = change.block.split(' ').next().unwrap();
        for line in &change.lines {
            let mut words = line.keyword.split(' ');
            let keyword = words.next().unwrap();
            let known = match kind {
                "virtual_server_group" => keyword == "addresses",
                "static_ipaddress" => keyword == "address",
                _ => {
                    let of = |name| block(name).is_some_and(|block| block.find(keyword).is_some());
                    of(kind) || kind == "global_defs" && (keyword == "SSL" || of("(root)"))
                }
            };
            assert!(known, "{kind}: {line:?}\n{text}");
        }
    }
    for part in [
        "+ umask 0022",
        "+ notification_email night@example.org",
        "+ notification_email_from director@example.org",
        "+ smtp_server 192.0.2.9 26",
        "+ smtp_tls starttls",
        "+ smtp_password file /etc/password",
        "+ vrrp_notify_fifo /run/fifo root",
        "+ vrrp_notify_fifo_script \"/bin/reader\"",
        "+ fifo_write_vrrp_states_on_reload",
        "+ notify_webhook ops ****",
        "+ status_page 192.0.2.1:8410",
        "+ status_page token_file /etc/token",
        "+ notify_priority_changes",
        "+ smtp_alert",
        "+ cloud_address aws ****",
        "+ script_user root :root",
        "+ vrrp_cpu_affinity 0 1",
        "+ lvs_timeouts tcp 900 udp 300",
        "+ lvs_flush_on_stop VS",
        "+ lvs_sync_daemon eth0 id 7 inst A",
        "+ virtual_server_forwarder userspace",
        "+ init_file 7 overwrite",
        "+ param_match initial",
        "+ state MASTER",
        "+ version 3",
        "+ advert_int 0.5",
        "    + dont_track_primary\n",
        "    + no_accept\n",
        "+ unicast_src_ip 192.0.2.250",
        "+ unicast_peer 192.0.2.251 max_ttl 9 min_ttl 3",
        "+ track_process p reverse weight 3",
        "+ notify_master \"/bin/m\" root",
        "+ virtual_ipaddress 192.0.2.1/24 dev eth1 label eth1:0 no_track",
        "+ addresses 192.0.2.50-192.0.2.53 80",
        "+ addresses fwmark 3 inet6",
        "+ virtual_server 192.0.2.9 80 (udp): a new service",
        "+ lb_kind TUN type gue port 5555 csum",
        "    + sh-port\n",
        "+ quorum_up \"/bin/up now\" root",
        "status_code 200 300-302 regex \"o.k\" header X-Token ********",
        "payload 00ff require_reply 0aX1",
        "misc_path \"/bin/check it\"",
        "DNS_CHECK { connect_timeout 5 type A name example.org",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    for secret in ["hunter2", "Some(", "None", "V3", "Unicast"] {
        assert!(!text.contains(secret), "{secret}\n{text}");
    }
    assert!(!text.contains("hysteresis 0") && !text.contains("proxy_"), "defaults are not worth a line\n{text}");
}

#[test]
fn a_real_server_is_one_line() {
    let new = EVERYTHING
        .replace("weight 3\n        uthreshold", "weight 4\n        uthreshold")
        .replace("quorum 2\n    hyst", "quorum 3\n    hyst");
    let text = Plan::between(&config(EVERYTHING), &config(&new)).render(false);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "~ virtual_server 192.0.2.9 80 (udp): edited in place; the health of what stays is kept");
    assert_eq!(lines[1..3], ["    - quorum 2", "    + quorum 3"], "{text}");
    assert!(
        lines[3].starts_with("    - real_server 192.0.2.20 80 weight 3 uthreshold 9 inhibit_on_failure HTTP_GET {")
    );
    assert!(
        lines[4].starts_with("    + real_server 192.0.2.20 80 weight 4 uthreshold 9 inhibit_on_failure HTTP_GET {")
    );
    assert_eq!(lines.len(), 7, "{text}");
}
