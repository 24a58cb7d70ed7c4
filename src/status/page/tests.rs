use super::answer::{Asked, HEADERS, Refusal, What, answer};
use super::*;

#[test]
fn the_line_of_the_configuration() {
    let parse = |line: &str| PageConfig::parse(&line.split_whitespace().collect::<Vec<_>>()).map_err(|e| e.to_string());
    let tcp = |address: &str, token: Option<&str>| PageConfig {
        listen: Listen::Tcp(address.parse().unwrap()),
        token_file: token.map(Into::into),
    };
    assert_eq!(parse("127.0.0.1:8410"), Ok(tcp("127.0.0.1:8410", None)));
    assert_eq!(parse("[::1]:80"), Ok(tcp("[::1]:80", None)));
    assert_eq!(parse("0.0.0.0:80 token_file /t"), Ok(tcp("0.0.0.0:80", Some("/t"))));
    assert_eq!(parse("unix:/run/p"), Ok(PageConfig { listen: Listen::Unix("/run/p".into()), token_file: None }));
    for (line, words) in [
        ("0.0.0.0:80", "is required"),
        ("[::]:80", "is required"),
        ("192.0.2.1:80", "is required"),
        ("8410", "neither"),
        ("localhost:80", "neither"),
        ("unix:run/p", "absolute"),
        ("127.0.0.1:80 token /t", "token_file PATH"),
        ("127.0.0.1:80 token_file", "token_file PATH"),
        ("127.0.0.1:80 token_file t", "absolute"),
    ] {
        assert!(parse(line).is_err_and(|error| error.contains(words)), "{line}");
    }
    assert!(PageConfig::parse(&[]).is_err());
}

fn ask(method: &str, path: &str, host: &str, shown: Option<&str>, token: Option<&str>) -> Result<What, Refusal> {
    let asked = Asked { method, path, host: Some(host), authorization: shown };
    answer(asked, token, token.is_none(), |a, b| a == b)
}

#[test]
fn who_gets_what() {
    let here = "127.0.0.1:8410";
    assert_eq!(ask("GET", "/status.json", here, None, None), Ok(What::Status));
    assert_eq!(ask("HEAD", "/metrics", here, None, None), Ok(What::Metrics));
    assert!(matches!(ask("GET", "/", here, None, None), Ok(What::Asset("text/html; charset=utf-8", _))));
    assert_eq!(ask("GET", "/x", here, None, None), Err(Refusal::NotFound));
    assert_eq!(ask("POST", "/status.json", here, None, None), Err(Refusal::Method));
    // Without a token a page of somebody else must not make a browser on this machine read ours (DNS rebinding).
    for (host, fits) in [
        ("localhost", true),
        ("LocalHost:80", true),
        ("[::1]:80", true),
        ("127.0.0.1", true),
        ("evil.example:8410", false),
        ("localhost.evil.example", false),
        ("", false),
    ] {
        assert_eq!(ask("GET", "/", host, None, None).is_ok(), fits, "{host}");
    }
    let token = Some("correct horse battery");
    for (shown, fits) in [
        (None, false),
        (Some("Bearer wrong"), false),
        (Some("Basic correct horse battery"), false),
        (Some("Bearer correct horse battery"), true),
    ] {
        for path in ["/status.json", "/events.json", "/metrics"] {
            let want = if fits { None } else { Some(Refusal::Token) };
            assert_eq!(ask("GET", path, "any.example", shown, token).err(), want, "{shown:?}");
        }
        assert!(ask("GET", "/script.js", "any.example", shown, token).is_ok(), "it asks for the token");
    }
}

/// The page loads nothing from elsewhere, and its script makes no markup out of data.
#[test]
fn the_files_of_the_page() {
    let (html, css, js) = (include_str!("page.html"), include_str!("style.css"), include_str!("script.js"));
    for (name, text) in [("page.html", html), ("style.css", css), ("script.js", js)] {
        for word in ["http:", "https:", "url(", "@import", "innerHTML", "outerHTML", "insertAdjacent", "document.write"]
        {
            assert!(!text.contains(word), "{name} has {word}");
        }
    }
    for word in ["style=", "onclick", "onload", "<style", "javascript:"] {
        assert!(!html.contains(word), "the policy forbids {word}");
    }
    assert!(!js.contains("eval(") && !js.contains("new Function"));
    let policy = HEADERS.iter().find(|(name, _)| *name == "content-security-policy").map(|(_, value)| *value);
    assert!(policy.is_some_and(|policy| policy.starts_with("default-src 'none'") && !policy.contains("unsafe")));
}
