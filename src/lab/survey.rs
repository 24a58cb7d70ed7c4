//! What a lab must know of a node's keepalived.conf: interfaces, addresses, priorities, trackers, and what to leave out.
//!
//! Pure. Not the daemon's parser: the lab also rehearses files that another daemon reads and ours refuses, and it only
//! looks for what it has to build around the daemon. What it does not understand it leaves to the daemon to report.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The gist of one file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Survey {
    /// `vrrp_instance` blocks in the order of the file.
    pub instances: Vec<Instance>,
    /// Every interface that is named anywhere.
    pub interfaces: BTreeSet<String>,
    /// The file has a `virtual_server`: keepalived needs IPVS for it, or `-P`.
    pub virtual_servers: bool,
    /// `virtual_server` blocks with an address.
    pub services: Vec<Service>,
    /// Patterns of `include` lines.
    pub includes: Vec<String>,
}

/// The gist of one `virtual_server`.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// `real_server` blocks in the order of the file.
    pub real_servers: Vec<RealServer>,
    /// `sorry_server`.
    pub sorry_server: Option<(IpAddr, u16)>,
}

/// The gist of one `real_server`.
#[derive(Debug, Clone, PartialEq)]
pub struct RealServer {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// The names of its checkers, `TCP_CHECK` for example.
    pub checks: Vec<String>,
    /// The longest time until its end shows: everything that a checker waits for.
    pub reaction: Duration,
    /// The file whose number a FILE_CHECK adds to its weight.
    pub weight_file: Option<PathBuf>,
}

/// The gist of one `vrrp_instance`.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// `interface`.
    pub interface: Option<String>,
    /// `virtual_router_id`.
    pub vrid: u8,
    /// Base `priority`.
    pub priority: u8,
    /// `advert_int`.
    pub interval: Duration,
    /// VRRPv3, by `version` or because it is IPv6.
    pub v3: bool,
    /// Without `nopreempt`.
    pub preempt: bool,
    /// `preempt_delay`.
    pub preempt_delay: Duration,
    /// `virtual_ipaddress`, then `virtual_ipaddress_excluded`.
    pub vips: Vec<Vip>,
    /// `unicast_src_ip` or `mcast_src_ip`.
    pub source: Option<IpAddr>,
    /// `unicast_peer`.
    pub peers: Vec<IpAddr>,
    /// What it tracks.
    pub tracks: Vec<Track>,
}

/// A virtual address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vip {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length, `None` when the file has none.
    pub prefix_len: Option<u8>,
    /// `dev`.
    pub device: Option<String>,
}

/// A script or file that an instance tracks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// What it is.
    pub kind: TrackKind,
    /// 0: failing means FAULT.
    pub weight: i32,
    /// The longest time until a change shows: checks × interval.
    pub reaction: Duration,
}

/// The two kinds that a lab can make fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrackKind {
    /// `track_script`, with the script's text.
    Script(String),
    /// `track_file`, with the file's path.
    File(PathBuf),
}

impl Instance {
    /// The skew time of a router with this priority: RFC 3768 §6.1 counts it in seconds, RFC 9568 §6.1 in intervals.
    pub fn skew(&self, priority: u8) -> Duration {
        let unit = if self.v3 { self.interval } else { Duration::from_secs(1) };
        unit * (256 - u32::from(priority)) / 256
    }

    /// The master-down interval of a router with this priority.
    pub fn master_down(&self, priority: u8) -> Duration {
        self.interval * 3 + self.skew(priority)
    }

    /// The address that a client would use: the first that is not link-local.
    pub fn service_address(&self) -> Option<&Vip> {
        self.vips.iter().find(|vip| match vip.address {
            IpAddr::V4(_) => true,
            IpAddr::V6(address) => !address.is_unicast_link_local(),
        })
    }
}

/// A line: its words, and the block that follows it.
#[derive(Debug, Default, PartialEq)]
struct Line {
    words: Vec<String>,
    block: Vec<Line>,
}

impl Line {
    fn keyword(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    fn value(&self) -> &str {
        self.words.get(1).map_or("", String::as_str)
    }

    fn find(&self, keyword: &str) -> Option<&Line> {
        self.block.iter().rfind(|line| line.keyword() == keyword)
    }

    fn number<T: std::str::FromStr>(&self, keyword: &str) -> Option<T> {
        self.find(keyword)?.value().parse().ok()
    }

    fn seconds(&self, keyword: &str) -> Option<Duration> {
        Duration::try_from_secs_f64(self.number(keyword)?).ok()
    }
}

/// Reads a file.
pub fn survey(text: &str) -> Survey {
    let lines = parse(text);
    let global_v3 = lines.iter().any(|l| l.keyword() == "global_defs" && l.number("vrrp_version") == Some(3));
    let mut survey = Survey::default();
    for line in &lines {
        match line.keyword() {
            "vrrp_instance" => survey.instances.push(instance(line, &lines, global_v3)),
            "virtual_server" => {
                survey.virtual_servers = true;
                survey.services.extend(service(line, &lines));
            }
            "virtual_server_group" => survey.virtual_servers = true,
            "static_ipaddress" => survey.interfaces.extend(line.block.iter().filter_map(|l| word_after(l, "dev"))),
            "include" | "includer" | "includem" | "includew" | "includeb" | "includea" | "includet" => {
                survey.includes.push(line.value().to_owned());
            }
            _ => {}
        }
    }
    for line in lines.iter().filter(|line| matches!(line.keyword(), "vrrp_instance" | "vrrp_sync_group")) {
        survey.interfaces.extend(interfaces(line));
    }
    survey.interfaces.remove("lo");
    survey
}

fn interfaces(instance: &Line) -> Vec<String> {
    let mut names: Vec<String> = instance.find("interface").map(|line| line.value().to_owned()).into_iter().collect();
    for line in &instance.block {
        match line.keyword() {
            "track_interface" => names.extend(line.block.iter().map(|l| l.keyword().to_owned())),
            "virtual_ipaddress" | "virtual_ipaddress_excluded" => {
                names.extend(line.block.iter().filter_map(|l| word_after(l, "dev")));
            }
            _ => {}
        }
    }
    names
}

fn instance(line: &Line, all: &[Line], global_v3: bool) -> Instance {
    let mut vips = Vec::new();
    for keyword in ["virtual_ipaddress", "virtual_ipaddress_excluded"] {
        let blocks = line.block.iter().filter(|l| l.keyword() == keyword);
        vips.extend(blocks.flat_map(|l| &l.block).filter_map(vip));
    }
    let v6 = vips.first().is_some_and(|vip| vip.address.is_ipv6());
    let address = |keyword| line.find(keyword).and_then(|l| l.value().parse().ok());
    let sections = line.block.iter().filter(|l| matches!(l.keyword(), "track_script" | "track_file"));
    Instance {
        name: line.value().to_owned(),
        interface: line.find("interface").map(|l| l.value().to_owned()),
        vrid: line.number("virtual_router_id").unwrap_or(0),
        priority: line.number("priority").unwrap_or(100),
        interval: line.seconds("advert_int").unwrap_or(Duration::from_secs(1)),
        v3: v6 || line.number("version").map_or(global_v3, |version: u8| version == 3),
        preempt: line.find("nopreempt").is_none(),
        preempt_delay: line.seconds("preempt_delay").unwrap_or(Duration::ZERO),
        source: address("unicast_src_ip").or_else(|| address("mcast_src_ip")),
        peers: line
            .find("unicast_peer")
            .map_or(&[][..], |l| &l.block)
            .iter()
            .filter_map(|l| l.keyword().parse().ok())
            .collect(),
        tracks: sections.flat_map(|s| s.block.iter().filter_map(|l| track(s.keyword(), l, all))).collect(),
        vips,
    }
}

fn service(line: &Line, all: &[Line]) -> Option<Service> {
    let (address, port) = endpoint(line)?;
    let reals = line.block.iter().filter(|l| l.keyword() == "real_server");
    Some(Service {
        address,
        port,
        real_servers: reals.filter_map(|real| real_server(line, real, port, all)).collect(),
        sorry_server: line.find("sorry_server").and_then(endpoint),
    })
}

/// `KEYWORD ADDRESS [PORT]`; a service for every port is asked on the usual one.
fn endpoint(line: &Line) -> Option<(IpAddr, u16)> {
    let port = line.words.get(2).and_then(|port| port.parse().ok()).filter(|port| *port != 0);
    Some((line.value().parse().ok()?, port.unwrap_or(super::server::PORT)))
}

fn real_server(service: &Line, real: &Line, port: u16, all: &[Line]) -> Option<RealServer> {
    let (address, _) = endpoint(real)?;
    let port = real.words.get(2).and_then(|port| port.parse().ok()).filter(|port| *port != 0).unwrap_or(port);
    let checks = || real.block.iter().filter(|l| l.keyword().ends_with("_CHECK") || l.keyword().ends_with("_GET"));
    // What waits for events has no time of its own.
    let asks = checks().filter(|check| !matches!(check.keyword(), "FILE_CHECK" | "BFD_CHECK"));
    let reaction = asks.map(|check| {
        let seconds = |keyword, default| {
            let own = [check, real, service].into_iter().find_map(|block| block.seconds(keyword));
            own.unwrap_or(Duration::from_secs(default))
        };
        let (retry, pause) = match check.keyword() {
            "DNS_CHECK" => (3, 60),
            "MISC_CHECK" => (0, 1),
            "HTTP_GET" | "SSL_GET" => (1, 3),
            _ => (1, 1),
        };
        let retry = [check, real, service].into_iter().find_map(|block| block.number("retry")).unwrap_or(retry);
        seconds("delay_loop", 60)
            + (seconds("delay_before_retry", pause) + seconds("connect_timeout", 5)).saturating_mul(retry)
            + seconds("connect_timeout", 5)
    });
    let file = checks().find(|check| check.keyword() == "FILE_CHECK").and_then(|check| {
        let name = check.find("track_file")?.value();
        let named = |l: &&Line| matches!(l.keyword(), "track_file" | "vrrp_track_file") && l.value() == name;
        Some(PathBuf::from(all.iter().find(named)?.find("file")?.value()))
    });
    Some(RealServer {
        address,
        port,
        checks: checks().map(|check| check.keyword().to_owned()).collect(),
        reaction: reaction.max().unwrap_or(Duration::MAX),
        weight_file: file,
    })
}

fn vip(line: &Line) -> Option<Vip> {
    let (address, prefix_len) = match line.keyword().split_once('/') {
        Some((address, prefix_len)) => (address, Some(prefix_len.parse().ok()?)),
        None => (line.keyword(), None),
    };
    Some(Vip { address: address.parse().ok()?, prefix_len, device: word_after(line, "dev") })
}

/// One line of `track_script` or `track_file`, with what it names.
fn track(section: &str, line: &Line, all: &[Line]) -> Option<Track> {
    let named = |keywords: &[&str]| all.iter().find(|l| keywords.contains(&l.keyword()) && l.value() == line.keyword());
    let (kind, of) = if section == "track_script" {
        let script = named(&["vrrp_script"])?;
        (TrackKind::Script(script.find("script")?.words.get(1..)?.join(" ")), script)
    } else {
        let file = named(&["track_file", "vrrp_track_file"])?;
        (TrackKind::File(file.find("file")?.value().into()), file)
    };
    let here = word_after(line, "weight").and_then(|weight| weight.parse().ok());
    let weight = here.or_else(|| of.number("weight")).unwrap_or(i32::from(section == "track_file"));
    let checks = of.number("fall").unwrap_or(1u32).max(of.number("rise").unwrap_or(1));
    let interval = of.seconds("interval").unwrap_or(Duration::from_secs(1));
    Some(Track { kind, weight, reaction: interval.saturating_mul(checks.saturating_add(1)) })
}

fn word_after(line: &Line, keyword: &str) -> Option<String> {
    let at = line.words.iter().position(|word| word == keyword)?;
    line.words.get(at + 1).cloned()
}

fn parse(text: &str) -> Vec<Line> {
    // The innermost open block is last; the file itself is first and is never closed.
    let mut open: Vec<Vec<Line>> = vec![Vec::new()];
    let close = |open: &mut Vec<Vec<Line>>| {
        if open.len() > 1
            && let Some(block) = open.pop()
            && let Some(owner) = open.last_mut().and_then(|lines| lines.last_mut())
        {
            owner.block = block;
        }
    };
    let mut fresh = true;
    for token in tokens(text) {
        let Some(block) = open.last_mut() else { break };
        match token {
            Token::LineEnd => fresh = true,
            Token::Open => {
                if block.is_empty() {
                    block.push(Line::default());
                }
                open.push(Vec::new());
                fresh = true;
            }
            Token::Close => {
                close(&mut open);
                fresh = true;
            }
            Token::Word { text, .. } if fresh => {
                block.push(Line { words: vec![text], block: Vec::new() });
                fresh = false;
            }
            Token::Word { text, .. } => block.last_mut().into_iter().for_each(|line| line.words.push(text.clone())),
        }
    }
    while open.len() > 1 {
        close(&mut open);
    }
    open.pop().unwrap_or_default()
}

#[derive(Debug, PartialEq)]
enum Token {
    Word { text: String, at: usize },
    Open,
    Close,
    LineEnd,
}

/// Words, braces and line ends; comments are gone and quotes are removed. A quoted word keeps its blanks.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\n' => tokens.push(Token::LineEnd),
            '{' => tokens.push(Token::Open),
            '}' => tokens.push(Token::Close),
            '#' | '!' => while chars.next_if(|(_, c)| *c != '\n').is_some() {},
            c if c.is_whitespace() => {}
            '"' | '\'' => {
                let mut word = String::new();
                while let Some((_, inner)) = chars.next_if(|(_, inner)| *inner != c) {
                    word.push(inner);
                }
                chars.next();
                tokens.push(Token::Word { text: word, at });
            }
            c => {
                let mut word = String::from(c);
                let part = |c: char| !c.is_whitespace() && !matches!(c, '{' | '}' | '#' | '!');
                while let Some((_, c)) = chars.next_if(|(_, c)| part(*c)) {
                    word.push(c);
                }
                tokens.push(Token::Word { text: word, at });
            }
        }
    }
    tokens
}

/// Keywords that run something of the user's outside health checking, or that would leave the lab's namespace.
const NOT_IN_A_LAB: [&str; 22] = [
    "notify",
    "notify_master",
    "notify_backup",
    "notify_fault",
    "notify_stop",
    "notify_deleted",
    "notify_master_rx_lower_pri",
    "notify_fifo",
    "notify_fifo_script",
    "vrrp_notify_fifo",
    "vrrp_notify_fifo_script",
    "lvs_notify_fifo",
    "lvs_notify_fifo_script",
    "notify_up",
    "notify_down",
    "quorum_up",
    "quorum_down",
    "startup_script",
    "shutdown_script",
    "smtp_alert",
    "reload_check_config",
    "reload_file",
];

/// The same file with notify scripts commented out, or only `net_namespace` when scripts are wanted. Lines keep their
/// numbers, so that a diagnostic about the copy is right about the original.
pub fn disarm(text: &str, scripts: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut offset = 0;
    for start in line_starts_to_drop(text, scripts) {
        let (before, after) = rest.split_at(start - offset);
        out.push_str(before);
        out.push('#');
        (rest, offset) = (after, start);
    }
    out.push_str(rest);
    out
}

fn line_starts_to_drop(text: &str, scripts: bool) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut fresh = true;
    for token in tokens(text) {
        match token {
            Token::Word { text, at } => {
                let unwanted = text == "net_namespace" || (!scripts && NOT_IN_A_LAB.contains(&text.as_str()));
                if fresh && unwanted {
                    starts.push(at);
                }
                fresh = false;
            }
            Token::LineEnd => fresh = true,
            Token::Open | Token::Close => {}
        }
    }
    starts
}

#[cfg(test)]
mod tests;
