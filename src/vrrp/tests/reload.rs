//! Reloads: what did not change is not touched.

use std::time::Duration;

use super::super::config::{AddressConfig, VrrpConfig};
use super::super::engine::Input;
use super::super::event::StateName;
use super::super::types::{InstanceId, Vrid};
use super::host::{Host, a, add_b, cs, instance, ip, prio, unicast, v2, v3, vips};
use super::table::{as_is, row, run};

/// One row for each kind of change, in each state, would repeat `states`; these are the changes.
fn changed(change: fn(&mut VrrpConfig), rows: &[super::table::Row]) {
    run(v3, change, rows);
}

#[test]
#[rustfmt::skip] // A table.
fn of_an_instance() {
    changed(as_is, &[
        row("nothing", "no effect at all", as_is, "wait 4000", "reload", &["MASTER 100, 609.375 ms"]),
        row("nothing", "as backup", as_is, "wait 1000", "reload", &["BACKUP 100, 2609.375 ms"]),
    ]);
    changed(add_b, &[
        row("another instance", "this one goes on", as_is, "wait 4000", "reload",
            &["A MASTER 100, B BACKUP 100, 609.375 ms", "sockets eth0/1 eth1/1",
              "B: lacks 10.1.0.100", "B: INIT -> BACKUP: configuration reloaded"]),
    ]);
    changed(|c| a(c).addresses.extend(vips(&["10.0.0.101"])), &[
        row("an address more", "written with the others, announced alone; the adverts go on in time", as_is, "wait 4000", "reload",
            &["MASTER 100, 609.375 ms", "has 10.0.0.100 10.0.0.101", "announce 10.0.0.101 x5"]),
        row("an address more", "as backup", as_is, "wait 1000", "reload", &["BACKUP 100, 2609.375 ms"]),
    ]);
    changed(|c| a(c).addresses = vips(&["10.0.0.101"]), &[
        row("another address", "the old one is taken off", as_is, "wait 4000", "reload",
            &["MASTER 100, 609.375 ms", "has 10.0.0.101, lacks 10.0.0.100", "announce 10.0.0.101 x5"]),
    ]);
    changed(|c| a(c).addresses.clear(), &[
        row("an address less", "", as_is, "wait 4000", "reload", &["MASTER 100, 609.375 ms", "lacks 10.0.0.100"]),
    ]);
    changed(|c| a(c).priority = prio(150), &[
        row("priority", "a master tells its backups", as_is, "wait 4000", "reload",
            &["MASTER 150, 609.375 ms", "priority 100 -> 150: configuration reloaded", "advert 150"]),
        row("priority", "a backup's deadline follows it", as_is, "wait 1000", "reload",
            &["BACKUP 150, 2414.062 ms", "priority 100 -> 150: configuration reloaded"]),
        row("priority", "in FAULT", as_is, "down", "reload", &["FAULT 150, waits for nothing"]),
    ]);
    changed(|c| a(c).advert_interval = cs(50), &[
        row("advert_int", "a master's next advert comes no later than one new interval from now", as_is, "wait 3700", "reload",
            &["MASTER 100, 500 ms"]),
        row("advert_int", "nor later than it was due", as_is, "wait 4600", "reload", &["MASTER 100, 9.375 ms"]),
        row("advert_int", "a backup that heard nobody waits for its own intervals", as_is, "wait 1000", "reload",
            &["BACKUP 100, 804.687 ms"]),
        row("advert_int", "one that follows a master, for that one's", as_is, "hear 200; wait 1000", "reload",
            &["BACKUP 100, 2609.375 ms"]),
    ]);
    changed(|c| a(c).preempt = false, &[
        row("nopreempt", "the master that was to be pre-empted is followed", as_is, "wait 3000; hear 50; wait 500", "reload",
            &["BACKUP 100, 3109.375 ms"]),
    ]);
    changed(|c| a(c).down_timer_adverts = 5, &[
        row("down_timer_adverts", "", as_is, "wait 1000", "reload", &["BACKUP 100, 4609.375 ms"]),
    ]);
    changed(|c| a(c).garp.refresh = Duration::from_secs(2), &[
        row("garp_master_refresh", "begins for a running master", as_is, "wait 10000", "reload; wait 2000",
            &["MASTER 100, 609.375 ms", "advert 100", "advert 100", "announce 10.0.0.100 x1"]),
    ]);
    changed(|c| a(c).transport = unicast(&["10.0.0.3"]), &[
        row("unicast_peer", "adverts go another way, in time", as_is, "wait 4000", "reload; wait 1000",
            &["MASTER 100, 609.375 ms", "sockets eth0/1", "advert 100 to 10.0.0.3"]),
    ]);
    changed(|c| { c.instances.clear(); }, &[
        row("removed", "a master resigns; people hear FAULT", as_is, "wait 4000", "reload",
            &[", waits for nothing", "advert 0", "lacks 10.0.0.100", "MASTER -> FAULT: removed by a reload", "sockets"]),
        row("removed", "or DELETED (`notify_deleted`)", |c| a(c).notify_deleted = true, "", "reload",
            &[", waits for nothing", "lacks 10.0.0.100", "BACKUP -> DELETED: removed by a reload", "sockets"]),
    ]);
    changed(|c| a(c).vrid = Vrid::new(52).expect("not 0"), &[
        row("virtual_router_id", "is another virtual router: the old one resigns, the new one starts", as_is, "wait 4000", "reload",
            &["BACKUP 100, 3609.375 ms", "advert 0", "lacks 10.0.0.100", "MASTER -> INIT: configuration reloaded",
              "sockets eth0/1",
                "lacks 10.0.0.100", "INIT -> BACKUP: configuration reloaded"]),
    ]);
    changed(|c| a(c).interface = Some("eth1".to_owned()), &[
        row("interface", "the same", as_is, "wait 4000", "reload",
            &["BACKUP 100, 3609.375 ms", "advert 0", "lacks 10.0.0.100", "MASTER -> INIT: configuration reloaded",
              "sockets eth1/1", "lacks 10.0.0.100", "INIT -> BACKUP: configuration reloaded"]),
    ]);
}

/// keepalived knows an instance by its id, family and interface; so a new name is no reason to resign.
#[test]
fn a_new_name_is_not_a_new_virtual_router() {
    fn rename(config: &mut VrrpConfig) {
        let old = config.instances.remove("A").expect("the first one");
        config.instances.insert("New".to_owned(), old);
    }
    let mut host = Host::start(v3());
    host.reload = rename;
    host.play("wait 4000");
    host.forget();
    host.play("reload; wait 700");
    assert_eq!(host.said, ["New: was A, MASTER", "New: advert 100"], "nothing moves, and the adverts go on in time");
    assert_eq!(host.snapshot("New").state, StateName::Master);

    // Under another id it is another router.
    let mut host = Host::start(v3());
    host.reload = |config| {
        rename(config);
        instance(config, "New").vrid = Vrid::new(52).expect("not 0");
    };
    host.play("wait 4000");
    host.forget();
    host.play("reload");
    assert!(host.said.iter().any(|line| line == "advert 0"), "{:?}", host.said);
    assert_eq!(host.snapshot("New").state, StateName::Backup);
}

/// An address that becomes `virtual_ipaddress_excluded` stays on the link and leaves the adverts.
#[test]
fn an_address_leaves_the_adverts() {
    fn two(config: &mut VrrpConfig) {
        a(config).addresses = vips(&["10.0.0.100", "10.0.0.101"]);
    }
    fn one_excluded(config: &mut VrrpConfig) {
        a(config).addresses = vips(&["10.0.0.100"]);
        a(config).excluded = vips(&["10.0.0.101"]);
    }
    for (before, after, count) in [
        (two as fn(&mut VrrpConfig), one_excluded as fn(&mut VrrpConfig), 1),
        (
            one_excluded,
            |c| {
                a(c).excluded.clear();
                two(c)
            },
            2,
        ),
    ] {
        let mut config = v3();
        before(&mut config);
        let mut host = Host::start(config);
        host.reload = after;
        host.play("wait 4000");
        host.forget();
        host.play("reload; wait 700");
        assert_eq!(host.said, ["advert 100"], "nothing moves");
        assert_eq!(host.sent[0].pdu[3], count, "addresses in the advert");
    }
}

/// keepalived may fail at this and suggests two reloads.
#[test]
fn an_address_moves_between_two_masters() {
    fn first(config: &mut VrrpConfig) {
        add_b(config);
        for b in &mut instance(config, "B").addresses {
            b.options.device = Some("eth0".to_owned());
        }
    }
    fn to_b(config: &mut VrrpConfig) {
        let mut moved: Vec<AddressConfig> = std::mem::take(&mut a(config).addresses);
        for address in &mut moved {
            address.options.device = Some("eth0".to_owned());
        }
        instance(config, "B").addresses.extend(moved);
    }
    fn to_a(config: &mut VrrpConfig) {
        let moved = std::mem::take(&mut instance(config, "B").addresses);
        a(config).addresses.extend(moved);
    }
    for (reload, moved) in [(to_b as fn(&mut VrrpConfig), "10.0.0.100"), (to_a, "10.1.0.100")] {
        let mut config = v3();
        first(&mut config);
        let mut host = Host::start(config);
        host.reload = reload;
        host.play("wait 4000; reload; synced; wait 5000; reload; wait 3000");
        assert!(host.invariants.has(ip(moved)), "{moved}: {:#?}", host.said);
    }
}

/// A process that is killed leaves its addresses, and the next one may be told of another configuration before it starts.
#[test]
fn a_reload_before_the_start_leaves_no_address_of_a_predecessor() {
    let mut config = v3();
    config.global.startup_delay = Duration::from_secs(5);
    let mut host = Host::start(config);
    host.reload = |config| a(config).addresses = vips(&["10.0.0.101"]);
    host.forget();
    host.play("reload");
    assert_eq!(host.said, ["lacks 10.0.0.100"]);
}

/// A virtual router that is exchanged for another one under the same name has effects of later generations still.
#[test]
fn generations_go_on_over_a_change_of_identity() {
    let mut host = Host::start(v3());
    host.reload = |config| {
        let vrid = a(config).vrid.value();
        a(config).vrid = Vrid::new(vrid + 1).expect("not 0");
    };
    // The host's invariants compare generations; it must not become master in one that the writer has seen.
    host.play("wait 4000; reload; wait 4000; reload; wait 4000");
    assert_eq!(host.snapshot("A").counters.become_master, 1, "and its counters are new");
}

#[test]
fn version_2_follows_its_own_interval_at_once() {
    run(
        v2,
        |c| a(c).advert_interval = cs(200),
        &[row(
            "RFC 3768 §7.1: all routers have the same interval",
            "so the master's will be the new one",
            as_is,
            "hear 200; wait 1000",
            "reload",
            &["BACKUP 100, 5609.375 ms"],
        )],
    );
}

/// An address that stays behind is told, though its instance is gone, or the engine has stopped.
#[test]
fn what_cannot_be_taken_off_is_told() {
    let mut host = Host::start(v3());
    host.reload = |config| config.instances.clear();
    let refused = |host: &mut Host, generation| {
        let failures = vec!["10.0.0.100: busy".to_owned()];
        host.input(Input::AddressesSynced { instance: InstanceId(0), generation, failures });
        std::mem::take(&mut host.said)
    };
    host.play("wait 4000; reload");
    host.forget();
    assert_eq!(refused(&mut host, 2), ["address failed: 10.0.0.100: busy"], "of its time as master");
    assert_eq!(refused(&mut host, 3), ["address failed: 10.0.0.100: busy"], "the last answer");
    assert_eq!(refused(&mut host, 3), [""; 0], "and then it is forgotten");

    let mut host = Host::start(v3());
    host.play("wait 4000; stop");
    host.forget();
    assert_eq!(refused(&mut host, 3), ["address failed: 10.0.0.100: busy"]);
}
