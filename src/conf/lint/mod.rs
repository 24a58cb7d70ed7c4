//! What is legal and wrong: findings beyond the errors of the language, each with its reason and its fix.
//!
//! Pure: what only the machine knows, whether a script can be run, is asked of a [`Host`]. Some of these findings are made
//! by the parser itself, which sees the words; they bear a code of this list all the same.

mod elections;
mod network;
mod scripts;
#[cfg(test)]
mod tests;
mod weights;

use super::config::Config;
use super::diagnostic::Reporter;
use super::section::{Section, Value};
use super::source::{Sources, Span};
use crate::command::Command;
use crate::vrrp::config::{Auth, InstanceConfig, TrackerKey};

pub use elections::{Elections, Failover};

/// A kind of finding.
#[derive(Debug)]
pub struct Lint {
    /// Its stable name, as in `warning[weight-too-small]`.
    pub code: &'static str,
    /// What it finds.
    pub title: &'static str,
    /// What comes of it.
    pub why: &'static str,
    /// What to do.
    pub fix: &'static str,
}

macro_rules! lints {
    ($($code:literal: $title:literal, $why:literal, $fix:literal;)*) => {
        /// Every kind of finding.
        pub static LINTS: &[Lint] = &[$(Lint { code: $code, title: $title, why: $why, fix: $fix }),*];
    };
}

lints! {
    "surplus-word": "a second word where the keyword takes one",
        "keepalived takes what it needs of a line and drops the rest without a word",
        "put each keyword on a line of its own; put a password with blanks in double quotes";
    "second-address": "a second address on a line of addresses",
        "each line holds one address; the rest of the line is taken as its options and lost",
        "put each address on a line of its own";
    "auth-pass-cut": "a password that is cut to 8 bytes, or at a `!` or `#`",
        "VRRPv2 sends 8 bytes, and `!` and `#` begin a comment: two passwords that look different are the same, or the reverse",
        "write 8 bytes, in double quotes when one is `!` or `#`";
    "state-equal": "`state EQUAL`",
        "old how-tos have it; there is no such state, and BACKUP is used",
        "write `state BACKUP` on all routers and let the priorities decide";
    "nopreempt-master": "`nopreempt` with `state MASTER`",
        "`nopreempt` is dropped: this router takes over whenever it comes back",
        "write `state BACKUP` on all routers; the priority still decides who begins as master";
    "preempt-delay-dropped": "`preempt_delay` that is left out",
        "with `nopreempt`, `state MASTER` or strict mode there is nothing to delay",
        "remove it, or write `state BACKUP` on all routers";
    "weight-too-small": "weights that can never cause a failover",
        "two routers differ by 1 at least; a priority that sinks by 1 makes a tie, and a tie leaves the master where it is",
        "make the weight larger than the difference of the priorities, or leave it out: a failure then means FAULT";
    "weight-clamped": "a weight that is cut off at 254",
        "priorities end at 254: while all is well the weight counts for less than it says, and a failure may not be enough",
        "lower `priority`, or write the weight with a minus sign";
    "weight-owner": "a weight on an address owner",
        "priority 255 never changes: a failure has no effect at all",
        "lower `priority`, or leave the weight out: a failure then means FAULT";
    "weight-nopreempt": "weights with `nopreempt`",
        "a backup with `nopreempt` does not displace a master whose priority sank: no failover while that master advertises",
        "leave the weight out: a failure then means FAULT, and the master resigns";
    "script-missing": "a script that cannot be found or run at all",
        "a tracked script that cannot run counts as failed, a notify script does nothing",
        "correct the path; the message names the first component that is wrong";
    "script-not-executable": "a script that cannot be executed, by anybody or by the user that it runs as",
        "it cannot be run",
        "what the message says: `chmod a+x` of the file, or of the first folder on its path that keeps the user out";
    "script-unsafe": "a script, or a folder on its path, that somebody other than root can change",
        "who can change what root runs is root; with `enable_script_security` it is not run at all",
        "`chown root` or `chmod go-w` the component that the message names";
    "script-always-succeeds": "a track script that always succeeds",
        "its last command never fails, so that no failure is ever seen",
        "let the check itself be the last command: no `|| true`, no `; echo …`, no `&`";
    "script-shell-line": "a shell line where keepalived runs a program",
        "here a shell runs it; keepalived 2 runs its first word with all others as arguments, or disables the script when that is no program, and goes on as if it were healthy",
        "put the line in a file that begins with `#!/bin/sh`, or write `/bin/sh -c '…'`";
    "duplicate-vrid": "two instances with one virtual router id on an interface",
        "both answer to the same adverts",
        "give each its own `virtual_router_id`";
    "unicast-source": "unicast without a check of the source",
        "whoever can route a packet to this host can take its addresses",
        "add `check_unicast_src`, or `vrrp_check_unicast_src` to `global_defs`";
    "unicast-self": "a router that is its own unicast peer",
        "its adverts come back to itself and reach nobody",
        "name the other routers in `unicast_peer`";
    "preemption-flaps": "preemption that would flap",
        "one failed run moves the addresses away, and one good run moves them back: a script that fails now and then moves them to and fro",
        "`fall 2` and `rise 2` or more, or `nopreempt` with `state BACKUP`";
    "strict-drops": "strict mode without `accept`",
        "packets to the virtual addresses are dropped by the packet filter: they answer neither ping nor anything else",
        "remove `vrrp_strict` or `strict_mode`, or add `accept` with `version 3`";
    "group-not-local": "a multicast group that is not for one link",
        "switches that snoop on IGMP may not pass it on: both routers become master",
        "use 224.0.0.18 (ff02::12), or another of 224.0.0.0/24 (ff02::/16)";
    "nat-local-clients": "NAT with real servers on the subnet of the virtual address",
        "clients of that subnet get the answers straight from the real server, which they did not ask",
        "use `lb_kind DR`, or keep clients and real servers on different subnets";
    "pair-missing": "an instance that the other director does not have", "nobody takes its addresses over",
        "write it on both, with the same `virtual_router_id`";
    "pair-vrid": "different virtual router ids", "each is alone with its id: both are master of the same addresses",
        "give both the same `virtual_router_id`";
    "pair-family": "IPv4 on one director and IPv6 on the other", "they never hear each other: both are master",
        "use addresses of one family on both";
    "pair-version": "different versions of VRRP", "each drops the other's adverts: both are master",
        "write the same `version` on both";
    "pair-interval": "different advert intervals", "VRRPv2 drops such adverts, so that both are master; VRRPv3 counts with the master's",
        "write the same `advert_int` on both";
    "pair-addresses": "different virtual addresses", "an address that only one director has is lost at a failover",
        "write the same `virtual_ipaddress` lines on both";
    "pair-excluded": "different excluded addresses", "an address that only one director has is lost at a failover",
        "write the same `virtual_ipaddress_excluded` lines on both";
    "pair-auth": "different authentication", "each drops the other's adverts: both are master",
        "write the same `auth_type` and the same first 8 bytes of `auth_pass` on both";
    "pair-priority": "equal priorities", "the higher IP address decides, which nobody sees in the files",
        "give the director that should be master the higher `priority`";
    "pair-state": "`state MASTER` on both", "both begin as master, and one of them yields a moment later",
        "write `state BACKUP` on both, or MASTER on the one with the higher priority";
    "pair-preempt": "`nopreempt` on one director only", "it holds on one way only: the other takes over whenever it can",
        "write `nopreempt` and `state BACKUP` on both, or on neither";
    "pair-transport": "adverts that do not reach the other director", "neither hears the other: both are master",
        "use multicast with one group on both, or `unicast_peer` on both";
    "pair-peers": "unicast peers that do not name each other", "adverts do not arrive, or are dropped: both are master",
        "`unicast_peer` of each holds the `unicast_src_ip` of the other";
    "pair-checksum": "different checksums", "each drops the other's adverts: both are master",
        "write the same `v3_checksum_as_v2` on both";
    "pair-setting": "a setting that differs", "the two directors behave differently after a failover",
        "write the same on both, unless it is meant";
    "pair-group": "different sync groups", "instances move together on one director and apart on the other",
        "write the same `vrrp_sync_group` on both";
    "pair-tracks": "different trackers", "a failure that moves the addresses away from one director does not on the other",
        "track the same on both";
    "pair-no-failover": "a failure that does not cause a failover", "the master keeps the addresses although the other director is healthy",
        "make the weight larger than the difference of the priorities, or leave it out: a failure then means FAULT";
    "pair-no-return": "a failover that cannot heal", "after a failover, a failure of the new master does not bring the addresses back",
        "leave the weight out, or remove `nopreempt`: with it only FAULT and silence move the addresses";
    "pair-virtual-server": "different virtual servers", "after a failover the traffic is balanced in another way, or not at all",
        "write the same `virtual_server` blocks on both";
}

/// The kind of finding with this code.
pub fn find(code: &str) -> Option<&'static Lint> {
    LINTS.iter().find(|lint| lint.code == code)
}

/// What a linter asks of the machine that the configuration is for.
pub trait Host {
    /// What is wrong with running this command under `config`; nothing when it is fine.
    fn judge(&self, command: &Command, config: &Config) -> Vec<ScriptProblem>;
}

/// What is wrong with a command on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptProblem {
    /// Of [`LINTS`].
    pub code: &'static str,
    /// What is wrong, with the component of the path.
    pub message: String,
    /// The command that mends it.
    pub help: Option<String>,
}

/// Looks at a configuration that was read. Without a `host` nothing is said about files.
pub(super) fn lint(
    root: &Section<'_>,
    config: &Config,
    sources: &Sources,
    host: Option<&dyn Host>,
    reporter: &mut Reporter,
) {
    for section in root.sections("vrrp_instance") {
        let Some(name) = section.name.map(|word| word.text) else { continue };
        let Some(instance) = config.vrrp.instances.get(name) else { continue };
        let mut subject = Subject { root, section, name, instance, reporter };
        password(&mut subject, sources);
        weights::lint(&mut subject);
        network::lint(&mut subject);
    }
    weights::lint_flapping(root, config, reporter);
    network::lint_nat(root, config, reporter);
    scripts::lint(root, config, host, reporter);
}

/// One instance under the linter's eyes.
struct Subject<'s, 'a, 'r> {
    root: &'s Section<'a>,
    section: &'s Section<'a>,
    name: &'s str,
    instance: &'s InstanceConfig,
    reporter: &'r mut Reporter,
}

impl Subject<'_, '_, '_> {
    /// The place of a keyword, or the block's own.
    fn span(&self, keyword: &str) -> Span {
        self.section.entry(keyword).map_or(self.section.span, |entry| entry.span)
    }

    /// The line that tracks something: of the instance, or of its sync group.
    fn track_span(&self, tracker: &TrackerKey) -> Span {
        let is_member =
            |group: &&Section<'_>| group.lines("group").flat_map(|node| node.words).any(|word| word.text == self.name);
        let mut groups = self.root.sections("vrrp_sync_group").filter(is_member);
        track_line(self.section, tracker)
            .or_else(|| groups.find_map(|group| track_line(group, tracker)))
            .unwrap_or(self.section.span)
    }
}

fn track_line(section: &Section<'_>, tracker: &TrackerKey) -> Option<Span> {
    let (keyword, name) = match tracker {
        TrackerKey::Interface(name) => ("track_interface", name),
        TrackerKey::Script(name) => ("track_script", name),
        TrackerKey::File(name) => ("track_file", name),
        TrackerKey::Process(name) => ("track_process", name),
        #[allow(unreachable_patterns, reason = "more kinds of trackers may come")]
        _ => return None,
    };
    section.lines(keyword).find(|node| node.keyword().text == *name).map(|node| node.span())
}

/// A password that ends at a `!` or `#`, which begins a comment wherever it stands outside quotes.
fn password(subject: &mut Subject<'_, '_, '_>, sources: &Sources) {
    if subject.instance.auth == Auth::None {
        return;
    }
    let Some(word) = subject.section.sections("authentication").last().and_then(|auth| auth.word("auth_pass")) else {
        return;
    };
    let place = sources.locate(word.span);
    let end = place.column as usize - 1 + place.width as usize;
    if let Some(mark @ ('!' | '#')) = place.text.chars().nth(end) {
        let message = format!("`auth_pass` ends before the `{mark}`, which begins a comment");
        subject
            .reporter
            .warning(word.span, message)
            .code("auth-pass-cut")
            .help("put the password in double quotes; keepalived cuts it too, so change all routers together");
    }
}

/// All commands of a configuration with their places, however deep.
fn commands<'s, 'a>(section: &'s Section<'a>, found: &mut Vec<(&'s Section<'a>, &'static str, Span, &'s Command)>) {
    for entry in &section.entries {
        match &entry.value {
            Value::Section(inner) => commands(inner, found),
            Value::Script(Some(command)) => found.push((section, entry.keyword, entry.span, command)),
            _ => {}
        }
    }
}
