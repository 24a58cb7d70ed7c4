//! `TCP_CHECK`: the port takes a connection.
//!
//! Shell.

use std::time::Duration;

use super::super::config::Target;
use super::super::finding::Finding;
use super::socket;

/// Connects and closes.
pub async fn probe(target: &Target) -> Finding {
    let stream = socket::connect(target).await?;
    // Closed by a reset, as keepalived does it: thousands of checks leave no port in TIME_WAIT. A socket that does not
    // take the option closes in the ordinary way.
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    Ok(0)
}
