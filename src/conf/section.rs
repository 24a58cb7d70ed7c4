//! A block of the file with its keywords, all of them known and every value of its kind, in the words of the file.
//!
//! Pure. `parse` makes it; `global`, `vrrp`, `virtual_server`, `trackers` and others ask it for what they need.

use std::net::IpAddr;
use std::time::Duration;

use super::schema::{Block, bit};
use super::source::Span;
use super::tree::{Node, Word};
use crate::command::Command;

/// One block with its name and its keywords.
#[derive(Debug)]
pub struct Section<'a> {
    /// Which block.
    pub block: &'static Block,
    /// Its name, for blocks that have one.
    pub name: Option<&'a Word<'a>>,
    /// The name and the words that follow it: `192.0.2.1 80`.
    pub words: &'a [Word<'a>],
    /// Its first line.
    pub span: Span,
    /// Its keywords in the order of the file; of repeated ones only those that count.
    pub entries: Vec<Entry<'a>>,
    /// Keywords that are there with a value that is none; reported.
    pub rejected: Vec<&'static str>,
    /// Some of its keywords may not be carried out.
    pub unbuilt: bool,
    /// A bit for each keyword by [`bit`]. Most keywords that are asked for are not there.
    pub(super) present: u64,
}

/// One keyword with its value.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Its canonical name: an old spelling is gone.
    pub keyword: &'static str,
    /// From the keyword to its last word.
    pub span: Span,
    /// What it says.
    pub value: Value<'a>,
}

/// The value of a keyword.
#[derive(Debug)]
pub enum Value<'a> {
    /// Present.
    Flag,
    /// On or off.
    Bool(bool),
    /// In range.
    Int(i64),
    /// In range.
    Duration(Duration),
    /// One word.
    Word(&'a Word<'a>),
    /// An address.
    Address(IpAddr),
    /// A text, its escapes resolved.
    Text(String),
    /// Some words.
    Words(&'a [Word<'a>]),
    /// In range, and whether the sign is inverted.
    Weight(i16, bool),
    /// A command; `None` where the keyword may stand without one.
    Script(Option<Box<Command>>),
    /// A block of keywords.
    Section(Box<Section<'a>>),
    /// A block with one entry a line.
    Lines(&'a [Node<'a>]),
    /// A name and a block with one entry a line.
    NamedLines(&'a Word<'a>, &'a [Node<'a>]),
}

impl<'a> Section<'a> {
    /// The entry of a keyword; the last one when there are several.
    #[inline(always)]
    pub fn entry(&self, keyword: &str) -> Option<&Entry<'a>> {
        if self.may_have(keyword) { self.last(keyword) } else { None }
    }

    /// The same for a keyword that blocks of this kind may not even know.
    pub fn known_entry(&self, keyword: &str) -> Option<&Entry<'a>> {
        if self.present & bit(keyword) == 0 { None } else { self.last(keyword) }
    }

    /// All entries of a keyword.
    pub fn entries<'s>(&'s self, keyword: &'s str) -> impl Iterator<Item = &'s Entry<'a>> {
        let candidates: &[Entry<'a>] = if self.may_have(keyword) { &self.entries } else { &[] };
        candidates.iter().filter(move |entry| entry.keyword == keyword)
    }

    /// Whether a keyword may be among the entries. Most that are asked for are not: who asks is told so on the spot.
    #[inline(always)]
    fn may_have(&self, keyword: &str) -> bool {
        debug_assert!(self.block.find(keyword).is_some(), "{keyword} is not in the schema of {}", self.block.name);
        self.present & bit(keyword) != 0
    }

    #[inline(never)]
    fn last(&self, keyword: &str) -> Option<&Entry<'a>> {
        self.entries.iter().rev().find(|entry| entry.keyword == keyword)
    }

    /// All sections of a block keyword.
    pub fn sections<'s>(&'s self, keyword: &'s str) -> impl Iterator<Item = &'s Section<'a>> {
        self.entries(keyword).filter_map(|entry| match &entry.value {
            Value::Section(section) => Some(&**section),
            _ => None,
        })
    }

    /// All lines of a keyword that holds lines.
    pub fn lines<'s>(&'s self, keyword: &'s str) -> impl Iterator<Item = &'a Node<'a>> + 's {
        self.entries(keyword).flat_map(|entry| match entry.value {
            Value::Lines(nodes) => nodes,
            _ => &[],
        })
    }

    /// All blocks of a keyword with a name and lines.
    pub fn named_lines<'s>(
        &'s self,
        keyword: &'s str,
    ) -> impl Iterator<Item = (&'a Word<'a>, Span, &'a [Node<'a>])> + 's {
        self.entries(keyword).filter_map(|entry| match entry.value {
            Value::NamedLines(name, nodes) => Some((name, entry.span, nodes)),
            _ => None,
        })
    }

    /// Whether a flag is there.
    #[inline(always)]
    pub fn flag(&self, keyword: &str) -> bool {
        self.entry(keyword).is_some()
    }

    /// A boolean.
    #[inline(always)]
    pub fn bool(&self, keyword: &str) -> Option<bool> {
        match self.entry(keyword)?.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// A number, as the type that its range in the schema fits.
    #[inline(always)]
    pub fn int<T: TryFrom<i64>>(&self, keyword: &str) -> Option<T> {
        match self.entry(keyword)?.value {
            Value::Int(value) => T::try_from(value).ok(),
            _ => None,
        }
    }

    /// An interval.
    #[inline(always)]
    pub fn duration(&self, keyword: &str) -> Option<Duration> {
        match self.entry(keyword)?.value {
            Value::Duration(value) => Some(value),
            _ => None,
        }
    }

    /// A word.
    #[inline(always)]
    pub fn word(&self, keyword: &str) -> Option<&'a Word<'a>> {
        match self.entry(keyword)?.value {
            Value::Word(word) => Some(word),
            _ => None,
        }
    }

    /// An address.
    #[inline(always)]
    pub fn address(&self, keyword: &str) -> Option<IpAddr> {
        match self.entry(keyword)?.value {
            Value::Address(address) => Some(address),
            _ => None,
        }
    }

    /// A text.
    pub fn text(&self, keyword: &str) -> Option<&str> {
        match &self.entry(keyword)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Some words.
    #[inline(always)]
    pub fn words(&self, keyword: &str) -> Option<&'a [Word<'a>]> {
        match self.entry(keyword)?.value {
            Value::Words(words) => Some(words),
            _ => None,
        }
    }

    /// A weight and its `reverse`.
    #[inline(always)]
    pub fn weight(&self, keyword: &str) -> Option<(i16, bool)> {
        match self.entry(keyword)?.value {
            Value::Weight(weight, reverse) => Some((weight, reverse)),
            _ => None,
        }
    }

    /// A command, for where few have one.
    pub fn boxed_script(&self, keyword: &str) -> Option<Box<Command>> {
        self.script(keyword).cloned().map(Box::new)
    }

    /// A command.
    #[inline(always)]
    pub fn script(&self, keyword: &str) -> Option<&Command> {
        match &self.entry(keyword)?.value {
            Value::Script(command) => command.as_deref(),
            _ => None,
        }
    }
}
