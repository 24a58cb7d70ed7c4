//! What a command line means.
//!
//! Pure, but for the names that [`Names`] looks up. Options are taken one by one as they are written, and the first
//! mistake ends it; then the whole is checked. The messages are those of ipvsadm 1.31.

mod rules;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use super::Leave;
use super::address::{Names, host_and_port, ipv4, number};
use super::list::{Columns, Style};
use super::words::{Given, Meaning, Opt, Verb, Words};
use crate::ipvs::genl::destination::{method, tunnel};
use crate::ipvs::genl::service::{Netmask, flag};
use crate::ipvs::genl::{Daemon, DaemonState, KernelDestination, KernelService, Timeouts};
use crate::ipvs::types::{Protocol, ServiceKey, SocketKey};
use crate::vrrp::types::Family;

/// 31 days.
const MAX_TIMEOUT: u32 = 31 * 24 * 60 * 60;
const DEFAULT_PERSISTENCE: u32 = 360;
const DEFAULT_SCHEDULER: &str = "wlc";
const MAX_NUMBER: u32 = i32::MAX as u32;
const MAX_SYNC_LENGTH: u32 = 65535 - 20 - 8;

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the command of its name")]
pub enum Command {
    AddService(KernelService),
    EditService(KernelService),
    DeleteService(ServiceKey),
    AddServer(ServiceKey, KernelDestination),
    EditServer(ServiceKey, KernelDestination),
    DeleteServer(ServiceKey, SocketKey),
    Clear,
    Restore,
    Save { numeric: bool },
    Zero(Option<ServiceKey>),
    Set(Timeouts),
    StartDaemon(Daemon),
    StopDaemon(DaemonState),
    List(List),
    Help,
    Version,
}

impl Command {
    /// The service that it changes.
    pub fn service(&self) -> Option<ServiceKey> {
        match self {
            Self::AddService(service) | Self::EditService(service) => Some(service.key),
            Self::DeleteService(key)
            | Self::AddServer(key, _)
            | Self::EditServer(key, _)
            | Self::DeleteServer(key, _) => Some(*key),
            Self::Zero(key) => *key,
            _ => None,
        }
    }
}

/// What is to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Of all that there is.
    pub what: Shown,
    /// As JSON.
    pub json: bool,
    /// Numbers instead of names.
    pub numeric: bool,
    /// The userspace forwarder of this daemon alone (`--control-dir`).
    pub control_dir: Option<PathBuf>,
}

/// What of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Services, or one of them.
    Services {
        /// This one alone.
        only: Option<ServiceKey>,
        /// Which columns.
        columns: Columns,
        /// Large numbers in full.
        exact: bool,
        /// In the kernel's order.
        unsorted: bool,
    },
    /// Connections.
    Connections {
        /// With persistence engines.
        engines: bool,
    },
    /// Timeouts.
    Timeouts,
    /// Synchronisation daemons.
    Daemons,
}

impl List {
    /// How tables are to be written.
    pub fn style(&self) -> Style {
        match self.what {
            Shown::Services { columns, exact, .. } => Style { columns, numeric: self.numeric, exact },
            _ => Style { numeric: self.numeric, ..Style::default() },
        }
    }
}

/// Understands the arguments, without the program's name. None at all is `-L`.
///
/// # Errors
/// What ipvsadm would say, and with which code it would end.
pub fn parse(program: &str, arguments: &[String], names: &dyn Names) -> Result<Command, Leave> {
    if arguments.is_empty() {
        return Ok(Draft::new(Verb::List, names).list());
    }
    let hint = || Leave::refusal(format!("Try `{program} -h' or '{program} --help' for more information."));
    let mut words = Words::new(arguments);
    let (verb, value) = match words.next_option() {
        Ok(Some(Given { meaning: Meaning::Verb(verb), value, .. })) => (verb, value),
        _ => return Err(hint()),
    };
    match verb {
        Verb::Help => return Ok(Command::Help),
        Verb::Version => return Ok(Command::Version),
        _ => {}
    }
    let mut draft = Draft::new(verb, names);
    if let Some(value) = value {
        draft.daemon_state(&value)?;
    }
    while let Some(given) = words.next_option()? {
        match given.meaning {
            Meaning::Verb(_) => return Err(Leave::mistake(format!("invalid option `{}'", given.word))),
            Meaning::Opt(opt, long) => draft.take(opt, long, given.value.as_deref().unwrap_or_default(), &given)?,
        }
    }
    let mut others = words.others.iter();
    if verb == Verb::Set {
        draft.timeouts(others.by_ref().take(3).map(String::as_str).collect())?;
    }
    if let Some(other) = others.next() {
        return Err(Leave::mistake(format!("unexpected argument {other}")));
    }
    draft.finish()
}

/// What was read so far.
struct Draft<'a> {
    verb: Verb,
    names: &'a dyn Names,
    given: BTreeSet<Opt>,
    protocol: Option<Protocol>,
    address: Option<SocketKey>,
    mark: u32,
    family: Family,
    scheduler: Option<String>,
    engine: Option<String>,
    flags: u32,
    persistence: u32,
    netmask: Option<Netmask>,
    /// Names of scheduler flags that only this scheduler has.
    flag_of: Vec<(String, &'static str)>,
    server: Option<SocketKey>,
    method: u32,
    weight: u32,
    upper: u32,
    lower: u32,
    tunnel: Option<u8>,
    tunnel_port: u16,
    timeouts: Timeouts,
    daemon: Daemon,
    control_dir: Option<PathBuf>,
}

impl<'a> Draft<'a> {
    fn new(verb: Verb, names: &'a dyn Names) -> Self {
        let daemon = Daemon {
            state: DaemonState::Master,
            interface: String::new(),
            sync_id: 0,
            max_length: None,
            group: None,
            port: None,
            ttl: None,
        };
        Self {
            verb,
            names,
            given: BTreeSet::new(),
            protocol: None,
            address: None,
            mark: 0,
            family: Family::V4,
            scheduler: None,
            engine: None,
            flags: 0,
            persistence: 0,
            netmask: None,
            flag_of: Vec::new(),
            server: None,
            method: method::ROUTE,
            weight: 1,
            upper: 0,
            lower: 0,
            tunnel: None,
            tunnel_port: 0,
            timeouts: Timeouts::default(),
            daemon,
            control_dir: None,
        }
    }

    fn daemon_state(&mut self, text: &str) -> Result<(), Leave> {
        self.daemon.state = match (text, self.verb) {
            ("master", _) => DaemonState::Master,
            ("backup", _) => DaemonState::Backup,
            (_, Verb::StartDaemon) => return Err(Leave::mistake("illegal start-daemon parameter specified")),
            _ => return Err(Leave::mistake("illegal start_daemon specified")),
        };
        Ok(())
    }

    fn timeouts(&mut self, texts: Vec<&str>) -> Result<(), Leave> {
        let &[tcp, tcp_fin, udp] = texts.as_slice() else {
            return Err(Leave::mistake("--set option requires 3 timeout values"));
        };
        self.timeouts = Timeouts { tcp: timeout(tcp, 0)?, tcp_fin: timeout(tcp_fin, 0)?, udp: timeout(udp, 0)? };
        Ok(())
    }

    fn has(&self, opt: Opt) -> bool {
        self.given.contains(&opt)
    }

    fn take(&mut self, opt: Opt, long: &str, value: &str, given: &Given) -> Result<(), Leave> {
        match opt {
            Opt::Sort => return Ok(()),
            Opt::Ipv6 if self.mark == 0 => return Err(Leave::mistake("-6 used before -f\n")),
            Opt::Ipv6 => {
                (self.family, self.netmask) = (Family::V6, None);
                return Ok(());
            }
            _ if !self.given.insert(opt) => {
                return Err(Leave::mistake(format!("multiple '{}' options specified", opt.name())));
            }
            _ => {}
        }
        let small =
            |what: &str, range| number(value, range).ok_or_else(|| Leave::mistake(format!("illegal {what} specified")));
        match opt {
            Opt::Service => self.service(long, value)?,
            Opt::Scheduler => self.scheduler = Some(kernel_name(value)),
            Opt::Persistent => {
                self.flags |= flag::PERSISTENT;
                self.persistence = match &given.value {
                    Some(value) => timeout(value, 1)?,
                    None => DEFAULT_PERSISTENCE,
                };
            }
            Opt::Netmask => self.netmask = Some(self.mask(value)?),
            Opt::Server => {
                let protocol = self.protocol.unwrap_or(Protocol::Tcp);
                let (ip, port) = host_and_port(value, protocol, self.names)
                    .ok_or_else(|| Leave::mistake("illegal real server address[:port] specified"))?;
                self.server = Some(SocketKey::new(ip, port));
            }
            Opt::Forward => {
                self.method = match long {
                    "masquerading" => method::MASQUERADE,
                    "ipip" => method::TUNNEL,
                    _ => method::ROUTE,
                }
            }
            Opt::Weight => self.weight = small("weight", 0..=MAX_NUMBER)?,
            Opt::UpperThreshold => self.upper = small("u_threshold", 0..=MAX_NUMBER)?,
            Opt::LowerThreshold => self.lower = small("l_threshold", 0..=MAX_NUMBER)?,
            Opt::OnePacket => self.flags |= flag::ONE_PACKET,
            Opt::Engine => self.engine = Some(kernel_name(value)),
            Opt::SchedFlags => self.scheduler_flags(value)?,
            Opt::TunType => {
                self.tunnel = Some(match value {
                    "ipip" => tunnel::IPIP,
                    "gue" => tunnel::GUE,
                    "gre" => tunnel::GRE,
                    _ => return Err(Leave::mistake("illegal tunnel type specified")),
                });
            }
            Opt::TunPort => self.tunnel_port = narrow(small("tunnel port", 1..=65535)?),
            Opt::SyncId => self.daemon.sync_id = small("syncid", 0..=255)?,
            Opt::SyncMaxLen => self.daemon.max_length = Some(narrow(small("sync-maxlen", 1..=MAX_SYNC_LENGTH)?)),
            Opt::McastInterface => self.daemon.interface = kernel_name(value),
            Opt::McastPort => self.daemon.port = Some(narrow(small("mcast-port", 1..=65535)?)),
            Opt::McastTtl => self.daemon.ttl = u8::try_from(small("mcast-ttl", 1..=255)?).ok(),
            Opt::McastGroup => self.daemon.group = Some(group(value)?),
            Opt::ControlDir => self.control_dir = Some(PathBuf::from(value)),
            _ => {}
        }
        Ok(())
    }

    fn service(&mut self, long: &str, value: &str) -> Result<(), Leave> {
        if long == "fwmark-service" {
            self.mark = number(value, 1..=u32::MAX)
                .ok_or_else(|| Leave::mistake(format!("invalid fwmark value `{value}' specified")))?;
            return Ok(());
        }
        let protocol = match long {
            "udp-service" => Protocol::Udp,
            "sctp-service" => Protocol::Sctp,
            _ => Protocol::Tcp,
        };
        self.protocol = Some(protocol);
        let (ip, port) = host_and_port(value, protocol, self.names)
            .ok_or_else(|| Leave::mistake("illegal virtual server address[:port] specified"))?;
        if ip.is_ipv6() {
            (self.family, self.netmask) = (Family::V6, None);
        }
        self.address = Some(SocketKey::new(ip, port));
        Ok(())
    }

    fn mask(&self, value: &str) -> Result<Netmask, Leave> {
        match self.family {
            Family::V4 => ipv4(value, self.names)
                .map(Netmask::V4)
                .ok_or_else(|| Leave::mistake("illegal virtual server persistent mask specified")),
            Family::V6 => {
                let digits: String = value.chars().take_while(char::is_ascii_digit).collect();
                number(&digits, 1..=128)
                    .map(Netmask::V6)
                    .ok_or_else(|| Leave::mistake("illegal ipv6 netmask specified"))
            }
        }
    }

    fn scheduler_flags(&mut self, value: &str) -> Result<(), Leave> {
        for name in value.split(',').filter(|name| !name.is_empty()) {
            let (flag, scheduler) = match name {
                "sh-fallback" => (flag::SCHED1, Some("sh")),
                "sh-port" => (flag::SCHED2, Some("sh")),
                "mh-fallback" => (flag::SCHED1, Some("mh")),
                "mh-port" => (flag::SCHED2, Some("mh")),
                "flag-1" => (flag::SCHED1, None),
                "flag-2" => (flag::SCHED2, None),
                "flag-3" => (flag::SCHED3, None),
                _ => return Err(Leave::mistake(format!("invalid scheduler flag `{name}'"))),
            };
            self.flags |= flag;
            self.flag_of.extend(scheduler.map(|scheduler| (name.to_owned(), scheduler)));
        }
        Ok(())
    }

    fn finish(self) -> Result<Command, Leave> {
        self.check_options()?;
        let key = self.key();
        match self.verb {
            Verb::AddService | Verb::EditService => self.whole_service(),
            Verb::AddServer | Verb::EditServer => self.whole_server(),
            Verb::DeleteService => Ok(key.map_or(Command::Help, Command::DeleteService)),
            Verb::DeleteServer => {
                Ok(key.zip(self.server_address()).map_or(Command::Help, |(key, to)| Command::DeleteServer(key, to)))
            }
            Verb::List => {
                self.check_list()?;
                Ok(self.list())
            }
            Verb::Clear => Ok(Command::Clear),
            Verb::Restore => Ok(Command::Restore),
            Verb::Save => Ok(Command::Save { numeric: self.has(Opt::Numeric) }),
            Verb::Zero => Ok(Command::Zero(key)),
            Verb::Set => Ok(Command::Set(self.timeouts)),
            Verb::StartDaemon => Ok(Command::StartDaemon(self.daemon)),
            Verb::StopDaemon => Ok(Command::StopDaemon(self.daemon.state)),
            Verb::Help => Ok(Command::Help),
            Verb::Version => Ok(Command::Version),
        }
    }

    fn key(&self) -> Option<ServiceKey> {
        if let Some(mark) = NonZeroU32::new(self.mark) {
            return Some(ServiceKey::Fwmark { family: self.family, mark });
        }
        let (protocol, address) = self.protocol.zip(self.address)?;
        Some(ServiceKey::Address { protocol, address })
    }

    fn whole_service(self) -> Result<Command, Leave> {
        let scheduler = self.scheduler.as_deref().unwrap_or(DEFAULT_SCHEDULER);
        if let Some((name, _)) = self.flag_of.iter().find(|(_, of)| *of != scheduler) {
            return Err(Leave::mistake(format!("incompatible scheduler flag `{name}'")));
        }
        if self.mark == 0 && self.address.is_some_and(|address| address.port == 0) && !self.has(Opt::Persistent) {
            return Err(Leave::mistake("Zero port specified for non-persistent service"));
        }
        if self.has(Opt::OnePacket) && self.mark == 0 && self.protocol != Some(Protocol::Udp) {
            return Err(Leave::mistake("One-Packet Scheduling is only for UDP virtual services"));
        }
        let Some(key) = self.key() else { return Ok(Command::Help) };
        let mut service = KernelService::new(key, scheduler);
        service.flags = self.flags;
        service.timeout = self.persistence;
        service.netmask = self.netmask.unwrap_or(service.netmask);
        service.engine = self.engine;
        Ok(if self.verb == Verb::AddService { Command::AddService(service) } else { Command::EditService(service) })
    }

    fn whole_server(self) -> Result<Command, Leave> {
        let Some((key, address)) = self.key().zip(self.server_address()) else { return Ok(Command::Help) };
        if address.family() != key.family() && self.method != method::TUNNEL {
            return Err(Leave::mistake("Different address family is allowed only for tunneling servers"));
        }
        self.check_tunnel()?;
        let mut to = KernelDestination::new(address, self.method, self.weight);
        (to.upper_threshold, to.lower_threshold) = (self.upper, self.lower);
        if self.method == method::TUNNEL {
            to.tunnel_type = self.tunnel.unwrap_or(tunnel::IPIP);
            to.tunnel_port = self.tunnel_port;
            to.tunnel_flags = match () {
                () if self.has(Opt::TunChecksum) => tunnel::CHECKSUM,
                () if self.has(Opt::TunRemoteChecksum) => tunnel::REMOTE_CHECKSUM,
                () => 0,
            };
        }
        Ok(if self.verb == Verb::AddServer { Command::AddServer(key, to) } else { Command::EditServer(key, to) })
    }

    /// Without a port it is the service's, and so it is always unless NAT changes it; a mark has none, and its servers
    /// get what was asked for.
    fn server_address(&self) -> Option<SocketKey> {
        let mut server = self.server?;
        let keeps_port = self.has(Opt::Forward) && self.method == method::MASQUERADE || self.verb == Verb::DeleteServer;
        if let (Some(service), 0) = (self.address, self.mark)
            && (server.port == 0 || !keeps_port)
        {
            server.port = service.port;
        }
        Some(server)
    }

    fn list(self) -> Command {
        let what = match () {
            () if self.has(Opt::Connection) => Shown::Connections { engines: self.has(Opt::PersistentConn) },
            () if self.has(Opt::Timeout) => Shown::Timeouts,
            () if self.has(Opt::Daemon) => Shown::Daemons,
            () => Shown::Services {
                only: self.key(),
                columns: match () {
                    () if self.has(Opt::Stats) => Columns::Stats,
                    () if self.has(Opt::Rate) => Columns::Rate,
                    () if self.has(Opt::Thresholds) => Columns::Thresholds,
                    () if self.has(Opt::PersistentConn) => Columns::PersistentConnections,
                    () if self.has(Opt::TunInfo) => Columns::Tunnels,
                    () => Columns::Plain,
                },
                exact: self.has(Opt::Exact),
                unsorted: self.has(Opt::NoSort),
            },
        };
        let (json, numeric) = (self.has(Opt::Json), self.has(Opt::Numeric));
        Command::List(List { what, json, numeric, control_dir: self.control_dir })
    }
}

fn timeout(text: &str, min: u32) -> Result<u32, Leave> {
    number(text, min..=MAX_TIMEOUT).ok_or_else(|| Leave::mistake(format!("invalid timeout value `{text}' specified")))
}

fn group(text: &str) -> Result<IpAddr, Leave> {
    if text.contains(':') {
        let group = text.parse().ok().filter(std::net::Ipv6Addr::is_multicast).map(IpAddr::V6);
        return group.ok_or_else(|| Leave::mistake(format!("invalid IPv6 mcast-group `{text}'")));
    }
    let group = text.parse().ok().filter(std::net::Ipv4Addr::is_multicast).map(IpAddr::V4);
    group.ok_or_else(|| Leave::mistake(format!("invalid IPv4 mcast-group `{text}'")))
}

/// The kernel keeps 15 characters of a name.
fn kernel_name(text: &str) -> String {
    text.chars().take(15).collect()
}

/// Checked to fit before.
fn narrow(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}
