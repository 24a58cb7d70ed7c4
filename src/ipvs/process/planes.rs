//! Which data plane carries which service, and both kept in step.
//!
//! Shell. Services go to the kernel where it has IPVS, and to the userspace forwarder where it has not, where the
//! configuration says so, or where a virtual server does (`lb_kind PROXY`). A data plane that cannot be had refuses its
//! services one by one, with the reason; nothing ends because of it.
#![allow(clippy::disallowed_methods)] // Shell: measures how long a look at the kernel takes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::kernel_side::KernelSide;
use crate::ipvs::balancer::Balancer;
use crate::ipvs::carrier::{Carrier, Remark};
use crate::ipvs::config::{BalancerConfig, BalancerGlobal, ForwarderChoice};
use crate::ipvs::dataplane::{Dataplane, DataplaneError, Refusal, ServiceCounters};
use crate::ipvs::forward::{Options, Userspace};
use crate::ipvs::groups;
use crate::ipvs::kernel::Kernel;
use crate::ipvs::plan::Keeps;
use crate::ipvs::snapshot::{RefusalSnapshot, Snapshot};
use crate::ipvs::table::{Operation, ServiceTable};
use crate::ipvs::types::ServiceKey;

/// Both data planes.
#[derive(Debug)]
pub(super) struct Planes {
    global: BalancerGlobal,
    kernel: Option<Carrier>,
    /// There when the kernel has IPVS and we use it.
    side: Option<KernelSide>,
    /// Started when the first service needs it.
    userspace: Option<Carrier>,
    unsaid: Vec<String>,
    /// The last look at the kernel's counters.
    looked: Option<Look>,
}

/// The kernel's counters at one moment.
#[derive(Debug)]
struct Look {
    counters: BTreeMap<ServiceKey, ServiceCounters>,
    good_until: Instant,
}

impl Look {
    fn take(kernel: &mut Carrier) -> Self {
        let begun = Instant::now();
        let counters = kernel.counters();
        let ended = Instant::now();
        Self { counters, good_until: ended + (ended - begun) * 10 }
    }
}

impl Planes {
    /// Opens what the configuration asks for.
    pub fn open(now: Instant, global: &BalancerGlobal) -> Self {
        let mut planes = Self {
            global: global.clone(),
            kernel: None,
            side: None,
            userspace: None,
            unsaid: Vec::new(),
            looked: None,
        };
        planes.open_kernel(now);
        planes
    }

    fn open_kernel(&mut self, now: Instant) {
        if self.global.forwarder == ForwarderChoice::Userspace {
            return;
        }
        let carrier = || Some(Carrier::new(now, Box::new(Kernel::default()), Keeps::KernelSettings));
        if self.open_side() {
            self.kernel = carrier();
        } else if self.global.forwarder == ForwarderChoice::Kernel {
            self.unsaid.push(
                "this kernel has no IPVS (`modprobe ip_vs`), and `virtual_server_forwarder kernel` wants no other: \
                 virtual servers are down until it has"
                    .to_owned(),
            );
            // Its operations are refused, and tried again.
            self.kernel = carrier();
        } else {
            self.unsaid.push(
                "the kernel has no IPVS: virtual servers are carried by the userspace forwarder, a proxy (DR and TUN \
                 become NAT, and real servers see this host's address)"
                    .to_owned(),
            );
        }
    }

    /// Whether the kernel has IPVS, which is then ours to set up.
    fn open_side(&mut self) -> bool {
        let available = Kernel::available();
        if available {
            let mut side = KernelSide::default();
            side.start(&self.global);
            self.side = Some(side);
        }
        available
    }

    /// A reload, perhaps with other global settings. Another forwarder takes over everything; connections through the old
    /// one end.
    pub fn reconfigure(&mut self, now: Instant, global: Option<&BalancerGlobal>) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Some(global) = global {
            let forwarder = |global: &BalancerGlobal| (global.forwarder, global.forwarder_threads);
            if forwarder(global) != forwarder(&self.global) {
                remarks.extend(self.clear(now));
                remarks.extend(self.end());
                *self = Self::open(now, global);
            } else {
                self.global.clone_from(global);
                if let Some(side) = &mut self.side {
                    side.reconfigure(global);
                }
            }
        }
        self.carriers().for_each(Carrier::forget_refusals);
        remarks
    }

    /// Takes over what a predecessor left, which may have had another configuration.
    pub fn adopt(&mut self, balancer: &Balancer, former: Option<&BalancerConfig>) -> Vec<String> {
        let mut ours: BTreeSet<ServiceKey> = balancer.services().copied().collect();
        for (id, server) in former.iter().flat_map(|former| &former.services) {
            ours.extend(former.iter().flat_map(|former| groups::expand(id, server, &former.groups).services));
        }
        let remarks = self.kernel.as_mut().map(|kernel| kernel.adopt(&ours)).unwrap_or_default();
        say("kernel", remarks)
    }

    /// The synchronisation daemons follow their instance.
    pub fn follow(&mut self, balancer: &Balancer) -> Vec<String> {
        self.side.as_mut().map(|side| side.follow(balancer)).unwrap_or_default()
    }

    /// The end, after [`Self::clear`].
    pub fn end(&mut self) -> Vec<String> {
        self.side.as_mut().map(KernelSide::end).unwrap_or_default()
    }

    /// Brings both in step with what the balancer desires.
    pub fn sync(&mut self, now: Instant, balancer: &Balancer) -> Vec<String> {
        let (mut kernel, mut userspace) = (ServiceTable::default(), ServiceTable::default());
        for (key, service) in &balancer.desired().services {
            let table = if self.kernel.is_some() && !balancer.wants_proxy(key) { &mut kernel } else { &mut userspace };
            table.services.insert(*key, service.clone());
        }
        let mut remarks = std::mem::take(&mut self.unsaid);
        if self.userspace.is_none() && !userspace.services.is_empty() {
            let dataplane = open_userspace(self.global.forwarder_threads);
            self.userspace = Some(Carrier::new(now, dataplane, Keeps::All));
        }
        if let Some(side) = &mut self.side {
            remarks.extend(side.masquerade(balancer, &kernel));
        }
        for (carrier, table) in [(&mut self.kernel, kernel), (&mut self.userspace, userspace)] {
            if let Some(carrier) = carrier {
                let said = carrier.sync(now, table);
                remarks.extend(say(carrier.name(), said));
            }
        }
        remarks
    }

    /// Adds what only the data planes know: what they carry, and what they have carried.
    ///
    /// The kernel is asked service by service. A look that took long is good for ten times as long, so that whoever asks
    /// often takes no more than a tenth of the loop's time.
    pub fn complete(&mut self, now: Instant, snapshot: &mut Snapshot) {
        if let Some(kernel) = &mut self.kernel {
            let look = self.looked.take().filter(|look| now < look.good_until);
            let look = look.unwrap_or_else(|| Look::take(kernel));
            snapshot.counters.extend(look.counters.iter().map(|(key, counters)| (*key, counters.clone())));
            self.looked = Some(look);
        }
        if let Some(userspace) = &mut self.userspace {
            snapshot.counters.extend(userspace.counters());
            snapshot.forwarder.clone_from(userspace.applied());
        }
        for (operation, error) in self.carriers().flat_map(|carrier| carrier.refusals()) {
            let whole = matches!(operation, Operation::AddService(..));
            let refusal = || RefusalSnapshot { whole, reason: format!("cannot {operation}: {error}") };
            snapshot.refusals.entry(operation.service()).or_insert_with(refusal);
        }
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [&self.kernel, &self.userspace].into_iter().flatten().filter_map(Carrier::poll_timeout).min()
    }

    /// Retries, and looks whether everything is still there. A kernel that had no IPVS may have it now.
    pub fn handle_timeout(&mut self, now: Instant, balancer: &Balancer) -> Vec<String> {
        let waits = self.kernel.is_some() && self.side.is_none();
        if waits && self.open_side() {
            let mut remarks = vec!["the kernel has IPVS now".to_owned()];
            remarks.extend(self.sync(now, balancer));
            remarks.extend(self.follow(balancer));
            return remarks;
        }
        let handle = |carrier: &mut Carrier| {
            let said = carrier.handle_timeout(now);
            say(carrier.name(), said)
        };
        self.carriers().flat_map(handle).collect()
    }

    /// Services that a data plane refuses.
    pub fn refused(&self) -> impl Iterator<Item = &ServiceKey> {
        [&self.kernel, &self.userspace].into_iter().flatten().flat_map(Carrier::refused_services)
    }

    /// Removes everything that is ours.
    pub fn clear(&mut self, now: Instant) -> Vec<String> {
        let clear = |carrier: &mut Carrier| {
            let said = carrier.sync(now, ServiceTable::default());
            say(carrier.name(), said)
        };
        self.carriers().flat_map(clear).collect()
    }

    fn carriers(&mut self) -> impl Iterator<Item = &mut Carrier> {
        [&mut self.kernel, &mut self.userspace].into_iter().flatten()
    }
}

fn say(name: &str, remarks: Vec<Remark>) -> Vec<String> {
    remarks.into_iter().map(|remark| format!("IPVS ({name}): {remark}")).collect()
}

fn open_userspace(threads: Option<u16>) -> Box<dyn Dataplane> {
    match Userspace::start(&Options { threads, ..Options::default() }) {
        Ok(userspace) => Box::new(userspace),
        Err(error) => Box::new(Unavailable {
            name: "userspace",
            why: format!("the userspace forwarder cannot be started: {error}"),
        }),
    }
}

/// In place of a data plane that cannot be had.
struct Unavailable {
    name: &'static str,
    why: String,
}

impl Unavailable {
    fn error(&self) -> DataplaneError {
        DataplaneError { reason: self.why.clone(), lasting: true }
    }
}

impl Dataplane for Unavailable {
    fn name(&self) -> &'static str {
        self.name
    }

    fn apply(&mut self, operations: &[Operation]) -> Vec<Refusal> {
        (0..operations.len()).map(|operation| Refusal { operation, error: self.error() }).collect()
    }

    fn dump(&mut self) -> Result<ServiceTable, DataplaneError> {
        Ok(ServiceTable::default())
    }

    fn counters(&mut self) -> Result<BTreeMap<ServiceKey, ServiceCounters>, DataplaneError> {
        Err(self.error())
    }
}
