//! What operators have said of real servers (`holdfast drain`, `maint`, `enable`).
//!
//! Shell: one small file. It holds for the next balancer process, and, in the file, for the next daemon: who restarts the
//! daemon for an update does not mean to put a server into service that somebody is working on. The file is beside the
//! one of `maintenance`, in `state_directory`; on a tmpfs, as /run is, a reboot forgets it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::daemon::kept::KeptFile;
use crate::ipvs::config::{VirtualServerConfig, VirtualServerId};
use crate::ipvs::event::AdminState;
use crate::ipvs::shared::Shared;
use crate::ipvs::types::SocketKey;

type Services = BTreeMap<VirtualServerId, Shared<VirtualServerConfig>>;

/// See the module.
pub(super) struct Orders {
    states: BTreeMap<(VirtualServerId, SocketKey), AdminState>,
    /// `None`: this daemon has no directory of its own.
    file: Option<KeptFile>,
}

/// One of them, as the file has it.
#[derive(Serialize, Deserialize)]
struct Order {
    virtual_server: VirtualServerId,
    real_server: SocketKey,
    state: AdminState,
}

impl Orders {
    /// Those of the daemon before, as far as these services have the real servers.
    pub fn restore(file: Option<PathBuf>, services: &Services) -> Self {
        let mut orders = Self { states: BTreeMap::new(), file: file.map(KeptFile::new) };
        let Some(file) = &orders.file else { return orders };
        match file.read::<Vec<Order>>() {
            Ok(list) => {
                let said = list.into_iter().flatten().filter(|order| order.state != AdminState::Up);
                orders.states = said.map(|o| ((o.virtual_server, o.real_server), o.state)).collect();
                orders.retain(services);
            }
            Err(error) => warn!("{}: {error}: all real servers are enabled", file.path().display()),
        }
        for ((virtual_server, real_server), state) in &orders.states {
            warn!("{real_server} of {virtual_server}: {state}, as an operator said before the restart");
        }
        orders
    }

    /// From now on.
    pub fn set(&mut self, virtual_server: VirtualServerId, real_server: SocketKey, state: AdminState) {
        let key = (virtual_server, real_server);
        let before = match state {
            AdminState::Up => self.states.remove(&key),
            AdminState::Drain | AdminState::Maint => self.states.insert(key, state),
        };
        if before.unwrap_or_default() != state {
            self.store();
        }
    }

    /// Forgets those of real servers that are configured no longer: what comes back later under an old name is another.
    pub fn retain(&mut self, services: &Services) {
        let before = self.states.len();
        self.states.retain(|(id, real), _| {
            services.get(id).is_some_and(|server| server.real_servers.iter().any(|r| r.address == *real))
        });
        if self.states.len() != before {
            self.store();
        }
    }

    /// All that hold.
    pub fn all(&self) -> Vec<(VirtualServerId, SocketKey, AdminState)> {
        self.states.iter().map(|((server, real), state)| (server.clone(), *real, *state)).collect()
    }

    fn store(&mut self) {
        let Some(file) = &mut self.file else { return };
        let order = |((virtual_server, real_server), state): (&(VirtualServerId, SocketKey), &AdminState)| Order {
            virtual_server: virtual_server.clone(),
            real_server: *real_server,
            state: *state,
        };
        let list: Vec<Order> = self.states.iter().map(order).collect();
        file.keep((!list.is_empty()).then_some(&list));
    }

    /// Waits until they are on the disk, as long as the end of a daemon may.
    pub async fn finish(&self) {
        if let Some(file) = &self.file {
            file.finish().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvs::config::RealServerConfig;
    use crate::ipvs::types::Protocol;

    fn at(n: u8) -> SocketKey {
        SocketKey::new([192, 0, 2, n].into(), 80)
    }

    fn id(n: u8) -> VirtualServerId {
        VirtualServerId::Address { address: at(n), protocol: Protocol::Tcp }
    }

    fn services(real_servers: &[u8]) -> Services {
        let real = |n: &u8| RealServerConfig::new(at(*n), Vec::new());
        BTreeMap::from([(id(1), VirtualServerConfig::new(real_servers.iter().map(real).collect()).into())])
    }

    #[tokio::test]
    async fn orders_outlive_the_daemon_and_go_with_their_real_servers() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("state/real-servers.json");
        let restore = |real_servers: &[u8]| Orders::restore(Some(file.clone()), &services(real_servers));
        let mut first = restore(&[7, 8]);
        assert_eq!(first.all(), []);
        first.set(id(1), at(7), AdminState::Drain);
        first.set(id(1), at(8), AdminState::Maint);
        first.finish().await;
        let mut second = restore(&[7, 8]);
        assert_eq!(second.all(), [(id(1), at(7), AdminState::Drain), (id(1), at(8), AdminState::Maint)]);
        second.set(id(1), at(8), AdminState::Up);
        second.finish().await;
        assert_eq!(restore(&[7, 8]).all(), [(id(1), at(7), AdminState::Drain)]);
        second.retain(&services(&[8]));
        second.finish().await;
        assert_eq!(restore(&[7, 8]).all(), [], "what comes back is another");
        assert!(!file.exists(), "nothing is left behind");
        std::fs::write(&file, "[{\"virtual").expect("the directory is there");
        assert_eq!(restore(&[7]).all(), [], "a file that makes no sense");
    }
}
