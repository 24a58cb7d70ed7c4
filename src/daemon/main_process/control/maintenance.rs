//! Maintenance: this node takes no part in elections, until somebody ends it or its time is over.
//!
//! Shell, on main's loop. It is kept in a file, for the next daemon.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::super::MainProcess;
use super::{Control, wall_clock};
use crate::control::api::{MaintenanceOrder, Refused, done, refused};
use crate::status::maintenance::{self, Record};
use crate::status::model::{Outcome, ProcessState, Status};
use crate::vrrp::message::ToVrrp;

/// The wall clock may be set: the end of maintenance is looked for at least this often.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(30);

impl Control {
    pub(super) fn restore_maintenance(&mut self) {
        match self.maintenance_file.read::<Record>() {
            Ok(None) => {}
            Ok(Some(record)) if record.is_over(wall_clock()) => {
                info!("maintenance ended while the daemon was not running");
                self.maintenance_file.keep(None::<&Record>);
            }
            Ok(Some(record)) => {
                warn!("this node is in maintenance and takes no part in elections: {}", sentence(&record));
                self.maintenance = Some(record);
            }
            Err(error) => warn!("{}: {error}: not in maintenance", self.maintenance_file.path().display()),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a shell: reads the clock")]
impl MainProcess {
    pub(super) fn order_maintenance(&mut self, order: &MaintenanceOrder, by: &str) -> Outcome {
        let now = wall_clock();
        let before = self.control.maintenance.as_ref();
        let record = match order.on.then(|| Record::of(now, order, before)).transpose() {
            Ok(record) => record,
            Err(message) => return refused(Refused::Invalid, message),
        };
        let message = match (&record, before) {
            (Some(record), _) => format!("this node takes no part in elections {}", sentence(record)),
            (None, Some(_)) => "this node takes part in elections again".to_owned(),
            (None, None) => return done("this node is not in maintenance"),
        };
        warn!("{message} (asked for by {by})");
        self.set_maintenance(record, &message);
        done(message)
    }

    fn set_maintenance(&mut self, record: Option<Record>, message: &str) {
        self.control.maintenance_file.keep(record.as_ref());
        self.control.note("maintenance", message.to_owned());
        self.control.maintenance = record;
        self.control.look_at_clock = Instant::now();
        let on = self.control.maintenance.is_some();
        if self.maintenance != on {
            self.maintenance = on;
            self.vrrp.send(&ToVrrp::Maintenance(on));
        }
    }

    /// It ends by itself, by the wall clock, which may be set.
    pub(super) fn look_at_maintenance(&mut self, now: Instant) {
        let clock = wall_clock();
        let Some(record) = &self.control.maintenance else { return };
        if record.is_over(clock) {
            let message = "maintenance has ended by itself: this node takes part in elections again";
            warn!("{message}");
            self.set_maintenance(None, message);
        } else if let Some(until) = record.until {
            self.control.look_at_clock = now + until.since(clock).min(LOOK_AT_CLOCK);
        }
    }
}

/// Why maintenance is not begun.
pub(super) fn hindrance(status: &Status) -> Option<Outcome> {
    let vrrp = status.daemon.processes.iter().find(|process| process.name == "vrrp");
    if vrrp.is_some_and(|process| process.state == ProcessState::Silent) {
        return Some(refused(Refused::Late, "the vrrp process does not answer: --force begins without it"));
    }
    let alone = maintenance::without_peers(status);
    if alone.is_empty() {
        return None;
    }
    let message = format!(
        "nobody else was heard who could take over {} (a router that has been backup all the time is silent): --force \
         begins all the same",
        alone.join(", ")
    );
    Some(refused(Refused::NoPeer, message))
}

fn sentence(record: &Record) -> String {
    let reason = record.reason.as_ref().map(|reason| format!(", {reason}")).unwrap_or_default();
    match record.until {
        Some(until) => format!("until {until}{reason}"),
        None => format!("until it is ended{reason}"),
    }
}
