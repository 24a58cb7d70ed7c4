//! The time zone of this process.
//!
//! Shell: asks the C library, which reads `TZ` and /etc/localtime.

use super::reload_time::{Civil, Zone};

/// The zone that the environment names.
#[derive(Debug, Clone, Copy)]
pub struct LocalTime;

impl Zone for LocalTime {
    #[allow(unsafe_code)]
    fn moment(&self, civil: Civil) -> Option<i64> {
        // SAFETY: `tm` is plain numbers and one pointer, for which zero is a valid value.
        let mut tm: libc::tm = unsafe { std::mem::zeroed() };
        tm.tm_year = civil.year.checked_sub(1900)?;
        tm.tm_mon = i32::from(civil.month) - 1;
        tm.tm_mday = i32::from(civil.day);
        tm.tm_hour = i32::from(civil.hour);
        tm.tm_min = i32::from(civil.minute);
        tm.tm_sec = i32::from(civil.second);
        tm.tm_isdst = -1;
        // SAFETY: the argument is valid for the call. The environment, which it reads, is never written here.
        let moment = unsafe { libc::mktime(&raw mut tm) };
        // A time that does not exist is moved to one that does.
        let exists = tm.tm_hour == i32::from(civil.hour) && tm.tm_min == i32::from(civil.minute);
        exists.then_some(moment)
    }

    #[allow(unsafe_code)]
    fn civil(&self, moment: i64) -> Option<Civil> {
        // SAFETY: as above.
        let mut tm: libc::tm = unsafe { std::mem::zeroed() };
        // SAFETY: both arguments are valid for the call.
        let done = unsafe { !libc::localtime_r(&raw const moment, &raw mut tm).is_null() };
        let small = |number: i32| u8::try_from(number).ok();
        done.then_some(Civil {
            year: tm.tm_year.checked_add(1900)?,
            month: small(tm.tm_mon + 1)?,
            day: small(tm.tm_mday)?,
            hour: small(tm.tm_hour)?,
            minute: small(tm.tm_min)?,
            second: small(tm.tm_sec)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for moment in [0, 951_782_400, 1_795_237_762] {
            let civil = LocalTime.civil(moment).unwrap();
            assert_eq!(LocalTime.moment(civil), Some(moment));
        }
    }
}
