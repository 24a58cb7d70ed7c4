//! `reload_time_file`: when a file says that a reload is due.
//!
//! Pure: the text, the time and the time zone are passed in. The first line of the file is `HH:MM:SS`,
//! `YY-MM-DD HH:MM:SS` or `YYYY-MM-DD HH:MM:SS`, each with an optional `Z` for UTC, and no other blanks.

/// A date and a time of day, of some zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Civil {
    /// For example 2026.
    pub year: i32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

/// The zone in which times without `Z` are meant. Seconds are those since 1970 in UTC.
pub trait Zone {
    /// The moment of a time of the zone; of two, when clocks are set back, either.
    fn moment(&self, civil: Civil) -> Option<i64>;
    /// The time of the zone at a moment.
    fn civil(&self, moment: i64) -> Option<Civil>;
}

/// UTC.
#[derive(Debug, Clone, Copy)]
pub struct Utc;

const DAY: i64 = 86_400;

impl Zone for Utc {
    fn moment(&self, civil: Civil) -> Option<i64> {
        let Civil { year, month, day, hour, minute, second } = civil;
        // Days since 1970 by the calendar of 400-year eras, which begin in March.
        let year = i64::from(year) - i64::from(month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let month_from_march = (i64::from(month) + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        Some(days * DAY + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second))
    }

    fn civil(&self, moment: i64) -> Option<Civil> {
        let (days, seconds) = (moment.div_euclid(DAY) + 719_468, moment.rem_euclid(DAY));
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Some(Civil {
            year: i32::try_from(year).ok()?,
            month: u8::try_from(month).ok()?,
            day: u8::try_from(day).ok()?,
            hour: u8::try_from(seconds / 3600).ok()?,
            minute: u8::try_from(seconds / 60 % 60).ok()?,
            second: u8::try_from(seconds % 60).ok()?,
        })
    }
}

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReloadTime {
    date: Option<(i32, u8, u8)>,
    time: (u8, u8, u8),
    utc: bool,
}

impl ReloadTime {
    /// Reads the first line of the file; `None` when it is not one of the formats.
    pub fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?;
        let (line, utc) = match line.strip_suffix('Z') {
            Some(line) => (line, true),
            None => (line, false),
        };
        let (date, time) = match line.split_once(' ') {
            Some((date, time)) => (Some(parse_date(date)?), time),
            None => (None, line),
        };
        Some(Self { date, time: parse_time(time)?, utc })
    }

    /// The next moment that is meant, after `now`; `None` when a date has passed, or such a time does not exist.
    pub fn next(&self, now: i64, local: &impl Zone) -> Option<i64> {
        if self.utc { self.next_in(now, &Utc) } else { self.next_in(now, local) }
    }

    /// Whether it comes again each day.
    pub fn is_daily(&self) -> bool {
        self.date.is_none()
    }

    fn next_in(&self, now: i64, zone: &impl Zone) -> Option<i64> {
        let (hour, minute, second) = self.time;
        let on = |year, month, day| zone.moment(Civil { year, month, day, hour, minute, second });
        if let Some((year, month, day)) = self.date {
            return on(year, month, day).filter(|moment| *moment > now);
        }
        // A day may lack the time, when clocks are set forward.
        (0..3).find_map(|days| {
            let Civil { year, month, day, .. } = zone.civil(now + days * DAY)?;
            on(year, month, day).filter(|moment| *moment > now)
        })
    }
}

fn parse_date(text: &str) -> Option<(i32, u8, u8)> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let year = match year.len() {
        2 => 2000 + i32::from(two_digits(year)?),
        4 => 100 * i32::from(two_digits(year.get(..2)?)?) + i32::from(two_digits(year.get(2..)?)?),
        _ => return None,
    };
    let (month, day) = (two_digits(month)?, two_digits(day)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (parts.next().is_none() && (1..=days).contains(&day)).then_some((year, month, day))
}

fn parse_time(text: &str) -> Option<(u8, u8, u8)> {
    let mut parts = text.split(':').map(two_digits);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    (parts.next().is_none() && hour < 24 && minute < 60 && second < 60).then_some((hour, minute, second))
}

fn two_digits(text: &str) -> Option<u8> {
    (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two hours before UTC.
    struct East;

    impl Zone for East {
        fn moment(&self, civil: Civil) -> Option<i64> {
            Some(Utc.moment(civil)? - 7200)
        }

        fn civil(&self, moment: i64) -> Option<Civil> {
            Utc.civil(moment + 7200)
        }
    }

    fn at(text: &str) -> i64 {
        ReloadTime::parse(text).unwrap().next(i64::MIN / 2, &Utc).unwrap()
    }

    #[test]
    fn the_calendar() {
        assert_eq!(at("1970-01-01 00:00:00Z"), 0);
        assert_eq!(at("2026-11-21 05:09:22Z"), 1_795_237_762);
        assert_eq!(at("00-02-29 00:00:00Z"), 951_782_400);
        for moment in (-1_000_000_000_i64..4_000_000_000).step_by(86_399 * 11) {
            assert_eq!(Utc.moment(Utc.civil(moment).unwrap()), Some(moment));
        }
    }

    #[test]
    fn a_time_alone_is_today_or_tomorrow() {
        let now = at("2026-12-31 12:00:00Z");
        let next = |text: &str| ReloadTime::parse(text).unwrap().next(now, &East).unwrap();
        assert_eq!(next("13:00:00Z"), now + 3600);
        assert_eq!(next("12:00:00Z"), now + DAY, "now is over");
        assert_eq!(next("13:00:00"), now + 23 * 3600, "an hour ago in this zone");
        assert_eq!(next("15:00:00"), now + 3600);
        assert!(ReloadTime::parse("15:00:00").unwrap().is_daily());
    }

    #[test]
    fn a_date_that_has_passed_is_never() {
        let time = ReloadTime::parse("26-11-21 10:00:00").unwrap();
        let moment = at("2026-11-21 08:00:00Z");
        assert_eq!(time.next(moment - 1, &East), Some(moment));
        assert_eq!(time.next(moment, &East), None);
        assert!(!time.is_daily());
    }

    #[test]
    fn other_formats_are_refused() {
        let wrong = [
            "",
            " 10:00:00",
            "10:00",
            "10:00:00 ",
            "1:00:00",
            "24:00:00",
            "10:60:00",
            "26-11-21  10:00:00",
            "26-13-01 10:00:00",
            "26-02-29 10:00:00",
            "026-11-21 10:00:00",
            "10:00:00z",
            "26-11-21",
            "+1:00:00",
        ];
        for text in wrong {
            assert_eq!(ReloadTime::parse(text), None, "{text:?}");
        }
        assert!(ReloadTime::parse("10:00:00\nmore").is_some(), "the first line only");
    }
}
