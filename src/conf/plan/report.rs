//! What `holdfast plan` says: against what, of which file, whether a reload would go through, and what it would do.
//!
//! Pure. docs/check.md tells its shape as JSON; the daemon answers with the same.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Plan;
use crate::conf::{Diagnostics, Severity};

/// Of the shape of JSON output. It grows when a field changes its meaning or goes; new fields may come without.
pub const JSON_FORMAT: u32 = 1;

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanReport {
    /// [`JSON_FORMAT`].
    pub format: u32,
    /// What is in force now, or taken for it.
    pub against: Side,
    /// What would be read.
    pub new: Side,
    /// A reload would be refused, and nothing would change.
    pub refused: bool,
    /// Why, where no diagnostic says it.
    pub reason: Option<String>,
    /// What a reload would do; nothing when it would be refused.
    pub plan: Option<Plan>,
}

/// One of the two configurations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// Its file.
    pub file: PathBuf,
    /// It is what a daemon runs, whatever the file says by now.
    pub running: bool,
    /// How many of its diagnostics are errors.
    pub errors: usize,
    /// How many are warnings.
    pub warnings: usize,
    /// What is wrong with it; of what runs that was said when it was read.
    pub diagnostics: Diagnostics,
}

impl Side {
    /// A file that was read.
    pub fn of_file(file: &Path, diagnostics: Diagnostics) -> Self {
        let errors = diagnostics.iter().filter(|d| d.severity >= Severity::Error).count();
        let warnings = diagnostics.count(Severity::Warning);
        Self { file: file.to_owned(), running: false, errors, warnings, diagnostics }
    }

    /// What a daemon has read from this file, and runs.
    pub fn running(file: &Path) -> Self {
        Self { running: true, ..Self::of_file(file, Diagnostics::default()) }
    }
}

impl PlanReport {
    /// `plan` is nothing when a reload would be refused; `reason` tells why where no diagnostic does.
    pub fn new(against: Side, new: Side, plan: Option<Plan>, reason: Option<String>) -> Self {
        Self { format: JSON_FORMAT, against, new, refused: plan.is_none(), reason, plan }
    }

    /// As text, like a diff; or what is wrong.
    pub fn render(&self, color: bool) -> String {
        if let Some(plan) = &self.plan {
            return plan.render(color);
        }
        let mut text = String::new();
        let has_fatal = |side: &Side| side.diagnostics.iter().any(|d| d.severity == Severity::Fatal);
        if has_fatal(&self.against) {
            text.push_str(&self.against.diagnostics.render(color));
        }
        if !self.new.diagnostics.is_empty() {
            text.push_str(&self.new.diagnostics.render(color));
        }
        if let Some(reason) = &self.reason {
            text.push_str(&format!("{reason}\n"));
        }
        if has_fatal(&self.against) && self.new.errors == 0 {
            let file = self.against.file.display();
            text.push_str(&format!(
                "nothing to compare with: nothing can run on {file} (`--against FILE` names another)\n"
            ));
        } else {
            text.push_str("a reload would be refused, and nothing would change\n");
        }
        text
    }
}
