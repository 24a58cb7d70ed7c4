//! The probes: each asks one question of one target, within bounded time and memory, and answers with a finding.
//!
//! Shell: sockets. What a server sent is judged by pure code beside them.

pub mod dns;
pub mod http;
pub mod kit;
pub mod misc;
pub mod ping;
pub mod smtp;
pub mod socket;
pub mod tcp;
pub mod tls;
pub mod udp;

use std::fmt;
use std::time::Duration;

use super::config::{CheckerConfig, HttpProbe, Probe};
use super::engine::Start;
use super::finding::{Failure, Finding};
use kit::Tools;

/// Runs one probe.
pub async fn probe(start: Start, tools: Tools) -> Finding {
    match &start.config.probe {
        Probe::Tcp(target) => tcp::probe(target).await,
        Probe::Ping(target) => ping::probe(target).await,
        // The larger conversations are boxed, so that a TCP_CHECK stays small.
        Probe::Udp(probe) => Box::pin(udp::probe(probe)).await,
        Probe::Dns(probe) => Box::pin(dns::probe(probe)).await,
        Probe::Smtp(probe) => Box::pin(smtp::probe(probe)).await,
        Probe::Http(probe) => Box::pin(http::probe(probe, start.page, &tools, limit(&start.config, probe))).await,
        other => Err(Failure::ours(format!("{} has no probe", Described(other)))),
    }
}

/// The time that a whole page may take. Each step may take `connect_timeout`, and a long page has many: it may take until
/// the next probe would be due.
fn limit(config: &CheckerConfig, probe: &HttpProbe) -> Duration {
    config.schedule.delay_loop.max(probe.target.connect_timeout.saturating_mul(3))
}

/// A probe by its keyword and target, for the log.
pub struct Described<'a>(pub &'a Probe);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Probe::Tcp(target) => write!(f, "TCP_CHECK of {}", target.address),
            Probe::Http(probe) => {
                write!(f, "{} of {}", if probe.tls.is_some() { "SSL_GET" } else { "HTTP_GET" }, probe.target.address)
            }
            Probe::Smtp(probe) => {
                f.write_str("SMTP_CHECK of ")?;
                let mut separator = "";
                for target in &probe.targets {
                    write!(f, "{separator}{}", target.address)?;
                    separator = ", ";
                }
                Ok(())
            }
            Probe::Dns(probe) => write!(f, "DNS_CHECK of {}", probe.target.address),
            Probe::Udp(probe) => write!(f, "UDP_CHECK of {}", probe.target.address),
            Probe::Ping(target) => write!(f, "PING_CHECK of {}", target.address.ip),
            Probe::Misc(probe) => write!(f, "MISC_CHECK {}", probe.command.text),
            Probe::File(probe) => write!(f, "FILE_CHECK of {}", probe.file),
            Probe::Bfd(name) => write!(f, "BFD_CHECK of {name}"),
        }
    }
}
