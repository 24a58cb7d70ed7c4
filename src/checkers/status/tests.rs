use proptest::prelude::*;

use super::*;

const LOOP: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(2);

fn schedule(retry: u32, rise: u32) -> Schedule {
    Schedule { delay_loop: LOOP, retry, delay_before_retry: AGAIN, warmup: LOOP, rise, max_latency: None }
}

fn finding(code: char) -> Finding {
    match code {
        '+' => Ok(0),
        '?' => Err(Failure::ours("no descriptors")),
        _ => Err(Failure::unfit("refused")),
    }
}

/// After each finding: `U`p or `D`own, the page asked for next, and `l` for the loop's delay, `r` for that before a
/// retry, `0` for none.
fn story(status: CheckStatus, findings: &str, schedule: &Schedule, pages: usize, fast_recovery: bool) -> String {
    let mut status = status;
    let step = |code| {
        let delay = match status.record(finding(code), schedule, pages, fast_recovery) {
            LOOP => 'l',
            AGAIN => 'r',
            _ => '0',
        };
        let health = if status.weight().is_some() { 'U' } else { 'D' };
        format!("{health}{}{delay}", status.page())
    };
    findings.chars().map(step).collect::<Vec<_>>().join(" ")
}

/// keepalived's rules (behaviour §4.2, §4.3) and ours, one line each.
#[test]
fn findings_in_a_row() {
    let (up, alpha) = (|| CheckStatus::new(false), || CheckStatus::new(true));
    let table: &[(&str, CheckStatus, u32, u32, &str, &str)] = &[
        ("the first probe needs no retry", up(), 3, 1, "-", "D0l"),
        ("later ones do", up(), 2, 1, "+---", "U0l U0r U0r D0l"),
        ("a success in between starts the count again", up(), 1, 1, "+-+--", "U0l U0r U0l U0r D0l"),
        ("retry 0 is down at once", up(), 0, 1, "+-", "U0l D0l"),
        ("one success brings it up", up(), 1, 1, "--+-", "D0l D0l U0l U0r"),
        ("alpha waits for a success", alpha(), 1, 1, "--+", "D0l D0l U0l"),
        ("alpha goes up with the first", alpha(), 1, 1, "+--", "U0l U0r D0l"),
        ("rise counts successes in a row", up(), 0, 3, "-++-+++", "D0l D0l D0l D0l D0l D0l U0l"),
        ("our own trouble says nothing", up(), 1, 1, "?+?-?-", "U0l U0l U0l U0r U0l D0l"),
        ("nor does it use up the first probe", up(), 3, 1, "?-", "U0l D0l"),
        ("nor does it bring anything up", alpha(), 1, 1, "?", "D0l"),
        ("what is inherited has been probed", CheckStatus::inherited(&Health::Up { weight: 0 }), 1, 1, "--", "U0r D0l"),
    ];
    for (what, status, retry, rise, findings, expected) in table {
        assert_eq!(story(status.clone(), findings, &schedule(*retry, *rise), 1, false), *expected, "{what}");
    }
}

#[test]
fn pages_in_turn() {
    let (up, alpha) = (|| CheckStatus::new(false), || CheckStatus::new(true));
    let table: &[(&str, CheckStatus, bool, u32, &str, &str)] = &[
        ("one page a loop, round and round", up(), false, 1, "++++", "U1l U2l U0l U1l"),
        ("a page that fails is tried again", up(), false, 1, "+-+", "U1l U1r U2l"),
        ("until it is down", up(), false, 1, "+--", "U1l U1r D1l"),
        (
            "then that page until it is good, then all from the first",
            up(),
            false,
            1,
            "+---+++++",
            "U1l U1r D1l D1l D0l D1l D2l U0l U1l",
        ),
        ("a page that fails on the way is the failed one", up(), false, 1, "-++-+++", "D0l D0l D1l D1l D0l D1l D2l"),
        ("fast recovery leaves no time between pages", up(), true, 1, "-++++", "D0l D00 D10 D20 U0l"),
        ("alpha needs all pages", alpha(), false, 1, "+++", "D1l D2l U0l"),
        ("alpha with fast recovery", alpha(), true, 1, "+++", "D10 D20 U0l"),
        ("alpha fails on the way", alpha(), false, 1, "+-+++", "D1l D1l D0l D1l D2l"),
        ("rise counts whole lists", alpha(), true, 2, "++++++", "D10 D20 D0l D10 D20 U0l"),
        ("fast recovery does nothing while it is up", up(), true, 1, "++-", "U1l U2l U2r"),
    ];
    for (what, status, fast, rise, findings, expected) in table {
        assert_eq!(story(status.clone(), findings, &schedule(1, *rise), 3, *fast), *expected, "{what}");
    }
}

#[test]
fn the_last_reason_is_remembered() {
    let mut status = CheckStatus::new(false);
    for reason in ["first", "second"] {
        status.record(Err(Failure::unfit(reason)), &schedule(1, 1), 1, false);
        assert_eq!(status.health(), Health::Down { reason: reason.to_owned() });
    }
    status.record(Ok(-7), &schedule(1, 1), 1, false);
    assert_eq!(status.health(), Health::Up { weight: -7 });
    status.record(Ok(5), &schedule(1, 1), 1, false);
    assert_eq!(status.health(), Health::Up { weight: 5 });
}

proptest! {
    /// For one page the status is what a plain count says, whatever the findings.
    #[test]
    fn one_page_is_a_count(
        alpha in any::<bool>(),
        retry in 0_u32..4,
        rise in 1_u32..4,
        findings in prop::collection::vec(prop::sample::select(vec!['+', '-', '?']), 0..60),
    ) {
        let mut status = CheckStatus::new(alpha);
        let (mut up, mut good, mut bad, mut first) = (!alpha, 0, 0, true);
        for code in findings {
            status.record(finding(code), &schedule(retry, rise), 1, false);
            match code {
                '?' => {}
                '+' => {
                    (good, bad) = (good + 1, 0);
                    up |= good >= rise;
                    first = false;
                }
                _ => {
                    (good, bad) = (0, bad + 1);
                    up &= !(first || bad > retry);
                    first = false;
                }
            }
            if !up {
                bad = 0;
            }
            prop_assert_eq!(status.weight().is_some(), up);
        }
    }

    /// The page is always one of the list, and a list of good pages ends in an up checker.
    #[test]
    fn good_pages_bring_it_up(
        alpha in any::<bool>(),
        fast in any::<bool>(),
        pages in 1_usize..6,
        findings in prop::collection::vec(prop::sample::select(vec!['+', '-', '?']), 0..40),
    ) {
        let mut status = CheckStatus::new(alpha);
        for code in findings {
            status.record(finding(code), &schedule(2, 1), pages, fast);
            prop_assert!(status.page() < pages);
        }
        for _ in 0..=2 * pages {
            status.record(Ok(0), &schedule(2, 1), pages, fast);
        }
        prop_assert!(status.weight().is_some());
    }
}
