//! What the simulation found, each as a story of one engine, so that it stays told when the seeds mean something else.
//!
//! Pure.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use holdfast::vrrp::config::{AddressConfig, Auth, ConfigDiff, GroupConfig, InstanceConfig, Track, VrrpConfig};
use holdfast::vrrp::engine::{Effect, Input, Received, SocketKey, VrrpEngine};
use holdfast::vrrp::event::{Cause, Event, StateName, TrackerStatus};
use holdfast::vrrp::packet::{self, Advert};
use holdfast::vrrp::snapshot::FlightRecord;
use holdfast::vrrp::types::{AdvertInterval, Family, Version, Vrid};

use crate::host::{Host, index};
use crate::scenario::{link_name, own_address, tracker};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn instance(vrid: u8) -> InstanceConfig {
    let mut config = InstanceConfig::new(&link_name(0), Vrid::new(vrid).expect("not zero"));
    config.version = Version::V3;
    config.addresses.push(AddressConfig::new(IpAddr::from([192, 0, 2, vrid])));
    config
}

fn config(instances: &[(&str, InstanceConfig)]) -> VrrpConfig {
    let instances = instances.iter().map(|(name, config)| ((*name).to_owned(), config.clone())).collect();
    VrrpConfig { instances, trackers: [tracker()].into(), ..VrrpConfig::default() }
}

/// An engine that has started, and what it did so far.
fn started(now: Instant, config: &VrrpConfig, adopt: &[FlightRecord]) -> (VrrpEngine, Vec<Effect>) {
    let mut engine = VrrpEngine::new(now, config.clone(), adopt);
    engine.handle_input(now, Input::Tracker { key: tracker(), status: TrackerStatus::Up });
    engine.handle_input(now, Input::Link(Host::new(0, config.clone(), 1).link(0)));
    engine.handle_timeout(now);
    let effects = drain(&mut engine);
    (engine, effects)
}

fn drain(engine: &mut VrrpEngine) -> Vec<Effect> {
    std::iter::from_fn(|| engine.poll_effect()).collect()
}

/// Host 1 sends an advert for VRID 1.
fn hear(engine: &mut VrrpEngine, now: Instant, priority: u8) -> Vec<Effect> {
    let addresses = [IpAddr::from([192, 0, 2, 1])];
    let advert = Advert {
        version: Version::V3,
        vrid: Vrid::new(1).expect("not zero"),
        priority,
        interval: AdvertInterval::DEFAULT,
        addresses: &addresses,
        auth: &Auth::None,
    };
    let (source, destination) = (own_address(1, 0, Family::V4), IpAddr::from([224, 0, 0, 18]));
    let pdu = packet::encode(&advert, source, destination, false);
    let socket = SocketKey { interface: Some(index(0)), family: Family::V4 };
    engine
        .handle_input(now, Input::Advert(Received { socket, source, destination, ttl: Some(255), at: now, pdu: &pdu }));
    drain(engine)
}

fn state(engine: &VrrpEngine, name: &str) -> StateName {
    engine.snapshot().instances[name].state
}

/// It took over from a master that was better by then.
#[test]
fn a_backup_whose_priority_falls_follows_the_master_that_it_meant_to_preempt() {
    let start = Instant::now();
    let mut backup = instance(1);
    backup.tracks.push(Track { tracker: tracker(), weight: 30, reverse: false });
    let (mut engine, _) = started(start, &config(&[("VI_1", backup)]), &[]);
    assert_eq!(engine.snapshot().instances["VI_1"].effective_priority, 130);
    for n in 1..=3 {
        hear(&mut engine, start + SECOND * n, 110);
    }
    let now = start + SECOND * 3 + MS;
    engine.handle_input(now, Input::Tracker { key: tracker(), status: TrackerStatus::Down });
    engine.handle_timeout(start + SECOND * 4 - MS);
    assert_eq!(state(&engine, "VI_1"), StateName::Backup, "110 is better than 100, and was heard a second ago");
    engine.handle_timeout(start + SECOND * 7);
    assert_eq!(state(&engine, "VI_1"), StateName::Master, "and has been silent since");
}

/// The same, when a reload takes the wish to preempt away.
#[test]
fn a_backup_that_may_not_preempt_any_more_follows_the_master_that_it_meant_to_preempt() {
    let start = Instant::now();
    let before = config(&[("VI_1", instance(1))]);
    let (mut engine, _) = started(start, &before, &[]);
    for n in 1..=3 {
        hear(&mut engine, start + SECOND * n, 50);
    }
    let mut after = before.clone();
    after.instances.get_mut("VI_1").expect("there").preempt = false;
    let diff = ConfigDiff::between(&before, &after);
    engine.handle_input(start + SECOND * 3 + MS, Input::Reconfigure(diff));
    engine.handle_timeout(start + SECOND * 4 - MS);
    assert_eq!(state(&engine, "VI_1"), StateName::Backup);
    engine.handle_timeout(start + SECOND * 7);
    assert_eq!(state(&engine, "VI_1"), StateName::Master);
}

/// One member was still within its predecessor's deadline and kept its claim until the other was ready.
#[test]
fn a_group_is_adopted_whole_or_not_at_all() {
    let start = Instant::now();
    let mut both = config(&[("VI_1", instance(1)), ("VI_2", instance(2))]);
    let members = vec!["VI_1".to_owned(), "VI_2".to_owned()];
    both.groups.insert("VG_1".to_owned(), GroupConfig { members });
    let record = |name: &str, at| FlightRecord { instance: name.into(), next_advert_at: Some(at) };
    let causes = |effects: &[Effect]| -> Vec<Cause> {
        let cause = |effect: &Effect| match effect {
            Effect::Emit(Event::StateChanged { to: StateName::Master, cause, .. }) => Some(cause.clone()),
            _ => None,
        };
        effects.iter().filter_map(cause).collect()
    };

    let whole = [record("VI_1", start + MS), record("VI_2", start + MS)];
    let (_, effects) = started(start, &both, &whole);
    assert_eq!(causes(&effects), [Cause::Adopted, Cause::Adopted]);

    let half = [record("VI_1", start - MS), record("VI_2", start + MS)];
    let (mut engine, effects) = started(start, &both, &half);
    assert_eq!(causes(&effects), []);
    engine.handle_timeout(start + SECOND * 4);
    let causes = causes(&drain(&mut engine));
    assert!(matches!(causes[..], [Cause::MasterSilent { .. }, Cause::MasterSilent { .. }]), "{causes:?}");
}

/// Clients went on sending to one that had been master in a partition, or while this one was
/// stalled, and that had said goodbye since.
#[test]
fn a_master_announces_again_when_another_resigns() {
    let start = Instant::now();
    let (mut engine, _) = started(start, &config(&[("VI_1", instance(1))]), &[]);
    engine.handle_timeout(start + SECOND * 4);
    assert_eq!(state(&engine, "VI_1"), StateName::Master);
    drain(&mut engine);
    let effects = hear(&mut engine, start + SECOND * 5, 0);
    assert!(effects.iter().any(|e| matches!(e, Effect::SendAdvert { .. })), "{effects:?}");
    assert!(effects.iter().any(|e| matches!(e, Effect::Announce { .. })), "{effects:?}");
}
