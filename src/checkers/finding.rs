//! What one probe found.
//!
//! Pure: plain values.

/// What a probe that went well adds to the weight of the real server, or why it did not go well.
pub type Finding = Result<i64, Failure>;

/// Why a probe did not go well, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server is not fit to serve.
    #[error("{0}")]
    Unfit(String),
    /// The trouble is on this machine and says nothing about the server: no descriptors, an address that is not here.
    #[error("{0}")]
    Ours(String),
}

impl Failure {
    /// The server's fault.
    pub fn unfit(reason: impl Into<String>) -> Self {
        Self::Unfit(reason.into())
    }

    /// Our own trouble.
    pub fn ours(reason: impl Into<String>) -> Self {
        Self::Ours(reason.into())
    }
}
