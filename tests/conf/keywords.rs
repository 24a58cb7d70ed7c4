//! Every keyword of keepalived's language is known in its block: the schema's own list beside two that are checked in,
//! `keywords.txt` (keepalived's) and `keywords_ours.txt`. A keyword that goes missing is a failing row.

use std::collections::BTreeSet;

use holdfast::conf::schema::{Args, Block, ROOT, Support};

/// `BLOCK KEYWORD` for a block and all inside it; blocks inside blocks are paths.
fn list(path: &str, block: &Block, ours: bool, rows: &mut BTreeSet<String>) {
    for keyword in block.keywords {
        if keyword.ours == ours {
            rows.insert(format!("{path} {}", keyword.name));
        }
        if let Args::Block(inner) = keyword.args {
            let inside = if path == ROOT.name { keyword.name.to_owned() } else { format!("{path}/{}", keyword.name) };
            list(&inside, inner, ours, rows);
        }
    }
}

fn compare(ours: bool, expected: &str) {
    let mut rows = BTreeSet::new();
    list(ROOT.name, &ROOT, ours, &mut rows);
    let expected: BTreeSet<String> = expected.lines().map(str::to_owned).collect();
    let missing: Vec<&String> = expected.difference(&rows).collect();
    let surplus: Vec<&String> = rows.difference(&expected).collect();
    assert!(missing.is_empty(), "not in the schema: {missing:#?}");
    assert!(surplus.is_empty(), "not in the list: {surplus:#?}");
}

#[test]
fn every_keyword_of_keepalived_is_known_in_its_block() {
    compare(false, include_str!("keywords.txt"));
}

#[test]
fn our_own_keywords_are_these() {
    compare(true, include_str!("keywords_ours.txt"));
}

/// Nothing is taken without being looked at, and what is not carried out says what that means.
#[test]
fn every_keyword_has_a_grammar() {
    fn walk(block: &Block) {
        for keyword in block.keywords {
            let place = format!("{} {}", block.name, keyword.name);
            assert!(!matches!(keyword.args, Args::Any), "{place}");
            assert!(!keyword.grammar.is_empty() && !keyword.meaning.is_empty(), "{place}");
            match keyword.support {
                Support::Warning(why) | Support::Error(why) | Support::Fatal(why) => {
                    assert!(!why.is_empty(), "{place}")
                }
                Support::Built | Support::NoEffect => {}
            }
            if let Args::Block(inner) = keyword.args {
                walk(inner);
            }
        }
    }
    walk(&ROOT);
}
