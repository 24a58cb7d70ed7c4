//! No input may make the parser panic, hang or take more than linear time.

#![allow(clippy::disallowed_methods)] // A test measures its own time.

use std::path::Path;
use std::time::{Duration, Instant};

use holdfast::conf::{self, LoadOptions, Loaded};
use proptest::prelude::*;

fn load(text: &[u8]) -> Loaded {
    conf::load_text(Path::new("k.conf"), text, &LoadOptions::default())
}

/// What configurations are made of, and what breaks them.
fn token() -> impl Strategy<Value = String> {
    let words = [
        "vrrp_instance",
        "VI_1",
        "{",
        "}",
        "\n",
        "\n",
        "\"",
        "'",
        "$A=",
        "${A}",
        "$A",
        "~SEQ(x, 1, 3)",
        "~LST(x,a,b)",
        "@node",
        "@^node",
        "#",
        "!",
        "\\",
        "global_defs",
        "vrrp_script",
        "script",
        "\"/bin/x 'a\"",
        "interval",
        "weight",
        "-1",
        "0",
        "255",
        "priority",
        "interface",
        "eth0",
        "virtual_router_id",
        "51",
        "virtual_ipaddress",
        "10.0.0.1/24",
        "dev",
        "label",
        "2001:db8::1",
        "unicast_peer",
        "track_script",
        "track_interface",
        "vrrp_sync_group",
        "group",
        "virtual_server",
        "virtual_server 192.0.2.1 80 {",
        "virtual_server fwmark 7 {",
        "real_server 192.0.2.3 80 {",
        "TCP_CHECK {",
        "HTTP_GET {",
        "url {",
        "static_routes {",
        "nexthop",
        "lb_kind",
        "TUN",
        "status_code",
        "state",
        "MASTER",
        "authentication",
        "auth_type",
        "PASS",
        "auth_pass",
        "secret",
        "advert_int",
        "1.5",
        "notify",
        "é",
        "\u{a0}",
        "include",
        "static_ipaddress",
        "track_file",
        "file",
        "/x",
        "ü{",
        "\0",
    ];
    prop_oneof![9 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let loaded = load(&bytes);
        loaded.diagnostics.render(true);
    }

    #[test]
    fn arbitrary_words_are_read(words in proptest::collection::vec(token(), 0..120)) {
        let loaded = load(words.join(" ").as_bytes());
        prop_assert_eq!(loaded.config.is_none(), loaded.diagnostics.is_fatal());
        loaded.diagnostics.render(false);
    }

    /// The daemon reads the instances and virtual servers of a file one by one, a check reads the file as a whole: they see
    /// the same.
    #[test]
    fn blocks_mean_the_same_one_by_one(
        blocks in proptest::collection::vec(prop_oneof![2 => virtual_server(), 2 => instance(), 1 => others()], 0..8)
    ) {
        prop_assert_eq!(difference_of_the_whole(&blocks.concat()), None);
    }
}

/// What differs between the file as the daemon reads it and the file as a check reads it.
fn difference_of_the_whole(text: &str) -> Option<String> {
    let loaded = load(text.as_bytes());
    let checked = conf::check_text(Path::new("k.conf"), text.as_bytes(), &LoadOptions::default(), None).loaded;
    if loaded.config != checked.config {
        return Some(format!("{:#?}\n{:#?}", loaded.config, checked.config));
    }
    let said = |loaded: &Loaded| -> Vec<String> {
        loaded.diagnostics.iter().map(|d| format!("{}:{}: {}: {}", d.line, d.column, d.severity, d.message)).collect()
    };
    let (found, all) = (said(&loaded), said(&checked));
    // The linter has more to say.
    (!found.iter().all(|one| all.contains(one))).then(|| format!("{found:#?}\n{all:#?}"))
}

/// A block that ends early, where a `{` is missing, is not taken for the whole of it.
#[test]
fn a_missing_brace_means_the_same_one_by_one() {
    let real = |address: &str, brace: &str| format!(" real_server {address} 80 {brace}\n  weight 1\n }}\n");
    let server = |inside: &str| {
        format!("virtual_server 192.0.2.1 80 {{\n lb_algo rr\n lb_kind NAT\n protocol TCP\n{inside}}}\n")
    };
    let text = server(&[real("192.0.2.3", "{"), real("192.0.2.4", ""), real("192.0.2.5", "{")].concat());
    assert_eq!(difference_of_the_whole(&text), None);
    let loaded = load(text.as_bytes());
    assert_eq!(loaded.diagnostics.count(conf::Severity::Error), 1, "{}", loaded.diagnostics);
    let services = loaded.config.expect("nothing is fatal").balancer.services;
    assert_eq!(services.values().map(|server| server.real_servers.len()).collect::<Vec<_>>(), [3]);
}

/// An instance, now and then with something that others look at, or something wrong.
fn instance() -> impl Strategy<Value = String> {
    let odd = prop_oneof![
        12 => Just(""),
        1 => Just("}"),
        1 => Just("{"),
        1 => Just("\""),
        1 => Just("priority 100\n priority 101"),
        1 => Just("authentication {\n auth_type PASS\n auth_pass x\n}"),
        1 => Just("authentication\n auth_type PASS\n auth_pass x\n}"),
        1 => Just("authentication\n{\n auth_type PASS\n auth_pass x\n}"),
        1 => Just("track_virtual_server {\n 192.0.2.1 80 weight 5\n}"),
        1 => Just("track_virtual_server\n{\n 192.0.2.1 80\n}"),
        1 => Just("track_interface { eth0 } track_virtual_server { 192.0.2.2 80\n}"),
        1 => Just("track_interface {\n eth0\n eth1\n}\n track_script {\n s\n}"),
        1 => Just("smtp_alert\n notify_priority_changes"),
        1 => Just("lvs_sync_daemon_interface eth7"),
        1 => Just("use_vmac x\n garp_extra_if y"),
        1 => Just("notify_webhook {\n url http://192.0.2.1/\n}"),
        1 => Just("notify_master /bin/x\n nonsense { x }"),
        1 => Just("global_defs {\n router_id r\n}"),
        1 => Just("virtual_router_id x"),
    ];
    (1..4_u8, odd.clone(), odd.clone(), odd).prop_map(|(number, before, inside, after)| {
        format!(
            "{before}\nvrrp_instance V{number} {{\n interface eth0\n virtual_router_id {number}\n {inside}\n virtual_ipaddress \
             {{\n  192.0.2.9{number}\n }}\n {after}\n}}\n"
        )
    })
}

/// What knows instances and virtual servers.
fn others() -> impl Strategy<Value = String> {
    let blocks = [
        "global_defs {\n lvs_sync_daemon eth0 V1\n smtp_alert\n notification_email {\n a@example.org\n}\n smtp_server 192.0.2.1\n}\n",
        "vrrp_sync_group G {\n group {\n V1\n V2\n}\n track_virtual_server {\n 192.0.2.1 80\n}\n notify_priority_changes\n}\n",
        "vrrp_script s {\n script /bin/true\n}\n",
        "track_group T {\n group {\n V1\n V3\n}\n}\n",
        "bfd_instance B {\n neighbor_ip 192.0.2.77\n}\n",
    ];
    proptest::sample::select(blocks.to_vec()).prop_map(str::to_owned)
}

/// A block, now and then with something wrong about its braces, its quotes or its words.
fn virtual_server() -> impl Strategy<Value = String> {
    let odd = prop_oneof![
        8 => Just(""),
        1 => Just("}"),
        1 => Just("{"),
        1 => Just("\""),
        1 => Just("nonsense { x }"),
        1 => Just("vrrp_instance V {\n interface eth0\n virtual_router_id 1\n no_virtual_ipaddress\n}"),
        1 => Just("# } {"),
        1 => Just("} smtp_alert"),
        1 => Just("real_server 192.0.2.4 80\n  weight 2\n}"),
        1 => Just("vrrp_instance V2"),
        1 => Just("$x=1"),
        1 => Just("weight ${x}"),
    ];
    (0..4_u8, odd.clone(), odd.clone(), odd).prop_map(|(number, before, inside, after)| {
        format!(
            "{before}\nvirtual_server 192.0.2.{number} 80 {{\n lb_algo rr\n lb_kind NAT\n protocol TCP\n {inside}\n real_server \
             192.0.2.3 80 {{\n  weight 2\n  TCP_CHECK {{\n   retry 3\n  }}\n }}\n {after}\n}}\n"
        )
    })
}

#[test]
fn giant_lines_are_dropped() {
    let mut text = b"vrrp_instance ".to_vec();
    text.resize(8 << 20, b'x');
    text.extend_from_slice(b"\nglobal_defs {\n router_id r\n}\n");
    let loaded = load(&text);
    assert_eq!(loaded.diagnostics.count(conf::Severity::Error), 1, "{}", loaded.diagnostics);
    assert_eq!(loaded.config.expect("nothing is fatal").daemon.router_id.as_deref(), Some("r"));
}

#[test]
fn many_virtual_servers_are_read() {
    let mut text = String::new();
    for n in 0..3_000 {
        text.push_str(&format!(
            "virtual_server 10.0.{}.{} 80 {{\n lb_algo rr\n lb_kind NAT\n protocol TCP\n",
            n / 256,
            n % 256
        ));
        for server in 0..5 {
            text.push_str(&format!(" real_server 192.0.2.{server} 80 {{\n  TCP_CHECK {{\n   retry 3\n  }}\n }}\n"));
        }
        text.push_str("}\n");
    }
    let start = Instant::now();
    let loaded = load(text.as_bytes());
    let took = start.elapsed();
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics);
    assert_eq!(loaded.config.expect("nothing is wrong with it").balancer.services.len(), 3_000);
    assert!(took < Duration::from_secs(60), "{took:?}");
}

#[test]
fn deep_nesting_is_refused_quietly() {
    let text = "a {\n".repeat(100_000);
    assert!(load(text.as_bytes()).diagnostics.has_errors());
}

#[test]
fn definitions_that_double_each_other_end() {
    let mut text = String::from("$a0=x\n");
    for n in 1..31 {
        text.push_str(&format!("$a{n}=${{a{}}}${{a{}}}\n", n - 1, n - 1));
    }
    text.push_str("router_id ${a30}\n$x=${y}\n$y=${x}\nrouter_id ${x}\n");
    let said = load(text.as_bytes()).diagnostics.render(false);
    assert!(said.contains("defined by itself: x → y → x"), "{said}");
    assert!(said.contains("a30") || said.contains("expands to more"), "{said}");
}

#[test]
fn loops_inside_loops_end() {
    let text = "~SEQ(a,1,1000) ~SEQ(b,1,1000) ~SEQ(c,1,1000) x${a}${b}${c}\n";
    assert!(load(text.as_bytes()).diagnostics.has_errors());
}

fn large(instances: usize) -> String {
    let mut text = String::from("global_defs {\n router_id r\n}\n");
    for n in 0..instances {
        text.push_str(&format!(
            "vrrp_script s{n} {{\n  script \"/bin/check {n}\"\n  interval 2\n}}\n\
             vrrp_instance V{n} {{ # comment\n  state BACKUP\n  interface eth{}\n  virtual_router_id {}\n  priority 100\n  \
             advert_int 1\n  authentication {{\n    auth_type PASS\n    auth_pass secret\n  }}\n  virtual_ipaddress {{\n",
            n / 250,
            n % 250 + 1,
        ));
        for address in 0..20 {
            text.push_str(&format!("    10.{}.{}.{address}/24 dev eth1 label eth1:{address}\n", n / 250, n % 250));
        }
        text.push_str(&format!("  }}\n  track_script {{\n    s{n} weight 5\n  }}\n}}\n"));
    }
    text
}

#[test]
fn forty_thousand_lines_are_read() {
    let text = large(1050);
    assert!(text.lines().count() > 40_000);
    let start = Instant::now();
    let loaded = load(text.as_bytes());
    let took = start.elapsed();
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics);
    let config = loaded.config.expect("nothing is wrong with it");
    assert_eq!(config.vrrp.instances.len(), 1050);
    println!("{} lines in {took:?}", text.lines().count());
    // Generous: what matters is that the time does not grow with the square of the lines.
    assert!(took < Duration::from_secs(60), "{took:?}");
}

#[test]
fn lists_of_twenty_thousand_names_are_read() {
    let mut text = String::new();
    for n in 0..10_000 {
        text.push_str(&format!("vrrp_script check{n} {{\n script \"/bin/x\"\n}}\n"));
    }
    text.push_str("vrrp_instance V {\n interface eth0\n virtual_router_id 1\n track_script {\n");
    for n in 0..20_000 {
        text.push_str(&format!("  check{n}\n"));
    }
    text.push_str(" }\n track_interface {\n");
    for n in 0..20_000 {
        text.push_str(&format!("  if{n}\n"));
    }
    text.push_str(" }\n no_virtual_ipaddress\n}\n");
    let start = Instant::now();
    let loaded = load(text.as_bytes());
    assert!(start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
    let tracks = &loaded.config.expect("nothing is fatal").vrrp.instances["V"].tracks;
    assert_eq!(tracks.len(), 30_000);
    let last = loaded.diagnostics.iter().last().expect("many names are wrong");
    assert!(last.message.ends_with("(the last of 9000 more problems that are not shown)"), "{}", last.message);
}

/// Set `HOLDFAST_CORPUS` to a folder of configurations to try them all; add `--nocapture` to read what is said.
#[test]
fn a_folder_of_configurations_is_read() {
    let Some(folder) = std::env::var_os("HOLDFAST_CORPUS") else { return };
    let mut folders = vec![std::path::PathBuf::from(folder)];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let start = Instant::now();
            let loaded = conf::load(&path, &LoadOptions::default());
            assert!(start.elapsed() < Duration::from_secs(60), "{}", path.display());
            println!("== {} → {}\n{}", path.display(), loaded.diagnostics.config_test_exit_code(), loaded.diagnostics);
            count += 1;
        }
    }
    assert!(count > 0);
}
