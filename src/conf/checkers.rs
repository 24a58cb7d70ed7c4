//! The checkers of a real server: when they run, where they connect to, what they ask.
//!
//! Pure. A checker takes what it does not say from its real server, that from the virtual server, and the rest are
//! keepalived's defaults. The pages of `HTTP_GET` and `SSL_GET` are in `pages`.

use std::time::Duration;

use super::diagnostic::Reporter;
use super::global::run_as;
use super::lex;
use super::pages;
use super::section::{Section, Value};
use super::virtual_server::Surroundings;
use crate::checkers::config::{
    CheckerConfig, DnsProbe, FileProbe, MiscProbe, Probe, Schedule, SmtpProbe, Target, UdpProbe,
};
use crate::checkers::probe;
use crate::ipvs::types::SocketKey;

/// `delay_loop` when nobody says it.
const DELAY_LOOP: Duration = Duration::from_secs(60);

/// What some block says of when its checkers run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inherited {
    retry: Option<u32>,
    delay_before_retry: Option<Duration>,
    warmup: Option<Duration>,
    connect_timeout: Option<Duration>,
    delay_loop: Option<Duration>,
    rise: Option<u32>,
    max_latency: Option<Duration>,
}

impl Inherited {
    /// What `section` says, and where it says nothing, this.
    pub fn take(self, section: &Section<'_>) -> Self {
        // Not every block has it.
        let connects = section.known_entry("connect_timeout").is_some();
        let connect_timeout = if connects { section.duration("connect_timeout") } else { None };
        Self {
            // `fall` is the same in the words of a tracker: the failure that counts is the last of so many.
            retry: section.int("retry").or(section.int("fall").map(|fall: u32| fall.saturating_sub(1))).or(self.retry),
            delay_before_retry: section.duration("delay_before_retry").or(self.delay_before_retry),
            warmup: section.duration("warmup").or(self.warmup),
            connect_timeout: connect_timeout.or(self.connect_timeout),
            delay_loop: section.duration("delay_loop").or(self.delay_loop),
            rise: section.int("rise").or(self.rise),
            max_latency: section.duration("max_latency").or(self.max_latency),
        }
    }

    /// The time between two probes.
    pub fn delay_loop(&self) -> Duration {
        self.delay_loop.unwrap_or(DELAY_LOOP)
    }

    fn connect_timeout(&self) -> Duration {
        self.connect_timeout.unwrap_or(Duration::from_secs(5))
    }

    fn schedule(&self, retry: u32, delay_before_retry: Duration) -> Schedule {
        Schedule {
            delay_loop: self.delay_loop(),
            retry: self.retry.unwrap_or(retry),
            delay_before_retry: self.delay_before_retry.unwrap_or(delay_before_retry),
            warmup: self.warmup.unwrap_or(self.delay_loop()),
            rise: self.rise.unwrap_or(1),
            max_latency: self.max_latency,
        }
    }
}

/// The real server of some checkers.
pub struct Server<'a> {
    /// Where its checkers connect to; port 0 when it has none, nor its virtual server.
    pub address: SocketKey,
    /// `weight`.
    pub weight: u32,
    /// `alpha`.
    pub alpha: bool,
    /// `virtualhost`.
    pub virtualhost: Option<&'a str>,
    /// What it and its virtual server say.
    pub inherited: Inherited,
    /// `misc_timeout` when nobody says it: the virtual server's `delay_loop`.
    pub misc_timeout: Duration,
}

/// All checkers of a real server, in the order of the file; those that cannot work are reported and left out.
pub fn checkers(
    section: &Section<'_>,
    server: &Server<'_>,
    around: &Surroundings<'_>,
    reporter: &mut Reporter,
) -> Vec<CheckerConfig> {
    // No room for more: large configurations have many real servers with one checker each.
    let count = section.entries.iter().filter(|entry| matches!(entry.value, Value::Section(_))).count();
    let mut checkers: Vec<CheckerConfig> = Vec::with_capacity(count);
    for entry in &section.entries {
        let Value::Section(block) = &entry.value else { continue };
        let Some(mut checker) = checker(block, server, around, reporter) else { continue };
        let is_dynamic = |probe: &Probe| matches!(probe, Probe::Misc(misc) if misc.dynamic);
        if is_dynamic(&checker.probe) && checkers.iter().any(|other| is_dynamic(&other.probe)) {
            let message = "another check sets this server's weight already: `misc_dynamic` is left out here";
            reporter.error(entry.span, message);
            if let Probe::Misc(misc) = &mut checker.probe {
                misc.dynamic = false;
            }
        }
        checkers.push(checker);
    }
    checkers
}

fn checker(
    section: &Section<'_>,
    server: &Server<'_>,
    around: &Surroundings<'_>,
    reporter: &mut Reporter,
) -> Option<CheckerConfig> {
    let second = Duration::from_secs(1);
    let scheduled = section.block.find("retry").is_some();
    let inherited = if scheduled { server.inherited.take(section) } else { server.inherited };
    let (probe, retry, delay) = match section.block.name {
        "TCP_CHECK" => (Probe::Tcp(target(section, server, &inherited, reporter)?), 1, second),
        "PING_CHECK" => (Probe::Ping(ping(section, server, &inherited)), 1, second),
        "UDP_CHECK" => (Probe::Udp(Box::new(udp(section, server, &inherited, reporter)?)), 1, second),
        "DNS_CHECK" => (Probe::Dns(Box::new(dns(section, server, &inherited, reporter)?)), 3, inherited.delay_loop()),
        "HTTP_GET" | "SSL_GET" => {
            let target = target(section, server, &inherited, reporter)?;
            (Probe::Http(Box::new(pages::probe(section, server, target, reporter)?)), 1, 3 * second)
        }
        "SMTP_CHECK" => return smtp(section, server, inherited, around, reporter),
        "MISC_CHECK" => (Probe::Misc(Box::new(misc(section, server, reporter)?)), 0, second),
        "FILE_CHECK" => (Probe::File(file(section, around, reporter)?), 0, second),
        "BFD_CHECK" => (Probe::Bfd(bfd(section, around, reporter)?), 0, second),
        _ => return None,
    };
    Some(finish(section, server, around, inherited.schedule(retry, delay), probe))
}

fn finish(
    section: &Section<'_>,
    server: &Server<'_>,
    around: &Surroundings<'_>,
    schedule: Schedule,
    probe: Probe,
) -> CheckerConfig {
    // Not every block has these.
    let said = |keyword: &str| match section.known_entry(keyword)?.value {
        Value::Bool(value) => Some(value),
        _ => None,
    };
    CheckerConfig {
        schedule,
        alpha: said("alpha").unwrap_or(server.alpha),
        log_all_failures: said("log_all_failures").unwrap_or(around.defaults.log_all_failures),
        probe,
    }
}

/// Where a checker connects to; `None`, reported, when no port is known.
fn target(
    section: &Section<'_>,
    server: &Server<'_>,
    inherited: &Inherited,
    reporter: &mut Reporter,
) -> Option<Target> {
    let target = ping(section, server, inherited);
    if target.address.port == 0 {
        let message = format!("`{}` has no port to connect to: the check is left out", section.block.name);
        reporter.error(section.span, message).help("add `connect_port N`");
        return None;
    }
    if let (Some(from), Some(entry)) = (target.bind_to, section.entry("bindto"))
        && from.is_ipv4() != target.address.ip.is_ipv4()
    {
        let message = format!("`{from}` cannot be the source towards {}: `bindto` is left out", target.address.ip);
        reporter.error(entry.span, message);
        return Some(Target { bind_to: None, ..target });
    }
    Some(target)
}

fn ping(section: &Section<'_>, server: &Server<'_>, inherited: &Inherited) -> Target {
    Target {
        address: SocketKey::new(
            section.address("connect_ip").unwrap_or(server.address.ip),
            section.int("connect_port").unwrap_or(server.address.port),
        ),
        bind_to: section.address("bindto"),
        bind_port: section.int("bind_port"),
        bind_interface: section.word("bind_if").map(|word| word.text.to_string()),
        connect_timeout: inherited.connect_timeout(),
        fwmark: section.int("fwmark").unwrap_or(0),
    }
}

/// `host` blocks, old as they are, stand in place of the real server; what they say of times counts for all.
fn smtp(
    section: &Section<'_>,
    server: &Server<'_>,
    inherited: Inherited,
    around: &Surroundings<'_>,
    reporter: &mut Reporter,
) -> Option<CheckerConfig> {
    let hosts: Vec<&Section<'_>> = section.sections("host").collect();
    let timing = hosts.iter().fold(inherited, |inherited, host| inherited.take(host));
    let targets: Vec<Target> = if hosts.is_empty() {
        vec![target(section, server, &inherited, reporter)?]
    } else {
        let own = ping(section, server, &inherited);
        let base = Server { address: own.address, ..*server };
        let one = |host: &&Section<'_>| target(host, &base, &inherited.take(host), reporter);
        hosts.iter().filter_map(one).map(|target| merge(target, &own)).collect()
    };
    if targets.is_empty() {
        return None;
    }
    let helo_name = section.word("helo_name").map_or("smtpchecker.keepalived.org", |word| word.text).to_owned();
    let schedule = timing.schedule(1, Duration::from_secs(1));
    Some(finish(section, server, around, schedule, Probe::Smtp(SmtpProbe { targets, helo_name })))
}

/// A host takes from the checker what it does not say.
fn merge(host: Target, own: &Target) -> Target {
    Target {
        bind_to: host.bind_to.or(own.bind_to),
        bind_port: host.bind_port.or(own.bind_port),
        bind_interface: host.bind_interface.or_else(|| own.bind_interface.clone()),
        fwmark: if host.fwmark == 0 { own.fwmark } else { host.fwmark },
        ..host
    }
}

/// The record types that keepalived asks for; others are asked for by number.
const RECORD_TYPES: [&str; 9] = ["A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA", "RRSIG", "DNSKEY"];

fn dns(section: &Section<'_>, server: &Server<'_>, inherited: &Inherited, reporter: &mut Reporter) -> Option<DnsProbe> {
    let target = target(section, server, inherited, reporter)?;
    let mut record_type = "SOA".to_owned();
    if let Some(word) = section.word("type") {
        let upper = word.text.to_ascii_uppercase();
        let number = upper.strip_prefix("TYPE").is_some_and(|digits| digits.parse::<u16>().is_ok());
        if (RECORD_TYPES.contains(&upper.as_str()) || number) && probe::dns::record_type(&upper).is_some() {
            record_type = upper;
        } else {
            let message =
                format!("`type` takes {} or `TYPE` and a number", super::parse::list(RECORD_TYPES.into_iter()));
            reporter.error(word.span, message).help("the line is left out; the default is SOA");
        }
    }
    let mut name = ".".to_owned();
    if let Some(word) = section.word("name") {
        match probe::dns::is_name(word.text) {
            Ok(()) => name = word.text.to_string(),
            Err(error) => {
                let message = format!("`{}` is not a name to ask for: {error}", word.text);
                reporter.error(word.span, message).help("the line is left out; the root is asked for");
            }
        }
    }
    Some(DnsProbe { target, record_type, name })
}

fn udp(section: &Section<'_>, server: &Server<'_>, inherited: &Inherited, reporter: &mut Reporter) -> Option<UdpProbe> {
    let target = target(section, server, inherited, reporter)?;
    let mut bytes = |keyword: &str, wild: bool| -> Option<Vec<(u8, u8)>> {
        let words = section.words(keyword)?;
        let text: String = words.iter().map(|word| word.text).collect();
        let bytes = hex(&text, wild);
        if bytes.is_none() {
            let span = words.first().map_or(section.span, |word| word.span);
            let help = if wild { "two digits a byte, `X` for any" } else { "two digits a byte" };
            reporter
                .error(span, format!("`{keyword}` takes hexadecimal digits, two for each byte: they are left out"))
                .help(help);
        }
        bytes
    };
    let payload = bytes("payload", false).filter(|bytes| !bytes.is_empty());
    let payload = payload.map(|bytes| bytes.into_iter().map(|(byte, _)| byte).collect());
    let reply = bytes("require_reply", true).unwrap_or_default();
    let least: Option<u16> = section.int("min_reply_length");
    let most: Option<u16> = section.int("max_reply_length");
    let (least_length, most_length) = (least.unwrap_or(0), most.unwrap_or(255));
    if least_length > most_length {
        let entry = section.entry("max_reply_length").or(section.entry("min_reply_length"));
        let span = entry.map_or(section.span, |entry| entry.span);
        reporter.error(span, format!("no reply is {least_length} bytes or more and {most_length} or fewer"));
    }
    Some(UdpProbe {
        target,
        payload,
        require_reply: section.flag("require_reply") || least.is_some() || most.is_some(),
        reply,
        min_reply_length: least_length,
        max_reply_length: most_length.max(least_length),
    })
}

/// Bytes and masks of hexadecimal digits; `X` is any half byte where that is allowed.
fn hex(text: &str, wild: bool) -> Option<Vec<(u8, u8)>> {
    let digit = |c: u8| match c {
        b'X' | b'x' if wild => Some((0, 0)),
        c => char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).map(|digit| (digit, 0xf)),
    };
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs
        .map(|pair| match pair {
            [high, low] => {
                let ((high, high_mask), (low, low_mask)) = (digit(*high)?, digit(*low)?);
                Some((high << 4 | low, high_mask << 4 | low_mask))
            }
            _ => None,
        })
        .collect()
}

fn misc(section: &Section<'_>, server: &Server<'_>, reporter: &mut Reporter) -> Option<MiscProbe> {
    let Some(command) = section.script("misc_path") else {
        if !section.rejected.contains(&"misc_path") {
            let message = "`MISC_CHECK` has no `misc_path`: the check is left out";
            reporter.error(section.span, message).help("`misc_path \"COMMAND ARGUMENT …\"`");
        }
        return None;
    };
    let mut command = command.clone();
    if let Some(user) = section.words("user").and_then(run_as) {
        command.user = Some(user);
    }
    let timeout = section.duration("misc_timeout").filter(|timeout| !timeout.is_zero());
    Some(MiscProbe {
        command,
        timeout: timeout.unwrap_or(server.misc_timeout),
        dynamic: section.flag("misc_dynamic"),
        real_weight: server.weight,
    })
}

fn file(section: &Section<'_>, around: &Surroundings<'_>, reporter: &mut Reporter) -> Option<FileProbe> {
    let Some(word) = section.word("track_file") else {
        reporter.error(section.span, "`FILE_CHECK` has no `track_file`: the check is left out");
        return None;
    };
    let Some(file) = around.trackers.files.get(word.text) else {
        let message = format!("no `track_file` is called `{}`, or it has errors: the check is left out", word.text);
        let report = reporter.error(word.span, message);
        if let Some(near) = super::schema::nearest(word.text, around.trackers.files.keys().map(String::as_str)) {
            report.help(format!("did you mean `{near}`?"));
        }
        return None;
    };
    let (weight, reverse) = file.default_weight();
    let mut probe = FileProbe { file: word.text.to_string(), weight: weight.into(), reverse };
    if let Some([number, rest @ ..]) = section.words("weight") {
        match lex::integer(number.text)
            .and_then(|weight| i32::try_from(weight).ok())
            .filter(|weight| *weight > i32::MIN)
        {
            Some(weight) => (probe.weight, probe.reverse) = (weight, false),
            None => {
                let message = format!("`{}` is not a weight from -2147483647 to 2147483647", number.text);
                reporter.error(number.span, message).help("the weight of the file is used");
            }
        }
        match rest.first().map(|word| (word, word.text)) {
            Some((_, "reverse")) => probe.reverse = true,
            Some((_, "noreverse")) => probe.reverse = false,
            Some((word, other)) => {
                reporter.error(word.span, format!("`{other}` is ignored: expected `reverse` or `noreverse`"));
            }
            None => {}
        }
    }
    Some(probe)
}

fn bfd(section: &Section<'_>, around: &Surroundings<'_>, reporter: &mut Reporter) -> Option<String> {
    let Some(word) = section.word("name") else {
        reporter.error(section.span, "`BFD_CHECK` has no `name`: the check is left out");
        return None;
    };
    if !around.sessions.contains(word.text) {
        let message = format!("no `bfd_instance` is called `{}`: the check is left out", word.text);
        reporter.error(word.span, message);
        return None;
    }
    Some(word.text.to_string())
}

#[cfg(test)]
mod tests {
    use super::hex;

    #[test]
    fn hexadecimal_digits() {
        assert_eq!(hex("0aFF", false), Some(vec![(0x0a, 0xff), (0xff, 0xff)]));
        assert_eq!(hex("1XXf", true), Some(vec![(0x10, 0xf0), (0x0f, 0x0f)]));
        assert_eq!(hex("1X", false), None);
        assert_eq!(hex("abc", true), None);
        assert_eq!(hex("é", true), None);
        assert_eq!(hex("", true), Some(Vec::new()));
    }
}
