//! Real processes; times are generous bounds, never things to hit exactly.
#![allow(clippy::disallowed_methods, reason = "tests of a shell measure real time")]

use std::fs;
use std::time::Instant;

use super::*;

const LONG: Duration = Duration::from_secs(60);

fn shell_line(line: &str) -> Command {
    let form = CommandForm::Shell { line: line.to_owned(), needs_bash: false };
    Command { text: line.to_owned(), form, user: None }
}

fn program(words: &[&str]) -> Command {
    let form = CommandForm::Program(words.iter().map(|w| (*w).to_owned()).collect());
    Command { text: words.join(" "), form, user: None }
}

fn runner(security: bool) -> Runner {
    Runner::new(Policy { security, ..Policy::default() }, std::iter::empty())
}

async fn run_line(line: &str, limit: Duration) -> Outcome {
    run(&runner(false).prepare(&shell_line(line)).unwrap(), &[], limit).await
}

#[tokio::test]
async fn outcomes_have_keepalived_s_words() {
    for (line, words) in [
        ("exit 0", "succeeded"),
        ("exit 3", "failed (exited with status 3)"),
        ("kill -9 $$", "failed (due to signal 9)"),
        ("[[ a == a ]] && exit 7", "failed (exited with status 7)"),
    ] {
        assert_eq!(run_line(line, LONG).await.to_string(), words, "{line}");
    }
}

#[tokio::test]
async fn an_overrun_ends_the_whole_group() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let line = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", pid_file.display());
    let outcome = run_line(&line, Duration::from_secs(4)).await;
    assert!(matches!(outcome, Outcome::TimedOut { .. }), "{outcome}");
    assert_gone(fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap()).await;
}

#[tokio::test]
async fn one_that_ignores_term_is_killed() {
    let started = Instant::now();
    let outcome = run_line("trap '' TERM; while :; do sleep 0.1; done", Duration::from_secs(3)).await;
    assert!(matches!(outcome, Outcome::TimedOut { killed: true }), "{outcome}");
    assert!(started.elapsed() >= KILL_AFTER, "TERM comes first");
}

#[tokio::test]
async fn giving_up_a_run_kills_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let line = format!("echo $$ > {0}.new; mv {0}.new {0}; sleep 1000", pid_file.display());
    let task = tokio::spawn(async move { run_line(&line, LONG).await });
    let pid = loop {
        match fs::read_to_string(&pid_file) {
            Ok(text) => break text.trim().parse().unwrap(),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    task.abort();
    assert_gone(pid).await;
}

async fn assert_gone(pid: i32) {
    for _ in 0..4000 {
        let gone = match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Err(_) => true,
            Ok(stat) => stat.contains(") Z "),
        };
        if gone {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("process {pid} is still there");
}

#[tokio::test]
async fn arguments_and_environment() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let line = format!("echo \"$0|$1|$2|$(ps -o pgid= -p $$ | tr -d ' ')|$$\" > {}", out.display());
    let prepared = runner(false).prepare(&shell_line(&line)).unwrap();
    assert!(run(&prepared, &["a b".into(), "$c".into(), "d".into()], LONG).await.is_success());
    let text = fs::read_to_string(&out).unwrap();
    let words: Vec<&str> = text.trim().split('|').collect();
    assert_eq!(&words[..3], ["a b", "$c", "d"], "arguments arrive as they are");
    assert_eq!(words[3], words[4], "a process group of its own");
}

#[tokio::test]
async fn a_script_runs_as_its_user() {
    if !crate::common::root() {
        return;
    }
    let mut command = shell_line("test \"$(id -u):$(id -g):$(id -G)\" = 65534:65534:65534");
    command.user = Some(RunAs::new("65534", Some("65534")));
    let prepared = runner(true).prepare(&command).unwrap();
    let outcome = run(&prepared, &[], LONG).await;
    assert!(outcome.is_success(), "{outcome}");
}

#[test]
fn a_script_gets_the_groups_of_its_user_where_that_is_asked_for() {
    if !crate::common::root() {
        return;
    }
    // A thread of its own, which sees a group of ours in /etc/group.
    let thread = std::thread::spawn(|| {
        use nix::mount::{MsFlags, mount};
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        mount::<str, str, str, str>(None, "/", None, MsFlags::MS_PRIVATE | MsFlags::MS_REC, None).unwrap();
        let groups = tempfile::NamedTempFile::new().unwrap();
        let text = fs::read_to_string("/etc/group").unwrap();
        fs::write(groups.path(), format!("{text}hf-more:x:70123:nobody\n")).unwrap();
        mount::<Path, str, str, str>(Some(groups.path()), "/etc/group", None, MsFlags::MS_BIND, None).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let gid = nix::unistd::User::from_name("nobody").unwrap().unwrap().gid;
        let (one, all) = (format!("{gid}"), format!("{gid} 70123"));
        for (group, every, expected) in
            [(None, false, &one), (Some(":nogroup"), false, &all), (None, true, &all), (Some(""), true, &all)]
        {
            let mut command = shell_line(&format!("test \"$(id -un) $(id -G)\" = \"nobody {expected}\""));
            command.user = Some(RunAs::new("nobody", group));
            let policy = Policy { supplementary_groups: every, ..Policy::default() };
            let prepared = Runner::new(policy, std::iter::once(&command)).prepare(&command).unwrap();
            let outcome = runtime.block_on(run(&prepared, &[], LONG));
            assert!(outcome.is_success(), "{group:?} {every}: {outcome}");
        }
    });
    thread.join().unwrap();
}

#[test]
fn what_cannot_run_says_why() {
    let mut unknown_user = shell_line("true");
    unknown_user.user = Some(RunAs::new("no-such-user", None));
    let mut unknown_group = shell_line("true");
    unknown_group.user = Some(RunAs::new("0", Some("no-such-group")));
    for (command, words) in [
        (program(&["/no-such-dir/x", "-a"]), "/no-such-dir: No such file"),
        (unknown_user, "no user `no-such-user`"),
        (unknown_group, "no group `no-such-group`"),
        (program(&[]), "empty"),
    ] {
        let said = runner(false).prepare(&command).unwrap_err().to_string();
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn security_refuses_what_others_could_change() {
    use std::os::unix::fs::PermissionsExt;
    if !crate::common::root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("check.sh");
    fs::write(&file, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o777)).unwrap();
    let path = file.display().to_string();
    for command in [program(&[&path]), shell_line(&format!("{path} | grep -q ok"))] {
        assert!(runner(true).prepare(&command).unwrap_err().to_string().contains("chmod go-w"), "{command:?}");
        assert!(runner(false).prepare(&command).unwrap().remark.is_some(), "{command:?}");
    }
    let mut other_user = program(&[&path]);
    other_user.user = Some(RunAs::new("65534", Some("65534")));
    assert!(runner(true).prepare(&other_user).is_ok(), "the rules protect root only");
}
