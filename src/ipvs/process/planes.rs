//! Which data plane carries which service, and both kept in step.
//!
//! Shell. Services go to the kernel where it has IPVS, and to the userspace forwarder where it has not, where the
//! configuration says so, or where a virtual server does (`lb_kind PROXY`). A data plane that cannot be had refuses its
//! services one by one, with the reason; nothing ends because of it.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::ipvs::balancer::Balancer;
use crate::ipvs::carrier::{Carrier, Remark};
use crate::ipvs::config::{BalancerGlobal, ForwarderChoice};
use crate::ipvs::dataplane::{Dataplane, DataplaneError, Refusal, ServiceCounters};
use crate::ipvs::plan::Keeps;
use crate::ipvs::table::{Operation, ServiceTable};
use crate::ipvs::types::ServiceKey;

/// Both data planes.
#[derive(Debug)]
pub(super) struct Planes {
    choice: ForwarderChoice,
    threads: Option<u16>,
    kernel: Option<Carrier>,
    /// Started when the first service needs it.
    userspace: Option<Carrier>,
    unsaid: Vec<String>,
}

impl Planes {
    /// Opens what the configuration asks for.
    pub fn open(now: Instant, global: &BalancerGlobal) -> Self {
        let mut planes = Self {
            choice: global.forwarder,
            threads: global.forwarder_threads,
            kernel: None,
            userspace: None,
            unsaid: Vec::new(),
        };
        planes.open_kernel(now, global);
        planes
    }

    fn open_kernel(&mut self, now: Instant, global: &BalancerGlobal) {
        if self.choice == ForwarderChoice::Userspace {
            return;
        }
        let dataplane: Box<dyn Dataplane> = match open_kernel(global) {
            Ok(dataplane) => dataplane,
            Err(why) if self.choice == ForwarderChoice::Auto => {
                self.unsaid.push(format!(
                    "the kernel has no IPVS ({why}): virtual servers are carried by the userspace forwarder, which is \
                     a proxy (DR and TUN become NAT, and real servers see this host's address)"
                ));
                return;
            }
            Err(why) => Box::new(Unavailable { name: "kernel", why: format!("the kernel has no IPVS: {why}") }),
        };
        self.kernel = Some(Carrier::new(now, dataplane, Keeps::KernelSettings));
    }

    /// Other global settings. Another forwarder takes over everything; connections through the old one end.
    pub fn reconfigure(&mut self, now: Instant, global: &BalancerGlobal) -> Vec<String> {
        let mut remarks = Vec::new();
        if (global.forwarder, global.forwarder_threads) != (self.choice, self.threads) {
            remarks.extend(self.clear(now));
            *self = Self::open(now, global);
        }
        self.carriers().for_each(Carrier::forget_refusals);
        remarks
    }

    /// Takes over what a predecessor left.
    pub fn adopt(&mut self, balancer: &Balancer) -> Vec<String> {
        let ours = balancer.services().copied().collect();
        let remarks = self.kernel.as_mut().map(|kernel| kernel.adopt(&ours)).unwrap_or_default();
        say("kernel", remarks)
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
            let dataplane = open_userspace(self.threads);
            self.userspace = Some(Carrier::new(now, dataplane, Keeps::All));
        }
        for (carrier, table) in [(&mut self.kernel, kernel), (&mut self.userspace, userspace)] {
            if let Some(carrier) = carrier {
                let said = carrier.sync(now, table);
                remarks.extend(say(carrier.name(), said));
            }
        }
        remarks
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [&self.kernel, &self.userspace].into_iter().flatten().filter_map(Carrier::poll_timeout).min()
    }

    /// Retries, and looks whether everything is still there.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<String> {
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

fn open_kernel(_global: &BalancerGlobal) -> Result<Box<dyn Dataplane>, String> {
    Err("not in this build".to_owned())
}

fn open_userspace(_threads: Option<u16>) -> Box<dyn Dataplane> {
    Box::new(Unavailable { name: "userspace", why: "the userspace forwarder is not in this build".to_owned() })
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
