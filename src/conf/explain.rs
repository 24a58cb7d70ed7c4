//! What a keyword means, for people: `holdfast check --explain`, and the reference page `docs/keywords.md`.
//!
//! Pure. All of it comes from the schema that the parser obeys, but for two things that the parser does not need and that
//! stand here: where a keyword is described, and what a reload does with it.

use std::fmt::Write;

use super::lint;
use super::schema::words::{LINE_KINDS, LineKind, LineWord, line_words};
use super::schema::{self, Args, BLOCKS, Block, Keyword, ROOT, Repeat, Support};

/// The explanation of everything that a question names: a keyword in any block, `BLOCK/KEYWORD`, a block, a word of a line,
/// or a finding of the linter.
///
/// # Errors
/// Nothing has that name; the text says so, with the nearest names.
pub fn explain(question: &str) -> Result<String, String> {
    let question = question.trim();
    let (within, name) = match question.rsplit_once('/') {
        Some((block, name)) => (Some(block.rsplit('/').next().unwrap_or(block)), name),
        None => (None, question),
    };
    let blocks = || BLOCKS.iter().filter(move |block| within.is_none_or(|within| block_name(block) == within));
    let mut parts: Vec<String> = blocks().filter_map(|block| Some(keyword_text(block, block.find(name)?))).collect();
    let of_a_line = line_words().filter(|(kind, word)| {
        within.is_none_or(|within| within == kind.name) && word.spellings().any(|spelling| spelling == name)
    });
    parts.extend(of_a_line.map(|(kind, word)| line_word_text(kind, word)));
    if within.is_none() {
        parts.extend(lint::find(name).map(lint_text));
    }
    if !parts.is_empty() {
        return Ok(parts.join("\n"));
    }
    let is_line = |within: &str| LINE_KINDS.iter().any(|kind| kind.name == within);
    if let Some(within) = within.filter(|within| blocks().next().is_none() && !is_line(within)) {
        let near = schema::nearest(within, BLOCKS.iter().map(|block| block.name));
        return Err(format!("there is no block `{within}`{}\n", did_you_mean(near)));
    }
    if let Some(advice) = schema::advice(name) {
        return Err(format!("{advice}\n"));
    }
    let names = blocks().flat_map(|block| block.keywords).map(|keyword| keyword.name);
    let words = || line_words().flat_map(|(_, word)| word.spellings());
    let near = schema::nearest(name, names)
        .or_else(|| schema::nearest(name, words()))
        .or_else(|| schema::nearest(name, lint::LINTS.iter().map(|l| l.code)));
    Err(format!("there is no keyword `{question}`{}\n", did_you_mean(near)))
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

/// As a question names it: the file itself is `root`.
fn block_name(block: &Block) -> &'static str {
    if block.name == ROOT.name { "root" } else { block.name }
}

fn keyword_text(block: &Block, keyword: &Keyword) -> String {
    let mut text = format!("{}/{}: {}\n", block_name(block), keyword.name, keyword.meaning);
    let mut line = |title: &str, what: &str| {
        if !what.is_empty() {
            let _ = writeln!(text, "  {title:<10} {what}");
        }
    };
    line("arguments", keyword.grammar);
    line("range", &range(keyword));
    line("default", keyword.default);
    line("again", repeat(keyword));
    line("reload", on_reload(block, keyword));
    line("described", &described(block, keyword));
    line("here", &support(keyword));
    if let Some(alias) = keyword.alias {
        line("today", &format!("the keyword is `{alias}`"));
    }
    if let Args::Block(inner) = keyword.args {
        let names: Vec<&str> = inner.keywords.iter().map(|keyword| keyword.name).collect();
        line("holds", &names.join(", "));
    }
    text
}

fn line_word_text(kind: &LineKind, word: &LineWord) -> String {
    let mut text = format!("{}/{}: {}\n", kind.name, word.names.replace('|', ", "), word.meaning);
    for (title, what) in [("arguments", word.grammar), ("default", word.default), ("stands in", kind.place)] {
        if !what.is_empty() {
            let _ = writeln!(text, "  {title:<10} {what}");
        }
    }
    text
}

fn lint_text(lint: &lint::Lint) -> String {
    format!("{}: {}\n  why        {}\n  fix        {}\n", lint.code, lint.title, lint.why, lint.fix)
}

/// Legal values: the schema's words, or what the parser enforces.
fn range(keyword: &Keyword) -> String {
    if !keyword.range.is_empty() {
        return keyword.range.to_owned();
    }
    match keyword.args {
        Args::Bool => "on, true, yes, off, false, no".to_owned(),
        Args::Int { min, max } => format!("{min}..{max}"),
        Args::Choice(choices) => choices.join(", "),
        Args::Weight { limit } => format!("-{limit}..{limit}"),
        _ => String::new(),
    }
}

fn repeat(keyword: &Keyword) -> &'static str {
    match keyword.repeat {
        Repeat::Replaces => "the later line counts",
        Repeat::Ignored => "the first line counts",
        Repeat::Adds => "each line adds to the ones before",
    }
}

fn support(keyword: &Keyword) -> String {
    match keyword.support {
        Support::Built => String::new(),
        Support::NoEffect => "has no effect, in keepalived neither".to_owned(),
        Support::Warning(why) | Support::Error(why) => format!("not built yet: {why}"),
        Support::Fatal(why) => format!("not built yet, no start with it: {why}"),
    }
}

/// Where a keyword is described: the RFC's section when it is the RFC's, and the part of the manual.
fn described(block: &Block, keyword: &Keyword) -> String {
    let is_ours = keyword.ours || OWN_BLOCKS.contains(&block.name);
    let manual = if is_ours {
        format!("{}; keepalived has no such keyword", own_page(block, keyword.name))
    } else {
        format!("keepalived.conf(5), {}", manual_part(block, keyword))
    };
    match rfc(block, keyword.name) {
        Some(rfc) => format!("{rfc}; {manual}"),
        None => manual,
    }
}

/// Blocks that keepalived does not have, with all that is in them.
const OWN_BLOCKS: [&str; 3] = ["notify_webhook", "cloud_address", "token"];

/// The page that has more about a keyword of our own.
fn own_page(block: &Block, keyword: &str) -> &'static str {
    if OWN_BLOCKS.contains(&block.name) || OWN_BLOCKS.contains(&keyword) || keyword.starts_with("smtp_") {
        return "docs/notify.md";
    }
    match keyword {
        "masquerade" => "docs/ipvs.md",
        "virtual_server_forwarder" | "forwarder_threads" => "docs/forwarder.md",
        _ if keyword.starts_with("proxy_") => "docs/forwarder.md",
        _ => "README.md",
    }
}

fn manual_part(block: &Block, keyword: &Keyword) -> &'static str {
    let name = if block.name == ROOT.name { keyword.name } else { block.name };
    match name {
        "global_defs"
        | "linkbeat_use_polling"
        | "net_namespace"
        | "net_namespace_ipvs"
        | "namespace_with_ipsets"
        | "use_pid_dir"
        | "instance"
        | "child_wait_time" => "Global definitions",
        "static_ipaddress" | "static_routes" | "static_rules" => "Static routes/addresses/rules",
        "track_group" => "Static track groups",
        "track_file" | "vrrp_track_file" => "Track files",
        "vrrp_script" | "vrrp_track_process" => "Vrrp script and track processes",
        "vrrp_sync_group" => "VRRP synchronization group(s)",
        "vrrp_instance" | "authentication" | "auth_hmac" => "VRRP instance(s)",
        "garp_group" => "Gratuitous ARP and Unsolicited Neighbour Advertisement delaying",
        "linkbeat_interfaces" => "Linkbeat interfaces",
        "interface_up_down_delays" => "Interface up/down transition delays",
        "bfd_instance" => "BFD CONFIGURATION",
        "SSL" => "SSL config",
        "virtual_server_group" => "Virtual server group(s)",
        _ => "Virtual server(s)",
    }
}

fn rfc(block: &Block, keyword: &str) -> Option<&'static str> {
    if block.name == "authentication" {
        return Some("RFC 2338 §5.3.6");
    }
    if !matches!(block.name, "vrrp_instance" | "global_defs") {
        return None;
    }
    Some(match keyword {
        "version" | "vrrp_version" => "RFC 9568 §5.2.1",
        "virtual_router_id" => "RFC 9568 §5.2.3",
        "priority" => "RFC 9568 §5.2.4",
        "advert_int" => "RFC 9568 §5.2.7",
        "v3_checksum_as_v2" => "RFC 9568 §5.2.8",
        "virtual_ipaddress" => "RFC 9568 §5.2.9",
        "preempt" | "nopreempt" => "RFC 9568 §6.1, Preempt_Mode",
        "accept" | "no_accept" => "RFC 9568 §6.1, Accept_Mode",
        "down_timer_adverts" | "vrrp_down_timer_adverts" => "RFC 9568 §6.1, Active_Down_Interval",
        "state" => "RFC 9568 §6.4.1",
        "skip_check_adv_addr" | "vrrp_skip_check_adv_addr" => "RFC 9568 §7.1",
        "use_vmac" | "use_vmac_addr" => "RFC 9568 §7.3",
        "mcast_dst_ip" | "vrrp_mcast_group4" => "RFC 9568 §5.1.1.2",
        "vrrp_mcast_group6" => "RFC 9568 §5.1.2.2",
        "unicast_ttl" => "RFC 9568 §5.1.1.3",
        "authentication" => "RFC 2338 §5.3.6",
        "garp_master_repeat" | "vrrp_garp_master_repeat" => "RFC 9568 §6.4.2",
        _ => return None,
    })
}

/// What a reload does with a keyword whose value changed.
pub fn on_reload(block: &Block, keyword: &Keyword) -> &'static str {
    const PLACE: &str = "changed in place: state and deadlines stay";
    const ANEW: &str = "another virtual router: the old one resigns, the new one begins";
    const NEXT_START: &str = "holds until the next start";
    match (block.name, keyword.alias.unwrap_or(keyword.name)) {
        _ if keyword.support == Support::NoEffect => "nothing",
        ("(root)", "net_namespace" | "net_namespace_ipvs" | "namespace_with_ipsets" | "instance" | "use_pid_dir") => {
            NEXT_START
        }
        ("(root)", "child_wait_time") => "counts from then on",
        ("(root)", "vrrp_instance") => "a new one begins, a removed one resigns, a changed one goes on in its state",
        ("(root)", "vrrp_sync_group") => "members keep their states; the group settles on one",
        ("(root)", "vrrp_script" | "vrrp_track_process" | "track_file" | "vrrp_track_file") => {
            "a changed one starts again; its last result counts until the next"
        }
        ("(root)", "static_ipaddress" | "static_routes" | "static_rules") => "new ones are added, removed ones removed",
        ("(root)", "virtual_server" | "virtual_server_group") => {
            "new ones are added, removed ones removed, changed ones edited; health stays"
        }
        ("(root)", _) => "counts from then on",
        ("global_defs", "umask" | "tmp_config_directory" | "disable_local_igmp" | "nftables") => NEXT_START,
        ("global_defs", "control_directory" | "control_group" | "state_directory") => NEXT_START,
        ("global_defs", "process_names" | "process_name" | "vrrp_process_name" | "checker_process_name") => NEXT_START,
        ("global_defs", "startup_script" | "startup_script_timeout") => "not run again",
        ("global_defs", "vrrp_startup_delay" | "vrrp_delay_after_boot") => "counts at the next start",
        ("global_defs", "vrrp_version") => ANEW,
        ("global_defs", "script_user" | "enable_script_security") => "scripts start again under the new rule",
        ("global_defs", name) if name.starts_with("vrrp_") => "counts from then on; states and deadlines stay",
        ("global_defs", _) => "counts from then on",
        ("vrrp_instance", "virtual_router_id" | "interface" | "version" | "native_ipv6") => ANEW,
        ("vrrp_instance", "use_vmac" | "use_vmac_addr" | "use_ipvlan" | "vrf") => ANEW,
        ("vrrp_instance", "state") => "nothing: elections decide",
        ("vrrp_instance", "priority") => "a master says so at once, a backup's deadline follows",
        ("vrrp_instance", "advert_int") => "the next advert comes no later than one new interval from then",
        ("vrrp_instance", "virtual_ipaddress" | "virtual_ipaddress_excluded" | "virtual_routes" | "virtual_rules") => {
            "new ones are put on and announced, removed ones taken off; the state stays"
        }
        ("vrrp_instance", name) if name.starts_with("track_") => "evaluated anew; results stay",
        ("notify_webhook" | "cloud_address" | "token", _) => "what waits is sent by the new rule",
        (_, "notify_webhook" | "cloud_address") => "what waits for one that stays is sent; one that is gone gets 30 s",
        ("vrrp_instance" | "vrrp_sync_group", name) if name.starts_with("notify") => "the next event uses it",
        ("vrrp_instance" | "authentication" | "auth_hmac", _) => PLACE,
        ("vrrp_sync_group", _) => "members keep their states; the group settles on one",
        ("vrrp_script" | "vrrp_track_process" | "track_file" | "vrrp_track_file", _) => {
            "it starts again; its last result counts until the next"
        }
        ("bfd_instance", _) => "the session is edited, or starts again when its addresses change",
        _ => "edited in place; health stays",
    }
}

/// The page `docs/keywords.md`.
pub fn reference_page() -> String {
    let mut page = String::from(
        "# Keywords\n\n\
         Every keyword of `keepalived.conf`, block by block. This page is made from the table that the parser obeys; \
         `HOLDFAST_BLESS=1 cargo test --test docs` writes it again. `holdfast check --explain BLOCK/KEYWORD` tells the \
         same at the terminal, with the place where it is described.\n",
    );
    for block in BLOCKS {
        let title =
            if block.name == ROOT.name { "At the top of the file".to_owned() } else { format!("`{}`", block.name) };
        let _ = write!(
            page,
            "\n## {title}\n\n| keyword | arguments | default | range | meaning | at a reload |\n|---|---|---|---|---|---|\n"
        );
        for keyword in block.keywords {
            let mut meaning = keyword.meaning.to_owned();
            if let Some(alias) = keyword.alias {
                let _ = write!(meaning, " (old spelling of `{alias}`)");
            }
            let support = support(keyword);
            if !support.is_empty() {
                let _ = write!(meaning, " **{support}**");
            }
            let cells = [
                format!("`{}`", keyword.name),
                code(keyword.grammar),
                keyword.default.to_owned(),
                range(keyword),
                meaning,
                on_reload(block, keyword).to_owned(),
            ];
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            let _ = writeln!(page, "| {} |", cells.join(" | "));
        }
    }
    page.push_str("\n## Words inside lines\n");
    for kind in LINE_KINDS {
        let _ = write!(
            page,
            "\n### `{}`\n\n{}\n\n| word | arguments | default | meaning |\n|---|---|---|---|\n",
            kind.name, kind.place
        );
        for word in kind.words {
            let names: Vec<String> = word.spellings().map(code).collect();
            let cells = [names.join(", "), code(word.grammar), word.default.to_owned(), word.meaning.to_owned()];
            let cells = cells.map(|cell| cell.replace('|', "\\|"));
            let _ = writeln!(page, "| {} |", cells.join(" | "));
        }
    }
    page.push_str("\n## Findings of the linter\n\n| code | what | why | fix |\n|---|---|---|---|\n");
    for lint in lint::LINTS {
        let cells = [lint.title, lint.why, lint.fix].map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(page, "| `{}` | {} |", lint.code, cells.join(" | "));
    }
    page
}

fn code(text: &str) -> String {
    if text.is_empty() || text == "none" { text.to_owned() } else { format!("`{text}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyword_is_explained_in_every_block_that_has_it() {
        let text = explain("priority").unwrap();
        for part in
            ["vrrp_instance/priority: base priority", "1..255", "default    100", "RFC 9568 §5.2.4", "a master says"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(explain("weight").unwrap().matches("  arguments").count() > 2, "one for each block");
        let one = explain("vrrp_script/weight").unwrap();
        assert_eq!(one.matches("  arguments").count(), 1, "{one}");
        assert!(explain("root/vrrp_instance").unwrap().contains("virtual_router_id"), "a block tells its keywords");
        assert!(explain("weight-too-small").unwrap().contains("fix "));
    }

    #[test]
    fn words_inside_lines_are_explained() {
        assert!(explain("label").unwrap().contains("at most 15 characters"));
        assert!(explain("peer/min_ttl").unwrap().starts_with("peer/min_ttl: "));
        for name in ["include", "includea", "~SEQ", "@", "@^", "$NAME=", "_ENV", "brd", "reverse", "csum", "sup_pl"] {
            assert!(explain(name).is_ok(), "{name}");
        }
        let weight = explain("weight").unwrap();
        assert!(weight.contains("tracker/weight") && weight.contains("real_server/weight"), "{weight}");
        assert!(explain("labell").unwrap_err().contains("did you mean `label`?"));
        let words = |kind: &str| -> Vec<&str> {
            let kind = LINE_KINDS.iter().find(|of| of.name == kind).unwrap();
            kind.words.iter().flat_map(LineWord::spellings).collect()
        };
        use crate::conf::{address, routes, rules};
        for (kind, expected) in
            [("address", &address::OPTIONS[..]), ("route", routes::OPTIONS), ("rule", rules::OPTIONS)]
        {
            for option in expected {
                assert!(words(kind).contains(option), "{kind}: {option} is not explained");
            }
        }
    }

    #[test]
    fn what_is_ours_is_not_looked_for_in_the_manual_of_keepalived() {
        for (name, page) in [
            ("masquerade", "docs/ipvs.md"),
            ("proxy_idle_timeout", "docs/forwarder.md"),
            ("notify_webhook/url", "docs/notify.md"),
            ("smtp_tls", "docs/notify.md"),
            ("status_page", "README.md"),
        ] {
            let text = explain(name).unwrap();
            assert!(text.contains(page) && !text.contains("keepalived.conf(5)"), "{text}");
        }
        assert!(explain("global_defs/smtp_server").unwrap().contains("keepalived.conf(5), Global definitions"));
    }

    #[test]
    fn a_misspelt_question_is_answered_with_the_nearest_name() {
        assert!(explain("virtual_ruter_id").unwrap_err().contains("did you mean `virtual_router_id`?"));
        assert!(explain("vrrp_instanse/priority").unwrap_err().contains("did you mean `vrrp_instance`?"));
        assert!(explain("lvs_id").unwrap_err().contains("router_id"));
        assert!(explain("").is_err());
    }

    #[test]
    fn every_name_that_is_singled_out_exists() {
        // A keyword that is renamed in the schema must not lose its note here.
        let find = |block: &str, name: &str| BLOCKS.iter().find(|b| b.name == block).and_then(|b| b.find(name));
        for name in ["virtual_router_id", "interface", "version", "native_ipv6", "state", "priority", "advert_int"] {
            let keyword = find("vrrp_instance", name).unwrap();
            assert_ne!(
                on_reload(&schema::VRRP_INSTANCE, keyword),
                "changed in place: state and deadlines stay",
                "{name}"
            );
        }
        for name in ["umask", "startup_script", "vrrp_startup_delay", "vrrp_version", "script_user"] {
            let keyword = find("global_defs", name).unwrap();
            assert_ne!(on_reload(&schema::GLOBAL_DEFS, keyword), "counts from then on", "{name}");
        }
        let with_rfc = schema::VRRP_INSTANCE.keywords.iter().filter(|k| rfc(&schema::VRRP_INSTANCE, k.name).is_some());
        assert!(with_rfc.count() >= 15);
    }
}
