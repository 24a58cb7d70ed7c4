//! `holdfast ipvsadm`, and what this program is when it is started as `ipvsadm`: the kernel's virtual server table in the
//! hands of an administrator.
//!
//! The grammar, the output, the messages and the exit codes are those of ipvsadm 1.31, byte for byte, so that scripts go
//! on working; `--json` is ours. [`words`] understands the command line, [`command`] what is meant by it, and
//! [`execute`] does it; [`list`], [`save`], [`connections`] and [`json`] write what is shown. All but [`execute`],
//! [`restore`], [`daemons`] and [`names`] are pure.
//!
//! `-L` lists the services of the userspace forwarder too, which [`daemons`] asks a running daemon for; every other command
//! is about the kernel's. A command that changes a service of the forwarder is refused with the file that has it: it would
//! do nothing, or take the traffic from under it. `-S` has what `-R` can bring back, which is the kernel's.
//!
//! Kept differently from ipvsadm 1.31: a destination's counters are shown in 64 bits (there they wrap at 4 G
//! connections and packets), in `--rate` its large numbers are rounded like a service's, and what is wrong with a line of
//! `-R` names the line.

pub mod address;
pub mod command;
pub mod connections;
pub mod daemons;
pub mod execute;
pub mod help;
pub mod json;
pub mod list;
pub mod names;
pub mod restore;
pub mod save;
pub mod sort;
pub mod source;
pub mod words;

pub use execute::{main, run};

/// What ends a run early: a line for standard error, and an exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leave {
    /// What to say.
    pub text: String,
    /// With which code to end.
    pub code: u8,
}

impl Leave {
    /// Of a mistake on the command line, as ipvsadm's own checks have it.
    pub(crate) fn mistake(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 2 }
    }

    /// Of a word that cannot be understood, or of a refusal by the kernel.
    pub(crate) fn refusal(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 255 }
    }
}

#[cfg(test)]
mod tests;
