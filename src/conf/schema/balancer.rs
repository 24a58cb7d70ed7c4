//! The keywords of `virtual_server` and `real_server`, and the root block `SSL`.
//!
//! Pure.

use super::{Args, Block, Index, keyword};
use super::{
    BFD_CHECK, DNS_CHECK, FILE_CHECK, HTTP_GET, MISC_CHECK, NOTIFY_WEBHOOK, PING_CHECK, SMTP_CHECK, SSL_GET, TCP_CHECK,
    UDP_CHECK,
};

/// As long as the times of keepalived go, in microseconds.
const LONGEST: u64 = 4_294_967_000_000;

/// The names of schedulers, as the kernel has them.
const SCHEDULERS: &[&str] =
    &["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "mh", "dh", "fo", "ovf", "sed", "nq", "twos"];

/// How `lb_kind` is written.
const METHOD: &str = "NAT | DR | TUN [type ipip|gue|gre [port N] [nocsum|csum|remcsum]] | PROXY";

/// `virtual_server`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static VIRTUAL_SERVER: Block = Block {
    name: "virtual_server",
    named: true,
    more: 2,
    index: Index::new(),
    keywords: &[
        keyword("ip_family", Args::Choice(&["inet", "inet6"]), "inet|inet6", "that of its address or real servers", "", "family of a fwmark service"),
        keyword("retry", Args::Int { min: 1, max: 4_294_967_295 }, "N", "that of each checker", ">=1", "default of its checkers"),
        keyword("delay_before_retry", Args::Seconds { min: 1, max: LONGEST, whole: false }, "SECS", "that of each checker", "decimal", "default of its checkers"),
        keyword("warmup", Args::Seconds { min: 0, max: LONGEST, whole: false }, "SECS", "delay_loop", "decimal", "default of its checkers"),
        keyword("connect_timeout", Args::Seconds { min: 1, max: LONGEST, whole: false }, "SECS", "5", "decimal >0", "default of its checkers"),
        keyword("delay_loop", Args::Seconds { min: 1, max: LONGEST, whole: false }, "SECS", "60", ">0 decimal", "time between two probes of a checker"),
        keyword("inhibit_on_failure", Args::Flag, "none", "off", "", "weight 0 on failure rather than removal"),
        keyword("lb_algo", Args::Choice(SCHEDULERS), "rr|wrr|lc|wlc|lblc|lblcr|sh|mh|dh|fo|ovf|sed|nq|twos", "wlc", "", "scheduler"),
        keyword("lvs_sched", Args::Choice(SCHEDULERS), "as lb_algo", "wlc", "", "another name of lb_algo").same_as("lb_algo"),
        keyword("hashed", Args::Flag, "none", "off", "", "the kernel's flag of that name"),
        keyword("ops", Args::Flag, "none", "off", "", "one packet is one connection (UDP)"),
        keyword("flag-1", Args::Flag, "none", "off", "", "scheduler flag 1"),
        keyword("flag-2", Args::Flag, "none", "off", "", "scheduler flag 2"),
        keyword("flag-3", Args::Flag, "none", "off", "", "scheduler flag 3"),
        keyword("sh-port", Args::Flag, "none", "off", "after `lb_algo sh`", "hash the source port too"),
        keyword("sh-fallback", Args::Flag, "none", "off", "after `lb_algo sh`", "take another server when the chosen one is down"),
        keyword("mh-port", Args::Flag, "none", "off", "after `lb_algo mh`", "hash the source port too"),
        keyword("mh-fallback", Args::Flag, "none", "off", "after `lb_algo mh`", "take another server when the chosen one is down"),
        keyword("lb_kind", Args::Words { min: 1, max: 8 }, METHOD, "NAT", "port 1-65535, needed for gue", "forwarding method"),
        keyword("lvs_method", Args::Words { min: 1, max: 8 }, METHOD, "NAT", "", "another name of lb_kind").same_as("lb_kind"),
        keyword("persistence_engine", Args::Word, "NAME", "none", "sip", "persistence engine of the kernel"),
        keyword("persistence_timeout", Args::OptionalInt { min: 1, max: 2_678_400, bare: 360 }, "[SECS]", "off (bare 360)", "1..2678400", "how long a client stays with its server"),
        keyword("persistence_granularity", Args::Word, "MASK4 | PREFIX6", "255.255.255.255 / 128", "prefix 1..128", "clients that are one client; implies persistence"),
        keyword("protocol", Args::Word, "TCP|UDP|SCTP", "UDP", "any case", "protocol of the service"),
        keyword("ha_suspend", Args::Flag, "none", "off", "not for fwmark or groups", "pause the checks while its address is not on this host"),
        keyword("notify_webhook", Args::Block(&NOTIFY_WEBHOOK), "[NAME] { … }", "none", "", "sends events of the virtual server and its real servers to a web service").repeatable().ours(),
        keyword("smtp_alert", Args::Bool, "[BOOL]", "smtp_alert_checker, else off", "", "mail on a change of quorum"),
        keyword("virtualhost", Args::Word, "NAME", "none", "", "default Host header"),
        keyword("snmp_name", Args::Word, "NAME", "none", "", "label in SNMP").not_built_warn("there is no SNMP agent"),
        keyword("alpha", Args::Flag, "none", "off", "", "servers start down"),
        keyword("omega", Args::Flag, "none", "off", "", "run down notifications at stop"),
        keyword("quorum_up", Args::Script, "SCRIPT [USER [GROUP]]", "none", "", "on gaining quorum"),
        keyword("quorum_down", Args::Script, "SCRIPT [USER [GROUP]]", "none", "", "on losing quorum"),
        keyword("quorum", Args::Int { min: 1, max: 4_294_967_295 }, "N", "1", ">=1, at most all weights together", "live weight needed"),
        keyword("hysteresis", Args::Int { min: 0, max: 4_294_967_295 }, "N", "0", "below the quorum", "margin around quorum"),
        keyword("weight", Args::Int { min: 1, max: 2_147_483_647 }, "N", "1", "1..2147483647", "default weight of its real servers"),
        keyword("sorry_server", Args::Words { min: 1, max: 2 }, "IP [PORT]", "none", "", "server used without quorum"),
        keyword("sorry_server_inhibit", Args::Flag, "none", "off", "", "keep the sorry server in the table with weight 0"),
        keyword("sorry_server_lvs_method", Args::Words { min: 1, max: 8 }, METHOD, "that of the virtual server", "", "method for the sorry server"),
        keyword("real_server", Args::Block(&REAL_SERVER), "IP [PORT] { ... }", "", "", "one of its servers").repeatable(),
        keyword("fall", Args::Int { min: 1, max: 2_147_483_647 }, "N", "retry + 1", "1..INT_MAX", "default of its checkers").ours(),
        keyword("rise", Args::Int { min: 1, max: 2_147_483_647 }, "N", "1", "1..INT_MAX", "default of its checkers").ours(),
        keyword("max_latency", Args::Seconds { min: 1, max: LONGEST, whole: false }, "SECS", "none", "decimal", "default of its checkers").ours(),
        keyword("vrrp_instance", Args::Word, "NAME", "none", "must exist", "serve only while this instance is master").ours(),
        keyword("panic_threshold", Args::Int { min: 0, max: 100 }, "PERCENT", "0 = off", "0..100", "with fewer real servers alive, suspect ourselves").ours(),
        keyword("panic_action", Args::Choice(&["keep_last", "send_to_all"]), "keep_last|send_to_all", "keep_last", "", "what is done then").ours(),
        keyword("slow_start", Args::Seconds { min: 0, max: LONGEST, whole: false }, "SECS", "0", "decimal", "a server that comes up reaches its weight in this time").ours(),
        keyword("masquerade", Args::Bool, "[BOOL]", "off", "NAT", "set up the return path").ours(),
        keyword("proxy_connect_timeout", Args::Seconds { min: 1, max: LONGEST, whole: false }, "SECS", "5", "decimal", "forwarder: limit for connecting to a real server").ours(),
        keyword("proxy_idle_timeout", Args::Seconds { min: 1, max: LONGEST, whole: false }, "SECS", "900", "decimal", "forwarder: a connection without traffic ends").ours(),
        keyword("proxy_udp_timeout", Args::Seconds { min: 1, max: LONGEST, whole: false }, "SECS", "300", "decimal", "forwarder: a UDP flow without traffic ends").ours(),
        keyword("proxy_max_connections", Args::Int { min: 0, max: 4_294_967_295 }, "N", "0 = no limit", "", "forwarder: connections of this service at once").ours(),
        keyword("proxy_drain_timeout", Args::Seconds { min: 0, max: LONGEST, whole: false }, "SECS", "for ever", "decimal", "forwarder: how long connections to a removed real server go on").ours(),
        keyword("proxy_protocol", Args::Choice(&["v1", "v2"]), "v1|v2", "none", "", "forwarder: tell real servers the client's address").ours(),
        keyword("proxy_reset_close", Args::Bool, "[BOOL]", "off", "", "forwarder: close with a reset where the real server has closed first; not for servers that go on reading then").ours(),
        keyword("proxy_transparent", Args::Bool, "[BOOL]", "off", "", "forwarder: connect from the client's address").ours(),
    ],
};

/// `real_server`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static REAL_SERVER: Block = Block {
    name: "real_server",
    named: true,
    more: 1,
    index: Index::new(),
    keywords: &[
        keyword("weight", Args::Int { min: 0, max: 2_147_483_647 }, "N", "that of the virtual server (1)", "0..2147483647", "share of the connections, 0 for none"),
        keyword("lvs_method", Args::Words { min: 1, max: 8 }, METHOD, "that of the virtual server", "", "forwarding method"),
        keyword("uthreshold", Args::Int { min: 0, max: 4_294_967_295 }, "N", "0 = no limit", ">=0", "no new connections from this many on"),
        keyword("lthreshold", Args::Int { min: 0, max: 4_294_967_295 }, "N", "0", "at most uthreshold", "new ones again below this many"),
        keyword("inhibit_on_failure", Args::Bool, "[BOOL]", "that of the virtual server", "", "weight 0 on failure rather than removal"),
        keyword("notify_up", Args::Script, "SCRIPT [USER [GROUP]]", "none", "", "script when it comes up"),
        keyword("notify_down", Args::Script, "SCRIPT [USER [GROUP]]", "none", "", "script when it goes down"),
        keyword("alpha", Args::Bool, "[BOOL]", "that of the virtual server", "", "start down"),
        keyword("retry", Args::Int { min: 1, max: 4_294_967_295 }, "N", "that of the virtual server", ">=1", "default of its checkers"),
        keyword("delay_before_retry", Args::Seconds { min: 1, max: LONGEST, whole: false }, "SECS", "that of the virtual server", "decimal", "default of its checkers"),
        keyword("warmup", Args::Seconds { min: 0, max: LONGEST, whole: false }, "SECS", "that of the virtual server", "decimal", "default of its checkers"),
        keyword("connect_timeout", Args::Seconds { min: 1, max: LONGEST, whole: false }, "SECS", "that of the virtual server", "decimal", "default of its checkers"),
        keyword("delay_loop", Args::Seconds { min: 1, max: LONGEST, whole: false }, "SECS", "that of the virtual server", "decimal", "default of its checkers"),
        keyword("smtp_alert", Args::Bool, "[BOOL]", "smtp_alert_checker, else on", "", "mail on a change of state"),
        keyword("virtualhost", Args::Word, "NAME", "that of the virtual server", "", "default Host header"),
        keyword("snmp_name", Args::Word, "NAME", "none", "", "label in SNMP").not_built_warn("there is no SNMP agent"),
        keyword("MISC_CHECK", Args::Block(&MISC_CHECK), "{ ... }", "", "", "check by a program").repeatable(),
        keyword("SMTP_CHECK", Args::Block(&SMTP_CHECK), "{ ... }", "", "", "check of an SMTP greeting").repeatable(),
        keyword("TCP_CHECK", Args::Block(&TCP_CHECK), "{ ... }", "", "", "check by a TCP connection").repeatable(),
        keyword("PING_CHECK", Args::Block(&PING_CHECK), "{ ... }", "", "", "check by an ICMP echo").repeatable(),
        keyword("UDP_CHECK", Args::Block(&UDP_CHECK), "{ ... }", "", "", "check by a UDP probe").repeatable(),
        keyword("HTTP_GET", Args::Block(&HTTP_GET), "{ ... }", "", "", "check of web pages").repeatable(),
        keyword("SSL_GET", Args::Block(&SSL_GET), "{ ... }", "", "", "check of web pages with TLS").repeatable(),
        keyword("DNS_CHECK", Args::Block(&DNS_CHECK), "{ ... }", "", "", "check by a DNS query").repeatable(),
        keyword("FILE_CHECK", Args::Block(&FILE_CHECK), "{ ... }", "", "", "the number in a file as weight").repeatable(),
        keyword("BFD_CHECK", Args::Block(&BFD_CHECK), "{ ... }", "", "", "a BFD session as health").not_built_error("the real server counts as healthy whatever its session says").repeatable(),
        keyword("fall", Args::Int { min: 1, max: 2_147_483_647 }, "N", "retry + 1", "1..INT_MAX", "default of its checkers").ours(),
        keyword("rise", Args::Int { min: 1, max: 2_147_483_647 }, "N", "that of the virtual server", "1..INT_MAX", "default of its checkers").ours(),
        keyword("max_latency", Args::Seconds { min: 1, max: LONGEST, whole: false }, "SECS", "that of the virtual server", "decimal", "default of its checkers").ours(),
    ],
};

/// `SSL`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static SSL: Block = Block {
    name: "SSL",
    named: false,
    more: 0,
    index: Index::new(),
    keywords: &[
        keyword("password", Args::Word, "STRING", "none", "", "pass phrase of the private key"),
        keyword("ca", Args::Word, "PATH", "none", "", "CA file"),
        keyword("certificate", Args::Word, "PATH", "none", "", "client certificate"),
        keyword("key", Args::Word, "PATH", "none", "", "client private key"),
    ],
};
