//! Typed configuration of the checkers, with what they inherit from `real_server` and `virtual_server` filled in.
//!
//! Pure. Two checkers that are equal ask the same of the same target: one of them is run.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::ipvs::types::SocketKey;

/// One checker of one real server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CheckerConfig {
    /// When it runs and what counts.
    pub schedule: Schedule,
    /// Failed until its first success (`alpha`).
    pub alpha: bool,
    /// Log every failed probe (`log_all_failures`).
    pub log_all_failures: bool,
    /// What it asks.
    pub probe: Probe,
}

/// When a checker runs and how many answers make a status.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Schedule {
    /// Time between two probes (`delay_loop`).
    pub delay_loop: Duration,
    /// Failed probes that are tried again before it is down (`retry`).
    pub retry: u32,
    /// Time between these (`delay_before_retry`).
    pub delay_before_retry: Duration,
    /// The first probe comes at a random time within this (`warmup`).
    pub warmup: Duration,
    /// Successes in a row that bring it up (`rise`, ours; keepalived: 1).
    pub rise: u32,
    /// A success that took longer than this is a failure (`max_latency`, ours); `None` is no limit.
    pub max_latency: Option<Duration>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Probe {
    /// `TCP_CHECK`.
    Tcp(Target),
    /// `HTTP_GET` and `SSL_GET`.
    Http(Box<HttpProbe>),
    /// `SMTP_CHECK`.
    Smtp(SmtpProbe),
    /// `DNS_CHECK`.
    Dns(Box<DnsProbe>),
    /// `UDP_CHECK`.
    Udp(Box<UdpProbe>),
    /// `PING_CHECK`; the port is not used.
    Ping(Target),
    /// `MISC_CHECK`.
    Misc(Box<MiscProbe>),
    /// `FILE_CHECK`: a file that main watches, by the name of its `track_file`.
    File(FileProbe),
    /// `BFD_CHECK`: the name of a `bfd_instance`.
    Bfd(String),
}

/// Where a probe goes and from where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// `connect_ip` and `connect_port`, else those of the real server.
    pub address: SocketKey,
    /// Source address (`bindto`).
    pub bind_to: Option<IpAddr>,
    /// Source port (`bind_port`).
    pub bind_port: Option<u16>,
    /// Interface (`bind_if`).
    pub bind_interface: Option<String>,
    /// Limit of one probe (`connect_timeout`).
    pub connect_timeout: Duration,
    /// Mark of its packets (`fwmark`); 0 is none.
    pub fwmark: u32,
}

impl Target {
    /// This address, from wherever the kernel likes.
    pub fn new(address: SocketKey, connect_timeout: Duration) -> Self {
        Self { address, bind_to: None, bind_port: None, bind_interface: None, connect_timeout, fwmark: 0 }
    }
}

/// `HTTP_GET`, `SSL_GET`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HttpProbe {
    /// Where.
    pub target: Target,
    /// Request version (`http_protocol`).
    pub version: HttpVersion,
    /// TLS (`SSL_GET`).
    pub tls: Option<Box<TlsConfig>>,
    /// One good cycle over all pages brings it up (`fast_recovery`).
    pub fast_recovery: bool,
    /// The pages, at least one, one a probe. Checkers that ask for the same ones share them: see [`Pages`].
    #[serde(with = "list")]
    pub urls: Arc<[UrlConfig]>,
}

/// A shared list travels as a plain one.
mod list {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer, T: Serialize>(list: &Arc<[T]>, to: S) -> Result<S::Ok, S::Error> {
        list[..].serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Arc<[T]>, D::Error> {
        Vec::deserialize(from).map(Arc::from)
    }
}

/// `http_protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum HttpVersion {
    /// `1.0`.
    #[default]
    V10,
    /// `1.0C`: with `Connection: close`.
    V10Close,
    /// `1.1`, with `Connection: close`.
    V11,
}

/// TLS of `SSL_GET`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct TlsConfig {
    /// Send a server name (`enable_sni`): this one (`sni_name`), else the virtual host.
    pub sni: Option<Sni>,
    /// Close as the standard says (`tls_compliant`).
    pub compliant_close: bool,
    /// Refuse a certificate that the system (or `tls_ca`) does not vouch for (`tls_verify`, ours).
    pub verify: bool,
    /// CA file for it (`tls_ca`, ours).
    pub ca: Option<PathBuf>,
}

/// The server name that is sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Sni {
    /// The name of the virtual host of each page.
    VirtualHost,
    /// `sni_name`.
    Name(String),
}

/// One `url` block.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UrlConfig {
    /// Request path with its query (`path`).
    pub path: String,
    /// Host header (`virtualhost`, of the page, the checker, the real or the virtual server); `None` is the address.
    pub virtualhost: Option<String>,
    /// MD5 of the body (`digest`).
    pub digest: Option<[u8; 16]>,
    /// Accepted statuses, both ends included (`status_code`); never empty.
    pub status: Vec<(u16, u16)>,
    /// `regex` and its companions.
    pub regex: Option<Box<RegexConfig>>,
    /// Request method (`method`, ours); `None` is GET.
    pub method: Option<String>,
    /// More request headers (`header NAME VALUE`, ours).
    pub headers: Vec<(String, String)>,
    /// Request body (`body`, ours).
    pub body: Option<String>,
    /// A header that the answer must have, with this value if one is given (`expect_header NAME [VALUE]`, ours).
    pub expect_headers: Vec<(String, Option<String>)>,
    /// Text that the body must contain (`expect_body`, ours).
    pub expect_body: Option<String>,
    /// A path into a JSON body and the value it must have (`expect_json PATH VALUE`, ours).
    pub expect_json: Vec<(String, String)>,
    /// `tls_compliant` of this page.
    pub compliant_close: Option<bool>,
}

impl UrlConfig {
    /// A page by its path, with every other setting as it is by default.
    pub fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            virtualhost: None,
            digest: None,
            status: vec![(200, 299)],
            regex: None,
            method: None,
            headers: Vec::new(),
            body: None,
            expect_headers: Vec::new(),
            expect_body: None,
            expect_json: Vec::new(),
            compliant_close: None,
        }
    }
}

/// Lists of pages, each kept once: real servers by the thousand are asked for the same ones, and that is most of what
/// their checkers would take in memory.
#[derive(Debug, Default)]
pub struct Pages(BTreeSet<Arc<[UrlConfig]>>);

impl Pages {
    /// Has a checker share its pages with those that were here before it.
    pub fn share(&mut self, checker: &mut CheckerConfig) {
        let Probe::Http(probe) = &mut checker.probe else { return };
        match self.0.get(&probe.urls) {
            Some(known) => probe.urls = Arc::clone(known),
            None => _ = self.0.insert(Arc::clone(&probe.urls)),
        }
    }
}

/// `regex`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RegexConfig {
    /// The pattern (PCRE2).
    pub pattern: String,
    /// A match is a failure (`regex_no_match`).
    pub no_match: bool,
    /// PCRE2 compile options by keepalived's names (`regex_options`).
    pub options: Vec<String>,
    /// The match starts at this byte of the body or later (`regex_min_offset`).
    pub min_offset: Option<u64>,
    /// The match starts at this byte or before (`regex_max_offset`).
    pub max_offset: Option<u64>,
    /// JIT stack, first and largest size in bytes (`regex_stack`).
    pub stack: Option<(u64, u64)>,
}

/// `SMTP_CHECK`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SmtpProbe {
    /// The hosts, at least one; all must answer well.
    pub targets: Vec<Target>,
    /// `helo_name`.
    pub helo_name: String,
}

/// `DNS_CHECK`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DnsProbe {
    /// Where.
    pub target: Target,
    /// Record type by name: `SOA`, `A`, … or `TYPE257` (`type`).
    pub record_type: String,
    /// The name asked for (`name`); `.` is the root.
    pub name: String,
}

/// `UDP_CHECK`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UdpProbe {
    /// Where.
    pub target: Target,
    /// What is sent (`payload`); `None` is a built-in text.
    pub payload: Option<Vec<u8>>,
    /// No reply is a failure (`require_reply`, or one of the lengths).
    pub require_reply: bool,
    /// The reply begins with these bytes, under this mask (`require_reply HEX`, `X` is any half byte).
    pub reply: Vec<(u8, u8)>,
    /// Least length of the reply (`min_reply_length`).
    pub min_reply_length: u16,
    /// Largest length of the reply (`max_reply_length`).
    pub max_reply_length: u16,
}

/// `MISC_CHECK`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MiscProbe {
    /// What main runs (`misc_path`, `user`).
    pub command: Command,
    /// It is ended after this (`misc_timeout`).
    pub timeout: Duration,
    /// Its exit code is a weight (`misc_dynamic`).
    pub dynamic: bool,
    /// The configured weight of the real server, which an exit code of 2 and more replaces (`misc_dynamic`).
    pub real_weight: u32,
}

/// `FILE_CHECK`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileProbe {
    /// The name of a `track_file` at the root.
    pub file: String,
    /// Multiplies the file's number (`weight`).
    pub weight: i32,
    /// The sign turned (`reverse`).
    pub reverse: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_pages_are_kept_once() {
        let checker = |host: u8, path: &str| {
            let target = Target::new(SocketKey::new([192, 0, 2, host].into(), 80), Duration::from_secs(5));
            let urls = vec![UrlConfig::new(path)].into();
            let probe = HttpProbe { target, version: HttpVersion::V10, tls: None, fast_recovery: false, urls };
            let schedule = Schedule {
                delay_loop: Duration::from_secs(6),
                retry: 1,
                delay_before_retry: Duration::from_secs(1),
                warmup: Duration::ZERO,
                rise: 1,
                max_latency: None,
            };
            CheckerConfig { schedule, alpha: false, log_all_failures: false, probe: Probe::Http(Box::new(probe)) }
        };
        let mut pages = Pages::default();
        let shared = |pages: &mut Pages, host, path| {
            let mut config = checker(host, path);
            pages.share(&mut config);
            assert_eq!(config, checker(host, path), "nothing else changes");
            let Probe::Http(probe) = config.probe else { unreachable!("it was one") };
            probe.urls
        };
        let (one, two) = (shared(&mut pages, 1, "/"), shared(&mut pages, 2, "/"));
        assert!(Arc::ptr_eq(&one, &two));
        assert!(!Arc::ptr_eq(&one, &shared(&mut pages, 3, "/other")));
    }
}
