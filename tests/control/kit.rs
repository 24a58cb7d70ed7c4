//! The commands, run on a node.
#![allow(dead_code)] // Each test uses a part.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use holdfast::control::api::Method;
use holdfast::control::client::Client;
use holdfast::lab::director::Director;
use holdfast::lab::host::Process;
use holdfast::status::model::Status;

use crate::rig::{PATIENCE, wait_until};

/// Where the sockets of a node are: its own `/run`.
pub const DIRECTORY: &str = "/run/holdfast";
/// The program, as a node sees it.
pub const PROGRAM: &str = "/run/lab/holdfast";
/// nobody, in the group nogroup.
pub const NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// What a command has said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub fn spawn(node: &Director, line: &[&str]) -> Process {
    let (program, arguments) = line.split_first().expect("a program");
    let mut command = Command::new(program);
    command.args(arguments).env("TZ", "UTC");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    node.host().spawn(command).expect("it starts")
}

/// Runs a program to its end.
pub fn run(node: &Director, line: &[&str]) -> Said {
    let mut process = spawn(node, line);
    let (mut stdout, mut stderr) = (process.stdout.take().expect("piped"), process.stderr.take().expect("piped"));
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let mut out = String::new();
    stdout.read_to_string(&mut out).expect("text");
    let err = reader.join().expect("text");
    let status = process.wait(Duration::from_secs(60)).expect("it ends");
    Said { code: status.code().unwrap_or(-1), out, err }
}

/// `holdfast …` as root.
pub fn holdfast(node: &Director, arguments: &[&str]) -> Said {
    run(node, &[&[PROGRAM], arguments].concat())
}

/// The same, which must succeed.
pub fn done(node: &Director, arguments: &[&str]) -> String {
    let said = holdfast(node, arguments);
    assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
    said.out
}

/// A request to a node's daemon: HTTP status and body.
pub fn ask(node: &Director, method: Method, path: &str, body: &str) -> (u16, String) {
    let (path, body) = (path.to_owned(), body.to_owned());
    let answer = node.host().run(move || Client::new(DIRECTORY.as_ref()).ask(method, &path, &body));
    let answer = answer.unwrap_or_else(|error| panic!("{error}"));
    (answer.status, String::from_utf8(answer.body.to_vec()).expect("UTF-8"))
}

pub fn status(node: &Director) -> Status {
    let (code, body) = ask(node, Method::Get, "/v1/status", "");
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).expect("a status")
}

/// Waits until the daemon answers.
pub fn wait_ready(node: &Director) {
    let ready = || {
        let answer = node.host().run(|| Client::new(DIRECTORY.as_ref()).ask(Method::Get, "/v1/status", ""));
        answer.is_ok_and(|answer| answer.status == 200)
    };
    wait_until("the daemon answers", ready);
}

/// Waits for a status of which `wanted` says so; that one.
#[allow(clippy::disallowed_methods, reason = "bounds real waiting")]
pub fn wait_status(node: &Director, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = status(node);
        if wanted(&now) {
            return now;
        }
        assert!(Instant::now() < deadline, "never {what}: {now:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
