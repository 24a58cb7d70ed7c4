//! `HTTP_GET` and `SSL_GET`: the request, its pages, and what their answers must have.
//!
//! Pure.

use std::path::PathBuf;

use super::checkers::Server;
use super::diagnostic::Reporter;
use super::lex;
use super::schema::{self, REGEX_OPTIONS};
use super::section::{Section, Value};
use super::tree::Word;
use crate::checkers::config::{HttpProbe, HttpVersion, RegexConfig, Sni, Target, TlsConfig, UrlConfig};
use crate::checkers::http::regex::Regex;

/// The probe of a block; `None`, reported, when it has no page.
pub fn probe(section: &Section<'_>, server: &Server<'_>, target: Target, reporter: &mut Reporter) -> Option<HttpProbe> {
    let name = section.block.name;
    let own = section.word("virtualhost").map(|word| word.text).or(server.virtualhost);
    let urls: Vec<UrlConfig> = section.sections("url").filter_map(|section| url(section, own, reporter)).collect();
    if urls.is_empty() {
        let message = format!("`{name}` has no `url` with a `path`: the check is left out");
        reporter.error(section.span, message).help("`url { path / }`");
        return None;
    }
    Some(HttpProbe {
        target,
        version: match section.word("http_protocol").map(|word| word.text) {
            Some("1.1") => HttpVersion::V11,
            Some("1.0C" | "1.0c") => HttpVersion::V10Close,
            _ => HttpVersion::V10,
        },
        tls: (section.block == &schema::SSL_GET).then(|| Box::new(tls(section))),
        fast_recovery: section.bool("fast_recovery").unwrap_or(false),
        urls: urls.into(),
    })
}

fn tls(section: &Section<'_>) -> TlsConfig {
    let name = section.word("sni_name").map(|word| Sni::Name(word.text.to_string()));
    TlsConfig {
        sni: section.bool("enable_sni").unwrap_or(false).then(|| name.unwrap_or(Sni::VirtualHost)),
        compliant_close: section.bool("tls_compliant").unwrap_or(false),
        verify: section.bool("tls_verify").unwrap_or(false),
        ca: section.word("tls_ca").map(|word| PathBuf::from(word.text)),
    }
}

fn url(section: &Section<'_>, virtualhost: Option<&str>, reporter: &mut Reporter) -> Option<UrlConfig> {
    let path = section.word("path");
    if path.is_none() {
        // Nothing comes of it, but its other problems are told too.
        reporter.error(section.span, "this `url` has no `path`: it is left out").help("`path /`");
    }
    let text = |keyword| section.word(keyword).map(|word| word.text.to_string());
    let mut method = None;
    if let Some(word) = section.word("method") {
        if is_token(word.text) {
            method = Some(word.text.to_string());
        } else {
            reporter.error(word.span, format!("`{}` is not a request method: GET is used", word.text));
        }
    }
    let headers = headers(section, reporter);
    let expect_headers = words(section, "expect_header").filter_map(|words| match words {
        [name] => Some((name.text.to_string(), None)),
        [name, value] => Some((name.text.to_string(), Some(value.text.to_string()))),
        _ => None,
    });
    let expect_json = words(section, "expect_json").filter_map(|words| match words {
        [path, value] => Some((path.text.to_string(), value.text.to_string())),
        _ => None,
    });
    let compliant = section.block.find("tls_compliant").and_then(|_| section.bool("tls_compliant"));
    Some(UrlConfig {
        path: path?.text.to_string(),
        virtualhost: text("virtualhost").or_else(|| virtualhost.map(str::to_owned)),
        digest: section.word("digest").and_then(|word| digest(word, reporter)),
        status: status(section, reporter),
        regex: regex(section, reporter).map(Box::new),
        method,
        headers,
        body: text("body"),
        expect_headers: expect_headers.collect(),
        expect_body: text("expect_body"),
        expect_json: expect_json.collect(),
        compliant_close: compliant,
    })
}

/// The `header NAME VALUE` lines.
pub fn headers(section: &Section<'_>, reporter: &mut Reporter) -> Vec<(String, String)> {
    let headers = words(section, "header").filter_map(|words| match words {
        [name, value] if is_header(name, value.text, reporter) => Some((name.text.to_string(), value.text.to_string())),
        _ => None,
    });
    headers.collect()
}

/// The words of each line of a keyword that may stand several times.
pub fn words<'s>(section: &'s Section<'_>, keyword: &'s str) -> impl Iterator<Item = &'s [Word<'s>]> {
    section.entries(keyword).filter_map(|entry| match entry.value {
        Value::Words(words) => Some(words),
        _ => None,
    })
}

/// RFC 9110 §5.6.2: what names of methods and headers are made of.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn is_header(name: &Word<'_>, value: &str, reporter: &mut Reporter) -> bool {
    let legal = is_token(name.text) && !value.chars().any(char::is_control);
    if !legal {
        let message = format!("`{}` cannot be a request header: the line is left out", name.text);
        reporter.error(name.span, message).help("`header NAME \"VALUE\"`, without a colon");
    }
    legal
}

fn digest(word: &Word<'_>, reporter: &mut Reporter) -> Option<[u8; 16]> {
    let mut digest = [0; 16];
    let legal = word.text.len() == 32
        && digest.iter_mut().zip(word.text.as_bytes().chunks_exact(2)).all(|(byte, pair)| {
            let value = std::str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'));
            let value = value.and_then(|pair| u8::from_str_radix(pair, 16).ok());
            *byte = value.unwrap_or_default();
            value.is_some()
        });
    if !legal {
        reporter
            .error(word.span, "`digest` takes 32 hexadecimal digits: the line is left out")
            .help("the MD5 of the page, as `curl -s URL | md5sum` prints it");
    }
    legal.then_some(digest)
}

/// `status_code N A-B …`; 200 to 299 when nothing is said.
pub fn status(section: &Section<'_>, reporter: &mut Reporter) -> Vec<(u16, u16)> {
    let mut ranges = Vec::new();
    for word in words(section, "status_code").flatten() {
        let (first, last) = word.text.split_once('-').unwrap_or((word.text, word.text));
        let code = |text: &str| lex::integer(text).and_then(|code| u16::try_from(code).ok());
        match (code(first), code(last)) {
            (Some(first), Some(last)) if first >= 100 && last <= 599 && first <= last => ranges.push((first, last)),
            _ => {
                let message =
                    format!("`{}` is not a status or a range of them from 100 to 599: it is ignored", word.text);
                reporter.error(word.span, message);
            }
        }
    }
    if ranges.is_empty() { vec![(200, 299)] } else { ranges }
}

fn regex(section: &Section<'_>, reporter: &mut Reporter) -> Option<RegexConfig> {
    let Some(pattern) = section.text("regex") else {
        let companions = ["regex_no_match", "regex_options", "regex_min_offset", "regex_max_offset", "regex_stack"];
        if !section.rejected.contains(&"regex")
            && let Some(entry) = companions.iter().find_map(|keyword| section.entry(keyword))
        {
            reporter.error(entry.span, format!("`{}` without `regex`: the line is left out", entry.keyword));
        }
        return None;
    };
    let mut options = Vec::new();
    for word in words(section, "regex_options").flatten() {
        if REGEX_OPTIONS.contains(&word.text) {
            options.push(word.text.to_string());
        } else {
            let report = reporter.error(word.span, format!("`{}` is not a regex option: it is ignored", word.text));
            if let Some(near) = schema::nearest(word.text, REGEX_OPTIONS.into_iter()) {
                report.help(format!("did you mean `{near}`?"));
            }
        }
    }
    let min_offset: Option<u64> = section.int("regex_min_offset");
    let max_offset: Option<u64> = section.int("regex_max_offset");
    if let (Some(min), Some(max), Some(entry)) = (min_offset, max_offset, section.entry("regex_max_offset"))
        && min > max
    {
        reporter.error(entry.span, format!("no match can start at {min} or after and {max} or before"));
    }
    let config = RegexConfig {
        pattern: pattern.to_owned(),
        no_match: section.flag("regex_no_match"),
        options,
        min_offset,
        max_offset,
        stack: stack(section, reporter),
    };
    // The checker compiles it again; what PCRE2 refuses is said here, where the place is known.
    if let Err(error) = Regex::new(&config) {
        let span = section.entry("regex").map_or(section.span, |entry| entry.span);
        reporter
            .error(span, format!("{error}: the line is left out"))
            .help("the page counts as good whatever it says; try the pattern with `pcre2test` or `grep -P`");
        return None;
    }
    Some(config)
}

fn stack(section: &Section<'_>, reporter: &mut Reporter) -> Option<(u64, u64)> {
    let words = section.words("regex_stack")?;
    let number = |index: usize| lex::integer(words.get(index)?.text).and_then(|size| u64::try_from(size).ok());
    match (number(0), number(1)) {
        (Some(first), Some(most)) if first > 0 && first <= most => Some((first, most)),
        _ => {
            let span = words.first().map_or(section.span, |word| word.span);
            reporter.error(span, "`regex_stack` takes the first and the largest size in bytes: the line is left out");
            None
        }
    }
}
