//! One host under test: an engine, two links, a clock that only the test moves, and a kernel that is a set of addresses.
//!
//! Pure. Steps are words, so that tables are read and not programmed; see [`Host::play`].
#![allow(clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::super::config::{
    AddressConfig, ConfigDiff, InstanceConfig, Track, TrackerKey, Transport, UnicastPeer, VrrpConfig,
};
use super::super::engine::{BoundAddress, Effect, Input, Received, SocketKey, SocketSpec, Transmit, VrrpEngine};
use super::super::event::{Event, TrackerStatus};
use super::super::snapshot::{FlightRecord, InstanceSnapshot};
use super::super::types::{
    AdvertInterval, Family, IfIndex, InstanceId, Link, LinkAddress, Priority, Version, Vrid, default_group,
};
use super::invariants::Invariants;
use super::wire::{Wire, neighbour};

/// A literal address.
pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("a literal address")
}

/// A priority.
pub fn prio(value: u8) -> Priority {
    Priority::new(value).expect("not 0")
}

/// An interval in centiseconds.
pub fn cs(value: u16) -> AdvertInterval {
    AdvertInterval::from_centiseconds(value).expect("legal")
}

/// Addresses of a configuration.
pub fn vips(list: &[&str]) -> Vec<AddressConfig> {
    list.iter().map(|text| AddressConfig::new(ip(text))).collect()
}

/// Unicast to these peers.
pub fn unicast(peers: &[&str]) -> Transport {
    let peer = |text: &&str| UnicastPeer { address: ip(text), min_ttl: None, max_ttl: None };
    Transport::Unicast { peers: peers.iter().map(peer).collect(), ttl: None, check_source: false }
}

/// A line of `track_script` for the script `s`.
pub fn script(weight: i16, reverse: bool) -> Track {
    Track { tracker: TrackerKey::Script("s".to_owned()), weight, reverse }
}

/// VRRPv3 over IPv4: instance `A`, priority 100, address 10.0.0.100, on eth0 where this host is 10.0.0.2.
pub fn v3() -> VrrpConfig {
    with_instance(Version::V3, Family::V4, "10.0.0.100")
}

/// VRRPv3 over IPv6: this host is fe80::2.
pub fn v6() -> VrrpConfig {
    with_instance(Version::V3, Family::V6, "fe80::100")
}

/// VRRPv2.
pub fn v2() -> VrrpConfig {
    with_instance(Version::V2, Family::V4, "10.0.0.100")
}

fn with_instance(version: Version, family: Family, address: &str) -> VrrpConfig {
    let mut instance = InstanceConfig::new("eth0", Vrid::new(51).expect("not 0"));
    instance.version = version;
    instance.family = family;
    instance.transport = Transport::Multicast { group: default_group(family) };
    instance.addresses = vips(&[address]);
    let mut config = VrrpConfig::default();
    config.instances.insert("A".to_owned(), instance);
    config
}

/// Instance `A` of a configuration.
pub fn a(config: &mut VrrpConfig) -> &mut InstanceConfig {
    instance(config, "A")
}

/// An instance of a configuration.
pub fn instance<'a>(config: &'a mut VrrpConfig, name: &str) -> &'a mut InstanceConfig {
    config.instances.get_mut(name).expect("configured")
}

/// Adds `B`: like `A`, but VRID 52 on eth1, with 10.1.0.100.
pub fn add_b(config: &mut VrrpConfig) {
    let mut b = a(config).clone();
    b.interface = Some("eth1".to_owned());
    b.vrid = Vrid::new(52).expect("not 0");
    b.addresses = vips(&["10.1.0.100"]);
    config.instances.insert("B".to_owned(), b);
}

/// eth0 and eth1, up.
pub fn link(index: u32) -> Link {
    let address =
        |text: &str, prefix_len| LinkAddress { address: ip(text), prefix_len, tentative: false, secondary: false };
    let net = index - 1;
    Link {
        index: IfIndex(index),
        name: format!("eth{net}"),
        up: true,
        running: true,
        loopback: false,
        no_arp: false,
        mtu: 1500,
        hardware: vec![2, 0, 0, 0, 0, u8::try_from(index).expect("small")],
        addresses: vec![address(&format!("10.{net}.0.2"), 24), address("fe80::2", 64)],
    }
}

/// One host.
pub struct Host {
    /// The engine.
    pub engine: VrrpEngine,
    /// The time on the host.
    pub now: Instant,
    /// What `reload` does to the configuration.
    pub reload: fn(&mut VrrpConfig),
    /// What the engine said since [`Host::forget`], a line each.
    pub said: Vec<String>,
    /// Packets sent since then.
    pub sent: Vec<Transmit>,
    /// The sockets that the engine wants.
    pub sockets: BTreeMap<SocketKey, SocketSpec>,
    /// What must always hold.
    pub invariants: Invariants,
    links: Vec<Link>,
    stopping: bool,
    /// Names of all instances that ever had an effect.
    names: BTreeMap<InstanceId, String>,
}

impl Host {
    /// A host whose links are up and known, and whose engine has begun.
    pub fn start(config: VrrpConfig) -> Self {
        Self::restart(config, |_| Vec::new())
    }

    /// A host whose vrrp process was killed; `adopt` is what it left.
    pub fn restart(config: VrrpConfig, adopt: impl FnOnce(Instant) -> Vec<FlightRecord>) -> Self {
        #[allow(clippy::disallowed_methods)] // Any instant will do: only differences matter.
        let now = Instant::now();
        let mut host = Self {
            engine: VrrpEngine::new(now, config, &adopt(now)),
            now,
            reload: |_| {},
            said: Vec::new(),
            sent: Vec::new(),
            sockets: BTreeMap::new(),
            invariants: Invariants::default(),
            links: vec![link(1), link(2)],
            stopping: false,
            names: BTreeMap::new(),
        };
        for link in host.links.clone() {
            host.input(Input::Link(link));
        }
        host.timeout();
        host
    }

    /// Plays steps, separated by `;`:
    ///
    /// | step | |
    /// |---|---|
    /// | `wait MS` | time passes, each deadline is judged when it is due |
    /// | `stall MS` | time passes, and the deadlines are judged once at the end |
    /// | `late MS` | time passes, nothing is judged |
    /// | `listen` | the turn is over |
    /// | `hear [B] PRIO [.N] [every CS] [ago MS]` | an advert comes, or came (or will have: `ahead`); `.1` is below, `.3` (the default) above our `.2` |
    /// | `down`, `up`, `gone`, `back` `[eth1]` | the link |
    /// | `port [eth1]` | a port of the bridge that the link is begins to forward |
    /// | `mac [eth1]` | the link gets another MAC address |
    /// | `no-address`, `readdress` | eth0 loses its addresses; or gets 10.0.0.9 for 10.0.0.2 |
    /// | `script STATUS`, `file N` | tracker `s` or `f` |
    /// | `lose ADDRESS...` | somebody removes addresses from eth0, all at once |
    /// | `unlink ADDRESS...` | the kernel tells of a removal, while our own last wish is not carried out yet |
    /// | `announced ADDRESS [eth1]` | another host announces it |
    /// | `overflow [eth1]` | the IPv4 socket had no room for adverts |
    /// | `failover [B]`, `maintenance on`, `maintenance off` | an operator's commands |
    /// | `written` | our own last wish is carried out |
    /// | `reload`, `synced`, `refused [GENERATION]`, `timeout`, `stop`, `stop at once` | |
    pub fn play(&mut self, steps: &str) {
        for step in steps.split(';').map(str::trim).filter(|step| !step.is_empty()) {
            let words: Vec<&str> = step.split_whitespace().collect();
            self.step(&words);
        }
    }

    fn step(&mut self, words: &[&str]) {
        let index = usize::from(words.last() == Some(&"eth1"));
        let link = self.links[index].clone();
        match words[0] {
            "wait" => self.wait(millis(words[1])),
            "late" => self.now += millis(words[1]),
            "listen" => self.engine.listen_from(self.now),
            "stall" => {
                self.now += millis(words[1]);
                self.timeout();
            }
            "hear" => self.hear(&words[1..]),
            "down" => self.set_link(index, Link { running: false, ..link }),
            "up" | "back" => self.set_link(index, Link { up: true, running: true, ..link }),
            "no-address" => self.set_link(index, Link { addresses: Vec::new(), ..link }),
            "readdress" => {
                let addresses = vec![LinkAddress { address: ip("10.0.0.9"), ..super::host::link(1).addresses[0] }];
                self.set_link(index, Link { addresses, ..link });
            }
            "gone" => self.input(Input::LinkGone(link.index)),
            "port" => self.input(Input::PortForwards(link.index)),
            "mac" => self.set_link(index, Link { hardware: vec![2, 0, 0, 0, 0, 0x77], ..link }),
            "script" => self.tracker(TrackerKey::Script("s".to_owned()), status(words[1])),
            "file" => {
                let value = TrackerStatus::Value(words[1].parse().expect("a number"));
                self.tracker(TrackerKey::File("f".to_owned()), value);
            }
            "reload" => {
                let mut config = self.engine.config();
                (self.reload)(&mut config);
                self.reconfigure(&config);
            }
            "synced" => {
                self.input(Input::AddressesSynced { instance: InstanceId(0), generation: 1, failures: Vec::new() })
            }
            "refused" => {
                let failures = vec!["10.0.0.100: permission denied".to_owned()];
                let generation = words.get(1).map_or(1, |n| n.parse().expect("a number"));
                self.input(Input::AddressesSynced { instance: InstanceId(0), generation, failures });
            }
            "timeout" => self.timeout(),
            "lose" => self.lose(&words[1..]),
            "written" => self.written(),
            "there" => {
                let with = self.with_addresses(&words[1..]);
                self.set_link(0, with);
            }
            "unlink" => self.unlink(&words[1..]),
            "announced" => self.input(Input::Announced {
                interface: link.index,
                address: ip(words[1]),
                hardware: Some([2, 0, 0, 0, 0, 0x99]),
            }),
            "overflow" => self.input(Input::AdvertsLost(SocketKey { interface: Some(link.index), family: Family::V4 })),
            "maintenance" => self.input(Input::Maintenance(words[1] == "on")),
            "failover" => {
                let name = words.get(1).copied().unwrap_or("A");
                match self.engine.failover(self.now, name) {
                    Ok(()) => {}
                    Err(refusal) => self.said.push(format!("refused: {refusal}")),
                }
                self.drain();
            }
            "stop" => {
                self.stopping = true;
                self.input(if words.len() > 1 { Input::StopAtOnce } else { Input::Stop });
            }
            other => panic!("no such step: {other}"),
        }
    }

    /// Replaces the configuration, as a reload does.
    pub fn reconfigure(&mut self, config: &VrrpConfig) {
        let diff = ConfigDiff::between(&self.engine.config(), config);
        self.input(Input::Reconfigure(diff));
        // An engine that stops takes no other configuration.
        if !self.stopping {
            assert_eq!(&self.engine.config(), config, "apply(diff(a, b), a) == b");
        }
    }

    /// Takes an input and all that comes of it.
    pub fn input(&mut self, input: Input<'_>) {
        self.engine.handle_input(self.now, input);
        self.drain();
    }

    /// Has the deadlines judged.
    pub fn timeout(&mut self) {
        self.engine.handle_timeout(self.now);
        self.drain();
        let next = self.engine.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "a deadline that has passed stays: a busy loop");
    }

    /// Lets time pass, each deadline judged on time.
    pub fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.engine.poll_timeout().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.timeout();
        }
        self.now = until;
    }

    fn set_link(&mut self, index: usize, link: Link) {
        self.links[index] = link.clone();
        self.input(Input::Link(link));
    }

    /// The kernel tells that all is there that we asked for, and these, and then that these are not.
    fn lose(&mut self, addresses: &[&str]) {
        let lost: Vec<_> = addresses.iter().map(|text| ip(text)).collect();
        let index = self.links[0].index;
        let held = self.invariants.addresses().iter().filter(|(link, _)| *link == index).map(|(_, address)| *address);
        let all: BTreeSet<_> = held.chain(lost.iter().copied()).collect();
        let entry = |address: &IpAddr| LinkAddress { address: *address, ..link(1).addresses[0] };
        let mut link = self.links[0].clone();
        link.addresses.retain(|a| !all.contains(&a.address));
        link.addresses.extend(all.iter().map(entry));
        self.set_link(0, link.clone());
        self.written();
        link.addresses.retain(|a| !lost.contains(&a.address));
        self.set_link(0, link);
    }

    /// All that we asked for is carried out.
    fn written(&mut self) {
        for (instance, generation) in self.invariants.generations() {
            self.input(Input::AddressesSynced { instance, generation, failures: Vec::new() });
        }
    }

    /// The same, and what we asked for last is not carried out yet.
    fn unlink(&mut self, addresses: &[&str]) {
        let before = self.links[0].clone();
        let with = self.with_addresses(addresses);
        self.set_link(0, with);
        self.set_link(0, before);
    }

    /// eth0 with these beside its own.
    fn with_addresses(&self, addresses: &[&str]) -> Link {
        let mut with = self.links[0].clone();
        let entry = |text: &&str| LinkAddress { address: ip(text), ..link(1).addresses[0] };
        with.addresses.extend(addresses.iter().map(entry));
        with
    }

    /// Gives eth0 and eth1 their first addresses again.
    pub fn restore_addresses(&mut self) {
        for (index, n) in (0..).zip(1..=2) {
            self.set_link(index, link(n));
        }
    }

    /// A tracker's status.
    pub fn tracker(&mut self, key: TrackerKey, status: TrackerStatus) {
        self.input(Input::Tracker { key, status });
    }

    fn hear(&mut self, mut words: &[&str]) {
        let name = if words[0].starts_with(char::is_alphabetic) { words[0] } else { "A" };
        words = if name == words[0] { &words[1..] } else { words };
        let mut wire = Wire::from_peer(self.engine.instance_config(name).expect("configured"));
        wire.priority = words[0].parse().expect("a priority");
        let mut at = self.now;
        let mut words = words[1..].iter();
        while let Some(word) = words.next() {
            match *word {
                "every" => wire.interval_cs = words.next().and_then(|cs| cs.parse().ok()).expect("centiseconds"),
                "ago" => at -= millis(words.next().expect("milliseconds")),
                "ahead" => at += millis(words.next().expect("milliseconds")),
                host => wire.source = neighbour(wire.source, host.trim_start_matches('.')),
            }
        }
        self.receive_from(&wire, at);
    }

    /// A packet comes from the wire.
    pub fn receive(&mut self, wire: &Wire) {
        self.receive_from(wire, self.now);
    }

    /// A packet has come from the wire, then.
    fn receive_from(&mut self, wire: &Wire, at: Instant) {
        let pdu = wire.pdu();
        let (source, destination, ttl) = (wire.source, wire.destination, wire.ttl);
        self.input(Input::Advert(Received { socket: wire.socket, source, destination, ttl, at, pdu: &pdu }));
    }

    /// Forgets what was said.
    pub fn forget(&mut self) {
        self.said.clear();
        self.sent.clear();
    }

    /// An instance as it can be shown.
    pub fn snapshot(&self, name: &str) -> InstanceSnapshot {
        self.engine.snapshot().instances.remove(name).expect("exists")
    }

    /// The state of all instances, and the milliseconds to the next deadline.
    pub fn state(&self) -> String {
        let snapshot = self.engine.snapshot();
        let states: Vec<String> = snapshot
            .instances
            .iter()
            .map(|(name, i)| {
                let state = format!("{} {}", i.state, i.effective_priority);
                if snapshot.instances.len() == 1 { state } else { format!("{name} {state}") }
            })
            .collect();
        match self.engine.poll_timeout() {
            None => format!("{}, waits for nothing", states.join(", ")),
            Some(at) => format!("{}, {} ms", states.join(", "), in_millis(at.saturating_duration_since(self.now))),
        }
    }

    fn drain(&mut self) {
        while let Some(name) = self.engine.instance_name(self.next_id()) {
            self.names.insert(self.next_id(), name.to_owned());
        }
        let mut effects = 0;
        while let Some(effect) = self.engine.poll_effect() {
            effects += 1;
            self.invariants.on_effect(&effect);
            let line = self.line(&effect);
            if let Effect::Emit(Event::StateChanged { from, to, cause, .. }) = &effect {
                let text = cause.to_string();
                assert!(cause.explains(*from, *to), "{from} -> {to}: {text}");
                assert!(!text.is_empty() && !text.contains("unknown"), "{from} -> {to}: {text}");
            }
            if let Effect::SyncSockets { desired } = &effect {
                self.sockets.clone_from(desired);
            }
            if let Effect::SendAdvert { transmit, .. } = effect {
                self.sent.push(transmit);
            }
            self.said.push(line);
        }
        assert!(effects <= 40 * (1 + self.invariants.known()), "{effects} effects of one input");
        self.invariants.check(&self.engine);
    }

    /// Numbers are given one after the other.
    fn next_id(&self) -> InstanceId {
        InstanceId(u32::try_from(self.names.len()).expect("few"))
    }

    /// An effect in words.
    fn line(&self, effect: &Effect) -> String {
        let of = |id: &InstanceId| match self.engine.instance_name(*id).or(self.names.get(id).map(String::as_str)) {
            Some("A") => String::new(),
            Some(name) => format!("{name}: "),
            None => "(nobody) ".to_owned(),
        };
        match effect {
            Effect::SendAdvert { instance, transmit } => {
                let mut line = format!("{}advert {}", of(instance), transmit.pdu[2]);
                if !transmit.destination.is_multicast() {
                    line.push_str(&format!(" to {}", transmit.destination));
                }
                line
            }
            Effect::SyncAddresses { instance, present, absent, .. } => {
                let list = |list: &[BoundAddress]| {
                    list.iter().map(|bound| format!(" {}", bound.config.address)).collect::<String>()
                };
                let mut line = of(instance);
                if !present.is_empty() || absent.is_empty() {
                    line.push_str(&format!("has{}", list(present)));
                }
                if !absent.is_empty() {
                    line.push_str(if present.is_empty() { "lacks" } else { ", lacks" });
                    line.push_str(&list(absent));
                }
                line
            }
            Effect::Announce { instance, addresses, repeat, .. } => {
                let list: String = addresses.iter().map(|(_, address)| format!(" {address}")).collect();
                format!("{}announce{list} x{repeat}", of(instance))
            }
            Effect::StopAnnouncing { instance } => format!("{}no more announcements", of(instance)),
            Effect::SyncSockets { desired } => {
                let list: Vec<String> = desired
                    .iter()
                    .map(|(key, spec)| {
                        let link = key.interface.map_or("any".to_owned(), |index| format!("eth{}", index.0 - 1));
                        format!(" {link}/{}", spec.instances)
                    })
                    .collect();
                format!("sockets{}", list.concat())
            }
            Effect::Emit(event) => words(event),
        }
    }
}

fn words(event: &Event) -> String {
    let of = |name: &str| if name == "A" { String::new() } else { format!("{name}: ") };
    match event {
        Event::StateChanged { instance, from, to, cause, .. } => format!("{}{from} -> {to}: {cause}", of(instance)),
        Event::GroupChanged { group, to, cause } => format!("group {group} -> {to}: {cause}"),
        Event::PriorityChanged { instance, from, to, cause, .. } => {
            format!("{}priority {from} -> {to}: {cause}", of(instance))
        }
        Event::LowerPriorityAdvert { instance, peer, priority, .. } => {
            format!("{}lower priority {priority} from {peer}", of(instance))
        }
        Event::AdvertFlawed { instance, peer, error, heard } => {
            let verdict = if *heard { "flawed" } else { "refused" };
            format!("{}{verdict} {peer}: {error}", of(instance.as_deref().unwrap_or("nobody")))
        }
        Event::AddressFailed { instance, message } => format!("{}address failed: {message}", of(instance)),
        Event::Renamed { instance, was, state } => format!("{}was {was}, {state}", of(instance)),
        Event::TimerLate { instance, by } => format!("{}late by {} ms", of(instance), in_millis(*by)),
        Event::DualMaster { instance, peer, reason, again, .. } => {
            let who = peer.map_or("somebody".to_owned(), |peer| peer.to_string());
            format!("{}dual master{} {who}: {reason}", of(instance), if *again { " still" } else { "" })
        }
        Event::DualMasterEnded { instance, end, .. } => format!("{}dual master ended: {end}", of(instance)),
        Event::VridTaken { instance, vrid, peer, free, .. } => {
            format!("{}VRID {vrid} taken by {peer}, {free:?} is free", of(instance))
        }
        Event::Warning { instance, message } => format!("{}warning: {message}", of(instance)),
        Event::MainSilent { .. } | Event::MainBack { .. } => unreachable!("the shell's, not the engine's"),
    }
}

fn status(word: &str) -> TrackerStatus {
    match word {
        "up" => TrackerStatus::Up,
        "down" => TrackerStatus::Down,
        "pending" => TrackerStatus::Pending,
        "unknown" => TrackerStatus::Unknown,
        other => panic!("no such status: {other}"),
    }
}

fn millis(word: &str) -> Duration {
    Duration::from_secs_f64(word.parse::<f64>().expect("milliseconds") / 1000.0)
}

/// Milliseconds with as many digits as it takes, to the microsecond.
fn in_millis(time: Duration) -> String {
    let text = format!("{}.{:03}", time.as_millis(), time.as_micros() % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
