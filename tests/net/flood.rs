//! Floods of adverts, good and bad, and more of them than the socket has room for: the whole vrrp process, with the
//! kernel's own sockets.

use std::time::{Duration, Instant};

use holdfast::net::sys;
use holdfast::vrrp::event::{Event, StateName};
use holdfast::vrrp::flight;
use holdfast::vrrp::message::{FromVrrp, ToVrrp};
use holdfast::vrrp::snapshot::{Counters, InstanceSnapshot};
use holdfast::vrrp::types::{AdvertInterval, IfIndex};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::needs_root;
use crate::lan::Lan;
use crate::process::{FakeMain, PATIENCE, config, cpu_time};

/// How long each kind of packet comes in, as fast as it can be sent.
const FLOOD: Duration = Duration::from_millis(1500);

/// A packet from 192.0.2.2 unless it says otherwise, with every checksum right.
#[derive(Clone)]
struct Forged {
    source: [u8; 4],
    ttl: u8,
    pdu: Vec<u8>,
    spoil_checksum: bool,
}

/// A VRRPv2 advert for VRID 51 that everybody hears.
fn good(priority: u8) -> Forged {
    let mut pdu = vec![0x21, 51, priority, 1, 0, 1, 0, 0, 192, 0, 2, 100];
    pdu.extend([0; 8]);
    Forged { source: [192, 0, 2, 2], ttl: 255, pdu, spoil_checksum: false }
}

impl Forged {
    fn edit(mut self, edit: impl FnOnce(&mut Vec<u8>)) -> Self {
        edit(&mut self.pdu);
        self
    }

    fn frame(&self) -> Vec<u8> {
        let mut pdu = self.pdu.clone();
        let sum = checksum(&pdu);
        if let Some(field) = pdu.get_mut(6..8) {
            field.copy_from_slice(&if self.spoil_checksum { !sum } else { sum }.to_be_bytes());
        }
        let length = u16::try_from(20 + pdu.len()).expect("short").to_be_bytes();
        let mut header = vec![0x45, 0xc0, length[0], length[1], 0, 1, 0, 0, self.ttl, 112, 0, 0];
        header.extend(self.source);
        header.extend([224, 0, 0, 18]);
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [&[1, 0, 0x5e, 0, 0, 18, 2, 0, 0, 0, 0, 0x0b, 8, 0][..], &header, &pdu].concat()
    }
}

fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    let sum: u32 = bytes.chunks(2).map(word).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((sum & 0xffff) + (sum >> 16)).expect("folded")
}

/// Sends frames in turn until the time is over or there were `most`; how many there were.
fn flood(lan: &Lan, frames: &[Vec<u8>], time: Duration, most: u64) -> u64 {
    Lan::inside(&lan.b, || {
        let raw = sys::frame_socket().expect("packet socket");
        let index = nix::net::if_::if_nametoindex("eth0").expect("eth0");
        let end = Instant::now() + time;
        let mut sent = 0;
        for frame in frames.iter().cycle() {
            if sent >= most || Instant::now() >= end {
                break;
            }
            sent += u64::from(sys::send_frame(&raw, IfIndex(index), frame).is_ok());
        }
        sent
    })
}

fn snapshot(main: &mut FakeMain, seen: &mut Vec<Event>) -> InstanceSnapshot {
    main.say(&ToVrrp::SnapshotPlease);
    main.until(|message| match message {
        FromVrrp::Event { event, .. } => {
            seen.push(event.clone());
            None
        }
        FromVrrp::Snapshot(snapshot) => snapshot.instances.get("VI_1").cloned(),
        _ => None,
    })
}

/// A master of priority 100 under each kind of packet: the protocol goes on in time, the misdeed is counted under its
/// name, people are told once, and no more than half of a CPU goes into it.
#[test]
fn a_master_under_a_flood_of_each_kind() {
    needs_root!();
    type Kind = (&'static str, Forged, fn(&Counters) -> u64);
    let kinds: [Kind; 9] = [
        ("wrong checksum", Forged { spoil_checksum: true, ..good(255) }, |c| c.checksum_err),
        ("TTL", Forged { ttl: 1, ..good(255) }, |c| c.ip_ttl_err),
        ("another version", Forged { pdu: vec![0x31, 51, 255, 0, 0, 100, 0, 0], ..good(255) }, |c| c.version_err),
        ("no version at all", good(255).edit(|pdu| pdu[0] = 0xf1), |c| c.version_err),
        ("truncated", good(255).edit(|pdu| pdu.truncate(7)), |c| c.packet_len_err),
        ("oversized", good(255).edit(|pdu| pdu.resize(1400, 0xff)), |c| c.packet_len_err),
        ("our own source", Forged { source: [192, 0, 2, 1], ..good(255) }, |c| c.own_advert),
        ("priority 0", good(0), |c| c.pri_zero_rcvd),
        ("worse", good(50), |c| c.advert_rcvd),
    ];
    let lan = Lan::new();
    // Otherwise the kernel drops what pretends to be ours.
    Lan::inside(&lan.a, || std::fs::write("/proc/sys/net/ipv4/conf/eth0/accept_local", "1").expect("a setting"));
    let mut main = FakeMain::start(&lan.a, &flight::create().expect("memfd"));
    main.begin(&config(), false);
    main.until_master();
    let mut seen = Vec::new();
    for (name, forged, counter) in kinds {
        let before = snapshot(&mut main, &mut seen).counters;
        seen.clear();
        let (cpu, began) = (cpu_time(&main.child), Instant::now());
        let sent = flood(&lan, &[forged.frame()], FLOOD, u64::MAX);
        let (cpu, took) = (Duration::from_nanos(cpu_time(&main.child) - cpu), began.elapsed());
        let after = snapshot(&mut main, &mut seen);
        let counted = counter(&after.counters) - counter(&before);
        println!("{name}: {sent} sent, {counted} counted, {cpu:?} of CPU in {took:?}");
        assert!(counted >= 100.min(sent / 4) && counted <= sent, "{name}: {counted} of {sent} were counted");
        assert_eq!(after.state, StateName::Master, "{name}");
        assert!(cpu < took * 3 / 4, "{name}: {cpu:?} of CPU in {took:?}");
        let told = seen.iter().filter(|event| matches!(event, Event::AdvertFlawed { .. })).count();
        let rivals = seen.iter().filter(|event| matches!(event, Event::LowerPriorityAdvert { .. })).count();
        // The flaws of these are of a kind that was told of this peer a moment ago.
        let known = matches!(name, "no version at all" | "oversized");
        let flawless = matches!(name, "priority 0" | "worse");
        assert_eq!(told, usize::from(!known && !flawless), "{name}: {seen:?}");
        assert_eq!(rivals, usize::from(name == "worse"), "{name}: {seen:?}");
        // One a second, and at most four answers.
        let most = 5 * (2 + took.as_secs());
        let mut ours = after.counters.advert_sent - before.advert_sent;
        assert!(ours <= most, "{name}: {ours} adverts in {took:?}");
        let end = Instant::now() + PATIENCE;
        while ours == 0 {
            assert!(Instant::now() < end, "{name}: no advert");
            ours = snapshot(&mut main, &mut seen).counters.advert_sent - before.advert_sent;
        }
    }
    // VRID 0 never reaches the process.
    let before = snapshot(&mut main, &mut seen).counters;
    let unknown = flood(&lan, &[good(255).edit(|pdu| pdu[1] = 0).frame()], FLOOD / 5, u64::MAX);
    let after = snapshot(&mut main, &mut seen);
    assert!(unknown > 0 && after.state == StateName::Master);
    assert_eq!(after.counters.advert_rcvd, before.advert_rcvd);
    // A better one is a better one: the protocol has no secrets.
    flood(&lan, &[good(255).frame()], FLOOD, u64::MAX);
    main.until(|message| match message {
        FromVrrp::Event { event: Event::StateChanged { to: StateName::Backup, .. }, .. } => Some(()),
        _ => None,
    });
    main.until_master();
}

/// A backup is stopped for longer than its master-down interval while its master sends more adverts than the socket has
/// room for. The last that found room are old by then; those that found none are as good as heard, once.
#[test]
fn adverts_without_room_are_as_good_as_heard() {
    needs_root!();
    let lan = Lan::new();
    let mut main = FakeMain::start(&lan.a, &flight::create().expect("memfd"));
    let mut quick = config();
    let instance = quick.instances.get_mut("VI_1").expect("there");
    // The master-down interval is three times two seconds and the skew of half a second.
    instance.priority = holdfast::vrrp::types::Priority::new(128).expect("legal");
    instance.advert_interval = AdvertInterval::from_seconds(2).expect("legal");
    main.begin(&quick, false);
    let master = [good(200).edit(|pdu| pdu[5] = 2).frame()];
    flood(&lan, &master, PATIENCE, 1);
    let mut seen = Vec::new();
    assert_eq!(snapshot(&mut main, &mut seen).state, StateName::Backup);
    let child = Pid::from_raw(i32::try_from(main.child.id()).expect("a pid"));
    kill(child, Signal::SIGSTOP).expect("our child");
    let sent = flood(&lan, &master, PATIENCE, 5000);
    assert_eq!(sent, 5000);
    std::thread::sleep(Duration::from_millis(7200));
    // No room for this one either.
    flood(&lan, &master, PATIENCE, 1);
    kill(child, Signal::SIGCONT).expect("our child");
    let told = main.until(|message| match message {
        FromVrrp::Event { event: Event::Warning { message, .. }, .. } => Some(message.clone()),
        FromVrrp::Event { event: event @ Event::StateChanged { to: StateName::Master, .. }, .. } => {
            panic!("promoted on its own stall: {event:?}")
        }
        _ => None,
    });
    assert!(told.contains("adverts were lost"), "{told}");
    let begun = Instant::now();
    let shot = snapshot(&mut main, &mut seen);
    let counted = shot.counters.advert_rcvd;
    assert!(counted < 5000, "{counted} found room");
    assert_eq!(shot.state, StateName::Backup, "after {:?}: {seen:?}", begun.elapsed());
    main.until_master();
}
