//! Judges an HTTP answer: status, digest, pattern, headers, text, JSON.
//!
//! Pure.

use serde_json::Value;

use super::super::config::UrlConfig;
use super::regex::Regex;
use super::response::{Response, Wanted};

/// What must be kept of the body to judge it.
pub fn wanted(url: &UrlConfig, by_length: bool) -> Wanted {
    Wanted {
        digest: url.digest.is_some(),
        text: url.regex.is_some() || url.expect_body.is_some() || !url.expect_json.is_empty(),
        head_only: url.method.as_deref() == Some("HEAD"),
        by_length,
    }
}

/// Whether the answer is as the configuration wants it; the error says what is not.
///
/// # Errors
/// The first expectation that is not met.
pub fn judge(url: &UrlConfig, regex: Option<&Regex>, answer: &Response) -> Result<(), String> {
    let status = answer.status;
    if !url.status.iter().any(|(first, last)| (*first..=*last).contains(&status)) {
        return Err(format!("status {status}"));
    }
    for (name, expected) in &url.expect_headers {
        judge_header(answer, name, expected.as_deref())?;
    }
    if let (Some(expected), Some(found)) = (url.digest, answer.digest)
        && expected != found
    {
        return Err(format!("digest {}", hex(&found)));
    }
    if let (Some(config), Some(regex)) = (&url.regex, regex) {
        let found = regex.is_match(&answer.text).map_err(|error| error.to_string())?;
        if found == config.no_match {
            let verb = if found { "matches" } else { "does not match" };
            return Err(format!("the body {verb} {}", config.pattern));
        }
    }
    if let Some(expected) = &url.expect_body
        && !contains(&answer.text, expected.as_bytes())
    {
        return Err(format!("the body does not contain {expected}"));
    }
    judge_json(url, &answer.text)
}

fn judge_header(answer: &Response, name: &str, expected: Option<&str>) -> Result<(), String> {
    let mut values =
        answer.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
    match (values.next(), expected) {
        (None, _) => Err(format!("no header {name}")),
        (Some(_), None) => Ok(()),
        (Some(first), Some(expected)) if first == expected || values.any(|value| value == expected) => Ok(()),
        (Some(first), Some(_)) => Err(format!("header {name} is {}", shortened(first))),
    }
}

fn judge_json(url: &UrlConfig, text: &[u8]) -> Result<(), String> {
    if url.expect_json.is_empty() {
        return Ok(());
    }
    let value: Value = serde_json::from_slice(text).map_err(|error| format!("the body is not JSON: {error}"))?;
    for (path, expected) in &url.expect_json {
        let found = look_up(&value, path).ok_or_else(|| format!("JSON has no {path}"))?;
        let found = match found {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if found != *expected {
            return Err(format!("JSON {path} is {}", shortened(&found)));
        }
    }
    Ok(())
}

/// `.status`, `checks[0].name`, `$.db.state`: keys with dots between them, and places in lists in brackets.
fn look_up<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let path = path.strip_prefix('$').unwrap_or(path);
    path.split('.').filter(|part| !part.is_empty()).try_fold(value, |value, part| {
        let (key, indices) = part.split_at(part.find('[').unwrap_or(part.len()));
        let value = if key.is_empty() { value } else { value.get(key)? };
        indices
            .split_terminator(']')
            .try_fold(value, |value, index| value.get(index.strip_prefix('[')?.parse::<usize>().ok()?))
    })
}

fn contains(text: &[u8], expected: &[u8]) -> bool {
    expected.is_empty() || text.windows(expected.len()).any(|window| window == expected)
}

/// What a server says is shown to people: not too much of it, and no control characters.
fn shortened(text: &str) -> String {
    let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() { format!("{shown}…") } else { shown }
}

/// As `digest` is written in the configuration.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::config::RegexConfig;

    fn answer(body: &str) -> Response {
        let text = |text: &str| text.to_owned();
        Response {
            status: 200,
            headers: vec![
                (text("x-state"), text("ready")),
                (text("set-cookie"), text("a")),
                (text("set-cookie"), text("b")),
            ],
            digest: Some([0xab; 16]),
            text: body.as_bytes().to_vec(),
            length: body.len() as u64,
        }
    }

    fn judged(url: &UrlConfig, body: &str) -> Result<(), String> {
        let regex = url.regex.as_ref().map(|config| Regex::new(config).expect("a pattern"));
        judge(url, regex.as_ref(), &answer(body))
    }

    #[test]
    fn status_ranges_include_their_ends() {
        for (first, last, good) in [(200, 299, true), (200, 200, true), (201, 299, false), (100, 199, false)] {
            let url = UrlConfig { status: vec![(500, 599), (first, last)], ..UrlConfig::new("/") };
            assert_eq!(judged(&url, "").is_ok(), good, "{first}-{last}");
        }
        let url = UrlConfig { status: vec![(500, 599)], ..UrlConfig::new("/") };
        assert_eq!(judged(&url, ""), Err("status 200".to_owned()));
    }

    #[test]
    fn digests() {
        assert_eq!(judged(&UrlConfig { digest: Some([0xab; 16]), ..UrlConfig::new("/") }, ""), Ok(()));
        let error =
            judged(&UrlConfig { digest: Some([0xaa; 16]), ..UrlConfig::new("/") }, "").expect_err("another digest");
        assert_eq!(error, "digest abababababababababababababababab");
    }

    #[test]
    fn patterns_and_their_opposite() {
        let regex = |no_match| {
            Some(Box::new(RegexConfig {
                pattern: "o+k".to_owned(),
                no_match,
                options: Vec::new(),
                min_offset: None,
                max_offset: None,
                stack: None,
            }))
        };
        let table = [(false, "ook", true), (false, "no", false), (true, "ook", false), (true, "no", true)];
        for (no_match, body, good) in table {
            assert_eq!(
                judged(&UrlConfig { regex: regex(no_match), ..UrlConfig::new("/") }, body).is_ok(),
                good,
                "{body}"
            );
        }
    }

    #[test]
    fn expected_headers() {
        let table = [
            ("X-State", None, true),
            ("x-state", Some("ready"), true),
            ("X-State", Some("Ready"), false),
            ("X-Stat", None, false),
            ("Set-Cookie", Some("b"), true),
            ("Set-Cookie", Some("c"), false),
        ];
        for (name, value, good) in table {
            let expect_headers = vec![(name.to_owned(), value.map(str::to_owned))];
            assert_eq!(
                judged(&UrlConfig { expect_headers, ..UrlConfig::new("/") }, "").is_ok(),
                good,
                "{name} {value:?}"
            );
        }
    }

    #[test]
    fn expected_text() {
        for (expected, good) in [("", true), ("ell", true), ("hello", true), ("hello!", false), ("Hell", false)] {
            let url = UrlConfig { expect_body: Some(expected.to_owned()), ..UrlConfig::new("/") };
            assert_eq!(judged(&url, "hello").is_ok(), good, "{expected}");
        }
    }

    #[test]
    fn json_paths() {
        let body =
            r#"{"status": "ok", "n": 3, "up": true, "none": null, "list": [{"a": [1, 2]}, "x"], "o": {"p.q": 1}}"#;
        let table = [
            (".status", "ok", true),
            ("status", "ok", true),
            ("$.status", "ok", true),
            (".status", "OK", false),
            (".n", "3", true),
            (".up", "true", true),
            (".none", "null", true),
            (".list[1]", "x", true),
            (".list[0].a[1]", "2", true),
            ("list[2]", "x", false),
            ("list[x]", "x", false),
            ("list[0", "x", false),
            (".o.p", "1", false),
            (".nothing", "", false),
        ];
        for (path, value, good) in table {
            let url = UrlConfig { expect_json: vec![(path.to_owned(), value.to_owned())], ..UrlConfig::new("/") };
            assert_eq!(judged(&url, body).is_ok(), good, "{path} {value}");
        }
        let url = UrlConfig { expect_json: vec![(".a".to_owned(), "1".to_owned())], ..UrlConfig::new("/") };
        assert!(judged(&url, "<html>").is_err());
        assert!(judged(&url, &"[".repeat(100_000)).is_err(), "deep nesting is an error, not a crash");
    }

    #[test]
    fn what_a_server_says_is_shown_with_care() {
        assert_eq!(shortened("a\u{1b}[31m\n"), "a\\u{1b}[31m\\n");
        assert_eq!(shortened(&"é".repeat(100)).chars().count(), 81);
    }
}
