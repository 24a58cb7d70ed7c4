//! The two daemons' files of one configuration.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::common::needs_keepalived;
use crate::rig::{Make, Node, Rig, read, sh, wait_line, wait_state, wait_until};

const CONFIG: &str = include_str!("both.conf");
const LEFT_OUT: &str = include_str!("left_out.txt");

/// What a daemon has written.
struct Written {
    data: String,
    stats: String,
    json: Value,
}

/// The number of main, as the node numbers it.
pub fn signal(node: &holdfast::lab::director::Director, number: i32) {
    sh(node, &format!("kill -{number} $(cat /run/lab-main.pid)"));
}

/// Runs one daemon, lets it become master of what it can, and has it write all files.
fn run(make: Make) -> Written {
    let node = Node::new("a", make, CONFIG);
    let mut rig = Rig::build(2, vec![node]);
    let a = &rig.nodes[0];
    a.write_file("/etc/keepalived/number".as_ref(), "3\n").expect("a private file");
    sh(a, "ip link add eth2 type veth peer name eth2p");
    rig.start_all();
    let a = rig.node(0);
    for instance in ["VI_1", "VI_U", "VI_6", "VI_S", "VI_G1", "VI_G2"] {
        wait_state(a, instance, "MASTER");
    }
    wait_line(a, 0, "VRRP_Script(chk_good) succeeded");
    wait_line(a, 0, "VRRP_Script(chk_bad) failed");
    // Scripts, files and processes have had their say when this is the priority.
    wait_until("all trackers count", || {
        signal(a, 10);
        read(a, "/tmp/keepalived.data").contains("Effective priority = 170")
    });
    // Written whole, whoever reads: the last section is there.
    wait_until("the whole file", || read(a, "/tmp/keepalived.data").contains(" Track file = number"));
    signal(a, 12);
    wait_until("statistics", || read(a, "/tmp/keepalived.stats").contains("VRRP Instance: VI_U"));
    signal(a, 36);
    wait_until("JSON", || read(a, "/tmp/keepalived.json").ends_with('\n'));
    let json = read(a, "/tmp/keepalived.json");
    assert_eq!(json.lines().count(), 1, "one line");
    assert!(!json.contains(" :") && !json.contains("[^\\]/"), "compact, slashes escaped");
    for file in ["data", "stats", "json"] {
        assert_eq!(sh(a, &format!("stat -c %a /tmp/keepalived.{file}")).trim(), "600", "{file}");
    }
    Written {
        data: read(a, "/tmp/keepalived.data"),
        stats: read(a, "/tmp/keepalived.stats"),
        json: serde_json::from_str(&json).expect("JSON"),
    }
}

#[test]
fn the_same_of_the_same_configuration() {
    needs_keepalived!();
    let (ours, theirs) = std::thread::scope(|scope| {
        let ours = scope.spawn(|| run(Make::Holdfast));
        let theirs = run(Make::Keepalived);
        (ours.join().expect("no panic"), theirs)
    });
    let differences = [
        compare_json(&ours.json, &theirs.json),
        compare_stats(&ours.stats, &theirs.stats),
        compare_data(&ours.data, &theirs.data),
    ];
    let differences = differences.concat();
    assert!(differences.is_empty(), "{differences:#?}");
    // All of it in the order of the configuration, which is not that of the alphabet.
    let names = |json: &Value| -> Vec<String> {
        let all = json.as_array().expect("an array").iter();
        all.map(|one| one["data"]["iname"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&ours.json), names(&theirs.json));
    assert!(!names(&ours.json).is_sorted(), "or this proves nothing");
    let counted = |stats: &str| -> Vec<String> {
        stats.lines().filter_map(|line| line.strip_prefix("VRRP Instance: ")).map(str::to_owned).collect()
    };
    assert_eq!(counted(&ours.stats), counted(&theirs.stats));
    assert_eq!(items(&ours.data), items(&theirs.data));
}

/// The sections and what each is about, in their order.
fn items(data: &str) -> Vec<(String, String)> {
    let mut items: Vec<(String, String)> = Vec::new();
    for (section, item, _) in facts(data) {
        // The lists of both: of states and other values there are tests of their own.
        let item = (section, item.split([',', '=']).take(2).collect::<Vec<_>>().join("="));
        if items.last() != Some(&item) {
            items.push(item);
        }
    }
    items
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

/// Moments and what is masked; those of `stats` count what the test cannot hold still.
const NOT_COMPARED: [&str; 2] = ["last_transition", "auth_data"];
/// Newer than Debian's keepalived.
const NEWER: [&str; 7] = [
    "auth_ext_missing",
    "auth_ext_malformed",
    "auth_ext_unknown_key",
    "auth_ext_invalid_hmac",
    "auth_ext_stale",
    "auth_ext_replay",
    "track_process",
];

fn compare_json(ours: &Value, theirs: &Value) -> Vec<String> {
    let by_name = |all: &Value| -> std::collections::BTreeMap<String, Value> {
        let all = all.as_array().expect("an array").iter();
        all.map(|one| (one["data"]["iname"].as_str().expect("a name").to_owned(), one.clone())).collect()
    };
    let (ours, theirs) = (by_name(ours), by_name(theirs));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    let mut differences = Vec::new();
    for (name, theirs) in &theirs {
        for part in ["data", "stats"] {
            let (a, b) = (ours[name][part].as_object().unwrap(), theirs[part].as_object().unwrap());
            let keys: BTreeSet<_> = a.keys().chain(b.keys()).filter(|key| !NEWER.contains(&key.as_str())).collect();
            for key in keys {
                let (a, b) = (a.get(key), b.get(key));
                let same = match (a, b) {
                    (Some(a), Some(b)) if NOT_COMPARED.contains(&key.as_str()) || part == "stats" => {
                        std::mem::discriminant(a) == std::mem::discriminant(b) && a.is_f64() == b.is_f64()
                    }
                    (a, b) => a == b,
                };
                if !same {
                    differences.push(format!("{name} {part} {key}: {a:?}, keepalived {b:?}"));
                }
            }
        }
    }
    differences
}

// ---- statistics -----------------------------------------------------------------------------------------------------

fn compare_stats(ours: &str, theirs: &str) -> Vec<String> {
    // In instances by name: keepalived has them in the order of the file.
    let blocks = |text: &str| -> BTreeSet<String> {
        let text = text.replace("\nVRRP Instance", "\n\nVRRP Instance");
        text.split("\n\n").map(|block| block.trim_end().to_owned()).collect()
    };
    // Newer than Debian's keepalived.
    let extension = "  Authentication Extension Errors:\n    Missing: 0\n    Malformed: 0\n    Unknown Key: 0\n    \
                     Invalid HMAC: 0\n    Stale: 0\n    Replay: 0\n";
    let ours = ours.replace(extension, "");
    let hidden = |text: &str| -> String {
        let line = |line: &str| match line.rsplit_once(": ") {
            Some((label, value)) if !label.starts_with("VRRP") => {
                assert!(value.parse::<u64>().is_ok(), "an exporter gives up at {line:?}");
                format!("{label}: N\n")
            }
            _ => format!("{line}\n"),
        };
        text.lines().map(line).collect()
    };
    let (ours, theirs) = (blocks(&hidden(&ours)), blocks(&hidden(theirs)));
    ours.symmetric_difference(&theirs).map(|block| format!("statistics of one only: {block}")).collect()
}

// ---- data -----------------------------------------------------------------------------------------------------------

/// Section, item and line of everything that is to be compared.
fn facts(text: &str) -> Vec<(String, String, String)> {
    let left_out: Vec<&str> = LEFT_OUT.lines().filter(|line| !line.starts_with('#')).collect();
    let left_out: Vec<&str> = left_out.iter().map(|line| line.split('\t').next().unwrap_or_default()).collect();
    let (mut section, mut item) = (String::new(), String::new());
    let mut facts = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("------< ") {
            section = title.trim_end_matches(" >------").to_owned();
            item.clear();
        }
        if line.starts_with(' ') && !line.starts_with("  ") && section != "Global definitions" {
            item = line.to_owned();
        }
        let in_global = section == "Global definitions";
        let skipped = |entry: &&str| match entry.strip_prefix("section ") {
            Some(title) => section.starts_with(title),
            // The defaults are left out at the top of the file only.
            None if ["Gratuitous ARP", "Send advert"].iter().any(|word| entry.starts_with(word)) => {
                in_global && line.trim_start().starts_with(entry)
            }
            None => line.trim_start().starts_with(entry),
        };
        if !left_out.iter().any(skipped) {
            facts.push((section.clone(), item.clone(), plain(line)));
        }
    }
    facts
}

/// A line without what differs between two machines or two moments.
fn plain(line: &str) -> String {
    let key = line.split(" = ").next().unwrap_or(line);
    match key.trim() {
        "Last transition" | "Read timeout" | "Password" | "State" if line.starts_with("   ") => match key.trim() {
            // Of an instance it counts; whether a script runs just now does not.
            "State" if !line.contains("idle") && !line.contains("running") => line.to_owned(),
            _ => key.to_owned(),
        },
        "Using src_ip" if line.contains("fe80::") => key.to_owned(),
        _ if key.trim().starts_with("Multicast address") => line.split(',').next().unwrap_or(line).to_owned(),
        _ if line.trim() == "Flags:" || line.trim() == "Flags: none" => "   Flags".to_owned(),
        // Of the static address: `set` is not known to the process that writes.
        _ => line.strip_suffix(" set").filter(|line| line.contains("10.9.5.5")).unwrap_or(line).to_owned(),
    }
}

fn compare_data(ours: &str, theirs: &str) -> Vec<String> {
    let (ours, theirs) = (facts(ours), facts(theirs));
    let missing = theirs.iter().filter(|fact| !ours.contains(fact)).map(|fact| format!("only keepalived: {fact:?}"));
    let invented = ours.iter().filter(|fact| !theirs.contains(fact)).map(|fact| format!("only Holdfast: {fact:?}"));
    missing.chain(invented).collect()
}

#[test]
fn each_line_of_the_list_is_there_for_a_reason() {
    for line in LEFT_OUT.lines().filter(|line| !line.starts_with('#')) {
        let (what, why) = line.split_once('\t').unwrap_or((line, ""));
        assert!(!what.is_empty() && why.len() > 5, "{line:?}");
    }
}

/// A backup tells whom it follows.
#[test]
fn a_backup_tells_its_master_as_keepalived_does() {
    needs_keepalived!();
    let instance = |priority: u8, version: u8| {
        format!(
            "vrrp_instance VI_1 {{\n interface eth0\n virtual_router_id 51\n version {version}\n priority {priority}\n \
             virtual_ipaddress {{\n 10.9.0.100/24\n }}\n}}\n"
        )
    };
    for version in [2, 3] {
        let told = [Make::Holdfast, Make::Keepalived].map(|make| {
            let master = Node::new("m", Make::Keepalived, instance(200, version));
            let mut rig = Rig::build(1, vec![master, Node::new("b", make, instance(100, version))]);
            rig.start_in_turn();
            let b = rig.node(1);
            wait_state(b, "VI_1", "BACKUP");
            wait_until("it has heard its master", || {
                signal(b, 10);
                read(b, "/tmp/keepalived.data").contains("Master router = 10.9.0.11")
            });
            signal(b, 36);
            wait_until("JSON", || read(b, "/tmp/keepalived.json").ends_with('\n'));
            let json: Value = serde_json::from_str(&read(b, "/tmp/keepalived.json")).expect("JSON");
            let data = &json[0]["data"];
            assert_eq!(
                (&data["master_priority"], &data["state"], &data["vipset"]),
                (&200.into(), &1.into(), &false.into())
            );
            let file = read(b, "/tmp/keepalived.data");
            let instances = file.split("------< VRRP Sockpool").next().unwrap_or_default();
            let lines = instances.lines().filter(|line| {
                ["Master", "State", "Wantstate", "     10."]
                    .iter()
                    .any(|word| line.trim_start().starts_with(word.trim()))
            });
            lines.map(str::to_owned).collect::<Vec<_>>()
        });
        let [ours, theirs] = told;
        assert_eq!(ours, theirs, "version {version}");
    }
}
