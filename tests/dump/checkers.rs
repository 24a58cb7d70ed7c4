//! keepalived_check.data of both daemons, of one configuration, on a kernel with IPVS.

use std::path::Path;
use std::time::Duration;

use crate::common::{KEEPALIVED, keepalived, root, skipped};
use crate::uml::{self, Job};

const CONFIG: &str = include_str!("check.conf");
const LEFT_OUT: &str = include_str!("check_left_out.txt");

/// Starts a daemon, and has it write until two checkers have failed (the others wait for a day before they look) and the
/// tracked file counts.
const SCRIPT: &str = r#"
ip link set lo up
ip address add 10.0.0.1/32 dev lo
ip address add 10.0.0.2/32 dev lo
mkdir -p /tmp/x; cd /tmp/x
printf '%s' "$CONFIG" > conf
printf '5' > number
for daemon in HOLDFAST KEEPALIVED; do
    rm -f /tmp/keepalived_check.data
    $daemon -n -l -D -C -f conf -p main.pid -c checkers.pid >log 2>&1 &
    n=0
    until grep -q 'EFF WEIGHT = 11' /tmp/keepalived_check.data 2>/dev/null && test "$(grep -c 'num failed checkers = 1' /tmp/keepalived_check.data)" -ge 2; do
        n=$((n + 1)); test $n -lt 300 || break
        sleep 0.2
        test -s main.pid && kill -USR1 "$(cat main.pid)"
    done
    sleep 0.5
    echo "---- $daemon"
    cat /tmp/keepalived_check.data || cat log
    kill "$(cat main.pid)"; wait
done
echo ----
"#;

/// The lines from the first virtual server on.
fn lines(text: &str) -> Vec<&str> {
    let entries: Vec<&str> = LEFT_OUT.lines().filter(|line| !line.starts_with('#')).collect();
    let entries: Vec<&str> = entries.iter().filter_map(|line| line.split('\t').next()).collect();
    let mut of_server = false;
    let topology =
        text.lines().skip_while(|line| !line.starts_with("------< LVS Topology")).filter(|line| *line != "----");
    let compared = topology.filter(|line| {
        of_server = (of_server || line.contains("< Virtual server >")) && !line.contains("< Real server >");
        let skipped = |entry: &&str| match entry.strip_prefix("virtual server") {
            Some(entry) => of_server && line.starts_with(entry),
            None => line.starts_with(entry),
        };
        !entries.iter().any(skipped)
    });
    compared.collect()
}

#[test]
fn checkers_and_virtual_servers_are_told_as_keepalived_tells_them() {
    if !(root() && keepalived()) {
        return;
    }
    if let Some(reason) = uml::missing() {
        return skipped(&reason);
    }
    let script = SCRIPT.replace("HOLDFAST KEEPALIVED", &format!("{} {KEEPALIVED}", env!("CARGO_BIN_EXE_holdfast")));
    let command = ["/bin/sh".to_owned(), "-c".to_owned(), script];
    let shared: [&Path; 0] = [];
    let job =
        Job { command: &command, environment: &[("CONFIG", CONFIG)], shared: &shared, limit: Duration::from_secs(300) };
    let ended = uml::run(&job);
    let parts: Vec<&str> = ended.stdout.split("---- ").collect();
    let [_, ours, theirs, ..] = &parts[..] else { panic!("{ended:#?}") };
    if std::env::var_os("HOLDFAST_SHOW").is_some() {
        println!("{}", ended.stdout);
    }
    let (ours, theirs) = (lines(ours), lines(theirs));
    assert!(theirs.iter().any(|line| line.contains("Virtual server")), "{ended:#?}");
    let differs = ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs);
    let at = differs.unwrap_or(ours.len().min(theirs.len()));
    let near =
        |all: &[&str]| all.iter().skip(at.saturating_sub(3)).take(8).map(|l| format!("{l}\n")).collect::<String>();
    assert!(ours == theirs, "ours:\n{}\nkeepalived:\n{}", near(&ours), near(&theirs));
}

#[test]
fn each_line_of_the_list_is_there_for_a_reason() {
    for line in LEFT_OUT.lines().filter(|line| !line.starts_with('#')) {
        let (what, why) = line.split_once('\t').unwrap_or((line, ""));
        assert!(!what.is_empty() && why.len() > 5, "{line:?}");
    }
}
