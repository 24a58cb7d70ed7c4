//! Properties: packets of any bytes, and any sequence of inputs.

use std::net::IpAddr;

use proptest::prelude::*;

use super::super::config::Auth;
use super::super::packet::{Advert, encode, parse};
use super::super::types::{Family, Version, Vrid};
use super::host::{Host, a, cs, ip, v2, v3};

#[derive(Debug, Clone)]
struct AnyAdvert {
    version: Version,
    vrid: u8,
    priority: u8,
    interval: u16,
    addresses: Vec<IpAddr>,
    auth: Auth,
    ends: (IpAddr, IpAddr),
}

impl AnyAdvert {
    fn bytes(&self) -> Vec<u8> {
        let advert = Advert {
            version: self.version,
            vrid: Vrid::new(self.vrid).expect("not 0"),
            priority: self.priority,
            interval: cs(self.interval),
            addresses: &self.addresses,
            auth: &self.auth,
        };
        encode(&advert, self.ends.0, self.ends.1, false)
    }

    fn family(&self) -> Family {
        Family::of(self.ends.0)
    }
}

fn any_advert() -> impl Strategy<Value = AnyAdvert> {
    let form = prop_oneof![
        (1_u16..=255).prop_map(|s| (Version::V2, Family::V4, s * 100)),
        (1_u16..=4095).prop_map(|c| (Version::V3, Family::V4, c)),
        (1_u16..=4095).prop_map(|c| (Version::V3, Family::V6, c)),
    ];
    (
        form,
        1..=255_u8,
        any::<u8>(),
        prop::collection::vec(any::<u128>(), 0..12),
        any::<(u128, u128)>(),
        any::<Option<[u8; 8]>>(),
    )
        .prop_map(|((version, family, interval), vrid, priority, numbers, ends, password)| {
            let address = |n: u128| match family {
                Family::V4 => IpAddr::from(((n >> 96) as u32).to_be_bytes()),
                Family::V6 => IpAddr::from(n.to_be_bytes()),
            };
            AnyAdvert {
                version,
                vrid,
                priority,
                interval,
                addresses: numbers.into_iter().map(address).collect(),
                auth: password.filter(|_| version == Version::V2).map_or(Auth::None, Auth::Pass),
                ends: (address(ends.0), address(ends.1)),
            }
        })
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64), v6 in any::<bool>()) {
        let family = if v6 { Family::V6 } else { Family::V4 };
        if let Ok(packet) = parse(family, &bytes) {
            prop_assert_eq!(packet.addresses().count(), usize::from(bytes[3]));
            let ends = if v6 { (ip("fe80::1"), ip("ff02::12")) } else { (ip("10.0.0.1"), ip("224.0.0.18")) };
            packet.checksum_is_right(ends.0, ends.1, false);
        }
    }

    /// Bytes that look like a packet for the first eight of them get further.
    #[test]
    fn any_bytes_come_to_an_engine(mut bytes in prop::collection::vec(any::<u8>(), 2..64), version in 2..=3_u8, ttl in any::<u8>()) {
        bytes[0] = version << 4 | 1;
        bytes[1] = 51;
        let mut host = Host::start(if version == 2 { v2() } else { v3() });
        let mut wire = super::host::Wire::from_peer(a(&mut host.engine.config().clone()));
        wire.ttl = Some(ttl);
        host.input(super::super::engine::Input::Advert(super::super::engine::Received {
            socket: wire.socket, source: wire.source, destination: wire.destination, ttl: wire.ttl, pdu: &bytes,
        }));
    }

    #[test]
    fn what_is_encoded_is_parsed(advert in any_advert()) {
        let bytes = advert.bytes();
        let packet = parse(advert.family(), &bytes).expect("ours");
        prop_assert!(packet.checksum_is_right(advert.ends.0, advert.ends.1, false));
        prop_assert_eq!(packet.version, advert.version);
        prop_assert_eq!(packet.vrid.value(), advert.vrid);
        prop_assert_eq!(packet.priority, advert.priority);
        prop_assert_eq!(packet.interval_cs, advert.interval);
        prop_assert_eq!(packet.addresses().collect::<Vec<_>>(), advert.addresses);
        match advert.auth {
            Auth::Pass(password) => prop_assert_eq!((packet.auth_type, packet.auth_data), (1, Some(password))),
            Auth::None => prop_assert_eq!((packet.auth_type, packet.auth_data.unwrap_or_default()), (0, [0; 8])),
        }
    }

    #[test]
    fn a_flipped_bit_is_caught(advert in any_advert(), bit in any::<prop::sample::Index>()) {
        let mut bytes = advert.bytes();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let right = parse(advert.family(), &bytes).is_ok_and(|p| p.checksum_is_right(advert.ends.0, advert.ends.1, false));
        prop_assert!(!right, "bit {bit}");
    }
}
