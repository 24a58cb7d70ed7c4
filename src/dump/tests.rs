#![allow(clippy::disallowed_methods, reason = "tests of a shell wait for real files")]
use super::*;

mod files;
mod tables;
