//! One `vrrp_instance` block → [`InstanceConfig`] and its notify scripts.
//!
//! Pure. Defaults, strict mode and the combinations that keepalived refuses or mends are settled here; what concerns
//! several instances is settled in `resolve`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::address::{self, address};
use super::diagnostic::Reporter;
use super::draft::{Draft, own_tracks};
use super::global::{self, GarpSettings, Globals, InstanceDefaults};
use super::lex;
use super::section::{Entry, Section};
use super::trackers::Trackers;
use super::tree::{Node, Word};
use crate::notify::config::NotifyScripts;
use crate::vrrp::config::{AddressConfig, Auth, GarpConfig, InitialState, InstanceConfig, Transport, UnicastPeer};
use crate::vrrp::types::{AdvertInterval, Family, Priority, Version, Vrid, default_group};

/// An advert counts its addresses in one byte.
const MAX_ADDRESSES: usize = 255;

/// Reads an instance, whose configuration comes without tracks; `None` when it has no virtual router id, which is
/// reported. An instance that tracks virtual servers, which are read after it, has none in its draft either.
pub fn instance(
    section: &Section<'_>,
    globals: &Globals,
    trackers: &Trackers,
    reporter: &mut Reporter,
) -> Option<(InstanceConfig, Draft)> {
    let name = section.name.map_or("", |word| word.text);
    let vrid = section.int("virtual_router_id").and_then(Vrid::new);
    if vrid.is_none() {
        reporter
            .fatal(section.span, format!("`vrrp_instance {name}` has no virtual router id"))
            .help("`virtual_router_id N`, 1 to 255, the same on all routers of this virtual router");
    }
    let mut builder = Builder { section, name, defaults: &globals.defaults, reporter };
    // Without an id nothing comes of it, but its other problems are told too.
    let config = builder.config(vrid.or(Vrid::new(1))?);
    let later = section.flag("track_virtual_server");
    let tracks = if later { Vec::new() } else { own_tracks(section, &config, trackers, builder.reporter) };
    let vrid_span = section.entry("virtual_router_id").map_or(section.span, |entry| entry.span);
    vrid?;
    let scripts = notify(section, true);
    let notify = (scripts != NotifyScripts::default()).then(|| Box::new(scripts));
    Some((config, Draft { name: name.to_owned(), tracks, notify, span: section.span, vrid_span }))
}

/// The scripts of an instance or group.
pub fn notify(section: &Section<'_>, instance: bool) -> NotifyScripts {
    let script = |keyword| section.script(keyword).cloned();
    NotifyScripts {
        master: script("notify_master"),
        backup: script("notify_backup"),
        fault: script("notify_fault"),
        stop: script("notify_stop"),
        deleted: instance.then(|| script("notify_deleted")).flatten(),
        master_rx_lower_pri: instance.then(|| script("notify_master_rx_lower_pri")).flatten(),
        any: script("notify"),
    }
}

struct Builder<'b, 's, 'r> {
    section: &'b Section<'s>,
    name: &'b str,
    defaults: &'b InstanceDefaults,
    reporter: &'r mut Reporter,
}

impl Builder<'_, '_, '_> {
    fn config(&mut self, vrid: Vrid) -> InstanceConfig {
        let section = self.section;
        let (addresses, excluded) = self.addresses();
        let family = self.family(&addresses);
        let strict = section.bool("strict_mode").unwrap_or(self.defaults.strict);
        let version = self.version(family, strict);
        let (priority, state) = self.priority_and_state(strict);
        let owner = priority.is_owner();
        let source = self.source(family);
        let transport = self.transport(family, strict);
        let interface = section.word("interface").map(|word| word.text.to_string());
        self.check_interface(interface.as_deref(), &transport, source);
        self.check_addresses(&addresses, version, strict);
        let (preempt, preempt_delay) = self.preemption(state, owner, strict);
        let global = self.defaults;
        InstanceConfig {
            state,
            interface,
            vrid,
            version,
            family,
            priority,
            advert_interval: self.advert_interval(version),
            preempt,
            preempt_delay,
            accept: self.accept(version, strict, owner),
            strict,
            source,
            track_source: self.track_source(source),
            transport,
            auth: self.auth(version, strict),
            addresses,
            excluded,
            garp: self.garp(strict).into(),
            lower_prio_no_advert: strict || section.bool("lower_prio_no_advert").unwrap_or(global.lower_prio_no_advert),
            higher_prio_send_advert: !strict
                && section.bool("higher_prio_send_advert").unwrap_or(global.higher_prio_send_advert),
            skip_check_adv_addr: section.bool("skip_check_adv_addr").unwrap_or(global.skip_check_adv_addr),
            down_timer_adverts: self.down_timer_adverts(strict),
            owner_ignore_adverts: (strict && owner)
                || section.bool("owner_ignore_adverts").unwrap_or(global.owner_ignore_adverts),
            v3_checksum_as_v2: section.bool("v3_checksum_as_v2").unwrap_or(global.v3_checksum_as_v2),
            track_primary: !section.flag("dont_track_primary"),
            tracks: Vec::new(),
            promote_secondaries: section.flag("promote_secondaries"),
            receive_buffer: section.int("kernel_rx_buf_size"),
            notify_deleted: section.flag("notify_deleted"),
        }
    }

    fn addresses(&mut self) -> (Vec<AddressConfig>, Vec<AddressConfig>) {
        let mut seen = BTreeSet::new();
        let mut family = None;
        let mut addresses = Vec::with_capacity(self.section.lines("virtual_ipaddress").count());
        for node in self.section.lines("virtual_ipaddress") {
            let Some(found) = address(node, self.reporter) else { continue };
            let its = Family::of(found.address);
            if *family.get_or_insert(its) != its {
                self.reporter
                    .error(node.keyword().span, format!("`{}` is {its}, the addresses before it are not: the line is left out", found.address))
                    .help("a virtual router has one family: put this address into `virtual_ipaddress_excluded` or another instance");
            } else if self.is_new(&mut seen, found.address, node) {
                addresses.push(found);
            }
        }
        let mut excluded = Vec::with_capacity(self.section.lines("virtual_ipaddress_excluded").count());
        for node in self.section.lines("virtual_ipaddress_excluded") {
            let Some(found) = address(node, self.reporter) else { continue };
            if self.is_new(&mut seen, found.address, node) {
                excluded.push(found);
            }
        }
        (addresses, excluded)
    }

    fn is_new(&mut self, seen: &mut BTreeSet<IpAddr>, address: IpAddr, node: &Node<'_>) -> bool {
        let new = seen.insert(address);
        if !new {
            let message = format!("`{address}` is in this instance already: the line is left out");
            self.reporter.error(node.keyword().span, message);
        }
        new
    }

    /// The family of the first address; without addresses, of whatever else has one.
    fn family(&mut self, addresses: &[AddressConfig]) -> Family {
        let other = || {
            let source = ["unicast_src_ip", "mcast_src_ip", "mcast_dst_ip"];
            let mut words = source.iter().filter_map(|keyword| self.section.word(keyword)).map(|word| &word.text);
            let mut peers = self.section.lines("unicast_peer").map(|node| &node.keyword().text);
            words
                .find_map(|text| text.parse().ok())
                .or_else(|| peers.find_map(|text| text.parse().ok()))
                .map(Family::of)
        };
        if let Some(entry) = self.section.entry("native_ipv6")
            && addresses.first().is_some_and(|first| first.address.is_ipv4())
        {
            self.reporter
                .error(entry.span, format!("`native_ipv6` has no effect: the addresses of `{}` are IPv4", self.name))
                .help("remove the line");
        }
        let native = if self.section.flag("native_ipv6") { Family::V6 } else { Family::V4 };
        addresses.first().map(|first| Family::of(first.address)).or_else(other).unwrap_or(native)
    }

    fn version(&mut self, family: Family, strict: bool) -> Version {
        let own: Option<u8> = self.section.int("version");
        let wanted = own.or(self.defaults.version);
        match (family, wanted) {
            (Family::V4, Some(3)) => Version::V3,
            (Family::V4, _) => Version::V2,
            (Family::V6, Some(2)) => {
                let span = self.section.entry("version").map_or(self.section.span, |entry| entry.span);
                let message = format!("`{}` has IPv6 addresses, and VRRPv2 is for IPv4: version 3 is used", self.name);
                let report = self.reporter.error(span, message);
                if !strict {
                    report.help("a keepalived with this line sends version 2 packets: give all routers `version 3`");
                }
                Version::V3
            }
            (Family::V6, _) => Version::V3,
        }
    }

    fn priority_and_state(&mut self, strict: bool) -> (Priority, InitialState) {
        let section = self.section;
        let state = section.word("state").map(|word| match word.text {
            "MASTER" => InitialState::Master,
            _ => InitialState::Backup,
        });
        let written: Option<u8> = section.int("priority");
        let priority = match (written.and_then(Priority::new), state) {
            (Some(priority), _) => priority,
            // A line that is there but wrong has been reported, with the default.
            (None, Some(InitialState::Master)) if self.nothing_said("priority") => {
                let span = section.entry("state").map_or(section.span, |entry| entry.span);
                let message = format!(
                    "`{}` is `state MASTER` without a `priority`: it becomes the address owner, priority 255",
                    self.name
                );
                self.reporter
                    .warning(span, message)
                    .help("add `priority N`, 1 to 254, unless this router owns the addresses");
                Priority::OWNER
            }
            _ => Priority::DEFAULT,
        };
        let implied = if priority.is_owner() { InitialState::Master } else { InitialState::Backup };
        let mut state = state.unwrap_or(implied);
        if strict && state != implied {
            let span = section.entry("state").map_or(section.span, |entry| entry.span);
            let word = if implied == InitialState::Master { "MASTER" } else { "BACKUP" };
            let why = if priority.is_owner() { "the owner is" } else { "only the owner, priority 255, is" };
            self.reporter.warning(span, format!("strict mode: {why} `state MASTER`; `state {word}` is used"));
            state = implied;
        }
        (priority, state)
    }

    /// Whether a keyword does not occur, not even with a wrong value. Wrong values leave no entry.
    fn nothing_said(&self, keyword: &str) -> bool {
        !self.section.rejected.contains(&keyword)
    }

    fn source(&mut self, family: Family) -> Option<IpAddr> {
        // Both keywords set the same thing; the later line counts.
        let last =
            self.section.entries.iter().rev().find(|e| matches!(e.keyword, "mcast_src_ip" | "unicast_src_ip"))?;
        let word = self.section.word(last.keyword)?;
        match word.text.parse().ok().or_else(|| address::without_length(word, self.reporter)) {
            Some(address) if Family::of(address) == family => Some(address),
            Some(_) => {
                let message = format!("`{}` is not {family} like the instance: the line is left out", word.text);
                self.reporter.error(word.span, message);
                None
            }
            None => {
                self.reporter.error(word.span, format!("`{}` is not an IP address: the line is left out", word.text));
                None
            }
        }
    }

    fn transport(&mut self, family: Family, strict: bool) -> Transport {
        let section = self.section;
        let global = match family {
            Family::V4 => self.defaults.group4,
            Family::V6 => self.defaults.group6,
        };
        let own = section.word("mcast_dst_ip").and_then(|word| global::group(word, Some(family), self.reporter));
        let multicast = Transport::Multicast { group: own.or(global).unwrap_or(default_group(family)) };
        let Some(block) = section.entry("unicast_peer") else {
            let unicast = |e: &&Entry<'_>| {
                matches!(e.keyword, "unicast_src_ip" | "check_unicast_src" | "unicast_ttl" | "unicast_fault_no_peer")
            };
            if let Some(entry) = section.entries.iter().find(unicast) {
                let message = format!("`{}` without `unicast_peer`: `{}` uses multicast", entry.keyword, self.name);
                self.reporter.warning(entry.span, message).help("`unicast_peer { ADDR … }`, or remove the line");
            }
            return multicast;
        };
        if strict {
            self.reporter
                .fatal(block.span, format!("`{}` is strict and unicast: the RFC knows multicast only", self.name))
                .help("remove `unicast_peer`, or `vrrp_strict` and `strict_mode`");
        }
        let mut check_source = section.flag("check_unicast_src") || self.defaults.check_unicast_src;
        let mut peers: Vec<UnicastPeer> = Vec::new();
        let mut seen = BTreeSet::new();
        for node in section.lines("unicast_peer") {
            let Some(peer) = self.peer(node, family) else { continue };
            check_source |= peer.min_ttl.is_some() || peer.max_ttl.is_some();
            if seen.insert(peer.address) {
                peers.push(peer);
            } else {
                let message = format!("`{}` is a peer already: the line is left out", peer.address);
                self.reporter.error(node.keyword().span, message);
            }
        }
        if peers.is_empty() && !section.flag("unicast_fault_no_peer") {
            self.reporter
                .error(block.span, format!("`unicast_peer` of `{}` has no peers: multicast is used", self.name));
            return multicast;
        }
        Transport::Unicast { peers, ttl: section.int("unicast_ttl"), check_source }
    }

    fn peer(&mut self, node: &Node<'_>, family: Family) -> Option<UnicastPeer> {
        let word = node.keyword();
        let address = word.text.parse().ok().or_else(|| address::without_length(word, self.reporter));
        let Some(address) = address.filter(|address| Family::of(*address) == family) else {
            let what = if address.is_some() {
                format!("not {family} like the instance")
            } else {
                "not an IP address".to_owned()
            };
            self.reporter.error(word.span, format!("peer `{}` is {what}: the line is left out", word.text));
            return None;
        };
        let mut peer = UnicastPeer { address, min_ttl: None, max_ttl: None };
        let mut words = node.arguments().iter();
        while let Some(word) = words.next() {
            let limit = match word.text {
                "min_ttl" => &mut peer.min_ttl,
                "max_ttl" => &mut peer.max_ttl,
                other => {
                    let report = self
                        .reporter
                        .error(word.span, format!("`{other}` is ignored: expected `min_ttl N` or `max_ttl N`"));
                    if other.parse::<IpAddr>().is_ok() {
                        report.code("second-address").help("each peer stands on a line of its own");
                    }
                    break;
                }
            };
            let number = words.next();
            match number.and_then(|number| lex::integer(number.text)).and_then(|ttl| u8::try_from(ttl).ok()) {
                Some(ttl) => *limit = Some(ttl),
                None => drop(self.reporter.error(word.span, format!("`{}` takes a number from 0 to 255", word.text))),
            }
        }
        Some(peer)
    }

    fn check_interface(&mut self, interface: Option<&str>, transport: &Transport, source: Option<IpAddr>) {
        let unicast = matches!(transport, Transport::Unicast { .. });
        match interface {
            None if unicast && source.is_some() => {}
            None if unicast => {
                let message = format!("`{}` is unicast and has neither `interface` nor `unicast_src_ip`", self.name);
                self.reporter.fatal(self.section.span, message).help("add `interface NAME`");
            }
            None => {
                let message = format!("`vrrp_instance {}` has no `interface`", self.name);
                self.reporter.fatal(self.section.span, message).help("`interface NAME`: the one that its adverts use");
            }
            Some("lo") => {
                let span = self.section.entry("interface").map_or(self.section.span, |entry| entry.span);
                self.reporter
                    .error(span, "the loopback interface cannot carry adverts: the instance stays in FAULT")
                    .help("name a network interface here, and write `dev lo` after the addresses if they belong there");
            }
            Some(_) => {}
        }
    }

    fn check_addresses(&mut self, addresses: &[AddressConfig], version: Version, strict: bool) {
        let span = self.section.span;
        let name = self.name;
        if addresses.is_empty() && !self.section.flag("no_virtual_ipaddress") {
            let message = format!("`vrrp_instance {name}` has no virtual address");
            let report = if strict || version == Version::V3 {
                self.reporter.fatal(span, message)
            } else {
                self.reporter.error(span, message)
            };
            report.help("`virtual_ipaddress { ADDR/LEN }`; where that is meant: `no_virtual_ipaddress`");
        }
        if addresses.len() > MAX_ADDRESSES {
            let span = self.section.entry("virtual_ipaddress").map_or(span, |entry| entry.span);
            self.reporter
                .fatal(
                    span,
                    format!("`{name}` has {} virtual addresses; an advert holds {MAX_ADDRESSES}", addresses.len()),
                )
                .help("put the others into `virtual_ipaddress_excluded`: they move with these");
        }
        if let (true, Some(IpAddr::V6(first))) = (strict, addresses.first().map(|first| first.address))
            && !first.is_unicast_link_local()
        {
            let message = format!("strict mode: the first IPv6 address of `{name}` should be link-local (fe80::…)");
            self.reporter.warning(span, message);
        }
    }

    fn preemption(&mut self, state: InitialState, owner: bool, strict: bool) -> (bool, Duration) {
        let section = self.section;
        let mut preempt = !section.flag("nopreempt");
        if let Some(entry) = section.entry("nopreempt") {
            if section.entry("preempt").is_some_and(|preempting| preempting.span > entry.span) {
                preempt = true;
            } else if owner {
                self.reporter
                    .warning(entry.span, "`nopreempt` has no effect with priority 255: the owner always takes over");
                preempt = true;
            } else if state == InitialState::Master {
                self.reporter
                    .warning(
                        entry.span,
                        "`nopreempt` does not go with `state MASTER`: it is left out, as in keepalived",
                    )
                    .code("nopreempt-master")
                    .help("write `state BACKUP` on all routers; the priority still decides who starts as master");
                preempt = true;
            }
        }
        let mut delay = section.duration("preempt_delay").unwrap_or_default();
        if let Some(entry) = section.entry("preempt_delay").filter(|_| !delay.is_zero()) {
            let conflict = match (strict, preempt, state) {
                (true, ..) => Some("strict mode"),
                (_, false, _) => Some("`nopreempt`"),
                (_, _, InitialState::Master) => Some("`state MASTER`"),
                _ => None,
            };
            if let Some(conflict) = conflict {
                let message = format!("`preempt_delay` does not go with {conflict}: it is left out, as in keepalived");
                let report = self.reporter.warning(entry.span, message).code("preempt-delay-dropped");
                if conflict.contains("MASTER") {
                    report.help("write `state BACKUP` on all routers");
                }
                delay = Duration::ZERO;
            }
        }
        (preempt, delay)
    }

    fn advert_interval(&mut self, version: Version) -> AdvertInterval {
        let Some(entry) = self.section.entry("advert_int") else { return AdvertInterval::DEFAULT };
        let written = self.section.duration("advert_int").unwrap_or(Duration::from_secs(1));
        let hundredths = |micros: u128| u16::try_from(micros / 10_000).ok().and_then(AdvertInterval::from_centiseconds);
        let micros = written.as_micros();
        let (rounded, rule) = match version {
            Version::V2 => ((((micros + 500_000) / 1_000_000).max(1)) * 1_000_000, "VRRPv2 has whole seconds"),
            Version::V3 if micros > 40_950_000 => (40_950_000, "VRRPv3 has at most 40.95 s"),
            Version::V3 => (((micros + 5_000) / 10_000).max(1) * 10_000, "VRRPv3 has steps of 0.01 s"),
        };
        let interval = hundredths(rounded).unwrap_or(AdvertInterval::DEFAULT);
        if rounded != micros {
            self.reporter.error(entry.span, format!("{rule}: `{}` uses {interval}", self.name)).help(
                "all routers of a virtual router need the same interval; for less than a second, `version 3` on all",
            );
        }
        interval
    }

    fn accept(&self, version: Version, strict: bool, owner: bool) -> bool {
        let last = self.section.entries.iter().rev().find(|entry| matches!(entry.keyword, "accept" | "no_accept"));
        match last.map(|entry| entry.keyword == "accept") {
            // Strict VRRPv2 knows no accept mode: only the owner answers (RFC 3768 §6.4.3).
            Some(true) => !strict || owner || version == Version::V3,
            Some(false) => false,
            None => !strict || owner,
        }
    }

    fn track_source(&mut self, source: Option<IpAddr>) -> bool {
        let Some(entry) = self.section.entry("track_src_ip") else { return false };
        if source.is_none() {
            self.reporter
                .error(entry.span, "`track_src_ip` needs `mcast_src_ip` or `unicast_src_ip`: the line is left out");
        }
        source.is_some()
    }

    fn auth(&mut self, version: Version, strict: bool) -> Auth {
        let Some(section) = self.section.sections("authentication").last() else { return Auth::None };
        let kind = section.word("auth_type");
        if let Some(word) = kind.filter(|word| word.text == "AH") {
            self.reporter
                .fatal(
                    word.span,
                    "`auth_type AH` is not built: adverts would go out without it, and the other routers drop those",
                )
                .help("AH is obsolete; use `auth_type PASS` on all routers, or none");
            return Auth::None;
        }
        if version == Version::V3 || strict {
            let why = if strict { "strict mode has" } else { "VRRPv3 has" };
            self.reporter
                .warning(section.span, format!("{why} no authentication: the block is left out, as in keepalived"));
            return Auth::None;
        }
        let Some(pass) = section.word("auth_pass") else {
            if kind.is_some() {
                self.reporter.error(section.span, "`auth_pass` is missing: adverts go out without authentication");
            }
            return Auth::None;
        };
        if kind.is_none() && section.rejected.contains(&"auth_type") {
            return Auth::None;
        }
        if kind.is_none() {
            let message = "`auth_type` is missing: adverts go out without authentication";
            self.reporter.error(section.span, message).help("add `auth_type PASS`");
            return Auth::None;
        }
        Auth::Pass(self.password(pass))
    }

    fn password(&mut self, word: &Word<'_>) -> [u8; 8] {
        let bytes = word.text.as_bytes();
        if bytes.len() > 8 {
            let message = format!("`auth_pass` has {} bytes: VRRPv2 sends the first 8", bytes.len());
            self.reporter
                .warning(word.span, message)
                .code("auth-pass-cut")
                .help("keepalived cuts it too; write 8 bytes, to show what is compared");
        }
        let mut key = [0; 8];
        for (to, byte) in key.iter_mut().zip(bytes) {
            *to = *byte;
        }
        key
    }

    fn garp(&self, strict: bool) -> GarpConfig {
        let own = GarpSettings::of_instance(self.section);
        let global = self.defaults.garp;
        let least = GarpConfig { delay: Duration::ZERO, repeat: 1, refresh: Duration::ZERO, ..GarpConfig::default() };
        let base = if self.defaults.min_garp { least } else { GarpConfig::default() };
        // What follows a lower-priority advert is as after a takeover, but as `global_defs` says it: keepalived does not
        // look at the instance's own `garp_master_delay` and `garp_master_repeat` there.
        let delay = global.delay.unwrap_or(base.delay);
        let repeat = global.repeat.unwrap_or(base.repeat).max(1);
        let lower_repeat = own.lower_prio_repeat.or(global.lower_prio_repeat).unwrap_or(repeat);
        GarpConfig {
            delay: own.delay.unwrap_or(delay),
            // 0 packets would tell nobody; keepalived sends one.
            repeat: own.repeat.unwrap_or(repeat).max(1),
            refresh: own.refresh.or(global.refresh).unwrap_or(base.refresh),
            refresh_repeat: own.refresh_repeat.or(global.refresh_repeat).unwrap_or(base.refresh_repeat).max(1),
            lower_prio_delay: own.lower_prio_delay.or(global.lower_prio_delay).unwrap_or(delay),
            lower_prio_repeat: if strict { 0 } else { lower_repeat },
        }
    }

    fn down_timer_adverts(&mut self, strict: bool) -> u8 {
        let own: Option<u8> = self.section.int("down_timer_adverts");
        let wanted = own.or(self.defaults.down_timer_adverts).unwrap_or(3);
        if strict && wanted != 3 {
            let span = self.section.entry("down_timer_adverts").map_or(self.section.span, |entry| entry.span);
            self.reporter.warning(span, "strict mode: a master is down after 3 adverts, as in the RFC");
            return 3;
        }
        wanted
    }
}
