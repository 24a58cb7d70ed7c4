//! What probes share and what is costly to make: compiled patterns and TLS contexts.
//!
//! Shell: reads certificate files.

use super::super::engine::Start;
use super::super::finding::Failure;
use crate::ipvs::config::SslConfig;

/// Everything that was made so far.
#[derive(Debug)]
pub struct Kit {
    ssl: SslConfig,
}

/// What one probe needs of it.
#[derive(Debug)]
pub struct Tools {}

impl Kit {
    /// Nothing made yet.
    pub fn new(ssl: SslConfig) -> Self {
        Self { ssl }
    }

    /// Makes everything anew when it is needed: files may have changed.
    pub fn forget(&mut self) {}

    /// What this probe needs.
    ///
    /// # Errors
    /// A pattern does not compile, a certificate cannot be read.
    pub fn prepare(&mut self, _start: &Start) -> Result<Tools, Failure> {
        let _ = &self.ssl;
        Ok(Tools {})
    }
}
