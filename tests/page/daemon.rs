//! The page of a daemon that lives: a master with a sync group, a tracker and virtual servers, after a failover.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use holdfast::lab::director::Director;
use holdfast::lab::server::Server;

use crate::common;
use crate::rig::{Make, Node, PATIENCE, Rig, sh, wait_state, wait_until};

fn config(n: usize, more: &str) -> String {
    let instance = |name: &str, vrid: u8, priority: usize, more: &str| {
        format!(
            "vrrp_instance {name} {{\ninterface eth0\nversion 3\nvirtual_router_id {vrid}\npriority {priority}\n\
             advert_int 0.3\nvirtual_ipaddress {{\n10.9.0.1{vrid}/24\n}}\n{more}}}\n"
        )
    };
    let service = |port: u16, reals: &str| {
        format!(
            "virtual_server 10.9.0.151 {port} {{\ndelay_loop 1\nlb_algo rr\nlb_kind PROXY\nprotocol TCP\n{reals}}}\n"
        )
    };
    let real = |address: &str| {
        format!("real_server {address} 80 {{\nweight 2\nTCP_CHECK {{\nconnect_timeout 1\nretry 0\n}}\n}}\n")
    };
    [
        "global_defs {\nrouter_id lb-1\nscript_user root\nstatus_page 127.0.0.1:8088\n}\n".to_owned(),
        "vrrp_script chk_uplink {\nscript \"/usr/bin/test ! -e /etc/keepalived/uplink-down\"\ninterval 1\nweight 10\n}\n".to_owned(),
        "vrrp_sync_group gateway {\nsync_group_tracking_weight\ngroup {\nVI_out\nVI_in\n}\n}\n".to_owned(),
        instance("VI_out", 51, 150 - 50 * n, more),
        instance("VI_in", 52, 150 - 50 * n, ""),
        instance("VI_dns", 53, 100 + 50 * n, "nopreempt\n"),
        service(8080, &[real("127.0.0.7"), real("127.0.0.8"), real("10.9.0.77")].concat()),
        service(8443, &format!("sorry_server 127.0.0.9 80\n{}", real("10.9.0.77"))),
    ]
    .concat()
}

/// Chromium on the node, which has a `/tmp` of its own; what it prints.
fn chromium(node: &Director, arguments: &[&str]) -> String {
    let mut command = Command::new("timeout");
    command.args(["120", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    command.args(["--no-first-run", "--hide-scrollbars", "--virtual-time-budget=6000", "--user-data-dir=/tmp/profile"]);
    command.args(arguments).env("HOME", "/tmp").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = node.host().spawn(command).expect("it starts");
    let mut text = String::new();
    process.stdout.take().expect("piped").read_to_string(&mut text).expect("text");
    process.wait(PATIENCE * 2).expect("it ends");
    text
}

/// What is on the page is what the daemon knows; whatever is outside of it, the page does not ask for.
#[test]
fn a_daemon_s_own_page_shows_what_it_knows() {
    if !common::root() {
        return;
    }
    if Command::new("chromium").arg("--version").output().is_err() {
        return common::skipped("needs chromium");
    }
    let nodes = (0..2).map(|n| Node::new(["a", "b"][n], Make::Holdfast, config(n, "track_script {\nchk_uplink\n}\n")));
    let mut rig = Rig::build(1, nodes.collect());
    let _server = Server::start(rig.node(0).host()).expect("a port");
    // Of VI_dns whoever is first stays master: b, though a may be sooner when both start.
    rig.nodes[1].start().expect("it starts");
    wait_state(rig.node(1), "VI_dns", "MASTER");
    rig.nodes[0].start().expect("it starts");
    let (a, b) = (rig.node(0), rig.node(1));
    for (node, states) in [(a, ["MASTER", "MASTER", "BACKUP"]), (b, ["BACKUP", "BACKUP", "MASTER"])] {
        for (instance, state) in ["VI_out", "VI_in", "VI_dns"].iter().zip(states) {
            wait_state(node, instance, state);
        }
    }
    // There and back, so that there is something to tell.
    sh(a, "touch /etc/keepalived/uplink-down");
    sh(b, "touch /etc/keepalived/uplink-down");
    let ask = |words: &[&str]| a.ask(words).expect("it runs");
    wait_until("it is seen", || ask(&["status"]).contains("script chk_uplink down"));
    sh(a, "rm /etc/keepalived/uplink-down");
    ask(&["failover", "VI_out", "--no-wait"]);
    wait_state(b, "VI_out", "MASTER");
    wait_state(a, "VI_out", "MASTER");
    wait_until("one is up", || ask(&["status"]).contains("127.0.0.7:80                    up"));
    wait_until("one is down", || ask(&["status"]).contains("10.9.0.77:80                    DOWN"));
    a.host().run(|| {
        for _ in 0..30 {
            let mut stream = TcpStream::connect("10.9.0.151:8080").expect("it listens");
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let url = "http://127.0.0.1:8088/";
    let dom = chromium(a, &["--dump-dom", url]);
    for words in [
        "<title>a · Holdfast</title>",
        "VI_out",
        "2 of 3 master here",
        "group gateway",
        "script chk_uplink up",
        "10.9.0.152/24",
        "[10.9.0.151]:tcp:8080",
        "userspace",
        "2 of 3 real servers up",
        "0 of 1 real servers up",
        "sorry server 127.0.0.9:80 serves",
        "30 in all",
        "TCP: ",
        "MASTER",
        "master: 10.9.0.12, priority 150",
        "live, ",
    ] {
        assert!(dom.contains(words), "{words:?} is not on the page:\n{dom}");
    }
    assert!(dom.contains("is better than ours") || dom.contains("preempting"), "the timeline has causes:\n{dom}");
    let Some(pictures) = std::env::var_os("HOLDFAST_SCREENSHOTS") else { return };
    for (name, size, scale, dark) in [
        ("daemon-desk", "1280,1500", "1", false),
        ("daemon-phone", "500,3400", "1", false),
        ("daemon-phone-dark", "500,3400", "1", true),
    ] {
        let file = "--screenshot=/tmp/picture.png";
        let (size, scale) = (format!("--window-size={size}"), format!("--force-device-scale-factor={scale}"));
        let mut arguments = vec![file, size.as_str(), scale.as_str()];
        if dark {
            arguments.push("--blink-settings=preferredColorScheme=0");
        }
        arguments.push(url);
        chromium(a, &arguments);
        let picture = a.host().run(|| std::fs::read("/tmp/picture.png")).expect("a picture");
        std::fs::write(Path::new(&pictures).join(format!("{name}.png")), picture).expect("a writable directory");
    }
}
