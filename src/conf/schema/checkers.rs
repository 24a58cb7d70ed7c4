//! The keywords of the checkers of a `real_server`.
//!
//! Pure. What several checkers have in common is written once, in the macros.

use super::{Args, Block, Index, keyword};

/// As long as the times of keepalived go, in microseconds.
const LONGEST: u64 = 4_294_967_000_000;

/// Keywords of when a checker runs, and its own.
#[rustfmt::skip] // One keyword a line: this is a table.
macro_rules! scheduled {
    ($($own:expr),* $(,)?) => { &[
        keyword("retry", Args::Int { min: 0, max: 4_294_967_295 }, "N", "that of the real or virtual server, else 1 (DNS_CHECK 3, MISC_CHECK 0)", "0..4294967295", "failed probes that are tried again before the server is down"),
        keyword("delay_before_retry", Args::Seconds { min: 1, max: LONGEST, whole: false }, "SECS", "that of the real or virtual server, else 1 (HTTP_GET, SSL_GET 3; DNS_CHECK delay_loop)", "decimal", "time before a failed probe is tried again"),
        keyword("warmup", Args::Seconds { min: 0, max: LONGEST, whole: false }, "SECS", "that of the real or virtual server, else delay_loop", "decimal", "the first probe comes at a random time within this"),
        keyword("delay_loop", Args::Seconds { min: 1, max: LONGEST, whole: false }, "SECS", "that of the real or virtual server (60)", "decimal", "time between two probes"),
        keyword("alpha", Args::Bool, "[BOOL]", "that of the real server", "", "failed until the first success"),
        keyword("log_all_failures", Args::Bool, "[BOOL]", "checker_log_all_failures", "", "log every failed probe, not only changes"),
        keyword("fall", Args::Int { min: 1, max: 2_147_483_647 }, "N", "retry + 1", "1..INT_MAX", "failures in a row that bring the server down; `retry` N - 1, which comes first").ours(),
        keyword("rise", Args::Int { min: 1, max: 2_147_483_647 }, "N", "that of the real or virtual server, else 1", "1..INT_MAX", "successes in a row that bring the server up").ours(),
        keyword("max_latency", Args::Seconds { min: 1, max: LONGEST, whole: false }, "SECS", "that of the real or virtual server, else none", "decimal", "a success that took longer is a failure").ours(),
        $($own),*
    ] };
}

/// Keywords of where a checker connects to, of when it runs, and its own.
#[rustfmt::skip] // One keyword a line: this is a table.
macro_rules! connecting {
    ($($own:expr),* $(,)?) => { scheduled![
        keyword("connect_ip", Args::Address, "ADDR", "real server address", "", "address to probe"),
        keyword("connect_port", Args::Int { min: 1, max: 65_535 }, "N", "real server port", "1..65535", "port to probe"),
        keyword("bindto", Args::Address, "ADDR", "none", "", "source address"),
        keyword("bind_port", Args::Int { min: 1, max: 65_535 }, "N", "none", "1..65535", "source port"),
        keyword("bind_if", Args::Word, "IF", "none", "", "interface, needed for link-local IPv6 addresses"),
        keyword("connect_timeout", Args::Seconds { min: 1, max: LONGEST, whole: false }, "SECS", "that of the real or virtual server (5)", "decimal >0", "limit of one probe"),
        keyword("fwmark", Args::Int { min: 0, max: 4_294_967_295 }, "N", "0", "0..UINT32_MAX", "mark of its packets"),
        $($own),*
    ] };
}

/// Keywords of `HTTP_GET` and `SSL_GET`, and their own.
#[rustfmt::skip] // One keyword a line: this is a table.
macro_rules! web {
    ($($own:expr),* $(,)?) => { connecting![
        keyword("nb_get_retry", Args::Int { min: 0, max: 4_294_967_295 }, "N", "", "", "old name of retry").alias_of("retry"),
        keyword("virtualhost", Args::Word, "NAME", "that of the real or virtual server", "", "Host header"),
        keyword("http_protocol", Args::Choice(&["1.0", "1.0C", "1.0c", "1.1"]), "1.0|1.0C|1.0c|1.1", "1.0", "", "request version, C adds `Connection: close`"),
        keyword("enable_sni", Args::Bool, "[BOOL]", "off", "", "send a server name with TLS: sni_name, else the virtual host"),
        keyword("sni_name", Args::Word, "NAME", "none", "", "the server name that is sent"),
        keyword("fast_recovery", Args::Bool, "[BOOL]", "off", "", "one good cycle over all pages brings the server up"),
        $($own),*
    ] };
}

/// Keywords of a `url` block, and its own.
#[rustfmt::skip] // One keyword a line: this is a table.
macro_rules! page {
    ($($own:expr),* $(,)?) => { &[
        keyword("path", Args::Word, "PATH", "", "", "request path with its query"),
        keyword("digest", Args::Word, "HEX32", "none", "32 hex digits", "MD5 that the body must have"),
        keyword("status_code", Args::Words { min: 1, max: usize::MAX }, "N | A-B ...", "200-299", "100..599", "accepted statuses").repeatable(),
        keyword("virtualhost", Args::Word, "NAME", "that of the checker", "", "Host header of this page"),
        keyword("regex", Args::Escaped, "PATTERN", "none", "PCRE2", "pattern that the body must match"),
        keyword("regex_no_match", Args::Flag, "none", "off", "", "the body must not match"),
        keyword("regex_options", Args::Words { min: 1, max: 64 }, "OPT ...", "none", REGEX_OPTION_LIST, "PCRE2 compile options").repeatable(),
        keyword("regex_min_offset", Args::Int { min: 0, max: 4_294_967_295 }, "N", "0", ">=0", "the match starts at this byte or after"),
        keyword("regex_max_offset", Args::Int { min: 0, max: 4_294_967_295 }, "N", "none", ">=0", "the match starts at this byte or before"),
        keyword("regex_stack", Args::Words { min: 2, max: 2 }, "START MAX", "PCRE2 default", "", "sizes of the JIT stack in bytes"),
        keyword("method", Args::Word, "METHOD", "GET", "", "request method").ours(),
        keyword("header", Args::Words { min: 2, max: 2 }, "NAME VALUE", "none", "", "one more request header").repeatable().ours(),
        keyword("body", Args::Word, "TEXT", "none", "", "request body").ours(),
        keyword("expect_header", Args::Words { min: 1, max: 2 }, "NAME [VALUE]", "none", "", "header that the answer must have").repeatable().ours(),
        keyword("expect_body", Args::Word, "TEXT", "none", "", "text that the body must contain").ours(),
        keyword("expect_json", Args::Words { min: 2, max: 2 }, "PATH VALUE", "none", "", "value that a JSON body must have at a path").repeatable().ours(),
        $($own),*
    ] };
}

/// The names that `regex_options` takes.
pub const REGEX_OPTIONS: [&str; 24] = [
    "allow_empty_class",
    "alt_bsux",
    "alt_circumflex",
    "alt_verbnames",
    "auto_callout",
    "caseless",
    "dollar_endonly",
    "dotall",
    "dupnames",
    "extended",
    "firstline",
    "match_unset_backref",
    "multiline",
    "never_backslash_c",
    "never_ucp",
    "never_utf",
    "no_auto_capture",
    "no_auto_possess",
    "no_dotstar_anchor",
    "no_start_optimize",
    "ucp",
    "ungreedy",
    "use_offset_limit",
    "utf",
];

const REGEX_OPTION_LIST: &str = "allow_empty_class alt_bsux alt_circumflex alt_verbnames auto_callout caseless \
    dollar_endonly dotall dupnames extended firstline match_unset_backref multiline never_backslash_c never_ucp \
    never_utf no_auto_capture no_auto_possess no_dotstar_anchor no_start_optimize ucp ungreedy use_offset_limit utf";

/// `TCP_CHECK`.
pub static TCP_CHECK: Block =
    Block { name: "TCP_CHECK", named: false, more: 0, index: Index::new(), keywords: connecting![] };

/// `PING_CHECK`.
pub static PING_CHECK: Block =
    Block { name: "PING_CHECK", named: false, more: 0, index: Index::new(), keywords: connecting![] };

/// `UDP_CHECK`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static UDP_CHECK: Block = Block {
    name: "UDP_CHECK",
    named: false,
    more: 0,
    index: Index::new(),
    keywords: connecting![
        keyword("payload", Args::Words { min: 1, max: usize::MAX }, "HEX [HEX...]", "a built-in text", "hex digits, blanks allowed", "what is sent"),
        keyword("require_reply", Args::Words { min: 0, max: usize::MAX }, "[HEX...]", "off", "X is any half byte", "a reply is needed, which begins so"),
        keyword("min_reply_length", Args::Int { min: 0, max: 65_535 }, "N", "0", "0..65535", "least length of the reply; one is needed"),
        keyword("max_reply_length", Args::Int { min: 0, max: 65_535 }, "N", "255", "0..65535", "largest length of the reply; one is needed"),
    ],
};

/// `HTTP_GET`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static HTTP_GET: Block = Block {
    name: "HTTP_GET",
    named: false,
    more: 0,
    index: Index::new(),
    keywords: web![
        keyword("url", Args::Block(&HTTP_URL), "{ ... }", "", "at least one", "a page to fetch").repeatable(),
    ],
};

/// `SSL_GET`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static SSL_GET: Block = Block {
    name: "SSL_GET",
    named: false,
    more: 0,
    index: Index::new(),
    keywords: web![
        keyword("url", Args::Block(&SSL_URL), "{ ... }", "", "at least one", "a page to fetch").repeatable(),
        keyword("tls_compliant", Args::Bool, "[BOOL]", "off", "", "close TLS as its standard says"),
        keyword("tls_verify", Args::Bool, "[BOOL]", "off", "", "refuse a certificate that the system, or tls_ca, does not vouch for").ours(),
        keyword("tls_ca", Args::Word, "PATH", "the system's", "", "CA file for tls_verify").ours(),
    ],
};

/// `url` of `HTTP_GET`.
pub static HTTP_URL: Block = Block { name: "url", named: false, more: 0, index: Index::new(), keywords: page![] };

/// `url` of `SSL_GET`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static SSL_URL: Block = Block {
    name: "url",
    named: false,
    more: 0,
    index: Index::new(),
    keywords: page![
        keyword("tls_compliant", Args::Bool, "[BOOL]", "that of the checker", "", "close TLS as its standard says"),
    ],
};

/// `SMTP_CHECK`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static SMTP_CHECK: Block = Block {
    name: "SMTP_CHECK",
    named: false,
    more: 0,
    index: Index::new(),
    keywords: connecting![
        keyword("helo_name", Args::Word, "NAME", "smtpchecker.keepalived.org", "", "HELO argument"),
        keyword("host", Args::Block(&SMTP_HOST), "{ ... }", "the real server", "", "a host to probe in its place, all must answer").repeatable(),
    ],
};

/// `host` of `SMTP_CHECK`.
pub static SMTP_HOST: Block =
    Block { name: "host", named: false, more: 0, index: Index::new(), keywords: connecting![] };

/// `DNS_CHECK`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static DNS_CHECK: Block = Block {
    name: "DNS_CHECK",
    named: false,
    more: 0,
    index: Index::new(),
    keywords: connecting![
        keyword("type", Args::Word, "A|NS|CNAME|SOA|MX|TXT|AAAA|RRSIG|DNSKEY|TYPEn", "SOA", "", "query type"),
        keyword("name", Args::Word, "NAME", ". (root)", "", "query name"),
    ],
};

/// `MISC_CHECK`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static MISC_CHECK: Block = Block {
    name: "MISC_CHECK",
    named: false,
    more: 0,
    index: Index::new(),
    keywords: scheduled![
        keyword("misc_path", Args::Script, "SCRIPT", "", "", "command, exit 0 = up"),
        keyword("misc_timeout", Args::Seconds { min: 0, max: 4_294_000_000, whole: true }, "SECS", "delay_loop", "integer 0..4294", "TERM after this, then KILL 2 s later"),
        keyword("misc_dynamic", Args::Flag, "none", "off", "only one per real server", "exit code sets the weight: 2 to 255 are up with 0 to 253"),
        keyword("user", Args::Words { min: 1, max: 2 }, "USER [GROUP]", "script_user", "", "run as"),
    ],
};

/// `BFD_CHECK`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static BFD_CHECK: Block = Block {
    name: "BFD_CHECK",
    named: false,
    more: 0,
    index: Index::new(),
    keywords: &[
        keyword("name", Args::Word, "BFD_INSTANCE", "", "must exist", "session to follow"),
        keyword("alpha", Args::Bool, "[BOOL]", "that of the real server", "", "failed until the session is up"),
    ],
};

/// `FILE_CHECK`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static FILE_CHECK: Block = Block {
    name: "FILE_CHECK",
    named: false,
    more: 0,
    index: Index::new(),
    keywords: &[
        keyword("track_file", Args::Word, "NAME", "", "must exist", "the `track_file` whose number adds to the weight"),
        keyword("weight", Args::Words { min: 1, max: 2 }, "N [reverse|noreverse]", "weight of the file", "-2147483647..2147483647", "the number is multiplied by it"),
    ],
};
