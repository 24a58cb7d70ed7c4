//! Which adverts are heard (RFC 9568 §7.1, RFC 3768 §7.1, RFC 2338 §10): one row a check, each refusal with its counter.

use super::super::config::{Auth, Transport, VrrpConfig};
use super::super::snapshot::Counters;
use super::super::types::{Version, Vrid};
use super::host::{Host, a, ip, prio, unicast, v2, v3, v6, vips};
use super::table::as_is;
use super::wire::Wire;

struct Check {
    clause: &'static str,
    text: &'static str,
    given: fn(&mut VrrpConfig),
    wire: fn(&mut Wire),
    /// `heard`, or what people are told.
    then: &'static str,
    counter: fn(&Counters) -> u64,
}

fn check(
    clause: &'static str,
    text: &'static str,
    given: fn(&mut VrrpConfig),
    wire: fn(&mut Wire),
    then: &'static str,
    counter: fn(&Counters) -> u64,
) -> Check {
    Check { clause, text, given, wire, then, counter }
}

/// A counter for what is heard without a flaw.
fn none(_: &Counters) -> u64 {
    0
}

/// Plays each check four times on a fresh backup: told the first time, counted each time, and told again once the
/// peer's adverts were good in between and a minute has passed.
fn run(config: fn() -> VrrpConfig, rows: &[Check]) {
    for Check { clause, text, given, wire, then, counter } in rows {
        let mut config = config();
        given(&mut config);
        let mut host = Host::start(config);
        let mut good = Wire::from_peer(a(&mut host.engine.config()));
        let mut packet = Wire::from_peer(a(&mut host.engine.config()));
        wire(&mut packet);
        host.forget();
        host.receive(&packet);
        // All VRIDs are listened to when another router has ours: `super::rivals`.
        host.said.retain(|line| !line.starts_with("sockets"));
        let told = host.said.join("; ");
        let heard = host.snapshot("A").counters.advert_rcvd == 1;
        assert_eq!(if told.is_empty() && heard { "heard" } else { &told }, *then, "{clause}: {text}");
        assert_eq!(heard, !then.starts_with("refused"), "{clause}: {text}: heard");
        if *then == "heard" {
            continue;
        }
        host.forget();
        host.receive(&packet);
        assert_eq!(host.said, [""; 0], "{clause}: {text}: told twice");
        assert_eq!(counter(&host.snapshot("A").counters), 2, "{clause}: {text}: counted");
        good.source = packet.source;
        host.receive(&good);
        // Some sources are never good.
        if host.snapshot("A").counters.advert_rcvd > 0 && host.said.is_empty() {
            host.receive(&packet);
            assert_eq!(host.said, [""; 0], "{clause}: {text}: told within a minute");
            host.play("late 60000");
            host.receive(&good);
            host.receive(&packet);
            assert_eq!(host.said.join("; "), *then, "{clause}: {text}: told again after a good one");
        }
    }
}

#[test]
#[rustfmt::skip] // A table.
fn rfc_9568_s7_1() {
    run(v3, &[
        check("§7.1", "a good advert is heard", as_is, |_| {}, "heard", none),
        check("§7.1, §5.1.1.3", "MUST verify that the IPv4 TTL is 255", as_is, |w| w.ttl = Some(254),
              "refused 10.0.0.3: TTL 254, must be 255", |c| c.ip_ttl_err),
        check("§7.1", "a socket that does not tell the TTL is one whose kernel filters", as_is, |w| w.ttl = None, "heard", none),
        check("§7.1", "MUST verify that the VRRP version is 3", as_is, |w| { w.version = Version::V2; },
              "refused 10.0.0.3: VRRP version 2, ours is 3", |c| c.version_err),
        check("§5.2.1", "a version that does not exist", as_is, |w| w.edit = |p| p[0] = 0x41,
              "refused 10.0.0.3: VRRP version 4", |c| c.version_err),
        check("§7.1, §5.2.2", "MUST verify that the type is 1: a packet with unknown type MUST be discarded", as_is,
              |w| w.edit = |p| p[0] = 0x32, "refused 10.0.0.3: packet type 2 is not an advertisement", |c| c.invalid_type_rcvd),
        check("§7.1", "MUST verify that the packet is complete: cut in the addresses", as_is, |w| w.edit = |p| p.truncate(11),
              "refused 10.0.0.3: length 11, expected 12", |c| c.packet_len_err),
        check("§7.1", "cut in the header", as_is, |w| w.edit = |p| p.truncate(7),
              "refused 10.0.0.3: length 7, expected 8", |c| c.packet_len_err),
        check("keepalived", "longer than it says", as_is, |w| w.edit = |p| p.push(0),
              "refused 10.0.0.3: length 13, expected 12", |c| c.packet_len_err),
        check("§7.1", "MUST verify the VRRP checksum", as_is, |w| w.spoil = |p| p[6] ^= 1,
              "refused 10.0.0.3: wrong checksum", |c| c.checksum_err),
        check("§5.2.8", "which covers the pseudo header", as_is, |w| w.plain = true,
              "refused 10.0.0.3: wrong checksum", |c| c.checksum_err),
        check("§5.2.6", "the reserved bits SHOULD be ignored on reception", as_is, |w| w.edit = |p| p[4] |= 0xf0, "heard", none),
        check("§5.2.7", "intervals may differ; worth a word", as_is, |w| w.interval_cs = 200,
              "flawed 10.0.0.3: advertisement interval 2 s, ours is 1 s", |c| c.advert_interval_err),
        check("§5.2.7", "an interval of 0 would make a master-down interval of nothing", as_is, |w| w.interval_cs = 0,
              "refused 10.0.0.3: advertisement interval 0", |c| c.advert_interval_err),
        // The RFC says MAY verify and "log the event". Refusing is how two masters come about: one node gets a new address
        // first at every change of a configuration.
        check("§7.1", "MAY verify that the addresses are those configured: told, heard", as_is,
              |w| w.addresses = vec![ip("10.0.0.100"), ip("10.0.0.101")],
              "flawed 10.0.0.3: addresses differ: missing none, unexpected 10.0.0.101", |c| c.addr_list_err),
        check("§7.1", "refused in strict mode", |c| a(c).strict = true, |w| w.addresses = vec![ip("10.0.0.101")],
              "refused 10.0.0.3: addresses differ: missing 10.0.0.100, unexpected 10.0.0.101", |c| c.addr_list_err),
        check("§5.2.9", "their order is free", |c| a(c).addresses = vips(&["10.0.0.100", "10.0.0.101"]),
              |w| w.addresses.reverse(), "heard", none),
        // Departure from §5.2.5 "if the received count is 0, the advertisement MUST be ignored" (erratum 8299):
        // keepalived sends and hears them (`no_virtual_ipaddress`), and an ignored master is two masters.
        check("departure from §5.2.5", "a count of 0 is a difference like any other", as_is, |w| w.addresses.clear(),
              "flawed 10.0.0.3: addresses differ: missing 10.0.0.100, unexpected none", |c| c.addr_list_err),
        check("§5.2.5", "ignored in strict mode", |c| a(c).strict = true, |w| w.addresses.clear(),
              "refused 10.0.0.3: addresses differ: missing 10.0.0.100, unexpected none", |c| c.addr_list_err),
        // Without it an owner hears them, so that two owners do not last: see `s6_4_3_two_address_owners`.
        check("§7.1", "an owner MUST discard: `owner_ignore_adverts`",
              |c| { a(c).priority = prio(255); a(c).owner_ignore_adverts = true; }, |w| w.priority = 255,
              "refused 10.0.0.3: ignored by the address owner", |c| c.ignored_by_owner),
        check("keepalived", "our own advert comes back", as_is, |w| w.source = ip("10.0.0.2"),
              "refused 10.0.0.2: sender has our own address", |c| c.own_advert),
        check("§5.1.1.2", "to a host instead of the group", as_is, |w| w.destination = ip("10.0.0.2"),
              "refused 10.0.0.3: sent to 10.0.0.2, this instance is multicast", |c| c.source_err),
    ]);
    run(v6, &[
        check("§7.1, §5.1.2.3", "MUST verify that the IPv6 Hop Limit is 255", as_is, |w| w.ttl = Some(64),
              "refused fe80::3: TTL 64, must be 255", |c| c.ip_ttl_err),
        check("§5.2.8", "the checksum covers the IPv6 pseudo header", as_is, |w| w.spoil = |p| p[15] ^= 4,
              "refused fe80::3: wrong checksum", |c| c.checksum_err),
        check("§5.2.9", "addresses of 16 bytes", as_is, |w| w.addresses = vec![ip("10.0.0.100")],
              "refused fe80::3: length 12, expected 24", |c| c.packet_len_err),
        check("§7.1", "a good one", as_is, |_| {}, "heard", none),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn rfc_3768_s7_1_and_rfc_2338_s10() {
    fn pass(config: &mut VrrpConfig) {
        a(config).auth = Auth::Pass(*b"secret\0\0");
    }
    run(v2, &[
        check("§7.1", "a good advert is heard", as_is, |_| {}, "heard", none),
        check("§7.1", "MUST verify that the IP TTL is 255", as_is, |w| w.ttl = Some(1),
              "refused 10.0.0.3: TTL 1, must be 255", |c| c.ip_ttl_err),
        check("§7.1", "MUST verify the VRRP version", as_is, |w| w.version = Version::V3,
              "refused 10.0.0.3: VRRP version 3, ours is 2", |c| c.version_err),
        check("§7.1", "MUST verify that the packet length is complete: without its authentication data", as_is,
              |w| w.edit = |p| p.truncate(12), "refused 10.0.0.3: length 12, expected 20", |c| c.packet_len_err),
        check("§7.1", "MUST verify the VRRP checksum", as_is, |w| w.spoil = |p| p[2] ^= 0x10,
              "refused 10.0.0.3: wrong checksum", |c| c.checksum_err),
        check("§7.1", "MUST verify that the Adver Interval is the locally configured one", as_is, |w| w.interval_cs = 200,
              "refused 10.0.0.3: advertisement interval 2 s, ours is 1 s", |c| c.advert_interval_err),
        check("§7.1", "an interval of 0 is another one", as_is, |w| w.interval_cs = 0,
              "refused 10.0.0.3: advertisement interval 0 s, ours is 1 s", |c| c.advert_interval_err),
        check("§7.1", "MAY verify the addresses: told, heard", as_is, |w| w.addresses = vec![ip("10.0.0.9")],
              "flawed 10.0.0.3: addresses differ: missing 10.0.0.100, unexpected 10.0.0.9", |c| c.addr_list_err),
        check("RFC 2338 §7.1", "MUST verify that the authentication type is the configured one: 0 for 1", pass,
              |w| w.auth = Auth::None, "refused 10.0.0.3: authentication type 0, ours is 1", |c| c.authtype_mismatch),
        check("RFC 2338 §7.1", "1 for 0", as_is, |w| w.auth = Auth::Pass(*b"secret\0\0"),
              "refused 10.0.0.3: authentication type 1, ours is 0", |c| c.authtype_mismatch),
        check("RFC 2338 §5.3.6.3", "AH, which we do not speak", pass, |w| w.edit = |p| p[4] = 2,
              "refused 10.0.0.3: authentication type 2, ours is 1", |c| c.authtype_mismatch),
        check("RFC 3768 §5.3.6", "a type that does not exist", as_is, |w| w.edit = |p| p[4] = 3,
              "refused 10.0.0.3: authentication type 3 does not exist", |c| c.invalid_authtype),
        check("RFC 2338 §10.2", "the password must be the same", pass, |w| w.auth = Auth::Pass(*b"secreT\0\0"),
              "refused 10.0.0.3: wrong password (auth_pass)", |c| c.auth_failure),
        check("RFC 2338 §5.3.10", "all eight bytes of it, zeros included", pass, |w| w.auth = Auth::Pass(*b"secret\0x"),
              "refused 10.0.0.3: wrong password (auth_pass)", |c| c.auth_failure),
        check("RFC 2338 §10.2", "and then it is heard", pass, |_| {}, "heard", none),
        check("RFC 2338 §10.1", "no authentication: the data is ignored", as_is, |w| w.edit = |p| p[13] = 7, "heard", none),
        check("RFC 3768 §5.3.8", "the checksum has no pseudo header", as_is, |w| { w.source = ip("10.0.0.4"); }, "heard", none),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn unicast_and_other_options() {
    fn with_peer(config: &mut VrrpConfig) {
        a(config).transport = unicast(&["10.0.0.3"]);
    }
    fn checked(config: &mut VrrpConfig) {
        with_peer(config);
        if let Transport::Unicast { check_source, peers, .. } = &mut a(config).transport {
            *check_source = true;
            peers[0].min_ttl = Some(60);
            peers[0].max_ttl = Some(64);
        }
    }
    run(v3, &[
        check("unicast_peer", "any TTL", with_peer, |w| w.ttl = Some(3), "heard", none),
        check("unicast_peer", "a stranger is heard unless sources are checked", with_peer, |w| w.source = ip("10.0.0.4"), "heard", none),
        check("unicast_peer", "multicast is not for a unicast instance", with_peer, |w| w.destination = ip("224.0.0.18"),
              "refused 10.0.0.3: sent to 224.0.0.18, this instance is unicast", |c| c.source_err),
        check("check_unicast_src", "a stranger", checked, |w| w.source = ip("10.0.0.4"),
              "refused 10.0.0.4: sender is not a unicast peer", |c| c.source_err),
        check("min_ttl", "from farther away", checked, |w| w.ttl = Some(59),
              "refused 10.0.0.3: TTL 59 is outside this peer's limits", |c| c.ip_ttl_err),
        check("max_ttl", "from nearer", checked, |w| w.ttl = Some(65),
              "refused 10.0.0.3: TTL 65 is outside this peer's limits", |c| c.ip_ttl_err),
        check("min_ttl", "the least", checked, |w| w.ttl = Some(60), "heard", none),
        check("max_ttl", "the most", checked, |w| w.ttl = Some(64), "heard", none),
        check("v3_checksum_as_v2", "a checksum without pseudo header", |c| a(c).v3_checksum_as_v2 = true, |w| w.plain = true, "heard", none),
        check("v3_checksum_as_v2", "checksums are not verified at all (keepalived)", |c| a(c).v3_checksum_as_v2 = true,
              |w| w.spoil = |p| p[6] ^= 0x55, "heard", none),
    ]);
    run(v2, &[
        check("v3_checksum_as_v2", "means nothing to VRRPv2", |c| a(c).v3_checksum_as_v2 = true, |w| w.spoil = |p| p[6] ^= 0x55,
              "refused 10.0.0.3: wrong checksum", |c| c.checksum_err),
    ]);
}

#[test]
fn skip_check_adv_addr_trusts_the_known_master_only() {
    let mut config = v3();
    a(&mut config).skip_check_adv_addr = true;
    let mut host = Host::start(config.clone());
    let mut other = Wire::from_peer(a(&mut config));
    other.addresses = vec![ip("10.0.0.77")];
    host.forget();
    host.receive(&other);
    host.said.retain(|line| !line.starts_with("sockets"));
    assert_eq!(host.said.len(), 1, "no master is known yet: {:?}", host.said);
    host.receive(&other);
    host.forget();
    host.receive(&other);
    assert_eq!((host.said.len(), host.snapshot("A").counters.addr_list_err), (0, 1), "it is the master now");
    other.source = ip("10.0.0.4");
    host.receive(&other);
    assert_eq!((host.said.len(), host.snapshot("A").counters.addr_list_err), (1, 2), "this one is not");
}

/// RFC 9568 §7.1: "MUST verify that the VRID is configured on the receiving interface".
#[test]
fn an_unknown_vrid_is_counted_and_told_once_where_wanted() {
    for (wanted, told) in [(false, 0), (true, 1)] {
        let mut config = v3();
        config.global.log_unknown_vrids = wanted;
        let mut host = Host::start(config.clone());
        let mut stranger = Wire::from_peer(a(&mut config));
        stranger.vrid = Vrid::new(99).expect("not 0");
        host.forget();
        host.receive(&stranger);
        host.receive(&stranger);
        assert_eq!((host.said.len(), host.engine.snapshot().unknown_vrid), (told, 2));
        stranger.edit = |pdu| pdu[1] = 0;
        host.receive(&stranger);
        assert_eq!((host.said.len(), host.engine.snapshot().unknown_vrid), (2 * told, 3), "VRID 0 does not exist");
        assert_eq!(host.snapshot("A").counters, Counters::default());
    }
}

#[test]
fn forged_sources_fill_neither_the_log_nor_memory() {
    let mut config = v3();
    config.global.log_unknown_vrids = true;
    let mut host = Host::start(config.clone());
    host.forget();
    for vrid in [51, 99] {
        for n in 0..5000_u16 {
            let mut wire = Wire::from_peer(a(&mut config));
            let [high, low] = n.to_be_bytes();
            wire.source = std::net::IpAddr::from([172, 16, high, low]);
            wire.ttl = Some(1);
            wire.vrid = Vrid::new(vrid).expect("not 0");
            host.receive(&wire);
        }
    }
    assert!((2..=64 + 256).contains(&host.said.len()), "{} lines", host.said.len());
    assert_eq!(host.snapshot("A").counters.ip_ttl_err, 5000, "each one is counted all the same");
}

/// RFC 9568 §6.4.1 knows no reception before start-up, and a router in FAULT could not act on it.
#[test]
fn nothing_is_heard_in_init_and_fault() {
    for steps in ["down", "stop"] {
        let mut host = Host::start(v3());
        host.play(steps);
        host.forget();
        host.play("hear 200; hear 0; hear 50");
        assert_eq!((host.said.len(), host.snapshot("A").counters), (0, Counters::default()), "{steps}");
    }
}
