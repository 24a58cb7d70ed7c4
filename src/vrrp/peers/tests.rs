//! The bounds of the table, and lateness. When second masters are told is in `vrrp::tests::rivals`.
#![allow(clippy::disallowed_methods)] // Any instant will do.

use super::super::config::Auth;
use super::super::packet::{Advert, encode};
use super::super::types::{Version, Vrid};
use super::*;

fn ip(n: u8) -> IpAddr {
    [10, 0, 0, n].into()
}

fn pdu(priority: u8, centiseconds: u16) -> Vec<u8> {
    let interval = AdvertInterval::from_centiseconds(centiseconds).expect("legal");
    let vrid = Vrid::new(1).expect("legal");
    let addresses = &[ip(100)];
    let advert = Advert { version: Version::V3, vrid, priority, interval, addresses, auth: &Auth::None };
    encode(&advert, ip(2), ip(18), false)
}

fn note(peers: &mut Peers, from: u8, at: Instant, pdu: &[u8], refusal: Option<&AdvertError>) -> Noted {
    let advertised = &[ip(100)];
    let seen = Sighting { address: ip(from), at, pdu, family: Family::V4, advertised, refusal };
    peers.note(&seen, None).0
}

#[test]
fn nothing_is_allocated_until_somebody_is_heard_and_little_then() {
    assert_eq!(Peers::default().list.capacity(), 0);
    assert!(size_of::<Peers>() <= 40, "{}", size_of::<Peers>());
    assert!(size_of::<Peer>() <= 144, "{}", size_of::<Peer>());
    let mut peers = Peers::default();
    note(&mut peers, 1, Instant::now(), &pdu(1, 100), None);
    assert_eq!(peers.list.capacity(), 1);
}

#[test]
fn the_table_is_bounded_and_the_stale_make_room() {
    let start = Instant::now();
    let mut peers = Peers::default();
    for n in 0..200 {
        note(&mut peers, n, start, &pdu(1, 100), None);
    }
    assert_eq!((peers.list.len(), peers.unlisted()), (MOST_PEERS, 192));
    note(&mut peers, 3, start + STALE / 2, &pdu(1, 100), None);
    note(&mut peers, 220, start + STALE, &pdu(1, 100), None);
    let listed: Vec<_> = peers.snapshot(start + STALE).iter().map(|peer| peer.address).collect();
    assert_eq!(listed[..2], [ip(220), ip(3)], "the one heard last is first");
    assert!(!listed.contains(&ip(0)), "{listed:?}");
}

#[test]
fn lateness_is_counted_against_the_interval_but_for_silences() {
    // Milliseconds after the start, priority, interval in cs -> lateness in ms, news
    let rows = [
        (0, 100, 100, None, true),
        (1000, 100, 100, Some(0), false),
        (2250, 100, 100, Some(250), false),
        (2300, 90, 100, Some(0), true),
        (6300, 90, 100, None, true),
        (7300, 90, 10, Some(0), false),
        (7450, 90, 10, Some(50), false),
        (8000, 0, 10, None, true),
        (8050, 90, 10, None, true),
    ];
    let start = Instant::now();
    let mut peers = Peers::default();
    for (at, priority, cs, late, is_news) in rows {
        let noted = note(&mut peers, 1, start + Duration::from_millis(at), &pdu(priority, cs), None);
        assert_eq!(noted, Noted { late: late.map(Duration::from_millis), is_news }, "at {at}");
    }
    let shown = peers.snapshot(start + Duration::from_secs(9)).remove(0);
    let millis: Vec<_> = shown.late_last.iter().map(Duration::as_millis).collect();
    assert_eq!(millis, [50, 0, 0, 250], "the last one first");
    assert_eq!((shown.late_mean.as_millis(), shown.late_max.as_millis()), (60, 250));
    assert_eq!((shown.heard, shown.last_seen.as_millis()), (9, 950));
}

#[test]
fn packets_of_any_bytes_are_noted() {
    let start = Instant::now();
    let whole = pdu(100, 100);
    for length in 0..whole.len() {
        let mut peers = Peers::default();
        let error = AdvertError::Checksum;
        note(&mut peers, 1, start, &whole[..length], Some(&error));
        note(&mut peers, 1, start + Duration::from_secs(1), &whole[..length], Some(&AdvertError::AuthFailure));
        let shown = peers.snapshot(start).remove(0);
        assert_eq!((shown.heard, shown.refused, shown.refusal), (0, 2, Some(AdvertError::AuthFailure)), "{length}");
    }
}
