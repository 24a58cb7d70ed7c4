//! `MISC_CHECK`: main runs a command, and its exit code tells.
//!
//! Shell around a pure judgement: waits for main.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::super::config::{MiscProbe, Probe};
use super::super::engine::Start;
use super::super::finding::{Failure, Finding};
use super::super::report::Ended;

/// Main ends a command two seconds after its timeout at the latest; an answer that has not come by then will not come.
const GRACE: Duration = Duration::from_secs(5);

/// Waits for the end of the command that main was asked to run.
pub async fn probe(start: Start, ended: oneshot::Receiver<Ended>) -> Finding {
    let Probe::Misc(probe) = &start.config.probe else { return Err(Failure::ours("no command")) };
    match timeout(probe.timeout + GRACE, ended).await {
        Ok(Ok(ended)) => judge(probe, &ended),
        Ok(Err(_)) | Err(_) => Err(Failure::ours("main did not say how it ended")),
    }
}

/// What the end of a command means.
fn judge(probe: &MiscProbe, ended: &Ended) -> Finding {
    match ended {
        Ended::Exited(0) => Ok(0),
        // An exit code of 2 and more is the weight that the server shall have, plus 2.
        Ended::Exited(code @ 2..=255) if probe.dynamic => Ok(i64::from(code - 2) - i64::from(probe.real_weight)),
        Ended::Exited(code) => Err(Failure::unfit(format!("exit code {code}"))),
        Ended::Signalled(signal) => Err(Failure::unfit(format!("ended by signal {signal}"))),
        Ended::TimedOut => Err(Failure::unfit(format!("still running after {:?}", probe.timeout))),
        Ended::NotRun(reason) => Err(Failure::ours(reason.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;

    #[test]
    fn exit_codes() {
        let table = [
            (Ended::Exited(0), false, Some(0)),
            (Ended::Exited(1), false, None),
            (Ended::Exited(7), false, None),
            (Ended::Exited(0), true, Some(0)),
            (Ended::Exited(1), true, None),
            (Ended::Exited(2), true, Some(-10)),
            (Ended::Exited(12), true, Some(0)),
            (Ended::Exited(255), true, Some(243)),
            (Ended::Exited(256), true, None),
            (Ended::Exited(-1), true, None),
            (Ended::Signalled(9), true, None),
            (Ended::TimedOut, false, None),
        ];
        for (ended, dynamic, expected) in table {
            let command = Command::parse("/bin/check", None).expect("a command");
            let probe = MiscProbe { command, timeout: Duration::from_secs(3), dynamic, real_weight: 10 };
            let finding = judge(&probe, &ended);
            assert_eq!(finding.clone().ok(), expected, "{ended:?}, dynamic {dynamic}");
            assert!(!matches!(finding, Err(Failure::Ours(_))));
        }
    }

    #[test]
    fn a_command_that_was_not_run_says_nothing() {
        let command = Command::parse("/bin/check", None).expect("a command");
        let probe = MiscProbe { command, timeout: Duration::from_secs(3), dynamic: false, real_weight: 1 };
        assert_eq!(judge(&probe, &Ended::NotRun("no such user".into())), Err(Failure::ours("no such user")));
    }
}
