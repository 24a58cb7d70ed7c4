//! Weights that have no effect, and trackers that move addresses to and fro.
//!
//! Pure.

use std::collections::BTreeSet;

use super::Subject;
use crate::conf::config::Config;
use crate::conf::diagnostic::Reporter;
use crate::conf::section::Section;
use crate::vrrp::config::{Track, TrackerKey};

/// Priorities end there; 255 is the owner's.
const MAX_PRIORITY: i32 = 254;

/// What the weights of one instance can do.
pub(super) fn lint(subject: &mut Subject<'_, '_, '_>) {
    // What a file adds depends on what is in it.
    let is_weighted = |track: &&Track| track.weight != 0 && !matches!(track.tracker, TrackerKey::File(_));
    let weighted: Vec<&Track> = subject.instance.tracks.iter().filter(is_weighted).collect();
    let Some(first) = weighted.first() else { return };
    let span = subject.track_span(&first.tracker);
    let name = subject.name;
    let base = i32::from(subject.instance.priority.value());
    if subject.instance.priority.is_owner() {
        let message = format!("`{name}` has priority 255, which no weight changes: {} has no effect", first.tracker);
        subject
            .reporter
            .warning(span, message)
            .code("weight-owner")
            .help("lower `priority`, or leave the weight out: a failure then means FAULT");
        return;
    }
    if !subject.instance.preempt {
        let message = format!("`{name}` has `nopreempt` and weights: a priority that sinks makes nobody take over");
        subject
            .reporter
            .warning(span, message)
            .code("weight-nopreempt")
            .help("leave the weight out: a failure then means FAULT, and the master resigns");
        return;
    }
    let swing: i32 = weighted.iter().map(|track| i32::from(track.weight).abs()).sum();
    let healthy: i32 = weighted.iter().map(|track| added_while_well(track)).sum();
    if swing < 2 {
        let message =
            format!("all weights of `{name}` together move its priority by 1: nobody takes over because of that");
        subject
            .reporter
            .warning(span, message)
            .code("weight-too-small")
            .help("a weight must be larger than the difference of the routers' priorities, or stay away: then a failure means FAULT");
    } else if base + healthy > MAX_PRIORITY {
        let lost = base + healthy - MAX_PRIORITY;
        let message = format!("priority {base} and weights of {healthy} end at 254: {lost} of the weight is lost");
        let place = subject.span("priority");
        subject
            .reporter
            .warning(place, message)
            .code("weight-clamped")
            .help("lower `priority`, or write the weight with a minus sign");
    }
}

/// What a track adds to the priority while all is well.
fn added_while_well(track: &Track) -> i32 {
    let weight = i32::from(track.weight);
    match (weight > 0, track.reverse) {
        (true, false) => weight,
        // Reversed, the failure of the tracker is what is well, and a negative weight is added then.
        (false, true) => -weight,
        _ => 0,
    }
}

/// Scripts that act on the first result, both ways, for an instance that takes its addresses back.
pub(super) fn lint_flapping(root: &Section<'_>, config: &Config, reporter: &mut Reporter) {
    let mut told = BTreeSet::new();
    for (name, instance) in config.vrrp.instances.iter().filter(|(_, i)| i.preempt && !i.priority.is_owner()) {
        for track in &instance.tracks {
            let TrackerKey::Script(script) = &track.tracker else { continue };
            // `preempt_delay` holds back who returns from FAULT, and nobody else.
            let delayed = track.weight == 0 && !instance.preempt_delay.is_zero();
            let jumpy = config.scripts.get(script).is_some_and(|script| script.rise < 2 && script.fall < 2);
            if delayed || !jumpy || !told.insert(script) {
                continue;
            }
            let Some(section) = root.sections("vrrp_script").find(|s| s.name.is_some_and(|n| n.text == *script)) else {
                continue;
            };
            let message = format!(
                "one failed run of `{script}` moves the addresses of `{name}` away, and one good run moves them back"
            );
            reporter
                .warning(section.span, message)
                .code("preemption-flaps")
                .help("`fall 2` and `rise 2` or more; or `nopreempt` with `state BACKUP` on all routers");
        }
    }
}
