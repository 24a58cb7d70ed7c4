//! The words that stand inside lines: options of an address, a tracker, a route; and what is read before any keyword is
//! (`include`, definitions, conditions, loops).
//!
//! Pure. For people: `holdfast check --explain label`, and the reference page. The parsers of those lines have their own
//! lists for "expected one of"; a test holds the two together.

/// A kind of line.
#[derive(Debug)]
pub struct LineKind {
    /// As a question names it: `address/label`.
    pub name: &'static str,
    /// Where such lines stand.
    pub place: &'static str,
    /// Its words.
    pub words: &'static [LineWord],
}

/// One word.
#[derive(Debug)]
pub struct LineWord {
    /// As it is written; other spellings follow a `|`.
    pub names: &'static str,
    /// What follows it, in the manual's notation.
    pub grammar: &'static str,
    /// The value without it.
    pub default: &'static str,
    /// What it does, in one line.
    pub meaning: &'static str,
}

impl LineWord {
    /// All its spellings.
    pub fn spellings(&self) -> impl Iterator<Item = &'static str> {
        self.names.split('|')
    }
}

const fn word(names: &'static str, grammar: &'static str, default: &'static str, meaning: &'static str) -> LineWord {
    LineWord { names, grammar, default, meaning }
}

/// All kinds of lines.
#[rustfmt::skip] // Tables.
pub static LINE_KINDS: &[LineKind] = &[
    LineKind { name: "language", place: "anywhere in a file, before keywords are looked for", words: &[
        word("include", "GLOB", "", "reads these files here; a pattern that matches nothing is only told"),
        word("includer", "GLOB", "", "the same; a file that cannot be read is an error"),
        word("includem", "GLOB", "", "the same; a file named without wildcards must exist, too"),
        word("includew", "GLOB", "", "the same; a pattern must match something, too"),
        word("includeb", "GLOB", "", "like includer; each of the alternatives in braces must exist, too"),
        word("includea", "GLOB", "", "all of these"),
        word("$NAME=", "VALUE, or lines that end with \\ and a last one without", "", "defines ${NAME}, and $NAME before a blank, a comma, a closing parenthesis and at the end of a line"),
        word("@ID|@", "LINE", "", "the line counts when the config-id (-i ID, else the host name up to its first dot) is ID"),
        word("@^ID|@^", "LINE", "", "the line counts when the config-id is another one"),
        word("~SEQ", "(VAR, [START, [STEP,]] END) LINE", "start 1, step 1", "the line once for each number, which is ${VAR} in it"),
        word("~SEQx", "(VAR, [START, [STEP,]] END) LINE", "start 1, step 1", "the same in hexadecimal"),
        word("~LST", "(VAR, VALUE, …) LINE, or ({VAR, …}, {VALUE, …}, …) LINE", "", "the line once for each value, or set of values"),
        word("_PWD", "", "", "${_PWD}: the directory of this file"),
        word("_INSTANCE", "", "", "${_INSTANCE}: the config-id"),
        word("_RANDOM", "[MIN [MAX]]", "0 32767", "${_RANDOM 1 6}: a random number; `random_seed` makes it the same each time"),
        word("_ENV", "NAME", "", "${_ENV NAME}: a variable of the environment"),
        word("_HASH", "", "", "${_HASH}: a #, which begins a comment here too"),
        word("_BANG", "", "", "${_BANG}: a !, which begins a comment here too"),
    ] },
    LineKind { name: "address", place: "virtual_ipaddress, virtual_ipaddress_excluded, static_ipaddress: ADDR[/LEN] OPTIONS", words: &[
        word("dev", "IF", "the instance's interface, default_interface for static ones", "the interface that carries it"),
        word("scope", "global|site|link|host|nowhere|0..255", "global", "how far the address is valid (IPv4)"),
        word("broadcast|brd", "ADDR|+|-", "none", "broadcast address; + has all bits of the host set, - none (IPv4)"),
        word("label", "TEXT", "none", "name for old tools, at most 15 characters, which begins with the interface's (IPv4)"),
        word("peer", "ADDR", "none", "the other end of a point-to-point link"),
        word("home", "", "off", "Mobile IPv6 home address"),
        word("-nodad", "", "no detection", "lets the kernel look for duplicates first, which delays a takeover (IPv6)"),
        word("mngtmpaddr", "", "off", "template for temporary addresses (IPv6)"),
        word("noprefixroute", "", "off", "no route to its subnet comes with it"),
        word("autojoin", "", "off", "the kernel joins this multicast group"),
        word("preferred_lft", "SECS|forever", "forever; 0 for an IPv6 /128", "after this it is no source of new connections"),
        word("use_vmac", "", "off", "on a VMAC although its dev is another interface; VMACs are not built yet"),
        word("no_track", "", "tracked", "when somebody removes it, it is not put back"),
        word("track_group", "NAME", "none", "instances that depend on it (static addresses); not built yet"),
    ] },
    LineKind { name: "tracker", place: "track_interface, track_script, track_file, track_process, track_bfd: NAME OPTIONS", words: &[
        word("weight", "N", "the object's own; 0 for interfaces", "added to the priority while healthy, or with a minus sign taken off while not; 0: a failure is FAULT"),
        word("reverse", "", "noreverse", "the weight counts while the opposite holds"),
        word("noreverse", "", "", "undoes a reverse of the object's own"),
    ] },
    LineKind { name: "peer", place: "unicast_peer: ADDR OPTIONS", words: &[
        word("min_ttl", "0..255", "0", "adverts of this peer with less are dropped, and so are those of nobody's"),
        word("max_ttl", "0..255", "255", "adverts of this peer with more are dropped, and so are those of nobody's"),
    ] },
    LineKind { name: "group", place: "virtual_server_group: ADDR[-N|-ADDR|/LEN] [PORT]", words: &[
        word("fwmark", "N [inet|inet6]", "", "packets with this firewall mark instead of an address"),
    ] },
    LineKind { name: "tunnel", place: "lb_kind TUN, and where a method is chosen", words: &[
        word("type", "ipip|gue|gre", "ipip", "the kind of tunnel"),
        word("port", "1..65535", "", "UDP port of the real servers' end (gue)"),
        word("nocsum|csum|remcsum", "", "nocsum", "checksums of the tunnel's own packets: none, over all, or the inner one offloaded"),
    ] },
    LineKind { name: "sync_daemon", place: "lvs_sync_daemon: IF OPTIONS", words: &[
        word("inst", "NAME", "none", "the instance that decides which end this is; both run without one"),
        word("id", "0..255", "the instance's VRID", "only daemons with one id listen to each other"),
        word("maxlen", "1..65507", "the kernel's", "bytes of one message"),
        word("port", "1..65535", "8848", "UDP port"),
        word("ttl", "1..255", "1", "TTL of its packets"),
        word("group", "ADDR", "224.0.0.81", "multicast group"),
    ] },
    LineKind { name: "route", place: "virtual_routes, static_routes (not built yet): [TYPE] [to] DST OPTIONS", words: &[
        word("inet|inet6", "", "that of the addresses", "the family"),
        word("to", "DST", "", "the destination: a prefix, `default`, `any` or `all`"),
        word("src", "ADDR", "none", "preferred source address"),
        word("via", "[inet|inet6] ADDR", "none", "gateway"),
        word("from", "PREFIX", "none", "only packets from there (IPv6)"),
        word("tos|dsfield", "N|NAME", "0", "only packets with this type of service"),
        word("table", "ID|NAME", "main", "routing table"),
        word("protocol", "N|NAME", "18, keepalived", "who made the route"),
        word("scope", "N|NAME", "by type", "how far the destination is"),
        word("metric|priority|preference", "N", "the kernel's", "the lower one wins"),
        word("dev|oif", "IF", "none", "interface"),
        word("onlink", "", "off", "the gateway is on the link, whatever its address says"),
        word("encap", "ip|ip6|mpls|ila ARGUMENTS", "none", "tunnel of this route"),
        word("expires", "SECS", "none", "it goes after this time (IPv6)"),
        word("mtu", "[lock] N", "none", "largest packet"),
        word("hoplimit", "N", "none", "hop limit of packets on it"),
        word("advmss", "[lock] N", "none", "segment size told to others"),
        word("rtt", "[lock] TIME", "none", "initial round trip time"),
        word("rttvar", "[lock] TIME", "none", "its variance"),
        word("reordering", "[lock] N", "none", "largest reordering"),
        word("window", "N", "none", "largest window told to others"),
        word("cwnd", "[lock] N", "none", "limit of the congestion window"),
        word("ssthresh", "[lock] N", "none", "initial slow start threshold"),
        word("realms", "[FROM/]TO", "none", "realms"),
        word("rto_min", "[lock] TIME", "none", "smallest retransmission timeout"),
        word("initcwnd", "N", "none", "initial congestion window"),
        word("initrwnd", "N", "none", "initial receive window"),
        word("features", "ecn", "none", "ECN"),
        word("quickack", "0|1", "none", "no delayed acknowledgements"),
        word("congctl", "[lock] NAME", "none", "congestion control"),
        word("pref", "low|medium|high|N", "none", "preference (IPv6)"),
        word("ttl-propagate", "enabled|disabled", "none", "TTL of a labelled packet is taken over"),
        word("fastopen_no_cookie", "0|1", "none", "TCP fast open without a cookie"),
        word("add|prepend|append", "", "prepend", "how it goes into the table"),
        word("or", "ADDR", "none", "a second gateway; `nexthop` is the word today"),
        word("nexthop", "[via ADDR] [dev IF] [weight N] [onlink] …", "none", "one of several ways; the last thing on the line"),
        word("no_track", "", "tracked", "its removal changes nothing"),
        word("track_group", "NAME", "none", "instances that depend on it (static ones)"),
        word("vrf", "IF", "none", "in the table of this VRF"),
    ] },
    LineKind { name: "rule", place: "virtual_rules, static_rules (not built yet): SELECTORS ACTION", words: &[
        word("inet|inet6", "", "that of the addresses", "the family"),
        word("from", "PREFIX", "any", "packets from there"),
        word("to", "PREFIX", "any", "packets to there"),
        word("not", "", "off", "all packets but those"),
        word("dev|iif", "IF", "none", "packets that came in there"),
        word("oif", "IF", "none", "packets that go out there"),
        word("tos|dsfield", "N", "0", "packets with this type of service"),
        word("fwmark", "N[/MASK]", "none", "packets with this firewall mark"),
        word("realms", "[FROM/]TO", "none", "realms"),
        word("uidrange", "A-B", "none", "packets of these users"),
        word("l3mdev", "", "off", "the table of the packet's VRF"),
        word("tunnel-id", "N", "none", "packets of this tunnel"),
        word("ipproto", "N|NAME", "none", "packets of this protocol"),
        word("sport", "A-B", "none", "source ports"),
        word("dport", "A-B", "none", "destination ports"),
        word("protocol", "N", "18, keepalived", "who made the rule"),
        word("preference|order|priority", "N", "from 16384 downwards", "place among the rules"),
        word("suppress_prefixlength|sup_pl", "N", "none", "routes of at most this prefix length do not count"),
        word("suppress_ifgroup|sup_group", "N|NAME", "none", "routes through this group of interfaces do not count"),
        word("no_track", "", "tracked", "its removal changes nothing"),
        word("track_group", "NAME", "none", "instances that depend on it (static ones)"),
        word("table|lookup", "ID|NAME", "", "look there"),
        word("goto", "N", "", "go on at that rule"),
        word("nop|blackhole|unreachable|prohibit", "", "", "do nothing, or drop the packet, with an answer or without"),
    ] },
];

/// Every word with its kind of line.
pub fn line_words() -> impl Iterator<Item = (&'static LineKind, &'static LineWord)> {
    LINE_KINDS.iter().flat_map(|kind| kind.words.iter().map(move |word| (kind, word)))
}
