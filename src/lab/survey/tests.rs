use super::*;

const FILE: &str = r#"
! a comment
global_defs { router_id LVS }   # another
vrrp_script chk {
    script "[[ -e /etc/keepalived/down ]] && exit 1 || exit 0"
    interval 2
    fall 3
    weight -2
}
track_file drain { file /run/drain }
vrrp_instance VI_1{
    state MASTER
    interface eth0
    virtual_router_id 51
    priority 150
    advert_int 0.5
    authentication { auth_type PASS
        auth_pass 1111 }
    virtual_ipaddress{
        172.16.2.8
        172.16.2.9/24 dev eth1 label eth1:9
    }
    unicast_src_ip 172.16.2.1
    unicast_peer {
        172.16.2.2
    }
    track_script {
        chk weight -60
    }
    track_file { drain weight 0 }
    track_interface { eth2 }
    nopreempt
    notify_master "/bin/reboot now"
    notify /bin/reboot
}
virtual_server 172.16.2.8 80 { real_server 10.0.0.1 80 { weight 1 } }
"#;

#[test]
fn finds_what_a_lab_needs() {
    let found = survey(FILE);
    assert!(found.virtual_servers);
    assert_eq!(found.interfaces, ["eth0", "eth1", "eth2"].map(str::to_owned).into());
    let [vi] = &found.instances[..] else { panic!("{:?}", found.instances) };
    assert_eq!((vi.name.as_str(), vi.vrid, vi.priority, vi.preempt, vi.v3), ("VI_1", 51, 150, false, false));
    assert_eq!(vi.interval, Duration::from_millis(500));
    assert_eq!(vi.vips.iter().map(|v| v.address.to_string()).collect::<Vec<_>>(), ["172.16.2.8", "172.16.2.9"]);
    assert_eq!(vi.vips[1], Vip { address: vi.vips[1].address, prefix_len: Some(24), device: Some("eth1".into()) });
    assert_eq!(vi.source, Some("172.16.2.1".parse().unwrap()));
    assert_eq!(vi.peers, ["172.16.2.2".parse::<IpAddr>().unwrap()]);
    let script = "[[ -e /etc/keepalived/down ]] && exit 1 || exit 0".to_owned();
    let expected = [
        Track { kind: TrackKind::Script(script), weight: -60, reaction: Duration::from_secs(8) },
        Track { kind: TrackKind::File("/run/drain".into()), weight: 0, reaction: Duration::from_secs(2) },
    ];
    assert_eq!(vi.tracks, expected);
}

#[test]
fn bounds_are_those_of_the_rfcs() {
    let mut vi = survey(FILE).instances.remove(0);
    // RFC 3768 §6.1: 3 × 0.5 s + (256 - 100) / 256 s.
    assert_eq!(vi.master_down(100).as_millis(), 2109);
    vi.v3 = true;
    // RFC 9568 §6.1: the skew is a part of the interval.
    assert_eq!(vi.skew(100).as_micros(), 304_687);
}

#[test]
fn notify_scripts_are_commented_out_and_lines_keep_their_numbers() {
    let disarmed = disarm(FILE, false);
    assert!(disarmed.contains("\n    #notify_master \"/bin/reboot now\"\n    #notify /bin/reboot\n"));
    assert_eq!(disarmed.lines().count(), FILE.lines().count());
    assert_eq!(survey(&disarmed), survey(FILE));
    assert_eq!(disarm(FILE, true), FILE);
    assert_eq!(disarm("net_namespace blue\n", true), "#net_namespace blue\n");
}

#[test]
fn a_notify_keyword_inside_quotes_or_comments_is_left_alone() {
    for text in ["script \"\nnotify x\"\n", "# notify x\n", "script '/bin/x' notify\n"] {
        assert_eq!(disarm(text, false), text);
    }
}

#[test]
fn broken_files_do_not_hurt() {
    for text in ["", "}", "{", "}}}{{{", "vrrp_instance", "vrrp_instance {", "\"", "virtual_ipaddress { x"] {
        survey(text);
        disarm(text, false);
    }
}
