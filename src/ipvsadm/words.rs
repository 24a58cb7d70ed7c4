//! The words of a command line: commands and options, by popt's rules.
//!
//! Pure. Short options cluster (`-ln`), take their value attached, after a `=` or as the next word; long ones are written
//! out in full. `-p` takes the next word unless that begins with a `-`. Options and other words may be mixed. The first
//! option is the command.

use super::Leave;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// `-A`.
    AddService,
    /// `-E`.
    EditService,
    /// `-D`.
    DeleteService,
    /// `-C`.
    Clear,
    /// `-R`.
    Restore,
    /// `-S`.
    Save,
    /// `-a`.
    AddServer,
    /// `-e`.
    EditServer,
    /// `-d`.
    DeleteServer,
    /// `-L`, `-l`.
    List,
    /// `-Z`.
    Zero,
    /// `--set`.
    Set,
    /// `--start-daemon`.
    StartDaemon,
    /// `--stop-daemon`.
    StopDaemon,
    /// `-h`.
    Help,
    /// `-v`.
    Version,
}

impl Verb {
    /// As messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AddService => "add-service",
            Self::EditService => "edit-service",
            Self::DeleteService => "delete-service",
            Self::Clear => "flush",
            Self::Restore => "restore",
            Self::Save => "save",
            Self::AddServer => "add-server",
            Self::EditServer => "edit-server",
            Self::DeleteServer => "delete-server",
            Self::List => "list",
            Self::Zero => "zero",
            Self::Set => "set",
            Self::StartDaemon => "start-daemon",
            Self::StopDaemon => "stop-daemon",
            Self::Help => "help",
            Self::Version => "version",
        }
    }
}

/// An option, in the order in which ipvsadm checks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "they are named as they are written")]
pub enum Opt {
    Numeric,
    Connection,
    Service,
    Scheduler,
    Persistent,
    Netmask,
    Server,
    Forward,
    Weight,
    UpperThreshold,
    LowerThreshold,
    McastInterface,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    NoSort,
    SyncId,
    Exact,
    Ipv6,
    OnePacket,
    Engine,
    SchedFlags,
    McastGroup,
    McastPort,
    McastTtl,
    SyncMaxLen,
    TunInfo,
    TunType,
    TunPort,
    TunNoChecksum,
    TunChecksum,
    TunRemoteChecksum,
    Sort,
    Json,
    ControlDir,
}

impl Opt {
    /// As messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Numeric => "numeric",
            Self::Connection => "connection",
            Self::Service => "service-address",
            Self::Scheduler => "scheduler",
            Self::Persistent => "persistent",
            Self::Netmask => "netmask",
            Self::Server => "real-server",
            Self::Forward => "forwarding-method",
            Self::Weight => "weight",
            Self::Timeout => "timeout",
            Self::Daemon => "daemon",
            Self::Stats => "stats",
            Self::Rate => "rate",
            Self::Thresholds => "thresholds",
            Self::PersistentConn => "persistent-conn",
            Self::NoSort => "nosort",
            Self::McastInterface => "mcast-interface",
            Self::SyncId => "syncid",
            Self::UpperThreshold => "u-threshold",
            Self::LowerThreshold => "l-threshold",
            Self::Exact => "exact",
            Self::Ipv6 => "ipv6",
            Self::OnePacket => "ops",
            Self::Engine => "pe",
            Self::SchedFlags => "sched-flags",
            Self::TunInfo => "tun-info",
            Self::TunType => "tun-type",
            Self::TunPort => "tun-port",
            Self::TunNoChecksum => "tun-nocsum",
            Self::TunChecksum => "tun-csum",
            Self::TunRemoteChecksum => "tun-remcsum",
            Self::SyncMaxLen => "sync-maxlen",
            Self::McastGroup => "mcast-group",
            Self::McastPort => "mcast-port",
            Self::McastTtl => "mcast-ttl",
            Self::Sort => "sort",
            Self::Json => "json",
            Self::ControlDir => "control-dir",
        }
    }
}

/// What a word stands for. Some options of one kind are written in several ways, which the text tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// A command.
    Verb(Verb),
    /// An option; the text is its long name.
    Opt(Opt, &'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    None,
    Needed,
    Optional,
}

struct Word {
    long: &'static str,
    short: Option<char>,
    value: Value,
    meaning: Meaning,
}

const fn verb(long: &'static str, short: Option<char>, value: Value, verb: Verb) -> Word {
    Word { long, short, value, meaning: Meaning::Verb(verb) }
}

const fn opt(long: &'static str, short: Option<char>, value: Value, opt: Opt) -> Word {
    Word { long, short, value, meaning: Meaning::Opt(opt, long) }
}

const WORDS: &[Word] = &[
    verb("add-service", Some('A'), Value::None, Verb::AddService),
    verb("edit-service", Some('E'), Value::None, Verb::EditService),
    verb("delete-service", Some('D'), Value::None, Verb::DeleteService),
    verb("clear", Some('C'), Value::None, Verb::Clear),
    verb("list", Some('L'), Value::None, Verb::List),
    verb("list", Some('l'), Value::None, Verb::List),
    verb("zero", Some('Z'), Value::None, Verb::Zero),
    verb("restore", Some('R'), Value::None, Verb::Restore),
    verb("save", Some('S'), Value::None, Verb::Save),
    verb("add-server", Some('a'), Value::None, Verb::AddServer),
    verb("edit-server", Some('e'), Value::None, Verb::EditServer),
    verb("delete-server", Some('d'), Value::None, Verb::DeleteServer),
    verb("set", None, Value::None, Verb::Set),
    verb("help", Some('h'), Value::None, Verb::Help),
    verb("version", Some('v'), Value::None, Verb::Version),
    verb("start-daemon", None, Value::Needed, Verb::StartDaemon),
    verb("stop-daemon", None, Value::Needed, Verb::StopDaemon),
    opt("tcp-service", Some('t'), Value::Needed, Opt::Service),
    opt("udp-service", Some('u'), Value::Needed, Opt::Service),
    opt("sctp-service", None, Value::Needed, Opt::Service),
    opt("fwmark-service", Some('f'), Value::Needed, Opt::Service),
    opt("scheduler", Some('s'), Value::Needed, Opt::Scheduler),
    opt("persistent", Some('p'), Value::Optional, Opt::Persistent),
    opt("netmask", Some('M'), Value::Needed, Opt::Netmask),
    opt("real-server", Some('r'), Value::Needed, Opt::Server),
    opt("masquerading", Some('m'), Value::None, Opt::Forward),
    opt("ipip", Some('i'), Value::None, Opt::Forward),
    opt("gatewaying", Some('g'), Value::None, Opt::Forward),
    opt("weight", Some('w'), Value::Needed, Opt::Weight),
    opt("u-threshold", Some('x'), Value::Needed, Opt::UpperThreshold),
    opt("l-threshold", Some('y'), Value::Needed, Opt::LowerThreshold),
    opt("numeric", Some('n'), Value::None, Opt::Numeric),
    opt("connection", Some('c'), Value::None, Opt::Connection),
    opt("timeout", None, Value::None, Opt::Timeout),
    opt("daemon", None, Value::None, Opt::Daemon),
    opt("stats", None, Value::None, Opt::Stats),
    opt("rate", None, Value::None, Opt::Rate),
    opt("thresholds", None, Value::None, Opt::Thresholds),
    opt("persistent-conn", None, Value::None, Opt::PersistentConn),
    opt("nosort", None, Value::None, Opt::NoSort),
    opt("sort", None, Value::None, Opt::Sort),
    opt("exact", Some('X'), Value::None, Opt::Exact),
    opt("ipv6", Some('6'), Value::None, Opt::Ipv6),
    opt("ops", Some('o'), Value::None, Opt::OnePacket),
    opt("pe", None, Value::Needed, Opt::Engine),
    opt("sched-flags", Some('b'), Value::Needed, Opt::SchedFlags),
    opt("tun-info", None, Value::None, Opt::TunInfo),
    opt("tun-type", None, Value::Needed, Opt::TunType),
    opt("tun-port", None, Value::Needed, Opt::TunPort),
    opt("tun-nocsum", None, Value::None, Opt::TunNoChecksum),
    opt("tun-csum", None, Value::None, Opt::TunChecksum),
    opt("tun-remcsum", None, Value::None, Opt::TunRemoteChecksum),
    opt("syncid", None, Value::Needed, Opt::SyncId),
    opt("sync-maxlen", None, Value::Needed, Opt::SyncMaxLen),
    opt("mcast-interface", None, Value::Needed, Opt::McastInterface),
    opt("mcast-group", None, Value::Needed, Opt::McastGroup),
    opt("mcast-port", None, Value::Needed, Opt::McastPort),
    opt("mcast-ttl", None, Value::Needed, Opt::McastTtl),
    opt("json", None, Value::None, Opt::Json),
    opt("control-dir", None, Value::Needed, Opt::ControlDir),
];

/// What was read: an option with its value, and the word that it stood in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// What it stands for.
    pub meaning: Meaning,
    /// Its value.
    pub value: Option<String>,
    /// The whole word.
    pub word: String,
}

/// Reads a command line word by word.
#[derive(Debug)]
pub struct Words<'a> {
    rest: std::slice::Iter<'a, String>,
    /// What is left of a cluster of short options, and the whole of it.
    cluster: Option<(&'a str, &'a str)>,
    /// Words that are no options.
    pub others: Vec<String>,
}

impl<'a> Words<'a> {
    /// Over these arguments, without the program's name.
    pub fn new(arguments: &'a [String]) -> Self {
        Self { rest: arguments.iter(), cluster: None, others: Vec::new() }
    }

    /// The next option.
    ///
    /// # Errors
    /// It is not known, or its value is missing.
    pub fn next_option(&mut self) -> Result<Option<Given>, Leave> {
        if let Some((rest, whole)) = self.cluster.take()
            && !rest.is_empty()
        {
            return self.short(rest, whole).map(Some);
        }
        while let Some(word) = self.rest.next() {
            if word == "--" {
                self.others.extend(self.rest.by_ref().cloned());
            } else if let Some(long) = word.strip_prefix("--") {
                return self.long(word, long).map(Some);
            } else if let Some(cluster) = word.strip_prefix('-').filter(|cluster| !cluster.is_empty()) {
                return self.short(cluster, word).map(Some);
            } else {
                self.others.push(word.clone());
            }
        }
        Ok(None)
    }

    fn short(&mut self, cluster: &'a str, whole: &'a str) -> Result<Given, Leave> {
        let mut characters = cluster.chars();
        let first = characters.next();
        let rest = characters.as_str();
        let word = WORDS.iter().find(|word| word.short.is_some() && word.short == first);
        let Some(word) = word else { return Err(unknown(whole)) };
        let value = match word.value {
            Value::None => {
                self.cluster = Some((rest, whole));
                None
            }
            _ if !rest.is_empty() => Some(rest.strip_prefix('=').unwrap_or(rest).to_owned()),
            kind => self.next_value(kind, whole)?,
        };
        Ok(Given { meaning: word.meaning, value, word: whole.to_owned() })
    }

    fn long(&mut self, whole: &'a str, long: &'a str) -> Result<Given, Leave> {
        let (name, attached) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        let Some(word) = WORDS.iter().find(|word| word.long == name) else { return Err(unknown(whole)) };
        let value = match (word.value, attached) {
            (Value::None, None) => None,
            (Value::None, Some(_)) => {
                return Err(Leave::refusal(format!("{whole}: option does not take an argument")));
            }
            (_, Some(value)) => Some(value),
            (kind, None) => self.next_value(kind, whole)?,
        };
        Ok(Given { meaning: word.meaning, value, word: whole.to_owned() })
    }

    fn next_value(&mut self, kind: Value, whole: &str) -> Result<Option<String>, Leave> {
        let next = self.rest.as_slice().first();
        match (kind, next) {
            (Value::Optional, Some(next)) if next.starts_with('-') => Ok(None),
            (Value::Optional, None) => Ok(None),
            (_, None) => Err(Leave::refusal(format!("{whole}: missing argument"))),
            (_, Some(next)) => {
                self.rest.next();
                Ok(Some(next.clone()))
            }
        }
    }
}

fn unknown(word: &str) -> Leave {
    Leave::refusal(format!("{word}: unknown option"))
}
