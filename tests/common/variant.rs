//! The kinds of VRRP that both daemons speak, and the configuration for each.
#![allow(dead_code, missing_docs)] // Each test uses a part.

use std::net::IpAddr;
use std::time::Duration;

use crate::rig::ip;

pub const VRID: u8 = 51;

/// One way of speaking VRRP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    V2,
    V2Pass,
    V2Unicast,
    V2UnicastPass,
    V3,
    V3Unicast,
    V6,
    V6Unicast,
}

use Variant::{V2, V2Pass, V2Unicast, V2UnicastPass, V3, V3Unicast, V6, V6Unicast};

/// Those that the RFCs know: no unicast, no passwords.
pub const STRICT: [Variant; 3] = [V2, V3, V6];

impl Variant {
    pub const ALL: [Self; 8] = [V2, V2Pass, V2Unicast, V2UnicastPass, V3, V3Unicast, V6, V6Unicast];

    pub fn is_v2(self) -> bool {
        matches!(self, V2 | V2Pass | V2Unicast | V2UnicastPass)
    }

    pub fn is_v6(self) -> bool {
        matches!(self, V6 | V6Unicast)
    }

    pub fn is_unicast(self) -> bool {
        matches!(self, V2Unicast | V2UnicastPass | V3Unicast | V6Unicast)
    }

    fn has_password(self) -> bool {
        matches!(self, V2Pass | V2UnicastPass)
    }

    /// The advertisement interval: a backup that must not take over has two and a half seconds to hear a master that is
    /// held up by a busy machine.
    pub fn interval(self) -> Duration {
        Duration::from_secs(1)
    }

    /// An interval of a part of a second where the version has one, for a router that nobody contends with.
    pub fn quick(self, config: &str) -> String {
        if self.is_v2() { config.to_owned() } else { config.replace("advert_int 1\n", "advert_int 0.2\n") }
    }

    /// RFC 9568 §6.1, RFC 3768 §6.1.
    pub fn skew(self, priority: u8) -> Duration {
        self.interval() * (256 - u32::from(priority)) / 256
    }

    pub fn master_down(self, priority: u8) -> Duration {
        3 * self.interval() + self.skew(priority)
    }

    /// Its virtual addresses, the first one of them in front.
    pub fn vips(self) -> Vec<IpAddr> {
        // RFC 9568 §5.2.9: with IPv6 the first address is link-local.
        if self.is_v6() { vec![ip("fe80::9:100"), ip("fd09::100")] } else { vec![ip("10.9.0.100"), ip("10.9.0.101")] }
    }

    pub fn vip(self) -> IpAddr {
        self.vips()[1]
    }

    /// The address of node `n`'s adverts, where it is known beforehand.
    fn source(self, n: usize) -> String {
        if self.is_v6() { format!("fd09::{}", 11 + n) } else { format!("10.9.0.{}", 11 + n) }
    }

    /// `VI_1` on `eth0` of node `me` among `nodes`, with more lines for the instance.
    pub fn instance(self, me: usize, nodes: usize, priority: u8, more: &str) -> String {
        let mut lines = vec![
            "vrrp_instance VI_1 {".to_owned(),
            "interface eth0".to_owned(),
            format!("virtual_router_id {VRID}"),
            format!("priority {priority}"),
            format!("version {}", if self.is_v2() { 2 } else { 3 }),
            format!("advert_int {}", self.interval().as_secs_f64()),
        ];
        if self.is_unicast() {
            lines.push(format!("unicast_src_ip {}", self.source(me)));
            lines.push("unicast_peer {".to_owned());
            lines.extend((0..nodes).filter(|n| *n != me).map(|n| self.source(n)));
            lines.push("}".to_owned());
        }
        if self.has_password() {
            lines.push("authentication {\nauth_type PASS\nauth_pass s3cret\n}".to_owned());
        }
        lines.push("virtual_ipaddress {".to_owned());
        let prefix = if self.is_v6() { 64 } else { 24 };
        lines.extend(self.vips().iter().map(|vip| format!("{vip}/{prefix}")));
        lines.push("}".to_owned());
        lines.push(more.to_owned());
        lines.push("}\n".to_owned());
        lines.join("\n")
    }
}
