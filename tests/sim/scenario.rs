//! What a seed means: hosts, virtual routers, configurations and the faults that befall them.
//!
//! Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use holdfast::vrrp::config::{
    AddressConfig, Auth, GarpConfig, GroupConfig, InitialState, InstanceConfig, Track, TrackerKey, Transport,
    UnicastPeer, VrrpConfig,
};
use holdfast::vrrp::event::TrackerStatus;
use holdfast::vrrp::types::{AdvertInterval, Family, Priority, Version, Vrid, default_group};

use crate::network::{Node, Segment};
use crate::random::Random;

/// A host by number.
pub type HostId = usize;

/// Something that happens to the cluster.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Packets are lost.
    Loss(u64),
    /// Packets arrive twice.
    Duplicate(u64),
    /// Packets travel slowly, and overtake each other.
    Latency(Duration),
    /// Some do not hear some others.
    Block(Vec<(Segment, Node, Node)>),
    /// They do again.
    Unblock(Vec<(Segment, Node, Node)>),
    /// A link loses or regains its carrier.
    Carrier(HostId, Segment, bool),
    /// The vrrp process does not run for a while.
    Pause(HostId, Duration),
    /// Another fault, which befalls a host between two lines of a turn, when its process has taken so many steps more.
    Within(HostId, u32, Box<Fault>),
    /// The machine is gone, its addresses with it.
    Crash(HostId),
    /// SIGKILL of the vrrp process; main starts another after this time.
    Kill(HostId, Duration),
    /// A clean stop of the daemon.
    Stop(HostId),
    /// The machine or the daemon starts, unless it runs.
    Start(HostId),
    /// The tracked script gives its first result this long after a start.
    SlowTracker(HostId, Duration),
    /// Another configuration.
    Reload(HostId, Box<VrrpConfig>),
    /// Somebody removes one of the addresses that a host holds, if it holds any: the n-th.
    Remove(HostId, usize),
    /// Resignations are lost, and nothing else; or no longer.
    SwallowGoodbyes(bool),
    /// The kernel takes up to so long for a change of addresses, beyond what it takes in health.
    SlowWriter(HostId, Duration),
    /// The wall clock of a host is set ahead, or back, by this much.
    ClockStep(HostId, bool, Duration),
    /// An operator has a router hand over, if it is master.
    Failover(HostId, String),
    /// An operator takes a host out of elections, or puts it back.
    Maintenance(HostId, bool),
    /// The tracked script has another result.
    Tracker(HostId, TrackerStatus),
}

/// A whole simulation.
#[derive(Debug)]
pub struct Scenario {
    /// Hosts.
    pub hosts: usize,
    /// Segments; every host has a link on each.
    pub segments: usize,
    /// The configuration that each host begins with.
    pub configs: Vec<VrrpConfig>,
    /// When each host starts.
    pub starts: Vec<Duration>,
    /// Faults, unordered.
    pub faults: Vec<(Duration, Fault)>,
    /// When the faults end.
    pub heal_at: Duration,
    /// Hosts that stay away after the faults.
    pub absent: BTreeSet<HostId>,
    /// How soon after the faults all must be as it should be.
    pub settle: Duration,
    /// For how long it must stay so.
    pub calm: Duration,
    /// The longest way through the healthy network.
    pub latency: Duration,
    /// The longest time that one change of addresses takes.
    pub write_time: Duration,
    /// The longest time between a descriptor's readiness, or a deadline, and the turn.
    pub turn_delay: Duration,
}

/// What all hosts must agree on, for one virtual router.
#[derive(Debug, Clone)]
struct RouterPlan {
    name: String,
    vrid: Vrid,
    segment: Segment,
    version: Version,
    family: Family,
    unicast: bool,
    interval: AdvertInterval,
    auth: Auth,
    addresses: Vec<IpAddr>,
    excluded: Vec<IpAddr>,
    checksum_as_v2: bool,
    strict: bool,
}

#[derive(Debug, Clone)]
struct ClusterPlan {
    hosts: usize,
    base: Duration,
    routers: Vec<RouterPlan>,
    group: Vec<String>,
    equal: Option<u8>,
}

/// The name of the link to a segment.
pub fn link_name(segment: Segment) -> String {
    format!("eth{segment}")
}

/// The segment of a link by name.
pub fn segment_of(link: &str) -> Option<Segment> {
    link.strip_prefix("eth")?.parse().ok()
}

/// A host's own address on a segment.
pub fn own_address(host: HostId, segment: Segment, family: Family) -> IpAddr {
    let (host, segment) = (u8::try_from(host).expect("few"), u8::try_from(segment).expect("few"));
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(10, segment, 0, 10 + host)),
        Family::V6 => IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, u16::from(segment), 0, 0, 0, 0x10 + u16::from(host))),
    }
}

/// The only tracker: a script.
pub fn tracker() -> TrackerKey {
    TrackerKey::Script("check".to_owned())
}

impl Scenario {
    /// The scenario of a seed's stream.
    pub fn generate(random: &mut Random) -> Self {
        let plan = ClusterPlan::generate(random);
        let configs: Vec<_> = (0..plan.hosts).map(|host| plan.host_config(random, host, false)).collect();
        let base = plan.base;
        let segments = 1 + plan.routers.iter().map(|router| router.segment).max().unwrap_or(0);
        let starts = (0..plan.hosts).map(|_| random.duration(Duration::ZERO, base * 4)).collect();
        let heal_at = base * 60;
        let mut scenario = Self {
            hosts: plan.hosts,
            segments,
            configs,
            starts,
            faults: Vec::new(),
            heal_at,
            absent: BTreeSet::new(),
            settle: Duration::ZERO,
            calm: base * 12,
            latency: (base / 20).min(Duration::from_millis(1)),
            write_time: (base / 5).min(Duration::from_millis(4)),
            turn_delay: (base / 100).min(Duration::from_micros(200)),
        };
        scenario.settle = plan.settle_bound(&scenario);
        for host in 0..scenario.hosts {
            if random.chance(20) {
                let slow = Fault::SlowTracker(host, random.duration(Duration::ZERO, base * 3));
                scenario.faults.push((Duration::ZERO, slow));
            }
        }
        for _ in 0..random.between(2, 14) {
            scenario.add_fault(random, &plan);
        }
        if random.chance(50) {
            scenario.roll_out(random, plan);
        }
        if scenario.hosts > 2 && random.chance(30) {
            let host = random.index(scenario.hosts);
            scenario.absent.insert(host);
            let last = if random.chance(50) { Fault::Crash(host) } else { Fault::Stop(host) };
            scenario.faults.push((heal_at - base, last));
        }
        scenario
    }

    fn add_fault(&mut self, random: &mut Random, plan: &ClusterPlan) {
        let base = plan.base;
        // All repairs and reloads come before the end of the faults, and so does the end of every pause.
        let at = random.duration(base * 2, base * 45);
        let until = at + random.duration(base / 4, base * 12);
        let host = random.index(self.hosts);
        let segment = random.index(self.segments);
        let (fault, repair) = match random.below(18) {
            0 => (Fault::Loss(random.between(5, 60)), Some(Fault::Loss(0))),
            1 => (Fault::Duplicate(random.between(5, 60)), Some(Fault::Duplicate(0))),
            2 => (Fault::Latency(random.duration(base / 8, base)), Some(Fault::Latency(self.latency))),
            3 | 4 => {
                let blocked = self.blocked_pairs(random, segment);
                (Fault::Block(blocked.clone()), Some(Fault::Unblock(blocked)))
            }
            5 => (Fault::Carrier(host, segment, false), Some(Fault::Carrier(host, segment, true))),
            6 => (Fault::Pause(host, until - at), None),
            7 => (Fault::Crash(host), Some(Fault::Start(host))),
            8 => (Fault::Kill(host, random.duration(base / 20, base * 4)), None),
            9 => (Fault::Stop(host), Some(Fault::Start(host))),
            12 => (Fault::Remove(host, random.index(8)), None),
            13 => (Fault::SwallowGoodbyes(true), Some(Fault::SwallowGoodbyes(false))),
            14 => {
                let slow = Fault::SlowWriter(host, random.duration(base / 4, base * 2));
                (slow, Some(Fault::SlowWriter(host, Duration::ZERO)))
            }
            15 => {
                // While the process is held up, or not.
                if random.chance(70) {
                    self.faults.push((at - base / 4, Fault::Pause(host, random.duration(base / 2, base * 6))));
                }
                let by = random.duration(base / 2, Duration::from_secs(7200));
                (Fault::ClockStep(host, random.chance(50), by), None)
            }
            16 => {
                self.settle = self.settle.max(plan.settle_after_failover(self));
                (Fault::Failover(host, random.pick(&plan.routers).name), None)
            }
            17 => (Fault::Maintenance(host, true), Some(Fault::Maintenance(host, false))),
            10 => {
                // Perhaps killed while it carries that out.
                if random.chance(60) {
                    let kill = Fault::Kill(host, random.duration(base / 20, base * 4));
                    self.faults.push((at + random.duration(Duration::ZERO, self.write_time * 2), kill));
                }
                (Fault::Reload(host, Box::new(plan.host_config(random, host, true))), None)
            }
            _ => {
                let back = random.chance(70).then_some(Fault::Tracker(host, TrackerStatus::Up));
                (Fault::Tracker(host, TrackerStatus::Down), back)
            }
        };
        let fault = match fault {
            Fault::Pause(..) | Fault::Kill(..) | Fault::ClockStep(..) if random.chance(60) => {
                within(random, host, fault)
            }
            Fault::Crash(_) | Fault::Carrier(..) | Fault::Remove(..) if random.chance(30) => {
                within(random, host, fault)
            }
            fault => fault,
        };
        self.faults.push((at, fault));
        if let Some(repair) = repair {
            self.faults.push((until, repair));
        }
    }

    /// A full or a one-way cut between two sides, or a single pair. The client is on one of the sides.
    fn blocked_pairs(&self, random: &mut Random, segment: Segment) -> Vec<(Segment, Node, Node)> {
        let sides: Vec<bool> = (0..=self.hosts).map(|_| random.chance(50)).collect();
        let one_way = random.chance(40);
        let mut pairs = Vec::new();
        for from in 0..=self.hosts {
            for to in 0..=self.hosts {
                if sides[from] != sides[to] && (sides[from] || !one_way) {
                    pairs.push((segment, from, to));
                }
            }
        }
        pairs
    }

    /// Changes what all hosts must agree on, one host after the other.
    fn roll_out(&mut self, random: &mut Random, mut plan: ClusterPlan) {
        plan.change_routers(random);
        let at = random.duration(plan.base * 46, plan.base * 50);
        for host in 0..self.hosts {
            let later = random.duration(Duration::ZERO, plan.base * 3);
            self.faults.push((at + later, Fault::Reload(host, Box::new(plan.host_config(random, host, false)))));
        }
        self.settle = self.settle.max(plan.settle_bound(self));
    }
}

fn within(random: &mut Random, host: HostId, fault: Fault) -> Fault {
    Fault::Within(host, u32::try_from(random.between(1, 40)).expect("few"), Box::new(fault))
}

impl ClusterPlan {
    fn generate(random: &mut Random) -> Self {
        let base = random.pick(&[10, 10, 20, 50, 100, 300, 1000, 1000, 2000, 3000]);
        let grouped = random.chance(40);
        let segments = random.between(1, 2);
        let count = if grouped { random.between(2, 4) } else { random.between(1, 3) };
        let routers: Vec<_> = (0..count).map(|n| RouterPlan::generate(random, n, base, segments)).collect();
        let size = random.index(2) + 2;
        let group = if grouped { routers.iter().take(size).map(|r| r.name.clone()).collect() } else { Vec::new() };
        Self {
            hosts: random.index(4) + 2,
            base: Duration::from_millis(base),
            routers,
            group,
            equal: random.chance(30).then(|| random.pick(&[1, 100, 254, 255])),
        }
    }

    /// An interval, an address list, a VRID or a sync group that all hosts will have in the end.
    fn change_routers(&mut self, random: &mut Random) {
        if self.routers.len() > 1 && random.chance(30) {
            let all = self.routers.iter().map(|router| router.name.clone()).collect();
            self.group = if self.group.is_empty() { all } else { Vec::new() };
        }
        for router in &mut self.routers {
            match random.below(6) {
                0 => router.interval = router.interval_near(random, self.base),
                1 => router.addresses.push(router.virtual_address(random.between(100, 110))),
                2 if router.addresses.len() > 1 => drop(router.addresses.remove(0)),
                3 => router.vrid = Vrid::new(router.vrid.value() + 100).expect("not zero"),
                2 => router.addresses = vec![router.virtual_address(random.between(111, 120))],
                _ => {}
            }
            router.addresses.dedup();
        }
    }

    /// `omits`: some routers may be missing. Never one of a group: its other members could not be master then.
    fn host_config(&self, random: &mut Random, host: HostId, omits: bool) -> VrrpConfig {
        let mut config = VrrpConfig::default();
        if random.chance(20) {
            config.global.startup_delay = random.duration(self.base, self.base * 3);
        }
        if random.chance(20) {
            config.global.delay_after_boot = random.duration(self.base, self.base * 3);
        }
        config.trackers.insert(tracker());
        // The members of a group stand and fall together, so they are configured alike.
        let shared = HostPlan::generate(random, self);
        for router in &self.routers {
            if !self.group.contains(&router.name) && omits && random.chance(30) {
                continue;
            }
            let own = if self.group.contains(&router.name) { shared.clone() } else { HostPlan::generate(random, self) };
            config.instances.insert(router.name.clone(), router.instance(random, host, self.hosts, &own));
        }
        if !self.group.is_empty() {
            config.groups.insert("VG_1".to_owned(), GroupConfig { members: self.group.clone() });
        }
        config
    }

    /// One that handed over leaves a worse master alone for three master-down intervals more.
    fn settle_after_failover(&self, scenario: &Scenario) -> Duration {
        self.settle_bound(scenario) + self.longest_master_down() * 4
    }

    fn longest_master_down(&self) -> Duration {
        let interval = self.routers.iter().map(|r| r.interval.duration()).max().unwrap_or(self.base);
        let longest = interval.max(self.base * 2);
        longest * MOST_ADVERTS.into() + longest.max(Duration::from_secs(1))
    }

    /// The bound of the oracles: the preemption delay, three master-down intervals (one to hear the silence of a host
    /// that went with the last fault, one to preempt, one more in a sync group), one burst of announcements, a
    /// start.
    fn settle_bound(&self, scenario: &Scenario) -> Duration {
        let master_down = self.longest_master_down();
        MOST_PREEMPT_DELAY * u32::try_from(self.base.as_millis()).expect("short")
            + master_down * 3
            + self.base * 12
            + scenario.write_time * 16
    }
}

/// The largest `down_timer_adverts`.
const MOST_ADVERTS: u8 = 5;
/// The longest `preempt_delay`, for each millisecond of the base interval.
const MOST_PREEMPT_DELAY: Duration = Duration::from_millis(8);

/// What each host decides for itself.
#[derive(Debug, Clone)]
struct HostPlan {
    state: InitialState,
    priority: Priority,
    preempt: bool,
    preempt_delay: Duration,
    tracks: Vec<Track>,
    garp: GarpConfig,
    adverts: u8,
}

impl HostPlan {
    fn generate(random: &mut Random, plan: &ClusterPlan) -> Self {
        let priority = plan.equal.unwrap_or_else(|| match random.below(10) {
            0 => 255,
            1 => 1,
            2 => 254,
            _ => u8::try_from(random.between(90, 110)).expect("small"),
        });
        let delayed = random.chance(20);
        let weight = random.pick(&[0, 30, -30, 2, -2]);
        let track = Track { tracker: tracker(), weight, reverse: weight != 0 && random.chance(20) };
        Self {
            state: if random.chance(30) { InitialState::Master } else { InitialState::Backup },
            priority: Priority::new(priority).expect("not zero"),
            preempt: random.chance(70),
            preempt_delay: if delayed { random.duration(plan.base, plan.base * 8) } else { Duration::ZERO },
            tracks: if random.chance(40) { vec![track] } else { Vec::new() },
            garp: GarpConfig {
                delay: random.duration(plan.base, plan.base * 5),
                repeat: u32::try_from(random.between(1, 5)).expect("small"),
                refresh: if random.chance(20) { plan.base * 7 } else { Duration::ZERO },
                refresh_repeat: 1,
                lower_prio_delay: random.duration(plan.base, plan.base * 5),
                lower_prio_repeat: u32::try_from(random.between(1, 5)).expect("small"),
            },
            adverts: if random.chance(20) {
                u8::try_from(random.between(2, MOST_ADVERTS.into())).expect("small")
            } else {
                3
            },
        }
    }
}

impl RouterPlan {
    fn generate(random: &mut Random, number: u64, base: u64, segments: u64) -> Self {
        let version = if base >= 1000 && random.chance(50) { Version::V2 } else { Version::V3 };
        let family = if version == Version::V3 && random.chance(40) { Family::V6 } else { Family::V4 };
        let auth = if version == Version::V2 && random.chance(30) { Auth::Pass(*b"holdfast") } else { Auth::None };
        let mut router = Self {
            name: format!("VI_{}", number + 1),
            vrid: Vrid::new(u8::try_from(number + 1).expect("small")).expect("not zero"),
            segment: random.index(usize::try_from(segments).expect("small")),
            version,
            family,
            unicast: random.chance(30),
            interval: AdvertInterval::DEFAULT,
            auth,
            addresses: Vec::new(),
            excluded: Vec::new(),
            checksum_as_v2: version == Version::V3 && family == Family::V4 && random.chance(10),
            strict: false,
        };
        // The RFCs know neither passwords nor unicast.
        router.strict = router.auth == Auth::None && !router.unicast && !router.checksum_as_v2 && random.chance(25);
        router.interval = router.interval_near(random, Duration::from_millis(base));
        router.addresses = (1..=random.between(1, 3)).map(|n| router.virtual_address(n)).collect();
        if random.chance(25) {
            router.excluded = vec![router.virtual_address(99)];
        }
        router
    }

    fn interval_near(&self, random: &mut Random, base: Duration) -> AdvertInterval {
        let times = if random.chance(30) { 2 } else { 1 };
        let centiseconds = u16::try_from(base.as_millis() / 10).expect("short") * times;
        AdvertInterval::from_centiseconds(centiseconds).expect("legal")
    }

    fn virtual_address(&self, last: u64) -> IpAddr {
        let (last, vrid) = (u8::try_from(last).expect("small"), self.vrid.value());
        match self.family {
            Family::V4 => IpAddr::V4(Ipv4Addr::new(192, 0, vrid, last)),
            Family::V6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, vrid.into(), 0, 0, 0, last.into())),
        }
    }

    fn instance(&self, random: &mut Random, host: HostId, hosts: usize, plan: &HostPlan) -> InstanceConfig {
        let mut config = InstanceConfig::new(&link_name(self.segment), self.vrid);
        config.state = plan.state;
        config.version = self.version;
        config.family = self.family;
        config.priority = plan.priority;
        config.advert_interval = self.interval;
        config.preempt = plan.preempt;
        config.preempt_delay = plan.preempt_delay;
        config.transport = if self.unicast {
            let peer = |other| own_address(other, self.segment, self.family);
            let others = (0..hosts).filter(|other| *other != host);
            let peers = others.map(|o| UnicastPeer { address: peer(o), min_ttl: None, max_ttl: None }).collect();
            Transport::Unicast { peers, ttl: None, check_source: random.chance(50) }
        } else {
            Transport::Multicast { group: default_group(self.family) }
        };
        config.auth = self.auth.clone();
        config.addresses = self.addresses.iter().map(|address| AddressConfig::new(*address)).collect();
        config.excluded = self.excluded.iter().map(|address| AddressConfig::new(*address)).collect();
        config.garp = plan.garp.into();
        config.higher_prio_send_advert = random.chance(20);
        config.lower_prio_no_advert = random.chance(10);
        config.skip_check_adv_addr = random.chance(20);
        config.down_timer_adverts = plan.adverts;
        config.v3_checksum_as_v2 = self.checksum_as_v2;
        config.tracks = plan.tracks.clone();
        if self.strict {
            config.strict = true;
            config.higher_prio_send_advert = false;
            // The oracle does not know who is known.
            config.skip_check_adv_addr = false;
            config.garp.lower_prio_repeat = 0;
        }
        config
    }
}
