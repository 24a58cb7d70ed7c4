//! The kernel's IPVS, on a real kernel: user-mode Linux, booted once for all tests of this file.
#![allow(missing_docs)]

#[macro_use]
mod common;
#[path = "common/uml.rs"]
mod uml;
#[path = "common/uml_tests.rs"]
mod uml_tests;

#[path = "ipvs_kernel/both.rs"]
mod both;
#[path = "ipvs_kernel/directors.rs"]
mod directors;
#[path = "ipvs_kernel/foreign.rs"]
mod foreign;
#[path = "ipvs_kernel/keepalived.rs"]
mod keepalived;
#[path = "ipvs_kernel/kinds.rs"]
mod kinds;
#[path = "ipvs_kernel/mixed.rs"]
mod mixed;
#[path = "ipvs_kernel/plane.rs"]
mod plane;
#[path = "ipvs_kernel/program.rs"]
mod program;
#[path = "ipvs_kernel/serving.rs"]
mod serving;
#[path = "ipvs_kernel/tools.rs"]
mod tools;
#[path = "ipvs_kernel/traffic.rs"]
mod traffic;
#[path = "ipvs_kernel/words.rs"]
mod words;

/// Ends the calling test on the host, with its outcome in the guest.
macro_rules! in_guest {
    () => {
        if !crate::uml_tests::here(std::time::Duration::from_secs(600)) {
            return;
        }
    };
}
pub(crate) use in_guest;
