//! Three routers and half a minute of random misfortune, with a seed. At the end one master, and no orphaned address.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::needs_root;
use crate::rig::{Make, Node, PATIENCE, Rig, holds, sh, wait_state, wait_until};
use crate::variant::Variant;

const V: Variant = Variant::V3;
const NODES: [(&str, u8); 3] = [("a", 150), ("b", 100), ("c", 50)];
const LENGTH: Duration = Duration::from_secs(30);

/// What can happen to a node.
#[derive(Debug, Clone, Copy)]
enum Misfortune {
    PowerCut,
    KillMain,
    KillVrrp,
    FreezeVrrp,
    Stop,
    Reload,
    CutLink,
    MendLink,
    Partition,
    Heal,
    Start,
}

use Misfortune::{CutLink, FreezeVrrp, Heal, KillMain, KillVrrp, MendLink, Partition, PowerCut, Reload, Start, Stop};

const ALL: [Misfortune; 11] =
    [PowerCut, KillMain, KillVrrp, FreezeVrrp, Stop, Reload, CutLink, MendLink, Partition, Heal, Start];

/// The seed is HOLDFAST_SEED, or the time. What happened is printed with it when the test fails.
#[test]
#[allow(clippy::disallowed_methods)] // Misfortune takes its time.
fn three_routers_survive_half_a_minute_of_misfortune() {
    needs_root!();
    let given = std::env::var("HOLDFAST_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let seed: u64 = given.unwrap_or(now.as_secs());
    println!("HOLDFAST_SEED={seed}");
    let mut random = Random(seed);
    let nodes = NODES.iter().enumerate();
    let nodes = nodes.map(|(n, (name, priority))| Node::new(name, Make::Holdfast, V.instance(n, 3, *priority, "")));
    let mut rig = Rig::start(nodes.collect());
    wait_state(rig.node(0), "VI_1", "MASTER");
    let mut apart = [false; 3];
    let start = Instant::now();
    while start.elapsed() < LENGTH {
        let n = random.below(3);
        let what = ALL[random.below(ALL.len())];
        println!("{:6.3} {} {what:?}", start.elapsed().as_secs_f64(), NODES[n].0);
        befall(&mut rig, n, what, &mut apart);
        // A part of an interval, or several: some misfortunes meet, others have an effect of their own.
        let pause = Duration::from_millis(u64::try_from(random.below(1200)).expect("small"));
        std::thread::park_timeout(pause);
    }
    for n in 0..3 {
        befall(&mut rig, n, MendLink, &mut apart);
        befall(&mut rig, n, Heal, &mut apart);
        befall(&mut rig, n, Start, &mut apart);
    }
    wait_state(rig.node(0), "VI_1", "MASTER");
    for n in [1, 2] {
        wait_state(rig.node(n), "VI_1", "BACKUP");
    }
    for vip in V.vips() {
        wait_until("one master holds the address, and nobody else", || {
            [0, 1, 2].map(|n| holds(rig.node(n), "eth0", vip)) == [true, false, false]
        });
    }
    let wire = rig.wire();
    let mark = wire.mark();
    wire.wait_adverts(mark, "a", 10);
    assert_eq!(wire.owners(mark, crate::variant::VRID), ["a"]);
    for node in &mut rig.nodes {
        assert!(node.stop(PATIENCE).expect("it ends").success());
    }
    for vip in V.vips() {
        wait_until("no address is left", || rig.nodes.iter().all(|node| !holds(node, "eth0", vip)));
    }
    for node in &rig.nodes {
        let panicked = node.log().into_iter().find(|line| line.text.contains("panicked"));
        assert!(panicked.is_none(), "{panicked:?}");
    }
}

fn befall(rig: &mut Rig, n: usize, what: Misfortune, apart: &mut [bool; 3]) {
    let name = NODES[n].0;
    match what {
        PowerCut => rig.nodes[n].kill_all(),
        KillMain => {
            // Not both at once: with main gone there is nobody to end a child that stands still.
            signal_vrrp(rig, n, "CONT");
            rig.node(n).signal(Signal::SIGKILL);
        }
        KillVrrp => signal_vrrp(rig, n, "KILL"),
        FreezeVrrp if rig.node(n).is_running() => signal_vrrp(rig, n, "STOP"),
        Stop => drop(rig.nodes[n].stop(PATIENCE)),
        Reload => rig.node(n).reload(),
        // Both act on the same port.
        CutLink if !apart[n] => rig.lan(0).cut(name, "eth0").expect("a cable"),
        MendLink if !apart[n] => rig.lan(0).mend(name, "eth0").expect("a cable"),
        Partition if !apart[n] => {
            rig.lan(0).mend(name, "eth0").expect("a cable");
            rig.lan(0).partition(name, "eth0").expect("a port");
            apart[n] = true;
        }
        Heal if apart[n] => {
            rig.lan(0).heal(name, "eth0").expect("a port");
            apart[n] = false;
        }
        Start if !rig.node(n).is_running() => {
            // An orphan of a killed main must have let go before its successor comes.
            wait_until("the vrrp process of a killed main ends", || {
                sh(rig.node(n), "kill -0 $(cat /run/lab-vrrp.pid 2>/dev/null) 2>/dev/null && echo alive || true")
                    .is_empty()
            });
            rig.nodes[n].start().expect("it starts");
        }
        FreezeVrrp | CutLink | MendLink | Partition | Heal | Start => {}
    }
}

/// There may be no such process now.
fn signal_vrrp(rig: &Rig, n: usize, signal: &str) {
    sh(rig.node(n), &format!("kill -{signal} $(cat /run/lab-vrrp.pid 2>/dev/null) 2>/dev/null || true"));
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit as u64).expect("below a usize")
    }
}
