//! The address writer of a simulated host: the real queue (`holdfast::net::write_queue`), and a kernel that takes its
//! time.
//!
//! Pure.

use std::net::IpAddr;

use holdfast::net::write_queue::{Announcement, Change, Owner, Work};
use holdfast::vrrp::engine::BoundAddress;
use holdfast::vrrp::event::StateName;
use holdfast::vrrp::types::{IfIndex, InstanceId};

use crate::host::{Unordered, segment};
use crate::planted::Bug;
use crate::scenario::HostId;
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

    /// [`holdfast::vrrp::engine::Effect::Announce`].
    pub fn queue_announcement(
        &mut self,
        host: HostId,
        instance: InstanceId,
        generation: u64,
        addresses: Vec<(IfIndex, IpAddr)>,
        repeat: u32,
    ) {
        if let Some(process) = self.hosts[host].process.as_mut() {
            process.queue.push_announcement(Announcement { instance, generation, addresses, repeat });
        }
    }

    /// Begins the next change, if the kernel is free; sends the announcements before it.
    pub fn advance_writer(&mut self, host: HostId) {
        let incarnation = self.hosts[host].incarnation;
        while let Some(process) = self.hosts[host].process.as_mut().filter(|p| p.writing.is_none()) {
            match process.queue.pop() {
                None => return,
                Some(Work::Change(Owner::Instance(instance), change)) => {
                    process.writing = Some((instance, change));
                    let longest = self.scenario.write_time + self.hosts[host].slow_writer;
                    let after = self.random.duration(self.scenario.write_time / 20, longest);
                    self.plan(after, Happening::Written { host, incarnation, overtaking: None });
                }
                Some(Work::Change(Owner::Static, _)) => {}
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
                let Some((instance, change)) = process.writing.take() else { return };
                process.written.push_back((instance, change.generation));
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
