//! Maintenance: this node takes no part in elections, until somebody ends it or its time is over.
//!
//! Shell, on main's loop. It is kept in a file, for the next daemon.

use std::fs;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::super::MainProcess;
use super::{Control, wall_clock, write_whole};
use crate::control::api::{MaintenanceOrder, Refused, done, refused};
use crate::status::maintenance::{self, Record};
use crate::status::model::{Outcome, ProcessState, Status};
use crate::vrrp::message::ToVrrp;

/// The wall clock may be set: the end of maintenance is looked for at least this often.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(30);
impl Control {
    pub(super) fn restore_maintenance(&mut self) {
        let text = match fs::read_to_string(&self.maintenance_file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => return warn!("{}: {error}", self.maintenance_file.display()),
        };
        match serde_json::from_str::<Record>(&text) {
            Ok(record) if record.is_over(wall_clock()) => {
                info!("maintenance ended while the daemon was not running");
                self.store(None);
            }
            Ok(record) => {
                warn!("this node is in maintenance and takes no part in elections: {}", sentence(&record));
                self.maintenance = Some(record);
            }
            Err(error) => warn!("{}: {error}: not in maintenance", self.maintenance_file.display()),
        }
    }

    /// Keeps the record, or the lack of one, for the next daemon. Whole or not at all.
    fn store(&self, record: Option<&Record>) {
        let written = match record {
            Some(record) => write_whole(&self.maintenance_file, record),
            None => match fs::remove_file(&self.maintenance_file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        };
        if let Err(error) = written {
            error!("{}: {error}: a restart of the daemon forgets this change", self.maintenance_file.display());
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
        self.control.store(record.as_ref());
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
