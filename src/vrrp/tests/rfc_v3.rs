//! VRRPv3: RFC 9568 (and RFC 5798, which it obsoletes), each clause that binds a router and its state machine.
//! The checks of §7.1 are in [`super::receive`], the packet of §5.2 in [`super::packet`].

use super::super::config::InitialState;
use super::host::{Host, a, cs, ip, prio, script, unicast, v3, v6, vips};
use super::table::{as_is, row, run};

#[test]
#[rustfmt::skip] // A table.
fn s6_1_parameters_and_timers() {
    run(v3, as_is, &[
        row("§6.1 Priority", "the default is 100; Skew_Time = ((256 - Priority) * Active_Adver_Interval) / 256", as_is, "",
            "timeout", &["BACKUP 100, 3609.375 ms"]),
        row("§6.1 Active_Down_Interval", "(3 * Active_Adver_Interval) + Skew_Time: short for a high priority",
            |c| a(c).priority = prio(254), "", "timeout", &["BACKUP 254, 3007.812 ms"]),
        row("§6.1 Active_Down_Interval", "and long for a low one", |c| a(c).priority = prio(1), "",
            "timeout", &["BACKUP 1, 3996.093 ms"]),
        row("§6.1 Advertisement_Interval", "in centiseconds", |c| a(c).advert_interval = cs(1), "",
            "timeout", &["BACKUP 100, 36.093 ms"]),
        row("§6.1 Advertisement_Interval", "12 bits: at most 40.95 s", |c| a(c).advert_interval = cs(4095), "",
            "timeout", &["BACKUP 100, 147803.906 ms"]),
        row("§6.1 Active_Adver_Interval", "from the advertisements of the Active Router; Backup Routers compute Skew_Time from it",
            as_is, "", "hear 200 every 50",
            &["BACKUP 100, 1804.687 ms", "flawed 10.0.0.3: advertisement interval 0.5 s, ours is 1 s"]),
        row("§6.1 Active_Adver_Interval", "initially the same as Advertisement_Interval",
            |c| a(c).advert_interval = cs(200), "", "timeout", &["BACKUP 100, 7218.75 ms"]),
        row("§6.1 Preempt_Mode", "true by default: a lower priority is pre-empted when the timer fires", as_is, "",
            "hear 50; wait 3609.375",
            &["MASTER 100, 1000 ms", "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: preempting 10.0.0.3 (priority 50) with priority 100"]),
        row("§6.1 Preempt_Mode", "the router that owns the addresses always pre-empts",
            |c| { a(c).priority = prio(255); a(c).preempt = false; }, "", "timeout", &["MASTER 255, 1000 ms"]),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn s6_4_1_initialize() {
    run(v3, as_is, &[
        row("§6.4.1 (115)-(160)", "Priority = 255: send an ADVERTISEMENT, gratuitous ARP for each address, Adver_Timer, Active",
            |c| a(c).priority = prio(255), "", "",
            &["MASTER 255, 1000 ms", "advert 255", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "INIT -> MASTER: priority 255 owns the addresses"]),
        row("§6.4.1 (165)-(180)", "else: Active_Adver_Interval, Active_Down_Timer, Backup", as_is, "", "",
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100", "INIT -> BACKUP: started"]),
        // Departure, keepalived's: `state MASTER` waits for one advert and the smallest skew only.
        row("keepalived `state MASTER`", "one interval and 1/256 of it", |c| a(c).state = InitialState::Master, "",
            "timeout", &["BACKUP 100, 1003.906 ms"]),
        row("keepalived `state MASTER`", "at start only, not after a fault", |c| a(c).state = InitialState::Master, "down",
            "up; timeout", &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100", "FAULT -> BACKUP: the fault has ended"]),
        row("keepalived `state MASTER`", "an advert of a better master puts it back to the RFC's interval",
            |c| a(c).state = InitialState::Master, "wait 500", "hear 200", &["BACKUP 100, 3609.375 ms"]),
    ]);
    run(v6, as_is, &[
        row("§6.4.1 (135)-(150)", "IPv6: an unsolicited Neighbor Advertisement for each address",
            |c| a(c).priority = prio(255), "", "",
            &["MASTER 255, 1000 ms", "advert 255", "has fe80::100", "announce fe80::100 x5",
              "INIT -> MASTER: priority 255 owns the addresses"]),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn s6_4_2_backup() {
    run(v3, as_is, &[
        row("§6.4.2 (305)", "MUST NOT respond to ARP, MUST NOT accept packets for the addresses: they are not there", as_is, "", "",
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100", "INIT -> BACKUP: started"]),
        row("§6.4.2 (345)", "Shutdown: cancel the Active_Down_Timer, Initialize; no advert, a backup resigns from nothing",
            as_is, "wait 100", "stop",
            &["INIT 100, waits for nothing", "lacks 10.0.0.100", "BACKUP -> STOP: stopping"]),
        row("§6.4.2 (350)-(395)", "Active_Down_Timer fires: ADVERTISEMENT, gratuitous ARP, Adver_Timer, Active", as_is,
            "wait 3609.374", "wait 0.001",
            &["MASTER 100, 1000 ms", "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: no advert from any master for 3609 ms"]),
        row("§6.4.2 (350)", "and not before", as_is, "", "wait 3609.374", &["BACKUP 100, 0.001 ms"]),
        row("§6.4.2 (375)", "gratuitous ARP for *each* address", |c| a(c).addresses = vips(&["10.0.0.100", "10.0.0.101"]),
            "wait 3000", "wait 700",
            &["MASTER 100, 909.375 ms", "advert 100", "has 10.0.0.100 10.0.0.101",
              "announce 10.0.0.100 10.0.0.101 x5", "BACKUP -> MASTER: no advert from any master for 3609 ms"]),
        row("§6.4.2 (420)-(425)", "Priority 0: set the Active_Down_Timer to Skew_Time", as_is, "hear 200; wait 700", "hear 0",
            &["BACKUP 100, 609.375 ms"]),
        row("§6.4.2 (425)", "Skew_Time is a part of the Active Router's interval", as_is, "hear 200 every 500",
            "hear 0 every 500", &["BACKUP 100, 3046.875 ms"]),
        row("§6.4.2 (425)", "the takeover after it", as_is, "hear 200; hear 0", "wait 700",
            &["MASTER 100, 909.375 ms", "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: 10.0.0.3 resigned with priority 0"]),
        row("§6.4.2 (430)-(450)", "priority greater than ours: Active_Adver_Interval, Active_Down_Timer anew", as_is,
            "wait 3000", "hear 101", &["BACKUP 100, 3609.375 ms"]),
        row("§6.4.2 (430)-(450)", "or equal, from a lower address", as_is, "wait 3000", "hear 100 .1",
            &["BACKUP 100, 3609.375 ms"]),
        row("§6.4.2 (430)-(450)", "or equal, from a higher address", as_is, "wait 3000", "hear 100 .3",
            &["BACKUP 100, 3609.375 ms"]),
        row("§6.4.2 (430)", "Preempt_Mode false: a lower priority counts as well", |c| a(c).preempt = false, "wait 3000",
            "hear 99", &["BACKUP 100, 3609.375 ms"]),
        row("§6.4.2 (435)-(445)", "set Active_Adver_Interval, recompute Skew_Time and Active_Down_Interval", as_is, "wait 3000",
            "hear 200 every 300",
            &["BACKUP 100, 10828.125 ms", "flawed 10.0.0.3: advertisement interval 3 s, ours is 1 s"]),
        row("§6.4.2 (455)", "lower priority and Preempt_Mode true: discard the ADVERTISEMENT", as_is, "wait 3000", "hear 99",
            &["BACKUP 100, 609.375 ms"]),
        row("§6.4.2 (455)", "its interval is discarded with it", as_is, "wait 3000", "hear 99 every 1000",
            &["BACKUP 100, 609.375 ms", "flawed 10.0.0.3: advertisement interval 10 s, ours is 1 s"]),
        row("§6.4.2 (350)", "it is the Active Router that fell silent, not the one discarded before", as_is,
            "hear 99 .1; hear 200", "wait 3609.375",
            &["MASTER 100, 1000 ms", "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: no advert from 10.0.0.3 (priority 200) for 3609 ms"]),
        row("departure from §6.4.2 (455)", "what was discarded counts from when it came, once our priority falls to it",
            |c| a(c).tracks = vec![script(-20, false)], "script up; wait 3000; hear 90; wait 500", "script down",
            &["BACKUP 80, 3187.5 ms", "priority 100 -> 80: script s is down"]),
        row("departure from §6.4.2 (455)", "not while ours is still higher",
            |c| a(c).tracks = vec![script(-5, false)], "script up; wait 3000; hear 90; wait 500", "script down",
            &["BACKUP 95, 128.906 ms", "priority 100 -> 95: script s is down"]),
        // Departure: "set the timer to Skew_Time" each time would let a repeated, or forged, resignation put the takeover
        // off for ever.
        row("departure from §6.4.2 (425)", "a repeated priority 0 does not postpone the takeover", as_is,
            "hear 200; hear 0; wait 300", "hear 0", &["BACKUP 100, 309.375 ms"]),
        row("departure from §6.4.2 (425)", "nor one that comes when the timer has less left than Skew_Time", as_is,
            "wait 3500", "hear 0", &["BACKUP 100, 109.375 ms"]),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn s6_4_3_active() {
    run(v3, as_is, &[
        row("§6.4.3 (605)", "MUST respond to ARP for the addresses: the kernel does, once it has them", as_is, "wait 3000",
            "wait 609.375",
            &["MASTER 100, 1000 ms", "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: no advert from any master for 3609 ms"]),
        row("§6.4.3 (655)-(670)", "Shutdown: cancel the Adver_Timer, ADVERTISEMENT with Priority 0, Initialize", as_is,
            "wait 4000", "stop at once",
            &["INIT 100, waits for nothing", "advert 0", "lacks 10.0.0.100", "MASTER -> STOP: stopping"]),
        // Clients would wait for the backup's Skew_Time.
        row("departure from §6.4.3 (670)", "make before break: the addresses stay for the successor ([`super::leaving`])",
            as_is, "wait 4000", "stop",
            &["STOP 100, 5 ms", "advert 0", "no more announcements", "MASTER -> STOP: stopping"]),
        row("§6.4.3 (675)-(685)", "Adver_Timer fires: send an ADVERTISEMENT, Adver_Timer anew", as_is, "wait 3609.375",
            "wait 1000", &["MASTER 100, 1000 ms", "advert 100"]),
        row("§6.4.3 (680)", "timed from the deadline: a late timer does not make the interval drift", as_is, "wait 3609.375",
            "stall 1400", &["MASTER 100, 600 ms", "advert 100"]),
        row("§6.4.3 (680)", "at our own interval, not at the former Active Router's", as_is,
            "hear 200 every 300; wait 10828.125", "wait 999", &["MASTER 100, 1 ms"]),
        row("§6.4.3 (695)-(705)", "Priority 0: send an ADVERTISEMENT, Adver_Timer anew", |c| a(c).strict = true, "wait 4000",
            "hear 0", &["MASTER 100, 1000 ms", "advert 100"]),
        // Only a master resigns: it may have told hosts that the addresses are there, while we were cut off.
        row("departure from §6.4.3 (700)", "and announce the addresses anew", as_is, "wait 4000",
            "hear 0", &["MASTER 100, 1000 ms", "advert 100", "announce 10.0.0.100 x5"]),
        row("§6.4.3 (710)", "greater priority: cancel Adver_Timer, Active_Down_Timer, Backup", |c| a(c).strict = true, "wait 4000", "hear 101",
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100",
              "MASTER -> BACKUP: 10.0.0.3 (priority 101) is better than ours, 100"]),
        row("§6.4.3 (710)", "whatever its address is", |c| a(c).strict = true, "wait 4000", "hear 101 .1",
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100",
              "MASTER -> BACKUP: 10.0.0.1 (priority 101) is better than ours, 100"]),
        row("§6.4.3 (715)-(720)", "equal priority and greater primary address: the same", |c| a(c).strict = true, "wait 4000", "hear 100 .3",
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100",
              "MASTER -> BACKUP: 10.0.0.3 (priority 100) has the same priority and a higher address"]),
        row("§6.4.3 (730)-(740)", "set Active_Adver_Interval to that in the ADVERTISEMENT and recompute", |c| a(c).strict = true, "wait 4000",
            "hear 101 every 300",
            &["BACKUP 100, 10828.125 ms", "flawed 10.0.0.3: advertisement interval 3 s, ours is 1 s",
              "lacks 10.0.0.100", "MASTER -> BACKUP: 10.0.0.3 (priority 101) is better than ours, 100"]),
        // The winner hears of the contest and announces its addresses again: behind a switch port that began to forward late,
        // clients have heard the loser only.
        row("departure from §6.4.3 (710)", "who yields says so, unless strict", as_is, "wait 4000", "hear 101",
            &["BACKUP 100, 3609.375 ms", "advert 100", "lacks 10.0.0.100",
              "MASTER -> BACKUP: 10.0.0.3 (priority 101) is better than ours, 100"]),
        row("§6.4.3 (755)-(765)", "else: discard it, send an ADVERTISEMENT at once to assert the state", |c| a(c).strict = true,
            "wait 4000", "hear 99", &["MASTER 100, 1000 ms", "advert 100", "lower priority 99 from 10.0.0.3"]),
        row("§6.4.3 (755)-(765)", "equal priority and lower address is worse as well", |c| a(c).strict = true,
            "wait 4000", "hear 100 .1", &["MASTER 100, 1000 ms", "advert 100", "lower priority 100 from 10.0.0.1"]),
        // keepalived's addition: the other one may have told the switches and hosts that the addresses are his.
        row("keepalived `garp_lower_prio_repeat`", "and announce the addresses anew", as_is,
            "wait 4000", "hear 99",
            &["MASTER 100, 1000 ms", "advert 100", "announce 10.0.0.100 x5", "lower priority 99 from 10.0.0.3"]),
        // Departure: each packet of a flood would cause one of ours, from every router that it reaches.
        row("departure from §6.4.3 (760)", "at most four answers in an interval", |c| a(c).strict = true,
            "wait 4000; hear 99; wait 249", "hear 99", &["MASTER 100, 751 ms"]),
        row("departure from §6.4.3 (760)", "the next one a quarter of it later", |c| a(c).strict = true,
            "wait 4000; hear 99; wait 250", "hear 99",
            &["MASTER 100, 1000 ms", "advert 100"]),
        row("departure from §6.4.3 (700)", "priority 0 has no answers of its own beyond those", |c| a(c).strict = true,
            "wait 4000; hear 99; wait 249", "hear 0", &["MASTER 100, 751 ms"]),
        row("§6.4.3 (700)", "a flood of worse adverts never keeps ours from the wire", |c| a(c).strict = true,
            "wait 3609.375; wait 751; hear 99; wait 249; hear 99; wait 750", "hear 99; wait 1",
            &["MASTER 100, 999 ms", "advert 100"]),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn s6_4_3_two_address_owners() {
    // Not foreseen by the RFC but for its comparison: the one with the lower address yields, as among equals.
    run(v3, as_is, &[
        row("§6.4.3 (715)", "the owner with the lower address yields", |c| a(c).priority = prio(255), "wait 100", "hear 255 .3",
            &["BACKUP 255, 3003.906 ms", "warning: 10.0.0.3 has priority 255 too: only one router can own the addresses, the other needs less",
              "advert 255", "lacks 10.0.0.100", "MASTER -> BACKUP: 10.0.0.3 (priority 255) has the same priority and a higher address"]),
        row("§6.4.3 (715)", "and stays backup while the other lives", |c| a(c).priority = prio(255), "wait 100; hear 255 .3",
            "wait 1000; hear 255 .3", &["BACKUP 255, 3003.906 ms"]),
        row("§6.4.3 (755)", "the one with the higher address stays", |c| { a(c).priority = prio(255); a(c).strict = true; },
            "wait 100", "hear 255 .1; hear 255 .1", &["MASTER 255, 1000 ms", "warning: 10.0.0.1 has priority 255 too: only one router can own the addresses, the other needs less",
              "advert 255", "lower priority 255 from 10.0.0.1"]),
    ]);
}

/// §5.1.1, §5.1.2 and §7.2: the IP header of what we send. The source MAC of §7.2 is the interface's own, because there
/// is no `use_vmac`: a takeover moves the addresses to another MAC and announces that (§8.1.2, §8.2.2).
#[test]
fn s7_2_transmitting() {
    let cases: [(_, fn(&mut super::super::config::InstanceConfig), _, _, _, _); 8] = [
        (
            "§5.1.1.1 the source is the primary IPv4 address",
            |_| {},
            v3 as fn() -> _,
            "10.0.0.2",
            "224.0.0.18",
            Some(255),
        ),
        ("§5.1.1.2, §5.1.1.3 group and TTL", |c| c.advert_interval = cs(5), v3, "10.0.0.2", "224.0.0.18", Some(255)),
        ("§5.1.2.1 the source is the link-local IPv6 address", |_| {}, v6, "fe80::2", "ff02::12", Some(255)),
        ("mcast_src_ip", |c| c.source = Some(ip("10.0.0.77")), v3, "10.0.0.77", "224.0.0.18", Some(255)),
        ("unicast_peer", |c| c.transport = unicast(&["10.9.9.9"]), v3, "10.0.0.2", "10.9.9.9", Some(255)),
        (
            "unicast IPv6: the kernel's hop limit",
            |c| c.transport = unicast(&["fd00::9"]),
            v6,
            "fe80::2",
            "fd00::9",
            None,
        ),
        (
            "an owner without any other address",
            |c| c.addresses = vips(&["10.0.0.2"]),
            owner,
            "10.0.0.2",
            "224.0.0.18",
            Some(255),
        ),
        (
            "a virtual address is no source",
            |c| c.addresses = vips(&["10.0.0.100", "10.0.0.1"]),
            v3,
            "10.0.0.2",
            "224.0.0.18",
            Some(255),
        ),
    ];
    for (what, given, config, source, destination, ttl) in cases {
        let mut config = config();
        given(a(&mut config));
        let mut host = Host::start(config);
        host.invariants.links_move = true;
        host.play("wait 4000");
        let sent = host.sent.first().unwrap_or_else(|| panic!("{what}: nothing was sent"));
        assert_eq!((sent.source, sent.destination, sent.ttl), (ip(source), ip(destination), ttl), "{what}");
    }
}

fn owner() -> super::super::config::VrrpConfig {
    let mut config = v3();
    a(&mut config).priority = prio(255);
    config
}
