//! packaging/steady-text.ld, by which the linker places functions, against the program as it is: names that are gone
//! would go unnoticed otherwise, and memory with them.

use std::path::Path;
use std::process::Command;

#[test]
fn the_functions_that_stand_together_are_in_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/steady-text.ld");
    let list = std::fs::read_to_string(path).expect("a list of functions");
    let patterns = list.lines().filter_map(|line| line.trim().strip_prefix("*(.text*.")?.strip_suffix(')'));
    // Those of other crates may be of another release of them, or of the compiler.
    let ours: Vec<&str> =
        patterns.filter(|pattern| pattern.starts_with("_RN") && pattern.contains("8holdfast")).collect();
    assert!(ours.len() > 100, "only {} functions of ours are listed", ours.len());

    let symbols = Command::new("nm").args(["--defined-only", env!("CARGO_BIN_EXE_holdfast")]).output();
    let Ok(symbols) = symbols else { return println!("skipped: needs nm, of binutils") };
    let symbols = String::from_utf8_lossy(&symbols.stdout);
    let names: Vec<&str> = symbols.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    if !names.iter().any(|name| name.starts_with("_RNv") && name.contains("8holdfast")) {
        return println!("skipped: needs the names of .cargo/config.toml, not those of RUSTFLAGS");
    }
    let gone: Vec<_> = ours.iter().filter(|pattern| !names.iter().any(|name| matches(pattern, name))).collect();
    assert!(
        gone.len() * 10 <= ours.len(),
        "{} of {} listed functions are not in the program: run packaging/record-steady-text\n{gone:#?}",
        gone.len(),
        ours.len()
    );
}

/// Whether `name` is `pattern` with anything in place of each `*`, as linkers read it.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[test]
fn a_star_stands_for_anything() {
    for (pattern, name, expected) in [
        ("_RNvCs*_8holdfast3run", "_RNvCsaB3_8holdfast3run", true),
        ("_RNvCs*_8holdfast3run", "_RNvCsaB3_8holdfast4runs", false),
        ("_RNvCs*_8holdfast3run", "_RINvCsaB3_8holdfast3run", false),
        ("a*b*c", "abc", true),
        ("a*b*c", "acb", false),
        ("abc", "abc", true),
        ("abc", "abcd", false),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} and {name}");
    }
}
