//! What the block of an instance says beside the instance's configuration: its trackers and scripts, which are settled when
//! groups and virtual servers are known, and what others ask of it.
//!
//! Pure. Blocks are read one by one and forgotten; this is what is kept of them.

use super::diagnostic::Reporter;
use super::section::Section;
use super::source::Span;
use super::trackers::{TrackLine, Trackers, tracks};
use crate::notify::config::NotifyScripts;
use crate::vrrp::config::{InstanceConfig, TrackerKey};

/// What is known of an instance beside its configuration, before groups are known.
#[derive(Debug)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// Its own `track_*` lines.
    pub tracks: Vec<TrackLine>,
    /// Its notify scripts, when it has any.
    pub notify: Option<Box<NotifyScripts>>,
    /// Its first line.
    pub span: Span,
    /// Its `virtual_router_id` line.
    pub vrid_span: Span,
}

/// What the block of an instance says to others than the instance.
#[derive(Debug)]
pub struct InstanceBlock {
    /// Its name, which it may have in common with another one.
    pub name: String,
    /// `virtual_router_id`.
    pub vrid: Option<u8>,
    /// `smtp_alert`.
    pub alerts: Option<bool>,
    /// `notify_priority_changes`.
    pub priority_changes: Option<bool>,
}

impl InstanceBlock {
    /// Of a block that has a name.
    pub fn of(section: &Section<'_>) -> Option<Self> {
        Some(Self {
            name: section.name?.text.to_owned(),
            vrid: section.int("virtual_router_id"),
            alerts: section.bool("smtp_alert"),
            priority_changes: section.bool("notify_priority_changes"),
        })
    }
}

/// The `track_*` lines of an instance.
pub fn own_tracks(
    section: &Section<'_>,
    config: &InstanceConfig,
    trackers: &Trackers,
    reporter: &mut Reporter,
) -> Vec<TrackLine> {
    let mut tracks = tracks(section, trackers, reporter);
    let own = config.interface.as_ref().filter(|_| config.track_primary).cloned().map(TrackerKey::Interface);
    tracks.retain(|line| {
        let redundant = own.as_ref() == Some(&line.track.tracker);
        if redundant {
            let message =
                format!("{} is the instance's own, which counts anyway: the line is left out", line.track.tracker);
            reporter.warning(line.span, message);
        }
        !redundant
    });
    tracks
}
