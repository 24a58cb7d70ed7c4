//! Properties: packets of any bytes, and any sequence of inputs.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::prelude::*;

use super::super::config::{Auth, GroupConfig, InitialState, InstanceConfig, Transport, UnicastPeer, VrrpConfig};
use super::super::event::StateName;
use super::super::packet::{Advert, encode, parse};
use super::super::types::{Family, Version, Vrid};
use super::host::{Host, a, cs, ip, prio, script, v2, v3, vips};

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
        let mut wire = super::wire::Wire::from_peer(a(&mut host.engine.config()));
        wire.ttl = Some(ttl);
        host.input(super::super::engine::Input::Advert(super::super::engine::Received {
            socket: wire.socket, source: wire.source, destination: wire.destination, ttl: wire.ttl, at: host.now, pdu: &bytes,
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

/// One instance: version, interval, priority, nopreempt, delay, state, tracker, how many addresses, way, password.
fn any_instance(n: usize) -> impl Strategy<Value = InstanceConfig> {
    let base = prop_oneof![Just(v2()), Just(v3())];
    let priority = prop_oneof![Just(255), 1..=254_u8];
    let times = (1..=3_u16, prop_oneof![Just(0), 1..6_u64]);
    let wishes = (any::<bool>(), any::<bool>(), any::<bool>());
    let tracks = prop_oneof![Just(None), Just(Some(0)), Just(Some(-20)), Just(Some(20))];
    let way = prop_oneof![3 => Just(None), 1 => any::<bool>().prop_map(Some)];
    let password = prop_oneof![2 => Just(None), 1 => (1..=2_u8).prop_map(Some)];
    (base, priority, times, wishes, tracks, 0..=2_usize, way, password).prop_map(
        move |(mut base, priority, (seconds, delay), (preempt, master, excluded), weight, more, way, password)| {
            let mut config = a(&mut base).clone();
            config.interface = Some(format!("eth{}", n % 2));
            config.vrid = Vrid::new(u8::try_from(51 + n).expect("few")).expect("not 0");
            config.priority = prio(priority);
            config.advert_interval = cs(seconds * 100);
            config.preempt_delay = std::time::Duration::from_secs(delay);
            config.preempt = preempt;
            config.state = if master { InitialState::Master } else { InitialState::Backup };
            config.tracks = weight.map(|weight| script(weight, false)).into_iter().collect();
            config.addresses = vips(&[&format!("10.{}.0.{}", n % 2, 100 + n)]);
            let more: Vec<String> = (0..more).map(|m| format!("10.{}.{}.{}", n % 2, m + 1, 100 + n)).collect();
            let more = vips(&more.iter().map(String::as_str).collect::<Vec<_>>());
            if let Some(check_source) = way {
                let peer = |last| {
                    let address = ip(&format!("10.{}.0.{last}", n % 2));
                    UnicastPeer { address, min_ttl: None, max_ttl: None }
                };
                config.transport = Transport::Unicast { peers: vec![peer(3), peer(4)], ttl: None, check_source };
            }
            if let (Version::V2, Some(letter)) = (config.version, password) {
                config.auth = Auth::Pass([letter; 8]);
            }
            if excluded {
                config.excluded = more
            } else {
                config.addresses.extend(more)
            }
            config
        },
    )
}

const NAMES: [&str; 4] = ["A", "B", "C", "D"];

/// One to four instances, alone or in one or two groups, and an address that any of them may have.
pub fn any_config() -> impl Strategy<Value = VrrpConfig> {
    let all = (any_instance(0), any_instance(1), any_instance(2), any_instance(3));
    (all, prop::sample::subsequence(vec![0, 1, 2, 3], 1..=4), 0..4_u8, 0..5_usize).prop_map(
        |((i0, i1, i2, i3), kept, grouping, holder)| {
            let mut config = VrrpConfig::default();
            for (n, mut instance) in [i0, i1, i2, i3].into_iter().enumerate().filter(|(n, _)| kept.contains(n)) {
                if n == holder {
                    instance.addresses.extend(vips(&["10.0.9.9"]));
                }
                config.instances.insert(NAMES[n].to_owned(), instance);
            }
            let member = |wanted: &[&str]| {
                let members = wanted.iter().filter(|name| config.instances.contains_key(**name));
                GroupConfig { members: members.map(|name| (*name).to_owned()).collect() }
            };
            let groups: &[(&str, &[&str])] = match grouping {
                0 => &[],
                1 => &[("G", &["A", "B"])],
                2 => &[("G", &["A", "B", "C", "D"])],
                _ => &[("G", &["A", "D"]), ("H", &["B", "C"])],
            };
            config.groups = groups.iter().map(|(name, wanted)| ((*name).to_owned(), member(wanted))).collect();
            config
        },
    )
}

#[derive(Debug, Clone)]
enum Move {
    Play(String),
    Hear(usize, u8, u8),
    Reload(Box<VrrpConfig>),
}

fn any_move() -> impl Strategy<Value = Move> {
    let play = |steps: String| Move::Play(steps);
    prop_oneof![
        6 => (0..5000_u32).prop_map(|ms| format!("wait {ms}")).prop_map(play),
        1 => (0..9000_u32).prop_map(|ms| format!("stall {ms}")).prop_map(play),
        1 => (0..9000_u32).prop_map(|ms| format!("late {ms}")).prop_map(play),
        1 => Just("timeout".to_owned()).prop_map(play),
        6 => (0..4_usize, prop_oneof![Just(0), Just(255), any::<u8>()], prop_oneof![Just(1), Just(3)])
            .prop_map(|(n, priority, from)| Move::Hear(n, priority, from)),
        3 => prop::sample::select(vec!["down", "up", "gone", "back", "no-address", "readdress"])
            .prop_flat_map(|word| any::<bool>().prop_map(move |second| match (word, second) {
                ("down" | "up" | "gone" | "back", true) => format!("{word} eth1"),
                _ => word.to_owned(),
            })).prop_map(play),
        2 => prop::sample::select(vec!["up", "down", "pending", "unknown"])
            .prop_map(|status| format!("script {status}")).prop_map(play),
        1 => prop::sample::select(vec!["lose 10.0.0.100", "lose 10.0.1.100 10.0.9.9", "overflow", "overflow eth1",
            "announced 10.0.0.100"]).prop_map(move |steps| play(steps.to_owned())),
        2 => any_config().prop_map(|config| Move::Reload(Box::new(config))),
    ]
}

proptest! {
    /// Whatever happens, what must always hold does ([`super::invariants`]); and once all is well and nobody else
    /// speaks, every instance becomes master.
    #[test]
    fn any_inputs(first in any_config(), moves in prop::collection::vec(any_move(), 1..60), stop in any::<Option<bool>>()) {
        let mut host = Host::start(first);
        for step in moves {
            match step {
                Move::Play(steps) => host.play(&steps),
                Move::Hear(n, priority, from) => {
                    if host.engine.instance_config(NAMES[n]).is_some() {
                        host.play(&format!("hear {} {priority} .{from}", NAMES[n]));
                    }
                }
                Move::Reload(config) => host.reconfigure(&config),
            }
        }
        host.play("back; back eth1; script up");
        host.restore_addresses();
        host.play("wait 60000");
        let shown = host.engine.snapshot().instances;
        for (name, instance) in &shown {
            prop_assert_eq!(instance.state, StateName::Master, "{}: {:#?}", name, host.said);
        }
        if let Some(gently) = stop {
            host.forget();
            host.play(if gently { "stop" } else { "stop at once" });
            // One advert for the group, or one for each peer.
            let resigns = |line: &String| Some(line.split_once("advert 0")?.0.to_owned());
            let resigned: BTreeSet<String> = host.said.iter().filter_map(resigns).collect();
            prop_assert_eq!(resigned.len(), shown.len());
            prop_assert_eq!(host.invariants.has_any(), gently);
            // The longest linger.
            host.play("wait 2000");
            prop_assert!(host.engine.is_stopped());
            prop_assert!(!host.invariants.has_any(), "addresses are left behind");
            prop_assert!(!host.said.iter().any(|line| line.contains("announce ")), "{:#?}", host.said);
        }
    }
}
