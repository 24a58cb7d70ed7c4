//! `genhash` (`keepalived -T`, `holdfast genhash`): the digest of a page, as `digest` in a `url` block wants it.
//!
//! Shell: fetches the page with the probe of HTTP_GET and SSL_GET, so that both see the same.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::config::{HttpProbe, HttpVersion, Sni, Target, TlsConfig, UrlConfig};
use super::http::expect::hex;
use super::http::response::{Response, Wanted};
use super::probe::{http, kit};
use crate::ipvs::config::SslConfig;
use crate::ipvs::types::SocketKey;

/// Options of `genhash`, which are keepalived's.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct GenhashArgs {
    /// Address of the server
    #[arg(short = 's', long = "server", value_name = "ADDRESS")]
    pub server: IpAddr,
    /// Port of the server
    #[arg(short = 'p', long = "port")]
    pub port: u16,
    /// Path of the page
    #[arg(short = 'u', long = "url", value_name = "PATH")]
    pub url: String,
    /// Speak TLS
    #[arg(short = 'S', long = "use-ssl")]
    pub tls: bool,
    /// Send the virtual host's name in the TLS handshake
    #[arg(short = 'I', long = "use-sni")]
    pub sni: bool,
    /// Virtual host to ask for
    #[arg(short = 'V', long = "use-virtualhost", value_name = "NAME")]
    pub virtualhost: Option<String>,
    /// Firewall mark of the packets
    #[arg(short = 'm', long = "fwmark", value_name = "MARK", default_value_t = 0)]
    pub fwmark: u32,
    /// HTTP version: 1.0, 1.0c (with `Connection: close`) or 1.1
    #[arg(short = 'P', long = "protocol", value_name = "VERSION", default_value = "1.0", value_parser = version)]
    pub version: HttpVersion,
    /// Seconds that each step may take
    #[arg(short = 't', long = "timeout", value_name = "SECONDS", default_value_t = 5)]
    pub timeout: u64,
    /// Show status and headers too
    #[arg(short = 'v', long = "verbose")]
    pub verbose: bool,
}

fn version(text: &str) -> Result<HttpVersion, String> {
    match text {
        "1.0" => Ok(HttpVersion::V10),
        "1.0c" | "1.0C" => Ok(HttpVersion::V10Close),
        "1.1" => Ok(HttpVersion::V11),
        _ => Err("expected 1.0, 1.0c or 1.1".to_owned()),
    }
}

/// Fetches the page; the text to print.
///
/// # Errors
/// There is no answer, or it is not HTTP.
pub fn run(args: &GenhashArgs) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(fetch(args))?;
    if !(200..300).contains(&answer.status) {
        eprintln!("the server answered with status {}: this is the digest of its error page", answer.status);
    }
    Ok(render(args, &answer))
}

async fn fetch(args: &GenhashArgs) -> anyhow::Result<Response> {
    let timeout = Duration::from_secs(args.timeout.max(1));
    let target = Target { fwmark: args.fwmark, ..Target::new(SocketKey::new(args.server, args.port), timeout) };
    let tls =
        args.tls.then(|| Box::new(TlsConfig { sni: args.sni.then_some(Sni::VirtualHost), ..TlsConfig::default() }));
    let url =
        UrlConfig { virtualhost: args.virtualhost.clone(), status: vec![(100, 999)], ..UrlConfig::new(&args.url) };
    let wanted = Wanted { digest: true, by_length: args.version == HttpVersion::V11, ..Wanted::default() };
    let probe = HttpProbe { target, version: args.version, tls, fast_recovery: false, urls: Arc::default() };
    let tools = kit::Kit::new(SslConfig::default()).tools(&probe, None)?;
    Ok(http::fetch(&probe, &url, &tools, wanted).await?)
}

fn render(args: &GenhashArgs, answer: &Response) -> String {
    let mut text = String::new();
    if args.verbose {
        // Writing to a string does not fail.
        let _ = writeln!(text, "status {}", answer.status);
        for (name, value) in &answer.headers {
            let _ = writeln!(text, "{}: {}", name.escape_debug(), value.escape_debug());
        }
        let _ = writeln!(text, "{} bytes", answer.length);
    }
    let _ = writeln!(text, "{}", hex(&answer.digest.unwrap_or_default()));
    text
}
