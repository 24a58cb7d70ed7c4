//! The status page in main: whether there is one, where it takes what it shows, and what only main can add to the
//! status.
//!
//! Wiring. The page has a thread of its own and asks like any other client of the control API.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{error, info};

use super::MainProcess;
use crate::control::api::{Answer, Request};
use crate::control::handle::Handle;
use crate::daemon::logging::lines_dropped;
use crate::status::model::{Event, Notifications, Status};
use crate::status::page::PageConfig;
use crate::status::page::server::{Page, Source};

/// Events that the page gets; it shows fewer.
const EVENTS: usize = 400;

/// What main keeps for the page and the metrics.
#[derive(Debug, Default)]
pub(super) struct PageSide {
    page: Option<(PageConfig, Page)>,
    panics: Arc<AtomicU64>,
}

/// The page's way to main.
#[derive(Debug, Clone)]
struct FromMain(Handle);

impl Source for FromMain {
    async fn status(&self) -> Result<Arc<Status>, String> {
        match self.0.ask(Request::Status, "the status page".to_owned()).await {
            Ok(Answer::Status(status)) => Ok(status),
            Ok(_) => Err("an answer to something else".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn events(&self) -> Result<Vec<Event>, String> {
        let last = *self.0.news().borrow();
        let after = last.saturating_sub(u64::try_from(EVENTS).unwrap_or(u64::MAX));
        match self.0.ask(Request::Events { after, most: EVENTS }, "the status page".to_owned()).await {
            Ok(Answer::Events { events, .. }) => Ok(events),
            Ok(_) => Err("an answer to something else".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl MainProcess {
    /// Serves the page as the configuration says, or no longer.
    pub(super) fn apply_page(&mut self) {
        let wanted = self.config.daemon.status_page.as_ref();
        if self.page.page.as_ref().map(|(config, _)| config) == wanted {
            return;
        }
        if self.page.page.take().is_some() {
            info!("the status page is closed");
        }
        let Some(config) = wanted else { return };
        let Some(handle) = self.control.handle() else {
            return error!("there is no status page without the control sockets");
        };
        match Page::start(config, FromMain(handle), Arc::clone(&self.page.panics)) {
            Ok(page) => self.page.page = Some((config.clone(), page)),
            Err(error) => error!("there is no status page: {error}"),
        }
    }

    /// Adds what neither snapshot nor configuration says.
    pub(super) fn add_to_status(&self, status: &mut Status) {
        let running = self.scripts.running();
        for tracker in status.trackers.iter_mut().filter(|tracker| tracker.kind == "script") {
            tracker.running = Some(running.contains(&tracker.name));
        }
        for instance in &mut status.instances {
            if let Some(known) = self.roster.instance(&instance.name) {
                known.counts.show(instance);
            }
            if let Some(config) = self.config.vrrp.instances.get(&instance.name) {
                instance.garp_delay_ms = crate::status::build::millis(config.garp.delay);
            }
        }
        status.daemon.log_lines_dropped = lines_dropped();
        status.daemon.page_panics = self.page.panics.load(Ordering::Relaxed);
        status.daemon.notifications = self.notifications();
    }

    /// Scripts and all other targets together.
    fn notifications(&self) -> Notifications {
        let scripts = self.notify.counters();
        let mut all = Notifications {
            delivered: scripts.finished.saturating_sub(scripts.failed),
            failed: scripts.failed + scripts.timed_out + scripts.not_started,
            dropped: scripts.dropped + scripts.abandoned,
            waiting: 0,
        };
        for target in self.notices.status() {
            all.delivered += target.counters.sent;
            all.failed += target.counters.failed;
            all.dropped += target.counters.dropped + target.counters.abandoned;
            all.waiting += target.counters.queued;
        }
        all
    }
}
