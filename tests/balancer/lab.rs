//! `holdfast lab web-cluster`: what the table says of real servers that end, answer badly and are drained, and of a
//! master that crashes under load.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::common::needs_root;

fn rehearse(example: &str, faults: &str) -> Value {
    lab(&[example, "--faults", faults])
}

fn lab(args: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    let output = command.args(["lab", "--json"]).args(args).output().expect("the binary under test starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {errors}"))
}

fn answered_by(row: &Value) -> BTreeSet<&str> {
    row["spread"].as_object().expect("a spread").keys().map(String::as_str).collect()
}

#[test]
fn a_web_cluster_survives() {
    needs_root!();
    let report = rehearse("web-cluster", "real-port,real-power,real-page,real-drain,all-real,crash");
    let rows = report["services"].as_array().expect("rows");
    let what: Vec<_> = rows.iter().map(|row| (row["what"].as_str().expect("text"), answered_by(row))).collect();
    let (all, two, sorry) = (["web1", "web2", "web3"].into(), BTreeSet::from(["web2", "web3"]), ["sorry"].into());
    let expected = [
        ("port closed", &two),
        ("open again", &all),
        ("real server dies", &two),
        ("comes back", &all),
        ("wrong page", &two),
        ("right page", &all),
        ("drained", &two),
        ("serves again", &all),
        ("all ports closed", &sorry),
        ("all open again", &all),
    ];
    assert_eq!(what.iter().map(|(what, who)| (*what, who)).collect::<Vec<_>>(), expected);
    // Its own address refuses, and the next one is tried: no client notices. One that asks while the machine stands still
    // does, whatever we do, so that is tried again.
    let unnoticed = |report: &Value| report["services"][0]["lost"] == 0;
    assert!(
        unnoticed(&report) || (0..3).any(|_| unnoticed(&rehearse("web-cluster", "real-port"))),
        "requests are lost each time: {}",
        rows[0]
    );
    for row in rows {
        assert_ne!(row["remark"], "not seen", "{row}");
    }
    named_causes(rows);
    let rows = report["rows"].as_array().expect("rows");
    let masters: Vec<_> = rows.iter().map(|row| row["master"].as_str().unwrap_or("nobody")).collect();
    assert_eq!(masters, ["node-b", "node-a"], "{rows:?}");
    assert!(rows.iter().all(|row| row["settled"] == true), "{rows:?}");
}

/// What the master names as the cause of each fault of a real server and of its end.
fn named_causes(rows: &[Value]) {
    let http = |what: &str| format!("HTTP check of [192.168.20.11]:tcp:80: {what}");
    let causes = [
        http("connection refused by 192.168.20.11:80"),
        http("succeeded"),
        http("connect: no answer from 192.168.20.11:80 within 1s"),
        http("succeeded"),
        http("status 503 of http://192.168.20.11:80/"),
        http("succeeded"),
        "an operator said drain".to_owned(),
        "an operator said up".to_owned(),
        http("connection refused by 192.168.20.11:80"),
        http("succeeded"),
    ];
    assert_eq!(rows.len(), causes.len());
    for (row, cause) in rows.iter().zip(causes) {
        assert_eq!(row["cause"], cause.as_str(), "{row}");
    }
}

#[test]
fn the_classic_nat_directors_serve() {
    needs_root!();
    let report = rehearse("classic-nat-directors", "crash");
    let rows = report["rows"].as_array().expect("rows");
    assert!(!rows.is_empty() && rows.iter().all(|row| row["settled"] == true), "{rows:?}");
    let timeline = report["timeline"].as_array().expect("a timeline");
    let said =
        |words: &str| timeline.iter().any(|entry| entry["what"].as_str().is_some_and(|what| what.contains(words)));
    // Persistence: one client, one web server, on each director.
    assert!(said("10.0.0.100 answers from web"), "{timeline:?}");
}

#[test]
fn directors_without_control_sockets_are_drained_by_the_file() {
    needs_root!();
    let files = tempfile::tempdir().expect("a temporary directory");
    // Where nobody looks for the sockets.
    let nodes = ["node-a", "node-b"].map(|node| {
        let example = format!("{}/examples/web-cluster/{node}.conf", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(example).expect("the example is there");
        let path = files.path().join(format!("{node}.conf"));
        let moved = text.replacen("global_defs {", "global_defs {\n    control_directory /run/elsewhere", 1);
        assert_ne!(moved, text);
        std::fs::write(&path, moved).expect("the temporary directory can be written");
        path.display().to_string()
    });
    let report = lab(&["--node", &nodes[0], "--node", &nodes[1], "--faults", "real-drain"]);
    let rows = report["services"].as_array().expect("rows");
    let seen: Vec<_> = rows.iter().map(|row| (row["what"].as_str(), answered_by(row), row["lost"].as_u64())).collect();
    let two = BTreeSet::from(["web2", "web3"]);
    let all = BTreeSet::from(["web1", "web2", "web3"]);
    assert_eq!(seen, [(Some("drained"), two, Some(0)), (Some("serves again"), all, Some(0))]);
    let causes = ["succeeded, adds -1 to the weight", "succeeded"]
        .map(|what| format!("FILE check of [192.168.20.11]:tcp:80: {what}"));
    assert_eq!(rows.iter().map(|row| row["cause"].as_str().expect("text")).collect::<Vec<_>>(), causes);
    let said = |words: &str| {
        let entries = report["timeline"].as_array().expect("a timeline").iter();
        entries.filter(|entry| entry["what"].as_str().is_some_and(|what| what.contains(words))).count()
    };
    assert_eq!(said("web1 is drained: /etc/keepalived/drain-web1 says -1"), 1);
    assert_eq!(said("web1 serves again: /etc/keepalived/drain-web1 says 0"), 1);
}
