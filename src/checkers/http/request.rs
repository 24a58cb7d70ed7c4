//! The request of an HTTP_GET or SSL_GET, as keepalived writes it.
//!
//! Pure.

use super::super::config::{HttpVersion, UrlConfig};
use crate::ipvs::types::SocketKey;

/// The bytes of the request. Headers of the configuration replace ours of the same name.
pub fn write(version: HttpVersion, url: &UrlConfig, address: SocketKey) -> Vec<u8> {
    let method = url.method.as_deref().unwrap_or("GET");
    let (number, close) = match version {
        HttpVersion::V10 => ("1.0", false),
        HttpVersion::V10Close => ("1.0", true),
        HttpVersion::V11 => ("1.1", true),
    };
    let mut request = format!("{method} {} HTTP/{number}\r\n", url.path);
    let mut ours = vec![("User-Agent", "KeepAliveClient".to_owned())];
    if close {
        ours.push(("Connection", "close".to_owned()));
    }
    ours.push(("Host", url.virtualhost.clone().unwrap_or_else(|| address.to_string())));
    if let Some(body) = &url.body {
        ours.push(("Content-Length", body.len().to_string()));
    }
    let replaced = |name: &str| url.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    let ours = ours.iter().filter(|(name, _)| !replaced(name)).map(|(name, value)| (*name, value.as_str()));
    let theirs = url.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in ours.chain(theirs) {
        request.push_str(name);
        request.push_str(": ");
        request.push_str(value);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request.push_str(url.body.as_deref().unwrap_or_default());
    request.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(version: HttpVersion, url: &UrlConfig) -> String {
        let bytes = write(version, url, SocketKey::new([192, 0, 2, 7].into(), 8080));
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn requests_of_keepalived() {
        let url = UrlConfig::new("/health?a=1");
        let table = [
            (HttpVersion::V10, "1.0", ""),
            (HttpVersion::V10Close, "1.0", "Connection: close\r\n"),
            (HttpVersion::V11, "1.1", "Connection: close\r\n"),
        ];
        for (version, number, close) in table {
            let expected = format!(
                "GET /health?a=1 HTTP/{number}\r\nUser-Agent: KeepAliveClient\r\n{close}Host: 192.0.2.7:8080\r\n\r\n"
            );
            assert_eq!(written(version, &url), expected);
        }
        let named = UrlConfig { virtualhost: Some("www.example.org".to_owned()), ..url.clone() };
        assert!(written(HttpVersion::V10, &named).ends_with("\r\nHost: www.example.org\r\n\r\n"));
        let bytes = write(HttpVersion::V10, &url, SocketKey::new([0xfd_u16, 0, 0, 0, 0, 0, 0, 1].into(), 80));
        assert!(String::from_utf8_lossy(&bytes).contains("\r\nHost: [fd::1]:80\r\n"));
    }

    #[test]
    fn method_headers_and_body_of_the_configuration() {
        let url = UrlConfig {
            method: Some("POST".to_owned()),
            headers: vec![("user-agent".to_owned(), "probe".to_owned()), ("X-A".to_owned(), "b".to_owned())],
            body: Some("{}".to_owned()),
            ..UrlConfig::new("/")
        };
        let expected = "POST / HTTP/1.0\r\nHost: 192.0.2.7:8080\r\nContent-Length: 2\r\n\
                        user-agent: probe\r\nX-A: b\r\n\r\n{}";
        assert_eq!(written(HttpVersion::V10, &url), expected);
    }
}
