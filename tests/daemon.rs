//! The daemon as a process: signals, pid files, the background, reloads, hooks. None of these needs an address, a
//! packet or root; `tests/daemon/vrrp.rs` has those that do.

#[path = "daemon/bench.rs"]
mod bench;
#[path = "daemon/vrrp.rs"]
mod vrrp;

use std::fs;

use bench::{Bench, text};

/// No vrrp_instance: no vrrp process, and everything else of main.
const EMPTY: &str = "global_defs {\n router_id test\n}\n";

#[test]
fn starts_once_and_ends_in_good_order() {
    let bench = Bench::new(EMPTY);
    let daemon = bench.start(&[]);
    daemon.wait_for_log("no vrrp process");
    assert_eq!(bench.pid(), daemon.id());
    let second = bench.command(&["-n", "-l", "-G"]).output().unwrap();
    assert_eq!(second.status.code(), Some(0));
    assert!(text(&second.stderr).contains("daemon is already running"), "{}", text(&second.stderr));
    assert_eq!(bench.pid(), daemon.id(), "the second one left the pid file alone");
    daemon.signal(libc::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(!bench.path("main.pid").exists());
}

#[test]
fn every_signal_of_keepalived_is_survived() {
    let bench = Bench::new(EMPTY);
    let daemon = bench.start(&["--ignore-sigint"]);
    daemon.wait_for_log("no vrrp process");
    for (signal, word) in [
        (libc::SIGUSR1, "DATA was asked for"),
        (libc::SIGUSR2, "STATS was asked for"),
        (libc::SIGRTMAX() - 1, "STATS_CLEAR was asked for"),
        (libc::SIGRTMIN() + 2, "JSON was asked for"),
        (libc::SIGHUP, "reload: 0 changed, 0 added, 0 removed, 0 unchanged"),
    ] {
        daemon.signal(signal);
        daemon.wait_for_log(word);
    }
    daemon.signal(libc::SIGINT);
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("reload: ");
    daemon.signal(libc::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_bad_reload_changes_nothing() {
    let bench = Bench::new(EMPTY);
    let daemon = bench.start(&[]);
    daemon.wait_for_log("no vrrp process");
    fs::write(bench.path("conf"), "global_defs {\n bogus_word\n").unwrap();
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("bogus_word");
    daemon.wait_for_log("nothing changed");
    fs::write(bench.path("conf"), EMPTY).unwrap();
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("reload: 0 changed");
    daemon.signal(libc::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_storm_of_reloads_is_one_or_two() {
    let bench = Bench::new(EMPTY);
    let daemon = bench.start(&[]);
    daemon.wait_for_log("no vrrp process");
    for _ in 0..200 {
        daemon.signal(libc::SIGHUP);
    }
    daemon.wait_for_log("reload: ");
    daemon.signal(libc::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0), "and it still listens");
}

#[test]
fn hooks_run_before_and_after() {
    let bench = Bench::new("");
    let log = bench.path("hooks");
    let script = |word: &str| {
        let path = bench.path(word);
        fs::write(&path, format!("#!/bin/sh\necho {word} >> {}\n", log.display())).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        path.display().to_string()
    };
    let (up, down) = (script("up"), script("down"));
    let conf = format!("global_defs {{\n startup_script {up}\n shutdown_script {down}\n}}\n");
    fs::write(bench.path("conf"), conf).unwrap();
    let daemon = bench.start(&[]);
    daemon.wait_for_log("no vrrp process");
    assert_eq!(fs::read_to_string(&log).unwrap(), "up\n");
    daemon.signal(libc::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    assert_eq!(fs::read_to_string(&log).unwrap(), "up\ndown\n");
}

#[test]
fn in_the_background_the_first_process_ends_when_all_is_ready() {
    let bench = Bench::new(EMPTY);
    let log = bench.path("log");
    // Output through pipes: were they held open by the daemon, this would never return.
    let output = bench.command(&["-G", &format!("-g{}", log.display())]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let pid = bench.pid();
    // The log is written by a thread of its own.
    let logged = || fs::read_to_string(&log).is_ok_and(|log| log.contains("Starting holdfast"));
    bench::wait_until("the log has begun", logged);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session: u32 = stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap().parse().unwrap();
    assert_eq!(session, pid, "a session of its own");
    bench::kill(pid, libc::SIGTERM);
    bench::wait_until("the daemon ends", || !bench.path("main.pid").exists());
}

#[test]
fn a_configuration_that_nothing_can_run_on_ends_with_its_code_in_both_modes() {
    let bench = Bench::new(EMPTY);
    fs::remove_file(bench.path("conf")).unwrap();
    for mode in [&["-n"][..], &[]] {
        assert_eq!(bench.command(&[mode, &["-G"]].concat()).status().unwrap().code(), Some(6), "{mode:?}");
    }
}
