//! Who is at the other end of a unix socket, as the kernel says.
//!
//! Shell: two system calls.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::{getsockopt, sockopt};

/// The process that connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its further groups.
    pub groups: Vec<u32>,
    /// Its process id as we number processes; 0 for one that we cannot see.
    pub pid: i32,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {} (process {})", self.uid, self.pid)
    }
}

/// More groups than anybody is in.
const MOST_GROUPS: usize = 1024;

impl Peer {
    /// Who connected this socket.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn of(socket: &impl AsFd) -> std::io::Result<Self> {
        let credentials = getsockopt(&socket.as_fd(), sockopt::PeerCredentials)?;
        Ok(Self {
            uid: credentials.uid(),
            gid: credentials.gid(),
            groups: groups(socket.as_fd()),
            pid: credentials.pid(),
        })
    }

    /// Whether it may give commands: root, the daemon's own user `owner`, and members of `group`.
    pub fn may_command(&self, owner: u32, group: Option<u32>) -> bool {
        let in_group = |group| self.gid == group || self.groups.contains(&group);
        self.uid == 0 || self.uid == owner || group.is_some_and(in_group)
    }
}

/// Its further groups; none if the kernel is too old to say (before 4.13).
#[allow(unsafe_code)]
fn groups(socket: BorrowedFd<'_>) -> Vec<u32> {
    let mut groups = vec![0_u32; MOST_GROUPS];
    let size = |count: usize| u32::try_from(count * size_of::<u32>()).unwrap_or(0);
    let mut length: libc::socklen_t = size(groups.len());
    // SAFETY: the buffer is valid for `length` bytes, the kernel writes no more than that and says how many it wrote.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let count = if done == 0 { length as usize / size_of::<u32>() } else { 0 };
    groups.truncate(count);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_us() {
        let (a, _b) = std::os::unix::net::UnixStream::pair().unwrap();
        let peer = Peer::of(&a).unwrap();
        assert_eq!(peer.uid, nix::unistd::getuid().as_raw());
        assert_eq!(peer.pid, i32::try_from(std::process::id()).unwrap());
        let ours: Vec<u32> = nix::unistd::getgroups().unwrap().into_iter().map(nix::unistd::Gid::as_raw).collect();
        assert_eq!(peer.groups, ours);
    }

    #[test]
    fn who_may_command() {
        let peer = |uid, gid, groups: &[u32]| Peer { uid, gid, groups: groups.to_vec(), pid: 1 };
        // peer, owner, group → may
        let rows = [
            (peer(0, 0, &[]), 0, None, true),
            (peer(0, 0, &[]), 7, None, true),
            (peer(7, 7, &[]), 7, None, true),
            (peer(1000, 1000, &[]), 0, None, false),
            (peer(1000, 0, &[0]), 0, None, false),
            (peer(1000, 50, &[]), 0, Some(50), true),
            (peer(1000, 1000, &[4, 50]), 0, Some(50), true),
            (peer(1000, 1000, &[4]), 0, Some(50), false),
        ];
        for (peer, owner, group, may) in rows {
            assert_eq!(peer.may_command(owner, group), may, "{peer:?} {owner} {group:?}");
        }
    }
}
