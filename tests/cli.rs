//! The command line of the real binary, under both names: what start scripts, exporters and validators rely on.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

const GOOD: &str =
    "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n virtual_ipaddress { 192.0.2.1 }\n}\n";

fn run(name: &str, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_holdfast")).arg0(name).args(args).output().expect("the binary starts")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it exits")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn write(dir: &Path, name: &str, content: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, content).unwrap();
    path.display().to_string()
}

#[test]
fn version_is_on_stderr_and_parses_as_keepalived_s() {
    let output = run("/usr/sbin/keepalived", &["--version"]);
    assert_eq!((code(&output), text(&output.stdout)), (0, String::new()));
    let stderr = text(&output.stderr);
    let version = stderr.lines().next().and_then(|l| l.split(' ').nth(1)).and_then(|v| v.strip_prefix('v'));
    assert!(version.is_some_and(|v| v.split('.').all(|n| n.parse::<u32>().is_ok())), "{stderr}");
    assert!(stderr.contains("--enable-json"), "{stderr}");
    assert!(text(&run("holdfast", &["-v"]).stderr).starts_with("holdfast "));
}

#[test]
fn signum_prints_a_bare_number() {
    let output = run("keepalived", &["--signum=JSON"]);
    assert_eq!((code(&output), text(&output.stdout).as_str()), (0, "36\n"));
    assert_eq!(code(&run("keepalived", &["--signum=NONE"])), 1);
}

#[test]
fn mistakes_end_with_1() {
    for name in ["keepalived", "holdfast"] {
        let output = run(name, &["--no-such-option"]);
        assert_eq!(code(&output), 1);
        assert!(text(&output.stderr).contains("--no-such-option"));
    }
}

#[test]
fn config_test_has_keepalived_s_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let good = write(dir.path(), "good", GOOD);
    let bad = write(dir.path(), "bad", &GOOD.replace("virtual_router_id 51", "virtual_router_id 51\n bogus_word 1"));
    let output = run("keepalived", &["-t", "-f", &good]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let output = run("keepalived", &["-t", "-f", &bad]);
    assert_eq!(code(&output), 5);
    assert!(text(&output.stderr).contains(&format!("{bad}:4:2: error:")), "{}", text(&output.stderr));
    let log = dir.path().join("log");
    let output = run("keepalived", &[&format!("-t={}", log.display()), "-f", &bad]);
    assert_eq!((code(&output), text(&output.stderr)), (5, String::new()));
    assert!(fs::read_to_string(&log).unwrap().contains("bogus_word"));
}

#[test]
fn check_tells_errors_and_warnings_apart() {
    let dir = tempfile::tempdir().unwrap();
    let good = write(dir.path(), "good", GOOD);
    let bad = write(dir.path(), "bad", "vrrp_instance {\n");
    let output = run("holdfast", &["check", &good]);
    assert_eq!(code(&output), 0, "{}", text(&output.stdout));
    let output = run("holdfast", &["check", "--json", &good, &bad]);
    assert_eq!(code(&output), 2);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let counts: Vec<usize> =
        json["files"].as_array().unwrap().iter().map(|f| f["diagnostics"].as_array().map_or(0, Vec::len)).collect();
    assert_eq!(counts.first(), Some(&0), "{json}");
    assert!(counts.get(1).is_some_and(|n| *n > 0), "{json}");
    assert_eq!(code(&run("holdfast", &["check", "/no/such/file"])), 2);
}

/// `holdfast check … | head -1`, with a reader that is gone before the first line.
#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "f", &format!("{GOOD}frobnicate 1\n"));
    let closed = || std::io::pipe().expect("a pipe").1;
    let of = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args(args);
        command
    };
    for args in [&["check", &file][..], &["check", "--json", &file], &["plan", &file, "--against", &file]] {
        let output = of(args).stdout(closed()).output().expect("the binary starts");
        assert_eq!((code(&output), text(&output.stderr)), (141, String::new()), "{args:?}");
    }
    // The verdict of a configuration test is its exit code, whoever reads the text.
    let status = of(&["-t", "-f", &file]).stderr(closed()).status().expect("the binary starts");
    assert_eq!(status.code(), Some(5));
}

#[test]
fn strict_makes_warnings_count() {
    let dir = tempfile::tempdir().unwrap();
    // Known, not built, and of no effect on who holds the address: a warning.
    let file = write(dir.path(), "f", &format!("global_defs {{\n enable_snmp_vrrp\n}}\n{GOOD}"));
    let plain = run("holdfast", &["check", &file]);
    assert!(text(&plain.stdout).contains("warning"), "{}", text(&plain.stdout));
    assert_eq!(code(&plain), 0);
    assert_eq!(code(&run("holdfast", &["check", "--strict", &file])), 1);
}

#[test]
fn a_missing_configuration_ends_with_6() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid").display().to_string();
    for mode in [&["-n"][..], &[]] {
        let args = [mode, &["-G", "-f", "/no/such/file", "-p", &pid]].concat();
        let output = run("keepalived", &args);
        assert_eq!(code(&output), 6, "{mode:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("/no/such/file"), "{}", text(&output.stderr));
    }
}

const NEEDS_CARE: &str = "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n unicast_peer {\n 192.0.2.2\n }\n \
                          virtual_ipaddress {\n 192.0.2.10\n }\n}\n";

#[test]
fn the_documented_shape_of_json() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "a.conf", NEEDS_CARE);
    let json =
        |args: &[&str]| -> serde_json::Value { serde_json::from_slice(&run("holdfast", args).stdout).expect("JSON") };
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default()
    };
    let report = json(&["check", "--json", &file]);
    assert_eq!(keys(&report), ["errors", "exit_code", "files", "format", "machine", "pair", "warnings"]);
    let finding = &report["files"][0]["diagnostics"][0];
    assert_eq!((finding["code"].as_str(), finding["line"].as_u64()), (Some("unicast-source"), Some(4)), "{report}");
    assert_eq!(
        keys(finding),
        ["code", "column", "file", "help", "kind", "line", "message", "note", "severity", "source", "width", "within"]
    );
    let other = write(dir.path(), "b.conf", &NEEDS_CARE.replace("router_id 1", "router_id 2"));
    let report = json(&["check", "--json", &file, &other]);
    assert_eq!((&report["pair"]["errors"], &report["exit_code"]), (&1.into(), &2.into()), "{report}");
    let report = json(&["plan", "--json", &other, "--against", &file]);
    assert_eq!(keys(&report), ["against", "format", "new", "plan", "reason", "refused"]);
    assert_eq!(keys(&report["against"]), ["diagnostics", "errors", "file", "running", "warnings"]);
    assert_eq!(report["plan"]["touched"], serde_json::json!(["V"]), "{report}");
}

#[test]
fn a_plan_shows_what_a_reload_would_do() {
    let dir = tempfile::tempdir().unwrap();
    let now = write(dir.path(), "now", GOOD);
    let new = write(dir.path(), "new", &GOOD.replace("51", "51\n priority 120"));
    let output = run("holdfast", &["plan", &new, "--against", &now]);
    assert_eq!(code(&output), 0);
    let said = text(&output.stdout);
    assert!(said.contains("    - priority 100\n    + priority 120\n") && !said.contains('\x1b'), "{said}");
    let bad = write(dir.path(), "bad", &GOOD.replace("51", "51\n prioity 120"));
    let output = run("holdfast", &["plan", &bad, "--against", &now]);
    assert_eq!(code(&output), 2);
    assert!(text(&output.stdout).contains("refused") && text(&output.stdout).contains("did you mean `priority`"));
    // Nothing is refused where there is nothing to compare with.
    let output = run("holdfast", &["plan", &new, "--against", "/no/such/file"]);
    let said = text(&output.stdout);
    assert!(code(&output) == 2 && said.contains("--against FILE") && !said.contains("a reload would be"), "{said}");
}

#[test]
fn a_plan_of_nothing_needs_a_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let output = run("holdfast", &["plan", "--control-dir", &dir.path().display().to_string()]);
    assert_eq!((code(&output), text(&output.stderr).contains("name a FILE")), (3, true), "{output:?}");
}

#[test]
fn explain_answers_and_a_typing_mistake_is_told() {
    let output = run("holdfast", &["check", "--explain", "vrrp_instance/priority"]);
    assert_eq!(code(&output), 0);
    assert!(text(&output.stdout).contains("1..255"));
    let output = run("holdfast", &["check", "--explain", "prioritty"]);
    assert_eq!(code(&output), 2);
    assert!(text(&output.stdout).contains("did you mean `priority`"));
}

#[test]
fn check_looks_at_the_files_of_scripts() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let script = write(dir.path(), "check.sh", "#!/bin/sh\n");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o644)).unwrap();
    let file = write(dir.path(), "conf", &format!("vrrp_script s {{\n script {script}\n fall 2\n rise 2\n}}\n{GOOD}"));
    let said = text(&run("holdfast", &["check", &file]).stdout).to_owned();
    assert!(said.contains("script-not-executable") && said.contains(&format!("`chmod a+x {script}`")), "{said}");
    // Executable, but not for the user that it runs as; and a user who is not there.
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (user, part) in [("nobody", format!("`chmod a+rx {script}`")), ("no-such-user", "useradd --system".to_owned())]
    {
        let text_of = format!("vrrp_script s {{\n script {script}\n user {user}\n fall 2\n rise 2\n}}\n{GOOD}");
        let file = write(dir.path(), "conf", &text_of);
        let said = text(&run("holdfast", &["check", &file]).stdout).to_owned();
        assert!(said.contains(&part), "{user}: {said}");
    }
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "f", NEEDS_CARE);
    // `script` gives the command a terminal.
    let on_terminal = |no_color: Option<&str>| -> String {
        let command = format!("{} check {file}", env!("CARGO_BIN_EXE_holdfast"));
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).env_remove("NO_COLOR");
        if let Some(value) = no_color {
            script.env("NO_COLOR", value);
        }
        text(&script.output().expect("script(1)").stdout).to_owned()
    };
    assert!(on_terminal(None).contains("\x1b[1;33m"));
    assert!(on_terminal(Some("")).contains("\x1b[1;33m"), "empty means nothing");
    assert!(!on_terminal(Some("1")).contains('\x1b'));
}
