//! The userspace forwarder's table as it is shown.
//!
//! Pure.

use crate::ipvs::config::SchedulerFlags;
use crate::ipvs::dataplane::{Counters, DestinationCounters, ServiceCounters};
use crate::ipvs::snapshot::Snapshot;
use crate::ipvs::table::{Destination, Service};
use crate::ipvs::types::{ServiceKey, SocketKey};
use crate::status::model::{ForwarderDestination, ForwarderService, Traffic};

/// All services of the forwarder by key.
pub fn forwarder(snapshot: &Snapshot) -> Vec<ForwarderService> {
    let none = ServiceCounters::default();
    let show = |(key, has)| service(key, has, snapshot.counters.get(key).unwrap_or(&none));
    snapshot.forwarder.services.iter().map(show).collect()
}

fn service(key: &ServiceKey, service: &Service, counters: &ServiceCounters) -> ForwarderService {
    let settings = &service.settings;
    let carried = |address: &SocketKey| counters.destinations.get(address).copied().unwrap_or_default();
    let destinations = service.destinations.iter().map(|(at, has)| destination(*at, has, carried(at)));
    let destinations: Vec<ForwarderDestination> = destinations.collect();
    ForwarderService {
        service: key.to_string(),
        scheduler: settings.scheduler.to_string(),
        flags: flags(settings.flags),
        persistence_timeout: settings.persistence.as_ref().map(|persistence| persistence.timeout),
        persistence_granularity: settings.persistence.as_ref().map(|persistence| persistence.granularity),
        traffic: Traffic {
            active: destinations.iter().map(|to| to.traffic.active).sum(),
            inactive: destinations.iter().map(|to| to.traffic.inactive).sum(),
            ..traffic(counters.total)
        },
        destinations,
    }
}

fn destination(address: SocketKey, to: &Destination, carried: DestinationCounters) -> ForwarderDestination {
    let (active, inactive) = (u64::from(carried.active), u64::from(carried.inactive));
    ForwarderDestination {
        address: address.to_string(),
        weight: to.weight,
        upper_threshold: to.upper_threshold,
        lower_threshold: to.lower_threshold,
        persistent: carried.persistent,
        traffic: Traffic { active, inactive, ..traffic(carried.total) },
    }
}

fn traffic(total: Counters) -> Traffic {
    let Counters { connections, in_packets, out_packets, in_bytes, out_bytes, .. } = total;
    Traffic { connections, in_packets, out_packets, in_bytes, out_bytes, ..Traffic::default() }
}

fn flags(flags: SchedulerFlags) -> Vec<String> {
    let SchedulerFlags { hashed: _, one_packet, flag1, flag2, flag3 } = flags;
    let words = [(flag1, "flag-1"), (flag2, "flag-2"), (flag3, "flag-3"), (one_packet, "ops")];
    words.into_iter().filter(|(set, _)| *set).map(|(_, word)| word.to_owned()).collect()
}
