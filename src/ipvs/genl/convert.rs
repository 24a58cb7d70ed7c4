//! Between a [`ServiceTable`]'s values and the kernel's.
//!
//! Pure.

use super::destination::{KernelDestination, method, tunnel};
use super::service::{KernelService, Netmask, flag};
use crate::ipvs::config::{Persistence, ProxyConfig, SchedulerFlags};
use crate::ipvs::table::{Destination, Service, ServiceSettings, ServiceTable};
use crate::ipvs::types::{ForwardMethod, Scheduler, ServiceKey, SocketKey, Tunnel, TunnelChecksum};

/// The largest weight that the kernel takes (`IP_VS_WEIGHT` is a signed number).
pub const MAX_WEIGHT: u32 = i32::MAX as u32;

/// A service as it is sent.
pub fn to_kernel_service(key: ServiceKey, settings: &ServiceSettings) -> KernelService {
    let mut service = KernelService::new(key, settings.scheduler.name());
    let flags = settings.flags;
    let set = [
        (flags.one_packet, flag::ONE_PACKET),
        (flags.flag1, flag::SCHED1),
        (flags.flag2, flag::SCHED2),
        (flags.flag3, flag::SCHED3),
        (settings.persistence.is_some(), flag::PERSISTENT),
    ];
    service.flags = set.into_iter().filter_map(|(on, flag)| on.then_some(flag)).sum();
    if let Some(persistence) = &settings.persistence {
        service.timeout = persistence.timeout;
        service.netmask = Netmask::of_prefix(key.family(), persistence.granularity);
        service.engine.clone_from(&persistence.engine);
    }
    service
}

/// A service of the kernel's; `None` when it has what our settings cannot hold: a scheduler of another make, or a
/// netmask with holes.
pub fn settings_of(service: &KernelService) -> Option<ServiceSettings> {
    let persistence = if service.has(flag::PERSISTENT) {
        Some(Persistence {
            timeout: service.timeout,
            granularity: service.netmask.prefix()?,
            engine: service.engine.clone(),
        })
    } else {
        None
    };
    Some(ServiceSettings {
        scheduler: Scheduler::from_name(&service.scheduler)?,
        flags: SchedulerFlags {
            // The kernel sets it on every service of its table: it tells nothing.
            hashed: false,
            one_packet: service.has(flag::ONE_PACKET),
            flag1: service.has(flag::SCHED1),
            flag2: service.has(flag::SCHED2),
            flag3: service.has(flag::SCHED3),
        },
        persistence,
        proxy: ProxyConfig::default(),
    })
}

/// A destination as it is sent; `None` for one that the kernel cannot carry ([`ForwardMethod::Proxy`]).
pub fn to_kernel_destination(address: SocketKey, destination: &Destination) -> Option<KernelDestination> {
    let mut kernel = KernelDestination::new(address, method::MASQUERADE, destination.weight.min(MAX_WEIGHT));
    kernel.upper_threshold = destination.upper_threshold;
    kernel.lower_threshold = destination.lower_threshold;
    kernel.method = match destination.method {
        ForwardMethod::Nat => method::MASQUERADE,
        ForwardMethod::Dr => method::ROUTE,
        ForwardMethod::Tun(_) => method::TUNNEL,
        ForwardMethod::Proxy => return None,
    };
    if let ForwardMethod::Tun(encapsulation) = destination.method {
        (kernel.tunnel_type, kernel.tunnel_port, kernel.tunnel_flags) = match encapsulation {
            Tunnel::Ipip => (tunnel::IPIP, 0, 0),
            Tunnel::Gue { port, checksum } => (tunnel::GUE, port, checksum_flags(checksum)),
            Tunnel::Gre { checksum } => (tunnel::GRE, 0, checksum_flags(checksum)),
        };
    }
    Some(kernel)
}

/// A destination of the kernel's; `None` when our table cannot hold it: a tunnel of another make, a bypass.
pub fn destination_of(kernel: &KernelDestination) -> Option<Destination> {
    let checksum = match kernel.tunnel_flags {
        0 => TunnelChecksum::None,
        tunnel::CHECKSUM => TunnelChecksum::Checksum,
        _ => TunnelChecksum::Remote,
    };
    let method = match (kernel.method, kernel.tunnel_type) {
        (method::MASQUERADE, _) => ForwardMethod::Nat,
        // Kernels before 2.6.28 said so of a destination on the director itself, whatever its method.
        (method::ROUTE | method::LOCAL, _) => ForwardMethod::Dr,
        (method::TUNNEL, tunnel::IPIP) => ForwardMethod::Tun(Tunnel::Ipip),
        (method::TUNNEL, tunnel::GUE) => ForwardMethod::Tun(Tunnel::Gue { port: kernel.tunnel_port, checksum }),
        (method::TUNNEL, tunnel::GRE) => ForwardMethod::Tun(Tunnel::Gre { checksum }),
        _ => return None,
    };
    Some(Destination {
        method,
        weight: kernel.weight,
        upper_threshold: kernel.upper_threshold,
        lower_threshold: kernel.lower_threshold,
    })
}

/// This table as a dump shows it once the kernel has it all. A plan compares a dump with this: what the kernel does not
/// keep (`hashed`, settings of the userspace forwarder, destinations that only the forwarder can reach) is left out, or
/// the same edit would be planned for ever.
pub fn as_dumped(table: &ServiceTable) -> ServiceTable {
    let service = |(key, service): (&ServiceKey, &Service)| {
        let destinations = service.destinations.iter().filter_map(|(address, destination)| {
            let kernel = to_kernel_destination(*address, destination)?;
            Some((*address, destination_of(&kernel)?))
        });
        let settings = settings_of(&to_kernel_service(*key, &service.settings))?;
        Some((*key, Service { settings, destinations: destinations.collect() }))
    };
    ServiceTable { services: table.services.iter().filter_map(service).collect() }
}

fn checksum_flags(checksum: TunnelChecksum) -> u16 {
    match checksum {
        TunnelChecksum::None => 0,
        TunnelChecksum::Checksum => tunnel::CHECKSUM,
        TunnelChecksum::Remote => tunnel::REMOTE_CHECKSUM,
    }
}
