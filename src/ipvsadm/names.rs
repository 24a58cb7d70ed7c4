//! Names of hosts and services from the system.
//!
//! Shell: reads `/etc/services` once, and asks the system's resolver, which may take its time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use super::address::Names;
use crate::ipvs::types::Protocol;

/// The system's names; each is looked up once.
#[derive(Debug, Default)]
pub struct SystemNames {
    services: RefCell<Option<Vec<(String, u16, String)>>>,
    hosts: RefCell<BTreeMap<IpAddr, Option<String>>>,
}

impl SystemNames {
    fn with_services<T>(&self, find: impl FnOnce(&[(String, u16, String)]) -> Option<T>) -> Option<T> {
        let mut services = self.services.borrow_mut();
        let services =
            services.get_or_insert_with(|| services_of(&std::fs::read_to_string("/etc/services").unwrap_or_default()));
        find(services)
    }
}

impl Names for SystemNames {
    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        let mut found = (host, 0).to_socket_addrs().ok()?;
        found.find_map(|address| if let IpAddr::V4(address) = address.ip() { Some(address) } else { None })
    }

    fn port(&self, service: &str, protocol: Protocol) -> Option<u16> {
        let protocol = protocol.to_string();
        self.with_services(|services| {
            services.iter().find(|(name, _, of)| name == service && *of == protocol).map(|(_, port, _)| *port)
        })
    }

    fn host(&self, address: IpAddr) -> Option<String> {
        self.hosts.borrow_mut().entry(address).or_insert_with(|| name_of(address)).clone()
    }

    fn service(&self, port: u16, protocol: Protocol) -> Option<String> {
        let protocol = protocol.to_string();
        self.with_services(|services| {
            services.iter().find(|(_, of, by)| *of == port && *by == protocol).map(|(name, ..)| name.clone())
        })
    }
}

/// `NAME PORT/PROTOCOL [ALIAS…] [# …]`, one on a line; aliases come behind all names.
pub(super) fn services_of(text: &str) -> Vec<(String, u16, String)> {
    let mut services = Vec::new();
    let mut aliases = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let (Some(name), Some(place)) = (words.next(), words.next()) else { continue };
        let Some((port, protocol)) = place.split_once('/') else { continue };
        let Ok(port) = port.parse::<u16>() else { continue };
        services.push((name.to_owned(), port, protocol.to_owned()));
        aliases.extend(words.map(|alias| (alias.to_owned(), port, protocol.to_owned())));
    }
    services.extend(aliases);
    services
}

/// By the system's resolver; `None` where it has no name.
#[allow(unsafe_code)]
fn name_of(address: IpAddr) -> Option<String> {
    let address = socket2::SockAddr::from(SocketAddr::new(address, 0));
    let mut host = [0_u8; 1025];
    let length = libc::socklen_t::try_from(host.len()).ok()?;
    // SAFETY: the address and its length belong together and outlive the call; `host` is writable for `length` bytes, and
    // no service name is asked for.
    let failed = unsafe {
        libc::getnameinfo(
            address.as_ptr().cast(),
            address.len(),
            host.as_mut_ptr().cast(),
            length,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    let name = host.split(|byte| *byte == 0).next()?;
    (failed == 0).then(|| String::from_utf8_lossy(name).into_owned())
}
