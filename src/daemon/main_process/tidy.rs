//! Main's memory, put in order when there is time.
//!
//! Wiring: part of main's loop.

use std::time::Duration;

use tokio::time::Instant;

use super::MainProcess;
use crate::daemon::load;
use crate::net::sys;

/// When nothing large was read for this long, memory is put in order: what was read for a start is packed, and what is
/// free, or only the start needed, is given back. Whoever reads again before takes the same memory once more, and need not
/// ask for it page by page.
const TIDY_AFTER: Duration = Duration::from_secs(2);

impl MainProcess {
    /// A thousand events, one after the other, are put in order once.
    pub(super) fn tidy_soon(&mut self) {
        self.tidy_at.get_or_insert_with(|| Instant::now() + TIDY_AFTER);
    }

    /// What was read is in force.
    pub(super) fn tidy_after_reading(&mut self) {
        self.tidy_at = Some(Instant::now() + TIDY_AFTER);
    }

    /// Reading the file took four times what is kept of it.
    pub(super) fn tidy(&mut self) {
        self.tidy_at = None;
        if std::mem::take(&mut self.scattered) {
            self.config = load::repack(std::mem::take(&mut self.config));
        }
        self.roster.tidy(&self.config.vrrp);
        sys::release_free_memory();
        sys::release_program_pages();
    }
}
