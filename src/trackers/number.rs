//! The number in a tracked file.
//!
//! Pure.

/// What a tracked file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// A number, and nothing else but white space. Nothing at all is 0.
    Clean(i32),
    /// A number with something after it, or something that is no number (then 0), or one that does not fit (then the
    /// nearest that does).
    Doubtful(i32),
}

impl Number {
    /// The number.
    pub fn value(self) -> i32 {
        match self {
            Self::Clean(value) | Self::Doubtful(value) => value,
        }
    }
}

/// Reads an integer as C's `strtol` with base 0 does: white space, a sign, then `0x` hexadecimal, `0` octal or decimal.
pub fn parse(bytes: &[u8]) -> Number {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if text.is_empty() {
        return Number::Clean(0);
    }
    let (radix, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => (16, hex),
        None if digits.starts_with('0') => (8, digits),
        None => (10, digits),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (number, rest) = digits.split_at(end);
    let magnitude = number
        .chars()
        .filter_map(|c| c.to_digit(radix))
        .fold(0_i64, |n, digit| n.saturating_mul(i64::from(radix)).saturating_add(i64::from(digit)));
    let value = if negative { -magnitude } else { magnitude };
    let fitted = i32::try_from(value).unwrap_or(if negative { i32::MIN } else { i32::MAX });
    if rest.is_empty() && !number.is_empty() && i64::from(fitted) == value {
        Number::Clean(fitted)
    } else {
        Number::Doubtful(fitted)
    }
}

#[cfg(test)]
mod tests {
    use super::Number::{Clean, Doubtful};
    use super::*;

    #[test]
    fn table() {
        for (text, want) in [
            ("", Clean(0)),
            (" \n", Clean(0)),
            ("0", Clean(0)),
            ("12\n", Clean(12)),
            ("-12", Clean(-12)),
            ("+7", Clean(7)),
            ("0x1F", Clean(31)),
            ("-0x10", Clean(-16)),
            ("010", Clean(8)),
            ("09", Doubtful(0)),
            ("12 apples", Doubtful(12)),
            ("apples", Doubtful(0)),
            ("-", Doubtful(0)),
            ("99999999999999999999", Doubtful(i32::MAX)),
            ("-2147483649", Doubtful(i32::MIN)),
            ("-2147483648", Clean(i32::MIN)),
            ("\u{661}", Doubtful(0)),
        ] {
            assert_eq!(parse(text.as_bytes()), want, "{text:?}");
        }
        assert_eq!(parse(&[0xff, 0xfe]), Doubtful(0));
    }
}
