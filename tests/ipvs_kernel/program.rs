//! The program itself under the name `ipvsadm`, beside Debian's.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use holdfast::ipvs::kernel::Kernel;

use crate::in_guest;
use crate::tools::{IPVSADM, feed, ipvsadm, run};

const HOLDFAST: &str = env!("CARGO_BIN_EXE_holdfast");

/// As `ipvsadm`.
fn ours(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(HOLDFAST);
    let output = command.arg0("ipvsadm").args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// What the how-tos of LVS have one type.
const HOW_TOS: &str = "-A -t 207.175.44.110:80 -s rr
-a -t 207.175.44.110:80 -r 192.168.10.1:80 -m
-a -t 207.175.44.110:80 -r 192.168.10.2:80 -m
-A -f 1 -s rr -p
-a -f 1 -r 192.168.10.1:0 -m
-A -t 192.168.6.110:23 -s rr
-a -t 192.168.6.110:23 -r 192.168.6.2 -g -w 1
-A -t 10.0.0.1:80 -s wrr
-a -t 10.0.0.1:80 -r 10.1.0.1 -m -w 2
-a -t 10.0.0.1:80 -r 10.1.0.2 -i
-a -t 10.0.0.1:80 -r 10.1.0.3 -g
-A -t 10.0.0.2:443 -p 60
-A -t 10.0.0.3:0 -p 600 -M 255.255.255.0
-A -u 10.0.0.4:53 -s lc -o
-E -t 10.0.0.1:80 -s wlc
-e -t 10.0.0.1:80 -r 10.1.0.1 -m -w 0
-d -t 10.0.0.1:80 -r 10.1.0.3
-D -t 192.168.6.110:23
";

#[test]
fn the_program_restores_what_debians_saved_and_the_other_way_round() {
    in_guest!();
    assert!(Kernel::available());
    run(IPVSADM, &["-C"]);
    for line in HOW_TOS.lines() {
        let (code, output, errors) = ours(&line.split_whitespace().collect::<Vec<_>>());
        assert_eq!((code, output.as_str(), errors.as_str()), (0, "", ""), "{line}");
    }
    let saved = ipvsadm("-S -n");
    assert_eq!(saved.lines().count(), 11, "{saved}");
    assert_eq!(ours(&["-S", "-n"]), (0, saved.clone(), String::new()));
    assert_eq!(ours(&["-ln"]).1, ipvsadm("-l -n"));
    assert_eq!(ours(&["-C"]).0, 0);
    assert_eq!(ipvsadm("-S -n"), "");
    let output = feed(HOLDFAST, &["ipvsadm", "-R"], &saved);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(ipvsadm("-S -n"), saved);
    run(IPVSADM, &["-C"]);
    assert!(feed(IPVSADM, &["-R"], &saved).status.success());
    assert_eq!(ours(&["-S", "-n"]).1, saved);
}

#[test]
fn json_shows_the_same_services() {
    in_guest!();
    run(IPVSADM, &["-C"]);
    assert!(
        feed(IPVSADM, &["-R"], "-A -t 10.0.0.1:80 -s rr -p 9\n-a -t 10.0.0.1:80 -r 10.0.0.2 -m -w 3\n")
            .status
            .success()
    );
    let (code, output, _) = ours(&["-L", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!((code, &value["ipvs_version"]), (0, &"1.2.1".into()));
    let service = &value["services"][0];
    assert_eq!((&service["data_plane"], &service["persistence"]["timeout"]), (&"kernel".into(), &9.into()));
    assert_eq!(service["real_servers"][0]["weight"], 3);
    for what in ["--timeout", "--daemon", "-c"] {
        let (code, output, errors) = ours(&["-L", what, "--json"]);
        assert_eq!((code, errors.as_str()), (0, ""), "{what}");
        assert!(serde_json::from_str::<serde_json::Value>(&output).unwrap().is_object(), "{output}");
    }
    assert_eq!(ours(&["-L", "-n", "-t", "10.0.0.9:80"]), (1, String::new(), "No such service\n".to_owned()));
    assert!(ours(&["-h"]).1.contains("ipvsadm -A|-E SERVICE"));
    run(IPVSADM, &["-C"]);
}
