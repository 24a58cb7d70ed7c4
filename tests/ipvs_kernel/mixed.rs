//! Services of one address family with real servers of the other, in tunnels: HTTP all the way.

use std::collections::BTreeMap;

use holdfast::ipvs::dataplane::Dataplane;
use holdfast::ipvs::genl::DaemonState;
use holdfast::ipvs::kernel::Kernel;
use holdfast::ipvs::table::{Destination, Operation};
use holdfast::ipvs::types::{ForwardMethod, Protocol, ServiceKey, Tunnel, TunnelChecksum};
use holdfast::vrrp::types::Family;

use crate::in_guest;
use crate::kinds::{VIP, VIP6, World, both, key, modules, reals, round_robin};
use crate::tools::{ipvsadm, output, run, sync_daemon};
use crate::traffic::sysctl;

/// A tunnel interface on each real server, with the virtual address, by these arguments of `ip`.
fn tunnel(world: &World, name: &'static str, vip: &str, lines: &'static [&'static str]) {
    for real in &world.reals {
        real.run(move || lines.iter().for_each(|line| drop(run("ip", &line.split(' ').collect::<Vec<_>>()))));
        sysctl(real, &[(&format!("net/ipv4/conf/{name}/rp_filter"), "0")]);
    }
    world.hold(name, vip);
}

/// What answers over this tunnel, and what Debian's ipvsadm says of the service.
fn through(world: &World, key: ServiceKey, vip: &str, to: Family, method: ForwardMethod) -> BTreeMap<String, usize> {
    world.serve(key, round_robin(), reals(to, 80), method);
    let saved = world.director.run(|| ipvsadm("-S -n"));
    assert_eq!(saved.matches(" -i -w 1").count(), 2, "{saved}");
    let answers = world.answers(vip, 80);
    world.apply(vec![Operation::RemoveService(key)]);
    answers
}

#[test]
fn ipv6_clients_and_ipv4_real_servers() {
    in_guest!();
    if !modules(&["sit", "ip_gre", "fou"]) {
        return;
    }
    let world = World::new();
    tunnel(&world, "sit0", VIP6, &["link set sit0 up"]);
    let key = key(Protocol::Tcp, VIP6, 80);
    assert_eq!(through(&world, key, VIP6, Family::V4, ForwardMethod::Tun(Tunnel::Ipip)), both());
    for real in &world.reals {
        real.run(|| {
            run("ip", &["link", "add", "gre1", "type", "gre", "local", "any", "remote", "10.52.0.11"]);
            run("ip", &["link", "set", "gre1", "up"]);
            run("ip", &["fou", "add", "port", "6080", "gue"]);
        });
    }
    let gre = ForwardMethod::Tun(Tunnel::Gre { checksum: TunnelChecksum::None });
    assert_eq!(through(&world, key, VIP6, Family::V4, gre), both());
    let gue = ForwardMethod::Tun(Tunnel::Gue { port: 6080, checksum: TunnelChecksum::None });
    assert_eq!(through(&world, key, VIP6, Family::V4, gue), both());
}

#[test]
fn ipv4_clients_and_ipv6_real_servers() {
    in_guest!();
    if !modules(&["ip6_tunnel"]) {
        return;
    }
    let world = World::new();
    // The kernel's own one takes IPv6 alone until it is told otherwise.
    tunnel(&world, "ip6tnl0", VIP, &["-6 tunnel change ip6tnl0 mode any", "link set ip6tnl0 up"]);
    let key = key(Protocol::Tcp, VIP, 80);
    assert_eq!(through(&world, key, VIP, Family::V6, ForwardMethod::Tun(Tunnel::Ipip)), both());
}

#[test]
fn a_sync_daemon_and_a_real_server_of_the_other_family_refuse_each_other_with_the_reason() {
    in_guest!();
    let world = World::new();
    assert!(output("modprobe", &["ip_vs"]).status.success());
    let key = key(Protocol::Tcp, VIP6, 80);
    let to = Destination { method: ForwardMethod::Tun(Tunnel::Ipip), weight: 1, ..Destination::default() };
    let [real, _] = reals(Family::V4, 80);
    let config = sync_daemon("eth0", 51);
    let (refusals, error) = world.director.run(move || {
        let mut kernel = Kernel::default();
        kernel.start_sync_daemon(DaemonState::Master, &config).unwrap();
        let add = [Operation::AddService(key, round_robin()), Operation::AddDestination(key, real, to)];
        let refusals = kernel.apply(&add);
        kernel.stop_sync_daemon(DaemonState::Master).unwrap();
        assert_eq!(kernel.apply(&add), []);
        (refusals, kernel.start_sync_daemon(DaemonState::Master, &config).unwrap_err())
    });
    let [refusal] = &refusals[..] else { panic!("{refusals:?}") };
    assert!(refusal.error.reason.contains("no lvs_sync_daemon running"), "{refusal:?}");
    assert!(error.reason.contains("real servers of the other address family"), "{error}");
}
