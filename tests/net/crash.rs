//! A vrrp process that panics: what led to it is read back, by the command that people use.

use std::fmt::Debug;
use std::process::Command;

use holdfast::daemon::black_box::{self, BlackBox};
use holdfast::status::why::Record;
use holdfast::vrrp::blackbox::Note;
use holdfast::vrrp::flight;
use holdfast::vrrp::message::{FromVrrp, ToVrrp};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

use crate::common::needs_root;
use crate::lan::Lan;
use crate::process::{FakeMain, PATIENCE, config};

const PANICS: &str = "HOLDFAST_TEST_PANIC_AT";

/// In a child of these tests: a log line with the words of this variable panics.
pub fn arm() {
    if let Ok(words) = std::env::var(PANICS) {
        tracing::subscriber::set_global_default(Mine { words }).expect("the only one");
    }
}

struct Mine {
    words: String,
}

struct Found<'a>(&'a str);

impl Visit for Found<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        assert!(field.name() != "message" || !format!("{value:?}").contains(self.0), "as the test wants it");
    }
}

impl Subscriber for Mine {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Found(&self.words));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The command that came right before the panic is in the record, which otherwise is written at the end of a turn.
#[tokio::test]
async fn a_panic_leaves_what_led_to_it_for_why() {
    needs_root!();
    let (lan, recorder, config) = (Lan::new(), flight::create().expect("memfd"), config());
    let mut main = FakeMain::start_with(&lan.a, &recorder, &[(PANICS, "main started us twice")]);
    main.begin(&config, false);
    let directory = tempfile::tempdir().expect("a directory");
    let mut black_box = BlackBox::new(Some(directory.path().to_owned()));
    main.until(|message| {
        let FromVrrp::Event { event, at } = message else { return None };
        black_box.note(*at, event);
        let holdfast::vrrp::event::Event::StateChanged { to, .. } = event else { return None };
        (*to == holdfast::vrrp::event::StateName::Master).then_some(())
    });
    let last = ToVrrp::Failover { request: 1, instance: "the last command".to_owned() };
    let twice = ToVrrp::Start {
        config: Box::new(config.clone()),
        trackers: Vec::new(),
        adopt: false,
        maintenance: false,
        former: Vec::new(),
    };
    main.say_at_once(&[&last, &twice]);
    assert_eq!(main.exit_code(), Some(70), "it did panic");

    black_box.crashed("exit status: 70");
    tokio::time::timeout(PATIENCE, black_box.turn()).await.expect("at once");
    black_box.write(&recorder, &config);
    black_box.finish(&recorder, &config).await;
    let file = black_box::files(directory.path()).into_iter().next().expect("a file");
    let record: Record = serde_json::from_slice(&std::fs::read(&file).expect("there")).expect("a record");
    assert_eq!(record.occasion, "the vrrp process died: exit status: 70");
    let command = Note::Command { what: "failover the last command".to_owned() };
    assert!(record.notes.iter().any(|note| note.what == command), "{record:#?}");
    assert!(!record.adverts.is_empty(), "its first advert");
    let why = Command::new(env!("CARGO_BIN_EXE_holdfast")).args(["why", "VI_1", "--from"]).arg(&file).output();
    let why = String::from_utf8(why.expect("it runs").stdout).expect("text");
    assert!(why.contains("→ MASTER") && why.contains("cause: "), "{why}");
    assert!(why.contains("the vrrp process started"), "{why}");
}
