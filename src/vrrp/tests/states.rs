//! Every state, every input: one line each, no wildcard.

use super::super::config::VrrpConfig;
use super::super::types::Vrid;
use super::host::{a, prio, script, v3, vips};
use super::table::{as_is, row, run};

/// VRRPv3 with a script of weight 0: without its result the instance is in INIT.
fn tracked() -> VrrpConfig {
    let mut config = v3();
    a(&mut config).tracks = vec![script(0, false)];
    config
}

/// How each state is reached.
const INIT: &str = "";
const FAULT: &str = "script up; down";
const BACKUP: &str = "script up; wait 1000";
const MASTER: &str = "script up; wait 3709.375";

/// What is said when nothing happens.
const IN_INIT: &[&str] = &["INIT 100, waits for nothing"];
const IN_FAULT: &[&str] = &["FAULT 100, waits for nothing"];
const IN_BACKUP: &[&str] = &["BACKUP 100, 2609.375 ms"];
const IN_MASTER: &[&str] = &["MASTER 100, 900 ms"];
const YIELD_200: &[&str] = &[
    "BACKUP 100, 3609.375 ms",
    "advert 100",
    "lacks 10.0.0.100",
    "MASTER -> BACKUP: 10.0.0.3 (priority 200) is better than ours, 100",
];

const LOST: &str = "warning: adverts were lost for want of room in the socket: waiting once more for the master";

type Cell = &'static [&'static str];

/// An input, what a `reload` in it does, and what comes of it in INIT, FAULT, BACKUP and MASTER.
struct Line(&'static str, fn(&mut VrrpConfig), [Cell; 4]);

#[test]
#[rustfmt::skip] // A table.
fn every_state_and_input() {
    let lines = [
        Line("hear 0", as_is, [IN_INIT, IN_FAULT,
            &["BACKUP 100, 609.375 ms"],
            &["MASTER 100, 1000 ms", "advert 100", "announce 10.0.0.100 x5"]]),
        Line("hear 50", as_is, [IN_INIT, IN_FAULT,
            IN_BACKUP,
            &["MASTER 100, 1000 ms", "advert 100", "announce 10.0.0.100 x5", "lower priority 50 from 10.0.0.3"]]),
        Line("hear 100 .1", as_is, [IN_INIT, IN_FAULT,
            &["BACKUP 100, 3609.375 ms"],
            &["MASTER 100, 1000 ms", "advert 100", "announce 10.0.0.100 x5", "lower priority 100 from 10.0.0.1"]]),
        Line("hear 100 .3", as_is, [IN_INIT, IN_FAULT,
            &["BACKUP 100, 3609.375 ms"],
            &["BACKUP 100, 3609.375 ms", "advert 100", "lacks 10.0.0.100",
              "MASTER -> BACKUP: 10.0.0.3 (priority 100) has the same priority and a higher address"]]),
        Line("hear 200", as_is, [IN_INIT, IN_FAULT, &["BACKUP 100, 3609.375 ms"], YIELD_200]),
        Line("hear 255", as_is, [IN_INIT, IN_FAULT,
            &["BACKUP 100, 3609.375 ms"],
            &["BACKUP 100, 3609.375 ms", "advert 100", "lacks 10.0.0.100",
              "MASTER -> BACKUP: 10.0.0.3 (priority 255) is better than ours, 100"]]),
        Line("timeout", as_is, [IN_INIT, IN_FAULT, IN_BACKUP, IN_MASTER]),
        Line("wait 2609.375", as_is, [IN_INIT, IN_FAULT,
            &["MASTER 100, 1000 ms", "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: no advert from any master for 3609 ms"],
            &["MASTER 100, 290.625 ms", "advert 100", "advert 100"]]),
        Line("stall 6109.375", as_is, [IN_INIT, IN_FAULT,
            &["MASTER 100, 1000 ms", "late by 3500 ms", "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: no advert from any master for 7109 ms, our timer was 3500 ms late"],
            &["MASTER 100, 1000 ms", "late by 5209.375 ms", "advert 100", "announce 10.0.0.100 x5"]]),
        // A process that was held up takes in what it missed before it judges its deadlines.
        Line("late 6109.375; hear 200; timeout", as_is, [IN_INIT, IN_FAULT, &["BACKUP 100, 3609.375 ms"],
            &["BACKUP 100, 3609.375 ms", "late by 5209.375 ms", "advert 100", "lacks 10.0.0.100",
              "MASTER -> BACKUP: 10.0.0.3 (priority 200) is better than ours, 100"]]),
        Line("late 6109.375; hear 50; hear 50; timeout", as_is, [IN_INIT, IN_FAULT,
            &["MASTER 100, 1000 ms", "late by 3500 ms", "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: preempting 10.0.0.3 (priority 50) with priority 100, our timer was 3500 ms late"],
            &["MASTER 100, 1000 ms", "late by 5209.375 ms", "advert 100", "announce 10.0.0.100 x5",
              "lower priority 50 from 10.0.0.3", "announce 10.0.0.100 x5"]]),
        Line("down", as_is, [
            &["FAULT 100, waits for nothing", "lacks 10.0.0.100", "INIT -> FAULT: interface eth0 is down"],
            IN_FAULT,
            &["FAULT 100, waits for nothing", "lacks 10.0.0.100", "BACKUP -> FAULT: interface eth0 is down"],
            &["FAULT 100, waits for nothing", "advert 0", "lacks 10.0.0.100", "MASTER -> FAULT: interface eth0 is down"]]),
        Line("up", as_is, [
            IN_INIT,
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100", "FAULT -> BACKUP: the fault has ended"],
            IN_BACKUP, IN_MASTER]),
        Line("gone", as_is, [
            &["FAULT 100, waits for nothing", "sockets", "has", "INIT -> FAULT: interface eth0 does not exist"],
            &["FAULT 100, waits for nothing", "sockets"],
            &["FAULT 100, waits for nothing", "sockets", "has", "BACKUP -> FAULT: interface eth0 does not exist"],
            &["FAULT 100, waits for nothing", "lacks 10.0.0.100", "sockets", "has",
              "MASTER -> FAULT: interface eth0 does not exist"]]),
        Line("no-address", as_is, [
            &["FAULT 100, waits for nothing", "lacks 10.0.0.100",
              "INIT -> FAULT: interface eth0 has no address to send from"],
            IN_FAULT,
            &["FAULT 100, waits for nothing", "lacks 10.0.0.100",
              "BACKUP -> FAULT: interface eth0 has no address to send from"],
            // The resignation still comes from the address that is gone.
            &["FAULT 100, waits for nothing", "advert 0", "lacks 10.0.0.100",
              "MASTER -> FAULT: interface eth0 has no address to send from"]]),
        Line("readdress", as_is, [IN_INIT, IN_FAULT, IN_BACKUP, IN_MASTER]),
        Line("down eth1", as_is, [IN_INIT, IN_FAULT, IN_BACKUP, IN_MASTER]),
        Line("script up", as_is, [
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100", "INIT -> BACKUP: script s is up"],
            IN_FAULT, IN_BACKUP, IN_MASTER]),
        Line("script down", as_is, [
            &["FAULT 100, waits for nothing", "lacks 10.0.0.100", "INIT -> FAULT: tracked script s failed"],
            IN_FAULT,
            &["FAULT 100, waits for nothing", "lacks 10.0.0.100", "BACKUP -> FAULT: tracked script s failed"],
            &["FAULT 100, waits for nothing", "advert 0", "lacks 10.0.0.100", "MASTER -> FAULT: tracked script s failed"]]),
        Line("script pending", as_is, [IN_INIT, IN_FAULT, IN_BACKUP, IN_MASTER]),
        Line("script unknown", as_is, [
            &["FAULT 100, waits for nothing", "lacks 10.0.0.100", "INIT -> FAULT: tracked script s cannot be evaluated"],
            IN_FAULT,
            &["FAULT 100, waits for nothing", "lacks 10.0.0.100",
              "BACKUP -> FAULT: tracked script s cannot be evaluated"],
            &["FAULT 100, waits for nothing", "advert 0", "lacks 10.0.0.100",
              "MASTER -> FAULT: tracked script s cannot be evaluated"]]),
        Line("reload", as_is, [IN_INIT, IN_FAULT, IN_BACKUP, IN_MASTER]),
        Line("reload", |c| a(c).priority = prio(150), [
            &["INIT 150, waits for nothing"],
            &["FAULT 150, waits for nothing"],
            &["BACKUP 150, 2414.062 ms", "priority 100 -> 150: configuration reloaded"],
            &["MASTER 150, 900 ms", "priority 100 -> 150: configuration reloaded", "advert 150"]]),
        Line("reload", |c| a(c).addresses.extend(vips(&["10.0.0.101"])), [
            IN_INIT, IN_FAULT, IN_BACKUP,
            &["MASTER 100, 900 ms", "has 10.0.0.100 10.0.0.101", "announce 10.0.0.101 x5"]]),
        Line("reload", |c| a(c).tracks.clear(), [
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100", "INIT -> BACKUP: configuration reloaded"],
            IN_FAULT, IN_BACKUP, IN_MASTER]),
        Line("reload", |c| a(c).vrid = Vrid::new(52).expect("not 0"), [
            &["INIT 100, waits for nothing", "lacks 10.0.0.100", "sockets eth0/1"],
            &["FAULT 100, waits for nothing", "lacks 10.0.0.100", "FAULT -> INIT: configuration reloaded",
              "sockets eth0/1", "lacks 10.0.0.100", "INIT -> FAULT: interface eth0 is down"],
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100", "BACKUP -> INIT: configuration reloaded",
              "sockets eth0/1", "lacks 10.0.0.100", "INIT -> BACKUP: configuration reloaded"],
            &["BACKUP 100, 3609.375 ms", "advert 0", "lacks 10.0.0.100", "MASTER -> INIT: configuration reloaded",
              "sockets eth0/1", "lacks 10.0.0.100", "INIT -> BACKUP: configuration reloaded"]]),
        Line("reload", |c| c.instances.clear(), [
            &[", waits for nothing", "lacks 10.0.0.100", "INIT -> FAULT: removed by a reload", "sockets"],
            &[", waits for nothing", "lacks 10.0.0.100", "FAULT -> FAULT: removed by a reload", "sockets"],
            &[", waits for nothing", "lacks 10.0.0.100", "BACKUP -> FAULT: removed by a reload", "sockets"],
            &[", waits for nothing", "advert 0", "lacks 10.0.0.100", "MASTER -> FAULT: removed by a reload", "sockets"]]),
        Line("synced", as_is, [IN_INIT, IN_FAULT, IN_BACKUP, IN_MASTER]),
        Line("refused", as_is, [
            &["INIT 100, waits for nothing", "address failed: 10.0.0.100: permission denied"],
            &["FAULT 100, waits for nothing", "address failed: 10.0.0.100: permission denied"],
            &["BACKUP 100, 2609.375 ms", "address failed: 10.0.0.100: permission denied"],
            &["MASTER 100, 900 ms", "address failed: 10.0.0.100: permission denied"]]),
        Line("stop at once", as_is, [
            &["INIT 100, waits for nothing", "lacks 10.0.0.100", "INIT -> STOP: stopping"],
            &["INIT 100, waits for nothing", "lacks 10.0.0.100", "FAULT -> STOP: stopping"],
            &["INIT 100, waits for nothing", "lacks 10.0.0.100", "BACKUP -> STOP: stopping"],
            &["INIT 100, waits for nothing", "advert 0", "lacks 10.0.0.100", "MASTER -> STOP: stopping"]]),
        // What comes then is in [`super::leaving`].
        Line("stop", as_is, [
            &["INIT 100, waits for nothing", "lacks 10.0.0.100", "INIT -> STOP: stopping"],
            &["INIT 100, waits for nothing", "lacks 10.0.0.100", "FAULT -> STOP: stopping"],
            &["INIT 100, waits for nothing", "lacks 10.0.0.100", "BACKUP -> STOP: stopping"],
            &["STOP 100, 5 ms", "advert 0", "no more announcements", "MASTER -> STOP: stopping"]]),
        // After its last word an engine says nothing more.
        Line("stop at once; hear 0; wait 9999; up; script up; announced 10.0.0.100; reload; stop; stop at once", as_is, [
            &["INIT 100, waits for nothing", "lacks 10.0.0.100", "INIT -> STOP: stopping"],
            &["INIT 100, waits for nothing", "lacks 10.0.0.100", "FAULT -> STOP: stopping"],
            &["INIT 100, waits for nothing", "lacks 10.0.0.100", "BACKUP -> STOP: stopping"],
            &["INIT 100, waits for nothing", "advert 0", "lacks 10.0.0.100", "MASTER -> STOP: stopping"]]),
        Line("lose 10.0.0.100", as_is, [IN_INIT, IN_FAULT, IN_BACKUP,
            &["MASTER 100, 0 ms", "warning: 10.0.0.100 was removed by somebody else: it is put back"]]),
        Line("overflow", as_is, [IN_INIT, IN_FAULT,
            &["BACKUP 100, 3609.375 ms", LOST],
            IN_MASTER]),
        Line("announced 10.0.0.100", as_is, [IN_INIT, IN_FAULT, IN_BACKUP, IN_MASTER]),
    ];
    for Line(input, reload, cells) in lines {
        let states = [("INIT", INIT), ("FAULT", FAULT), ("BACKUP", BACKUP), ("MASTER", MASTER)];
        for ((state, before), then) in states.into_iter().zip(cells) {
            run(tracked, reload, &[row(state, input, as_is, before, input, then)]);
        }
    }
}
