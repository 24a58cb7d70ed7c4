//! `holdfast maintenance`: what must be known of it after a restart, and what makes it be refused.
//!
//! Pure: time is passed in; who keeps the record is `daemon::main_process::control`.

use serde::{Deserialize, Serialize};

use super::model::{self, State, Status};
use super::time::Time;
use crate::control::api::MaintenanceOrder;

/// This node takes no part in elections. The file of it is one JSON object; without it the node takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Since when.
    pub since: Time,
    /// When it ends by itself.
    #[serde(default)]
    pub until: Option<Time>,
    /// Why, in the operator's words.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Longer reasons are cut.
const LONGEST_REASON: usize = 500;
/// Nobody maintains anything for longer; a clock that is off by so much is wrong.
const LONGEST_SECONDS: u64 = 366 * 24 * 3600;

impl Record {
    /// What an order to begin makes. An order to one that is in maintenance already replaces its end and reason.
    ///
    /// # Errors
    /// The order makes no sense.
    pub fn of(now: Time, order: &MaintenanceOrder, before: Option<&Self>) -> Result<Self, String> {
        if order.for_seconds.is_some_and(|seconds| seconds == 0 || seconds > LONGEST_SECONDS) {
            return Err("maintenance lasts at least a second and at most a year".to_owned());
        }
        let reason = order.reason.as_ref().map(|reason| clean(reason)).filter(|reason| !reason.is_empty());
        let until = order.limit().map(|limit| Time(now.0.saturating_add(limit)));
        Ok(Self { since: before.map_or(now, |before| before.since), until, reason })
    }

    /// Whether it has ended by itself.
    pub fn is_over(&self, now: Time) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// As it is shown.
    pub fn show(record: Option<&Self>) -> model::Maintenance {
        match record {
            None => model::Maintenance::default(),
            Some(Self { since, until, reason }) => {
                model::Maintenance { on: true, since: Some(*since), until: *until, reason: reason.clone() }
            }
        }
    }
}

/// One line for logs and screens.
fn clean(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_REASON).collect()
}

/// The instances that are master here and of whose virtual router nobody else was ever heard: when this node steps down,
/// nobody may be there to take over. Backups are silent, so that one that came after the master is not known.
pub fn without_peers(status: &Status) -> Vec<&str> {
    let alone = |instance: &&model::Instance| instance.state == State::Master && !instance.others_heard;
    status.instances.iter().filter(alone).map(|instance| instance.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time(Duration::from_secs(seconds))
    }

    #[test]
    fn an_order_is_a_record_that_ends() {
        let order = |seconds, reason: &str| MaintenanceOrder {
            on: true,
            for_seconds: seconds,
            reason: Some(reason.to_owned()),
            force: false,
        };
        let record = Record::of(at(100), &order(Some(7200), " new\nkernel "), None).unwrap();
        assert_eq!(record, Record { since: at(100), until: Some(at(7300)), reason: Some("new kernel".to_owned()) });
        assert!(!record.is_over(at(7299)) && record.is_over(at(7300)));
        let longer = Record::of(at(200), &order(None, ""), Some(&record)).unwrap();
        assert_eq!(longer, Record { since: at(100), until: None, reason: None });
        assert!(!longer.is_over(at(u64::MAX / 2)));
        assert!(Record::of(at(1), &order(Some(0), ""), None).is_err());
        assert!(Record::of(at(1), &order(Some(u64::MAX), ""), None).is_err());
        let cut = Record::of(at(1), &order(None, &"ä".repeat(1000)), None).unwrap().reason.unwrap();
        assert_eq!(cut.chars().count(), LONGEST_REASON);
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }

    #[test]
    fn only_a_master_that_is_alone_hinders() {
        let instance = |name: &str, state, others_heard| model::Instance {
            name: name.to_owned(),
            state,
            others_heard,
            ..model::Instance::default()
        };
        let instances = vec![
            instance("alone", State::Master, false),
            instance("known", State::Master, true),
            instance("backup", State::Backup, false),
            instance("fault", State::Fault, false),
        ];
        assert_eq!(without_peers(&Status { instances, ..Status::default() }), ["alone"]);
    }
}
