#![allow(clippy::disallowed_methods, reason = "tests of a shell measure real time")]

use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::Mutex;

use super::*;

/// Blocks in `write` until the gate opens; keeps what it wrote.
struct Gated {
    gate: Receiver<()>,
    open: bool,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Sink for Gated {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        if !self.open {
            let _ = self.gate.recv();
            self.open = true;
        }
        self.lines.lock().unwrap().push(record.text.clone());
        Ok(())
    }
}

#[test]
fn a_stalled_reader_holds_nobody_up_and_hears_how_much_it_missed() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let (open, gate) = sync_channel(1);
    let queue = start(Box::new(Gated { gate, open: false, lines: Arc::clone(&lines) }), true).unwrap();
    let logging = Logging { queues: vec![queue.clone()], stderr: false, suffix: Arc::default() };
    let subscriber = Lines { level: LevelFilter::INFO, json: false, queues: vec![queue], suffix: Arc::default() };
    let started = Instant::now();
    let total = QUEUE + 1000;
    tracing::subscriber::with_default(subscriber, || {
        for n in 0..total {
            tracing::info!(n, "line");
        }
        logging.flush(Duration::from_millis(50));
    });
    assert!(started.elapsed() < Duration::from_secs(60), "callers waited {:?}", started.elapsed());
    open.send(()).unwrap();
    logging.flush(Duration::from_secs(60));
    let lines = lines.lock().unwrap();
    assert_eq!(lines[0], "line n=0");
    // The writer had taken one line out before it stalled, or had not yet.
    let kept = lines.iter().filter(|l| l.starts_with("line")).count();
    assert!((QUEUE..=QUEUE + 1).contains(&kept), "{kept}");
    assert!(lines.contains(&format!("{} log lines dropped", total - kept)), "{:?}", lines.get(..3));
}

#[test]
fn text_comes_first_and_says_nothing_twice() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let (open, gate) = sync_channel(1);
    open.send(()).unwrap();
    let queue = start(Box::new(Gated { gate, open: true, lines: Arc::clone(&lines) }), true).unwrap();
    let logging = Logging { queues: vec![queue.clone()], stderr: false, suffix: Arc::default() };
    tracing::subscriber::with_default(
        Lines { level: LevelFilter::INFO, json: false, queues: vec![queue], suffix: Arc::default() },
        || {
            tracing::info!(instance = "VI_1", from = "BACKUP", "(VI_1) Entering MASTER STATE");
            tracing::warn!(reason = "two words", "stop\n<3>forged");
        },
    );
    logging.flush(Duration::from_secs(60));
    assert_eq!(
        *lines.lock().unwrap(),
        ["(VI_1) Entering MASTER STATE from=BACKUP", "stop\\n<3>forged reason=\"two words\""]
    );
}

#[test]
fn syslog_lines_survive_a_restart_of_syslog() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut sink = sink::Syslog::new(&path, "Keepalived_vrrp", 16);
    let record = Record::new(tracing::Level::WARN, SystemTime::UNIX_EPOCH, "hello".to_owned());
    let nobody = sink.write(&record).expect_err("nobody listens yet");
    assert!(!is_lost(&nobody, false) && is_lost(&nobody, true), "{nobody}");
    for _ in 0..2 {
        let listener = UnixDatagram::bind(&path).unwrap();
        sink.write(&record).unwrap();
        let mut buffer = [0; 100];
        let n = listener.recv(&mut buffer).unwrap();
        let want = format!("<132>Keepalived_vrrp[{}]: hello", std::process::id());
        assert_eq!(std::str::from_utf8(&buffer[..n]).unwrap(), want);
        std::fs::remove_file(&path).unwrap();
    }
    assert!(is_lost(&io::ErrorKind::WouldBlock.into(), false), "somebody who is too slow loses lines");
}

#[test]
fn timestamps() {
    for (seconds, want) in [
        (0, "1970-01-01T00:00:00.007Z"),
        (951_782_400, "2000-02-29T00:00:00.007Z"),
        (1_767_225_599, "2025-12-31T23:59:59.007Z"),
        (4_107_542_400, "2100-03-01T00:00:00.007Z"),
    ] {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 7);
        assert_eq!(Record::new(tracing::Level::INFO, time, String::new()).timestamp(), want);
    }
}

#[test]
fn options_of_the_command_line() {
    let of = |words: &[&str], process| {
        let argv: Vec<_> = std::iter::once("keepalived").chain(words.iter().copied()).map(Into::into).collect();
        match crate::cli::parse(&argv) {
            Ok(crate::cli::Invocation::Daemon(args)) => LogOptions::of(&args, process),
            other => panic!("{other:?}"),
        }
    };
    let main = of(&["-n", "-l", "-D", "-S", "1", "-g/x/k.log"], None);
    assert_eq!((main.ident.as_str(), main.facility, main.syslog, main.stderr), ("Keepalived", 17, true, true));
    assert_eq!((main.level, main.file), (LevelFilter::DEBUG, Some("/x/k.log".into())));
    let child = of(&["-G", "-g/x/k.log"], Some("vrrp"));
    assert_eq!((child.ident.as_str(), child.syslog, child.stderr), ("Keepalived_vrrp", false, false));
    assert_eq!(child.file, Some("/x/k_vrrp.log".into()));
    assert!(of(&["-n", "-G"], None).stderr, "with nowhere else to go");
    assert!(!of(&["-l"], None).stderr, "-l is for the foreground");
}

#[test]
fn the_name_has_the_process_then_the_namespace_and_the_instance() {
    let mut record = Record::new(tracing::Level::INFO, SystemTime::UNIX_EPOCH, String::new());
    assert_eq!(record.ident("Keepalived"), "Keepalived");
    record.suffix = "_green_blue".into();
    assert_eq!(record.ident("Keepalived"), "Keepalived_green_blue");
    assert_eq!(record.ident("Keepalived_vrrp"), "Keepalived_vrrp_green_blue");
    record.child = "_vrrp";
    assert_eq!(record.ident("Keepalived"), "Keepalived_vrrp_green_blue");
    assert_eq!(record.ident("Keepalived_vrrp"), "Keepalived_vrrp_green_blue");
}

#[test]
fn one_event_is_one_json_object_on_one_line() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    struct Kept(Arc<Mutex<Vec<String>>>);
    impl Sink for Kept {
        fn write(&mut self, record: &Record) -> io::Result<()> {
            self.0.lock().unwrap().push(record.line("Keepalived_vrrp", || "text".to_owned()));
            Ok(())
        }
    }
    let queue = start(Box::new(Kept(Arc::clone(&lines))), true).unwrap();
    let logging = Logging { queues: vec![queue.clone()], stderr: false, suffix: Arc::default() };
    let subscriber = Lines { level: LevelFilter::INFO, json: true, queues: vec![queue], suffix: Arc::default() };
    tracing::subscriber::with_default(subscriber, || {
        let nobody: Option<&str> = None;
        tracing::info!(
            instance = "VI_1",
            json.from = "BACKUP",
            json.peer = nobody,
            n = 7,
            "Entering \"MASTER\"\nSTATE"
        );
        tracing::error!(text = "forged", level = "debug", why = ?Some(1), "");
    });
    logging.flush(Duration::from_secs(10));
    let lines = lines.lock().unwrap();
    assert!(lines.iter().all(|line| !line.contains('\n')), "{lines:?}");
    let parsed: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = &parsed[0];
    assert_eq!((&first["process"], &first["level"]), (&"vrrp".into(), &"info".into()));
    assert_eq!((&first["subject"], &first["from"], &first["n"]), (&"VI_1".into(), &"BACKUP".into(), &7.into()));
    assert_eq!((&first["text"], first.get("peer")), (&"Entering \"MASTER\"\nSTATE".into(), None));
    assert!(first["at"].as_str().unwrap().ends_with('Z') && first["pid"].is_u64());
    assert_eq!(
        (&parsed[1]["level"], &parsed[1]["text"], &parsed[1]["why"]),
        (&"error".into(), &"".into(), &"Some(1)".into())
    );
}

#[test]
fn fields_for_programs_are_not_in_the_text() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let (_open, gate) = sync_channel(1);
    let queue = start(Box::new(Gated { gate, open: true, lines: Arc::clone(&lines) }), true).unwrap();
    let logging = Logging { queues: vec![queue.clone()], stderr: false, suffix: Arc::default() };
    let subscriber = Lines { level: LevelFilter::INFO, json: false, queues: vec![queue], suffix: Arc::default() };
    tracing::subscriber::with_default(subscriber, || tracing::info!(json.from = "BACKUP", n = 3, "x"));
    logging.flush(Duration::from_secs(10));
    assert_eq!(*lines.lock().unwrap(), ["x n=3"]);
}
