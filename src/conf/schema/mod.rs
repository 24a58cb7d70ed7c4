//! The language as data: every block and keyword, what it takes, what it means, and whether it is built.
//!
//! Pure. This table is the only list of keywords. It drives parsing, "expected one of", "did you mean", and what is said
//! about keywords that keepalived knows and this program does not carry out yet: a warning, or an error where leaving
//! the keyword out would change what goes on the wire or who holds an address.

use std::sync::OnceLock;

mod balancer;
mod checkers;
mod global;
mod notify;
mod root;
mod trackers;
mod vrrp;
pub mod words;

pub use balancer::{REAL_SERVER, SSL, VIRTUAL_SERVER};
pub use checkers::{
    BFD_CHECK, DNS_CHECK, FILE_CHECK, HTTP_GET, HTTP_URL, MISC_CHECK, PING_CHECK, REGEX_OPTIONS, SMTP_CHECK, SMTP_HOST,
    SSL_GET, SSL_URL, TCP_CHECK, UDP_CHECK,
};
pub use global::GLOBAL_DEFS;
pub use notify::{CLOUD_ADDRESS, NOTIFY_WEBHOOK, WEBHOOK_TOKEN};
pub use root::{BFD_INSTANCE, GARP_GROUP, ROOT, TRACK_GROUP};
pub use trackers::{TRACK_FILE, VRRP_SCRIPT, VRRP_TRACK_FILE, VRRP_TRACK_PROCESS};
pub use vrrp::{AUTH_HMAC, AUTHENTICATION, VRRP_INSTANCE, VRRP_SYNC_GROUP};

/// All blocks with keywords, for "this keyword belongs in …".
pub static BLOCKS: [&Block; 32] = [
    &ROOT,
    &GLOBAL_DEFS,
    &VRRP_INSTANCE,
    &VRRP_SYNC_GROUP,
    &VRRP_SCRIPT,
    &TRACK_FILE,
    &VRRP_TRACK_FILE,
    &VRRP_TRACK_PROCESS,
    &AUTHENTICATION,
    &AUTH_HMAC,
    &TRACK_GROUP,
    &GARP_GROUP,
    &BFD_INSTANCE,
    &SSL,
    &VIRTUAL_SERVER,
    &REAL_SERVER,
    &TCP_CHECK,
    &HTTP_GET,
    &HTTP_URL,
    &SSL_GET,
    &SSL_URL,
    &SMTP_CHECK,
    &SMTP_HOST,
    &DNS_CHECK,
    &UDP_CHECK,
    &PING_CHECK,
    &MISC_CHECK,
    &FILE_CHECK,
    &BFD_CHECK,
    &NOTIFY_WEBHOOK,
    &CLOUD_ADDRESS,
    &WEBHOOK_TOKEN,
];

/// A block and its keywords.
#[derive(Debug)]
pub struct Block {
    /// As it is written; `(root)` for the file itself.
    pub name: &'static str,
    /// Whether a name follows the keyword.
    pub named: bool,
    /// How many words more may follow the name: `virtual_server 192.0.2.1 80 {`.
    pub more: usize,
    /// What may stand in it.
    pub keywords: &'static [Keyword],
    /// Finds them.
    pub index: Index,
}

/// The keywords of a block by a few letters of their names, made when the first one is looked for: every line of a
/// configuration is looked up.
#[derive(Debug)]
pub struct Index {
    /// Places in the table of keywords. Who finds his slot taken goes on to the next one.
    slots: OnceLock<[u8; SLOTS]>,
}

/// A power of two, some times the keywords of a block.
const SLOTS: usize = 512;

/// No block has as many keywords.
const EMPTY: u8 = u8::MAX;

/// A number of few letters of a name, much the same for nobody. Always in line: of a name that the code tells it is a
/// constant then.
#[inline(always)]
const fn hash(name: &str) -> usize {
    let bytes = name.as_bytes();
    let ([first, ..], [.., last]) = (bytes, bytes) else { return 0 };
    *first as usize + 7 * bytes[bytes.len() / 2] as usize + 31 * *last as usize + 131 * bytes.len()
}

/// One bit of 64, by the name.
#[inline(always)]
pub const fn bit(name: &str) -> u64 {
    1 << (hash(name) % 64)
}

impl Index {
    const fn new() -> Self {
        Self { slots: OnceLock::new() }
    }

    fn make(keywords: &[Keyword]) -> [u8; SLOTS] {
        let mut slots = [EMPTY; SLOTS];
        for (place, keyword) in (0..EMPTY).zip(keywords) {
            let from = hash(keyword.name);
            let free = (from..from + SLOTS).map(|slot| slot % SLOTS).find(|slot| slots.get(*slot) == Some(&EMPTY));
            if let Some(slot) = free.and_then(|slot| slots.get_mut(slot)) {
                *slot = place;
            }
        }
        slots
    }

    fn find(&self, keywords: &'static [Keyword], name: &str) -> Option<&'static Keyword> {
        let slots = self.slots.get_or_init(|| Self::make(keywords));
        let mut slot = hash(name);
        loop {
            let keyword = keywords.get(usize::from(*slots.get(slot % SLOTS)?))?;
            if keyword.name == name {
                return Some(keyword);
            }
            slot += 1;
        }
    }
}

/// Blocks are tables, each its own: two of them are called `url`.
impl PartialEq for Block {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.keywords, other.keywords)
    }
}

impl Eq for Block {}

impl Block {
    /// The keyword of that name.
    pub fn find(&self, name: &str) -> Option<&'static Keyword> {
        self.index.find(self.keywords, name)
    }

    /// For messages.
    pub fn title(&self) -> String {
        if self.name == ROOT.name { "the top of the file".to_owned() } else { format!("`{}`", self.name) }
    }
}

/// A keyword of one block.
#[derive(Debug)]
pub struct Keyword {
    /// As it is written.
    pub name: &'static str,
    /// What follows it.
    pub args: Args,
    /// The same in the manual's notation, for people.
    pub grammar: &'static str,
    /// The value without it, for people.
    pub default: &'static str,
    /// Legal values, for people.
    pub range: &'static str,
    /// What it does, in one line.
    pub meaning: &'static str,
    /// Whether it is carried out.
    pub support: Support,
    /// What a second one does.
    pub repeat: Repeat,
    /// The keyword that it is another name of.
    pub alias: Option<&'static str>,
    /// That name is as good; otherwise it is an old spelling, and a warning says so.
    pub synonym: bool,
    /// keepalived does not have it.
    pub ours: bool,
    /// [`bit`] of its name.
    pub bit: u64,
}

/// What follows a keyword.
#[derive(Debug, Clone, Copy)]
pub enum Args {
    /// Nothing.
    Flag,
    /// `on`, `true`, `yes`, `off`, `false`, `no`, or nothing for on.
    Bool,
    /// A whole number.
    Int {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// The same, or nothing.
    OptionalInt {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
        /// What nothing stands for.
        bare: i64,
    },
    /// Decimal seconds; the bounds are microseconds.
    Seconds {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
        /// Whole seconds only.
        whole: bool,
    },
    /// Decimal milliseconds with up to three decimals; the bounds are microseconds.
    Milliseconds {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One word.
    Word,
    /// One IP address.
    Address,
    /// One text with its own quoting, and with C's escapes: `regex`.
    Escaped,
    /// Some words.
    Words {
        /// At least.
        min: usize,
        /// At most.
        max: usize,
    },
    /// A number and perhaps `reverse`.
    Weight {
        /// The largest either way.
        limit: i64,
    },
    /// A command with its own quoting, then perhaps a user and a group.
    Script,
    /// The same, or nothing.
    OptionalScript,
    /// `{ … }` with keywords.
    Block(&'static Block),
    /// `{ … }` with one entry a line.
    Lines,
    /// A name, then the same.
    NamedLines,
    /// Not looked at yet.
    Any,
}

/// Whether a keyword is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// Yes.
    Built,
    /// It does nothing, in keepalived neither.
    NoEffect,
    /// No, and the consequence is small: a warning that tells it.
    Warning(&'static str),
    /// No, and the consequence is not small; a start goes on.
    Error(&'static str),
    /// No, and the instance would do something else than its file says: no start.
    Fatal(&'static str),
}

/// What a second line with the same keyword does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It replaces the first.
    Replaces,
    /// It is left out.
    Ignored,
    /// It is one more.
    Adds,
}

/// What is inside a `{`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// Keywords of this block.
    Block(&'static Block),
    /// One entry a line.
    Lines,
    /// The block is not known.
    Unknown,
}

impl Keyword {
    /// What stands in its `{ … }`, when it has one.
    pub fn block(&self) -> Option<Context> {
        match self.args {
            Args::Block(block) => Some(Context::Block(block)),
            Args::Lines | Args::NamedLines => Some(Context::Lines),
            _ => None,
        }
    }

    const fn no_effect(mut self) -> Self {
        self.support = Support::NoEffect;
        self
    }

    const fn not_built_warn(mut self, consequence: &'static str) -> Self {
        self.support = Support::Warning(consequence);
        self
    }

    const fn not_built_error(mut self, consequence: &'static str) -> Self {
        self.support = Support::Error(consequence);
        self
    }

    const fn not_built_fatal(mut self, consequence: &'static str) -> Self {
        self.support = Support::Fatal(consequence);
        self
    }

    const fn alias_of(mut self, name: &'static str) -> Self {
        self.alias = Some(name);
        self
    }

    const fn same_as(mut self, name: &'static str) -> Self {
        self.alias = Some(name);
        self.synonym = true;
        self
    }

    const fn ours(mut self) -> Self {
        self.ours = true;
        self
    }

    const fn repeatable(mut self) -> Self {
        self.repeat = Repeat::Adds;
        self
    }

    const fn first_wins(mut self) -> Self {
        self.repeat = Repeat::Ignored;
        self
    }
}

const fn keyword(
    name: &'static str,
    args: Args,
    grammar: &'static str,
    default: &'static str,
    range: &'static str,
    meaning: &'static str,
) -> Keyword {
    let (support, repeat) = (Support::Built, Repeat::Replaces);
    let (alias, synonym, ours, bit) = (None, false, false, bit(name));
    Keyword { name, args, grammar, default, range, meaning, support, repeat, alias, synonym, ours, bit }
}

/// Blocks that stand at the top of a file and nowhere else: inside another block they show that a `}` is missing.
pub fn only_at_root(keyword: &str) -> bool {
    let block = ROOT.find(keyword).is_some_and(|keyword| keyword.block().is_some());
    block && keyword != "track_file" && keyword != "SSL"
}

/// Words that keepalived no longer knows, or never did, and people still write.
pub fn advice(word: &str) -> Option<&'static str> {
    Some(match word {
        "lvs_id" => "`lvs_id` became `router_id` long ago",
        "nat_mask" => "`nat_mask` was dropped long ago and did nothing: remove the line",
        "nb_get_retry" => "`nb_get_retry` became `retry`",
        "static_ipaddresses" => "the block is `static_ipaddress`",
        "vrrp_sync_instance" => "instances are put together by `vrrp_sync_group NAME { group { … } }`",
        "track_scripts" => "the block is `track_script`",
        "state_dump_file_location" => "the keyword is `state_dump_file`",
        "checker" | "vrrp" | "lvs" => "process settings stand in `global_defs`",
        _ => return None,
    })
}

/// The name that was probably meant: the nearest one, if it is near enough.
pub fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    // Half a word: its beginning was lost in copying.
    let cut = |name: &str| word.len() >= 6 && name.ends_with(word);
    names
        .take(1000)
        .filter_map(|name| Some((distance(word, name, limit).or(cut(name).then_some(limit))?, name)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many letters must be changed, put in, left out or swapped, up to `limit`.
fn distance(a: &str, b: &str, limit: usize) -> Option<usize> {
    if a.chars().count().abs_diff(b.chars().count()) > limit {
        return None;
    }
    let fold = |text: &str| -> Vec<char> { text.chars().take(64).map(|c| if c == '-' { '_' } else { c }).collect() };
    let (a, b) = (fold(&a.to_lowercase()), fold(&b.to_lowercase()));
    // The optimal string alignment distance, three rows at a time.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let cost = usize::from(ca != cb);
            let mut best = (last[j] + cost).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *cb && *ca == b[j - 1] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|distance| *distance <= limit)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_occurs_once_in_its_block() {
        for block in BLOCKS {
            let names: BTreeSet<&str> = block.keywords.iter().map(|keyword| keyword.name).collect();
            assert_eq!(names.len(), block.keywords.len(), "{}", block.name);
        }
    }

    #[test]
    fn every_alias_leads_to_a_keyword_of_the_same_block() {
        for block in BLOCKS {
            for keyword in block.keywords {
                let target = keyword.alias.map(|name| block.find(name));
                assert!(target.is_none_or(|k| k.is_some_and(|k| k.alias.is_none())), "{} {}", block.name, keyword.name);
            }
        }
    }

    #[test]
    fn the_nearest_name_is_found() {
        let names = || VRRP_INSTANCE.keywords.iter().map(|keyword| keyword.name);
        assert_eq!(nearest("virtual_ruter_id", names()), Some("virtual_router_id"));
        assert_eq!(nearest("virutal_ipaddress", names()), Some("virtual_ipaddress"));
        assert_eq!(nearest("no_preempt", names()), Some("nopreempt"));
        assert_eq!(nearest("Interface", names()), Some("interface"));
        assert_eq!(nearest("bal_defs", ROOT.keywords.iter().map(|keyword| keyword.name)), Some("global_defs"));
        assert_eq!(nearest("weight", names()), None);
        assert_eq!(nearest("x", names()), None);
    }
}
