//! What probes share and what is costly to make: compiled patterns and TLS contexts.
//!
//! Shell: reads certificate files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use openssl::ssl::SslContext;

use super::super::config::{HttpProbe, Probe, RegexConfig, TlsConfig};
use super::super::engine::Start;
use super::super::finding::Failure;
use super::super::http::regex::Regex;
use super::tls;
use crate::ipvs::config::SslConfig;

/// Everything that was made so far. What could not be made is tried again by the next probe.
pub struct Kit {
    ssl: SslConfig,
    patterns: BTreeMap<RegexConfig, Arc<Regex>>,
    /// By `tls_verify` and `tls_ca`; the rest of the configuration concerns single connections.
    contexts: BTreeMap<(bool, Option<PathBuf>), SslContext>,
}

/// What one probe needs of it.
#[derive(Default)]
pub struct Tools {
    /// The pattern of the page.
    pub regex: Option<Arc<Regex>>,
    /// For SSL_GET.
    pub tls: Option<SslContext>,
}

impl Kit {
    /// Nothing made yet.
    pub fn new(ssl: SslConfig) -> Self {
        Self { ssl, patterns: BTreeMap::new(), contexts: BTreeMap::new() }
    }

    /// Makes everything anew when it is needed: certificate files may have changed.
    pub fn forget(&mut self) {
        self.patterns.clear();
        self.contexts.clear();
    }

    /// What this probe needs.
    ///
    /// # Errors
    /// A pattern does not compile, a certificate cannot be read.
    pub fn prepare(&mut self, start: &Start) -> Result<Tools, Failure> {
        let Probe::Http(probe) = &start.config.probe else { return Ok(Tools::default()) };
        self.tools(probe, probe.urls.get(start.page).and_then(|url| url.regex.as_deref()))
    }

    /// What a page with this pattern needs.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn tools(&mut self, probe: &HttpProbe, regex: Option<&RegexConfig>) -> Result<Tools, Failure> {
        let regex = match regex {
            Some(config) => Some(self.pattern(config)?),
            None => None,
        };
        let tls = match &probe.tls {
            Some(config) => Some(self.context(config)?),
            None => None,
        };
        Ok(Tools { regex, tls })
    }

    fn pattern(&mut self, config: &RegexConfig) -> Result<Arc<Regex>, Failure> {
        if let Some(made) = self.patterns.get(config) {
            return Ok(Arc::clone(made));
        }
        let made = Arc::new(Regex::new(config).map_err(|error| Failure::ours(error.to_string()))?);
        self.patterns.insert(config.clone(), Arc::clone(&made));
        Ok(made)
    }

    fn context(&mut self, config: &TlsConfig) -> Result<SslContext, Failure> {
        let key = (config.verify, config.ca.clone());
        if let Some(made) = self.contexts.get(&key) {
            return Ok(made.clone());
        }
        let made = tls::context(config, &self.ssl)?;
        self.contexts.insert(key, made.clone());
        Ok(made)
    }
}
