//! The keywords of `vrrp_instance`, `vrrp_sync_group` and their blocks.
//!
//! Pure.

use super::{Args, Block, CLOUD_ADDRESS, Index, NOTIFY_WEBHOOK, keyword};

/// `vrrp_instance`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static VRRP_INSTANCE: Block = Block {
    name: "vrrp_instance",
    named: true,
    more: 0,
    index: Index::new(),
    keywords: &[
        keyword("use_vmac", Args::Words { min: 0, max: 6 }, "[[name] IFNAME] [MAC] [netlink_notify_msg] [group N]", "IFNAME = vmac_prefix.VRID, MAC = 00:00:5e:00:01/02:VRID", "MAC 6 octets, or 5 = prefix + VRID, not multicast", "run on a private-mode macvlan carrying the virtual MAC").not_built_fatal("adverts and addresses would use the interface's own MAC address"),
        keyword("use_vmac_addr", Args::Flag, "none", "off", "", "make VMACs also for VIPs on other interfaces").not_built_fatal("adverts and addresses would use the interface's own MAC address"),
        keyword("vmac_xmit_base", Args::Flag, "none", "off", "", "send/receive adverts on the base interface").not_built_warn("adverts leave by the interface itself anyway"),
        keyword("use_ipvlan", Args::Words { min: 0, max: 6 }, "[[name] IFNAME] [ADDR[/LEN]] [bridge|private|vepa] [group N]", "IFNAME auto, bridge", "", "use an ipvlan L2 interface").not_built_fatal("adverts and addresses would use the interface itself"),
        keyword("unicast_peer", Args::Lines, "{ ADDR [min_ttl N] [max_ttl N] ... }", "none", "TTL 0..255", "send adverts unicast to these peers").repeatable(),
        keyword("unicast_fault_no_peer", Args::Flag, "none", "off", "", "unicast block without peers means FAULT rather than fall back to multicast"),
        keyword("check_unicast_src", Args::Flag, "none", "that of `global_defs`", "", "reject adverts not from a listed peer"),
        keyword("old_unicast_checksum", Args::Words { min: 0, max: 1 }, "[never]", "auto", "", "VRRPv3 unicast checksum over multicast group address (<=1.3.6 bug compat), never = do not auto-detect").not_built_error("checksums are computed as RFC 9568 says"),
        keyword("native_ipv6", Args::Flag, "none", "", "", "force IPv6 instance"),
        keyword("state", Args::Choice(&["MASTER", "BACKUP"]), "MASTER|BACKUP", "BACKUP", "", "initial state wish (exact upper case)"),
        keyword("interface", Args::Word, "IF", "", "existing unless dynamic_interfaces, not loopback", "interface for adverts and VIP default"),
        keyword("vrf", Args::Word, "IF", "none", "VRF master", "put VMAC in VRF / bind").not_built_error("the instance is not bound to a VRF"),
        keyword("dont_track_primary", Args::Flag, "none", "off", "", "ignore faults of the primary interface"),
        keyword("track_interface", Args::Lines, "{ IF [weight N [reverse|noreverse]] ... }", "", "-253..253 (254 error, clamped)", "extra interface trackers").repeatable(),
        keyword("track_script", Args::Lines, "{ NAME [weight N [reverse|noreverse]] ... }", "script weight", "-253..253", "script trackers").repeatable(),
        keyword("track_file", Args::Lines, "{ NAME [weight N [reverse|noreverse]] ... }", "file weight", "-254..254", "file trackers").repeatable(),
        keyword("track_process", Args::Lines, "{ NAME [weight N [reverse|noreverse]] ... }", "process weight", "-254..254", "process trackers").repeatable(),
        keyword("track_virtual_server", Args::Lines, "{ IP PORT [PROTO] | group NAME | fwmark N [weight N] ... }", "", "-253..253", "virtual servers that must be able to serve").repeatable().ours(),
        keyword("track_bfd", Args::Lines, "{ NAME [weight N [reverse|noreverse]] ... }", "bfd weight", "-253..253", "BFD trackers").not_built_fatal("an instance would not fail over when such a session goes down").repeatable(),
        keyword("mcast_src_ip", Args::Word, "ADDR", "primary address of interface", "family of VIPs", "advert source address"),
        keyword("unicast_src_ip", Args::Word, "ADDR", "primary address", "", "advert source address (same storage as mcast_src_ip)"),
        keyword("mcast_dst_ip", Args::Word, "ADDR", "global group", "multicast", "advert group for this instance"),
        keyword("track_src_ip", Args::Flag, "none", "off", "", "FAULT when configured source address disappears"),
        keyword("virtual_router_id", Args::Int { min: 1, max: 255 }, "N", "", "1..255", "VRID"),
        keyword("unicast_ttl", Args::Int { min: 0, max: 255 }, "N", "255 (IPv4), kernel default (IPv6)", "0..255", "TTL/hop limit on unicast adverts"),
        keyword("version", Args::Int { min: 2, max: 3 }, "2|3", "vrrp_version", "2..3", "protocol version"),
        keyword("priority", Args::Int { min: 1, max: 255 }, "N", "100; 255 with `state MASTER`", "1..255", "base priority"),
        keyword("advert_int", Args::Seconds { min: 10_000, max: 255_000_000, whole: false }, "SECS", "1", "0.01..255 (v2 whole s, v3 10 ms steps <=40.95)", "advert interval"),
        keyword("virtual_ipaddress", Args::Lines, "{ address lines }", "", "", "VIPs placed in adverts").repeatable(),
        keyword("virtual_ipaddress_excluded", Args::Lines, "{ address lines }", "", "", "addresses moved with the instance but not in adverts, any family").repeatable(),
        keyword("no_virtual_ipaddress", Args::Flag, "none", "off", "", "allow an instance without VIPs"),
        keyword("promote_secondaries", Args::Flag, "none", "off", "", "set promote_secondaries sysctl on interface"),
        keyword("linkbeat_use_polling", Args::Flag, "none", "off", "", "poll this interface").not_built_warn("the link state that netlink reports is used"),
        keyword("v3_checksum_as_v2", Args::Bool, "[BOOL]", "that of `global_defs`", "", "IPv4 v3 checksum without pseudo header"),
        keyword("virtual_routes", Args::Lines, "{ route lines }", "", "", "routes moved with the instance").not_built_fatal("these routes would not move with the addresses").repeatable(),
        keyword("virtual_rules", Args::Lines, "{ rule lines }", "", "", "rules moved with the instance").not_built_fatal("these rules would not move with the addresses").repeatable(),
        keyword("accept", Args::Flag, "none", "on (off in strict unless owner)", "", "accept packets for VIPs when not owner"),
        keyword("no_accept", Args::Flag, "none", "off", "", "drop packets addressed to VIPs"),
        keyword("skip_check_adv_addr", Args::Bool, "[BOOL]", "that of `global_defs`", "", "skip VIP list comparison for known master"),
        keyword("strict_mode", Args::Bool, "[BOOL]", "that of `global_defs`", "", "strict RFC mode for this instance"),
        keyword("preempt", Args::Flag, "none", "on", "", "undo nopreempt default"),
        keyword("nopreempt", Args::Flag, "none", "off", "", "lower priority master is not displaced"),
        keyword("preempt_delay", Args::Seconds { min: 0, max: 1_000_000_000, whole: false }, "SECS", "0", "0..1000 decimal", "wait before preempting after startup/fault"),
        keyword("debug", Args::Int { min: 0, max: 4 }, "LEVEL", "0", "0..4", "accepted, no visible effect in normal builds").no_effect(),
        keyword("notify_backup", Args::Script, "SCRIPT [USER [GROUP]]", "none", "", "script on BACKUP").first_wins(),
        keyword("notify_master", Args::Script, "SCRIPT [USER [GROUP]]", "none", "", "script on MASTER").first_wins(),
        keyword("notify_fault", Args::Script, "SCRIPT [USER [GROUP]]", "none", "", "script on FAULT").first_wins(),
        keyword("notify_stop", Args::Script, "SCRIPT [USER [GROUP]]", "none", "", "script on shutdown").first_wins(),
        keyword("notify_deleted", Args::OptionalScript, "[SCRIPT [USER [GROUP]]]", "off", "", "report DELETED (not FAULT) when removed by reload, optionally running a script").first_wins(),
        keyword("notify", Args::Script, "SCRIPT [USER [GROUP]]", "none", "", "generic script with 4 appended args").first_wins(),
        keyword("notify_master_rx_lower_pri", Args::Script, "SCRIPT [USER [GROUP]]", "none", "", "script when master hears a lower priority advert").first_wins(),
        keyword("smtp_alert", Args::Bool, "[BOOL]", "smtp_alert_vrrp/smtp_alert", "", "mail on state changes"),
        keyword("notify_webhook", Args::Block(&NOTIFY_WEBHOOK), "[NAME] { … }", "none", "", "sends the instance's events to a web service").repeatable().ours(),
        keyword("cloud_address", Args::Block(&CLOUD_ADDRESS), "NAME { … }", "none", "", "asks the cloud's API to send the addresses here, when MASTER and every minute from then on").repeatable().ours(),
        keyword("notify_priority_changes", Args::Bool, "[BOOL]", "that of `global_defs`", "", "FIFO events on priority change"),
        keyword("lvs_sync_daemon_interface", Args::Word, "IF", "none", "", "IPVS sync daemon interface, while this instance is master: old, use lvs_sync_daemon"),
        keyword("garp_master_delay", Args::Seconds { min: 0, max: 4_294_000_000, whole: true }, "SECS", "that of `global_defs`", "integer >=0", "see vrrp_garp_master_delay"),
        keyword("garp_master_refresh", Args::Seconds { min: 0, max: 4_294_000_000, whole: true }, "SECS", "that of `global_defs`", "integer >=0", "see global"),
        keyword("garp_master_repeat", Args::Int { min: 0, max: 2_147_483_647 }, "N", "that of `global_defs`", ">=0 (0 becomes 1)", "see global"),
        keyword("garp_master_refresh_repeat", Args::Int { min: 0, max: 2_147_483_647 }, "N", "that of `global_defs`", ">=0 (0 becomes 1)", "see global"),
        keyword("garp_lower_prio_delay", Args::Seconds { min: 0, max: 4_294_000_000, whole: true }, "SECS", "that of `global_defs`", "integer >=0", "see global"),
        keyword("garp_lower_prio_repeat", Args::Int { min: 0, max: 2_147_483_647 }, "N", "that of `global_defs`", ">=0", "see global"),
        keyword("down_timer_adverts", Args::Int { min: 1, max: 100 }, "N", "that of `global_defs`", "1..100", "see global"),
        keyword("timer_expired_backup", Args::OptionalInt { min: 1, max: 254, bare: 254 }, "[N]", "off (bare 254)", "1..254", "after a late timer as master send adverts at this priority/return to backup").not_built_warn("a late timer is logged"),
        keyword("thread_timer_expired", Args::OptionalInt { min: 1, max: 254, bare: 254 }, "[N]", "", "", "synonym").not_built_warn("a late timer is logged").alias_of("timer_expired_backup"),
        keyword("garp_extra_if", Args::Words { min: 1, max: 2 }, "[all] SECS", "that of `global_defs`", "integer 0..86400", "see vrrp_garp_extra_if").not_built_warn("there are no VMAC interfaces yet"),
        keyword("vmac_garp_intvl", Args::Words { min: 1, max: 2 }, "[all] SECS", "", "", "old name").not_built_warn("there are no VMAC interfaces yet").alias_of("garp_extra_if"),
        keyword("lower_prio_no_advert", Args::Bool, "[BOOL]", "that of `global_defs`", "", "see global"),
        keyword("higher_prio_send_advert", Args::Bool, "[BOOL]", "that of `global_defs`", "", "see global"),
        keyword("owner_ignore_adverts", Args::Bool, "[BOOL]", "that of `global_defs`", "", "owner drops received adverts"),
        keyword("kernel_rx_buf_size", Args::Int { min: 0, max: 4_294_967_295 }, "BYTES", "policy", "0..UINT_MAX", "socket receive buffer for this socket"),
        keyword("authentication", Args::Block(&AUTHENTICATION), "{ auth_type ... auth_pass ... }", "none", "", "VRRPv2 authentication block"),
        keyword("auth_hmac", Args::Block(&AUTH_HMAC), "{ key ... }", "none", "", "HMAC-SHA256 trailer authentication").not_built_fatal("adverts would go out unsigned, and unsigned ones would be believed").repeatable(),
    ],
};

/// `authentication`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static AUTHENTICATION: Block = Block {
    name: "authentication",
    named: false,
    more: 0,
    index: Index::new(),
    keywords: &[
        keyword("auth_type", Args::Choice(&["PASS", "AH"]), "PASS | AH", "none", "exact case", "authentication scheme"),
        keyword("auth_pass", Args::Word, "STRING", "none", "first 8 bytes used", "password"),
    ],
};

/// `auth_hmac`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static AUTH_HMAC: Block = Block {
    name: "auth_hmac",
    named: false,
    more: 0,
    index: Index::new(),
    keywords: &[
        keyword("key", Args::Words { min: 2, max: 2 }, "ID VALUE", "", "ID 1..255, VALUE 32..64 bytes given as text | hex:HEX | file:PATH", "add a key (repeatable, ids unique)").repeatable(),
        keyword("active_key", Args::Int { min: 1, max: 255 }, "ID", "", "1..255, must be a defined key", "key used to sign (extension is disabled when missing)"),
        keyword("time_window", Args::Seconds { min: 1_000_000, max: 300_000_000, whole: true }, "SECS", "max(3*advert_int, 5)", "1..300", "accepted clock difference"),
        keyword("anti_replay", Args::Choice(&["time", "monotonic"]), "time | monotonic", "time", "", "freshness check kind"),
        keyword("mode", Args::Choice(&["enforce", "permissive", "receive-only"]), "enforce | permissive | receive-only", "enforce", "", "migration behaviour"),
    ],
};

/// `vrrp_sync_group`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static VRRP_SYNC_GROUP: Block = Block {
    name: "vrrp_sync_group",
    named: true,
    more: 0,
    index: Index::new(),
    keywords: &[
        keyword("group", Args::Lines, "{ VRRP_NAME ... }", "", ">=1 member", "member instances, 1 member only is warned").repeatable(),
        keyword("track_interface", Args::Lines, "{ IF [weight N [reverse|noreverse]] ... }", "", "N -253..253", "tracked for every member").repeatable(),
        keyword("track_script", Args::Lines, "{ NAME [weight N [reverse|noreverse]] ... }", "", "N -253..253", "tracked for every member").repeatable(),
        keyword("track_file", Args::Lines, "{ NAME [weight N [reverse|noreverse]] ... }", "", "N -254..254", "tracked for every member").repeatable(),
        keyword("track_process", Args::Lines, "{ NAME [weight N [reverse|noreverse]] ... }", "", "N -254..254", "tracked for every member").repeatable(),
        keyword("track_virtual_server", Args::Lines, "{ IP PORT [PROTO] | group NAME | fwmark N [weight N] ... }", "", "-253..253", "virtual servers that must be able to serve").repeatable().ours(),
        keyword("track_bfd", Args::Lines, "{ NAME [weight N [reverse|noreverse]] ... }", "", "N -253..253", "tracked for every member").not_built_fatal("an instance would not fail over when such a session goes down").repeatable(),
        keyword("notify_backup", Args::Script, "SCRIPT [USER [GROUP]]", "none", "", "on group BACKUP").first_wins(),
        keyword("notify_master", Args::Script, "SCRIPT [USER [GROUP]]", "none", "", "on group MASTER").first_wins(),
        keyword("notify_fault", Args::Script, "SCRIPT [USER [GROUP]]", "none", "", "on group FAULT").first_wins(),
        keyword("notify_stop", Args::Script, "SCRIPT [USER [GROUP]]", "none", "", "on shutdown").first_wins(),
        keyword("notify", Args::Script, "SCRIPT [USER [GROUP]]", "none", "", "on any state, with 4 appended args").first_wins(),
        keyword("smtp_alert", Args::Bool, "[BOOL]", "smtp_alert_vrrp/smtp_alert", "", "mail on group state change"),
        keyword("global_tracking", Args::Flag, "none", "", "", "no effect now").no_effect(),
        keyword("sync_group_tracking_weight", Args::Flag, "none", "off", "", "allow non-zero weights on members (all must share priority behaviour)"),
        keyword("notify_webhook", Args::Block(&NOTIFY_WEBHOOK), "[NAME] { … }", "none", "", "sends the group's events to a web service").repeatable().ours(),
        keyword("cloud_address", Args::Block(&CLOUD_ADDRESS), "NAME { … }", "none", "", "asks the cloud's API to send the addresses here, when MASTER and every minute from then on").repeatable().ours(),
        keyword("notify_priority_changes", Args::Bool, "[BOOL]", "that of `global_defs`", "", "FIFO priority events for members"),
    ],
};
