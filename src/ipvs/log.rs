//! Events of the balancer as log lines, in the words that people search keepalived's logs for.
//!
//! Shell: writes to `tracing`. The message is keepalived's own where it has one; the cause is a field.

use super::config::VirtualServerId;
use super::event::{Cause, Event, QuorumPhrase, threshold};

/// The tracing target of what the balancer process reports, whoever writes it down.
pub const TARGET: &str = "healthcheckers";

/// Logs one event.
///
/// The fields under `json` are for lines in JSON: people read them in the text.
pub fn log_event(event: &Event) {
    let (kind, subject) = facts(event);
    let subject = subject.map(ToString::to_string);
    let subject = subject.as_deref();
    for Line { warn, cause, text } in lines(event) {
        let cause = cause.as_deref();
        if warn {
            tracing::warn!(target: "healthcheckers", cause, json.kind = kind, json.subject = subject, "{text}");
        } else {
            tracing::info!(target: "healthcheckers", cause, json.kind = kind, json.subject = subject, "{text}");
        }
    }
}

/// Kind and virtual server, under the names that they have in the JSON of `/v1/events`.
fn facts(event: &Event) -> (&'static str, Option<&VirtualServerId>) {
    match event {
        Event::RealServer { virtual_server, .. } => ("real_server", Some(virtual_server)),
        Event::Checker { virtual_server, .. } => ("check", Some(virtual_server)),
        Event::Quorum { virtual_server, .. } => ("quorum", Some(virtual_server)),
        Event::SorryServer { virtual_server, .. } => ("sorry_server", Some(virtual_server)),
        Event::Weight { virtual_server, .. } => ("weight", Some(virtual_server)),
        Event::Admin { virtual_server, .. } => ("admin", Some(virtual_server)),
        Event::Panic { virtual_server, .. } => ("panic", Some(virtual_server)),
        Event::Active { virtual_server, .. } => ("active", Some(virtual_server)),
        Event::Checks { virtual_server, .. } => ("checks", Some(virtual_server)),
        Event::Warning { virtual_server, .. } => ("warning", virtual_server.as_ref()),
        Event::Note { .. } => ("note", None),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Line {
    warn: bool,
    cause: Option<String>,
    text: String,
}

fn lines(event: &Event) -> Vec<Line> {
    let line = |warn, text: String| Line { warn, cause: None, text };
    match event {
        Event::RealServer { virtual_server, real_server, up, inhibit, cause } => {
            let (verb, where_to) = match (up, inhibit) {
                (true, false) => ("Adding", "to"),
                (true, true) => ("Enabling", "to"),
                (false, false) => ("Removing", "from"),
                (false, true) => ("Disabling", "from"),
            };
            let text = format!("{verb} service {real_server} {where_to} VS {virtual_server}");
            vec![Line { warn: !up, cause: Some(cause.to_string()), text }]
        }
        Event::Quorum { virtual_server, phrase: QuorumPhrase::Stopping, .. } => {
            vec![line(false, format!("Shutting down VS {virtual_server}"))]
        }
        Event::Quorum { virtual_server, up, phrase, quorum, hysteresis, weight, cause } => {
            let (sign, limit) = (if *up { '+' } else { '-' }, threshold(*up, *quorum, *hysteresis));
            let relation = if *up { "<=" } else { ">" };
            let text =
                format!("{phrase} {quorum}{sign}{hysteresis}={limit} {relation} {weight} for VS {virtual_server}");
            vec![Line { warn: !up, cause: Some(cause.to_string()), text }]
        }
        Event::SorryServer { virtual_server, sorry_server, serving: true } => vec![
            line(true, format!("Adding sorry server {sorry_server} to VS {virtual_server}")),
            line(false, format!("Removing alive servers from the pool for VS {virtual_server}")),
        ],
        Event::SorryServer { virtual_server, sorry_server, serving: false } => vec![
            line(false, format!("Removing sorry server {sorry_server} from VS {virtual_server}")),
            line(false, format!("Adding alive servers to the pool for VS {virtual_server}")),
        ],
        Event::Weight { virtual_server, real_server, from, to, up, cause } => {
            let state = if *up { "active" } else { "inactive" };
            let text =
                format!("Changing weight from {from} to {to} for {state} service {real_server} of VS {virtual_server}");
            vec![Line { warn: false, cause: Some(cause.to_string()), text }]
        }
        Event::Admin { virtual_server, real_server, from, to } => {
            let text = format!("service {real_server} of VS {virtual_server} was {from} and is {to} now");
            vec![Line { warn: false, cause: Some(Cause::Admin(*to).to_string()), text }]
        }
        Event::Panic { virtual_server, begins: true, alive, of } => vec![line(
            true,
            format!(
                "only {alive} of {of} real servers of VS {virtual_server} seem alive: we doubt ourselves, and failures \
                 count no longer"
            ),
        )],
        Event::Panic { virtual_server, begins: false, alive, of } => vec![line(
            false,
            format!("{alive} of {of} real servers of VS {virtual_server} are alive: failures count again"),
        )],
        Event::Active { virtual_server, instance, active } => {
            let what = if *active { "begins to serve" } else { "serves no longer" };
            let state = if *active { "is" } else { "is not" };
            vec![line(false, format!("VS {virtual_server} {what}: instance {instance} {state} master"))]
        }
        Event::Checks { virtual_server, paused } => {
            let what = if *paused { "Suspending" } else { "Activating" };
            vec![line(false, format!("{what} healthcheckers of VS {virtual_server} (ha_suspend)"))]
        }
        Event::Warning { message, .. } => vec![line(true, message.clone())],
        Event::Note { message } => vec![line(false, message.clone())],
        // The checkers say what they find themselves.
        Event::Checker { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvs::event::RealServerName;
    use crate::ipvs::types::{Protocol, SocketKey};

    #[test]
    fn lines_speak_as_keepalived_does() {
        let address = SocketKey::new([192, 0, 2, 7].into(), 80);
        let real_server = RealServerName { address, protocol: Protocol::Tcp };
        let virtual_server = VirtualServerId::Group { name: "web".to_owned(), protocol: Protocol::Tcp };
        let cause = Cause::Started;
        let text = |event: &Event| lines(event).into_iter().map(|line| line.text).collect::<Vec<_>>();
        let real = |up, inhibit| {
            let (virtual_server, cause) = (virtual_server.clone(), cause.clone());
            text(&Event::RealServer { virtual_server, real_server, up, inhibit, cause })
        };
        assert_eq!(real(false, false), ["Removing service [192.0.2.7]:tcp:80 from VS [web]:0"]);
        assert_eq!(real(true, false), ["Adding service [192.0.2.7]:tcp:80 to VS [web]:0"]);
        assert_eq!(real(false, true), ["Disabling service [192.0.2.7]:tcp:80 from VS [web]:0"]);
        assert_eq!(real(true, true), ["Enabling service [192.0.2.7]:tcp:80 to VS [web]:0"]);
        let quorum = |up, phrase| {
            let (virtual_server, cause) = (virtual_server.clone(), cause.clone());
            text(&Event::Quorum { virtual_server, up, phrase, quorum: 2, hysteresis: 1, weight: 0, cause })
        };
        assert_eq!(quorum(false, QuorumPhrase::Lost), ["Lost quorum 2-1=1 > 0 for VS [web]:0"]);
        assert_eq!(quorum(true, QuorumPhrase::Gained), ["Gained quorum 2+1=3 <= 0 for VS [web]:0"]);
        let sorry = |serving| {
            let virtual_server = virtual_server.clone();
            text(&Event::SorryServer { virtual_server, sorry_server: real_server, serving })
        };
        assert_eq!(sorry(true)[0], "Adding sorry server [192.0.2.7]:tcp:80 to VS [web]:0");
        assert_eq!(sorry(false)[1], "Adding alive servers to the pool for VS [web]:0");
        let weight = Event::Weight { virtual_server, real_server, from: 1, to: 5, up: true, cause };
        assert_eq!(text(&weight), ["Changing weight from 1 to 5 for active service [192.0.2.7]:tcp:80 of VS [web]:0"]);
    }
}
