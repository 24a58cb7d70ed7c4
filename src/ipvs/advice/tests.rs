//! One row for each thing that can be in the way.

use super::*;
use crate::ipvs::types::{Protocol, SocketKey, Tunnel};

const REAL_MAC: Mac = [2, 0, 0, 0, 0, 0x21];
const OTHER_MAC: Mac = [2, 0, 0, 0, 0, 0x99];
const ROUTER_MAC: Mac = [0, 0, 0x5e, 0, 1, 51];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn service(vip: &str, real: &str, method: ForwardMethod) -> Wanted {
    let key = ServiceKey::Address { protocol: Protocol::Tcp, address: SocketKey::new(ip(vip), 80) };
    Wanted { key, reals: vec![(ip(real), method)], masquerade: false, active_with: None }
}

fn cluster(service: Wanted) -> Cluster {
    let brought = ["10.0.0.100", "2001:db8::100"].map(|vip| (ip(vip), Some("eth0".to_owned()))).into();
    Cluster { forwarder: ForwarderChoice::Auto, services: vec![service], brought }
}

fn by_name<const N: usize>(values: [(&str, u32); N]) -> BTreeMap<String, u32> {
    values.map(|(name, value)| (name.to_owned(), value)).into()
}

fn local(address: &str, length: u8, interface: &str) -> LocalAddress {
    LocalAddress { ip: ip(address), length, interface: interface.to_owned() }
}

/// A master on which everything works.
fn director() -> Machine {
    Machine {
        ipvs: true,
        ip_forward: Some(1),
        ip6_forward: Some(1),
        rp_filter: by_name([("all", 0), ("eth0", 0), ("tunl0", 0)]),
        send_redirects: by_name([("all", 0), ("eth0", 0)]),
        arp_ignore: by_name([("all", 0)]),
        arp_announce: by_name([("all", 0)]),
        vs_conntrack: Some(0),
        tracked: Some((10, 65_536)),
        addresses: vec![local("127.0.0.1", 8, "lo"), local("10.0.0.11", 24, "eth0"), local("10.0.0.100", 32, "eth0")],
        up: ["lo", "eth0", "tunl0"].map(str::to_owned).into(),
        default_routes: vec![(Some(Ipv4Addr::new(10, 0, 0, 254)), "eth0".to_owned())],
        answering: BTreeMap::from([(ip("10.0.0.21"), BTreeSet::from([REAL_MAC]))]),
    }
}

fn with(change: impl FnOnce(&mut Machine)) -> Machine {
    let mut machine = director();
    change(&mut machine);
    machine
}

/// Codes of the errors and warnings; notes say nothing of the machine.
fn codes(findings: &Findings) -> Vec<&'static str> {
    findings.0.keys().filter(|finding| finding.level < Level::Note).map(|finding| finding.code).collect()
}

#[test]
fn each_thing_in_the_directors_way_is_found_where_it_matters() {
    let nat = || service("10.0.0.100", "10.0.0.21", ForwardMethod::Nat);
    let nat6 = || service("2001:db8::100", "2001:db8::21", ForwardMethod::Nat);
    let dr = || service("10.0.0.100", "10.0.0.21", ForwardMethod::Dr);
    let tun = || service("10.0.0.100", "192.168.7.1", ForwardMethod::Tun(Tunnel::Ipip));
    let masqueraded = || Wanted { masquerade: true, ..nat() };
    let own = || service("10.0.0.100", "10.0.0.11", ForwardMethod::Dr);
    let followed = || Wanted { active_with: Some("VI_1".to_owned()), ..own() };
    let elsewhere = || service("10.9.0.1", "10.0.0.21", ForwardMethod::Dr);
    let off_link = || service("10.0.0.100", "192.168.7.1", ForwardMethod::Dr);
    for service in [nat(), nat6(), dr(), tun(), masqueraded(), followed()] {
        assert_eq!(codes(&of_director(&cluster(service.clone()), &director())), [""; 0], "{service:?}");
    }
    let off = with(|m| (m.ip_forward, m.ip6_forward) = (Some(0), Some(0)));
    let redirecting = with(|m| m.send_redirects = by_name([("all", 0), ("eth0", 1)]));
    let untracked = with(|m| m.vs_conntrack = None);
    let full = with(|m| m.tracked = Some((60_000, 65_536)));
    let strict_tunnel = with(|m| m.rp_filter = by_name([("all", 1), ("tunl0", 0)]));
    let loose_tunnel = with(|m| m.rp_filter = by_name([("all", 2), ("tunl0", 1)]));
    let closed_tunnel = with(|m| {
        m.rp_filter = by_name([("all", 1), ("tunl0", 0)]);
        m.up.remove("tunl0");
    });
    let no_ipvs = with(|m| m.ipvs = false);
    let strict = with(|m| {
        m.rp_filter = by_name([("all", 0), ("eth0", 1)]);
        m.default_routes = vec![(None, "eth1".to_owned())];
    });
    let on_lo = with(|m| m.addresses.push(local("10.0.0.100", 32, "lo")));
    let quiet = with(|m| {
        m.addresses.push(local("10.0.0.100", 32, "lo"));
        m.arp_ignore = by_name([("all", 0), ("eth0", 1)]);
    });
    let rows: [(&str, Wanted, &Machine, &[&str]); 21] = [
        ("no IPVS", dr(), &no_ipvs, &["ipvs-missing"]),
        ("no forwarding, NAT", nat(), &off, &["forwarding-off"]),
        ("no forwarding, NAT, IPv6", nat6(), &off, &["forwarding-off"]),
        ("no forwarding, DR", dr(), &off, &[]),
        ("redirects, NAT", nat(), &redirecting, &["redirects-on"]),
        ("redirects, NAT with masquerade", masqueraded(), &redirecting, &[]),
        ("redirects, DR", dr(), &redirecting, &[]),
        ("no tracking, NAT", nat(), &untracked, &[]),
        ("no tracking, masquerade", masqueraded(), &untracked, &["masquerade-impossible"]),
        ("tracking is full", nat(), &full, &["conntrack-full"]),
        ("strict tunnel", tun(), &strict_tunnel, &["tunnel-source"]),
        ("strict tunnel, DR", dr(), &strict_tunnel, &[]),
        ("loose tunnel", tun(), &loose_tunnel, &[]),
        ("a tunnel that is down", tun(), &closed_tunnel, &[]),
        ("strict filter, default route elsewhere", dr(), &strict, &["strict-source"]),
        ("a real server behind a router", off_link(), &director(), &["real-server-off-link"]),
        ("an address that nobody brings", elsewhere(), &director(), &["address-missing"]),
        ("both directors are real servers", own(), &director(), &["director-loop"]),
        ("the same, answering for lo", own(), &on_lo, &["arp-answered", "director-loop"]),
        ("active with its instance, answering for lo", followed(), &on_lo, &["arp-answered"]),
        ("active with its instance, and quiet", followed(), &quiet, &[]),
    ];
    for (name, service, machine, expected) in rows {
        assert_eq!(codes(&of_director(&cluster(service), machine)), expected, "{name}");
    }
    let alone = Cluster { forwarder: ForwarderChoice::Kernel, ..cluster(dr()) };
    assert_eq!(of_director(&alone, &no_ipvs).count(Level::Error), 1);
    assert_eq!(of_director(&cluster(dr()), &no_ipvs).count(Level::Error), 0);
}

#[test]
fn whoever_answers_for_a_virtual_address_is_named() {
    let dr = cluster(service("10.0.0.100", "10.0.0.21", ForwardMethod::Dr));
    let vip = ip("10.0.0.100");
    let answered = |macs: &[Mac], held: bool| {
        let machine = with(|m| {
            m.answering.insert(vip, macs.iter().copied().collect());
            if !held {
                m.addresses.retain(|local| local.ip != vip);
            }
        });
        let findings = of_director(&dr, &machine);
        findings.0.into_keys().map(|finding| (finding.level, finding.message)).collect::<Vec<_>>()
    };
    let real = "real server 10.0.0.21 (02:00:00:00:00:21)";
    let master = |who: &str| {
        vec![(Level::Error, format!("this machine has 10.0.0.100, and others answer ARP for it too: {who}"))]
    };
    let backup = |who: &str| {
        let text = format!("ARP for 10.0.0.100 is answered by {who}, and one of them at the most is the master");
        vec![(Level::Warning, text)]
    };
    assert_eq!(answered(&[REAL_MAC], true), master(real));
    assert_eq!(answered(&[OTHER_MAC], true), master("02:00:00:00:00:99"));
    assert_eq!(answered(&[REAL_MAC], false), backup(real));
    // The master, seen by a backup.
    assert_eq!(answered(&[OTHER_MAC], false), []);
    assert_eq!(answered(&[ROUTER_MAC], false), []);
    assert_eq!(answered(&[ROUTER_MAC, REAL_MAC], false), backup(real));
    assert_eq!(answered(&[OTHER_MAC, REAL_MAC], false), backup(&format!("{real}, 02:00:00:00:00:99")));
}

#[test]
fn each_thing_in_a_real_servers_way_is_found() {
    let dr = || service("10.0.0.100", "10.0.0.21", ForwardMethod::Dr);
    let tun = || service("10.0.0.100", "10.0.0.21", ForwardMethod::Tun(Tunnel::Ipip));
    let nat = || service("10.0.0.100", "10.0.0.21", ForwardMethod::Nat);
    let holds = |on: &str, ignore: u32, announce: u32| {
        with(|m| {
            m.addresses = vec![local("10.0.0.21", 24, "eth0"), local("10.0.0.100", 32, on)];
            m.arp_ignore = by_name([("all", ignore)]);
            m.arp_announce = by_name([("eth0", announce)]);
        })
    };
    let bare = with(|m| m.addresses = vec![local("10.0.0.21", 24, "eth0")]);
    let no_tunnel = with(|m| {
        m.addresses = vec![local("10.0.0.21", 24, "eth0"), local("10.0.0.100", 32, "lo")];
        m.arp_ignore = by_name([("all", 1)]);
        m.arp_announce = by_name([("all", 2)]);
        m.up.remove("tunl0");
    });
    // IPv6 clients of IPv4 real servers come out of this one.
    let sit = Machine {
        rp_filter: by_name([("all", 0), ("sit0", 0)]),
        up: ["lo", "eth0", "sit0"].map(str::to_owned).into(),
        ..no_tunnel.clone()
    };
    let through = with(|m| {
        m.addresses = vec![local("10.0.0.21", 24, "eth0")];
        m.default_routes = vec![(Some(Ipv4Addr::new(10, 0, 0, 100)), "eth0".to_owned())];
    });
    let good = holds("lo", 1, 2);
    let strict = Machine { rp_filter: by_name([("all", 1), ("tunl0", 0)]), ..good.clone() };
    let rows: [(&str, Wanted, &Machine, &[&str]); 12] = [
        ("all is well", dr(), &good, &[]),
        ("no virtual address", dr(), &bare, &["address-missing"]),
        ("it answers", dr(), &holds("lo", 0, 2), &["arp-answered"]),
        ("it announces", dr(), &holds("dummy0", 1, 0), &["arp-announced"]),
        ("on the link itself", dr(), &holds("eth0", 1, 2), &["arp-answered"]),
        ("on the link itself, and deaf", dr(), &holds("eth0", 8, 2), &[]),
        ("no tunnel", tun(), &no_tunnel, &["tunnel-missing"]),
        ("a tunnel for the other family", tun(), &sit, &[]),
        ("a strict tunnel", tun(), &strict, &["tunnel-source"]),
        ("a strict tunnel, DR", dr(), &strict, &[]),
        ("NAT, default route elsewhere", nat(), &bare, &["return-path"]),
        ("NAT, default route through the director", nat(), &through, &[]),
    ];
    for (name, service, machine, expected) in rows {
        let (findings, any) = of_real_server(&cluster(service), machine);
        assert!(any, "{name}");
        assert_eq!(codes(&findings), expected, "{name}");
    }
    let other = cluster(service("10.0.0.100", "10.0.0.22", ForwardMethod::Dr));
    assert_eq!(of_real_server(&other, &good), (Findings::default(), false));
}
