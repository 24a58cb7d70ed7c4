//! What all tests that need more than an ordinary account share: how they say that they could not run.
#![allow(dead_code, unused_macros, unused_imports, missing_docs)] // Each test binary uses a part.

use std::io::Write;
use std::path::Path;

/// Debian's keepalived, the reference that the interoperability tests run against.
pub const KEEPALIVED: &str = "/usr/sbin/keepalived";

/// Says `skipped: REASON` on a line of its own, also when the test runner captures the output of tests that pass:
/// whoever runs the tests counts these lines, because a test that was skipped has proven nothing.
pub fn skipped(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test").to_owned();
    // Past the capture of `println!`, in one write so that lines of other tests do not mix in; and not on the line that
    // a runner with one thread has begun.
    let _ = std::io::stderr().write_all(format!("\nskipped: {reason} ({test})\n").as_bytes());
}

/// Whether namespaces can be made; says so when not.
pub fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skipped("needs root");
    }
    root
}

/// Whether there is a keepalived to compare with; says so when not.
pub fn keepalived() -> bool {
    let installed = Path::new(KEEPALIVED).exists();
    if !installed {
        skipped(&format!("needs {KEEPALIVED}"));
    }
    installed
}

/// Ends the calling test, with a word, without root.
macro_rules! needs_root {
    () => {
        if !crate::common::root() {
            return;
        }
    };
}

/// Ends the calling test, with a word, without root or keepalived.
macro_rules! needs_keepalived {
    () => {
        if !(crate::common::root() && crate::common::keepalived()) {
            return;
        }
    };
}

pub(crate) use {needs_keepalived, needs_root};
