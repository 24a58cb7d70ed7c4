//! Sync groups: their members are master together or not at all.

use super::super::config::{GroupConfig, VrrpConfig};
use super::super::types::Vrid;
use super::host::{a, add_b, cs, instance, prio, script, v3, vips};
use super::table::{as_is, row, run};

/// `A` and `B`, on two links, in the group `G`.
pub fn pair() -> VrrpConfig {
    let mut config = v3();
    add_b(&mut config);
    group(&mut config, &["A", "B"]);
    config
}

fn group(config: &mut VrrpConfig, members: &[&str]) {
    let members = members.iter().map(|name| (*name).to_owned()).collect();
    config.groups.insert("G".to_owned(), GroupConfig { members });
}

fn owners(config: &mut VrrpConfig) {
    a(config).priority = prio(255);
    instance(config, "B").priority = prio(255);
}

#[test]
#[rustfmt::skip] // A table.
fn together() {
    run(pair, as_is, &[
        row("start", "instances first, then the group", as_is, "", "",
            &["A BACKUP 100, B BACKUP 100, 3609.375 ms", "lacks 10.0.0.100", "INIT -> BACKUP: started",
              "B: lacks 10.1.0.100", "B: INIT -> BACKUP: started", "group G -> BACKUP: started"]),
        row("promotion", "both timers have expired", as_is, "wait 3000", "wait 609.375",
            &["A MASTER 100, B MASTER 100, 1000 ms",
              "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: no advert from any master for 3609 ms",
              "B: advert 100", "B: has 10.1.0.100", "B: announce 10.1.0.100 x5",
              "B: BACKUP -> MASTER: no advert from any master for 3609 ms",
              "group G -> MASTER: no advert from any master for 3609 ms"]),
        row("promotion", "one alone waits, without a deadline of its own", as_is, "wait 3000; hear B 200", "wait 700",
            &["A BACKUP 100, B BACKUP 100, 2909.375 ms"]),
        row("promotion", "until the other is ready; each has its own cause", as_is, "wait 3000; hear B 200; wait 700; hear B 0",
            "wait 609.375",
            &["A MASTER 100, B MASTER 100, 1000 ms",
              "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: no advert from any master for 3609 ms",
              "B: advert 100", "B: has 10.1.0.100", "B: announce 10.1.0.100 x5",
              "B: BACKUP -> MASTER: 10.1.0.3 resigned with priority 0",
              "group G -> MASTER: no advert from any master for 3609 ms"]),
        row("promotion", "one that waits hears a master again: it waits anew", as_is, "wait 3000; hear B 200; wait 700",
            "hear 200; wait 2909.375", &["A BACKUP 100, B BACKUP 100, 700 ms"]),
        row("promotion", "a worse master does not end the wait", as_is, "wait 3000; hear B 200; wait 700", "hear 50",
            &["A BACKUP 100, B BACKUP 100, 2909.375 ms"]),
        row("yield", "the others resign with priority 0: their backups need not wait for silence", as_is, "wait 4000", "hear 200",
            &["A BACKUP 100, B BACKUP 100, 3609.375 ms", "advert 100", "lacks 10.0.0.100",
              "MASTER -> BACKUP: 10.0.0.3 (priority 200) is better than ours, 100",
              "B: advert 0", "B: lacks 10.1.0.100", "B: MASTER -> BACKUP: A of sync group G moved",
              "group G -> BACKUP: 10.0.0.3 (priority 200) is better than ours, 100"]),
        row("fault", "one in FAULT is all in FAULT, and none of them silently", as_is, "wait 4000", "down eth1",
            &["A FAULT 100, B FAULT 100, waits for nothing",
              "B: advert 0", "B: lacks 10.1.0.100", "B: MASTER -> FAULT: interface eth1 is down",
              "advert 0", "lacks 10.0.0.100", "MASTER -> FAULT: B of sync group G is in FAULT",
              "group G -> FAULT: interface eth1 is down"]),
        row("fault", "as backups", as_is, "", "down",
            &["A FAULT 100, B FAULT 100, waits for nothing",
              "lacks 10.0.0.100", "BACKUP -> FAULT: interface eth0 is down",
              "B: lacks 10.1.0.100", "B: BACKUP -> FAULT: A of sync group G is in FAULT",
              "group G -> FAULT: interface eth0 is down"]),
        row("fault", "a second one changes nothing that is told", as_is, "down", "down eth1",
            &["A FAULT 100, B FAULT 100, waits for nothing"]),
        row("fault", "it lasts until the last one ends", as_is, "down; down eth1", "up",
            &["A FAULT 100, B FAULT 100, waits for nothing"]),
        row("fault", "and then it ends for all", as_is, "down; down eth1; up", "up eth1",
            &["A BACKUP 100, B BACKUP 100, 3609.375 ms",
              "lacks 10.0.0.100", "FAULT -> BACKUP: the fault has ended",
              "B: lacks 10.1.0.100", "B: FAULT -> BACKUP: the fault has ended",
              "group G -> BACKUP: the fault has ended"]),
        row("stop", "the group has a last word as well", as_is, "wait 4000", "stop",
            &["A STOP 100, B STOP 100, 5 ms",
              "advert 0", "no more announcements", "MASTER -> STOP: stopping",
              "B: advert 0", "B: no more announcements", "B: MASTER -> STOP: stopping", "group G -> STOP: stopping"]),
        row("owners", "master at once, and together", owners, "", "timeout", &["A MASTER 255, B MASTER 255, 1000 ms"]),
        row("owners", "not before the last one can", owners, "down eth1", "timeout",
            &["A FAULT 255, B FAULT 255, waits for nothing"]),
        row("owners", "and at once after a fault", owners, "down eth1; up eth1", "timeout",
            &["A MASTER 255, B MASTER 255, 1000 ms"]),
        row("init", "a member without a result of its tracker holds the others back from MASTER, not from BACKUP",
            |c| instance(c, "B").tracks = vec![script(0, false)], "", "wait 10000",
            &["A BACKUP 100, B INIT 100, waits for nothing"]),
        row("init", "until it is ready too", |c| instance(c, "B").tracks = vec![script(0, false)],
            "wait 10000; script up", "wait 3609.374", &["A BACKUP 100, B BACKUP 100, 0.001 ms"]),
        row("priority", "each member has its own", |c| instance(c, "B").advert_interval = cs(200), "wait 8000",
            "hear 50; hear B 50", &["A MASTER 100, B MASTER 100, 1000 ms",
            "advert 100", "announce 10.0.0.100 x5", "lower priority 50 from 10.0.0.3",
            "B: advert 100", "B: announce 10.1.0.100 x5", "B: lower priority 50 from 10.1.0.3"]),
    ]);
}

fn only_a(config: &mut VrrpConfig) {
    config.instances.remove("B");
    group(config, &["A"]);
}

fn ungrouped_a(config: &mut VrrpConfig) {
    config.instances.remove("B");
    config.groups.clear();
}

#[test]
#[rustfmt::skip] // A table.
fn a_reload_changes_the_members() {
    fn grow(config: &mut VrrpConfig) {
        add_b(config);
        group(config, &["A", "B"]);
    }
    fn grow_with_tracker(config: &mut VrrpConfig) {
        grow(config);
        instance(config, "B").tracks = vec![script(0, false)];
    }
    fn grow_by_two(config: &mut VrrpConfig) {
        grow(config);
        let mut c = instance(config, "B").clone();
        c.vrid = Vrid::new(53).expect("not 0");
        c.addresses = vips(&["10.1.0.101"]);
        c.tracks = vec![script(0, false)];
        config.instances.insert("C".to_owned(), c);
        group(config, &["A", "B", "C"]);
    }
    fn dissolve(config: &mut VrrpConfig) {
        config.groups.clear();
    }
    run(pair, grow, &[
        row("add", "to a group which is master: it joins as master", only_a, "wait 3609.375", "reload",
            &["A MASTER 100, B MASTER 100, 1000 ms", "sockets eth0/1 eth1/1",
              "B: lacks 10.1.0.100", "B: INIT -> BACKUP: configuration reloaded",
              "B: advert 100", "B: has 10.1.0.100", "B: announce 10.1.0.100 x5",
              "B: BACKUP -> MASTER: A of sync group G moved"]),
        row("add", "a group that a reload makes of a master and a new instance: the same", ungrouped_a, "wait 3609.375", "reload",
            &["A MASTER 100, B MASTER 100, 1000 ms", "sockets eth0/1 eth1/1",
              "B: lacks 10.1.0.100", "B: INIT -> BACKUP: configuration reloaded",
              "B: advert 100", "B: has 10.1.0.100", "B: announce 10.1.0.100 x5",
              "B: BACKUP -> MASTER: A of sync group G moved", "group G -> MASTER: no advert from any master for 3609 ms"]),
        row("add", "to a group which is backup", only_a, "wait 1000", "reload",
            &["A BACKUP 100, B BACKUP 100, 2609.375 ms", "sockets eth0/1 eth1/1",
              "B: lacks 10.1.0.100", "B: INIT -> BACKUP: configuration reloaded"]),
    ]);
    run(pair, grow_with_tracker, &[
        row("add", "one that still waits for its tracker does not cost mastership", only_a, "wait 3609.375", "reload",
            &["A MASTER 100, B INIT 100, 1000 ms", "sockets eth0/1 eth1/1"]),
        row("add", "and joins when it is ready", only_a, "wait 3609.375; reload", "script up",
            &["A MASTER 100, B MASTER 100, 1000 ms",
              "B: lacks 10.1.0.100", "B: INIT -> BACKUP: script s is up",
              "B: advert 100", "B: has 10.1.0.100", "B: announce 10.1.0.100 x5",
              "B: BACKUP -> MASTER: A of sync group G moved"]),
        row("add", "one that is in fault is a fault of the group", only_a, "wait 3609.375; reload", "script down",
            &["A FAULT 100, B FAULT 100, waits for nothing",
              "B: lacks 10.1.0.100", "B: INIT -> FAULT: tracked script s failed",
              "advert 0", "lacks 10.0.0.100", "MASTER -> FAULT: B of sync group G is in FAULT",
              "group G -> FAULT: tracked script s failed"]),
    ]);
    run(pair, grow_by_two, &[
        row("add", "two, of which one still waits: the other does not wait for it", only_a, "wait 3609.375", "reload",
            &["A MASTER 100, B MASTER 100, C INIT 100, 1000 ms", "sockets eth0/1 eth1/2",
              "B: lacks 10.1.0.100", "B: INIT -> BACKUP: configuration reloaded",
              "B: advert 100", "B: has 10.1.0.100", "B: announce 10.1.0.100 x5",
              "B: BACKUP -> MASTER: A of sync group G moved"]),
    ]);
    run(pair, only_a, &[
        row("remove", "a member of a master group: the others go on", as_is, "wait 3609.375", "reload",
            &["MASTER 100, 1000 ms", "B: advert 0", "B: lacks 10.1.0.100",
              "B: MASTER -> FAULT: removed by a reload", "sockets eth0/1"]),
        row("remove", "the member that the others waited for", as_is, "wait 3000; hear B 200; wait 700", "reload",
            &["MASTER 100, 1000 ms", "B: lacks 10.1.0.100", "B: BACKUP -> FAULT: removed by a reload", "sockets eth0/1",
              "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: no advert from any master for 3609 ms",
              "group G -> MASTER: no advert from any master for 3609 ms"]),
    ]);
    run(pair, dissolve, &[
        row("dissolve", "the group of masters: nothing changes", as_is, "wait 3609.375", "reload",
            &["A MASTER 100, B MASTER 100, 1000 ms"]),
        row("dissolve", "a member that waited for the others waits no longer", as_is, "wait 3000; hear B 200; wait 700", "reload",
            &["A MASTER 100, B BACKUP 100, 1000 ms",
              "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: no advert from any master for 3609 ms"]),
        row("dissolve", "a member in FAULT for another's sake leaves it", as_is, "down eth1", "reload",
            &["A BACKUP 100, B FAULT 100, 3609.375 ms", "lacks 10.0.0.100", "FAULT -> BACKUP: the fault has ended"]),
    ]);
}
