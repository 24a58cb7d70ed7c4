//! Main and its vrrp process together, with real addresses, in a network namespace of its own. Needs root.
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::bench::{Bench, Daemon, kill, wait_until};
use crate::common::root;

const ADDRESS: &str = "192.0.2.100";

/// A network namespace with `v0` (192.0.2.1) whose other end is up and silent. Removed when dropped.
struct Net {
    name: String,
}

impl Net {
    /// `None`, with a word, when we may not.
    fn new(test: &str) -> Option<Self> {
        if !root() {
            return None;
        }
        let name = format!("hf-{test}-{}", std::process::id());
        ip(&["netns", "add", &name]);
        let net = Self { name };
        net.ip(&["link", "add", "v0", "type", "veth", "peer", "name", "v1"]);
        net.ip(&["link", "set", "v1", "up"]);
        net.ip(&["link", "set", "v0", "up"]);
        net.ip(&["addr", "add", "192.0.2.1/24", "dev", "v0"]);
        Some(net)
    }

    fn ip(&self, args: &[&str]) -> String {
        ip(&[&["-n", &self.name], args].concat())
    }

    fn has_address(&self) -> bool {
        self.ip(&["addr", "show", "dev", "v0"]).contains(&format!("{ADDRESS}/"))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn ip(args: &[&str]) -> String {
    let output = Command::new("ip").args(args).output().expect("iproute2");
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn conf(bench: &Bench, vrid: u8, more: &str) -> String {
    format!(
        "vrrp_instance VI_1 {{\n state MASTER\n interface v0\n virtual_router_id {vrid}\n priority 200\n advert_int 1\n \
         virtual_ipaddress {{ {ADDRESS}/24 }}\n notify \"{}\"\n {more}\n}}\n",
        bench.path("notify.sh").display()
    )
}

struct Rig {
    bench: Bench,
    net: Net,
    daemon: Daemon,
}

impl Rig {
    fn start(test: &str) -> Option<Self> {
        let net = Net::new(test)?;
        let bench = Bench::new("");
        let script = bench.path("notify.sh");
        fs::write(&script, format!("#!/bin/sh\necho \"$*\" >> {}\n", bench.path("notified").display())).unwrap();
        fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        fs::write(bench.path("conf"), conf(&bench, 51, "")).unwrap();
        let daemon = bench.start(&["-s", &net.name]);
        daemon.wait_for_log("(VI_1) Entering MASTER STATE");
        let rig = Self { bench, net, daemon };
        rig.wait_for_address(true);
        Some(rig)
    }

    fn wait_for_address(&self, present: bool) {
        wait_until("the address is as it should be", || self.net.has_address() == present);
    }

    fn notified(&self) -> Vec<String> {
        let text = fs::read_to_string(self.bench.path("notified")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn vrrp_pid(&self) -> u32 {
        fs::read_to_string(self.bench.path("vrrp.pid")).unwrap().lines().next().unwrap().parse().unwrap()
    }
}

#[test]
fn start_master_stop() {
    let Some(rig) = Rig::start("stop") else { return };
    wait_until("the master script ran", || rig.notified().last().is_some_and(|l| l == "INSTANCE VI_1 MASTER 200"));
    assert!(rig.notified().iter().all(|line| !line.contains("INIT")), "{:?}", rig.notified());
    let vrrp = rig.vrrp_pid();
    let Rig { bench, net, daemon } = rig;
    daemon.signal(libc::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(!net.has_address(), "no address outlives the daemon");
    assert!(!bench.path("vrrp.pid").exists() && !fs::exists(format!("/proc/{vrrp}")).unwrap());
    let notified = fs::read_to_string(bench.path("notified")).unwrap();
    assert!(notified.ends_with("INSTANCE VI_1 STOP 200\n"), "{notified}");
}

#[test]
fn a_reload_touches_only_what_changed() {
    let Some(rig) = Rig::start("reload") else { return };
    let vrrp = rig.vrrp_pid();
    let other = "vrrp_instance VI_2 {\n interface v0\n virtual_router_id 52\n virtual_ipaddress { 192.0.2.102 }\n}\n";
    fs::write(rig.bench.path("conf"), conf(&rig.bench, 51, "") + other).unwrap();
    rig.daemon.signal(libc::SIGHUP);
    rig.daemon.wait_for_log("reload: 0 changed, 1 added, 0 removed, 1 unchanged");
    rig.daemon.wait_for_log("(VI_2) Entering MASTER STATE");
    fs::write(rig.bench.path("conf"), "vrrp_instance VI_1 {\n").unwrap();
    rig.daemon.signal(libc::SIGHUP);
    rig.daemon.wait_for_log("nothing changed");
    assert!(rig.net.has_address());
    assert_eq!(rig.vrrp_pid(), vrrp, "the process goes on");
    let of_first = rig.notified().into_iter().filter(|l| l.contains("VI_1")).filter(|l| l.contains("MASTER")).count();
    assert_eq!(of_first, 1, "{:?}", rig.notified());
}

#[test]
fn the_vrrp_process_goes_with_the_last_instance_and_comes_with_the_first() {
    let Some(rig) = Rig::start("last") else { return };
    let first = rig.vrrp_pid();
    fs::write(rig.bench.path("conf"), "global_defs {\n router_id alone\n}\n").unwrap();
    rig.daemon.signal(libc::SIGHUP);
    rig.daemon.wait_for_log("no vrrp_instance is configured any more");
    rig.wait_for_address(false);
    wait_until("the process ends, and its pid file", || {
        !fs::exists(format!("/proc/{first}")).unwrap() && !rig.bench.path("vrrp.pid").exists()
    });
    wait_until("its last words are heard", || rig.notified().last().is_some_and(|l| l.contains("VI_1 FAULT")));
    fs::write(rig.bench.path("conf"), conf(&rig.bench, 51, "")).unwrap();
    rig.daemon.signal(libc::SIGHUP);
    rig.daemon.wait_for_log("(VI_1) Entering MASTER STATE");
    rig.wait_for_address(true);
    assert_ne!(rig.vrrp_pid(), first);
}

/// The kernel tells a child of the end of the thread that started it, and main has threads that come and go: one reads the
/// file at a reload.
#[test]
fn a_vrrp_process_that_came_with_a_reload_outlives_the_threads_of_that() {
    let Some(rig) = Rig::start("threads") else { return };
    fs::write(rig.bench.path("conf"), "global_defs {\n router_id alone\n}\n").unwrap();
    rig.daemon.signal(libc::SIGHUP);
    rig.daemon.wait_for_log("no vrrp_instance is configured any more");
    wait_until("the process ends", || !rig.bench.path("vrrp.pid").exists());
    fs::write(rig.bench.path("conf"), conf(&rig.bench, 51, "")).unwrap();
    rig.daemon.signal(libc::SIGHUP);
    rig.daemon.wait_for_log("(VI_1) Entering MASTER STATE");
    let vrrp = rig.vrrp_pid();
    let workers = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", rig.daemon.id())).unwrap();
        let name = |task: std::io::Result<fs::DirEntry>| fs::read_to_string(task.unwrap().path().join("comm"));
        tasks.filter_map(|task| name(task).ok()).filter(|name| name.starts_with("tokio")).count()
    };
    wait_until("the threads of the reload end", || workers() == 0);
    assert_eq!(rig.vrrp_pid(), vrrp);
    assert!(fs::exists(format!("/proc/{vrrp}")).unwrap() && rig.net.has_address());
}

/// `vrrp_delay_after_boot` counts from the boot of the machine, not from our start.
#[test]
fn nobody_is_master_so_soon_after_the_boot() {
    let Some(rig) = Rig::start("boot") else { return };
    let uptime = || -> f64 {
        let text = fs::read_to_string("/proc/uptime").unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    };
    let until = uptime().ceil() + 8.0;
    let delay = format!("global_defs {{\n vrrp_delay_after_boot {until}\n}}\n");
    fs::write(rig.bench.path("conf"), conf(&rig.bench, 51, "") + &delay).unwrap();
    let Rig { bench, net, daemon } = rig;
    daemon.signal(libc::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    let daemon = bench.start(&["-s", &net.name]);
    daemon.wait_for_log("(VI_1) Entering MASTER STATE");
    assert!(uptime() >= until, "{} is before {until}", uptime());
}

#[test]
fn a_file_that_was_started_with_an_error_can_be_changed() {
    let Some(net) = Net::new("flawed") else { return };
    let bench = Bench::new("");
    let flawed = |more: &str| format!("{}{more}", conf(&bench, 51, "frobnicate 1"));
    fs::write(bench.path("conf"), flawed("")).unwrap();
    let daemon = bench.start(&["-s", &net.name]);
    daemon.wait_for_log("(VI_1) Entering MASTER STATE");
    fs::write(
        bench.path("conf"),
        flawed("vrrp_instance VI_2 {\n interface v0\n virtual_router_id 52\n virtual_ipaddress { 192.0.2.102 }\n}\n"),
    )
    .unwrap();
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("reload: 0 changed, 1 added, 0 removed, 1 unchanged");
    fs::write(bench.path("conf"), flawed("vrrp_instance VI_3 {\n interface v0\n twiddle\n}\n")).unwrap();
    daemon.signal(libc::SIGHUP);
    let line = daemon.wait_for_log("reload refused, nothing changed");
    assert!(line.contains("conf:"), "the place of the error: {line}");
}

/// What only a library can judge, a pattern and a record type, is judged while the file is read: at the start and at a
/// reload, with its place.
#[test]
fn a_pattern_and_a_record_type_that_are_none_are_told_with_their_places() {
    let Some(net) = Net::new("judged") else { return };
    let bench = Bench::new("");
    let server = |regex: &str, record: &str| {
        format!(
            "{}virtual_server 192.0.2.1 80 {{\n lb_algo rr\n lb_kind PROXY\n protocol TCP\n real_server 192.0.2.7 80 {{\n  \
             HTTP_GET {{\n   url {{\n    path /\n    regex \"{regex}\"\n   }}\n  }}\n  DNS_CHECK {{\n   type {record}\n  }}\n }}\n}}\n",
            conf(&bench, 51, "")
        )
    };
    let place = |text: &str, word: &str| {
        let before = text.get(..text.find(word).expect("it is in there")).expect("its beginning");
        let column = before.len() - before.rfind('\n').map_or(0, |end| end + 1) + 1;
        format!("conf:{}:{column}: ", before.matches('\n').count() + 1)
    };
    let told = |log: &[String], place: &str, what: &str| log.iter().any(|l| l.contains(place) && l.contains(what));

    let flawed = server("a(b", "TXTT");
    fs::write(bench.path("conf"), &flawed).unwrap();
    let daemon = bench.start(&["-s", &net.name]);
    let log = daemon.lines_until("(VI_1) Entering MASTER STATE");
    assert!(told(&log, &place(&flawed, "regex"), "missing closing parenthesis"), "{log:#?}");
    assert!(told(&log, &place(&flawed, "TXTT"), "`type` takes"), "{log:#?}");

    fs::write(bench.path("conf"), server("a(b)", "TXT")).unwrap();
    daemon.signal(libc::SIGHUP);
    daemon.wait_for_log("reload: ");
    for (regex, record, word, what) in
        [("a[b", "TXT", "regex", "missing terminating ]"), ("a(b)", "TXTT", "TXTT", "`type` takes")]
    {
        let flawed = server(regex, record);
        fs::write(bench.path("conf"), &flawed).unwrap();
        daemon.signal(libc::SIGHUP);
        let line = daemon.wait_for_log("reload refused, nothing changed");
        assert!(line.contains(&place(&flawed, word)) && line.contains(what), "{line}");
    }
}

#[test]
fn a_killed_vrrp_process_is_replaced_and_goes_on() {
    let Some(rig) = Rig::start("killvrrp") else { return };
    let first = rig.vrrp_pid();
    kill(first, libc::SIGKILL);
    rig.daemon.wait_for_log("restarting the vrrp process at once");
    wait_until("another process", || rig.vrrp_pid() != first);
    rig.daemon.wait_for_log("(VI_1) Entering MASTER STATE");
    rig.wait_for_address(true);
}

/// What `ip monitor` tells of addresses: the address is gone for a moment only.
struct AddressWatch {
    monitor: Child,
    lines: Receiver<String>,
}

impl AddressWatch {
    fn start(net: &Net) -> Self {
        let mut command = Command::new("ip");
        command.args(["-n", &net.name, "-o", "monitor", "address"]).stdout(Stdio::piped());
        let mut monitor = command.spawn().expect("iproute2");
        let (tell, lines) = channel();
        let output = BufReader::new(monitor.stdout.take().expect("piped"));
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let watch = Self { monitor, lines };
        // It listens once it tells of this one.
        wait_until("ip monitor listens", || {
            net.ip(&["addr", "add", "198.51.100.9/32", "dev", "v0"]);
            net.ip(&["addr", "del", "198.51.100.9/32", "dev", "v0"]);
            watch.lines.try_iter().any(|line| line.contains("198.51.100.9"))
        });
        watch
    }

    fn wait_for_removal(&self) {
        let removed = |line: &String| line.contains("Deleted") && line.contains(ADDRESS);
        wait_until("the address is removed", || self.lines.try_iter().any(|line| removed(&line)));
    }
}

impl Drop for AddressWatch {
    fn drop(&mut self) {
        let _ = self.monitor.kill();
        let _ = self.monitor.wait();
    }
}

/// Nobody renews the claim to the address while it is waited: it goes.
#[test]
fn a_vrrp_process_that_keeps_dying_is_started_ever_more_slowly() {
    let Some(rig) = Rig::start("crashloop") else { return };
    let watch = AddressWatch::start(&rig.net);
    for (deaths, told) in
        [(1, "restarting the vrrp process at once"), (2, "died 2 times soon after its start: restarted in 1s")]
    {
        let pid = rig.vrrp_pid();
        kill(pid, libc::SIGKILL);
        rig.daemon.wait_for_log(told);
        if deaths == 2 {
            watch.wait_for_removal();
        }
        wait_until("another process", || rig.vrrp_pid() != pid);
        rig.daemon.wait_for_log("(VI_1) Entering MASTER STATE");
    }
    rig.wait_for_address(true);
}

#[test]
fn a_stopped_vrrp_process_is_killed_and_its_address_removed() {
    let Some(rig) = Rig::start("stuck") else { return };
    let first = rig.vrrp_pid();
    kill(first, libc::SIGSTOP);
    rig.daemon.wait_for_log("the vrrp process has stood still");
    wait_until("another process", || rig.vrrp_pid() != first);
    // Its own deadline has passed: a peer may be master by now, and it begins as a backup, without the address.
    rig.daemon.wait_for_log("(VI_1) Entering BACKUP STATE");
    rig.daemon.wait_for_log("(VI_1) Entering MASTER STATE");
    rig.wait_for_address(true);
}

/// Its predecessor's address is in the kernel while nobody holds it.
#[test]
fn a_vrrp_process_that_is_stopped_while_it_starts_leaves_no_address_behind() {
    let Some(rig) = Rig::start("stuckstart") else { return };
    let children = || fs::read_to_string(format!("/proc/{0}/task/{0}/children", rig.daemon.id())).unwrap();
    // Before that main waits for it to become our program.
    let is_ours =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("--child"));
    let child_but = |former: u32| {
        let mut pids = children().split_whitespace().map(|pid| pid.parse().expect("a number")).collect::<Vec<u32>>();
        pids.retain(|pid| *pid != former && is_ours(pid));
        pids.pop()
    };
    // A start takes some milliseconds, and on a busy machine we may come too late to stop it in them.
    for _ in 0..5 {
        let first = rig.vrrp_pid();
        kill(first, libc::SIGKILL);
        let next: u32 = std::iter::repeat_with(|| child_but(first)).flatten().next().expect("it is repeated for ever");
        let pid = nix::unistd::Pid::from_raw(next.cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).expect("it is there");
        let found = || {
            let line = rig.daemon.wait_for_log("");
            ["is not ready", "has stood still"].into_iter().find(|words| line.contains(words))
        };
        if std::iter::repeat_with(found).flatten().next() == Some("is not ready") {
            rig.wait_for_address(false);
            kill(next, libc::SIGKILL);
            rig.daemon.wait_for_log("(VI_1) Entering MASTER STATE");
            return rig.wait_for_address(true);
        }
        rig.daemon.wait_for_log("(VI_1) Entering MASTER STATE");
    }
    panic!("it was ready each time before it could be stopped");
}

/// Policy (2 is SCHED_RR), real-time priority and nice value of the vrrp process, and whether its memory is locked.
fn scheduling(rig: &Rig) -> (i32, i32, i32, bool) {
    let proc = format!("/proc/{}", rig.vrrp_pid());
    let stat = fs::read_to_string(format!("{proc}/stat")).unwrap();
    // Behind the name, which is in parentheses and may hold anything; the state is the third field of all.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let field = |number: usize| -> i32 { fields[number - 3].parse().unwrap() };
    let status = fs::read_to_string(format!("{proc}/status")).unwrap();
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).expect("a kernel that tells");
    (field(41), field(40), field(19), !locked.contains(" 0 kB"))
}

const DEMANDING: &str =
    "global_defs {\n vrrp_rt_priority 30\n vrrp_priority -7\n vrrp_no_swap\n vrrp_rlimit_rttime 200000\n}\n";

#[test]
fn scheduling_and_memory_are_as_configured() {
    let Some(rig) = Rig::start("sched") else { return };
    assert_eq!(scheduling(&rig), (0, 0, 0, false));
    fs::write(rig.bench.path("conf"), format!("{DEMANDING}{}", conf(&rig.bench, 51, ""))).unwrap();
    rig.daemon.signal(libc::SIGHUP);
    let lines = rig.daemon.lines_until("reload: ");
    if lines.iter().any(|line| line.contains("going on without")) {
        return crate::common::skipped("needs real-time scheduling");
    }
    wait_until("it is as configured", || scheduling(&rig) == (2, 30, -7, true));
    // Children are ordinary processes, and the next vrrp process is told everything anew.
    let first = rig.vrrp_pid();
    kill(first, libc::SIGKILL);
    wait_until("another process", || rig.vrrp_pid() != first);
    rig.daemon.wait_for_log("(VI_1) Entering MASTER STATE");
    wait_until("and so is the next", || scheduling(&rig) == (2, 30, -7, true));
}

/// A container without the capabilities: one warning for each wish, and VRRP as it can be had.
#[test]
fn what_the_kernel_refuses_is_told_once_and_gone_without() {
    let Some(net) = Net::new("refused") else { return };
    let bench = Bench::new("");
    fs::write(bench.path("conf"), format!("{DEMANDING}{}", conf(&bench, 51, ""))).unwrap();
    let mut command = Command::new("prlimit");
    command.args(["--memlock=65536:65536", "--rtprio=0:0", "--nice=0:0", "setpriv"]);
    command.args(["--bounding-set=-sys_nice,-ipc_lock,-sys_resource", "--inh-caps=-sys_nice,-ipc_lock,-sys_resource"]);
    let daemon = bench.command(&["-n", "-l", "-G", "-D", "-s", &net.name]);
    command.arg(daemon.get_program()).args(daemon.get_args());
    let rig = Rig { daemon: Daemon::start(&mut command), bench, net };
    // Memory is locked a few seconds after the start, when what the start took has been given back.
    let mut lines = rig.daemon.lines_until("vrrp_no_swap: ");
    let master = "(VI_1) Entering MASTER STATE";
    if !lines.iter().any(|line| line.contains(master)) {
        lines.extend(rig.daemon.lines_until(master));
    }
    for keyword in ["vrrp_rt_priority: ", "vrrp_priority: ", "vrrp_no_swap: no CAP_IPC_LOCK"] {
        let told = lines.iter().filter(|line| line.contains(keyword) && line.contains("; going on without"));
        assert_eq!(told.count(), 1, "{keyword}: {lines:#?}");
    }
    rig.wait_for_address(true);
    assert_eq!(scheduling(&rig), (0, 0, 0, false));
}

#[test]
fn a_main_that_is_stopped_is_told_and_no_reason_to_fail_over() {
    let Some(rig) = Rig::start("silent") else { return };
    let vrrp = rig.vrrp_pid();
    let main = rig.daemon.id();
    kill(main, libc::SIGSTOP);
    let line = rig.daemon.wait_for_log("main has been silent for 1");
    assert!(line.contains("VRRP goes on with the trackers' statuses of then"), "{line}");
    assert!(rig.net.has_address() && rig.vrrp_pid() == vrrp, "the address stays where it was");
    kill(main, libc::SIGCONT);
    rig.daemon.wait_for_log("main is back after ");
    // It reads what it has missed, and logs none of it twice.
    rig.daemon.signal(libc::SIGHUP);
    let log = rig.daemon.lines_until("reload: 0 changed, 0 added, 0 removed, 1 unchanged");
    for never in ["main has been silent", "main is back", "Entering", "stood still"] {
        assert!(!log.iter().any(|line| line.contains(never)), "{never}: {log:#?}");
    }
    assert_eq!(rig.vrrp_pid(), vrrp);
}

#[test]
fn processes_are_called_what_the_configuration_says() {
    let Some(net) = Net::new("names") else { return };
    let bench = Bench::new("");
    let names = |more: &str| {
        fs::write(bench.path("conf"), format!("global_defs {{\n {more} }}\n{}", conf(&bench, 51, ""))).unwrap();
    };
    let name = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    // The program is started as `keepalived`.
    for (configured, main, vrrp) in [
        ("", "keepalived\n", "keepalived\n"),
        ("process_name director\n", "director\n", "director\n"),
        ("process_names\n", "keepalived\n", "keepalived_vrrp\n"),
        ("process_names\n vrrp_process_name elections_of_edge\n", "keepalived\n", "elections_of_ed\n"),
    ] {
        names(configured);
        let daemon = bench.start(&["-s", &net.name]);
        daemon.wait_for_log("(VI_1) Entering MASTER STATE");
        let child = fs::read_to_string(bench.path("vrrp.pid")).unwrap().trim().parse().unwrap();
        assert_eq!((name(daemon.id()).as_str(), name(child).as_str()), (main, vrrp), "{configured}");
        names("process_name other\n");
        daemon.signal(libc::SIGHUP);
        daemon.wait_for_log("reload: process_name holds until the next start and was not changed");
        daemon.wait_for_log("reload: 0 changed");
        assert_eq!(name(daemon.id()), main);
        daemon.signal(libc::SIGTERM);
        daemon.wait();
    }
}

#[test]
fn a_vrrp_process_that_is_left_without_its_main_is_ended_by_the_next() {
    let Some(net) = Net::new("orphan") else { return };
    let bench = Bench::new("");
    fs::write(bench.path("conf"), conf(&bench, 51, "")).unwrap();
    // What stands in the pid file: an orphan that hangs, and a stranger that has its number by now.
    for (name, is_orphan) in [("holdfast --child vrrp", true), ("holdfast check vrrp", false)] {
        let mut left =
            Command::new("sh").args(["-c", "while :; do read x; done"]).args(name.split(' ')).spawn().unwrap();
        kill(left.id(), libc::SIGSTOP);
        fs::write(bench.path("vrrp.pid"), format!("{}\n", left.id())).unwrap();
        let daemon = bench.start(&["-s", &net.name]);
        if is_orphan {
            daemon.wait_for_log("the vrrp process of a main that is gone was left");
        }
        daemon.wait_for_log("(VI_1) Entering MASTER STATE");
        assert_eq!(left.try_wait().unwrap().is_some(), is_orphan, "{name}");
        daemon.signal(libc::SIGTERM);
        daemon.wait();
        let _ = left.kill();
        let _ = left.wait();
    }
}

#[test]
fn a_killed_main_takes_the_vrrp_process_and_the_address_with_it() {
    let Some(rig) = Rig::start("killmain") else { return };
    let vrrp = rig.vrrp_pid();
    rig.daemon.signal(libc::SIGKILL);
    rig.wait_for_address(false);
    wait_until("the vrrp process ends", || !fs::exists(format!("/proc/{vrrp}")).unwrap());
}

/// `holdfast sweep` with the files of this bench: its exit code and what it printed.
fn sweep(bench: &Bench, net: &Net) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.arg("sweep").arg("-f").arg(bench.path("conf")).arg("-p").arg(bench.path("main.pid"));
    let output = command.args(["-s", &net.name]).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn sweep_removes_what_two_killed_processes_left_and_nothing_else() {
    let Some(rig) = Rig::start("sweep") else { return };
    assert_eq!(sweep(&rig.bench, &rig.net), (Some(1), String::new()), "the daemon runs");
    assert!(rig.net.has_address());
    let vrrp = rig.vrrp_pid();
    // Stopped, neither can react to the other's end.
    for pid in [vrrp, rig.daemon.id()] {
        kill(pid, libc::SIGSTOP);
    }
    for pid in [vrrp, rig.daemon.id()] {
        kill(pid, libc::SIGKILL);
    }
    let Rig { bench, net, daemon } = rig;
    assert_eq!(daemon.wait().code(), None);
    assert!(net.has_address(), "nobody took it off");
    assert_eq!(sweep(&bench, &net), (Some(0), format!("removed {ADDRESS}/24 from v0\n")));
    assert!(!net.has_address() && net.ip(&["addr", "show", "dev", "v0"]).contains("192.0.2.1/24"));
    net.ip(&["addr", "add", &format!("{ADDRESS}/24"), "dev", "v0"]);
    assert_eq!(sweep(&bench, &net), (Some(0), String::new()));
    assert!(net.has_address(), "the host's own");
}

#[test]
fn a_child_that_dies_with_dont_respawn_ends_the_daemon() {
    let Some(net) = Net::new("respawn") else { return };
    let bench = Bench::new("");
    fs::write(bench.path("conf"), conf(&bench, 51, "")).unwrap();
    let daemon = bench.start(&["-s", &net.name, "-R"]);
    daemon.wait_for_log("(VI_1) Entering MASTER STATE");
    wait_until("the address", || net.has_address());
    let pid: u32 = fs::read_to_string(bench.path("vrrp.pid")).unwrap().trim().parse().unwrap();
    kill(pid, libc::SIGKILL);
    assert_eq!(daemon.wait().code(), Some(1));
    assert!(!net.has_address(), "main swept it");
}

#[test]
fn a_tracked_process_dies_and_comes_back() {
    let Some(rig) = Rig::start("process") else { return };
    let name = format!("hfd{}", std::process::id());
    let program = rig.bench.path(&name);
    std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
    let start = || Command::new(&program).arg("1000").spawn().unwrap();
    let mut running = start();
    let tracked = format!("track_process {{\n web\n }}\n}}\nvrrp_track_process web {{\n process {name}\n");
    fs::write(rig.bench.path("conf"), conf(&rig.bench, 51, &tracked)).unwrap();
    rig.daemon.signal(libc::SIGHUP);
    rig.daemon.wait_for_log("reload: 1 changed");
    rig.daemon.wait_for_log("track_process web is up now");
    let vrrp = rig.vrrp_pid();
    for round in 0..2 {
        running.kill().unwrap();
        let death = rig.daemon.wait_for_log("(VI_1) Entering FAULT STATE");
        assert!(death.contains("process web"), "the cause is told: {death}");
        rig.wait_for_address(false);
        running.wait().unwrap();
        running = start();
        rig.daemon.wait_for_log("track_process web is up now");
        rig.daemon.wait_for_log("(VI_1) Entering MASTER STATE");
        rig.wait_for_address(true);
        if round == 0 {
            // Same process tracker, other settings elsewhere: nothing moves.
            fs::write(rig.bench.path("conf"), conf(&rig.bench, 51, &tracked) + "global_defs {\n router_id x\n}\n")
                .unwrap();
            rig.daemon.signal(libc::SIGHUP);
            rig.daemon.wait_for_log("reload: 0 changed");
        }
    }
    assert_eq!(rig.vrrp_pid(), vrrp);
    // A process that is gone when the file no longer tracks it is nobody's business.
    fs::write(rig.bench.path("conf"), conf(&rig.bench, 51, "")).unwrap();
    rig.daemon.signal(libc::SIGHUP);
    rig.daemon.wait_for_log("reload: 1 changed");
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(rig.net.has_address());
    rig.daemon.signal(libc::SIGTERM);
    let Rig { bench: _bench, net: _net, daemon } = rig;
    assert_eq!(daemon.wait().code(), Some(0));
}
