//! Every `cases/NAME.conf` against `cases/NAME.txt`: the diagnostics as people see them, then the exit code of a
//! configuration test. `HOLDFAST_BLESS=1 cargo test --test conf` rewrites the expectations; read the difference.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use holdfast::conf::{self, LoadOptions};

#[test]
fn cases_say_what_is_written_beside_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conf/cases");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let mut wrong = String::new();
    for file in files {
        let text = std::fs::read(&file).expect("a readable case");
        let name = Path::new(file.file_name().expect("a file name"));
        let options = LoadOptions { config_id: "node1".to_owned(), ..LoadOptions::default() };
        let loaded = conf::load_text(name, &text, &options);
        let code = loaded.diagnostics.config_test_exit_code();
        assert_eq!(loaded.config.is_none(), loaded.diagnostics.is_fatal(), "{}", file.display());
        let said = format!("{}exit code {code}\n", loaded.diagnostics.render(false));
        let expected = file.with_extension("txt");
        if std::env::var_os("HOLDFAST_BLESS").is_some() {
            std::fs::write(&expected, &said).expect("a writable expectation");
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != said {
            let _ = writeln!(wrong, "{}:\n{said}", file.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
