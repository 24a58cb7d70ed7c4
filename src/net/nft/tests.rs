//! The bytes, spelled out once; that the kernel understands the rest is proven by the tests in namespaces.

use std::net::Ipv4Addr;

use netlink_packet_core::NetlinkBuffer;

use crate::vrrp::config::AddressConfig;

use super::*;

const V4: Blocked = Blocked::Anywhere(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));

/// Type and flags of each message of a batch.
fn messages(mut batch: &[u8]) -> Vec<(u16, u16)> {
    let mut found = Vec::new();
    while let Ok(buffer) = NetlinkBuffer::new_checked(&batch) {
        assert_eq!(buffer.sequence_number(), 7);
        found.push((buffer.message_type(), buffer.flags()));
        batch = &batch[usize::try_from(buffer.length()).unwrap().next_multiple_of(4)..];
    }
    assert!(batch.is_empty());
    found
}

#[test]
fn an_element_byte_by_byte() {
    #[rustfmt::skip]
    let expected = [
        // Begin: length 20, control message 16; families of no kind, for subsystem 10.
        20, 0, 0, 0, 16, 0, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10,
        // New element, with acknowledgement; family inet.
        60, 0, 0, 0, 12, 10, 5, 4, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0,
        6, 0, 1, 0, b't', 0, 0, 0,
        10, 0, 2, 0, b'v', b'i', b'p', b's', b'4', 0, 0, 0,
        // The list, one entry, its key, the value.
        20, 0, 3, 0x80, 16, 0, 1, 0x80, 12, 0, 1, 0x80, 8, 0, 1, 0, 192, 0, 2, 1,
        // End.
        20, 0, 0, 0, 17, 0, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10,
    ];
    assert_eq!(add(7, "t", &[V4]), expected);
}

#[test]
fn a_table_is_replaced_in_one_transaction_and_answered_once() {
    const NEW: u16 = NLM_F_REQUEST | NLM_F_CREATE;
    const RULE: u16 = NEW | NLM_F_APPEND;
    let nft = |kind: u16| 10 << 8 | kind;
    let (begin, end) = ((16, NLM_F_REQUEST), (17, NLM_F_REQUEST));
    let (new_table, drop_table) = ((nft(0), NEW), (nft(2), NLM_F_REQUEST));
    let mut expected = vec![begin, new_table, drop_table, new_table, (nft(3), NEW)];
    expected.extend([(nft(9), NEW); 3]);
    expected.extend([(nft(6), RULE); 4]);
    expected.extend([(nft(12), NEW | NLM_F_ACK), end]);
    assert_eq!(messages(&rebuild(7, &FilterConfig::default(), &[V4])), expected);
    let deleted = [begin, new_table, (nft(2), NLM_F_REQUEST | NLM_F_ACK), end];
    assert_eq!(messages(&delete_table(7, "t")), deleted);
    assert_eq!(messages(&remove(7, "t", &[V4]))[1], (nft(14), NLM_F_REQUEST | NLM_F_ACK));
}

#[test]
fn the_largest_batch_fits_into_the_lists_of_the_kernel() {
    let link_local = |n: u32| Blocked::OnLink(Ipv6Addr::from(0xfe80 << 112 | u128::from(n)), IfIndex(n));
    let elements: Vec<_> = (0..u32::try_from(ELEMENTS_PER_BATCH).unwrap()).map(link_local).collect();
    let batch = add(7, &"t".repeat(127), &elements);
    assert!(batch.len() < usize::from(u16::MAX), "{}", batch.len());
    assert_eq!(messages(&batch).len(), 3);
}

#[test]
fn what_is_blocked() {
    let bound = |address: &str, accept| {
        let config = AddressConfig::new(address.parse().unwrap());
        Blocked::of(&BoundAddress { interface: IfIndex(3), config, accept, own: false })
    };
    assert_eq!(bound("192.0.2.1", true), None);
    assert_eq!(bound("192.0.2.1", false), Some(V4));
    assert_eq!(bound("fe80::1", false), Some(Blocked::OnLink("fe80::1".parse().unwrap(), IfIndex(3))));
    assert_eq!(bound("2001:db8::1", false), Some(Blocked::Anywhere("2001:db8::1".parse().unwrap())));
}
