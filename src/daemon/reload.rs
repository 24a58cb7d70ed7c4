//! Whether a reload goes through, what it changes, in one line, and what it cannot change.
//!
//! Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::conf::config::Config;
use crate::conf::{Diagnostic, Diagnostics, Kind, Severity};
use crate::ipvs::diff::BalancerDiff;
use crate::notify::config::{NotifyConfig, of_virtual_server, of_virtual_servers};
use crate::notify::notice::About;
use crate::vrrp::config::{ConfigDiff, renames};

/// The errors that the running configuration was started with, wherever they stand in the file.
///
/// A start goes on in spite of errors, as keepalived's does. Were every reload of such a file refused, the file could
/// not be changed at all without a restart; so only an error that is new refuses.
#[derive(Debug, Clone, Default)]
pub struct KnownErrors {
    counts: BTreeMap<(Kind, String), usize>,
}

impl KnownErrors {
    /// Those of the load that is now in force.
    pub fn of(diagnostics: &Diagnostics) -> Self {
        let mut known = Self::default();
        for error in errors(diagnostics) {
            *known.counts.entry(identity(error)).or_default() += 1;
        }
        known
    }

    /// The first error that is not known, or that occurs more often than before.
    pub fn first_new<'a>(&self, diagnostics: &'a Diagnostics) -> Option<&'a Diagnostic> {
        let mut left = self.counts.clone();
        errors(diagnostics).find(|error| match left.get_mut(&identity(error)) {
            Some(count) if *count > 0 => {
                *count -= 1;
                error.severity == Severity::Fatal
            }
            _ => true,
        })
    }
}

fn errors(diagnostics: &Diagnostics) -> impl Iterator<Item = &Diagnostic> {
    diagnostics.iter().filter(|diagnostic| diagnostic.severity >= Severity::Error)
}

fn identity(error: &Diagnostic) -> (Kind, String) {
    (error.kind, error.message.clone())
}

/// What became of the blocks of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// In both, different.
    pub changed: usize,
    /// Only in the new configuration.
    pub added: usize,
    /// Only in the old one.
    pub removed: usize,
    /// In both, the same: not touched.
    pub unchanged: usize,
}

impl Counts {
    fn is_empty(self) -> bool {
        self == Self::default()
    }

    fn differs(self) -> bool {
        self.changed + self.added + self.removed > 0
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { changed, added, removed, unchanged } = self;
        write!(f, "{changed} changed, {added} added, {removed} removed, {unchanged} unchanged")
    }
}

/// What a reload changes, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// `vrrp_instance` blocks.
    pub instances: Counts,
    /// `virtual_server` blocks.
    pub virtual_servers: Counts,
    /// Something else of the configuration differs too.
    pub others: bool,
}

impl Summary {
    /// Of the step from `old` to `new`; `diff` is what the vrrp process is told of it.
    pub fn of(old: &Config, new: &Config, diff: &ConfigDiff, balancer: &BalancerDiff) -> Self {
        let renamed = renames(&old.vrrp.instances, &new.vrrp.instances).len();
        let changed = diff.instances.keys().filter(|name| old.vrrp.instances.contains_key(*name)).count() + renamed;
        let instances = Counts {
            changed,
            added: diff.instances.len() - changed,
            removed: diff.removed_instances.len() - renamed,
            unchanged: new.vrrp.instances.len() - diff.instances.len(),
        };
        let changed = balancer.services.keys().filter(|id| old.balancer.services.contains_key(*id)).count();
        let virtual_servers = Counts {
            changed,
            added: balancer.services.len() - changed,
            removed: balancer.removed_services.len(),
            unchanged: new.balancer.services.len() - balancer.services.len(),
        };
        let others = instances.differs() || virtual_servers.differs() || old != new;
        Self { instances, virtual_servers, others }
    }

    /// The log line.
    pub fn line(&self, took: Duration) -> String {
        format!("reload: {self}, {} ms", took.as_millis())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instances, virtual_servers, others } = *self;
        write!(f, "{instances}")?;
        if !virtual_servers.is_empty() {
            write!(f, "; virtual servers: {virtual_servers}")?;
        }
        if others && !instances.differs() && !virtual_servers.differs() {
            f.write_str(", other settings changed")?;
        }
        Ok(())
    }
}

/// Makes `config` the `new` one. What is the same stays where it lies: the new one was read into memory that is to be given
/// back. The answer is whether so much is not the same that it should be packed.
pub fn take_over(config: &mut Config, new: Config, vrrp: &ConfigDiff, balancer: &BalancerDiff) -> bool {
    /// Less than this keeps few pages from being given back.
    const FEW: usize = 100;
    fn keep<T: PartialEq>(old: &mut T, new: T) -> bool {
        let differs = *old != new;
        if differs {
            *old = new;
        }
        differs
    }
    let many = vrrp.instances.len() + vrrp.groups.len() + balancer.services.len() + balancer.groups.len() > FEW;
    vrrp.clone().apply(&mut config.vrrp);
    balancer.clone().apply(&mut config.balancer);
    let Config { daemon, vrrp: _, balancer: _, scripts, files, processes, notify, not_built, order } = new;
    config.daemon = daemon;
    [
        many,
        keep(&mut config.scripts, scripts),
        keep(&mut config.files, files),
        keep(&mut config.processes, processes),
        keep(&mut config.notify, notify),
        keep(&mut config.not_built, not_built),
        keep(&mut config.order, order),
    ]
    .contains(&true)
}

/// The new notify scripts, and the old ones of whoever is gone: the last event is still to come.
pub fn notify_with_departing(old: &Config, new: &Config, diff: &BalancerDiff) -> NotifyConfig {
    let mut notify = new.notify.clone();
    let old_servers = &old.balancer.services;
    let old = &old.notify;
    let gone = |(name, _): &(&String, _)| !new.vrrp.instances.contains_key(*name);
    notify.instances.extend(old.instances.iter().filter(gone).map(|(name, n)| (name.clone(), n.clone())));
    let gone = |(name, _): &(&String, _)| !new.vrrp.groups.contains_key(*name);
    notify.groups.extend(old.groups.iter().filter(gone).map(|(name, n)| (name.clone(), n.clone())));
    if let (Some(new_mail), Some(old_mail)) = (&mut notify.email, &old.email) {
        let gone = |name: &&String| !new.vrrp.instances.contains_key(*name);
        new_mail.instances.extend(old_mail.instances.iter().filter(gone).cloned());
        let gone = |name: &&String| !new.vrrp.groups.contains_key(*name);
        new_mail.groups.extend(old_mail.groups.iter().filter(gone).cloned());
    }
    for (title, hook) in &old.webhooks {
        let gone = match &hook.only {
            Some(About::Instance(name)) => !new.vrrp.instances.contains_key(name),
            Some(About::Group(name)) => !new.vrrp.groups.contains_key(name),
            _ => false,
        };
        if gone && !notify.webhooks.contains_key(title) {
            notify.webhooks.insert(title.clone(), hook.clone());
        }
    }
    notify.virtual_servers = of_virtual_servers(&new.balancer);
    for id in diff.services.keys().chain(&diff.removed_services) {
        let Some(old) = old_servers.get(id).map(of_virtual_server) else { continue };
        match notify.virtual_servers.get_mut(id) {
            None => drop(notify.virtual_servers.insert(id.clone(), old)),
            Some(new_scripts) => {
                let stays = |address| {
                    new.balancer.services.get(id).is_some_and(|s| s.real_servers.iter().any(|r| r.address == address))
                };
                new_scripts.silent.extend(old.silent.into_iter().filter(|address| !stays(*address)));
                new_scripts.real_servers.extend(old.real_servers.into_iter().filter(|(address, _)| !stays(*address)));
            }
        }
    }
    notify
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::config::DaemonConfig;
    use crate::ipvs::types::SocketKey;
    use crate::notify::config::NotifyScripts;
    use crate::vrrp::config::{InstanceConfig, VrrpConfig};
    use crate::vrrp::types::Vrid;

    fn config(instances: &[(&str, u8)]) -> VrrpConfig {
        let instance = |vrid| InstanceConfig::new("eth0", Vrid::new(vrid).unwrap());
        let instances = instances.iter().map(|(name, vrid)| ((*name).to_owned(), instance(*vrid))).collect();
        VrrpConfig { instances, ..VrrpConfig::default() }
    }

    /// The diagnostics of a file with these lines.
    fn diagnostics(lines: &str) -> Diagnostics {
        crate::conf::load_text("k.conf".as_ref(), lines.as_bytes(), &Default::default()).diagnostics
    }

    #[test]
    fn only_a_new_error_refuses_a_reload() {
        let good = "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n}\n";
        let flawed = format!("vrrp_instance W {{\n interface eth0\n virtual_router_id 2\n frobnicate 1\n}}\n{good}");
        let known = KnownErrors::of(&diagnostics(&flawed));
        assert!(diagnostics(&flawed).has_errors());
        assert_eq!(known.first_new(&diagnostics(&format!("\n\n{flawed}"))), None, "the same error, lower down");
        assert_eq!(known.first_new(&diagnostics(good)), None, "mended");
        let twice = flawed.replace("frobnicate 1", "frobnicate 1\n frobnicate 2");
        assert!(known.first_new(&diagnostics(&twice)).is_some(), "once more than before");
        let new = known.first_new(&diagnostics(&flawed.replace("frobnicate", "twiddle"))).map(|d| d.message.clone());
        assert!(new.is_some_and(|message| message.contains("twiddle")));
        assert!(KnownErrors::default().first_new(&diagnostics(&flawed)).is_some());
    }

    #[test]
    fn what_is_not_built_and_moves_no_address_does_not_hinder() {
        let text = "static_routes {\n 192.0.2.0/24 via 198.51.100.1\n}\nstatic_rules {\n from 192.0.2.1 table 1 preference 100\n}\n";
        let diagnostics = diagnostics(text);
        assert_eq!((diagnostics.has_errors(), diagnostics.count(Severity::Warning)), (false, 2), "{diagnostics:?}");
    }

    fn summary(old: &Config, new: &Config) -> Summary {
        let balancer = BalancerDiff::between(&old.balancer, &new.balancer);
        Summary::of(old, new, &ConfigDiff::between(&old.vrrp, &new.vrrp), &balancer)
    }

    #[test]
    fn instances_are_counted() {
        let of = |instances| Config { vrrp: config(instances), ..Config::default() };
        let old = of(&[("same", 1), ("changed", 2), ("gone", 3)]);
        let new = of(&[("same", 1), ("changed", 9), ("new", 4), ("newer", 5)]);
        let line = summary(&old, &new).line(Duration::from_micros(4321));
        assert_eq!(line, "reload: 1 changed, 2 added, 1 removed, 1 unchanged, 4 ms");
        let renamed = of(&[("same", 1), ("another name", 2), ("gone", 3)]);
        assert_eq!(summary(&old, &renamed).to_string(), "1 changed, 0 added, 0 removed, 2 unchanged");
        assert_eq!(summary(&new, &new).to_string(), "0 changed, 0 added, 0 removed, 4 unchanged");
        let mut other = new.clone();
        other.daemon.script_security = true;
        assert_eq!(
            summary(&new, &other).to_string(),
            "0 changed, 0 added, 0 removed, 4 unchanged, other settings changed"
        );
    }

    #[test]
    fn virtual_servers_are_counted() {
        let of = |ports: &[u16], algo: &str| {
            let server = |port| {
                format!("virtual_server 192.0.2.1 {port} {{\n lb_algo {algo}\n lb_kind NAT\n protocol TCP\n}}\n")
            };
            let text: String = ports.iter().map(server).collect();
            crate::conf::load_text("k.conf".as_ref(), text.as_bytes(), &Default::default()).config.unwrap()
        };
        let old = of(&[80, 81, 82], "rr");
        let none = "0 changed, 0 added, 0 removed, 0 unchanged";
        let line = |new: &Config| summary(&old, new).to_string();
        assert_eq!(line(&old), format!("{none}; virtual servers: 0 changed, 0 added, 0 removed, 3 unchanged"));
        assert_eq!(
            line(&of(&[81, 82, 83, 84], "rr")),
            format!("{none}; virtual servers: 0 changed, 2 added, 1 removed, 2 unchanged")
        );
        assert_eq!(
            line(&of(&[80, 81, 82], "wlc")),
            format!("{none}; virtual servers: 3 changed, 0 added, 0 removed, 0 unchanged")
        );
        assert_eq!(
            line(&Config::default()),
            format!("{none}; virtual servers: 0 changed, 0 added, 3 removed, 0 unchanged")
        );
    }

    #[test]
    fn what_cannot_change_stays_and_is_named() {
        let old = DaemonConfig { net_namespace: Some("blue".into()), ..DaemonConfig::default() };
        let mut new = DaemonConfig { instance: Some("x".into()), script_security: true, ..DaemonConfig::default() };
        assert_eq!(new.hold(&old), ["net_namespace", "instance"]);
        assert_eq!(new, DaemonConfig { script_security: true, ..old });
    }

    #[test]
    fn a_reload_takes_the_new_file_over_and_leaves_the_rest_where_it_lies() {
        let load = |text: &str| {
            let loaded = crate::conf::load_text("k.conf".as_ref(), text.as_bytes(), &Default::default());
            loaded.config.expect("usable")
        };
        let real = |weight: u8| format!(" real_server 192.0.2.1 80 {{\n weight {weight}\n notify_up /bin/up\n }}\n");
        let server = |port: u16, weight| format!("virtual_server 10.0.0.1 {port} {{\n{}}}\n", real(weight));
        let instance = "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n notify /bin/n\n}\n";
        let many: String = (1..200).map(|port| server(port, 1)).collect();
        let texts = [
            String::new(),
            many.clone(),
            many.replacen("weight 1", "weight 7", 1),
            format!("{many}{instance}track_file f {{\n file /run/f\n}}\n"),
            format!("global_defs {{\n router_id x\n lvs_flush\n}}\n{}", server(1, 2)),
        ];
        for (a, old) in texts.iter().enumerate() {
            for (b, new) in texts.iter().enumerate() {
                let (mut config, new) = (load(old), load(new));
                let vrrp = ConfigDiff::between(&config.vrrp, &new.vrrp);
                let balancer = BalancerDiff::between(&config.balancer, &new.balancer);
                let scattered = take_over(&mut config, new.clone(), &vrrp, &balancer);
                assert_eq!(config, new, "{a} to {b}");
                assert_eq!(scattered, a != b && !matches!((a, b), (1, 2) | (2, 1)), "{a} to {b}");
            }
        }
    }

    #[test]
    fn who_leaves_a_virtual_server_is_told_of_as_the_old_file_said() {
        let config = |reals: &str| {
            let text = format!("virtual_server 10.0.0.1 80 {{\n{reals}}}\n");
            let loaded = crate::conf::load_text("k.conf".as_ref(), text.as_bytes(), &Default::default());
            loaded.config.expect("usable")
        };
        let real =
            |n: u8, more: &str| format!(" real_server 192.0.2.{n} 80 {{\n notify_down /bin/d{n}\n {more}\n }}\n");
        let old = config(&[real(1, ""), real(2, "smtp_alert off"), real(3, "")].concat());
        let new = config(&real(1, ""));
        let diff = BalancerDiff::between(&old.balancer, &new.balancer);
        let scripts = notify_with_departing(&old, &new, &diff).virtual_servers.into_values().next().expect("one");
        let last = |address: &SocketKey| address.ip.to_string().replace("192.0.2.", "");
        assert_eq!(scripts.real_servers.keys().map(last).collect::<Vec<_>>(), ["1", "2", "3"]);
        assert_eq!(scripts.silent.iter().map(last).collect::<Vec<_>>(), ["2"]);
        let later = notify_with_departing(&new, &new, &BalancerDiff::default());
        let scripts = later.virtual_servers.into_values().next().expect("one");
        assert_eq!(
            scripts.real_servers.keys().map(last).collect::<Vec<_>>(),
            ["1"],
            "with the next reload they are gone"
        );
    }

    #[test]
    fn a_removed_instance_keeps_its_scripts_for_its_last_event() {
        let scripts = NotifyScripts::default;
        let mut old = NotifyConfig::default();
        old.instances.insert("gone".into(), scripts());
        old.instances.insert("silent".into(), scripts());
        let new = Config { vrrp: config(&[("silent", 1)]), ..Config::default() };
        let old = Config { notify: old, ..Config::default() };
        let notify = notify_with_departing(&old, &new, &BalancerDiff::default());
        assert_eq!(notify.instances.keys().collect::<Vec<_>>(), ["gone"], "one that is still there obeys the new file");
    }
}
