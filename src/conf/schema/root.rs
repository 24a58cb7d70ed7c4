//! The keywords at the root of the file, and the small blocks.
//!
//! Pure.

use super::{Args, Block, Index, keyword};
use super::{
    GLOBAL_DEFS, SSL, TRACK_FILE, VIRTUAL_SERVER, VRRP_INSTANCE, VRRP_SCRIPT, VRRP_SYNC_GROUP, VRRP_TRACK_FILE,
    VRRP_TRACK_PROCESS,
};

/// `(root)`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static ROOT: Block = Block {
    name: "(root)",
    named: false,
    more: 0,
    index: Index::new(),
    keywords: &[
        keyword("linkbeat_use_polling", Args::Flag, "none", "off", "", "poll MII/ETHTOOL/ioctl for link state on every interface instead of trusting netlink").not_built_warn("the link state that netlink reports is used"),
        keyword("net_namespace", Args::Word, "NAME", "current ns", "", "run all processes inside named netns (under RUNSTATEDIR/netns/)"),
        keyword("net_namespace_ipvs", Args::Words { min: 0, max: 1 }, "[NAME]", "same as net_namespace", "", "namespace used for IPVS operations, bare keyword = default namespace").not_built_error("IPVS is set up where the daemon runs"),
        keyword("namespace_with_ipsets", Args::Flag, "none", "off", "", "permit ipsets while in a netns (old kernels shared ipsets between namespaces)").not_built_warn("no ipsets are used"),
        keyword("use_pid_dir", Args::Flag, "none", "off (forced on with instance/netns)", "", "put pid files in RUNSTATEDIR/keepalived/"),
        keyword("instance", Args::Word, "NAME", "none", "", "instance tag appended to pid/dump/log names and syslog ident"),
        keyword("child_wait_time", Args::Seconds { min: 0, max: 4_294_000_000, whole: true }, "SECS", "5", "integer >=0 (root level only)", "seconds parent waits for children after TERM before KILL"),
        keyword("global_defs", Args::Block(&GLOBAL_DEFS), "{ ... }", "", "", "global settings block").repeatable(),
        keyword("track_group", Args::Block(&TRACK_GROUP), "NAME { group { VRRP... } }", "", "", "named list of instances that static objects can depend on").not_built_warn("static addresses are put back when their interface returns, and instances do not follow them").repeatable(),
        keyword("static_ipaddress", Args::Lines, "{ address lines }", "", "", "addresses installed at start, removed at stop").repeatable(),
        keyword("static_routes", Args::Lines, "{ route lines }", "", "", "routes installed at start").not_built_warn("these routes are not installed").repeatable(),
        keyword("static_rules", Args::Lines, "{ rule lines }", "", "", "policy rules installed at start").not_built_warn("these rules are not installed").repeatable(),
        keyword("vrrp_sync_group", Args::Block(&VRRP_SYNC_GROUP), "NAME { ... }", "", "", "set of instances that change state together").repeatable(),
        keyword("garp_group", Args::Block(&GARP_GROUP), "{ ... }", "", "", "gratuitous ARP/NA pacing for a set of interfaces").not_built_warn("gratuitous ARPs of these interfaces are not paced as a group").repeatable(),
        keyword("linkbeat_interfaces", Args::Lines, "{ IF [MII|ETHTOOL|IOCTL] ... }", "auto detect", "", "per-interface linkbeat polling").not_built_warn("the link state that netlink reports is used").repeatable(),
        keyword("vrrp_instance", Args::Block(&VRRP_INSTANCE), "NAME { ... }", "", "", "a virtual router").repeatable(),
        keyword("vrrp_script", Args::Block(&VRRP_SCRIPT), "NAME { ... }", "", "", "periodic tracking script").repeatable(),
        keyword("vrrp_track_process", Args::Block(&VRRP_TRACK_PROCESS), "NAME { ... }", "", "", "process presence tracker (proc connector netlink)").repeatable(),
        keyword("interface_up_down_delays", Args::Lines, "{ IF DOWN [UP] ... }", "0 0", "0..255 s (0.000001 steps)", "debounce for link transitions (first = down delay)").not_built_error("a link that goes down or up counts at once").repeatable(),
        keyword("track_file", Args::Block(&TRACK_FILE), "NAME { ... }", "", "", "integer-in-file tracker for VRRP and checkers").repeatable(),
        keyword("vrrp_track_file", Args::Block(&VRRP_TRACK_FILE), "NAME { ... }", "", "", "same as track_file").alias_of("track_file").repeatable(),
        keyword("bfd_instance", Args::Block(&BFD_INSTANCE), "NAME { ... }", "", "NAME < 32 chars", "BFD session").not_built_warn("no BFD session is started").repeatable(),
        keyword("SSL", Args::Block(&SSL), "{ ... }", "", "", "client certificate settings for SSL_GET").repeatable(),
        keyword("virtual_server_group", Args::NamedLines, "NAME { entries }", "", "", "set of addresses/fwmarks sharing one RS pool").repeatable(),
        keyword("virtual_server", Args::Block(&VIRTUAL_SERVER), "IP [PORT] | fwmark N | group NAME { ... }", "", "", "IPVS service").repeatable(),
    ],
};

/// `track_group`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static TRACK_GROUP: Block = Block {
    name: "track_group",
    named: true,
    more: 0,
    index: Index::new(),
    keywords: &[
        keyword("group", Args::Lines, "{ VRRP_NAME ... }", "", "", "instances, the static objects are reinstated when their interface returns").repeatable(),
    ],
};

/// `garp_group`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static GARP_GROUP: Block = Block {
    name: "garp_group",
    named: false,
    more: 0,
    index: Index::new(),
    keywords: &[
        keyword("garp_interval", Args::Seconds { min: 0, max: 4_294_967_295, whole: false }, "SECS", "0", "0..4294.967295", "min spacing of GARPs over the group"),
        keyword("gna_interval", Args::Seconds { min: 0, max: 4_294_967_295, whole: false }, "SECS", "0", "0..4294.967295", "min spacing of NAs over the group"),
        keyword("interface", Args::Word, "IF", "", "", "single interface (becomes private group)"),
        keyword("interfaces", Args::Lines, "{ IF ... }", "", "", "interfaces that share the pacing").repeatable(),
    ],
};

/// `bfd_instance`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static BFD_INSTANCE: Block = Block {
    name: "bfd_instance",
    named: true,
    more: 0,
    index: Index::new(),
    keywords: &[
        keyword("source_ip", Args::Address, "ADDR", "any", "same family as neighbor", "local address"),
        keyword("neighbor_ip", Args::Address, "ADDR", "", "unicast, unique", "peer address").first_wins(),
        keyword("neighbour_ip", Args::Address, "ADDR", "", "", "spelling variant").same_as("neighbor_ip").first_wins(),
        keyword("min_rx", Args::Milliseconds { min: 1_000, max: 4_294_967_000 }, "MS", "10", "1..4294967 (3 decimals, warn >10000)", "required min receive interval"),
        keyword("min_tx", Args::Milliseconds { min: 1_000, max: 4_294_967_000 }, "MS", "10", "1..4294967", "desired min transmit interval when up"),
        keyword("idle_tx", Args::Milliseconds { min: 1_000_000, max: 4_294_967_000 }, "MS", "1000", "1000..4294967", "transmit interval while not up"),
        keyword("multiplier", Args::Int { min: 1, max: 255 }, "N", "5", "1..255 (warn >10)", "detection multiplier"),
        keyword("passive", Args::Flag, "none", "off", "", "do not send until peer does"),
        keyword("ttl", Args::Int { min: 1, max: 255 }, "N", "255 (IPv4)", "1..255", "TTL on transmit"),
        keyword("hoplimit", Args::Int { min: 1, max: 255 }, "N", "64 (IPv6)", "1..255", "same keyword family for IPv6").same_as("ttl"),
        keyword("max_hops", Args::Int { min: -1, max: 255 }, "N", "0", "-1..255", "hops tolerated on receive, -1/255 = no check"),
        keyword("multihop", Args::Bool, "[BOOL]", "false", "", "use port 4784 (RFC5883) instead of 3784"),
        keyword("weight", Args::Weight { limit: 253 }, "N [reverse]", "0", "-253..253", "default VRRP tracking weight"),
        keyword("vrrp", Args::Flag, "none", "both", "", "deliver events to VRRP process only (with/without checker)"),
        keyword("checker", Args::Flag, "none", "both", "", "deliver events to checker process only"),
    ],
};
