//! The keywords of scripts, files and processes that instances track.
//!
//! Pure.

use super::{Args, Block, Index, keyword};

/// `vrrp_script`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static VRRP_SCRIPT: Block = Block {
    name: "vrrp_script",
    named: true,
    more: 0,
    index: Index::new(),
    keywords: &[
        keyword("script", Args::Script, "SCRIPT (quoted command)", "", "", "command, exit 0 = OK, anything else KO"),
        keyword("interval", Args::Seconds { min: 0, max: 4_294_000_000, whole: false }, "SECS", "1", "0..4294 in 0.001 steps (0 is an error and becomes 1)", "period between runs"),
        keyword("timeout", Args::Seconds { min: 0, max: 4_294_000_000, whole: false }, "SECS", "0 = interval", "0..4294 in 0.001 steps", "kill and count as failure after this"),
        keyword("weight", Args::Weight { limit: 253 }, "N [reverse]", "0", "-253..253", "default weight for trackers"),
        keyword("rise", Args::Int { min: 1, max: 2_147_483_647 }, "N", "1", "1..INT_MAX", "successes to become OK"),
        keyword("fall", Args::Int { min: 1, max: 2_147_483_647 }, "N", "1", "1..INT_MAX", "failures to become KO"),
        keyword("user", Args::Words { min: 1, max: 2 }, "USER [GROUP]", "script_user", "", "run as"),
        keyword("init_fail", Args::Flag, "none", "off", "", "assume failed until first success"),
    ],
};

/// `track_file`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static TRACK_FILE: Block = Block {
    name: "track_file",
    named: true,
    more: 0,
    index: Index::new(),
    keywords: &[
        keyword("file", Args::Word, "PATH", "", "", "file holding one integer (C prefix bases), missing/empty = 0"),
        keyword("weight", Args::Weight { limit: 254 }, "N [reverse]", "1", "-254..254", "multiplier applied to the value"),
        keyword("init_file", Args::Words { min: 0, max: 2 }, "[VALUE] [overwrite]", "not created", "", "create file at start with VALUE (0), overwrite existing only with overwrite"),
    ],
};

/// `vrrp_track_file`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static VRRP_TRACK_FILE: Block = Block {
    name: "vrrp_track_file",
    named: true,
    more: 0,
    index: Index::new(),
    keywords: &[
        keyword("file", Args::Word, "PATH", "", "", "file holding one integer (C prefix bases), missing/empty = 0"),
        keyword("weight", Args::Weight { limit: 254 }, "N [reverse]", "1", "-254..254", "multiplier applied to the value"),
        keyword("init_file", Args::Words { min: 0, max: 2 }, "[VALUE] [overwrite]", "not created", "", "create file at start with VALUE (0), overwrite existing only with overwrite"),
    ],
};

/// `vrrp_track_process`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static VRRP_TRACK_PROCESS: Block = Block {
    name: "vrrp_track_process",
    named: true,
    more: 0,
    index: Index::new(),
    keywords: &[
        keyword("process", Args::Words { min: 1, max: usize::MAX }, "CMD [PARAM ...]", "", "", "program name (or path) and optional parameters to match").first_wins(),
        keyword("param_match", Args::Choice(&["initial", "partial"]), "initial | partial", "exact when params given", "", "how parameters are compared"),
        keyword("weight", Args::Weight { limit: 254 }, "N [reverse]", "0", "-254..254", "default weight"),
        keyword("quorum", Args::Int { min: 1, max: 65_535 }, "N", "1", "1..65535", "minimum running copies"),
        keyword("quorum_max", Args::Int { min: 0, max: 65_535 }, "N", "unlimited", "0..65535", "maximum running copies"),
        keyword("delay", Args::Seconds { min: 1, max: 3_600_000_000, whole: false }, "SECS", "0", "0.000001..3600", "sets fork_delay and terminate_delay"),
        keyword("terminate_delay", Args::Seconds { min: 1, max: 3_600_000_000, whole: false }, "SECS", "0", "0.000001..3600", "wait before acting on loss of quorum"),
        keyword("fork_delay", Args::Seconds { min: 1, max: 3_600_000_000, whole: false }, "SECS", "0", "0.000001..3600", "wait before acting on gain of quorum"),
        keyword("full_command", Args::Flag, "none", "off (match comm, 15 chars)", "", "match argv[0] from /proc/PID/cmdline"),
    ],
};
