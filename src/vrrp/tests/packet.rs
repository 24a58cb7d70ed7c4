//! Packets, byte by byte, computed by hand.

use std::net::IpAddr;

use super::super::accept::AdvertError;
use super::super::config::Auth;
use super::super::packet::{Advert, MAX_ADDRESSES, capacity, encode, parse, peek_vrid};
use super::super::types::{Family, Version, Vrid};
use super::host::{cs, ip, prio};

/// The checksum of RFC 1071 over the pseudo header and the packet, written down once more and differently.
pub fn reference_checksum(version: Version, pdu: &[u8], source: IpAddr, destination: IpAddr, plain: bool) -> u16 {
    let mut bytes = Vec::new();
    let length = u32::try_from(pdu.len()).expect("short");
    match (source, destination) {
        (IpAddr::V4(s), IpAddr::V4(d)) if version == Version::V3 && !plain => {
            bytes.extend(s.octets().into_iter().chain(d.octets()));
            bytes.extend([0, 112]);
            bytes.extend(&length.to_be_bytes()[2..]);
        }
        (IpAddr::V6(s), IpAddr::V6(d)) => {
            bytes.extend(s.octets().into_iter().chain(d.octets()));
            bytes.extend(length.to_be_bytes());
            bytes.extend([0, 0, 0, 112]);
        }
        _ => {}
    }
    bytes.extend(pdu);
    let checksum_at = bytes.len() - pdu.len() + 6;
    bytes[checksum_at..checksum_at + 2].fill(0);
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    let mut sum: u16 = 0;
    for pair in bytes.chunks_exact(2) {
        let (next, carry) = sum.overflowing_add(u16::from_be_bytes([pair[0], pair[1]]));
        sum = next + u16::from(carry);
    }
    !sum
}

const US: &str = "10.0.0.2";
const GROUP: &str = "224.0.0.18";

fn advert<'a>(version: Version, addresses: &'a [IpAddr], auth: &'a Auth) -> Advert<'a> {
    let vrid = Vrid::new(0x33).expect("not 0");
    Advert { version, vrid, priority: prio(100).value(), interval: cs(100), addresses, auth }
}

/// Each checksum was added up with pencil and paper: the code is not its own witness.
#[test]
fn each_byte_of_each_form() {
    let password = Auth::Pass(*b"secret\0\0");
    let (v4, v6) = ([ip("10.0.0.100")], [ip("fe80::100")]);
    let (local, all) = ("fe80::2", "ff02::12");
    #[rustfmt::skip]
    let rows: [(&str, Vec<u8>, &[u8]); 6] = [
        ("RFC 3768 §5.1, authentication type 0: eight zeros at the end",
            encode(&advert(Version::V2, &v4, &Auth::None), ip(US), ip(GROUP), false),
            &[0x21, 0x33, 100, 1, 0, 1, 0x70, 0x66, 10, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("RFC 2338 §5.3.6.2, type 1: a password padded with zeros",
            encode(&advert(Version::V2, &v4, &password), ip(US), ip(GROUP), false),
            &[0x21, 0x33, 100, 1, 1, 1, 0x33, 0x1a, 10, 0, 0, 100, b's', b'e', b'c', b'r', b'e', b't', 0, 0]),
        ("RFC 9568 §5.2: centiseconds, checksum with the IPv4 pseudo header",
            encode(&advert(Version::V3, &v4, &Auth::None), ip(US), ip(GROUP), false),
            &[0x31, 0x33, 100, 1, 0, 100, 0x75, 0x72, 10, 0, 0, 100]),
        ("v3_checksum_as_v2: without it",
            encode(&advert(Version::V3, &v4, &Auth::None), ip(US), ip(GROUP), true),
            &[0x31, 0x33, 100, 1, 0, 100, 0x60, 0x03, 10, 0, 0, 100]),
        ("VRRPv3 has no authentication, whatever is configured",
            encode(&advert(Version::V3, &v4, &password), ip(US), ip(GROUP), true),
            &[0x31, 0x33, 100, 1, 0, 100, 0x60, 0x03, 10, 0, 0, 100]),
        ("RFC 9568 §5.2.8, IPv6",
            encode(&advert(Version::V3, &v6, &Auth::None), ip(local), ip(all), true),
            &[0x31, 0x33, 100, 1, 0, 100, 0x6c, 0xc6, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]),
    ];
    for (what, got, want) in rows {
        assert_eq!(got, want, "{what}");
    }
}

#[test]
fn interval_fields() {
    let mut advert = advert(Version::V3, &[], &Auth::None);
    for (interval, bytes) in [(1, [0, 1]), (100, [0, 100]), (4095, [0x0f, 0xff])] {
        advert.interval = cs(interval);
        assert_eq!(
            encode(&advert, ip(US), ip(GROUP), false)[4..6],
            bytes,
            "RFC 9568 §5.2.7: 12 bits, reserved bits zero"
        );
    }
    advert.version = Version::V2;
    for (interval, bytes) in [(100, [0, 1]), (25_500, [0, 255])] {
        advert.interval = cs(interval);
        assert_eq!(encode(&advert, ip(US), ip(GROUP), false)[4..6], bytes, "RFC 3768 §5.3.7: seconds");
    }
}

/// RFC 9568 §5.2.5: the count is one byte; and a packet fits the link.
#[test]
fn as_many_addresses_as_one_packet_carries() {
    let rows = [
        (Version::V2, Family::V4, 1500, 255),
        (Version::V2, Family::V4, 576, 135),
        (Version::V3, Family::V4, 576, 137),
        (Version::V3, Family::V6, 1500, 90),
        (Version::V3, Family::V6, 1280, 77),
        (Version::V3, Family::V6, 9000, 255),
        (Version::V3, Family::V6, 48, 0),
        (Version::V3, Family::V4, 0, 0),
    ];
    for (version, family, mtu, want) in rows {
        assert_eq!(capacity(version, family, mtu), want, "{version:?} {family} mtu {mtu}");
    }
    let many = vec![ip("10.0.0.100"); 300];
    let pdu = encode(&advert(Version::V3, &many, &Auth::None), ip(US), ip(GROUP), false);
    assert_eq!((pdu[3], pdu.len()), (255, 8 + 255 * 4));
    assert_eq!(parse(Family::V4, &pdu).map(|packet| packet.addresses().count()), Ok(MAX_ADDRESSES));
}

#[test]
fn structure() {
    let good = encode(&advert(Version::V3, &[ip("10.0.0.100")], &Auth::None), ip(US), ip(GROUP), false);
    let spoilt = |at: usize, value: u8| {
        let mut pdu = good.clone();
        pdu[at] = value;
        parse(Family::V4, &pdu).map(|_| ())
    };
    assert_eq!(spoilt(0, 0x31), Ok(()));
    assert_eq!(spoilt(0, 0x11), Err(AdvertError::Version { got: 1, ours: None }));
    assert_eq!(spoilt(0, 0x30), Err(AdvertError::Type { got: 0 }));
    assert_eq!(spoilt(1, 0), Err(AdvertError::UnknownVrid { vrid: 0 }));
    assert_eq!(spoilt(3, 2), Err(AdvertError::PacketLength { got: 12, expected: 16 }));
    assert_eq!(spoilt(0, 0x21), Err(AdvertError::PacketLength { got: 12, expected: 20 }));
    assert_eq!(parse(Family::V4, &[]), Err(AdvertError::PacketLength { got: 0, expected: 8 }));
    assert_eq!((peek_vrid(&[]), peek_vrid(&[0x31]), peek_vrid(&[0x31, 0])), (None, None, None));
    assert_eq!(peek_vrid(&[0x31, 7]), Vrid::new(7));
}

/// What Debian's keepalived 2.2.7 put on the wire from 10.0.0.2 and fe80::2, seen by tcpdump.
#[test]
fn the_same_bytes_as_keepalived() {
    type Capture = (Version, u8, u8, u16, Auth, &'static [&'static str], &'static str);
    #[rustfmt::skip]
    let captures: [Capture; 4] = [
        (Version::V2, 51, 100, 100, Auth::None, &["10.0.0.100"], "21336401000170660a0000640000000000000000"),
        (Version::V2, 52, 100, 100, Auth::Pass(*b"secret\0\0"), &["10.0.0.101", "10.0.0.102"],
            "21346402010128b10a0000650a0000667365637265740000"),
        (Version::V3, 53, 200, 50, Auth::None, &["10.0.0.103"], "3135c8010032119f0a000067"),
        (Version::V3, 54, 100, 100, Auth::None, &["fe80::100", "fd00::100"],
            "3136640200646eb1fe800000000000000000000000000100fd000000000000000000000000000100"),
    ];
    for (version, vrid, priority, interval, auth, list, hex) in captures {
        let addresses: Vec<IpAddr> = list.iter().map(|address| ip(address)).collect();
        let (source, group) = if list[0].contains(':') { ("fe80::2", "ff02::12") } else { (US, GROUP) };
        let vrid = Vrid::new(vrid).expect("not 0");
        let advert = Advert { version, vrid, priority, interval: cs(interval), addresses: &addresses, auth: &auth };
        let pdu = encode(&advert, ip(source), ip(group), false);
        assert_eq!(pdu.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), hex, "VRID {vrid}");
        let packet = parse(Family::of(ip(source)), &pdu).expect("sound");
        assert!(packet.checksum_is_right(ip(source), ip(group), false), "VRID {vrid}");
    }
}
