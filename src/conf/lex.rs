//! One line of text → words and braces; one word → a number, an interval, an address.
//!
//! Pure. Quoting is keepalived's: `"a b"` is one word, a quote inside a word begins a new one, `\#` and `\!` are the
//! plain characters and every other backslash stays. Single quotes mean nothing here; script lines read theirs again.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Range;

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::char;
use nom::combinator::{map, recognize, rest, value};
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser};

/// A word or a brace, without its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token<'a> {
    /// `{`.
    Open,
    /// `}`.
    Close,
    /// A word, quotes and escapes resolved.
    Word(Cow<'a, str>),
    /// `"` without its partner, and the rest of the line.
    Unmatched(&'a str),
}

/// The tokens of one line that has no comment any more, each with its bytes.
pub fn tokens(line: &str) -> Tokens<'_> {
    Tokens { line, rest: line }
}

/// See [`tokens`].
#[derive(Debug, Clone)]
pub struct Tokens<'a> {
    line: &'a str,
    rest: &'a str,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = (Token<'a>, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let input = after_blanks(self.rest);
        if input.is_empty() {
            return None;
        }
        let start = self.line.len() - input.len();
        // Nearly all tokens are plain words and braces: they are taken at one look, and the parser never sees them.
        let plain = first_word(input).len();
        let after = input.as_bytes().get(plain).copied();
        let quick = match after {
            _ if plain > 0 && !matches!(after, Some(b'\\' | b'$')) => {
                input.split_at_checked(plain).map(|(word, rest)| (rest, Token::Word(Cow::Borrowed(word))))
            }
            Some(b'{') if plain == 0 => Some((input.get(1..).unwrap_or_default(), Token::Open)),
            Some(b'}') if plain == 0 => Some((input.get(1..).unwrap_or_default(), Token::Close)),
            _ => None,
        };
        if let Some((rest, token)) = quick {
            self.rest = rest;
            return Some((token, start..self.line.len() - rest.len()));
        }
        // Every first character has a branch.
        let (rest, token) = token(input).ok()?;
        self.rest = rest;
        Some((token, start..self.line.len() - rest.len()))
    }
}

fn token(input: &str) -> IResult<&str, Token<'_>> {
    alt((
        map(bare_word, Token::Word),
        value(Token::Open, char('{')),
        value(Token::Close, char('}')),
        map(delimited(char('"'), take_while(|c| c != '"'), char('"')), |text| Token::Word(Cow::Borrowed(text))),
        map(preceded(char('"'), rest), Token::Unmatched),
    ))
    .parse(input)
}

/// Most words are one plain piece and are not copied.
fn bare_word(input: &str) -> IResult<&str, Cow<'_, str>> {
    let plain = take_while1(|c: char| !is_blank(c) && !matches!(c, '"' | '{' | '}' | '\\' | '$'));
    let escaped = preceded(char('\\'), alt((tag("#"), tag("!"))));
    // An undefined `${NAME}` has been reported already; its braces are not blocks.
    let unknown =
        recognize((tag("${"), take_while(|c: char| !is_blank(c) && !matches!(c, '"' | '{' | '}')), char('}')));
    let mut piece = alt((plain, escaped, unknown, tag("\\"), tag("$")));
    let (mut input, first) = piece.parse(input)?;
    let mut word = Cow::Borrowed(first);
    while let Ok((rest, next)) = piece.parse(input) {
        word.to_mut().push_str(next);
        input = rest;
    }
    Ok((input, word))
}

/// What a byte is to a line. All that are not plain are ASCII, so that a line may be cut before and after them.
static CLASSES: [u8; 256] = {
    let mut classes = [PLAIN; 256];
    let mut byte = 0;
    while byte < 128 {
        classes[byte as usize] = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0xb | 0xc => BLANK,
            b'"' | b'{' | b'}' | b'\\' => SPECIAL,
            b'$' => SPECIAL | EXPANDS,
            b'~' | b'@' | 0 => EXPANDS,
            b'#' | b'!' => COMMENT,
            _ => PLAIN,
        };
        byte += 1;
    }
    classes
};

/// Part of a word, whatever stands around it.
const PLAIN: u8 = 0;
/// Separates words.
const BLANK: u8 = 1;
/// Has a meaning of its own within a block.
pub const SPECIAL: u8 = 2;
/// A line with it may have to be expanded, or is dropped.
pub const EXPANDS: u8 = 4;
/// May begin a comment.
pub const COMMENT: u8 = 8;

/// There is one for every byte.
#[inline]
fn class(byte: u8) -> u8 {
    CLASSES[usize::from(byte)]
}

/// The classes of all bytes of a line.
pub fn classes(line: &str) -> u8 {
    line.bytes().fold(PLAIN, |seen, byte| seen | class(byte))
}

/// Where the first line of a text ends, and the classes of its bytes.
pub fn line_end(text: &str) -> (usize, u8) {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const LINE_ENDS: u64 = u64::from_ne_bytes([b'\n'; 8]);
    let mut classes = PLAIN;
    let mut end = 0;
    // Eight at a time while none of them ends the line: a difference of 0 is the only one from which 1 is borrowed so.
    for eight in text.as_bytes().as_chunks().0 {
        let difference = u64::from_ne_bytes(*eight) ^ LINE_ENDS;
        if difference.wrapping_sub(ONES) & !difference & (ONES << 7) != 0 {
            break;
        }
        classes = eight.iter().fold(classes, |classes, byte| classes | class(*byte));
        end += eight.len();
    }
    for byte in text.as_bytes().iter().skip(end) {
        if *byte == b'\n' {
            break;
        }
        classes |= class(*byte);
        end += 1;
    }
    (end, classes)
}

/// Without the blanks at the beginning.
#[inline]
pub fn after_blanks(line: &str) -> &str {
    let mut blanks = 0;
    while line.as_bytes().get(blanks).is_some_and(|byte| class(*byte) == BLANK) {
        blanks += 1;
    }
    line.get(blanks..).unwrap_or_default()
}

/// A line up to its first blank, brace, quote, backslash or `$`.
#[inline]
pub fn first_word(line: &str) -> &str {
    let mut end = 0;
    while line.as_bytes().get(end).is_some_and(|byte| class(*byte) & (BLANK | SPECIAL) == 0) {
        end += 1;
    }
    line.get(..end).unwrap_or_default()
}

/// Without the blanks at the end.
#[inline]
pub fn before_blanks(line: &str) -> &str {
    let mut end = line.len();
    while end > 0 && line.as_bytes().get(end - 1).is_some_and(|byte| class(*byte) == BLANK) {
        end -= 1;
    }
    line.get(..end).unwrap_or_default()
}

/// What separates words.
pub fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

/// Where the comment of a line begins: an unquoted, unescaped `#` or `!`, even glued to a word.
pub fn comment_start(line: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'#' | b'!' if !quoted && !escaped => return Some(at),
            _ => {}
        }
        escaped = byte == b'\\' && !escaped;
    }
    None
}

/// A whole number in base ten.
pub fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// A whole number with C's prefixes: `0x1f`, `017`, `9`.
pub fn c_integer(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        i64::from_str_radix(hex, 16).ok()?
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8).ok()?
    } else {
        integer(digits)?
    };
    Some(sign * value)
}

/// Decimal seconds as microseconds; a seventh decimal is nothing.
pub fn microseconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let micros =
        fraction.bytes().chain(*b"000000").take(6).fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    whole.checked_mul(1_000_000)?.checked_add(micros)
}

/// keepalived's booleans.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "on" | "true" | "yes" => Some(true),
        "off" | "false" | "no" => Some(false),
        _ => None,
    }
}

/// `ADDR[/LEN]`.
pub fn address(text: &str) -> Option<(IpAddr, Option<u8>)> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|l| *l <= longest)?)
        }
        Some(_) => return None,
    };
    Some((address, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        tokens(line)
            .map(|(token, _)| match token {
                Token::Open => "{".to_owned(),
                Token::Close => "}".to_owned(),
                Token::Word(word) => word.into_owned(),
                Token::Unmatched(text) => format!("<{text}>"),
            })
            .collect()
    }

    #[test]
    fn lines_fall_into_words_and_braces() {
        let table: &[(&str, &[&str])] = &[
            ("vrrp_instance V { interface eth0 }", &["vrrp_instance", "V", "{", "interface", "eth0", "}"]),
            ("authentication{", &["authentication", "{"]),
            ("a\t\u{b}b\u{c}c", &["a", "b", "c"]),
            (r#"script "a b # {x}" root"#, &["script", "a b # {x}", "root"]),
            (r#"ab"c d"e"#, &["ab", "c d", "e"]),
            (r#"x """#, &["x", ""]),
            (r"p\#x\!y\z", &["p#x!y\\z"]),
            (r#"script "/bin/x"#, &["script", "</bin/x>"]),
            ("use ${UNDEF}.5 x", &["use", "${UNDEF}.5", "x"]),
            ("${{}", &["$", "{", "{", "}"]),
            ("", &[]),
        ];
        for (line, expected) in table {
            assert_eq!(words(line), *expected, "{line}");
        }
    }

    #[test]
    fn comments_begin_outside_quotes_even_inside_words() {
        assert_eq!(comment_start("weight 1!x"), Some(8));
        assert_eq!(comment_start(r#"script "a # b" # c"#), Some(15));
        assert_eq!(comment_start(r"a\#b\!c"), None);
        assert_eq!(comment_start("# all"), Some(0));
    }

    #[test]
    fn numbers() {
        assert_eq!(integer("-253"), Some(-253));
        assert_eq!(integer("12x"), None);
        assert_eq!(integer(""), None);
        assert_eq!(integer("99999999999999999999"), None);
        assert_eq!(c_integer("0x1f"), Some(31));
        assert_eq!(c_integer("0177"), Some(127));
        assert_eq!(c_integer("--1"), None);
        assert_eq!(microseconds("1.5"), Some(1_500_000));
        assert_eq!(microseconds(".01"), Some(10_000));
        assert_eq!(microseconds("3"), Some(3_000_000));
        for wrong in ["", ".", "-1", "1s", "1.5.2", "1e3"] {
            assert_eq!(microseconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(address("10.0.0.1/24"), Some(("10.0.0.1".parse().expect("literal"), Some(24))));
        assert_eq!(address("fe80::1"), Some(("fe80::1".parse().expect("literal"), None)));
        for wrong in ["10.0.0.1/33", "10.0.0/24", "::1/129", "10.0.0.1/", "10.0.0.1/+8", "x.x.x.x"] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_line_ends_at_its_first_line_end_whatever_stands_before() {
        for odd in ["", "a", "{", "#", "$", "\t", "\u{b}", "\r", "é", "Ċ", "\u{8a}"] {
            for (before, after) in (0..20).flat_map(|before| [0, 1, 7, 8, 15].map(|after| (before, after))) {
                let line = format!("{}{odd}{}", "x".repeat(before), "x".repeat(after));
                let expected = (line.len(), classes(&line));
                assert_eq!(line_end(&line), expected, "{line:?}");
                assert_eq!(line_end(&format!("{line}\n~{{\n")), expected, "{line:?}");
            }
        }
    }
}
