//! Decisions that need no kernel; `tests/ipvs_kernel` has the rest.

use super::errors::explain;
use super::*;
use crate::ipvs::table::{Destination, ServiceSettings};
use crate::ipvs::types::{ForwardMethod, Protocol, SocketKey, Tunnel, TunnelChecksum};

fn key() -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, address: SocketKey::new("10.0.0.1".parse().unwrap(), 80) }
}

fn real() -> SocketKey {
    SocketKey::new("10.1.0.1".parse().unwrap(), 80)
}

fn add(method: ForwardMethod) -> Operation {
    Operation::AddDestination(key(), real(), Destination { method, ..Destination::default() })
}

#[test]
fn a_kernel_that_made_gue_ipip_has_ignored_it() {
    let gue = ForwardMethod::Tun(Tunnel::Gue { port: 6080, checksum: TunnelChecksum::None });
    let (_, wanted) = wanted_tunnel(&add(gue)).unwrap();
    assert!(ignored(&wanted, &[KernelDestination { tunnel_type: tunnel::IPIP, ..wanted }]));
    assert!(!ignored(&wanted, &[wanted]));
    assert!(!ignored(&wanted, &[]));
    assert_eq!(wanted_tunnel(&add(ForwardMethod::Tun(Tunnel::Ipip))), None);
    assert_eq!(wanted_tunnel(&Operation::RemoveDestination(key(), real())), None);
}

#[test]
fn a_refusal_of_what_is_not_as_the_plan_thought_is_tried_the_other_way() {
    let settings = ServiceSettings::default();
    let edit = Operation::EditService(key(), settings.clone());
    let again = |operation: &Operation, errno| match other_way(operation, errno) {
        Next::Done => "done".to_owned(),
        Next::Refused => "refused".to_owned(),
        Next::Again(next) => {
            let all = [
                ("add service", request(&Operation::AddService(key(), settings.clone()))),
                ("edit service", request(&edit)),
                ("add", request(&add(ForwardMethod::Nat))),
            ];
            let found = all.into_iter().find(|(_, request)| request.as_ref() == Some(&*next));
            found.map_or("edit", |(name, _)| name).to_owned()
        }
    };
    let rows = [
        (Operation::AddService(key(), settings.clone()), libc::EEXIST, "edit service"),
        (Operation::AddService(key(), settings.clone()), libc::ENOENT, "refused"),
        (edit.clone(), libc::ESRCH, "add service"),
        (edit.clone(), libc::ENOENT, "refused"),
        (Operation::RemoveService(key()), libc::ESRCH, "done"),
        (Operation::RemoveService(key()), libc::EPERM, "refused"),
        (add(ForwardMethod::Nat), libc::EEXIST, "edit"),
        (add(ForwardMethod::Nat), libc::ESRCH, "add"),
        (Operation::EditDestination(key(), real(), Destination::default()), libc::ENOENT, "add"),
        (Operation::RemoveDestination(key(), real()), libc::ENOENT, "done"),
        (add(ForwardMethod::Nat), libc::EINVAL, "refused"),
    ];
    for (operation, errno, expected) in rows {
        assert_eq!(again(&operation, errno), expected, "{operation:?} {errno}");
    }
}

#[test]
fn what_passes_is_not_lasting() {
    let told = |operation: &Operation, errno| explain(operation, &CallError::Refused { errno, text: None });
    let service = Operation::AddService(key(), ServiceSettings::default());
    assert!(!told(&service, libc::ENOENT).lasting);
    assert!(!told(&service, libc::ENOMEM).lasting);
    assert!(told(&service, libc::EPERM).lasting);
    assert!(told(&add(ForwardMethod::Nat), libc::EINVAL).lasting);
    let words = CallError::Refused { errno: libc::ENOSPC, text: Some("the kernel's own words".to_owned()) };
    assert!(explain(&service, &words).reason.ends_with("the kernel's own words"));
}
