//! Nothing that is written, and nobody who is waited for, stops the protocol: a log that nobody reads, scripts that hang, a
//! disk that is full.

use std::io::{self, PipeReader};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use holdfast::lab::director::CONFIG;
use holdfast::lab::host::Process;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;

use crate::common::{needs_root, steady};
use crate::rig::{Make, Node, PATIENCE, Rig, holds, sh, vrrp_pid, wait_address, wait_line, wait_state, wait_until};
use crate::variant::{VRID, Variant};

const V: Variant = Variant::V3;

/// `a` loses its cable and gets it back: the other one takes over, and hands back.
fn fails_over_and_back(rig: &Rig) {
    let (a, b, wire) = (rig.node(0), rig.node(1), rig.wire());
    rig.lan(0).cut("a", "eth0").expect("a cable");
    wait_state(b, "VI_1", "MASTER");
    wait_address(b, "eth0", V.vip(), true);
    wait_until("the address goes from a", || !holds(a, "eth0", V.vip()));
    let mark = wire.mark();
    rig.lan(0).mend("a", "eth0").expect("a cable");
    wire.wait_priority(mark, "a", 150);
    wait_state(b, "VI_1", "BACKUP");
    wait_address(a, "eth0", V.vip(), true);
}

/// keepalived hangs in its write then, with its address up and without adverts: two owners for good.
#[test]
fn a_log_that_nobody_reads() {
    needs_root!();
    steady(|| {
        let nodes = vec![
            Node::new("a", Make::Holdfast, V.instance(0, 2, 150, "")),
            Node::new("b", Make::Holdfast, V.instance(1, 2, 100, "")),
        ];
        let mut rig = Rig::build(1, nodes);
        rig.nodes[1].start().expect("it starts");
        wait_state(rig.node(1), "VI_1", "MASTER");
        let (a, wire) = (rig.node(0), rig.wire());
        let (process, log) = with_a_small_log(&rig);
        wire.wait_priority(0, "a", 150);
        wait_state(rig.node(1), "VI_1", "BACKUP");
        let waiting = || {
            let mut bytes: libc::c_int = 0;
            // How much waits in the pipe, without reading any of it.
            let _ = fionread(&log, &mut bytes);
            bytes
        };
        wait_until("the pipe is full", || {
            process.signal(Signal::SIGHUP);
            waiting() > 3500
        });
        for _ in 0..200 {
            process.signal(Signal::SIGHUP);
        }
        let mark = wire.mark();
        // Longer than the backup would wait for the next.
        wire.wait_adverts(mark, "a", 6);
        assert_eq!(wire.owners(mark, VRID), ["a"]);
        fails_over_and_back(&rig);
        process.signal(Signal::SIGTERM);
        assert!(process.wait(PATIENCE).expect("it ends").success());
        wait_address(a, "eth0", V.vip(), false);
        wait_state(rig.node(1), "VI_1", "MASTER");
        drop(log);
    });
}

/// Starts the daemon of node `a`, its log going into a pipe of one page.
fn with_a_small_log(rig: &Rig) -> (Process, PipeReader) {
    let (reader, writer) = io::pipe().expect("a pipe");
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).expect("a size");
    let mut command = Command::new("/run/lab/holdfast");
    command.args(["-n", "-l", "-D", "-f", CONFIG, "-p", "/run/lab-main.pid", "-r", "/run/lab-vrrp.pid"]);
    command.current_dir("/").stdin(Stdio::null()).stdout(writer.try_clone().expect("a descriptor")).stderr(writer);
    (rig.node(0).host().spawn(command).expect("it starts"), reader)
}

#[allow(unsafe_code)]
fn fionread(pipe: &PipeReader, bytes: &mut libc::c_int) -> libc::c_int {
    // SAFETY: the pointer is to an integer that outlives the call.
    unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, std::ptr::from_mut(bytes)) }
}

#[test]
fn scripts_that_hang() {
    needs_root!();
    steady(|| {
        let script =
            "vrrp_script t {\nscript /etc/keepalived/hang.sh\ninterval 1\ntimeout 2\nweight -10\ninit_fail\n}\n";
        let tracks = "track_script {\nt\n}\nnotify /etc/keepalived/hang.sh";
        let nodes = vec![
            Node::new("a", Make::Holdfast, format!("{script}{}", V.instance(0, 2, 160, tracks)))
                .script("hang.sh", "#!/bin/sh\ntrap '' TERM\nsleep 1000\n"),
            Node::new("b", Make::Holdfast, V.instance(1, 2, 100, "")),
        ];
        let mut rig = Rig::build(1, nodes);
        rig.start_in_turn();
        wait_state(rig.node(1), "VI_1", "BACKUP");
        wait_line(rig.node(0), 0, "VRRP_Script(t)");
        fails_over_and_back(&rig);
        rig.wire().wait_adverts(rig.wire().mark(), "a", 3);
        assert_eq!(rig.wire().owners(0, VRID), ["a", "b", "a"]);
        assert!(rig.nodes[0].stop(PATIENCE).expect("it ends").success());
        wait_address(rig.node(0), "eth0", V.vip(), false);
    });
}

/// Of all that is written only the pid files go to a disk.
#[test]
fn a_disk_that_is_full() {
    needs_root!();
    steady(|| {
        let nodes = vec![
            Node::new("a", Make::Holdfast, V.instance(0, 2, 150, "")),
            Node::new("b", Make::Holdfast, V.instance(1, 2, 100, "")),
        ];
        let mut rig = Rig::build(1, nodes);
        rig.start_in_turn();
        wait_state(rig.node(1), "VI_1", "BACKUP");
        let a = rig.node(0);
        let killed = vrrp_pid(a);
        for directory in ["/run", "/tmp", "/etc/keepalived"] {
            sh(
                a,
                &format!("mount -o remount,size=64k {directory}; cat /dev/zero >{directory}/full 2>/dev/null || true"),
            );
        }
        let log = a.log_mark();
        sh(a, &format!("kill -KILL {killed}"));
        wait_line(a, log, "Entering MASTER STATE");
        a.reload();
        wait_line(a, log, "reload: 0 changed");
        // Whether it was there before its own deadline is another test's question.
        wait_state(rig.node(1), "VI_1", "BACKUP");
        wait_state(a, "VI_1", "MASTER");
        wait_address(a, "eth0", V.vip(), true);
        fails_over_and_back(&rig);
        assert!(rig.nodes[0].stop(PATIENCE).expect("it ends").success());
        wait_address(rig.node(0), "eth0", V.vip(), false);
    });
}
