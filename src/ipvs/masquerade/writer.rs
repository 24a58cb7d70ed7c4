//! Keeps the table of [`super`] and the kernel's setting that it needs.
//!
//! Shell: an nftables socket, and one file below `/proc/sys`.

use std::fs;
use std::io;

use super::{ReturnPaths, rebuild, remove};
use crate::net::filter::exchange;
use crate::net::netlink::NetlinkSocket;

/// Whether IPVS tells connection tracking of its connections.
const CONNTRACK: &str = "/proc/sys/net/ipv4/vs/conntrack";
/// Room for the answers of a batch.
const RECEIVE_BUFFER: usize = 256 << 10;

/// The return paths as they are set up.
#[derive(Debug, Default)]
pub struct Masquerade {
    standing: ReturnPaths,
    /// Whether the first of all is done: a predecessor that was killed may have left a table.
    begun: bool,
    /// What the setting was before.
    setting: Option<String>,
    sequence: u32,
}

impl Masquerade {
    /// Makes these the return paths; none takes everything away.
    ///
    /// # Errors
    /// The kernel has no nftables with NAT, or IPVS was built without connection tracking
    /// (`CONFIG_IP_VS_NFCT`). What stood before stands, or nothing does.
    pub fn set(&mut self, paths: &ReturnPaths) -> io::Result<()> {
        let first = !std::mem::replace(&mut self.begun, true);
        if first && paths.is_empty() {
            // Without nftables in the kernel there is nothing to be taken away.
            let _ = self.close();
        }
        if *paths == self.standing {
            return Ok(());
        }
        if paths.is_empty() {
            return self.close();
        }
        self.switch_conntrack_on()?;
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let mut socket = NetlinkSocket::open_netfilter(RECEIVE_BUFFER)?;
        for batch in rebuild(self.sequence, paths) {
            if let Err(error) = exchange(&mut socket, &batch, self.sequence) {
                // A part of the addresses is worse than none: nobody would see which.
                let _ = self.close();
                return Err(error);
            }
        }
        self.standing = paths.clone();
        Ok(())
    }

    /// Takes the table away, and puts the setting back.
    ///
    /// # Errors
    /// One of the two failed; both were tried.
    pub fn close(&mut self) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.standing = ReturnPaths::default();
        let removed = NetlinkSocket::open_netfilter(RECEIVE_BUFFER)
            .and_then(|mut socket| exchange(&mut socket, &remove(self.sequence), self.sequence));
        let restored = match self.setting.take() {
            Some(setting) => fs::write(CONNTRACK, setting),
            None => Ok(()),
        };
        removed.and(restored)
    }

    fn switch_conntrack_on(&mut self) -> io::Result<()> {
        let setting = fs::read_to_string(CONNTRACK)
            .map_err(|error| io::Error::new(error.kind(), format!("net.ipv4.vs.conntrack: {error}")))?;
        if setting.trim() != "1" {
            fs::write(CONNTRACK, "1")?;
            self.setting.get_or_insert(setting);
        }
        Ok(())
    }
}
