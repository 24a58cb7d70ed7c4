//! Skew time and master-down interval.
//!
//! Pure. Everything is a [`Duration`] before it is multiplied: whole-second skew is no skew.

use std::time::Duration;

use super::config::InstanceConfig;
use super::types::{AdvertInterval, Priority, Version};

/// Skew_Time: the lower the priority, the longer the wait.
///
/// VRRPv3 scales it with the master's interval (RFC 9568 §6.1); VRRPv2 does not (RFC 3768 §6.1).
pub fn skew(version: Version, priority: Priority, master_interval: AdvertInterval) -> Duration {
    let unit = match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => master_interval.duration(),
    };
    unit * (256 - u32::from(priority.value())) / 256
}

/// Master_Down_Interval (Active_Down_Interval in RFC 9568 §6.1), with keepalived's `down_timer_adverts` for the RFC's 3.
pub fn master_down(version: Version, priority: Priority, master_interval: AdvertInterval, adverts: u8) -> Duration {
    master_interval.duration() * u32::from(adverts) + skew(version, priority, master_interval)
}

/// How long the vrrp process may stand still before it is taken for dead: half the shortest master-down interval of its
/// instances. A stopped master still owns its addresses while a peer takes over.
///
/// Not below [`SHORTEST_STALL`]: a machine with adverts every 10 ms has stalls of that length, and a restart costs more
/// than waiting them out.
pub fn stall_limit<'a>(instances: impl Iterator<Item = &'a InstanceConfig>) -> Duration {
    let half = |i: &InstanceConfig| master_down(i.version, i.priority, i.advert_interval, i.down_timer_adverts) / 2;
    instances.map(half).min().unwrap_or(LONGEST_STALL).clamp(SHORTEST_STALL, LONGEST_STALL)
}

/// See [`stall_limit`].
pub const SHORTEST_STALL: Duration = Duration::from_millis(250);
/// Nothing in the vrrp process takes this long.
pub const LONGEST_STALL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn cs(centiseconds: u16) -> AdvertInterval {
        AdvertInterval::from_centiseconds(centiseconds).expect("legal")
    }

    #[test]
    fn skew_is_never_truncated() {
        // version, priority, interval in cs, skew in µs, master-down in µs
        let rows = [
            (Version::V2, 100, 100, 609_375, 3_609_375),
            (Version::V2, 254, 100, 7_812, 3_007_812),
            (Version::V2, 1, 100, 996_093, 3_996_093),
            (Version::V2, 100, 500, 609_375, 15_609_375),
            (Version::V3, 100, 100, 609_375, 3_609_375),
            (Version::V3, 100, 1, 6_093, 36_093),
            (Version::V3, 255, 100, 3_906, 3_003_906),
            (Version::V3, 254, 4095, 319_921, 123_169_921),
        ];
        for (version, priority, interval, want_skew, want_down) in rows {
            let priority = Priority::new(priority).expect("legal");
            assert_eq!(skew(version, priority, cs(interval)).as_micros(), want_skew, "{version:?} {priority}");
            assert_eq!(
                master_down(version, priority, cs(interval), 3).as_micros(),
                want_down,
                "{version:?} {priority}"
            );
        }
    }
}
