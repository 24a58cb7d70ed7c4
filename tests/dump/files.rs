//! How the files come about: whole, never through somebody's link, and never in anybody's way.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::common::needs_root;
use crate::compare::signal;
use crate::rig::{Make, Node, Rig, read, sh, wait_line, wait_state, wait_until};

const INSTANCE: &str = "vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    version 3
    priority 150
    advert_int 0.1
    virtual_ipaddress {
        10.9.0.100/24
    }
}
";

fn start(config: &str) -> Rig {
    let mut rig = Rig::build(1, vec![Node::new("a", Make::Holdfast, config)]);
    rig.start_all();
    wait_state(rig.node(0), "VI_1", "MASTER");
    rig
}

#[test]
fn a_link_is_replaced_and_not_followed() {
    needs_root!();
    let rig = start(INSTANCE);
    let a = rig.node(0);
    sh(a, "echo mine > /tmp/victim; chmod 644 /tmp/victim; ln -s /tmp/victim /tmp/keepalived.json");
    signal(a, 36);
    wait_until("JSON", || read(a, "/tmp/keepalived.json").starts_with('['));
    assert_eq!(read(a, "/tmp/victim"), "mine\n");
    let kind =
        a.host().run(|| std::fs::symlink_metadata("/tmp/keepalived.json").map(|meta| (meta.is_file(), meta.mode())));
    let (is_file, mode) = kind.expect("there");
    assert!(is_file);
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(sh(a, "ls -A /tmp | grep -c '^[.]keepalived' || true").trim(), "0", "nothing is left behind");
}

/// A program that waits for the end of writing under the final name, as VyOS does, gets it, and finds a whole file.
#[test]
fn whoever_waits_for_the_file_is_told_after_the_rename() {
    needs_root!();
    use inotify::{Inotify, WatchMask};
    let rig = start(INSTANCE);
    let a = rig.node(0);
    let watch = a.host().run(|| {
        let inotify = Inotify::init().expect("inotify");
        inotify
            .watches()
            .add("/tmp", WatchMask::MOVED_TO | WatchMask::CLOSE_WRITE | WatchMask::CREATE)
            .expect("a watch");
        inotify
    });
    let mut inotify = watch;
    signal(a, 36);
    let mut seen = Vec::new();
    wait_until("the file is closed", || {
        let mut buffer = [0; 4096];
        if let Ok(events) = inotify.read_events(&mut buffer) {
            seen.extend(events.filter_map(|event| Some((event.name?.to_string_lossy().into_owned(), event.mask))));
        }
        seen.iter().any(|(name, mask)| name == "keepalived.json" && mask.contains(inotify::EventMask::CLOSE_WRITE))
    });
    let last: Vec<_> = seen.iter().filter(|(name, _)| name == "keepalived.json").map(|(_, mask)| *mask).collect();
    assert_eq!(last, [inotify::EventMask::MOVED_TO, inotify::EventMask::CLOSE_WRITE], "{seen:?}");
    assert!(read(a, "/tmp/keepalived.json").ends_with("]\n"));
}

#[test]
fn a_full_disk_costs_the_file_and_nothing_else() {
    needs_root!();
    let config = format!("global_defs {{\n state_dump_file /tmp/small/state\n}}\n{INSTANCE}");
    let mut rig = Rig::build(1, vec![Node::new("a", Make::Holdfast, config)]);
    // Before the daemon starts: it has mounts of its own.
    rig.node(0).host().run(|| {
        std::fs::create_dir("/tmp/small").expect("a directory");
        nix::mount::mount(Some("none"), "/tmp/small", Some("tmpfs"), nix::mount::MsFlags::empty(), Some("size=16k"))
            .expect("a small disk");
        std::fs::write("/tmp/small/state", "old\n").expect("a file");
    });
    rig.start_all();
    let a = rig.node(0);
    wait_state(a, "VI_1", "MASTER");
    sh(a, "head -c 1M /dev/zero > /tmp/small/fill 2>/dev/null || true");
    let mark = a.log_mark();
    signal(a, 10);
    wait_line(a, mark, "/tmp/small/state cannot be written: No space left on device");
    assert_eq!(read(a, "/tmp/small/state"), "old\n", "what was there stays");
    assert_eq!(sh(a, "ls -A /tmp/small").lines().collect::<Vec<_>>(), ["fill", "state"], "nothing is left behind");
    sh(a, "rm /tmp/small/fill");
    signal(a, 10);
    wait_until("the next one is written", || read(a, "/tmp/small/state").contains("VRRP Instance = VI_1"));
    wait_until("main's own too", || read(a, "/tmp/small/state_parent").contains("Global definitions"));
}

#[test]
fn cleared_statistics_begin_again() {
    needs_root!();
    let rig = start(INSTANCE);
    let a = rig.node(0);
    let value = |label: &str| {
        let file = read(a, "/tmp/keepalived.stats");
        let line = file.lines().find(|line| line.trim().starts_with(label)).unwrap_or_default().to_owned();
        line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok())
    };
    // The statistics that are printed with the clearing are those from before.
    signal(a, 63);
    wait_until("statistics", || value("Became master:") == Some(1));
    signal(a, 12);
    wait_until("cleared", || value("Became master:") == Some(0));
    wait_until("counting goes on", || {
        signal(a, 12);
        value("Sent:").is_some_and(|sent| sent > 2)
    });
    signal(a, 36);
    wait_until("JSON", || read(a, "/tmp/keepalived.json").ends_with('\n'));
    assert!(read(a, "/tmp/keepalived.json").contains("\"become_master\":0"));
}

#[test]
fn places_names_and_layout_are_configured() {
    needs_root!();
    let config = format!(
        "global_defs {{\n json_version 2\n json_dump_file /tmp/x.json\n data_use_instance\n umask 0137\n}}\ninstance web\n\
         vrrp_track_process shell {{\n process sleep\n quorum 900\n quorum_max 1000\n weight 3\n}}\n{}",
        INSTANCE.replace("priority 150", "priority 150\n track_process {\n shell weight 4\n }")
    );
    let rig = start(&config);
    let a = rig.node(0);
    let process = || {
        signal(a, 36);
        let json: serde_json::Value = serde_json::from_str(&read(a, "/tmp/x.json")).unwrap_or_default();
        json["track_process"][0].clone()
    };
    wait_until("it is there", || process()["have_quorum"] == false);
    let process = process();
    assert_eq!((&process["process"], &process["weight"]), (&"sleep".into(), &4.into()));
    assert_eq!((&process["min_processes"], &process["max_processes"]), (&900.into(), &1000.into()));
    assert!(process["current_processes"].is_u64() && process["fork_delay_timer_running"] == false);
    assert!(read(a, "/tmp/x.json").starts_with("{\"vrrp\":[{\"data\":{\"iname\":\"VI_1\""));
    signal(a, 10);
    wait_until("data under its own name", || read(a, "/tmp/keepalived.web.data").contains("VI_1"));
    let mode = a.host().run(|| std::fs::metadata("/tmp/keepalived.web.data").map(|meta| meta.permissions().mode()));
    assert_eq!(mode.expect("there") & 0o777, 0o640);
    assert_eq!(read(a, "/tmp/keepalived.data"), "");
}

/// The last transition does not move by itself: alerts are made of it.
#[test]
fn the_last_transition_is_the_same_each_time() {
    needs_root!();
    let rig = start(INSTANCE);
    let a = rig.node(0);
    let mut moments = std::collections::BTreeSet::new();
    for n in 0..5 {
        sh(a, "rm -f /tmp/keepalived.json");
        signal(a, 36);
        wait_until("JSON", || read(a, "/tmp/keepalived.json").ends_with('\n'));
        let json: serde_json::Value = serde_json::from_str(&read(a, "/tmp/keepalived.json")).expect("JSON");
        moments.insert(json[0]["data"]["last_transition"].to_string());
        assert_eq!(moments.len(), 1, "{moments:?} at {n}");
    }
}

/// Version 2 is the instances of version 1 in an object, and the processes: all of the names that programs look for, in
/// keepalived's order.
#[test]
fn version_2_of_the_json_has_keepalived_s_names_in_their_order() {
    needs_root!();
    let config = |version: u8| {
        // Both bounds, and a pattern with parameters: all names are there.
        format!(
            "global_defs {{\n json_version {version}\n}}\nvrrp_track_process shell {{\n process sleep 1000\n quorum 900\n quorum_max 1000\n weight 3\n}}\n\
             vrrp_script chk {{\n script /bin/true\n interval 1\n}}\n{}",
            INSTANCE.replace(
                "priority 150",
                "priority 150\n track_process {\n shell weight 4\n }\n track_script {\n chk\n }"
            )
        )
    };
    let written = |version: u8| {
        let rig = start(&config(version));
        let a = rig.node(0);
        wait_until("JSON", || {
            signal(a, 36);
            read(a, "/tmp/keepalived.json").ends_with('\n')
        });
        read(a, "/tmp/keepalived.json")
    };
    let (one, two) = (written(1), written(2));
    let names = |text: &str| -> Vec<String> {
        let parts: Vec<&str> = text.split('"').collect();
        let named = parts.windows(2).filter(|pair| pair[1].starts_with(':')).map(|pair| pair[0].to_owned());
        named.collect()
    };
    let order = include_str!("json_names.txt");
    let section = |title: &str| -> Vec<&str> {
        let (_, after) = order.split_once(&format!("# {title}\n")).expect("a section");
        after.split('#').next().unwrap_or_default().split_whitespace().collect()
    };
    let (data, stats, process) = (section("data"), section("stats"), section("track_process"));
    let (instance, processes) = two.rsplit_once("\"track_process\":[").expect("processes");
    let (shown, counted) = instance.split_once("\"stats\":").expect("statistics");
    let shown: Vec<String> =
        names(shown).into_iter().filter(|name| !["vrrp", "data"].contains(&name.as_str())).collect();
    // What is not configured is left out, as in keepalived; what is there is in its place.
    let known: Vec<&str> = data.iter().copied().filter(|name| shown.iter().any(|one| one == name)).collect();
    assert_eq!(shown, known);
    for always in ["iname", "vrid", "state", "vips", "last_transition", "track_script", "track_process", "auth_type"] {
        assert!(known.contains(&always), "{always}");
    }
    assert_eq!(names(counted), stats);
    assert_eq!(names(processes), process);
    // Version 1 has the same instances, in an array.
    let names_of_one: Vec<String> = names(&one);
    let of_two: Vec<String> = names(instance).into_iter().filter(|name| name != "vrrp").collect();
    assert_eq!(names_of_one, of_two);
    assert!(one.starts_with("[{\"data\":{") && two.starts_with("{\"vrrp\":[{\"data\":{"), "{one}{two}");
}

/// What the kernel refused is not there, whatever the instance's state says.
#[test]
fn an_address_that_the_kernel_refused_is_not_said_to_be_set() {
    needs_root!();
    let excluded = " virtual_ipaddress_excluded {\n 2001:db8::77/64\n }\n}\n";
    let config = INSTANCE.trim_end().strip_suffix('}').expect("a block").to_owned() + excluded;
    let mut rig = Rig::build(1, vec![Node::new("a", Make::Holdfast, config)]);
    sh(rig.node(0), "echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6");
    rig.start_all();
    let a = rig.node(0);
    wait_state(a, "VI_1", "MASTER");
    let data = || {
        signal(a, 36);
        let json: serde_json::Value = serde_json::from_str(&read(a, "/tmp/keepalived.json")).unwrap_or_default();
        json[0]["data"].clone()
    };
    wait_until("the other one is set", || data()["vips"][0] == "10.9.0.100/24 dev eth0 scope global set");
    let refused = data()["evips"][0].as_str().expect("it is shown").to_owned();
    assert!(refused.starts_with("2001:db8::77/64 dev eth0") && !refused.contains(" set"), "{refused}");
    signal(a, 10);
    wait_until("the text", || read(a, "/tmp/keepalived.data").contains("2001:db8::77/64"));
    let text = read(a, "/tmp/keepalived.data");
    let line = |address: &str| text.lines().find(|line| line.contains(address)).expect("a line").to_owned();
    assert!(line("10.9.0.100").ends_with(" set") && !line("2001:db8::77").contains(" set"), "{text}");
}
