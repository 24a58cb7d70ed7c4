//! Client, proxies and server: three network namespaces and two cables.
//!
//! Shell.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::{fs, io};

use holdfast::lab::host::Host;

/// Where the proxies listen.
pub const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1));
/// Where the server listens.
pub const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 2, 0, 2));

/// What congestion control everybody has: that of most machines. BBR would pace with timers of its own.
const CONGESTION: &str = "cubic";
/// Namespaces may choose only from these; the machine's own setting.
const ALLOWED: &str = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";

/// The three of them.
pub struct Place {
    pub client: Host,
    pub proxy: Host,
    pub server: Host,
    _allowed: Allowed,
}

/// Puts back what the machine allows.
struct Allowed(Option<String>);

impl Allowed {
    fn widen() -> Self {
        let before = fs::read_to_string(ALLOWED).ok();
        let lacking = before.filter(|before| !before.split_whitespace().any(|name| name == CONGESTION));
        let widened = lacking.filter(|before| fs::write(ALLOWED, format!("{} {CONGESTION}", before.trim())).is_ok());
        Self(widened)
    }
}

impl Drop for Allowed {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = fs::write(ALLOWED, before.trim());
        }
    }
}

impl Place {
    pub fn new() -> io::Result<Self> {
        let (client, proxy, server) = (Host::new("bc")?, Host::new("bp")?, Host::new("bs")?);
        let place = Self { client, proxy, server, _allowed: Allowed::widen() };
        for host in [&place.client, &place.proxy, &place.server] {
            host.run(|| {
                ip(&["link", "set", "lo", "up"])?;
                if let Err(error) = fs::write("/proc/sys/net/ipv4/tcp_congestion_control", CONGESTION) {
                    println!("not with {CONGESTION}, but with what the machine has: {error}");
                }
                // Some of these are not everywhere. Ports must not run out.
                for (setting, value) in
                    [("ipv4/ip_local_port_range", "1100 65000"), ("ipv4/tcp_tw_reuse", "1"), ("ipv4/ip_forward", "1")]
                {
                    let _ = fs::write(format!("/proc/sys/net/{setting}"), value);
                }
                io::Result::Ok(())
            })?;
        }
        cable(&place.proxy, &place.client, "c", "10.1.0.1/16", "10.1.0.2/16")?;
        cable(&place.proxy, &place.server, "s", "10.2.0.1/16", "10.2.0.2/16")?;
        // To measure without a proxy.
        place.client.run(|| ip(&["route", "add", "10.2.0.0/16", "via", "10.1.0.1"]))?;
        place.server.run(|| ip(&["route", "add", "10.1.0.0/16", "via", "10.2.0.1"]))?;
        Ok(place)
    }
}

fn cable(near: &Host, far: &Host, name: &str, near_address: &str, far_address: &str) -> io::Result<()> {
    let far_thread = far.run(|| nix::unistd::gettid().to_string());
    let (name, address) = (name.to_owned(), near_address.to_owned());
    let (far_name, far_address) = (name.clone(), far_address.to_owned());
    near.run(move || {
        let far_end = format!("{name}0");
        ip(&["link", "add", &name, "type", "veth", "peer", "name", &far_end, "netns", &far_thread])?;
        ip(&["address", "add", &address, "dev", &name])?;
        ip(&["link", "set", &name, "up"])
    })?;
    far.run(move || {
        let name = format!("{far_name}0");
        ip(&["address", "add", &far_address, "dev", &name])?;
        ip(&["link", "set", &name, "up"])
    })
}

fn ip(args: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(args).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr))))
}
