//! The daemon over a table that others have written, and a kernel that gets its modules late.
#![allow(clippy::disallowed_methods, reason = "bounds real waiting")]

use std::fs;
use std::time::{Duration, Instant};

use holdfast::ipvs::kernel::Kernel;
use holdfast::lab::director::{CONFIG, Daemon, Director};
use holdfast::lab::host::Host;
use holdfast::lab::lan;

use crate::in_guest;
use crate::tools::{ipvsadm, output, run};

const PATIENCE: Duration = Duration::from_secs(90);

fn conf(weight: u32, scheduler: &str) -> String {
    format!(
        "global_defs {{\n virtual_server_forwarder kernel\n}}\nvirtual_server 10.0.0.1 80 {{\n lb_algo {scheduler}\n lb_kind \
         NAT\n protocol TCP\n real_server 192.168.0.1 80 {{\n  weight {weight}\n }}\n real_server 192.168.0.2 80 {{\n  \
         weight 1\n }}\n}}\n"
    )
}

fn table(weight: u32, scheduler: &str) -> String {
    format!(
        "-A -t 10.0.0.1:80 -s {scheduler}\n-a -t 10.0.0.1:80 -r 192.168.0.1:80 -m -w {weight}\n-a -t 10.0.0.1:80 -r \
         192.168.0.2:80 -m -w 1\n"
    )
}

struct Rig {
    director: Director,
}

impl Rig {
    fn new(config: &str, options: &[&str]) -> Self {
        let host = Host::new("director").unwrap();
        // Without any route the kernel takes no address for a real server's.
        lan::set_up(&host, "lo", true).unwrap();
        let options = ["-C"].iter().chain(options).map(|option| (*option).to_owned()).collect();
        let daemon = Daemon { program: env!("CARGO_BIN_EXE_holdfast").into(), options };
        Self { director: Director::new(host, daemon, config, Vec::new()).unwrap() }
    }

    fn saved(&self) -> String {
        self.director.host().run(|| ipvsadm("-S -n"))
    }

    fn run(&self, line: &str) {
        let line = line.to_owned();
        self.director.host().run(move || ipvsadm(&line));
    }

    fn wait_for(&self, what: &str, table: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.saved() != table {
            let log: String = self.director.log().iter().map(|line| format!("  {}\n", line.text)).collect();
            assert!(Instant::now() < deadline, "never: {what}; there is\n{}\n{log}", self.saved());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn a_start_over_a_foreign_table_keeps_what_is_not_ours_and_mends_what_is() {
    in_guest!();
    let mut rig = Rig::new(&conf(3, "wrr"), &[]);
    // Ours with other settings, a real server that we do not have, one with another weight; and somebody else's.
    rig.run("-A -t 10.0.0.1:80 -s lc -p 60");
    rig.run("-a -t 10.0.0.1:80 -r 192.168.0.1:80 -g -w 9");
    rig.run("-a -t 10.0.0.1:80 -r 192.168.0.9:80 -m -w 1");
    rig.run("-A -u 10.9.9.9:53 -s rr");
    rig.run("-a -u 10.9.9.9:53 -r 192.168.9.9:53 -m -w 1");
    let foreign = "-A -u 10.9.9.9:53 -s rr\n-a -u 10.9.9.9:53 -r 192.168.9.9:53 -m -w 1\n";
    let with = |ours: &str| ours.to_owned() + foreign;
    rig.director.start().unwrap();
    rig.wait_for("our service as it should be", &with(&table(3, "wrr")));
    // One line of the file changes one entry, and nothing of what an operator set meanwhile.
    rig.run("-e -t 10.0.0.1:80 -r 192.168.0.2:80 -m -w 77");
    rig.director.write_file(CONFIG.as_ref(), &conf(5, "wrr")).unwrap();
    rig.director.reload();
    rig.wait_for("one operation", &with(&table(5, "wrr").replace("192.168.0.2:80 -m -w 1", "192.168.0.2:80 -m -w 77")));
    // Killed, and another file at the next start: what is ours is set right.
    rig.director.kill_all();
    rig.director.write_file(CONFIG.as_ref(), &conf(4, "rr")).unwrap();
    rig.director.start().unwrap();
    rig.wait_for("the new file", &with(&table(4, "rr")));
    // Emptied behind our back.
    rig.run("-C");
    rig.wait_for("all of ours is back", &table(4, "rr"));
    rig.director.stop(PATIENCE).unwrap();
    assert_eq!(rig.saved(), "");
}

#[test]
fn global_settings_reach_the_kernel_and_the_end_is_as_they_say() {
    in_guest!();
    let foreign = "-A -u 10.9.9.9:53 -s rr";
    let global = |lines: &str| conf(3, "wrr").replacen("global_defs {\n", &format!("global_defs {{\n{lines}"), 1);
    let all = global("lvs_flush\nlvs_flush_on_stop\nlvs_timeouts tcp 1000 tcpfin 50 udp 60\n");
    let mut rig = Rig::new(&all, &[]);
    rig.run(foreign);
    rig.director.start().unwrap();
    rig.wait_for("flushed first", &table(3, "wrr"));
    let timeouts = rig.director.host().run(|| ipvsadm("-L --timeout"));
    assert_eq!(timeouts, "Timeout (tcp tcpfin udp): 1000 50 60\n");
    rig.run(foreign);
    rig.director.stop(PATIENCE).unwrap();
    assert_eq!(rig.saved(), "", "lvs_flush_on_stop");
    // Without them only what is ours goes.
    let mut rig = Rig::new(&conf(3, "wrr"), &[]);
    rig.run(foreign);
    let both = table(3, "wrr") + foreign + "\n";
    rig.director.start().unwrap();
    rig.wait_for("both", &both);
    rig.director.stop(PATIENCE).unwrap();
    assert_eq!(rig.saved(), format!("{foreign}\n"));
    let mut rig = Rig::new(&conf(3, "wrr"), &["--dont-release-ipvs"]);
    rig.director.start().unwrap();
    rig.wait_for("ours", &table(3, "wrr"));
    rig.director.stop(PATIENCE).unwrap();
    assert_eq!(rig.saved(), table(3, "wrr"), "--dont-release-ipvs");
}

#[test]
fn modules_that_come_late_are_used_when_they_come() {
    in_guest!();
    let block = "/etc/modprobe.d/late.conf";
    // Other tests' namespaces may hold modules for a moment after their end.
    run(crate::tools::IPVSADM, &["-C"]);
    let deadline = Instant::now() + PATIENCE;
    let loaded = || fs::read_to_string("/proc/modules").unwrap();
    while loaded().contains("ip_vs") {
        assert!(Instant::now() < deadline, "{}", loaded());
        let names: Vec<String> =
            loaded().lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect();
        let ours = names.iter().filter(|name| name.starts_with("ip_vs_"));
        for name in ours.map(String::as_str).chain(["ip_vs"]) {
            output("rmmod", &[name]);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    fs::create_dir_all("/etc/modprobe.d").unwrap();
    fs::write(block, "install ip_vs /bin/false\ninstall ip_vs_wrr /bin/false\n").unwrap();
    assert!(!Kernel::available());
    let mut rig = Rig::new(&conf(3, "wrr"), &[]);
    rig.director.start().unwrap();
    rig.director.wait_for_line(0, "this kernel has no IPVS", PATIENCE).unwrap();
    rig.director.wait_for_line(0, "cannot add service", PATIENCE).unwrap();
    // IPVS comes, and lacks the scheduler still.
    fs::write(block, "install ip_vs_wrr /bin/false\n").unwrap();
    rig.director.wait_for_line(0, "the kernel has IPVS now", PATIENCE).unwrap();
    rig.director.wait_for_line(0, "no scheduler wrr", PATIENCE).unwrap();
    fs::remove_file(block).unwrap();
    rig.wait_for("the table", &table(3, "wrr"));
    rig.director.stop(PATIENCE).unwrap();
}
