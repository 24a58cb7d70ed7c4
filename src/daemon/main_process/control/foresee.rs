//! What a reload would do now, asked of the daemon itself: it alone knows what runs, however its file was changed since.
//!
//! Shell: reads the file on another thread, as a reload does, and changes nothing.

use tokio::sync::oneshot;

use super::{Answer, MainProcess};
use crate::conf::Loaded;
use crate::conf::config::Config;
use crate::conf::plan::Plan;
use crate::conf::plan::report::{PlanReport, Side};
use crate::control::api::{Refused, refused};
use crate::daemon::load;
use crate::daemon::reload::KnownErrors;

impl MainProcess {
    /// The answer is given by the thread that reads: main goes on.
    pub(super) fn foresee(&mut self, answer: oneshot::Sender<Answer>) {
        // Each takes the memory of a reload.
        if self.control.foreseeing.as_ref().is_some_and(|task| !task.is_finished()) {
            let busy = refused(Refused::Busy, "a plan is being made already");
            let _ = answer.send(Answer::Outcome(busy));
            return;
        }
        let (running, known, args) = (self.config.clone(), self.known_errors.clone(), self.args.clone());
        self.control.foreseeing = Some(tokio::task::spawn_blocking(move || {
            let loaded = load::load(&args);
            let mut report = judge(&running, &known, loaded);
            let file = std::path::absolute(&args.file).unwrap_or_else(|_| args.file.clone());
            report.against.file.clone_from(&file);
            report.new.file = file;
            // Whoever asked may be gone.
            let _ = answer.send(Answer::Plan(Box::new(report)));
        }));
        self.tidy_after_reading();
    }
}

/// As a reload judges.
fn judge(running: &Config, known: &KnownErrors, loaded: Loaded) -> PlanReport {
    let Loaded { config, diagnostics, .. } = loaded;
    let refused = known.first_new(&diagnostics).is_some();
    let nothing = Config::default();
    let (plan, reason) = match &config {
        Some(config) if *config == nothing && *running != nothing => {
            (None, Some("the file says nothing at all; to give all up, stop".to_owned()))
        }
        Some(config) if !refused => (Some(Plan::between(running, config)), None),
        _ => (None, None),
    };
    PlanReport::new(Side::running("".as_ref()), Side::of_file("".as_ref(), diagnostics), plan, reason)
}
