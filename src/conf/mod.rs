//! keepalived.conf → typed configuration.

pub mod config;
