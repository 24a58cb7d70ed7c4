//! The address writer of a simulated host: the real queue (`holdfast::net::write_queue`), and a kernel that takes its
//! time.
//!
//! Pure.

use std::net::IpAddr;

use holdfast::net::write_queue::{Announcement, Change, Owner, Work};
use holdfast::vrrp::config::{AddressConfig, InstanceConfig};
use holdfast::vrrp::engine::BoundAddress;
use holdfast::vrrp::event::StateName;
use holdfast::vrrp::former::FormerAddress;
use holdfast::vrrp::types::{IfIndex, InstanceId};

use crate::host::{Unordered, index, segment};
use crate::planted::Bug;
use crate::scenario::{HostId, segment_of};
use crate::world::{Happening, World};

impl World {
    /// [`holdfast::vrrp::engine::Effect::SyncAddresses`].
    pub fn queue_change(
        &mut self,
        host: HostId,
        instance: InstanceId,
        generation: u64,
        present: Vec<BoundAddress>,
        mut absent: Vec<BoundAddress>,
    ) {
        let Some(process) = self.hosts[host].process.as_mut() else { return };
        // Only a planted bug wants to know the state, and it costs something to ask.
        let snapshot = self.bug.map(|_| process.engine.snapshot()).unwrap_or_default();
        let state = process.engine.instance_name(instance).and_then(|n| snapshot.instances.get(n)).map(|i| i.state);
        match (self.bug, state) {
            (Some(Bug::AddressesKeptOnFault), Some(StateName::Fault)) => absent.clear(),
            (Some(Bug::AddressesKeptOnStop), Some(StateName::Init)) => absent.clear(),
            (Some(Bug::UnorderedWriter), _) => {
                let incarnation = self.hosts[host].incarnation;
                let after = self.random.duration(self.scenario.write_time / 10, self.scenario.write_time * 4);
                let overtaking = Some(Unordered { present, absent });
                return self.plan(after, Happening::Written { host, incarnation, overtaking });
            }
            _ => {}
        }
        process.queue.push_change(Owner::Instance(instance), Change { generation, present, absent });
    }

    /// What a process that died has left of a former configuration.
    pub fn queue_removal(&mut self, host: HostId, former: &[FormerAddress]) {
        let link = |name: &str| segment_of(name).map(index);
        let absent: Vec<_> = former.iter().filter_map(|former| former.bind(link)).collect();
        let Some(process) = self.hosts[host].process.as_mut() else { return };
        if !absent.is_empty() && self.bug != Some(Bug::FormerAddressesForgotten) {
            process.queue.push_change(Owner::Former, Change { generation: 1, present: Vec::new(), absent });
        }
    }

    /// For a planted bug: takes all addresses off, whatever the engine says.
    pub fn release(&mut self, host: HostId, config: &InstanceConfig) {
        let Some(interface) = config.interface.as_deref().and_then(segment_of).map(index) else { return };
        let bound =
            |config: &AddressConfig| BoundAddress { interface, config: config.clone(), accept: true, own: false };
        let absent = config.all_addresses().map(bound).collect();
        if let Some(process) = self.hosts[host].process.as_mut() {
            process.queue.push_change(Owner::Former, Change { generation: 1, present: Vec::new(), absent });
        }
    }

    /// [`holdfast::vrrp::engine::Effect::Announce`].
    pub fn queue_announcement(
        &mut self,
        host: HostId,
        instance: InstanceId,
        generation: u64,
        addresses: Vec<(IfIndex, IpAddr)>,
        repeat: u32,
    ) {
        if self.bug == Some(Bug::AnnouncedBeforeWritten) {
            for (interface, address) in addresses {
                self.announce(host, segment(interface), address, repeat);
            }
        } else if let Some(process) = self.hosts[host].process.as_mut() {
            let again = !process.announced_once.insert((instance, generation));
            if !(again && self.bug == Some(Bug::AnnouncedOnce)) {
                process.queue.push_announcement(Announcement { instance, addresses, repeat });
            }
        }
    }

    /// Begins the next change, if the kernel is free; sends the announcements before it.
    pub fn advance_writer(&mut self, host: HostId) {
        let incarnation = self.hosts[host].incarnation;
        while let Some(process) = self.hosts[host].process.as_mut().filter(|p| p.writing.is_none()) {
            match process.queue.pop() {
                None => return,
                Some(Work::Change(owner, change)) => {
                    process.writing = Some((owner, change));
                    let longest = self.scenario.write_time + self.hosts[host].slow_writer;
                    let after = self.random.duration(self.scenario.write_time / 20, longest);
                    self.plan(after, Happening::Written { host, incarnation, overtaking: None });
                }
                Some(Work::Announce(announcement)) => {
                    for (interface, address) in &announcement.addresses {
                        self.announce(host, segment(*interface), *address, announcement.repeat);
                    }
                }
            }
        }
    }

    /// The kernel is done.
    pub fn written(&mut self, host: HostId, incarnation: u64, overtaking: Option<Unordered>) {
        if self.hosts[host].incarnation != incarnation {
            return;
        }
        let Some(process) = self.hosts[host].process.as_mut() else { return };
        let (present, absent) = match overtaking {
            Some(Unordered { present, absent }) => (present, absent),
            None => {
                let Some((owner, change)) = process.writing.take() else { return };
                if let Owner::Instance(instance) = owner {
                    process.written.push_back((instance, change.generation));
                }
                (change.present, change.absent)
            }
        };
        let changed = self.hosts[host].write(&present, &absent);
        self.tell(|| format!("host {host} has {present:?} and not {absent:?}"));
        for segment in changed {
            if let Some(process) = self.hosts[host].process.as_mut() {
                process.links.insert(segment);
            }
        }
        self.wake(host);
    }
}
