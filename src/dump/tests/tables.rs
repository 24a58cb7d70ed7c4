//! Words and numbers, each with what keepalived 2.2.7 wrote for it.

use std::time::Instant;

use crate::command::Command;
use crate::dump::json::Layout;
use crate::dump::words::{address, command, moment, seconds};
use crate::dump::*;
use crate::vrrp::config::{AddressConfig, Auth, InstanceConfig};
use crate::vrrp::engine::VrrpEngine;
use crate::vrrp::types::Vrid;

fn line(text: &str, prefix_len: u8, change: impl FnOnce(&mut AddressConfig)) -> String {
    let mut config = AddressConfig { prefix_len, ..AddressConfig::new(text.parse().unwrap()) };
    change(&mut config);
    address(&config, Some("d0"), false, false)
}

#[test]
fn addresses() {
    for (got, want) in [
        (line("10.7.1.2", 32, |_| {}), "10.7.1.2 dev d0 scope global"),
        (
            line("10.7.1.1", 24, |a| {
                (a.options.broadcast, a.options.device) = (Some([10, 7, 1, 255].into()), Some("d1".into()))
            }),
            "10.7.1.1/24 brd 10.7.1.255 dev d1 scope global",
        ),
        (
            line("10.7.1.4", 32, |a| (a.scope, a.options.label, a.track) = (254, Some("d0:4".into()), false)),
            "10.7.1.4 dev d0 scope host label d0:4 no_track",
        ),
        (
            line("10.7.1.11", 32, |a| a.options.peer = Some([10, 7, 9, 9].into())),
            "10.7.1.11 dev d0 scope global peer 10.7.9.9/32",
        ),
        (line("10.7.1.12", 24, |a| a.scope = 77), "10.7.1.12/24 dev d0 scope 77"),
        (line("fe80::66", 128, |_| {}), "fe80::66 dev d0 scope global deprecated"),
        (
            line("2001:db8::66", 64, |a| a.preferred_lifetime = None),
            "2001:db8::66/64 dev d0 scope global preferred_lft forever",
        ),
        (
            line("2001:db8::51", 64, |a| {
                (a.preferred_lifetime, a.home, a.manage_temporary) = (Some(100), true, true);
                (a.no_prefix_route, a.autojoin) = (true, true);
            }),
            "2001:db8::51/64 dev d0 scope global home mngtmpaddr noprefixroute autojoin preferred_lft 100",
        ),
        (
            line("10.7.1.10", 24, |a| (a.no_prefix_route, a.autojoin, a.preferred_lifetime) = (true, true, Some(30))),
            "10.7.1.10/24 dev d0 scope global noprefixroute autojoin",
        ),
    ] {
        assert_eq!(got, want);
    }
    let held = AddressConfig::new([10, 7, 1, 2].into());
    assert_eq!(address(&held, Some("d0"), true, false), "10.7.1.2 dev d0 scope global set");
    assert_eq!(address(&held, Some("d0"), true, true), "10.7.1.2 dev d0 scope global set nftable_set");
}

#[test]
fn commands_durations_and_moments() {
    let shown = |text: &str| command(&Command::parse(text, None).unwrap());
    assert_eq!(shown("/usr/bin/true a 'b c'"), "'/usr/bin/true' 'a' 'b c'");
    assert_eq!(shown("test -f /x || exit 1"), "'/bin/sh' '-c' 'test -f /x || exit 1'");
    for (millis, want) in [(1000, "1"), (1500, "1.5"), (10, "0.01"), (0, "0")] {
        assert_eq!(seconds(Duration::from_millis(millis)), want);
    }
    let at = Duration::new(1_795_249_344, 658_794_000);
    let host = |clock| Host { name: "n", identity: &|_| (0, 0), clock, namespace: None, umask: 0o177 };
    let clock = |_| Some(("Sat Nov 21 08:22:24".to_owned(), 2026));
    assert_eq!(moment(at, &host(&clock)), "1795249344.658794 (Sat Nov 21 08:22:24.658794 2026)");
    assert_eq!(moment(at, &host(&|_| None)), "1795249344.658794");
}

/// An engine with one instance that has not begun.
fn with_facts<T>(cleared: Counters, render: impl FnOnce(&Facts<'_>) -> T) -> T {
    let mut config = Config::default();
    let mut instance = InstanceConfig::new("eth0", Vrid::new(51).unwrap());
    instance.auth = Auth::Pass(*b"secret\0\0");
    instance.addresses = vec![AddressConfig::new([192, 0, 2, 1].into())];
    config.vrrp.instances.insert("VI_1".into(), instance);
    #[allow(clippy::disallowed_methods, reason = "any moment")]
    let engine = VrrpEngine::new(Instant::now(), config.vrrp.clone(), &[]);
    let mut snapshot = engine.snapshot();
    snapshot.at = Duration::from_millis(1_795_249_344_658);
    snapshot.instances.get_mut("VI_1").unwrap().counters = Counters { advert_sent: 7, ..Counters::default() };
    let host = Host { name: "node", identity: &|_| (0, 0), clock: &|_| None, namespace: None, umask: 0o177 };
    render(&Facts {
        config: &config,
        snapshot: &snapshot,
        cleared: &BTreeMap::from([("VI_1".to_owned(), cleared)]),
        transitions: &|_| None,
        running: &BTreeSet::new(),
        processes: &BTreeMap::new(),
        host,
    })
}

#[test]
fn passwords_are_nowhere() {
    let all = with_facts(Counters::default(), |facts| {
        [
            data::render(facts),
            stats::render(facts),
            json::render(facts, Layout::V1).unwrap(),
            json::render(facts, Layout::V2).unwrap(),
        ]
    });
    assert!(all.iter().all(|text| !text.contains("secret")), "{all:#?}");
    assert!(all[0].contains("Password = ********") && all[2].contains("\"auth_data\":\"********\""));
}

#[test]
fn json_in_both_layouts() {
    let (v1, v2) = with_facts(Counters::default(), |facts| {
        (json::render(facts, Layout::V1).unwrap(), json::render(facts, Layout::V2).unwrap())
    });
    assert!(v1.starts_with(r#"[{"data":{"iname":"VI_1","dont_track_primary":0,"#) && v1.ends_with("}}]\n"), "{v1}");
    assert!(v1.contains(r#""last_transition":1795249344.658,"#) && v1.contains(r#""adver_int":1,"#), "{v1}");
    assert!(
        v2.starts_with(r#"{"vrrp":[{"data":{"iname":"VI_1","#) && v2.ends_with("],\"track_process\":[]}\n"),
        "{v2}"
    );
    let nothing = Snapshot::default();
    let none =
        with_facts(Counters::default(), |facts| json::render(&Facts { snapshot: &nothing, ..*facts }, Layout::V1));
    assert_eq!(none, None, "keepalived writes no file then");
}

#[test]
fn cleared_counters_begin_at_0_and_those_of_a_new_process_too() {
    let sent = |cleared| {
        let text = with_facts(Counters { advert_sent: cleared, ..Counters::default() }, stats::render);
        text.lines().find_map(|line| line.strip_prefix("    Sent: ")).unwrap().to_owned()
    };
    assert_eq!((sent(0), sent(5), sent(7), sent(9)), ("7".into(), "2".into(), "0".into(), "7".into()));
}
