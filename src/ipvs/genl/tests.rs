//! Against messages that were caught between ipvsadm 1.31 and a 6.1 kernel (`tests/captured.txt`: `>` to the kernel,
//! `<` from it, flags, and the message from its generic header on), and against any bytes at all.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;

use netlink_packet_core::NetlinkBuffer;
use proptest::prelude::*;

use super::attribute::Reader;
use super::convert::{as_dumped, destination_of, settings_of, to_kernel_destination, to_kernel_service};
use super::destination::{method, tunnel};
use super::reply::{Reply, decode};
use super::request::{Request, resolve_family};
use super::service::{Netmask, flag};
use super::{Daemon, DaemonState, Info, KernelDestination, KernelService, Timeouts, top};
use crate::ipvs::config::{Persistence, SchedulerFlags};
use crate::ipvs::table::{Destination, Service, ServiceSettings, ServiceTable};
use crate::ipvs::types::{ForwardMethod, Protocol, Scheduler, ServiceKey, SocketKey, Tunnel, TunnelChecksum};
use crate::vrrp::types::Family;

const FAMILY_NUMBER: u16 = 0x1c;
const DEST_ATTRIBUTES: std::ops::RangeInclusive<u16> = 1..=15;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The messages of one command in that direction, generic header first.
fn captured(command: &str, direction: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut here = false;
    for line in include_str!("tests/captured.txt").lines() {
        match line.split_once(' ').unwrap() {
            ("$", other) => here = other == format!("ipvsadm {command}"),
            (way, rest) if here && way == direction => found.push(bytes(rest.split_once(' ').unwrap().1)),
            _ => {}
        }
    }
    assert!(!found.is_empty(), "nothing captured of {command}");
    found
}

fn payload(request: &Request) -> Vec<u8> {
    let mut buffer = Vec::new();
    request.append(FAMILY_NUMBER, 7, true, &mut buffer);
    let message = NetlinkBuffer::new_checked(&buffer).unwrap();
    assert_eq!((message.message_type(), message.sequence_number()), (FAMILY_NUMBER, 7));
    assert_eq!(message.flags() & 0x300 != 0, request.is_dump());
    message.payload().to_vec()
}

/// As the kernel would send it.
fn datagram(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 16).unwrap();
    let mut datagram = [&length.to_ne_bytes()[..], &FAMILY_NUMBER.to_ne_bytes(), &[0; 10]].concat();
    datagram.extend(payload);
    datagram
}

fn answers(command: &str) -> Vec<Reply> {
    let all: Vec<u8> = captured(command, "<").iter().flat_map(|payload| datagram(payload)).collect();
    decode(&all, Family::V4).into_iter().map(|message| message.reply).collect()
}

fn key(protocol: Protocol, ip: &str, port: u16) -> ServiceKey {
    ServiceKey::Address { protocol, address: SocketKey::new(ip.parse().unwrap(), port) }
}

fn web() -> ServiceKey {
    key(Protocol::Tcp, "10.0.0.1", 80)
}

fn mark(family: Family, mark: u32) -> ServiceKey {
    ServiceKey::Fwmark { family, mark: NonZeroU32::new(mark).unwrap() }
}

#[test]
fn services_are_added_and_edited_in_the_bytes_of_ipvsadm() {
    let plain = KernelService::new(web(), "wrr");
    let sh = KernelService {
        flags: flag::PERSISTENT | flag::SCHED2,
        timeout: 60,
        netmask: Netmask::V4(Ipv4Addr::new(255, 255, 255, 0)),
        ..KernelService::new(web(), "sh")
    };
    let ops =
        KernelService { flags: flag::ONE_PACKET, ..KernelService::new(key(Protocol::Udp, "2001:db8::1", 53), "rr") };
    let mh = KernelService { flags: flag::SCHED1 | flag::SCHED2, ..KernelService::new(mark(Family::V6, 7), "mh") };
    let marked =
        KernelService { flags: flag::PERSISTENT, timeout: 90, ..KernelService::new(mark(Family::V4, 8), "rr") };
    let sip = KernelService {
        flags: flag::PERSISTENT,
        timeout: 60,
        engine: Some("sip".to_owned()),
        ..KernelService::new(key(Protocol::Udp, "10.0.0.1", 5060), "rr")
    };
    let sctp = KernelService::new(key(Protocol::Sctp, "10.0.0.2", 99), "wlc");
    let rows = [
        ("-A -t 10.0.0.1:80 -s wrr", Request::new_service(&plain)),
        ("-E -t 10.0.0.1:80 -s sh -b sh-port -p 60 -M 255.255.255.0", Request::set_service(&sh)),
        ("-A -u [2001:db8::1]:53 -s rr -o", Request::new_service(&ops)),
        ("-A -f 7 -6 -s mh -b mh-port,mh-fallback", Request::new_service(&mh)),
        ("-A -f 8 -s rr -p 90", Request::new_service(&marked)),
        ("-A -u 10.0.0.1:5060 -s rr -p 60 --pe sip", Request::new_service(&sip)),
        ("-A --sctp-service 10.0.0.2:99", Request::new_service(&sctp)),
    ];
    for (command, request) in rows {
        assert_eq!(payload(&request), captured(command, ">")[0], "{command}");
    }
}

#[test]
fn destinations_say_what_ipvsadm_says() {
    let at = |ip: &str, port| SocketKey::new(ip.parse().unwrap(), port);
    let limited = KernelDestination {
        upper_threshold: 10,
        lower_threshold: 5,
        ..KernelDestination::new(at("192.168.0.1", 80), method::MASQUERADE, 3)
    };
    let gue = KernelDestination {
        tunnel_type: tunnel::GUE,
        tunnel_port: 6080,
        tunnel_flags: tunnel::REMOTE_CHECKSUM,
        ..KernelDestination::new(at("192.168.0.2", 80), method::TUNNEL, 1)
    };
    let gre = KernelDestination {
        tunnel_type: tunnel::GRE,
        tunnel_flags: tunnel::CHECKSUM,
        ..KernelDestination::new(at("192.168.0.3", 80), method::TUNNEL, 1)
    };
    let mixed = KernelDestination::new(at("2001:db8::9", 80), method::TUNNEL, 1);
    let edited = KernelDestination::new(at("192.168.0.1", 80), method::MASQUERADE, 4);
    let six = KernelDestination::new(at("2001:db8::2", 54), method::MASQUERADE, 1);
    let dns = key(Protocol::Udp, "2001:db8::1", 53);
    let rows = [
        ("-a -t 10.0.0.1:80 -r 192.168.0.1 -m -w 3 -x 10 -y 5", Request::new_destination(&web(), &limited)),
        (
            "-a -t 10.0.0.1:80 -r 192.168.0.2 -i --tun-type gue --tun-port 6080 --tun-remcsum",
            Request::new_destination(&web(), &gue),
        ),
        ("-a -t 10.0.0.1:80 -r 192.168.0.3 -i --tun-type gre --tun-csum", Request::new_destination(&web(), &gre)),
        ("-a -t 10.0.0.1:80 -r 2001:db8::9 -i", Request::new_destination(&web(), &mixed)),
        ("-e -t 10.0.0.1:80 -r 192.168.0.1 -m -w 4", Request::set_destination(&web(), &edited)),
        ("-a -u [2001:db8::1]:53 -r [2001:db8::2]:54 -m", Request::new_destination(&dns, &six)),
        ("-d -t 10.0.0.1:80 -r 2001:db8::9", Request::del_destination(&web(), mixed.address)),
    ];
    for (command, request) in rows {
        let (ours, theirs) = (payload(&request), captured(command, ">").remove(0));
        assert_eq!(ours[..4], theirs[..4], "{command}");
        let (ours, theirs) = (Reader::new(&ours[4..]), Reader::new(&theirs[4..]));
        let deleting = command.starts_with("-d");
        for kind in DEST_ATTRIBUTES {
            // On a removal ipvsadm sends all, and the kernel looks at the address.
            let wanted =
                theirs.nested(top::DEST).unwrap().bytes(kind).filter(|_| !deleting || [1, 2, 11].contains(&kind));
            assert_eq!(ours.nested(top::DEST).unwrap().bytes(kind), wanted, "{command}: attribute {kind}");
        }
        for kind in 1..=5 {
            let (ours, theirs) = (ours.nested(top::SERVICE).unwrap(), theirs.nested(top::SERVICE).unwrap());
            assert_eq!(ours.bytes(kind), theirs.bytes(kind), "{command}: attribute {kind} of the service");
        }
    }
}

#[test]
fn the_other_commands_say_what_ipvsadm_says() {
    let master = Daemon {
        state: DaemonState::Master,
        interface: "d0".to_owned(),
        sync_id: 7,
        max_length: None,
        group: None,
        port: None,
        ttl: None,
    };
    let backup = Daemon {
        state: DaemonState::Backup,
        interface: "d0".to_owned(),
        sync_id: 8,
        max_length: Some(1400),
        group: Some("224.0.0.99".parse().unwrap()),
        port: Some(8849),
        ttl: Some(3),
    };
    let six = Daemon { sync_id: 0, group: Some("ff02::51".parse().unwrap()), ..master.clone() };
    let timeouts = Timeouts { tcp: 900, tcp_fin: 120, udp: 300 };
    let rows = [
        ("--start-daemon master --mcast-interface d0 --syncid 7", 0, Request::start_daemon(&master)),
        (
            "--start-daemon backup --mcast-interface d0 --syncid 8 --sync-maxlen 1400 --mcast-group 224.0.0.99 \
             --mcast-port 8849 --mcast-ttl 3",
            0,
            Request::start_daemon(&backup),
        ),
        ("--start-daemon master --mcast-interface d0 --mcast-group ff02::51", 0, Request::start_daemon(&six)),
        ("--stop-daemon master", 0, Request::stop_daemon(DaemonState::Master)),
        ("--stop-daemon backup", 0, Request::stop_daemon(DaemonState::Backup)),
        ("-L --daemon", 1, Request::dump_daemons()),
        ("--set 900 120 300", 0, Request::set_timeouts(timeouts)),
        ("-L --timeout", 0, Request::get_info()),
        ("-L --timeout", 1, Request::get_timeouts()),
        ("-L -n", 1, Request::dump_services()),
        ("-L -n", 2, Request::dump_destinations(&web())),
        ("-Z", 0, Request::zero(None)),
        ("-C", 0, Request::flush()),
    ];
    for (command, at, request) in rows {
        assert_eq!(payload(&request), captured(command, ">")[at], "{command}");
    }
    for (command, request) in [
        ("-D -t 10.0.0.1:80", Request::del_service(&web())),
        ("-D -f 7 -6", Request::del_service(&mark(Family::V6, 7))),
        ("-Z -t 10.0.0.1:80", Request::zero(Some(&web()))),
        ("-L -n -t 10.0.0.1:80", Request::get_service(&web())),
    ] {
        let (ours, theirs) = (payload(&request), captured(command, ">"));
        let theirs = theirs.iter().find(|theirs| theirs[..4] == ours[..4]).unwrap();
        let (ours, theirs) = (Reader::new(&ours[4..]), Reader::new(&theirs[4..]));
        for kind in 1..=5 {
            let (ours, theirs) = (ours.nested(top::SERVICE).unwrap(), theirs.nested(top::SERVICE).unwrap());
            assert_eq!(ours.bytes(kind), theirs.bytes(kind), "{command}: attribute {kind} of the service");
        }
    }
    let resolve = resolve_family(1);
    assert_eq!(resolve[16..], *b"\x03\x02\x00\x00\x09\x00\x02\x00IPVS\0\0\0\0");
}

#[test]
fn a_dump_of_the_kernel_is_read() {
    let all = answers("-L -n");
    assert_eq!(all[0], Reply::Info(Info { version: 0x01_02_01, table_size: 4096 }));
    let services: Vec<_> =
        all.iter().filter_map(|reply| if let Reply::Service(s) = reply { Some(s) } else { None }).collect();
    let keys: Vec<_> = services.iter().map(|service| service.key).collect();
    assert_eq!(
        keys,
        [
            web(),
            key(Protocol::Sctp, "10.0.0.2", 99),
            key(Protocol::Udp, "10.0.0.1", 5060),
            key(Protocol::Udp, "2001:db8::1", 53),
            mark(Family::V6, 7),
            mark(Family::V4, 8),
        ]
    );
    let web = services[0];
    assert_eq!((web.scheduler.as_str(), web.timeout, web.engine.as_deref()), ("sh", 60, None));
    assert_eq!(web.flags, flag::PERSISTENT | flag::HASHED | flag::SCHED2);
    assert_eq!(web.netmask, Netmask::V4(Ipv4Addr::new(255, 255, 255, 0)));
    assert_eq!(services[2].engine.as_deref(), Some("sip"));
    assert_eq!(services[4].netmask, Netmask::V6(128));
    let destinations: Vec<_> =
        all.iter().filter_map(|reply| if let Reply::Destination(d) = reply { Some(*d) } else { None }).collect();
    assert_eq!(destinations.len(), 5);
    let gre = destinations[0];
    assert_eq!(gre.address.to_string(), "192.168.0.3:80");
    assert_eq!((gre.method, gre.tunnel_type, gre.tunnel_flags), (method::TUNNEL, tunnel::GRE, tunnel::CHECKSUM));
    let gue = destinations[1];
    assert_eq!((gue.tunnel_type, gue.tunnel_port, gue.tunnel_flags), (tunnel::GUE, 6080, tunnel::REMOTE_CHECKSUM));
    assert_eq!((destinations[2].method, destinations[2].weight), (method::MASQUERADE, 4));
    assert_eq!(destinations[3].address.to_string(), "[2001:db8::2]:54");
    assert_eq!((destinations[4].method, destinations[4].address.port), (method::ROUTE, 0));
}

#[test]
fn daemons_and_timeouts_are_read() {
    assert_eq!(answers("-L --timeout")[1], Reply::Timeouts(Timeouts { tcp: 900, tcp_fin: 120, udp: 300 }));
    let daemons = answers("-L --daemon");
    let master = Daemon {
        state: DaemonState::Master,
        interface: "d0".to_owned(),
        sync_id: 7,
        max_length: Some(1472),
        group: Some("224.0.0.81".parse().unwrap()),
        port: Some(8848),
        ttl: Some(1),
    };
    assert_eq!(daemons[1], Reply::Daemon(master));
    let Reply::Daemon(backup) = &daemons[2] else { panic!("{daemons:?}") };
    assert_eq!(
        (backup.state, backup.max_length, backup.port, backup.ttl),
        (DaemonState::Backup, Some(1400), Some(8849), Some(3))
    );
}

#[test]
fn counters_are_read_in_64_bits() {
    // A service as above, with counters that do not fit 32 bits in front of the narrow ones.
    let mut inner = super::service::write_key(&web());
    let mut wide = super::attribute::Writer::default();
    for kind in 1..=10_u16 {
        wide.put(kind, &(u64::from(kind) << 33).to_ne_bytes());
    }
    let mut narrow = super::attribute::Writer::default();
    narrow.put_u32(1, 5);
    inner.nest(10, &narrow).nest(12, &wide);
    let service = KernelService::read(Reader::new(&inner.into_bytes())).unwrap();
    assert_eq!(service.stats.connections, 1 << 33);
    assert_eq!(service.stats.out_bytes_per_second, 10 << 33);
    // An old kernel has the narrow ones only.
    let mut inner = super::service::write_key(&web());
    inner.nest(10, &narrow);
    assert_eq!(KernelService::read(Reader::new(&inner.into_bytes())).unwrap().stats.connections, 5);
}

#[test]
fn refusals_are_read_with_their_words() {
    // nlmsgerr: -EINVAL, the header of the request (capped), then the attribute with the words.
    let mut payload = (-libc::EINVAL).to_ne_bytes().to_vec();
    payload.extend([20, 0, 0, 0, 0x1c, 0, 5, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    payload.extend([8, 0, 1, 0, b'b', b'a', b'd', 0]);
    let mut datagram = u32::try_from(payload.len() + 16).unwrap().to_ne_bytes().to_vec();
    datagram.extend([2, 0, 0, 3, 9, 0, 0, 0, 0, 0, 0, 0]);
    datagram.extend(payload);
    let messages = decode(&datagram, Family::V4);
    assert_eq!(messages[0].sequence, 9);
    assert_eq!(messages[0].reply, Reply::Answer { errno: libc::EINVAL, text: Some("bad".to_owned()) });
}

#[test]
fn a_damaged_datagram_is_malformed_and_no_more() {
    let whole = datagram(&captured("-L -n", "<")[1]);
    for cut in 1..whole.len() {
        let messages = decode(&whole[..cut], Family::V4);
        assert_eq!(messages.last().unwrap().reply, Reply::Malformed, "cut at {cut}");
    }
    // A service without an address.
    let nothing = datagram(&[1, 1, 0, 0, 4, 0, 1, 0]);
    assert_eq!(decode(&nothing, Family::V4)[0].reply, Reply::Malformed);
    // A length that would go round for ever.
    assert_eq!(decode(&[0; 32], Family::V4).len(), 1);
}

fn any_ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

fn any_socket() -> impl Strategy<Value = SocketKey> {
    (any_ip(), any::<u16>()).prop_map(|(ip, port)| SocketKey::new(ip, port))
}

fn any_key() -> impl Strategy<Value = ServiceKey> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)];
    prop_oneof![
        (protocol, any_socket()).prop_map(|(protocol, address)| ServiceKey::Address { protocol, address }),
        (1..=u32::MAX, any::<bool>()).prop_map(|(n, six)| mark(if six { Family::V6 } else { Family::V4 }, n)),
    ]
}

fn any_method() -> impl Strategy<Value = ForwardMethod> {
    let sum = prop_oneof![Just(TunnelChecksum::None), Just(TunnelChecksum::Checksum), Just(TunnelChecksum::Remote)];
    prop_oneof![
        Just(ForwardMethod::Nat),
        Just(ForwardMethod::Dr),
        Just(ForwardMethod::Tun(Tunnel::Ipip)),
        (1..=u16::MAX, sum).prop_map(|(port, checksum)| ForwardMethod::Tun(Tunnel::Gue { port, checksum })),
        Just(ForwardMethod::Tun(Tunnel::Gre { checksum: TunnelChecksum::Checksum })),
    ]
}

fn any_settings() -> impl Strategy<Value = (ServiceKey, ServiceSettings)> {
    let persistence = proptest::option::of((1..=2_678_400_u32, 1..=32_u8, any::<bool>()));
    let flags = any::<[bool; 4]>();
    (any_key(), 0..Scheduler::ALL.len(), flags, persistence).prop_map(|(key, scheduler, flags, persistence)| {
        let [one_packet, flag1, flag2, flag3] = flags;
        let persistence = persistence.map(|(timeout, granularity, sip)| Persistence {
            timeout,
            granularity,
            engine: sip.then(|| "sip".to_owned()),
        });
        let flags = SchedulerFlags { hashed: false, one_packet, flag1, flag2, flag3 };
        let settings =
            ServiceSettings { scheduler: Scheduler::ALL[scheduler], flags, persistence, ..ServiceSettings::default() };
        (key, settings)
    })
}

/// What we send, sent back.
fn echoed(request: &Request) -> Reply {
    let mut datagram = Vec::new();
    request.append(FAMILY_NUMBER, 1, false, &mut datagram);
    decode(&datagram, Family::V4).remove(0).reply
}

proptest! {
    #[test]
    fn any_settings_survive_the_way_to_the_kernel_and_back((key, settings) in any_settings()) {
        let service = to_kernel_service(key, &settings);
        prop_assert_eq!(echoed(&Request::new_service(&service)), Reply::Service(service.clone()));
        prop_assert_eq!(settings_of(&service), Some(settings));
    }

    #[test]
    fn any_destination_survives_too(
        (address, method) in (any_socket(), any_method()),
        weight in 0..=i32::MAX as u32,
        upper_threshold: u32,
        lower_threshold: u32,
    ) {
        let destination = Destination { method, weight, upper_threshold, lower_threshold };
        let kernel = to_kernel_destination(address, &destination).unwrap();
        prop_assert_eq!(echoed(&Request::new_destination(&web(), &kernel)), Reply::Destination(kernel));
        prop_assert_eq!(destination_of(&kernel), Some(destination));
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes: Vec<u8>, at in 0..400_usize, with: [u8; 4]) {
        decode(&bytes, Family::V6);
        let mut message = datagram(&captured("-L -n", "<")[1]);
        let at = at % (message.len() - 4);
        message[at..at + 4].copy_from_slice(&with);
        decode(&message, Family::V6);
    }
}

#[test]
fn what_the_kernel_does_not_keep_is_no_difference() {
    let mut table = ServiceTable::default();
    let mut service = Service::default();
    service.settings.flags.hashed = true;
    service.settings.proxy.max_connections = 7;
    let at = |port| SocketKey::new("10.0.0.2".parse().unwrap(), port);
    service.destinations.insert(at(1), Destination { weight: u32::MAX, ..Destination::default() });
    service.destinations.insert(at(2), Destination { method: ForwardMethod::Proxy, ..Destination::default() });
    table.services.insert(web(), service);
    let dumped = as_dumped(&table);
    let service = &dumped.services[&web()];
    assert_eq!(service.settings, ServiceSettings::default());
    assert_eq!(service.destinations.len(), 1);
    assert_eq!(service.destinations[&at(1)].weight, i32::MAX as u32);
    assert_eq!(as_dumped(&dumped), dumped);
}

#[test]
fn what_our_settings_cannot_hold_is_nothing_of_ours() {
    let foreign = KernelService::new(web(), "nosuch");
    assert_eq!(settings_of(&foreign), None);
    let holes = KernelService {
        flags: flag::PERSISTENT,
        netmask: Netmask::V4(Ipv4Addr::new(255, 0, 255, 0)),
        ..KernelService::new(web(), "rr")
    };
    assert_eq!(settings_of(&holes), None);
    assert_eq!(Netmask::of_prefix(Family::V4, 0).prefix(), Some(0));
    assert_eq!(Netmask::of_prefix(Family::V4, 24), Netmask::V4(Ipv4Addr::new(255, 255, 255, 0)));
    let bypass = KernelDestination::new(SocketKey::new("10.0.0.2".parse().unwrap(), 1), method::BYPASS, 1);
    assert_eq!(destination_of(&bypass), None);
}
