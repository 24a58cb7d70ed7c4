//! The few netlink requests a lab needs, each run by a thread inside the namespace it is about.
//!
//! Shell: talks to the kernel. Instead of `ip`, which a fresh machine may lack and which costs a fork per call.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{
    BridgePortState, InfoBridgePort, InfoData, InfoPortData, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::RouteScope;
use rtnetlink::constants::RTMGRP_LINK;
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

/// How long links may take to become operational. The kernel bundles carrier changes for up to a second.
const LINK_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs requests on a netlink socket of the calling thread's namespace.
fn with_handle<T>(work: impl AsyncFnOnce(Handle) -> io::Result<T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (connection, handle, _messages) = runtime.block_on(async { rtnetlink::new_connection() })?;
    runtime.spawn(connection);
    runtime.block_on(work(handle))
}

/// Names the request that failed; netlink's own words are a number.
fn named(what: impl std::fmt::Display) -> impl FnOnce(rtnetlink::Error) -> io::Error {
    move |error| match &error {
        rtnetlink::Error::NetlinkError(message) => {
            let error = message.to_io();
            io::Error::new(error.kind(), format!("{what}: {error}"))
        }
        _ => io::Error::other(format!("{what}: {error}")),
    }
}

async fn link(handle: &Handle, name: &str) -> io::Result<LinkMessage> {
    let found = handle.link().get().match_name(name).execute();
    let mut found = std::pin::pin!(found);
    let link = found.try_next().await.map_err(named(format_args!("interface {name}")))?;
    link.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("interface {name}: not found")))
}

/// The kernel's number of an interface.
pub(super) fn index(name: &str) -> io::Result<u32> {
    with_handle(async |handle| Ok(link(&handle, name).await?.header.index))
}

/// A switch: a bridge that floods multicast to all ports, as a plain switch does, and forwards at once.
pub(super) fn add_bridge(name: &str) -> io::Result<()> {
    with_handle(async |handle| {
        let bridge = LinkBridge::new(name).mcast_snooping(false).forward_delay(0).up().build();
        handle.link().add(bridge).execute().await.map_err(named(format_args!("bridge {name}")))
    })
}

/// A cable: `port` on `bridge` here, `interface` in another namespace, both down.
pub(super) fn add_cable(bridge: &str, port: &str, interface: &str, namespace: RawFd) -> io::Result<()> {
    with_handle(async |handle| {
        let bridge = link(&handle, bridge).await?.header.index;
        let peer = LinkMessageBuilder::<LinkUnspec>::new().name(interface).setns_by_fd(namespace).build();
        let cable = LinkVeth::new(port, interface)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .controller(bridge)
            .build();
        handle.link().add(cable).execute().await.map_err(named(format_args!("interface {interface}")))
    })
}

/// Switches an interface on or off.
pub(super) fn set_up(name: &str, up: bool) -> io::Result<()> {
    with_handle(async |handle| {
        let change = LinkUnspec::new_with_name(name);
        let change = if up { change.up() } else { change.down() };
        handle.link().set(change.build()).execute().await.map_err(named(format_args!("interface {name}")))
    })
}

/// Puts a port onto a bridge or takes it off; its carrier stays either way. (The port's STP state would be the obvious
/// means, but without STP the bridge puts it back to forwarding in the same call.)
pub(super) fn set_bridge(port: &str, bridge: Option<&str>) -> io::Result<()> {
    with_handle(async |handle| {
        let change = LinkUnspec::new_with_name(port);
        let change = match bridge {
            Some(bridge) => change.controller(link(&handle, bridge).await?.header.index),
            None => change.nocontroller(),
        };
        handle.link().set(change.build()).execute().await.map_err(named(format_args!("port {port}")))
    })
}

/// Adds an address.
pub(super) fn add_address(name: &str, address: IpAddr, prefix_len: u8) -> io::Result<()> {
    with_handle(async |handle| {
        let index = link(&handle, name).await?.header.index;
        let request = handle.address().add(index, address, prefix_len);
        request.execute().await.map_err(named(format_args!("address {address}/{prefix_len} on {name}")))
    })
}

/// The addresses that an interface carries.
pub(super) fn addresses(name: &str) -> io::Result<Vec<IpAddr>> {
    with_handle(async |handle| {
        let index = link(&handle, name).await?.header.index;
        let found = handle.address().get().set_link_index_filter(index).execute();
        let mut found = std::pin::pin!(found);
        let mut addresses = Vec::new();
        while let Some(message) = found.try_next().await.map_err(named(format_args!("addresses of {name}")))? {
            addresses.extend(address_of(&message.attributes));
        }
        Ok(addresses)
    })
}

/// Removes all addresses but these and IPv6 link-local ones: what a reboot does to them.
pub(super) fn remove_addresses_except(name: &str, keep: &BTreeSet<IpAddr>) -> io::Result<()> {
    with_handle(async |handle| {
        let index = link(&handle, name).await?.header.index;
        let found = handle.address().get().set_link_index_filter(index).execute();
        let mut found = std::pin::pin!(found);
        let mut surplus = Vec::new();
        while let Some(message) = found.try_next().await.map_err(named(format_args!("addresses of {name}")))? {
            match address_of(&message.attributes) {
                Some(IpAddr::V6(address)) if address.is_unicast_link_local() => {}
                Some(address) if !keep.contains(&address) => surplus.push(message),
                _ => {}
            }
        }
        for message in surplus {
            handle.address().del(message).execute().await.map_err(named(format_args!("addresses of {name}")))?;
        }
        Ok(())
    })
}

/// `IFA_LOCAL` where there is one: on a point-to-point address `IFA_ADDRESS` is the peer.
fn address_of(attributes: &[AddressAttribute]) -> Option<IpAddr> {
    let local = attributes.iter().find_map(|a| if let AddressAttribute::Local(ip) = a { Some(*ip) } else { None });
    local.or_else(|| {
        attributes.iter().find_map(|a| if let AddressAttribute::Address(ip) = a { Some(*ip) } else { None })
    })
}

/// A route to one host on this link.
pub(super) fn add_route(name: &str, to: IpAddr) -> io::Result<()> {
    with_handle(async |handle| {
        let index = link(&handle, name).await?.header.index;
        let route = match to {
            IpAddr::V4(to) => {
                let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to, 32);
                route.output_interface(index).scope(RouteScope::Link).build()
            }
            IpAddr::V6(to) => {
                let route = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(to, 128);
                route.output_interface(index).build()
            }
        };
        handle.route().add(route).execute().await.map_err(named(format_args!("route to {to} through {name}")))
    })
}

/// Waits until these switch ports forward.
pub(super) fn wait_forwarding(ports: &[String]) -> io::Result<()> {
    wait_for_links(ports, |link| port_state(link) == Some(BridgePortState::Forwarding))
}

/// Waits until these interfaces can pass traffic.
pub(super) fn wait_running(interfaces: &[String]) -> io::Result<()> {
    wait_for_links(interfaces, |link| link.header.flags.contains(LinkFlags::Running | LinkFlags::LowerUp))
}

fn port_state(link: &LinkMessage) -> Option<BridgePortState> {
    let infos = link.attributes.iter().find_map(|a| if let LinkAttribute::LinkInfo(i) = a { Some(i) } else { None })?;
    let data = infos.iter().find_map(|info| match info {
        LinkInfo::PortData(InfoPortData::BridgePort(data)) => Some(data),
        _ => None,
    })?;
    data.iter().find_map(|item| if let InfoBridgePort::State(state) = item { Some(*state) } else { None })
}

/// Looks again at each change of any link.
fn wait_for_links(names: &[String], good: impl Fn(&LinkMessage) -> bool) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut connection, handle, mut messages) = rtnetlink::new_connection()?;
        let groups = netlink_sys::SocketAddr::new(0, RTMGRP_LINK);
        netlink_sys::AsyncSocket::socket_mut(connection.socket_mut()).bind(&groups)?;
        runtime.spawn(connection);
        let mut waiting: Vec<&String> = names.iter().collect();
        let all_good = async {
            loop {
                let mut still = Vec::new();
                for name in waiting.drain(..) {
                    if !good(&link(&handle, name).await?) {
                        still.push(name);
                    }
                }
                waiting = still;
                if waiting.is_empty() || messages.next().await.is_none() {
                    return io::Result::Ok(());
                }
            }
        };
        let outcome = tokio::time::timeout(LINK_TIMEOUT, all_good).await;
        outcome.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("links not ready: {names:?}"))))
    })
}
