//! Where a new connection or flow goes: persistence first, then the scheduler.
//!
//! Shell (shared memory, the thread's lock on a part of the affinity table).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::service::{Backend, Bound, Service, View};
use super::worker::Core;
use crate::ipvs::affinity::masked;
use crate::ipvs::select::Request;
use crate::ipvs::types::SocketKey;

/// A destination that counts a connection of ours, until [`Choice::release`].
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) backend: Arc<Backend>,
    /// The client's binding that this connection holds.
    bound: Option<Box<IpAddr>>,
}

impl Choice {
    /// Chooses; `None` when nobody may take it.
    pub(super) fn make(
        core: &mut Core,
        service: &Service,
        client: SocketAddr,
        asked: SocketAddr,
        tried: &[SocketKey],
    ) -> Option<Self> {
        let view = service.view.load();
        let dice = core.roll();
        let tried_indices: Vec<usize> = tried.iter().filter_map(|key| view.selector.index_of(*key)).collect();
        let request = Request { client, destination: asked.ip(), now: core.time(), dice, tried: &tried_indices };
        let choice = match &view.settings.persistence {
            None => Self { backend: pick(&view, &request)?, bound: None },
            Some(persistence) => {
                let who = masked(client.ip(), persistence.granularity);
                let mut table = service.affinity(who);
                let there = |backend: &Backend| !backend.removed.load(Relaxed) && !tried.contains(&backend.key);
                let known = table.find(who, core.time()).map(|bound| &bound.0).filter(|backend| there(backend));
                let backend = known.cloned().or_else(|| pick(&view, &request))?;
                let timeout = Duration::from_secs(u64::from(persistence.timeout));
                let remembered = table.bind(who, Bound::new(Arc::clone(&backend)), core.time(), timeout);
                Self { backend, bound: remembered.then(|| Box::new(who)) }
            }
        };
        choice.backend.load.open();
        choice.backend.cells.count_connection(core.thread);
        Some(choice)
    }

    /// The connection has ended, or did not come about.
    pub(super) fn release(self, core: &Core, service: &Service) {
        self.backend.load.close();
        if let Some(who) = self.bound {
            service.affinity(*who).release(*who, core.time());
        }
    }

    /// The real server's address; a port of 0 is the one that was asked for.
    pub(super) fn address(&self, asked: SocketAddr) -> SocketAddr {
        let port = if self.backend.key.port == 0 { asked.port() } else { self.backend.key.port };
        SocketAddr::new(self.backend.key.ip, port)
    }
}

fn pick(view: &View, request: &Request<'_>) -> Option<Arc<Backend>> {
    view.backends.get(view.selector.pick(request)?).cloned()
}
