//! What the typed configuration holds: defaults, strict mode, groups, expansion.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast::command::{CommandForm, RunAs};
use holdfast::conf::{self, Config, LoadOptions};
use holdfast::trackers::config::{FileInit, ParameterMatch, ProcessPattern};
use holdfast::vrrp::config::{
    Auth, FilterConfig, InitialState, InstanceConfig, Track, TrackerKey, Transport, UnicastPeer,
};
use holdfast::vrrp::types::{AdvertInterval, Family, Version, Vrid};

fn load(text: &str) -> Config {
    let options = LoadOptions { config_id: "node1".to_owned(), ..LoadOptions::default() };
    let loaded = conf::load_text(Path::new("k.conf"), text.as_bytes(), &options);
    loaded.config.unwrap_or_else(|| panic!("{}", loaded.diagnostics))
}

fn instance<'a>(config: &'a Config, name: &str) -> &'a InstanceConfig {
    config.vrrp.instances.get(name).expect("the instance is there")
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("a literal address")
}

#[test]
fn a_bare_instance_has_keepaliveds_defaults() {
    let config =
        load("vrrp_instance V {\n interface eth0\n virtual_router_id 7\n virtual_ipaddress { 192.0.2.1 }\n}\n");
    let found = instance(&config, "V");
    let mut expected = InstanceConfig::new("eth0", Vrid::new(7).expect("not zero"));
    expected.addresses = found.addresses.clone();
    assert_eq!(*found, expected);
    assert_eq!(found.addresses[0].address, address("192.0.2.1"));
    assert_eq!((found.addresses[0].prefix_len, found.addresses[0].preferred_lifetime), (32, None));
}

#[test]
fn every_keyword_of_an_instance_arrives() {
    let config = load(
        r#"
global_defs { vrrp_garp_master_repeat 3
 vrrp_garp_master_delay 7
 script_user nobody }
vrrp_instance V {
    state MASTER
    interface eth0
    virtual_router_id 8
    version 3
    priority 120
    advert_int 0.25
    unicast_src_ip 192.0.2.251
    track_src_ip
    unicast_ttl 64
    unicast_peer {
        192.0.2.252
        192.0.2.253 min_ttl 250 max_ttl 255
    }
    dont_track_primary
    garp_master_delay 2
    garp_lower_prio_repeat 0
    garp_master_refresh 60
    garp_master_refresh_repeat 0
    lower_prio_no_advert
    higher_prio_send_advert on
    skip_check_adv_addr false
    down_timer_adverts 4
    v3_checksum_as_v2
    no_accept
    promote_secondaries
    kernel_rx_buf_size 8192
    notify_deleted
    virtual_ipaddress {
        192.0.2.1/24 dev eth1 label eth1:1 scope link brd + preferred_lft 30 no_track noprefixroute
    }
    virtual_ipaddress_excluded {
        2001:db8::1 -nodad home
        2001:db8::2/64
    }
    notify "/bin/notify all" daemon :adm
}
"#,
    );
    let v = instance(&config, "V");
    assert_eq!((v.state, v.version, v.family), (InitialState::Master, Version::V3, Family::V4));
    assert_eq!((v.priority.value(), v.advert_interval), (120, AdvertInterval::from_centiseconds(25).expect("legal")));
    assert_eq!((v.source, v.track_source, v.track_primary), (Some(address("192.0.2.251")), true, false));
    let peer = |text, min_ttl, max_ttl| UnicastPeer { address: address(text), min_ttl, max_ttl };
    let peers = vec![peer("192.0.2.252", None, None), peer("192.0.2.253", Some(250), Some(255))];
    assert_eq!(v.transport, Transport::Unicast { peers, ttl: Some(64), check_source: true });
    assert_eq!((v.garp.delay, v.garp.repeat), (Duration::from_secs(2), 3));
    assert_eq!((v.garp.refresh, v.garp.refresh_repeat), (Duration::from_secs(60), 1));
    assert_eq!((v.garp.lower_prio_delay, v.garp.lower_prio_repeat), (Duration::from_secs(7), 0));
    assert!(v.lower_prio_no_advert && v.higher_prio_send_advert && !v.skip_check_adv_addr);
    assert!(v.v3_checksum_as_v2 && !v.accept && v.promote_secondaries && v.notify_deleted);
    assert_eq!((v.down_timer_adverts, v.receive_buffer), (4, Some(8192)));
    let first = &v.addresses[0];
    assert_eq!(
        (first.options.device.as_deref(), first.options.label.as_deref(), first.scope),
        (Some("eth1"), Some("eth1:1"), 253)
    );
    assert_eq!((first.options.broadcast, first.preferred_lifetime), ("192.0.2.255".parse().ok(), Some(30)));
    assert!(!first.track && first.no_prefix_route);
    assert_eq!((v.excluded[0].dad, v.excluded[0].home, v.excluded[0].preferred_lifetime), (true, true, Some(0)));
    assert_eq!((v.excluded[1].prefix_len, v.excluded[1].preferred_lifetime), (64, None));
    let notify = config.notify.instances["V"].any.clone().expect("a script");
    assert_eq!(notify.form, CommandForm::Program(vec!["/bin/notify".to_owned(), "all".to_owned()]));
    assert_eq!(notify.user, Some(RunAs::new("daemon", Some(":adm"))));
    assert_eq!(config.daemon.script_user, Some(RunAs::new("nobody", None)));
}

/// As keepalived 2.2.7 dumps them: delay and repeat of a new master, and after a lower-priority advert.
#[test]
fn announcements_after_a_lower_priority_advert_follow_the_global_ones_of_a_new_master() {
    let rows = [
        ("", "", (5, 5), (5, 5)),
        ("", "garp_master_delay 9", (9, 5), (5, 5)),
        ("vrrp_garp_master_delay 7\nvrrp_garp_master_repeat 3", "", (7, 3), (7, 3)),
        ("vrrp_garp_master_delay 7", "garp_master_delay 9\ngarp_master_repeat 4", (9, 4), (7, 5)),
        ("vrrp_garp_lower_prio_delay 2", "garp_master_delay 9", (9, 5), (2, 5)),
        ("vrrp_min_garp", "", (0, 1), (0, 1)),
        ("vrrp_min_garp", "garp_master_delay 9\ngarp_master_repeat 4", (9, 4), (0, 1)),
    ];
    for (global, own, master, lower) in rows {
        let text = format!(
            "global_defs {{\n{global}\n}}\nvrrp_instance V {{\ninterface eth0\nvirtual_router_id 1\n{own}\nvirtual_ipaddress {{\n192.0.2.1\n}}\n}}\n"
        );
        let garp = instance(&load(&text), "V").garp.clone();
        assert_eq!((garp.delay.as_secs(), garp.repeat), master, "{global} {own}");
        assert_eq!((garp.lower_prio_delay.as_secs(), garp.lower_prio_repeat), lower, "{global} {own}");
    }
}

#[test]
fn ipv6_instances_are_version_3_on_their_group() {
    let config = load("vrrp_instance V {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress { fe80::1 }\n}\n");
    let v = instance(&config, "V");
    assert_eq!((v.family, v.version), (Family::V6, Version::V3));
    assert_eq!(v.transport, Transport::Multicast { group: address("ff02::12") });
}

#[test]
fn global_settings_count_for_instances_above_them() {
    let config = load(
        "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress { 192.0.2.1 }\n}\n\
         global_defs {\n vrrp_version 3\n vrrp_mcast_group4 224.0.0.99\n vrrp_min_garp\n}\n",
    );
    let v = instance(&config, "V");
    assert_eq!(v.version, Version::V3);
    assert_eq!(v.transport, Transport::Multicast { group: address("224.0.0.99") });
    assert_eq!((v.garp.repeat, v.garp.delay, v.garp.refresh), (1, Duration::ZERO, Duration::ZERO));
}

#[test]
fn addresses_are_announced_again_each_minute_unless_the_file_says_otherwise() {
    // global_defs, the instance's own -> seconds
    let rows = [
        ("", "", 60),
        ("", "garp_master_refresh 0", 0),
        ("vrrp_garp_master_refresh 0", "", 0),
        ("vrrp_garp_master_refresh 7", "", 7),
        ("vrrp_garp_master_refresh 0", "garp_master_refresh 9", 9),
        ("vrrp_min_garp\n vrrp_garp_master_refresh 8", "", 8),
    ];
    for (global, own, seconds) in rows {
        let config = load(&format!(
            "global_defs {{\n {global}\n}}\n\
             vrrp_instance V {{\n interface eth0\n virtual_router_id 1\n {own}\n virtual_ipaddress {{ 192.0.2.1 }}\n}}\n",
        ));
        assert_eq!(instance(&config, "V").garp.refresh, Duration::from_secs(seconds), "{global} {own}");
    }
}

#[test]
fn strict_mode_holds_to_the_rfc() {
    let config = load(
        "global_defs {\n vrrp_strict\n}\n\
         vrrp_instance V {\n state MASTER\n priority 100\n interface eth0\n virtual_router_id 1\n preempt_delay 3\n \
         authentication {\n auth_type PASS\n auth_pass x\n }\n virtual_ipaddress { 192.0.2.1 }\n}\n\
         vrrp_instance OWNER {\n interface eth0\n priority 255\n virtual_router_id 2\n virtual_ipaddress { 192.0.2.2 }\n}\n",
    );
    let v = instance(&config, "V");
    assert_eq!((v.state, v.preempt_delay, v.auth.clone()), (InitialState::Backup, Duration::ZERO, Auth::None));
    assert_eq!((v.accept, v.lower_prio_no_advert, v.garp.lower_prio_repeat), (false, true, 0));
    let owner = instance(&config, "OWNER");
    assert_eq!((owner.state, owner.accept, owner.owner_ignore_adverts), (InitialState::Master, true, true));
}

#[test]
fn passwords_are_padded_and_cut() {
    let config = |pass| {
        let text = format!(
            "vrrp_instance V {{\n interface eth0\n virtual_router_id 1\n authentication {{\n auth_type PASS\n \
             auth_pass {pass}\n }}\n virtual_ipaddress {{ 192.0.2.1 }}\n}}\n"
        );
        instance(&load(&text), "V").auth.clone()
    };
    assert_eq!(config("abc"), Auth::Pass(*b"abc\0\0\0\0\0"));
    assert_eq!(config("abcdefghij"), Auth::Pass(*b"abcdefgh"));
    assert_eq!(config(r#""a #{b""#), Auth::Pass(*b"a #{b\0\0\0"));
}

#[test]
fn tracks_take_the_weight_of_their_tracker_and_of_their_group() {
    let config = load(
        r#"
vrrp_script s { script "/bin/s"
 weight -20 reverse
 user nobody nogroup
 interval 0.5
 fall 3
 init_fail }
vrrp_script plain { script "/bin/p" }
track_file f { file /run/f
 init_file 7 overwrite }
vrrp_instance ALONE { interface eth0
 virtual_router_id 1
 virtual_ipaddress { 192.0.2.1 }
 track_script {
  s
  plain weight 5
 }
 track_file {
  f
 }
 track_interface { eth1 weight -3 reverse }
}
vrrp_instance MEMBER { interface eth0
 virtual_router_id 2
 virtual_ipaddress { 192.0.2.2 }
 track_interface { eth1 weight -3 }
 track_script {
  s
  plain
 }
}
vrrp_sync_group G { group { MEMBER }
 track_file { f }
 track_script { plain }
 notify_fault "/bin/fault"
}
"#,
    );
    let track = |tracker, weight, reverse| Track { tracker, weight, reverse };
    let (interface, file) = (TrackerKey::Interface("eth1".to_owned()), TrackerKey::File("f".to_owned()));
    let script = |name: &str| TrackerKey::Script(name.to_owned());
    assert_eq!(
        instance(&config, "ALONE").tracks,
        [
            track(interface.clone(), -3, true),
            track(script("s"), -20, true),
            track(script("plain"), 5, false),
            track(file.clone(), 1, false),
        ]
    );
    // Without `sync_group_tracking_weight` weights go, and weighted scripts with them.
    assert_eq!(
        instance(&config, "MEMBER").tracks,
        [track(interface, 0, false), track(script("plain"), 0, false), track(file.clone(), 0, false)]
    );
    assert_eq!(config.vrrp.groups["G"].members, ["MEMBER"]);
    assert!(config.notify.groups["G"].fault.is_some());
    assert_eq!(config.vrrp.trackers, [script("s"), script("plain"), file].into());
    let s = &config.scripts["s"];
    assert_eq!((s.interval, s.timeout, s.fall, s.init_fail), (Duration::from_millis(500), s.interval, 3, true));
    assert_eq!(s.command.user, Some(RunAs::new("nobody", Some("nogroup"))));
    assert_eq!(config.files["f"].path, PathBuf::from("/run/f"));
    assert_eq!(config.files["f"].init, Some(FileInit { value: 7, overwrite: true }));
}

/// The missing `}` costs a message, and not what comes after it.
#[test]
fn a_script_behind_a_list_that_is_never_closed_runs() {
    let config = load(
        "vrrp_instance V {\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {\n  192.0.2.1\n \
         notify_master \"/bin/notify 'a b'\"\n}\n",
    );
    let master = config.notify.instances["V"].master.clone().expect("a script");
    assert_eq!(master.form, CommandForm::Program(vec!["/bin/notify".to_owned(), "a b".to_owned()]));
}

#[test]
fn shell_lines_stay_lines() {
    let config = load("vrrp_script s {\n script \"[[ -e /down ]] && exit 1 || exit 0\"\n}\n");
    let line = "[[ -e /down ]] && exit 1 || exit 0".to_owned();
    assert_eq!(config.scripts["s"].command.form, CommandForm::Shell { line, needs_bash: true });
}

#[test]
fn definitions_conditions_and_loops_expand() {
    let config = load(
        r"
$IF=eth0
$LAST=8
@node1 $PRIO=150 ! the master
@^node1 $PRIO=50
$LIST=\
    192.0.2.1 dev $IF \

    192.0.2.2
$INSTANCE=\
    vrrp_instance ${name} { \
        interface $IF \
        virtual_router_id ${id} \
        priority ${PRIO} \
        virtual_ipaddress { \
            $LIST \
            ~SEQ(n, 12, -2, $LAST) 198.51.100.${n}/24 label ${IF}:${n} \
            ~SEQx(h, 16, 17) 2001:db8::${h} \
        } \
    }
~LST({name,id}, {A,1}, {B,2}) $INSTANCE
",
    );
    assert_eq!(config.vrrp.instances.keys().collect::<Vec<_>>(), ["A", "B"]);
    let b = instance(&config, "B");
    assert_eq!((b.vrid.value(), b.priority.value(), b.addresses[0].options.device.as_deref()), (2, 150, Some("eth0")));
    let found: Vec<String> = b.addresses.iter().map(|a| a.address.to_string()).collect();
    // The IPv6 addresses of the second loop are reported: the instance is IPv4.
    assert_eq!(found, ["192.0.2.1", "192.0.2.2", "198.51.100.12", "198.51.100.10", "198.51.100.8"]);
    assert_eq!(b.addresses[2].options.label.as_deref(), Some("eth0:12"));
}

#[test]
fn static_addresses_have_a_device() {
    let config = load(
        "global_defs {\n default_interface eth7\n}\nstatic_ipaddress {\n 192.0.2.1/24\n 192.0.2.2/24 dev eth1\n}\n",
    );
    let devices: Vec<_> = config.vrrp.static_addresses.iter().map(|a| a.options.device.as_deref()).collect();
    assert_eq!(devices, [Some("eth7"), Some("eth1")]);
}

#[test]
fn the_daemon_keeps_its_own_settings() {
    let config = load(
        "instance blue\nuse_pid_dir\nchild_wait_time 9\nnet_namespace ns1\n\
         global_defs {\n router_id r1\n enable_script_security\n umask IRWXG|IRWXO\n startup_script \"/bin/start now\"\n \
         startup_script_timeout 20\n reload_check_config /tmp/log\n vrrp_startup_delay 2.5\n vrrp_delay_after_boot 90\n vrrp_rt_priority 50\n \
         vrrp_priority -5\n vrrp_cpu_affinity 0 1\n dynamic_interfaces\n}\n",
    );
    let daemon = &config.daemon;
    assert_eq!((daemon.instance.as_deref(), daemon.use_pid_dir), (Some("blue"), true));
    assert_eq!((daemon.child_wait, daemon.net_namespace.as_deref()), (Duration::from_secs(9), Some("ns1")));
    assert_eq!((daemon.router_id.as_deref(), daemon.script_security, daemon.umask), (Some("r1"), true, Some(0o077)));
    assert_eq!(daemon.startup_script.as_ref().map(|c| c.text.as_str()), Some("/bin/start now"));
    assert_eq!(daemon.reload_check_log.as_deref(), Some(Path::new("/tmp/log")));
    let vrrp = &config.vrrp.global;
    assert_eq!(vrrp.delay_after_boot, Duration::from_secs(90));
    assert_eq!((vrrp.startup_delay, vrrp.rt_priority, vrrp.nice), (Duration::from_millis(2500), Some(50), Some(-5)));
    assert_eq!((vrrp.cpu_affinity.len(), vrrp.dynamic_interfaces), (2, true));
}

#[test]
fn the_packet_filter_has_the_tables_name_priority_and_counters() {
    let filter = |globals: &str| load(&format!("global_defs {{\n{globals}\n}}\n")).vrrp.global.filter;
    assert_eq!(filter(""), FilterConfig::default());
    assert_eq!(filter("nftables\nvrrp_iptables\nnftables_ifindex"), FilterConfig::default());
    let all = filter("nftables edge\nnftables_priority -10\nnftables_counters");
    assert_eq!(all, FilterConfig { table: "edge".to_owned(), priority: -10, counters: true });
    assert_eq!(filter("nftables \"a b\"").table, "holdfast", "a name that nft cannot write");
}

#[test]
fn processes_and_what_they_mean() {
    let config = load(
        "vrrp_track_process name {\n process nginx\n quorum 2\n quorum_max 9\n delay 0.5\n fork_delay 2\n}\n\
         vrrp_track_process none {\n process nginx\n quorum_max 0\n terminate_delay 3\n delay 1\n}\n\
         vrrp_track_process full {\n process nginx\n full_command\n}\n\
         vrrp_track_process exact {\n process \"/tmp/a b\" p1 \"p 2\"\n weight -254 reverse\n}\n\
         vrrp_track_process initial {\n process x y\n param_match initial\n}\n\
         vrrp_instance V {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress { 192.0.2.1 }\n \
         track_process {\n name\n exact\n initial weight 7\n }\n}\n\
         vrrp_instance W {\n interface eth0\n virtual_router_id 2\n virtual_ipaddress { 192.0.2.2 }\n \
         track_process {\n exact\n }\n}\n\
         vrrp_sync_group G {\n group { W }\n track_process { none }\n}\n",
    );
    let process = |name: &str| config.processes[name].clone();
    let seconds = Duration::from_secs_f64;
    let name = process("name");
    assert_eq!(name.pattern, ProcessPattern::Name("nginx".to_owned()));
    assert_eq!((name.quorum, name.quorum_max), (2, Some(9)));
    assert_eq!((name.fork_delay, name.terminate_delay), (seconds(2.0), seconds(0.5)));
    let none = process("none");
    assert_eq!((none.quorum, none.quorum_max), (0, Some(0)));
    assert_eq!((none.fork_delay, none.terminate_delay), (seconds(1.0), seconds(1.0)), "the last line counts");
    let line = |words: &[&str], matching| {
        let mut words = words.iter().map(|word| (*word).to_owned());
        let program = words.next().expect("a program");
        ProcessPattern::CommandLine { program, parameters: words.collect(), matching }
    };
    assert_eq!(process("full").pattern, line(&["nginx"], ParameterMatch::Partial));
    assert_eq!(process("exact").pattern, line(&["/tmp/a b", "p1", "p 2"], ParameterMatch::Exact));
    assert_eq!(process("initial").pattern, line(&["x", "y"], ParameterMatch::Initial));
    let track = |name: &str, weight, reverse| Track { tracker: TrackerKey::Process(name.to_owned()), weight, reverse };
    let tracks = vec![track("name", 0, false), track("exact", -254, true), track("initial", 7, false)];
    assert_eq!(instance(&config, "V").tracks, tracks);
    assert_eq!(instance(&config, "W").tracks, [track("none", 0, false)], "a group moves as one");
    assert!(config.vrrp.trackers.contains(&TrackerKey::Process("full".to_owned())));
}
