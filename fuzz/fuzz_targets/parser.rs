//! Any bytes as a keepalived.conf: read, linted, compared with itself, planned, rendered.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../judge.rs"]
mod judge;

fuzz_target!(|bytes: &[u8]| judge::judge(bytes));
