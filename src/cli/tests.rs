use std::path::{Path, PathBuf};

use super::*;

fn argv(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn daemon(words: &[&str]) -> DaemonArgs {
    match parse(&argv(words)) {
        Ok(Invocation::Daemon(args)) => *args,
        other => panic!("{words:?}: {other:?}"),
    }
}

fn leave(words: &[&str]) -> Leave {
    match parse(&argv(words)) {
        Err(leave) => leave,
        Ok(other) => panic!("{words:?}: {other:?}"),
    }
}

#[test]
fn the_default_file_is_keepalived_s() {
    for name in ["/usr/sbin/keepalived", "holdfast"] {
        assert_eq!(daemon(&[name]).file, Path::new("/etc/keepalived/keepalived.conf"));
    }
}

#[test]
fn command_lines_seen_in_the_wild() {
    let args = daemon(&["keepalived", "-P", "-f", "c", "-p", "P", "-r", "V", "-D"]);
    assert!(args.vrrp && args.log_detail == 1);
    assert_eq!((args.pid, args.vrrp_pid), (Some("P".into()), Some("V".into())));
    let args = daemon(&["keepalived", "--log-facility=1", "-f", "c", "-p", "P", "-r", "V", "-c", "C"]);
    assert_eq!((args.log_facility, args.checkers_pid), (Some(17), Some("C".into())));
    let args = daemon(&["keepalived", "--use-file", "F", "--pid", "P", "--dont-fork", "--snmp"]);
    assert!(args.dont_fork && args.not_built() == ["--snmp"]);
    let args = daemon(&["keepalived", "--dont-fork", "--log-console", "--log-detail", "--vrrp", "--config-id=a"]);
    assert_eq!((args.log_console, args.config_id.as_deref()), (true, Some("a")));
    let args = daemon(&["keepalived", "--release-vips", "--vrrp_pid=V", "--checkers_pid", "C", "--no_bfd", "-nlPDGX"]);
    assert!(args.dont_fork && args.log_console && args.no_syslog && args.release_vips && args.no_bfd);
}

#[test]
fn sweep_takes_the_daemons_options_and_the_last_file_counts() {
    match parse(&argv(&["holdfast", "sweep", "--use-file", "a", "-D", "-f", "b", "-s", "blue"])) {
        Ok(Invocation::Sweep(args)) => {
            assert_eq!((args.file.as_path(), args.namespace.as_deref()), (Path::new("b"), Some("blue")));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn optional_values_are_attached() {
    let file = |words: &[&str]| daemon(words).log_file;
    assert_eq!(file(&["keepalived", "-g"]), Some("/tmp/keepalived.log".into()));
    assert_eq!(file(&["keepalived", "-g/x"]), Some("/x".into()));
    assert_eq!(file(&["keepalived", "-nDg/x"]), Some("/x".into()));
    assert_eq!(file(&["keepalived", "--log-file=/x"]), Some("/x".into()));
    assert_eq!(file(&["keepalived", "-g", "-n"]), Some("/tmp/keepalived.log".into()));
    let test = |words: &[&str]| daemon(words).config_test;
    assert_eq!(test(&["keepalived", "-n"]), None);
    assert_eq!(test(&["keepalived", "-t"]), Some(None));
    assert_eq!(test(&["keepalived", "-t", "-f", "c"]), Some(None));
    assert_eq!(test(&["keepalived", "-t=out"]), Some(Some("out".into())));
    assert_eq!(test(&["keepalived", "--config-test=out"]), Some(Some("out".into())));
}

#[test]
fn a_value_that_looks_like_a_cluster_is_left_alone() {
    assert_eq!(daemon(&["keepalived", "-f-gx"]).file, PathBuf::from("-gx"));
}

#[test]
fn options_may_be_repeated_and_the_last_wins() {
    let args = daemon(&["keepalived", "-n", "-n", "-f", "a", "-f", "b", "-DD", "-D"]);
    assert_eq!((args.file, args.log_detail), ("b".into(), 3));
}

#[test]
fn facilities() {
    for (text, number) in [("0", 16), ("7", 23), ("local3", 19), ("user", 1), ("daemon", 3)] {
        assert_eq!(daemon(&["keepalived", "-S", text]).log_facility, Some(number), "{text}");
    }
    assert_eq!(leave(&["keepalived", "-S", "8"]).code, 1);
    assert_eq!(leave(&["keepalived", "-S", "mail"]).code, 1);
}

#[test]
fn unknown_options_end_with_1() {
    for name in ["keepalived", "holdfast"] {
        let leave = leave(&[name, "--bogus"]);
        assert_eq!((leave.code, leave.stdout), (1, false));
        assert!(leave.text.contains("--bogus"), "{}", leave.text);
    }
    assert_eq!(leave(&["keepalived", "check", "x"]).code, 1, "keepalived has no subcommands");
}

#[test]
fn what_is_wrong_with_a_line_of_options_is_said_by_a_program_with_subcommands() {
    for words in [&["holdfast", "--nonsense"][..], &["holdfast", "-D", "check"], &["holdfast", "--help"]] {
        let text = leave(words).text;
        assert!(text.contains("Usage: holdfast"), "{words:?}: {text}");
    }
    assert!(leave(&["holdfast", "--help"]).text.contains("Check configuration files"));
    assert!(leave(&["keepalived", "--help"]).text.contains("Usage: keepalived"));
}

#[test]
fn signal_numbers_go_to_stdout() {
    for (name, number) in [("STOP", 15), ("RELOAD", 1), ("DATA", 10), ("STATS", 12), ("STATS_CLEAR", 63), ("JSON", 36)]
    {
        let want = Leave { text: format!("{number}\n"), stdout: true, code: 0 };
        assert_eq!(leave(&["keepalived", &format!("--signum={name}")]), want);
    }
    assert_eq!(leave(&["keepalived", "--signum=FOO"]).code, 1);
}

#[test]
fn the_version_line_is_what_exporters_parse() {
    let leave = leave(&["/sbin/keepalived", "-v"]);
    assert_eq!((leave.stdout, leave.code), (false, 0));
    let first = leave.text.lines().next().unwrap_or_default();
    assert_eq!(first.split(' ').nth(1).map(|v| &v[1..]), Some("2.4.3"));
    assert!(first.starts_with("Keepalived v2.4.3 (") && leave.text.contains("holdfast"));
}

#[test]
fn genhash_has_options_of_its_own() {
    let words = ["-s", "1.2.3.4", "-p", "443", "-u", "/", "-SIV", "www", "-m", "7", "-P", "1.0c", "-t", "3"];
    for start in [&["genhash"][..], &["keepalived", "-T"], &["holdfast", "--genhash"], &["holdfast", "genhash"]] {
        let argv: Vec<OsString> = start.iter().chain(&words).map(OsString::from).collect();
        let Ok(Invocation::Genhash(args)) = parse(&argv) else { panic!("{argv:?}") };
        assert_eq!((args.port, args.url.as_str(), args.tls, args.sni), (443, "/", true, true));
        assert_eq!((args.virtualhost.as_deref(), args.fwmark, args.timeout), (Some("www"), 7, 3));
        assert_eq!(args.version, crate::checkers::config::HttpVersion::V10Close);
    }
    assert!(leave(&["genhash", "-s", "1.2.3.4"]).text.contains("--port"), "what is missing is named");
    assert!(
        leave(&["keepalived", "-T", "-s", "1.2.3.4", "-p", "80", "-u", "/", "-P", "2"]).text.contains("1.0c or 1.1")
    );
}

#[test]
fn check_takes_files() {
    match parse(&argv(&["holdfast", "check", "--json", "a", "b"])) {
        Ok(Invocation::Check(args)) => assert!(args.json && !args.strict && args.files.len() == 2),
        other => panic!("{other:?}"),
    }
    match parse(&argv(&["holdfast", "check"])) {
        Ok(Invocation::Check(args)) => assert_eq!(args.files, [Path::new("/etc/keepalived/keepalived.conf")]),
        other => panic!("{other:?}"),
    }
    match parse(&argv(&["holdfast", "check", "--explain", "priority"])) {
        Ok(Invocation::Check(args)) => assert_eq!(args.explain.as_deref(), Some("priority")),
        other => panic!("{other:?}"),
    }
    assert_eq!(leave(&["holdfast", "check", "--explain", "priority", "file"]).code, 1);
}

#[test]
fn plan_asks_the_daemon_or_compares_two_files() {
    match parse(&argv(&["holdfast", "plan", "new"])) {
        Ok(Invocation::Plan(args)) => {
            assert_eq!((args.file.as_deref(), args.against.as_deref()), (Some(Path::new("new")), None));
        }
        other => panic!("{other:?}"),
    }
    match parse(&argv(&["holdfast", "plan"])) {
        Ok(Invocation::Plan(args)) => assert_eq!((args.file, args.against), (None, None)),
        other => panic!("{other:?}"),
    }
    assert_eq!(leave(&["holdfast", "plan", "--against", "now"]).code, 1);
}

#[test]
fn doctor_looks_at_a_director_unless_told_otherwise() {
    let doctor = |words: &[&str]| match parse(&argv(&[&["holdfast", "doctor"], words].concat())) {
        Ok(Invocation::Doctor(args)) => args,
        other => panic!("{other:?}"),
    };
    let args = doctor(&[]);
    assert_eq!((args.real_server, args.no_probe, args.file.as_path()), (false, false, Path::new(args::DEFAULT_FILE)));
    let args = doctor(&["--real-server", "--strict", "--json", "a.conf"]);
    assert_eq!(
        (args.real_server, args.strict, args.json, args.file.as_path()),
        (true, true, true, Path::new("a.conf"))
    );
}

#[test]
fn ipvsadm_has_a_grammar_of_its_own() {
    let arguments = |words: &[&str]| match parse(&argv(words)) {
        Ok(Invocation::Ipvsadm { program, arguments }) => (program, arguments.join(" ")),
        other => panic!("{other:?}"),
    };
    let row = |program: &str, rest: &str| (program.to_owned(), rest.to_owned());
    assert_eq!(arguments(&["/sbin/ipvsadm", "-ln"]), row("/sbin/ipvsadm", "-ln"));
    assert_eq!(arguments(&["ipvsadm"]), row("ipvsadm", ""));
    let line = ["holdfast", "ipvsadm", "-A", "-t", "10.0.0.1:80", "-g", "-p", "60", "--help"];
    assert_eq!(arguments(&line), row("holdfast ipvsadm", "-A -t 10.0.0.1:80 -g -p 60 --help"));
    assert_eq!(arguments(&["/sbin/ipvsadm-save", "-n"]), row("/sbin/ipvsadm-save", "-S -n"));
    assert_eq!(arguments(&["ipvsadm-restore"]), row("ipvsadm-restore", "-R"));
    assert!(matches!(parse(&argv(&["keepalived", "-n"])), Ok(Invocation::Daemon(_))));
}
