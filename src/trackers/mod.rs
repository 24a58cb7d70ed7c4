//! Trackers that main runs and whose statuses the vrrp process hears: scripts and files.

pub mod config;
