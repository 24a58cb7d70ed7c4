//! Which options go with which command and with each other, and the words for what does not.
//!
//! Pure.

use std::collections::BTreeSet;

use super::Draft;
use crate::ipvs::genl::destination::{method, tunnel};
use crate::ipvsadm::Leave;
use crate::ipvsadm::words::{Opt, Verb};

impl Draft<'_> {
    /// What the command needs and what it does not know, in the order of the options.
    pub(super) fn check_options(&self) -> Result<(), Leave> {
        let verb = self.verb;
        let always = [Opt::Service, Opt::Server].into_iter();
        for opt in always.chain(self.given.iter().copied()).collect::<BTreeSet<_>>() {
            match (use_of(verb, opt), self.has(opt)) {
                (Use::Illegal, true) => {
                    let (opt, verb) = (opt.name(), verb.name());
                    return Err(Leave::mistake(format!("Illegal '{opt}' option with the '{verb}' command")));
                }
                (Use::Needed, false) => {
                    let (opt, verb) = (opt.name(), verb.name());
                    return Err(Leave::mistake(format!(
                        "You need to supply the '{opt}' option for the '{verb}' command"
                    )));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn check_tunnel(&self) -> Result<(), Leave> {
        const SUMS: [Opt; 3] = [Opt::TunNoChecksum, Opt::TunChecksum, Opt::TunRemoteChecksum];
        let about = || [Opt::TunType, Opt::TunPort].into_iter().chain(SUMS);
        if self.method != method::TUNNEL && about().any(|opt| self.has(opt)) {
            return Err(Leave::mistake("Tunnel options conflict with forward method"));
        }
        let kind = self.tunnel.unwrap_or(tunnel::IPIP);
        let (name, illegal): (_, &[Opt]) = match kind {
            tunnel::GUE => ("gue", &[]),
            tunnel::GRE => ("gre", &[Opt::TunPort, Opt::TunRemoteChecksum]),
            _ => ("ipip", &[Opt::TunPort, Opt::TunNoChecksum, Opt::TunChecksum, Opt::TunRemoteChecksum]),
        };
        if let Some(opt) = illegal.iter().find(|opt| self.has(**opt)) {
            let opt = opt.name();
            return Err(Leave::mistake(format!("Illegal '{opt}' option with the '{name}' tunnel type")));
        }
        if kind == tunnel::GUE && !self.has(Opt::TunPort) {
            return Err(Leave::mistake("You need to supply the 'tun-port' option for the 'gue' tunnel type"));
        }
        let mut sums = SUMS.into_iter().filter(|opt| self.has(*opt));
        if let (Some(first), Some(second)) = (sums.next(), sums.next()) {
            let (first, second) = (first.name(), second.name());
            return Err(Leave::mistake(format!(
                "The option '{second}' conflicts with the '{first}' option in the '{name}' tunnel type"
            )));
        }
        Ok(())
    }

    pub(super) fn check_list(&self) -> Result<(), Leave> {
        let exclusive = [Opt::Connection, Opt::Service, Opt::Timeout, Opt::Daemon];
        let mut given = exclusive.into_iter().filter(|opt| self.has(*opt));
        if let (Some(first), Some(second)) = (given.next(), given.next()) {
            let (first, second) = (first.name(), second.name());
            return Err(Leave::mistake(format!(
                "The option '{second}' conflicts with the '{first}' option in the 'list' command"
            )));
        }
        let no_services = [Opt::Connection, Opt::Timeout, Opt::Daemon].into_iter().any(|opt| self.has(opt));
        let of_services = [Opt::Stats, Opt::Rate, Opt::Thresholds].into_iter().any(|opt| self.has(opt));
        let persistent = self.has(Opt::PersistentConn) && !self.has(Opt::Connection);
        if no_services && (of_services || persistent) {
            return Err(Leave::mistake("options conflicts in the list command"));
        }
        Ok(())
    }
}

enum Use {
    Needed,
    Allowed,
    Illegal,
}

fn use_of(verb: Verb, opt: Opt) -> Use {
    use Opt::{
        Connection, ControlDir, Daemon as SyncDaemon, Engine, Exact, Forward, Json, LowerThreshold, McastGroup,
        McastInterface, McastPort, McastTtl, Netmask as Mask, NoSort, Numeric, OnePacket, Persistent, PersistentConn,
        Rate, SchedFlags, Scheduler, Server, Service, Stats, SyncId, SyncMaxLen, Thresholds, Timeout, TunChecksum,
        TunInfo, TunNoChecksum, TunPort, TunRemoteChecksum, TunType, UpperThreshold, Weight,
    };
    let (needed, allowed): (&[Opt], &[Opt]) = match verb {
        Verb::AddService | Verb::EditService => {
            (&[Service], &[Scheduler, Persistent, Mask, OnePacket, Engine, SchedFlags])
        }
        Verb::DeleteService => (&[Service], &[]),
        Verb::AddServer | Verb::EditServer => (
            &[Service, Server],
            &[
                Forward,
                Weight,
                UpperThreshold,
                LowerThreshold,
                TunType,
                TunPort,
                TunNoChecksum,
                TunChecksum,
                TunRemoteChecksum,
            ],
        ),
        Verb::DeleteServer => (&[Service, Server], &[]),
        Verb::List => (
            &[],
            &[
                Numeric,
                Connection,
                Service,
                Timeout,
                SyncDaemon,
                Stats,
                Rate,
                Thresholds,
                PersistentConn,
                NoSort,
                SyncId,
                Exact,
                TunInfo,
                Json,
                ControlDir,
            ],
        ),
        Verb::Save => (&[], &[Numeric]),
        Verb::Zero => (&[], &[Service]),
        Verb::StartDaemon => (&[], &[McastInterface, SyncId, SyncMaxLen, McastGroup, McastPort, McastTtl]),
        Verb::StopDaemon => (&[], &[SyncId]),
        Verb::Clear | Verb::Restore | Verb::Set | Verb::Help | Verb::Version => (&[], &[]),
    };
    match () {
        () if needed.contains(&opt) => Use::Needed,
        () if allowed.contains(&opt) => Use::Allowed,
        () => Use::Illegal,
    }
}
