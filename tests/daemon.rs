//! The daemon as a process: signals, pid files, the background, reloads, hooks. None of these needs an address, a
//! packet or root; `tests/daemon/vrrp.rs` has those that do.

#[path = "daemon/bench.rs"]
mod bench;
mod common;
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
        (libc::SIGUSR1, "Printing parent data for process("),
        (libc::SIGUSR2, "Printing VRRP stats for process("),
        (libc::SIGRTMAX() - 1, "Printing and clearing VRRP stats for process("),
        (libc::SIGRTMIN() + 2, "Printing VRRP as json for process("),
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

/// The C library reserves 64 MiB for each thread that may have an arena, and takes it a page at a time.
#[test]
fn mains_threads_take_memory_from_one_place() {
    let bench = Bench::new(EMPTY);
    let daemon = bench.start(&[]);
    daemon.wait_for_log("no vrrp process");
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("reload: 0 changed");
    let maps = fs::read_to_string(format!("/proc/{}/maps", daemon.id())).unwrap();
    let reserved = |line: &&str| {
        let (range, rest) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let number = |hex| u64::from_str_radix(hex, 16).unwrap();
        rest.starts_with("---p") && rest.contains(" 00:00 0") && number(to) - number(from) > 32 << 20
    };
    assert_eq!(maps.lines().find(reserved), None);
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
#[allow(clippy::disallowed_methods, reason = "counts what may happen in the time that passed")]
fn a_storm_of_reloads_is_a_few() {
    let bench = Bench::new(EMPTY);
    let daemon = bench.start(&[]);
    daemon.wait_for_log("no vrrp process");
    let since = std::time::Instant::now();
    for _ in 0..200 {
        daemon.signal(libc::SIGHUP);
    }
    daemon.signal(libc::SIGTERM);
    let mut reloads = 0;
    while !daemon.wait_for_log("").contains("Stopping") {
        reloads += 1;
    }
    let most = 2 * (2 + since.elapsed().as_millis() / 250);
    assert!((1..=most).contains(&reloads), "{reloads} lines about reloads, two each");
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
    // Logging holds nobody up, not even who waits for us to be ready.
    bench::wait_until("the log file", || fs::read_to_string(&log).is_ok_and(|log| log.contains("Starting holdfast")));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session: u32 = stat.rsplit(')').next().unwrap().split_whitespace().nth(3).unwrap().parse().unwrap();
    assert_eq!(session, pid, "a session of its own");
    // It was started as /proc/self/exe; who looks for it looks for the name that the first was started under.
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "keepalived\n");
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

#[test]
fn the_log_has_the_instances_name_and_the_dumped_configuration() {
    let bench = Bench::new("instance blue\nglobal_defs {\n router_id edge-1\n}\n");
    let daemon = bench.start(&["--dump-conf"]);
    daemon.wait_for_log("Keepalived_blue: Changed syslog ident to Keepalived_blue");
    daemon.wait_for_log("\"edge-1\"");
    let line = daemon.wait_for_log("no vrrp process");
    assert!(line.contains("Keepalived_blue: "), "{line}");
    daemon.signal(libc::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_file_says_when_to_reload() {
    let bench = Bench::new("");
    let when = bench.path("when");
    let conf = format!("global_defs {{\n router_id test\n reload_time_file {}\n}}\n", when.display());
    fs::write(bench.path("conf"), &conf).unwrap();
    let daemon = bench.start(&[]);
    daemon.wait_for_log("no vrrp process");
    fs::write(&when, "2020-01-01 00:00:00Z\n").unwrap();
    daemon.wait_for_log("has passed");
    fs::write(&when, "soon\n").unwrap();
    daemon.wait_for_log("no time in it");
    let in_a_moment = |seconds: &str| {
        let output = std::process::Command::new("date").args(["-u", "-d", seconds, "+%H:%M:%SZ"]).output().unwrap();
        text(&output.stdout).trim_end().to_owned()
    };
    fs::write(&when, in_a_moment("10 seconds")).unwrap();
    daemon.wait_for_log("a reload is due");
    daemon.wait_for_log("the time of the reload has come");
    daemon.wait_for_log("reload: 0 changed");
    bench::wait_until("the file is gone", || !when.exists());
    fs::write(bench.path("conf"), conf.replace("router_id test", "reload_repeat")).unwrap();
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("reload: 0 changed");
    fs::write(&when, in_a_moment("10 seconds")).unwrap();
    daemon.wait_for_log("the time of the reload has come");
    let again = daemon.wait_for_log("a reload is due");
    assert!(again.contains("(863") || again.contains("(864"), "tomorrow: {again}");
    assert!(when.exists());
    daemon.signal(libc::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn the_files_around_a_reload() {
    let bench = Bench::new("");
    let (marker, log, saved) = (bench.path("reloading"), bench.path("check.log"), bench.path("saved"));
    let globals = format!(
        "global_defs {{\n reload_file {}\n reload_check_config {}\n config_save_dir {}\n}}\n",
        marker.display(),
        log.display(),
        saved.display()
    );
    fs::write(bench.path("conf"), &globals).unwrap();
    let daemon = bench.start(&[]);
    daemon.wait_for_log("no vrrp process");
    // Whoever deploys puts it there first, and waits until it is gone.
    fs::write(&marker, "x").unwrap();
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("reload: 0 changed");
    bench::wait_until("the marker is gone", || !marker.exists());
    assert_eq!(fs::read_to_string(&log).unwrap(), "exit code 0\n");
    assert!(fs::read_to_string(saved.join("reload-0001-files.conf")).unwrap().contains("config_save_dir"));
    // Also when the reload is refused.
    fs::write(bench.path("conf"), format!("{globals}bogus\n")).unwrap();
    fs::write(&marker, "x").unwrap();
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("nothing changed");
    bench::wait_until("the marker is gone", || !marker.exists());
    assert!(fs::read_to_string(&log).unwrap().ends_with("exit code 5\n"));
    assert!(fs::read_to_string(saved.join("reload-0002-after.txt")).unwrap().contains("bogus"));
    daemon.signal(libc::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
}
