//! Our ipvsadm and Debian's, line by line: the same output, the same words for what is wrong, the same exit codes, and
//! the same table at the end.

use std::io::Cursor;

use holdfast::ipvsadm::execute::Surroundings;
use holdfast::ipvsadm::names::SystemNames;
use holdfast::ipvsadm::source::NoForwarder;

use crate::in_guest;
use crate::tools::{IPVSADM, feed, run};

/// What came of a line.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    line: String,
    code: i32,
    output: String,
    errors: String,
}

fn theirs(line: &str, words: &[String], input: &str) -> Outcome {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = feed(IPVSADM, &words, input);
    Outcome {
        line: line.to_owned(),
        code: output.status.code().unwrap_or(-1),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn ours(line: &str, words: &[String], input: &str) -> Outcome {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let code = holdfast::ipvsadm::run(
        words,
        &mut Surroundings {
            program: IPVSADM,
            names: &SystemNames::default(),
            forwarder: &mut NoForwarder,
            input: &mut Cursor::new(input),
            output: &mut output,
            errors: &mut errors,
        },
    );
    let errors = String::from_utf8(errors).unwrap();
    // Ours tells which line of a restored table is wrong; all else is the same.
    let errors = if line.starts_with("R ") { without_line_numbers(&errors) } else { errors };
    Outcome { line: line.to_owned(), code: i32::from(code), output: String::from_utf8(output).unwrap(), errors }
}

fn without_line_numbers(errors: &str) -> String {
    let bare = |line: &str| {
        let rest = line.strip_prefix("line ").and_then(|rest| rest.split_once(": "));
        rest.filter(|(number, _)| number.parse::<u32>().is_ok()).map_or(line, |(_, rest)| rest).to_owned() + "\n"
    };
    errors.lines().map(bare).collect()
}

/// Words of a line; `''` is an empty one, and blanks between quotes stay.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// All that can be seen of a table.
const SIGHTS: [&str; 12] = [
    "-S -n",
    "-S",
    "-L",
    "-L -n",
    "-L -n --nosort",
    "-L --stats",
    "-L -n --rate",
    "-L -n --thresholds",
    "-L -n --persistent-conn",
    "-L -n --tun-info",
    "-L -n --stats --exact",
    "-L -c",
];

type Runner = fn(&str, &[String], &str) -> Outcome;

/// Runs the lines over an empty table.
fn outcomes(lines: &[String], run_line: Runner) -> Vec<Outcome> {
    run(IPVSADM, &["-C"]);
    run(IPVSADM, &["--set", "900", "120", "300"]);
    let one = |line: &String| match (line.strip_prefix("R "), line.as_str()) {
        (_, "?all") => SIGHTS.map(|sight| run_line(sight, &words(sight), "")).into_iter().collect(),
        (Some(input), _) => {
            let input = input.replace("\\n", "\n").replace("\\t", "\t");
            vec![run_line(line, &["-R".to_owned()], &input)]
        }
        _ => vec![run_line(line, &words(line), "")],
    };
    lines.iter().flat_map(one).collect()
}

fn compare(lines: &[String]) -> Vec<String> {
    let (theirs, ours) = (outcomes(lines, theirs), outcomes(lines, ours));
    let different = theirs.iter().zip(&ours).filter(|(theirs, ours)| theirs != ours);
    different.map(|(theirs, ours)| difference(theirs, ours)).collect()
}

/// The first line that differs.
fn difference(theirs: &Outcome, ours: &Outcome) -> String {
    let lines = |outcome: &Outcome| {
        let Outcome { code, output, errors, .. } = outcome;
        let lines = output.lines().map(str::to_owned).chain(errors.lines().map(|line| format!("stderr: {line}")));
        lines.chain([format!("exit code {code}"), String::new()]).collect::<Vec<_>>()
    };
    let (theirs, ours_lines) = (lines(theirs), lines(ours));
    let first = theirs.iter().zip(&ours_lines).find(|(theirs, ours)| theirs != ours);
    format!("ipvsadm {}\n  theirs {:?}\n  ours   {:?}", ours.line, first.map(|f| f.0), first.map(|f| f.1))
}

#[test]
fn each_line_does_and_says_what_it_does_with_debians() {
    in_guest!();
    run("ip", &["link", "add", "words0", "type", "dummy"]);
    run("ip", &["link", "set", "words0", "up", "multicast", "on"]);
    run("ip", &["address", "add", "10.78.0.1/24", "dev", "words0"]);
    let all = include_str!("lines.txt");
    let mut different = Vec::new();
    let mut scenario = Vec::new();
    for line in all.lines().map(str::to_owned).chain(["# end".to_owned()]) {
        if line.starts_with("# ") {
            different.extend(compare(&std::mem::take(&mut scenario)));
        } else {
            scenario.push(line);
        }
    }
    run("ip", &["link", "delete", "words0"]);
    assert!(different.is_empty(), "{} differences\n{}", different.len(), different.join("\n"));
}

const VERBS: [&str; 15] = [
    "-A",
    "-D",
    "-C",
    "-R",
    "-S",
    "-a",
    "-d",
    "-L",
    "-Z",
    "--set 1 2 3",
    "--stop-daemon master",
    "-A -t 1.1.1.1:1",
    "-a -t 9.9.9.9:9 -r 2.2.2.2",
    "-d -t 9.9.9.9:9 -r 2.2.2.3",
    "-L -t 9.9.9.9:9",
];

const OPTIONS: [&str; 37] = [
    "-n",
    "-c",
    "-t 1.1.1.1:1",
    "-s rr",
    "-p",
    "-M 255.255.255.0",
    "-r 2.2.2.2",
    "-g",
    "-w 1",
    "--timeout",
    "--daemon",
    "--stats",
    "--rate",
    "--thresholds",
    "--persistent-conn",
    "--nosort",
    "--sort",
    "--mcast-interface d0",
    "--syncid 1",
    "-x 1",
    "-y 1",
    "--exact",
    "-6",
    "-o",
    "--pe sip",
    "-b flag-1",
    "--tun-info",
    "--tun-type gre",
    "--tun-port 1",
    "--tun-nocsum",
    "--tun-csum",
    "--tun-remcsum",
    "--sync-maxlen 100",
    "--mcast-group 224.0.0.5",
    "--mcast-port 5",
    "--mcast-ttl 1",
    "-f 1",
];

#[test]
fn each_command_takes_and_refuses_the_same_options() {
    in_guest!();
    let mut lines = vec!["-A -t 9.9.9.9:9 -s rr".to_owned(), "-a -t 9.9.9.9:9 -r 2.2.2.2 -i".to_owned()];
    for verb in VERBS {
        lines.extend(OPTIONS.iter().map(|option| format!("{verb} {option}")));
    }
    for (n, first) in OPTIONS[9..22].iter().enumerate() {
        lines.extend(OPTIONS[9 + n + 1..22].iter().map(|second| format!("-L -n {first} {second}")));
    }
    let different = compare(&lines);
    assert!(different.is_empty(), "{} differences\n{}", different.len(), different.join("\n"));
}
