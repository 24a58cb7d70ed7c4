//! A table of clauses and the one runner for all of them.

use super::super::config::VrrpConfig;
use super::host::Host;

/// One clause and what comes of it.
pub struct Row {
    /// Where it is written.
    pub clause: &'static str,
    /// What it says, in short.
    pub text: &'static str,
    /// What differs from the table's configuration.
    pub given: fn(&mut VrrpConfig),
    /// Steps that lead to the situation ([`Host::play`]).
    pub before: &'static str,
    /// The steps that matter.
    pub when: &'static str,
    /// The state afterwards, then every effect of those steps in order.
    pub then: &'static [&'static str],
}

/// A row.
pub fn row(
    clause: &'static str,
    text: &'static str,
    given: fn(&mut VrrpConfig),
    before: &'static str,
    when: &'static str,
    then: &'static [&'static str],
) -> Row {
    Row { clause, text, given, before, when, then }
}

/// Nothing differs.
pub fn as_is(_: &mut VrrpConfig) {}

/// Plays all rows and reports all that come out otherwise. `reload` is what the step of that name does.
pub fn run(config: fn() -> VrrpConfig, reload: fn(&mut VrrpConfig), rows: &[Row]) {
    let mut wrong = Vec::new();
    for row in rows {
        let mut given = config();
        (row.given)(&mut given);
        let mut host = Host::start(given);
        host.reload = reload;
        host.play(row.before);
        // A row about the start itself has no steps before it: then the effects of the start are those that matter.
        if row.when.is_empty() {
            host.said.retain(|line| !line.starts_with("sockets"));
        } else {
            host.forget();
        }
        host.play(row.when);
        let got: Vec<String> = std::iter::once(host.state()).chain(host.said).collect();
        if got != row.then {
            wrong.push(format!(
                "{}: {}\n  {} / {}\n  want {:#?}\n  got {got:#?}",
                row.clause, row.text, row.before, row.when, row.then
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}
