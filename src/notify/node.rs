//! Who tells: this node, and this life of the daemon.
//!
//! Pure.

use std::time::Duration;

use super::notice::Notice;

/// The sender of notices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// `router_id`, else the host name: it stands in brackets at the front of every mail.
    pub router_id: String,
    /// The host name.
    pub host: String,
    /// Differs from one life of the daemon to the next: numbers of notices begin anew in each.
    pub life: String,
}

impl Node {
    /// Names one notice for ever, so that a receiver that got it twice can tell.
    pub fn key(&self, notice: &Notice) -> String {
        format!("{}-{}", self.life, notice.sequence)
    }
}

/// A time since the epoch as RFC 3339 writes it, in UTC with milliseconds.
pub fn rfc3339(at: Duration) -> String {
    let (seconds, millis) = (at.as_secs(), at.subsec_millis());
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Year, month and day of a day since the epoch, by the Gregorian calendar: years begin in March here, so that the leap
/// day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let rows = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_164_799_999, "2024-02-28T23:59:59.999Z"),
            (1_795_244_115_250, "2026-11-21T06:55:15.250Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (millis, text) in rows {
            assert_eq!(rfc3339(Duration::from_millis(millis)), text);
        }
    }
}
