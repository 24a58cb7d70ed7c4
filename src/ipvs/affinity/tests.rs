//! The table against a plain model, and its bounds.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use proptest::prelude::*;

use super::{AffinityTable, HELD_CHECK, masked};

const TIMEOUT: Duration = Duration::from_secs(100);

fn client(number: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + number).into()
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn granularity_makes_neighbours_one_client() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    assert_eq!(masked(ip("192.0.2.77"), 24), ip("192.0.2.0"));
    assert_eq!(masked(ip("192.0.2.77"), 32), ip("192.0.2.77"));
    assert_eq!(masked(ip("192.0.2.77"), 0), ip("0.0.0.0"));
    assert_eq!(masked(ip("2001:db8:1:2::77"), 64), ip("2001:db8:1:2::"));
    assert_eq!(masked(ip("2001:db8::77"), 128), ip("2001:db8::77"));
    assert_eq!(masked(ip("2001:db8::77"), 0), ip("::"));
}

#[test]
fn a_binding_lasts_from_the_last_connection_on() {
    let mut table = AffinityTable::new(10);
    assert!(table.bind(client(1), 'a', at(0), TIMEOUT));
    table.release(client(1), at(1));
    assert_eq!(table.find(client(1), at(99)), Some(&'a'));
    assert!(table.bind(client(1), 'a', at(99), TIMEOUT));
    table.release(client(1), at(99));
    assert_eq!(table.find(client(1), at(198)), Some(&'a'), "renewed");
    assert_eq!(table.find(client(1), at(199)), None);
}

#[test]
fn an_open_connection_holds_its_binding() {
    let mut table = AffinityTable::new(10);
    table.bind(client(1), 'a', at(0), TIMEOUT);
    table.expire(at(5000));
    assert_eq!(table.find(client(1), at(5000)), Some(&'a'));
    table.release(client(1), at(5001));
    assert_eq!(table.find(client(1), at(5001)), None);
    table.expire(at(5001) + HELD_CHECK);
    assert!(table.is_empty());
}

#[test]
fn a_full_table_forgets_the_oldest_that_has_no_connection() {
    let mut table = AffinityTable::new(3);
    for number in 1..=3 {
        assert!(table.bind(client(number), number, at(0), TIMEOUT));
    }
    assert!(!table.bind(client(4), 4, at(1), TIMEOUT), "everybody has a connection");
    table.release(client(2), at(1));
    assert!(table.bind(client(4), 4, at(1), TIMEOUT));
    assert_eq!(table.find(client(2), at(1)), None);
    assert_eq!(table.find(client(1), at(1)), Some(&1));
    assert_eq!(table.len(), 3);
}

#[test]
fn memory_of_a_rush_is_given_back() {
    let mut table = AffinityTable::new(200_000);
    for number in 0..100_000 {
        table.bind(client(number), (), at(0), TIMEOUT);
        table.release(client(number), at(0));
    }
    assert_eq!(table.len(), 100_000);
    let mut calls = 0;
    while table.expire(at(1000)) {
        calls += 1;
    }
    assert!(calls >= 100_000 / super::BUDGET, "no call is long");
    assert!(table.is_empty());
    assert!(table.queue.capacity() <= 1024, "{}", table.queue.capacity());
}

#[derive(Debug, Clone)]
enum Step {
    Open(u32, u8),
    Close(u32),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6u32, 0..4u8).prop_map(|(client, to)| Step::Open(client, to)),
        (0..6u32).prop_map(Step::Close),
        (0..120u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn answers_as_a_plain_map_would(steps in proptest::collection::vec(step(), 1..200)) {
        let mut table = AffinityTable::new(100);
        // Destination, end, open connections.
        let mut model: BTreeMap<u32, (u8, Duration, u32)> = BTreeMap::new();
        let mut now = at(0);
        for step in steps {
            match step {
                Step::Open(number, to) => {
                    prop_assert!(table.bind(client(number), to, now, TIMEOUT));
                    let held = model.get(&number).map_or(0, |(_, _, held)| *held);
                    model.insert(number, (to, now + TIMEOUT, held + 1));
                }
                Step::Close(number) => {
                    if let Some(entry) = model.get_mut(&number).filter(|entry| entry.2 > 0) {
                        entry.2 -= 1;
                        table.release(client(number), now);
                    }
                }
                Step::Pass(seconds) => now += at(seconds),
            }
            model.retain(|_, (_, until, held)| *held > 0 || now < *until);
            for number in 0..6 {
                let expected = model.get(&number).map(|(to, _, _)| *to);
                prop_assert_eq!(table.find(client(number), now).copied(), expected);
            }
            prop_assert!(table.len() >= model.len() && table.len() <= 6);
        }
    }
}
