//! PCRE2 with all the options that `regex_options` knows, which its safe wrapper does not have.
//!
//! All `unsafe` of the checkers is here: four owners of PCRE2's objects, each freed once, and one search over them.
//! A search is bounded by PCRE2's own limits: a page cannot hold up the process with a pattern that goes astray.
#![allow(unsafe_code)]

use std::ptr::{self, NonNull};

use pcre2_sys as ffi;

use super::super::config::RegexConfig;

/// Steps of one search; about a tenth of a second.
const MATCH_LIMIT: u32 = 2_000_000;
/// KiB of memory of one search.
const HEAP_LIMIT: u32 = 16 << 10;
/// No JIT stack is larger, whatever `regex_stack` says.
const LARGEST_STACK: u64 = 64 << 20;

/// keepalived's names of compile options.
const OPTIONS: [(&str, u32); 23] = [
    ("allow_empty_class", ffi::PCRE2_ALLOW_EMPTY_CLASS),
    ("alt_bsux", ffi::PCRE2_ALT_BSUX),
    ("auto_callout", ffi::PCRE2_AUTO_CALLOUT),
    ("caseless", ffi::PCRE2_CASELESS),
    ("dollar_endonly", ffi::PCRE2_DOLLAR_ENDONLY),
    ("dotall", ffi::PCRE2_DOTALL),
    ("dupnames", ffi::PCRE2_DUPNAMES),
    ("extended", ffi::PCRE2_EXTENDED),
    ("firstline", ffi::PCRE2_FIRSTLINE),
    ("match_unset_backref", ffi::PCRE2_MATCH_UNSET_BACKREF),
    ("multiline", ffi::PCRE2_MULTILINE),
    ("never_ucp", ffi::PCRE2_NEVER_UCP),
    ("never_utf", ffi::PCRE2_NEVER_UTF),
    ("no_auto_capture", ffi::PCRE2_NO_AUTO_CAPTURE),
    ("no_auto_possess", ffi::PCRE2_NO_AUTO_POSSESS),
    ("no_dotstar_anchor", ffi::PCRE2_NO_DOTSTAR_ANCHOR),
    ("no_start_optimize", ffi::PCRE2_NO_START_OPTIMIZE),
    ("ucp", ffi::PCRE2_UCP),
    ("ungreedy", ffi::PCRE2_UNGREEDY),
    ("utf", ffi::PCRE2_UTF),
    ("never_backslash_c", ffi::PCRE2_NEVER_BACKSLASH_C),
    ("alt_circumflex", ffi::PCRE2_ALT_CIRCUMFLEX),
    ("alt_verbnames", ffi::PCRE2_ALT_VERBNAMES),
];
/// Set wherever `regex_max_offset` is, so naming it changes nothing.
const USE_OFFSET_LIMIT: &str = "use_offset_limit";

/// Why a pattern cannot be used, or a search did not come to an end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegexError {
    /// Not one of keepalived's names.
    #[error("regex_options: {0} is no option")]
    UnknownOption(String),
    /// PCRE2's words, and the byte of the pattern that it does not like.
    #[error("regex: {message} at byte {offset} of the pattern")]
    Pattern {
        /// What is wrong.
        message: String,
        /// Where.
        offset: usize,
    },
    /// PCRE2's words: a limit was reached, or the text is not valid UTF-8 though `utf` is set.
    #[error("regex: {0}")]
    Search(String),
    /// No memory.
    #[error("regex: no memory")]
    Memory,
}

/// A compiled pattern with its offsets and its stack.
#[derive(Debug)]
pub struct Regex {
    code: Code,
    min_offset: usize,
    max_offset: Option<usize>,
    stack: Option<(usize, usize)>,
}

impl Regex {
    /// Compiles a pattern; just-in-time where PCRE2 can.
    ///
    /// # Errors
    /// An unknown option, or a pattern that PCRE2 refuses.
    pub fn new(config: &RegexConfig) -> Result<Self, RegexError> {
        let mut options = 0;
        for name in &config.options {
            let known = OPTIONS.iter().find(|(known, _)| known == name).map(|(_, bit)| *bit);
            options |= match known {
                Some(bit) => bit,
                None if name == USE_OFFSET_LIMIT => ffi::PCRE2_USE_OFFSET_LIMIT,
                None => return Err(RegexError::UnknownOption(name.clone())),
            };
        }
        if config.max_offset.is_some() {
            options |= ffi::PCRE2_USE_OFFSET_LIMIT;
        }
        let offset = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = |bytes: u64| usize::try_from(bytes.min(LARGEST_STACK)).unwrap_or(usize::MAX);
        Ok(Self {
            code: Code::compile(config.pattern.as_bytes(), options)?,
            min_offset: config.min_offset.map_or(0, offset),
            max_offset: config.max_offset.map(offset),
            stack: config.stack.map(|(first, most)| (bytes(first.min(most)), bytes(most))),
        })
    }

    /// Whether the pattern matches somewhere from the first offset to the last.
    ///
    /// # Errors
    /// The search took too long, too much memory, or the text is none that the pattern can be searched in.
    pub fn is_match(&self, text: &[u8]) -> Result<bool, RegexError> {
        if self.min_offset > text.len() || self.max_offset.is_some_and(|last| last < self.min_offset) {
            return Ok(false);
        }
        let context = MatchContext::new(self.max_offset, self.stack)?;
        let data = MatchData::of(&self.code)?;
        // SAFETY: code, data and context live until the end of this function, `text` longer; the length and the offset
        // lie within it; the data was made for this pattern. PCRE2 reads the code and writes the data only.
        let result = unsafe {
            ffi::pcre2_match_8(
                self.code.0.as_ptr(),
                text.as_ptr(),
                text.len(),
                self.min_offset,
                0,
                data.0.as_ptr(),
                context.context.as_ptr(),
            )
        };
        match result {
            ffi::PCRE2_ERROR_NOMATCH => Ok(false),
            error if error < 0 => Err(RegexError::Search(message(error))),
            _ => Ok(true),
        }
    }
}

/// A compiled pattern.
#[derive(Debug)]
struct Code(NonNull<ffi::pcre2_code_8>);

// SAFETY: after `compile` nothing writes to a compiled pattern; pcre2api(3): "the compiled form of a regular expression
// is not altered during matching, so the same compiled pattern can safely be used by several threads at once".
unsafe impl Send for Code {}
// SAFETY: as above.
unsafe impl Sync for Code {}

impl Code {
    fn compile(pattern: &[u8], options: u32) -> Result<Self, RegexError> {
        let (mut error, mut offset) = (0, 0);
        // SAFETY: PCRE2 reads `pattern` within its length and writes the two numbers; no context.
        let code = unsafe {
            let context = ptr::null_mut();
            ffi::pcre2_compile_8(pattern.as_ptr(), pattern.len(), options, &mut error, &mut offset, context)
        };
        let code = NonNull::new(code).ok_or_else(|| RegexError::Pattern { message: message(error), offset })?;
        // SAFETY: a pattern that nobody else has yet. Where JIT is refused, the interpreter serves.
        unsafe { ffi::pcre2_jit_compile_8(code.as_ptr(), ffi::PCRE2_JIT_COMPLETE) };
        Ok(Self(code))
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        // SAFETY: made by `pcre2_compile_8`, and this is its only owner.
        unsafe { ffi::pcre2_code_free_8(self.0.as_ptr()) };
    }
}

/// Where a search leaves its result.
struct MatchData(NonNull<ffi::pcre2_match_data_8>);

impl MatchData {
    fn of(code: &Code) -> Result<Self, RegexError> {
        // SAFETY: a live pattern; no context.
        let data = unsafe { ffi::pcre2_match_data_create_from_pattern_8(code.0.as_ptr(), ptr::null_mut()) };
        NonNull::new(data).map(Self).ok_or(RegexError::Memory)
    }
}

impl Drop for MatchData {
    fn drop(&mut self) {
        // SAFETY: made in `of`, and this is its only owner.
        unsafe { ffi::pcre2_match_data_free_8(self.0.as_ptr()) };
    }
}

/// The limits of a search, and the stack that it may use.
struct MatchContext {
    context: NonNull<ffi::pcre2_match_context_8>,
    stack: Option<NonNull<ffi::pcre2_jit_stack_8>>,
}

impl MatchContext {
    fn new(last: Option<usize>, stack: Option<(usize, usize)>) -> Result<Self, RegexError> {
        // SAFETY: no arguments but the absent general context.
        let context = unsafe { ffi::pcre2_match_context_create_8(ptr::null_mut()) };
        let mut made = Self { context: NonNull::new(context).ok_or(RegexError::Memory)?, stack: None };
        let context = made.context.as_ptr();
        // SAFETY: a live context, which these write numbers into.
        unsafe {
            ffi::pcre2_set_match_limit_8(context, MATCH_LIMIT);
            ffi::pcre2_set_heap_limit_8(context, HEAP_LIMIT);
            if let Some(last) = last {
                ffi::pcre2_set_offset_limit_8(context, last);
            }
        }
        if let Some((first, most)) = stack {
            // SAFETY: numbers, and the absent general context.
            made.stack = NonNull::new(unsafe { ffi::pcre2_jit_stack_create_8(first, most, ptr::null_mut()) });
            let stack = made.stack.map_or(ptr::null_mut(), NonNull::as_ptr);
            // SAFETY: without a callback the last argument is the stack itself, or null for PCRE2's own. It is freed
            // together with the context, below.
            unsafe { ffi::pcre2_jit_stack_assign_8(context, None, stack.cast()) };
        }
        Ok(made)
    }
}

impl Drop for MatchContext {
    fn drop(&mut self) {
        // SAFETY: both made in `new`, and this is their only owner; the search that used them is over.
        unsafe {
            ffi::pcre2_match_context_free_8(self.context.as_ptr());
            if let Some(stack) = self.stack {
                ffi::pcre2_jit_stack_free_8(stack.as_ptr());
            }
        }
    }
}

/// PCRE2's words for an error.
fn message(error: i32) -> String {
    let mut buffer = [0_u8; 256];
    // SAFETY: PCRE2 writes at most the length that is given, and ends with a NUL.
    let length = unsafe { ffi::pcre2_get_error_message_8(error, buffer.as_mut_ptr(), buffer.len()) };
    match usize::try_from(length).ok().and_then(|length| buffer.get(..length)) {
        Some(text) => String::from_utf8_lossy(text).into_owned(),
        None => format!("error {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pattern: &str, options: &[&str]) -> RegexConfig {
        RegexConfig {
            pattern: pattern.to_owned(),
            no_match: false,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            min_offset: None,
            max_offset: None,
            stack: None,
        }
    }

    fn matches(config: &RegexConfig, text: &str) -> bool {
        Regex::new(config).expect("a pattern").is_match(text.as_bytes()).expect("a search that ends")
    }

    /// Each option has a text that it decides.
    #[test]
    fn options_mean_what_pcre2_says() {
        let table = [
            ("allow_empty_class", "[]x]", "x", false, true),
            ("caseless", "OK", "ok", true, false),
            ("dollar_endonly", "ok$", "ok\n", false, true),
            ("dotall", "a.b", "a\nb", true, false),
            ("extended", "o k", "ok", true, false),
            ("firstline", "ok", "no\nok", false, true),
            ("match_unset_backref", r"^(a)?\1b", "b", true, false),
            ("multiline", "^ok$", "no\nok\nno", true, false),
            ("no_auto_capture", r"(a)\1", "aa", false, true),
            ("utf", "^.$", "é", true, false),
            ("alt_circumflex", r"(?m)\n^\z", "a\n", true, false),
            ("alt_bsux", r"\u0041", "A", true, false),
        ];
        for (option, pattern, text, with, without) in table {
            // A pattern that does not even compile without the option does not match.
            let found = |options: &[&str]| {
                Regex::new(&config(pattern, options)).is_ok_and(|regex| regex.is_match(text.as_bytes()) == Ok(true))
            };
            assert_eq!(found(&[option]), with, "{option} with");
            assert_eq!(found(&[]), without, "{option} without");
        }
    }

    #[test]
    fn all_names_of_options_are_known() {
        let names = OPTIONS.iter().map(|(name, _)| *name).chain([USE_OFFSET_LIMIT]);
        for name in names {
            // `utf` and `never_utf`, `ucp` and `never_ucp` exclude each other, so one at a time.
            assert!(matches(&config("ok", &[name]), "ok"), "{name}");
        }
        let unknown = Regex::new(&config("ok", &["case_less"])).expect_err("no option");
        assert_eq!(unknown, RegexError::UnknownOption("case_less".to_owned()));
    }

    #[test]
    fn offsets_are_where_the_match_starts() {
        let table = [
            (None, None, true),
            (Some(4), None, true),
            (Some(5), None, false),
            (Some(100), None, false),
            (None, Some(4), true),
            (None, Some(3), false),
            (Some(4), Some(4), true),
            (Some(2), Some(1), false),
        ];
        for (min_offset, max_offset, expected) in table {
            let config = RegexConfig { min_offset, max_offset, ..config("ok+", &[]) };
            assert_eq!(matches(&config, "....okkk"), expected, "{min_offset:?} to {max_offset:?}");
        }
    }

    #[test]
    fn patterns_of_perl_are_patterns() {
        assert!(matches(&config(r"(?<=status: )(*COMMIT)up(?!date)", &[]), "status: up"));
        assert!(!matches(&config(r"(?<=status: )up(?!date)", &[]), "status: update"));
    }

    #[test]
    fn a_search_that_goes_astray_ends() {
        let config = config("(a+)+$", &["no_auto_possess", "no_start_optimize"]);
        let text = format!("{}b", "a".repeat(200));
        let error = Regex::new(&config).expect("a pattern").is_match(text.as_bytes()).expect_err("a limit");
        assert_eq!(error, RegexError::Search("match limit exceeded".to_owned()));
    }

    #[test]
    fn a_stack_is_used_and_bounded() {
        let deep = "(?:a|b)*?c";
        let text = format!("{}c", "ab".repeat(50_000));
        let stack = RegexConfig { stack: Some((32 << 10, 8 << 20)), ..config(deep, &[]) };
        assert!(matches(&stack, &text));
        let silly = RegexConfig { stack: Some((u64::MAX, u64::MAX)), ..config("ok", &[]) };
        assert!(matches(&silly, "ok"));
    }

    #[test]
    fn text_that_is_not_utf8_is_an_error_where_utf_is_asked_for() {
        let regex = Regex::new(&config("ok", &["utf"])).expect("a pattern");
        assert!(matches!(regex.is_match(b"\xff ok"), Err(RegexError::Search(_))));
        assert_eq!(Regex::new(&config("ok", &[])).expect("a pattern").is_match(b"\xff ok"), Ok(true));
    }

    #[test]
    fn a_bad_pattern_says_where() {
        let error = Regex::new(&config("(ok", &[])).expect_err("no pattern");
        assert_eq!(error, RegexError::Pattern { message: "missing closing parenthesis".to_owned(), offset: 3 });
    }
}
