//! Files made from the schema: one keyword each, well or badly written, in a file that is otherwise good.

use std::path::PathBuf;

use holdfast::conf::schema::{Args, BLOCKS, Keyword};

/// One file.
pub struct Case {
    /// What it is about.
    pub name: String,
    /// Where it is; files made here have none yet.
    pub path: Option<PathBuf>,
    /// What is in it.
    pub text: String,
}

impl Case {
    /// A file of a folder.
    pub fn of_file(path: PathBuf) -> Self {
        let bytes = std::fs::read(&path).unwrap_or_default();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self { name, text: String::from_utf8_lossy(&bytes).into_owned(), path: Some(path) }
    }
}

/// A good file, block by block. A keyword under test takes the place of the line that has it.
const BASE: [(&str, &str, &[&str]); 9] = [
    ("global_defs", "global_defs", &["router_id node", "script_user root", "enable_script_security"]),
    ("vrrp_script", "vrrp_script s1", &["script \"/usr/bin/test -e /\""]),
    ("vrrp_script", "vrrp_script s2", &["script \"/usr/bin/test -e /\""]),
    ("vrrp_track_process", "vrrp_track_process p1", &["process init"]),
    ("", "track_file f1", &["file /tmp/number"]),
    (
        "vrrp_instance",
        "vrrp_instance VI_1",
        &["interface eth0", "virtual_router_id 51", "priority 100", "virtual_ipaddress {\n  192.168.200.1/24\n }"],
    ),
    (
        "",
        "vrrp_instance VI_2",
        &["interface eth1", "virtual_router_id 52", "priority 100", "virtual_ipaddress {\n  192.168.201.1/24\n }"],
    ),
    ("vrrp_sync_group", "vrrp_sync_group G1", &["group {\n  VI_1\n  VI_2\n }"]),
    (
        "virtual_server",
        "virtual_server 192.168.200.100 80",
        &[
            "lb_algo rr",
            "lb_kind NAT",
            "protocol TCP",
            "real_server 192.168.205.2 80 {\n  weight 1\n  TCP_CHECK {\n   connect_timeout 3\n  }\n }",
        ],
    ),
];

/// Every keyword in every way.
pub fn generate() -> Vec<Case> {
    let mut cases = vec![case("nothing wrong", "", &[])];
    for block in BLOCKS {
        for keyword in block.keywords {
            // Blocks of keywords come with their keywords.
            if matches!(keyword.args, Args::Block(_) | Args::NamedLines)
                || keyword.block().is_some() && block.name == "(root)"
            {
                continue;
            }
            for (how, lines) in ways(block.name, keyword) {
                let name = format!("{}/{} {how}", block.name, keyword.name);
                let (place, lines) = enclose(block.name, lines);
                cases.push(case(&name, place, &lines));
            }
        }
    }
    cases
}

/// Blocks within an instance, and blocks at the root that the good file lacks.
fn enclose(block: &'static str, line: String) -> (&'static str, Vec<String>) {
    match block {
        "authentication" => {
            let rest = ["auth_type PASS", "auth_pass secret"];
            let keyword = line.split_whitespace().next().unwrap_or_default().to_owned();
            let rest: Vec<&str> = rest.into_iter().filter(|rest| !rest.starts_with(&keyword)).collect();
            ("vrrp_instance", vec![format!("authentication {{\n  {}\n  {line}\n }}", rest.join("\n  "))])
        }
        "auth_hmac" => ("vrrp_instance", vec![format!("version 3\n auth_hmac {{\n  {line}\n }}")]),
        "garp_group" => ("(root)", vec![format!("garp_group {{\n {line}\n interfaces {{\n  eth2\n }}\n}}")]),
        "bfd_instance" => {
            let neighbour = if line.starts_with("neighb") { "" } else { " neighbor_ip 192.168.200.9\n" };
            ("(root)", vec![format!("bfd_instance B1 {{\n{neighbour} {line}\n}}")])
        }
        "track_group" => ("(root)", vec![format!("track_group T1 {{\n {line}\n}}")]),
        "SSL" => ("(root)", vec![format!("SSL {{\n {line}\n}}")]),
        "track_file" | "vrrp_track_file" => {
            let file = if line.starts_with("file") { "" } else { " file /tmp/x\n" };
            ("(root)", vec![format!("{block} f2 {{\n{file} {line}\n}}")])
        }
        "real_server" => ("virtual_server", vec![real_server(&line)]),
        "url" => ("virtual_server", vec![real_server(&format!("HTTP_GET {{\n url {{\n path /\n{line}\n }}\n }}"))]),
        "host" => ("virtual_server", vec![real_server(&format!("SMTP_CHECK {{\n host {{\n{line}\n }}\n }}"))]),
        "UDP_CHECK" => {
            ("virtual_server", vec!["protocol UDP".to_owned(), real_server(&format!("UDP_CHECK {{\n{line}\n }}"))])
        }
        "HTTP_GET" | "SSL_GET" => {
            let page = "url {\n path /\n status_code 200\n }";
            ("virtual_server", vec![real_server(&format!("{block} {{\n{page}\n{line}\n }}"))])
        }
        "MISC_CHECK" | "FILE_CHECK" | "BFD_CHECK" => {
            let needed = [
                ("MISC_CHECK", "misc_path", "/usr/bin/true"),
                ("FILE_CHECK", "track_file", "f1"),
                ("BFD_CHECK", "name", "B1"),
            ];
            let has = |keyword: &str| line.split_whitespace().next() == Some(keyword);
            let more = needed.iter().find(|(of, keyword, _)| *of == block && !has(keyword));
            let more = more.map(|(_, keyword, value)| format!("{keyword} {value}\n")).unwrap_or_default();
            ("virtual_server", vec![real_server(&format!("{block} {{\n{more}{line}\n }}"))])
        }
        "TCP_CHECK" | "PING_CHECK" | "SMTP_CHECK" | "DNS_CHECK" => {
            ("virtual_server", vec![real_server(&format!("{block} {{\n{line}\n }}"))])
        }
        block => (block, vec![line]),
    }
}

fn real_server(lines: &str) -> String {
    let weight = if lines.starts_with("weight") { "" } else { "weight 1\n" };
    format!("real_server 192.168.205.2 80 {{\n  {weight}{lines}\n }}")
}

fn case(name: &str, block: &str, lines: &[String]) -> Case {
    let mut text = String::new();
    if block == "(root)" {
        lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
    }
    let mut first = true;
    for (of, header, body) in BASE {
        let here = of == block && std::mem::take(&mut first);
        let first_word = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
        let replaced = |line: &&&str| here && lines.iter().any(|new| first_word(new) == first_word(line));
        text.push_str(&format!("{header} {{\n"));
        body.iter().filter(|line| !replaced(line)).for_each(|line| text.push_str(&format!(" {line}\n")));
        if here {
            lines.iter().for_each(|line| text.push_str(&format!(" {line}\n")));
        } else if of == block {
            first = false;
        }
        text.push_str("}\n");
    }
    Case { name: name.to_owned(), path: None, text }
}

/// The ways to write a keyword, each with a word for it.
fn ways(of: &str, keyword: &Keyword) -> Vec<(String, String)> {
    let name = keyword.name;
    let line = |how: &str, value: &str| (how.to_owned(), format!("{name} {value}").trim_end().to_owned());
    let seconds = |micros: i128| format!("{}", micros as f64 / 1e6);
    match keyword.args {
        Args::Flag => vec![line("good", ""), line("surplus", "surplus")],
        Args::Bool => vec![
            line("bare", ""),
            line("good", "on"),
            line("off", "no"),
            line("bad", "perhaps"),
            line("surplus", "on surplus"),
        ],
        Args::Int { min, max } => vec![
            line("least", &min.to_string()),
            line("most", &max.to_string()),
            line("low", &(min - 1).to_string()),
            line("high", &(i128::from(max) + 1).to_string()),
            line("bad", "x"),
            line("junk", &format!("{min}x")),
            line("missing", ""),
            line("surplus", &format!("{min} surplus")),
        ],
        Args::Seconds { min, max, .. } => vec![
            line("least", &seconds(i128::from(min))),
            line("most", &seconds(i128::from(max))),
            line("low", &seconds(i128::from(min) - 1_000_000)),
            line("high", &seconds(i128::from(max) + 1_000_000)),
            line("part", "2.5"),
            line("bad", "x"),
            line("missing", ""),
            line("surplus", "2 surplus"),
        ],
        Args::Choice(choices) => {
            let mut ways: Vec<_> = choices.iter().map(|choice| line(choice, choice)).collect();
            ways.extend([line("bad", "other"), line("case", &swap_case(choices[0])), line("missing", "")]);
            ways.push(line("surplus", &format!("{} surplus", choices[0])));
            ways
        }
        Args::OptionalInt { min, max, .. } => vec![
            line("bare", ""),
            line("least", &min.to_string()),
            line("most", &max.to_string()),
            line("low", &(min - 1).to_string()),
            line("high", &(i128::from(max) + 1).to_string()),
            line("bad", "x"),
            line("surplus", &format!("{min} surplus")),
        ],
        Args::Weight { limit } => vec![
            line("good", "10"),
            line("reverse", "-10 reverse"),
            line("high", &(limit + 2).to_string()),
            line("bad", "x"),
            line("missing", ""),
            line("surplus", "10 surplus"),
        ],
        Args::Word | Args::Words { .. } | Args::Any | Args::Address | Args::Escaped => {
            let good = word(of, name);
            let mut ways = vec![line("good", &good), line("missing", ""), line("bad", "b/a.d")];
            ways.push(line("surplus", &format!("{good} surplus")));
            if name == "auth_pass" {
                ways.push(line("long", "morethan8"));
            }
            if good.contains("192.168.") {
                ways.push(line("prefix", &format!("{good}/24")));
            }
            ways
        }
        Args::Script | Args::OptionalScript => vec![
            line("good", "/usr/bin/true"),
            line("quoted", "\"/usr/bin/test -e /\" root"),
            line("missing", ""),
            line("absent", "/no/such/script"),
            line("user", "/usr/bin/true nosuchuser"),
        ],
        Args::Lines => {
            let block = |how: String, entry: &str| (how, format!("{name} {{\n  {entry}\n }}"));
            let mut ways: Vec<_> = entries(name).iter().map(|entry| block(format!("{{ {entry} }}"), entry)).collect();
            ways.push((String::from("empty"), format!("{name} {{\n }}")));
            // Elsewhere keepalived reads the rest of the file as its content.
            if of == "vrrp_instance" {
                ways.push((String::from("no brace"), name.to_owned()));
            }
            ways
        }
        _ => Vec::new(),
    }
}

fn swap_case(text: &str) -> String {
    if text.chars().any(char::is_lowercase) { text.to_uppercase() } else { text.to_lowercase() }
}

/// A word that such a keyword takes.
fn word(block: &str, keyword: &str) -> String {
    match (block, keyword) {
        (_, "interface" | "default_interface" | "lvs_sync_daemon_interface") => "eth0",
        (_, "mcast_src_ip" | "unicast_src_ip") => "192.168.200.250",
        (_, "mcast_dst_ip" | "vrrp_mcast_group4") => "224.0.0.18",
        (_, "vrrp_mcast_group6") => "ff02::12",
        (_, "script_user") => "root",
        (_, "umask") => "022",
        (_, "process") => "init",
        (_, "file") => "/tmp/number",
        (_, "init_file") => "1",
        (_, "auth_pass") => "secret",
        ("virtual_server", "lb_algo" | "lvs_sched") => "wlc",
        ("virtual_server", "lb_kind" | "lvs_method") | ("real_server", "lvs_method") => "DR",
        ("virtual_server", "sorry_server") => "192.168.205.9 80",
        ("virtual_server", "persistence_granularity") => "255.255.255.0",
        (_, "bindto" | "connect_ip") => "192.168.200.250",
        (_, "bind_if") => "eth0",
        (_, "path") => "/index.html",
        ("url", "digest") => "0123456789abcdef0123456789abcdef",
        ("url", "status_code") => "200",
        (_, "neighbor_ip" | "neighbour_ip" | "source_ip") => "192.168.200.9",
        ("bfd_instance", "idle_tx") => "1000",
        (_, "reload_time_file" | "reload_file" | "config_save_dir" | "reload_check_config") => "/tmp/hf-diff",
        (_, name) if name.ends_with("_file") || name.ends_with("_dir") || name.contains("fifo") => "/tmp/hf-diff",
        (_, name) if name.contains("_name") || name.contains("prefix") || name == "instance" => "word",
        _ => "5",
    }
    .to_owned()
}

/// Entries of a block of lines, good and bad.
fn entries(keyword: &str) -> &'static [&'static str] {
    match keyword {
        "virtual_ipaddress" | "virtual_ipaddress_excluded" | "static_ipaddress" => &[
            "192.168.200.7",
            "192.168.200.7/24 dev eth1",
            "192.168.200.7/33",
            "192.168.200.7 dev",
            "192.168.200.7 dev nosuch",
            "192.168.200.7/24 brd + scope site label eth0:1",
            "192.168.200.7 scope nowhere2",
            "192.168.200.7 label averyveryverylonglabel",
            "192.168.200.7 192.168.200.8",
            "bogus",
            "192.168.200.7/24 home",
            "192.168.200.7 bogus 1",
            "192.168.200.300",
            "192.168.200.7\n  192.168.200.7",
            "192.168.200.7\n  2001:db8::1",
            "2001:db8::7/64 preferred_lft 0",
        ],
        "track_interface" => &[
            "eth2",
            "eth2 weight 10",
            "eth2 weight -10 reverse",
            "eth2 weight 300",
            "eth2 weight x",
            "eth2 weight",
            "nosuch",
            "eth2 bogus",
            "eth2\n  eth2",
            "eth0",
        ],
        "track_script" => &[
            "s1",
            "s1 weight 10",
            "s1 weight -10 reverse",
            "s1 weight 254",
            "s1 weight 300",
            "s1 weight x",
            "s1 weight",
            "nosuch",
            "s1 bogus",
            "s1\n  s1",
            "s1 s2",
        ],
        "track_process" => &["p1", "p1 weight 10", "p1 weight 254", "p1 weight 300", "nosuch", "p1\n  p1"],
        "track_file" => &["f1", "f1 weight 10", "f1 weight 254", "f1 weight 300", "nosuch", "f1\n  f1"],
        "unicast_peer" => &[
            "192.168.200.9",
            "bogus",
            "192.168.200.9/24",
            "192.168.200.9\n  192.168.200.9",
            "2001:db8::9",
            "192.168.200.9 bogus",
        ],
        "group" => &["VI_1\n  VI_2", "VI_1", "nosuch", "VI_1 VI_2"],
        "interfaces" => &["eth3", "nosuch"],
        "notification_email" => &["root@localhost", "root@localhost other@localhost"],
        _ => &["bogus", "bogus 1"],
    }
}

/// So many of them, chosen by the seed; the order stays.
pub fn sample(mut cases: Vec<Case>, count: usize, seed: u64) -> Vec<Case> {
    let mut state = seed;
    let mut random = move || {
        // splitmix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    while cases.len() > count {
        let at = usize::try_from(random() % cases.len() as u64).unwrap_or(0);
        cases.remove(at);
    }
    cases
}
