//! Each finding once where it belongs, and not at all when its fix is applied.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::conf::compare::{Director, compare};
use crate::conf::{Checked, check_text};

/// A machine on which one script is missing, one not executable, and one writable by everybody.
struct Machine;

impl Host for Machine {
    fn judge(&self, command: &Command, _: &Config) -> Vec<ScriptProblem> {
        let problem =
            |code, help: &str| vec![ScriptProblem { code, message: "no".to_owned(), help: Some(help.to_owned()) }];
        match command.text.as_ref() {
            "/bin/missing" => problem("script-missing", "correct it"),
            "/bin/plain" => problem("script-not-executable", "chmod a+x /bin/plain"),
            "/bin/loose" => problem("script-unsafe", "chmod go-w /bin/loose"),
            _ => Vec::new(),
        }
    }
}

fn checked(name: &str, text: &str) -> Checked {
    check_text(Path::new(name), text.as_bytes(), &Default::default(), Some(&Machine))
}

fn codes(text: &str) -> BTreeSet<String> {
    let checked = checked("k.conf", text);
    checked.loaded.diagnostics.iter().filter_map(|d| d.code.clone()).collect()
}

/// A file with one instance that has these lines, and these blocks before it.
fn file(blocks: &str, lines: &str) -> String {
    let default = |keyword: &str, line: &str| {
        let said = lines.lines().any(|l| l.split_whitespace().next() == Some(keyword));
        if said { String::new() } else { format!(" {line}\n") }
    };
    let parts = [
        default("interface", "interface eth0"),
        default("virtual_router_id", "virtual_router_id 51"),
        default("virtual_ipaddress", "virtual_ipaddress {\n  192.0.2.10/24\n }"),
    ];
    format!("{blocks}\nvrrp_instance V {{\n{}{lines}\n}}\n", parts.concat())
}

fn script(line: &str) -> String {
    format!("vrrp_script s {{\n script \"{line}\"\n fall 2\n rise 2\n}}\n")
}

const TRACK: &str = "track_script {\n s\n }";

/// Code, the file that has it, and the same file mended.
fn table() -> Vec<(&'static str, String, String)> {
    let plain = |wrong: &str, right: &str| (file("", wrong), file("", right));
    let weighted = |priority: u8, weight: i16, more: &str| {
        file(&script("/bin/ok"), &format!("priority {priority}\n {more}\n track_script {{\n s weight {weight}\n }}"))
    };
    let tracked = |line: &str| file(&script(line), TRACK);
    let auth = |pass: &str| format!("authentication {{\n auth_type PASS\n auth_pass {pass}\n }}");
    let unicast = |peer: &str, more: &str| format!("unicast_src_ip 192.0.2.1\n unicast_peer {{\n {peer}\n }}\n {more}");
    let mut rows = Vec::new();
    let mut row = |code: &'static str, (wrong, right): (String, String)| rows.push((code, wrong, right));
    row("surplus-word", plain("priority 100 nopreempt", "priority 100\n nopreempt"));
    let addresses = |text: &str| format!("virtual_ipaddress {{\n {text}\n }}");
    row("second-address", plain(&addresses("192.0.2.1/24 192.0.2.2/24"), &addresses("192.0.2.1/24\n 192.0.2.2/24")));
    row("auth-pass-cut", plain(&auth("secret!1"), &auth("\"secret!1\"")));
    row("auth-pass-cut", plain(&auth("longer-than-8"), &auth("longer-t")));
    row("state-equal", plain("state EQUAL", "state BACKUP"));
    row("nopreempt-master", plain("state MASTER\n priority 100\n nopreempt", "state BACKUP\n nopreempt"));
    row("preempt-delay-dropped", plain("preempt_delay 5\n nopreempt", "preempt_delay 5"));
    row("weight-too-small", (weighted(100, -1, ""), weighted(100, -20, "")));
    row("weight-clamped", (weighted(250, 20, ""), weighted(250, -20, "")));
    row("weight-owner", (weighted(255, -20, ""), weighted(254, -20, "")));
    row("weight-nopreempt", (weighted(100, -20, "nopreempt"), weighted(100, 0, "nopreempt")));
    row("script-missing", (tracked("/bin/missing"), tracked("/bin/ok")));
    row("script-not-executable", (tracked("/bin/plain"), tracked("/bin/ok")));
    row("script-unsafe", (tracked("/bin/loose"), tracked("/bin/ok")));
    row("script-unsafe", plain("notify_master /bin/loose", "notify_master /bin/ok"));
    row("script-shell-line", (tracked("/bin/ok || exit 1"), tracked("/bin/ok")));
    row("script-always-succeeds", (tracked("/bin/ok || true"), tracked("/bin/ok")));
    let two = |id: u8| file(&file("", "").replace(" V ", " W "), &format!("virtual_router_id {id}"));
    row("duplicate-vrid", (two(51), two(52)));
    row("unicast-source", plain(&unicast("192.0.2.2", ""), &unicast("192.0.2.2", "check_unicast_src")));
    row("unicast-self", plain(&unicast("192.0.2.1", "check_unicast_src"), &unicast("192.0.2.2", "check_unicast_src")));
    let jumpy = file("vrrp_script s {\n script /bin/ok\n}\n", TRACK);
    row("preemption-flaps", (jumpy.clone(), jumpy.replace("/bin/ok", "/bin/ok\n fall 3")));
    row("preemption-flaps", (jumpy.clone(), jumpy.replace(" interface", " nopreempt\n interface")));
    row("strict-drops", plain("strict_mode on\n version 3", "strict_mode on\n version 3\n accept"));
    row("group-not-local", plain("mcast_dst_ip 224.1.2.3", "mcast_dst_ip 224.0.0.99"));
    let nat = |server: &str| {
        let service = format!("virtual_server 192.0.2.10 80 {{\n lb_kind NAT\n real_server {server} 80 {{\n }}\n}}\n");
        file("", "") + &service
    };
    row("nat-local-clients", (nat("192.0.2.77"), nat("198.51.100.77")));
    rows
}

/// The other director's file differs from [`pair_base`] in one line.
const BASE: &str = "\
vrrp_script s {
 script /bin/ok
 fall 2
 rise 2
}
vrrp_sync_group G {
 group {
  V
  W
 }
 sync_group_tracking_weight
}
vrrp_instance V {
 interface eth0
 state BACKUP
 virtual_router_id 51
 priority 150
 advert_int 1
 unicast_src_ip 192.0.2.1
 unicast_peer {
  192.0.2.2
 }
 check_unicast_src
 authentication {
  auth_type PASS
  auth_pass secret
 }
 virtual_ipaddress {
  192.0.2.10/24
 }
 virtual_ipaddress_excluded {
  192.0.2.11/24
 }
 track_script {
  s weight -60
 }
}
vrrp_instance W {
 interface eth1
 version 3
 virtual_router_id 52
 priority 150
 virtual_ipaddress {
  192.0.2.20/24
 }
}
virtual_server 192.0.2.10 80 {
 lb_kind NAT
 real_server 198.51.100.2 80 {
 }
}
";

fn other() -> String {
    BASE.replace("unicast_src_ip 192.0.2.1\n", "unicast_src_ip 192.0.2.9\n")
        .replace("  192.0.2.2\n", "  192.0.2.1\n")
        .replace("unicast_src_ip 192.0.2.9", "unicast_src_ip 192.0.2.2")
        .replace("priority 150", "priority 100")
}

fn pair(first: &str, second: &str) -> BTreeSet<String> {
    let (a, b) = (checked("a.conf", first), checked("b.conf", second));
    let config =
        |checked: &Checked| checked.loaded.config.clone().unwrap_or_else(|| panic!("{}", checked.loaded.diagnostics));
    let (ca, cb) = (config(&a), config(&b));
    let found = compare(Director { config: &ca, places: &a.places }, Director { config: &cb, places: &b.places });
    for finding in found.iter() {
        assert!(finding.help.is_some() && finding.source.is_some(), "{finding}");
    }
    found.iter().filter_map(|d| d.code.clone()).collect()
}

/// Code, and what is replaced by what in the second director's file.
const PAIRS: [(&str, &str, &str); 24] = [
    (
        "pair-missing",
        "W {\n interface eth1\n version 3\n virtual_router_id 52",
        "X {\n interface eth1\n version 3\n virtual_router_id 59",
    ),
    ("pair-virtual-server", "198.51.100.2 80", "198.51.100.3 80"),
    ("pair-virtual-server", "virtual_server 192.0.2.10 80", "virtual_server 192.0.2.10 81"),
    ("pair-vrid", "virtual_router_id 51", "virtual_router_id 53"),
    ("pair-family", "  192.0.2.20/24", "  2001:db8::20/64"),
    ("pair-version", " version 3\n", ""),
    ("pair-interval", "advert_int 1", "advert_int 2"),
    ("pair-addresses", "  192.0.2.20/24", "  192.0.2.21/24"),
    ("pair-addresses", "  192.0.2.20/24", "  192.0.2.20/25"),
    ("pair-excluded", "  192.0.2.11/24", "  192.0.2.12/24"),
    ("pair-auth", "auth_pass secret", "auth_pass Secret"),
    ("pair-priority", "virtual_router_id 52\n priority 100", "virtual_router_id 52\n priority 150"),
    ("pair-preempt", " version 3\n", " version 3\n nopreempt\n"),
    ("pair-transport", " version 3\n", " version 3\n mcast_dst_ip 224.0.0.99\n"),
    ("pair-transport", " unicast_peer {\n  192.0.2.1\n }\n", ""),
    ("pair-peers", "  192.0.2.1\n", "  192.0.2.7\n"),
    ("pair-peers", "unicast_src_ip 192.0.2.2", "unicast_src_ip 192.0.2.7"),
    ("pair-checksum", " version 3\n", " version 3\n v3_checksum_as_v2\n"),
    ("pair-setting", " version 3\n", " version 3\n no_accept\n"),
    ("pair-setting", " version 3\n", " version 3\n down_timer_adverts 5\n"),
    ("pair-group", "  W\n", ""),
    ("pair-tracks", "track_script {\n  s weight -60\n }", ""),
    ("pair-no-failover", "virtual_router_id 51\n priority 100", "virtual_router_id 51\n priority 80"),
    ("pair-no-failover", "virtual_router_id 51\n", "virtual_router_id 51\n nopreempt\n"),
];

#[test]
fn every_finding_is_made_and_mended() {
    for (code, wrong, right) in table() {
        assert!(
            codes(&wrong).contains(code),
            "{code} is not found in\n{wrong}\n{}",
            checked("", &wrong).loaded.diagnostics
        );
        assert!(!codes(&right).contains(code), "{code} is found in\n{right}");
    }
    assert_eq!(pair(BASE, &other()), BTreeSet::new(), "a good pair");
    for (code, from, to) in PAIRS {
        let wrong = other().replacen(from, to, 1);
        assert_ne!(wrong, other(), "{from}");
        let found = pair(BASE, &wrong);
        assert!(found.contains(code), "{code} is not found after {from:?} -> {to:?}: {found:?}");
    }
    let both = |text: &str| text.replace("state BACKUP", "state MASTER");
    assert!(pair(&both(BASE), &both(&other())).contains("pair-state"));
    let stays = BASE.replace("state BACKUP", "state BACKUP\n nopreempt");
    assert!(pair(&stays, &other()).contains("pair-no-return"));
}

#[test]
fn every_code_has_a_row() {
    let rows: BTreeSet<&str> = table().iter().map(|row| row.0).chain(PAIRS.map(|row| row.0)).collect();
    let elsewhere = ["pair-state", "pair-no-return"];
    for lint in LINTS {
        assert!(rows.contains(lint.code) || elsewhere.contains(&lint.code), "{} has no test", lint.code);
        assert!(!lint.why.is_empty() && !lint.fix.is_empty());
    }
    for code in rows {
        assert!(find(code).is_some(), "{code} is not in the list");
    }
}

#[test]
fn a_file_that_is_good_is_left_alone() {
    let text = file(&script("/bin/ok"), TRACK);
    assert_eq!(checked("k.conf", &text).loaded.diagnostics.to_string(), "");
}

#[test]
fn a_thousand_instances_with_one_bad_script_are_one_finding() {
    let one = |n: u8| {
        format!(
            "vrrp_instance I{n} {{\n interface eth0\n virtual_router_id {n}\n notify /bin/loose\n virtual_ipaddress {{\n 192.0.2.{n}\n }}\n}}\n"
        )
    };
    let text: String = (1..=200).map(one).collect();
    assert_eq!(checked("k.conf", &text).loaded.diagnostics.iter().len(), 1);
}

#[test]
fn instances_are_matched_by_id_when_their_names_differ() {
    let renamed = other().replace(" W", " Web");
    assert!(!pair(BASE, &renamed).contains("pair-missing"));
    let moved = renamed.replace("eth1", "ens4");
    assert!(!pair(BASE, &moved).contains("pair-missing"), "an interface may have another name on another machine");
}
