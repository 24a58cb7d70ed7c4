#![allow(clippy::disallowed_methods, reason = "tests of a shell wait for real files")]

mod files;
mod tables;
