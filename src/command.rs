//! A command as people write it in keepalived.conf: a program with arguments, or a shell line, and who runs it.
//!
//! Pure. `script`, `notify*`, `misc_path` and the rest share it. keepalived 2 disables a shell line and goes on as if it
//! were healthy; keepalived 1 ran it through a shell, and half the Internet still writes it so. We run it.

use serde::{Deserialize, Serialize};

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The command as it stands in the file, for messages.
    pub text: String,
    /// Program or shell line.
    pub form: CommandForm,
    /// Run as this user; `None` is the default user (`script_user`).
    pub user: Option<RunAs>,
}

/// The two ways to run something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandForm {
    /// Executed directly: program, then arguments. Never empty.
    Program(Vec<String>),
    /// Given to a shell with `-c`. `needs_bash`: has `[[` or `/dev/tcp`, which a plain sh lacks.
    Shell {
        /// The line.
        line: String,
        /// Cannot run under a plain `sh`.
        needs_bash: bool,
    },
}

/// `USER [GROUP]`, names or numbers, resolved when it is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAs {
    /// User name or number.
    pub user: String,
    /// Group name or number; `None` is the user's primary group.
    pub group: Option<String>,
}
