//! What a service or destination has carried.
//!
//! Pure. Kernels from 4.1 on count in 64 bits (`STATS64`); of older ones the 32-bit counters are read.

use super::attribute::Reader;
use crate::ipvs::dataplane::Counters;

/// Since the entry was added or its counters were zeroed; the rates are the kernel's estimates per second.
pub type Stats = Counters;

const CONNS: u16 = 1;
const IN_PACKETS: u16 = 2;
const OUT_PACKETS: u16 = 3;
const IN_BYTES: u16 = 4;
const OUT_BYTES: u16 = 5;
const CPS: u16 = 6;
const IN_PPS: u16 = 7;
const OUT_PPS: u16 = 8;
const IN_BPS: u16 = 9;
const OUT_BPS: u16 = 10;

/// From the attributes of an entry, where `wide` and `narrow` are the kinds of its `STATS64` and `STATS`.
pub(super) fn read(entry: Reader<'_>, wide: u16, narrow: u16) -> Stats {
    let Some(stats) = entry.nested(wide).or_else(|| entry.nested(narrow)) else { return Stats::default() };
    let number = |kind| stats.number(kind).unwrap_or_default();
    Stats {
        connections: number(CONNS),
        in_packets: number(IN_PACKETS),
        out_packets: number(OUT_PACKETS),
        in_bytes: number(IN_BYTES),
        out_bytes: number(OUT_BYTES),
        connections_per_second: number(CPS),
        in_packets_per_second: number(IN_PPS),
        out_packets_per_second: number(OUT_PPS),
        in_bytes_per_second: number(IN_BPS),
        out_bytes_per_second: number(OUT_BPS),
    }
}
