//! What is kept, what is cut, and what survives its writer.

use super::super::config::TrackerKey;
use super::super::engine::SocketKey;
use super::super::flight;
use super::super::types::InstanceId;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn pdu(vrid: u8, priority: u8) -> Vec<u8> {
    vec![0x31, vrid, priority, 0, 0, 100, 0, 0]
}

fn socket() -> SocketKey {
    SocketKey { interface: Some(IfIndex(u32::MAX)), family: Family::V6 }
}

fn sent(black_box: &mut BlackBox, vrid: u8, priority: u8) {
    let source = "fe80::1:2:3:4".parse().expect("literal");
    let pdu = pdu(vrid, priority);
    black_box.sent(&Transmit { socket: socket(), source, destination: source, ttl: None, pdu });
}

#[allow(clippy::disallowed_methods)] // Any instant will do.
fn heard(black_box: &mut BlackBox, vrid: u8, late: Duration, refused: Option<u8>) {
    let source = "fe80::1:2:3:4".parse().expect("literal");
    let pdu = pdu(vrid, 100);
    let at = std::time::Instant::now();
    let received = Received { socket: socket(), source, destination: source, ttl: None, at, pdu: &pdu };
    let verdict = AdvertVerdict { instance: InstanceId(1), refused, late: Some(late), is_news: false };
    black_box.received(&received, verdict);
}

#[test]
fn records_survive_their_writer_and_the_next_goes_on() {
    let file = flight::create().expect("memfd");
    assert_eq!(read(&file), Recorded::default(), "an empty file");
    file.set_len(END).expect("memfd");
    assert_eq!(read(&file), Recorded::default(), "nothing but zeros");
    let mut black_box = BlackBox::open(&file);
    black_box.begin_turn(SECOND);
    black_box.note(&Note::Started { adopts: false });
    sent(&mut black_box, 7, 100);
    heard(&mut black_box, 7, 3 * SECOND, None);
    heard(&mut black_box, 7, Duration::ZERO, Some(8));
    assert_eq!(read(&file), Recorded::default(), "written at the end of the turn");
    black_box.flush(&file).expect("memfd");
    drop(black_box);
    let recorded = read(&file);
    assert_eq!(recorded.notes, [Stamped { number: 1, at_us: 1_000_000, what: Note::Started { adopts: false } }]);
    let source = "fe80::1:2:3:4".parse().expect("literal");
    let line =
        |priority, late_us| AdvertLine { interface: u32::MAX, family: Family::V6, vrid: 7, source, priority, late_us };
    let what: Vec<_> = recorded.adverts.into_iter().map(|record| record.what).collect();
    let expected = [
        AdvertRecord::Sent(line(100, None)),
        AdvertRecord::Heard(line(100, Some(3_000_000))),
        AdvertRecord::Refused(line(100, Some(0))),
    ];
    assert_eq!(what, expected);

    let mut next = BlackBox::open(&file);
    next.note(&Note::Started { adopts: true });
    next.flush(&file).expect("memfd");
    let numbers: Vec<_> = read(&file).notes.iter().map(|note| note.number).collect();
    assert_eq!(numbers, [1, 2]);
}

#[test]
fn the_flight_recorder_leaves_the_black_box_alone() {
    let file = flight::create().expect("memfd");
    let clock = flight::MonotonicClock::measure();
    for keep in [false, true, false] {
        let recorder = flight::FlightRecorder::open(file.try_clone().expect("fd"), clock, keep).expect("memfd");
        let mut black_box = BlackBox::open(recorder.file());
        black_box.note(&Note::AdvertsLost);
        black_box.flush(recorder.file()).expect("memfd");
    }
    assert_eq!(read(&file).notes.len(), 3);
    assert_eq!(flight::read(&file, clock), []);
}

#[test]
fn rings_are_bounded_whatever_comes_in_one_turn() {
    for turns in [1, 7, 600] {
        let file = flight::create().expect("memfd");
        let mut black_box = BlackBox::open(&file);
        for n in 0..1800_u64 {
            black_box.note(&Note::Stall { late_us: n });
            if n % (1800 / turns) == 0 {
                black_box.flush(&file).expect("memfd");
            }
        }
        black_box.flush(&file).expect("memfd");
        let notes = read(&file).notes;
        assert_eq!(notes.len(), 512, "{turns} turns");
        let (first, last) = (notes.first().expect("some"), notes.last().expect("some"));
        assert_eq!((first.number, last.number), (1289, 1800));
        assert_eq!(last.what, Note::Stall { late_us: 1799 });
        assert!(file.metadata().expect("memfd").len() <= END);
    }
}

#[test]
fn a_torn_record_is_none_and_hides_no_other() {
    let file = flight::create().expect("memfd");
    let mut black_box = BlackBox::open(&file);
    for _ in 0..3 {
        black_box.note(&Note::AdvertsLost);
    }
    black_box.flush(&file).expect("memfd");
    // The first has the number 1, and so the second slot.
    let second = NOTES.at + 2 * NOTES.slot as u64;
    for byte in 0..NOTES.slot as u64 {
        let mut was = [0];
        file.read_exact_at(&mut was, second + byte).expect("memfd");
        file.write_all_at(&[was[0] ^ 0x20], second + byte).expect("memfd");
        let numbers: Vec<_> = read(&file).notes.iter().map(|note| note.number).collect();
        assert_eq!(numbers, [1, 3], "byte {byte}");
        file.write_all_at(&was, second + byte).expect("memfd");
    }
}

#[test]
fn adverts_beyond_a_rate_are_sums_and_news_are_kept() {
    let file = flight::create().expect("memfd");
    let mut black_box = BlackBox::open(&file);
    for second in 1..=3_u32 {
        black_box.begin_turn(SECOND * second);
        for n in 0..1000_u32 {
            sent(&mut black_box, 1, 100);
            heard(&mut black_box, 2, Duration::from_micros(u64::from(n)), None);
        }
        heard(&mut black_box, 3, SECOND, None);
        heard(&mut black_box, 4, Duration::ZERO, Some(1));
        sent(&mut black_box, 5, 0);
    }
    black_box.begin_turn(SECOND * 4);
    black_box.flush(&file).expect("memfd");
    let adverts = read(&file).adverts;
    assert_eq!(adverts.len(), 3 * 20);
    let sums: Vec<_> = adverts.iter().filter(|advert| matches!(advert.what, AdvertRecord::More { .. })).collect();
    let sum = AdvertRecord::More { sent: 992, heard: 992, refused: 0, worst_late_us: 999 };
    assert!(sums.len() == 3 && sums.iter().all(|record| record.what == sum), "{sums:?}");
    let vrids = adverts.iter().filter_map(|advert| match &advert.what {
        AdvertRecord::Heard(line) | AdvertRecord::Refused(line) | AdvertRecord::Sent(line) => Some(line.vrid),
        AdvertRecord::More { .. } => None,
    });
    let vrids: Vec<_> = vrids.filter(|vrid| *vrid > 2).collect();
    assert_eq!(vrids, [3, 4, 5, 3, 4, 5, 3, 4, 5]);
}

#[test]
fn links_are_noted_when_they_change_and_long_words_are_cut() {
    let file = flight::create().expect("memfd");
    let mut black_box = BlackBox::open(&file);
    let mut link = Link {
        index: IfIndex(3),
        name: "eth0".to_owned(),
        up: true,
        running: true,
        loopback: false,
        no_arp: false,
        mtu: 1500,
        hardware: Vec::new(),
        addresses: Vec::new(),
    };
    black_box.link(&link);
    link.mtu = 9000;
    black_box.link(&link);
    link.running = false;
    black_box.link(&link);
    black_box.link_gone(IfIndex(3));
    black_box.link_gone(IfIndex(3));
    let long = "ä".repeat(300);
    let instance = long.clone();
    black_box.event(&Event::Warning { instance, message: long.clone() });
    black_box.event(&Event::TimerLate { instance: long.clone(), by: Duration::MAX });
    black_box.note(&tracker_note(&TrackerKey::Script(long.clone()), TrackerStatus::Value(i32::MIN)));
    black_box.note(&command_note(&long));
    black_box.flush(&file).expect("memfd");
    let notes: Vec<_> = read(&file).notes.into_iter().map(|note| note.what).collect();
    assert_eq!(notes.len(), 7, "{notes:?}");
    assert_eq!(notes[1], Note::Link { name: "eth0".to_owned(), up: true, running: false });
    assert_eq!(notes[2], Note::LinkGone { name: "eth0".to_owned() });
    assert!(matches!(&notes[3], Note::Said { instance, text } if instance.len() == 32 && text.len() == 66));
}
