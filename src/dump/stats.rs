//! `keepalived.stats`: what each instance has counted.
//!
//! Pure. Every value is an integer: an exporter gives up at anything else.

use std::fmt::Write as _;

use super::Facts;

/// The whole file.
pub fn render(facts: &Facts<'_>) -> String {
    let mut text = String::new();
    for (name, _, shown) in facts.instances() {
        let c = facts.counters(name, shown);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "VRRP Instance: {name}\n  Advertisements:\n    Received: {}\n    Sent: {}\n  Became master: {}\n  \
             Released master: {}\n  Packet Errors:\n    Length: {}\n    TTL: {}\n    Invalid Type: {}\n    \
             Advertisement Interval: {}\n    Address List: {}\n  Authentication Errors:\n    Invalid Type: {}\n    \
             Type Mismatch: {}\n    Failure: {}\n  Authentication Extension Errors:\n    Missing: 0\n    \
             Malformed: 0\n    Unknown Key: 0\n    Invalid HMAC: 0\n    Stale: 0\n    Replay: 0\n  Priority Zero:\n    \
             Received: {}\n    Sent: {}\n",
            c.advert_rcvd,
            c.advert_sent,
            c.become_master,
            c.release_master,
            c.packet_len_err,
            c.ip_ttl_err,
            c.invalid_type_rcvd,
            c.advert_interval_err,
            c.addr_list_err,
            c.invalid_authtype,
            c.authtype_mismatch,
            c.auth_failure,
            c.pri_zero_rcvd,
            c.pri_zero_sent,
        );
    }
    text
}
