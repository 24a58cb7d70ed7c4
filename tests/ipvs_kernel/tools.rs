//! What the tests in the guest have in common.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use holdfast::ipvs::config::SyncDaemonConfig;

/// Debian's ipvsadm.
pub const IPVSADM: &str = "/sbin/ipvsadm";

/// Runs a program; its output whatever comes of it.
pub fn output(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{program}: {e}"))
}

/// Runs a program that must succeed; what it says.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = output(program, args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Runs a program with this as its standard input.
pub fn feed(program: &str, args: &[&str], input: &str) -> Output {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// A line of words to Debian's ipvsadm, which must succeed.
pub fn ipvsadm(line: &str) -> String {
    run(IPVSADM, &line.split_whitespace().collect::<Vec<_>>())
}

/// A sync daemon as `lvs_sync_daemon INTERFACE … id ID` has it, with the kernel's defaults.
pub fn sync_daemon(interface: &str, id: u8) -> SyncDaemonConfig {
    let interface = interface.to_owned();
    SyncDaemonConfig { interface, instance: None, id, max_length: None, port: None, ttl: None, group: None }
}
