//! Announcements that nobody could hear at first: a switch port that forwards late, a port of our own bridge.
#![allow(dead_code, missing_docs)] // Each test binary uses a part.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast::lab::client::Client;
use holdfast::lab::host::Host;
use holdfast::lab::outage::Sample;
use holdfast::lab::server::Server;

use crate::rig::{Make, Node, Rig, announced, holds, ip, sh, wait_address, wait_state, wait_until};
use crate::variant::Variant;

const V: Variant = Variant::V3;
/// All bursts of a new master are over after a second, and none comes by itself later.
const FEW_BURSTS: &str = "garp_master_delay 1\ngarp_lower_prio_delay 60\ngarp_master_refresh 0";
/// A client that is told nothing finds out for itself, after at least this long (`delay_first_probe_time`).
const BY_ITSELF: Duration = Duration::from_secs(60);

/// A router starts behind a switch port that does not forward yet and becomes master beside the one that is. When the
/// port forwards, the worse of the two yields, and clients, who know that one only, find the other at once.
pub fn late_switch_port(behind: Make, beside: Make) {
    // Its adverts are so far apart that it hears the better one first, which would not hear of the contest otherwise.
    let slow =
        V.instance(1, 2, 100, &format!("state MASTER\n{FEW_BURSTS}")).replace("advert_int 1\n", "advert_int 5\n");
    let mut rig =
        Rig::build(1, vec![Node::new("a", behind, V.instance(0, 2, 150, FEW_BURSTS)), Node::new("b", beside, slow)]);
    let outside = Host::new("client").expect("a namespace");
    rig.plug(&outside, &[(ip("10.9.0.200"), 24)]);
    outside.run(|| {
        let seconds = BY_ITSELF.as_secs().to_string();
        std::fs::write("/proc/sys/net/ipv4/neigh/eth0/delay_first_probe_time", seconds).expect("a setting");
    });
    let servers: Vec<_> = (0..2).map(|n| Server::start(rig.node(n).host()).expect("a port")).collect();
    rig.lan(0).partition("a", "eth0").expect("a port");
    rig.nodes[1].start().expect("it starts");
    wait_state(rig.node(1), "VI_1", "MASTER");
    wait_address(rig.node(1), "eth0", V.vip(), true);
    let samples: Arc<Mutex<Vec<Sample>>> = Arc::default();
    let sink = Arc::clone(&samples);
    let client = Client::start(&outside, V.vip(), move |sample| {
        sink.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
    });
    let client = client.expect("a thread");
    let answers = |from: usize, node: &str| {
        let samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().skip(from).filter(|sample| sample.answer.as_deref() == Some(node)).count()
    };
    wait_until("b answers", || answers(0, "b") >= 20);
    let mark = rig.wire().mark();
    rig.nodes[0].start().expect("it starts");
    wait_state(rig.node(0), "VI_1", "MASTER");
    wait_until("both bursts, which nobody hears", || {
        let frames = rig.wire().since(mark);
        frames.iter().filter(|f| f.host == "a" && announced(f) == Some(V.vip())).count() >= 10
    });
    assert_eq!(answers(0, "a"), 0, "the client knows only b");
    let healed = samples.lock().unwrap_or_else(PoisonError::into_inner).len();
    rig.lan(0).heal("a", "eth0").expect("a port");
    let yielded = rig.node(1).wait_for("VI_1", "BACKUP", crate::rig::PATIENCE).expect("b yields");
    wait_until("a answers", || answers(healed, "a") >= 20);
    drop(client);
    drop(servers);
    let samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
    let first = samples.iter().skip(healed).find(|sample| sample.answer.as_deref() == Some("a")).expect("it answers");
    let wait = first.started.saturating_duration_since(yielded);
    assert!(wait < BY_ITSELF / 3, "{behind:?} beside {beside:?}: the client found the router after {wait:?}");
    println!("{behind:?} beside {beside:?}: the client found the router after {wait:?}");
    assert!(!holds(rig.node(1), "eth0", V.vip()));
}

/// The interface is a bridge of the router's own, or on top of it. A port that begins to forward has hosts behind it that
/// heard nothing.
pub fn port_of_our_own_bridge(interface: &str) {
    let config = V.quick(&V.instance(0, 1, 150, FEW_BURSTS)).replace("eth0", interface);
    let mut rig = Rig::build(1, vec![Node::new("a", Make::Holdfast, config)]);
    sh(
        rig.node(0),
        "ip addr flush dev eth0 && ip link add br0 type bridge mcast_snooping 0 && ip link set br0 up && \
         ip link set eth0 master br0 && ip link add p0 type veth peer name p1 && ip link set p0 master br0 && \
         ip link set p0 up && ip link set p1 up",
    );
    if interface != "br0" {
        // A VLAN would be the usual case, and not every kernel has them.
        let line =
            format!("ip link add link br0 name {interface} type macvlan mode bridge && ip link set {interface} up");
        sh(rig.node(0), &line);
    }
    sh(rig.node(0), &format!("ip addr add 10.9.0.11/24 dev {interface}"));
    let port = |state: &str| sh(rig.node(0), "bridge link show dev p0").contains(&format!("state {state}"));
    wait_until("the port forwards", || port("forwarding"));
    rig.nodes[0].start().expect("it starts");
    wait_state(rig.node(0), "VI_1", "MASTER");
    wait_until("both bursts", || {
        rig.wire().since(0).iter().filter(|frame| announced(frame) == Some(V.vip())).count() >= 10
    });
    rig.wire().wait_adverts(rig.wire().mark(), "a", 5);
    let port = |state: &str| sh(rig.node(0), "bridge link show dev p0").contains(&format!("state {state}"));
    let mark = rig.wire().mark();
    sh(rig.node(0), "ip link set p1 down");
    wait_until("the port does not forward", || port("disabled"));
    rig.wire().wait_adverts(rig.wire().mark(), "a", 2);
    assert_eq!(rig.wire().since(mark).iter().filter_map(announced).count(), 0, "that is no reason to announce");
    sh(rig.node(0), "ip link set p1 up");
    rig.wire().wait(mark, "an announcement for those behind the port", |frame| announced(frame) == Some(V.vip()));
}
