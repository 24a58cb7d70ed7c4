//! Which adverts are heard.
//!
//! Pure. One [`AdvertError`] variant for each refusal, one counter for each variant.

use serde::{Deserialize, Serialize};

/// What is wrong with a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AdvertError {
    /// placeholder
    #[error("placeholder")]
    Placeholder,
}
