//! The order in which ipvsadm lists services and their servers.
//!
//! Pure. ipvsadm compares addresses by the sign of the 32-bit difference of their words, which is not an order over the
//! whole range (`224.0.0.1` < `0.0.0.0` < `127.0.0.1` < `224.0.0.1`), and sorts with glibc's merge sort. What it prints
//! follows from both, so both are done here alike.

use std::cmp::Ordering;
use std::net::IpAddr;

use super::source::Entry;
use crate::ipvs::genl::attribute::family_number;
use crate::ipvs::genl::service::protocol_number;
use crate::ipvs::types::{ServiceKey, SocketKey};

/// Sorts services, and the servers of each.
pub fn sort(entries: Vec<Entry>) -> Vec<Entry> {
    let mut entries = merge_sort(entries, &|a, b| services(&a.service.key, &b.service.key));
    for entry in &mut entries {
        entry.destinations = merge_sort(std::mem::take(&mut entry.destinations), &|a, b| sockets(a.address, b.address));
    }
    entries
}

fn services(a: &ServiceKey, b: &ServiceKey) -> Ordering {
    let mark = |key: &ServiceKey| if let ServiceKey::Fwmark { mark, .. } = key { mark.get() } else { 0 };
    let place = |key: &ServiceKey| match key {
        ServiceKey::Address { protocol, address } => (protocol_number(*protocol), Some(*address)),
        ServiceKey::Fwmark { .. } => (0, None),
    };
    let ((protocol_a, address_a), (protocol_b, address_b)) = (place(a), place(b));
    difference(mark(a), mark(b))
        .then(family_number(a.family()).cmp(&family_number(b.family())))
        .then(protocol_a.cmp(&protocol_b))
        .then_with(|| match (address_a, address_b) {
            (Some(a), Some(b)) => sockets(a, b),
            _ => Ordering::Equal,
        })
}

fn sockets(a: SocketKey, b: SocketKey) -> Ordering {
    let family = family_number(a.family()).cmp(&family_number(b.family()));
    family.then_with(|| addresses(a.ip, b.ip)).then(a.port.cmp(&b.port))
}

fn addresses(a: IpAddr, b: IpAddr) -> Ordering {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => difference(a.to_bits(), b.to_bits()),
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let words = |address: u128| [96, 64, 32, 0].map(|shift| u32::try_from(address >> shift & 0xffff_ffff));
            let pairs = words(a.to_bits()).into_iter().zip(words(b.to_bits()));
            let mut differences = pairs.map(|(a, b)| difference(a.unwrap_or(0), b.unwrap_or(0)));
            differences.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        }
        _ => Ordering::Equal,
    }
}

/// By the sign of the wrapped difference.
fn difference(a: u32, b: u32) -> Ordering {
    a.wrapping_sub(b).cast_signed().cmp(&0)
}

/// The first half, the second half, and both merged, the first one's element first where they are equal.
fn merge_sort<T>(mut items: Vec<T>, compare: &dyn Fn(&T, &T) -> Ordering) -> Vec<T> {
    if items.len() < 2 {
        return items;
    }
    let second = items.split_off(items.len() / 2);
    let first = merge_sort(items, compare).into_iter();
    let second = merge_sort(second, compare).into_iter();
    let (mut first, mut second) = (first.peekable(), second.peekable());
    let mut merged = Vec::new();
    while let (Some(a), Some(b)) = (first.peek(), second.peek()) {
        let next = if compare(a, b).is_le() { first.next() } else { second.next() };
        merged.extend(next);
    }
    merged.extend(first.chain(second));
    merged
}
