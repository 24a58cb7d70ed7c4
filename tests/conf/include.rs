//! Included files: where they are looked for, what a missing one costs, and files that include each other.

use std::fs;
use std::path::Path;

use holdfast::conf::{self, LoadOptions, Loaded};

fn load(files: &[(&str, &str)], options: &LoadOptions) -> (Loaded, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
        fs::write(path, text).expect("a writable file");
    }
    (conf::load(&folder.path().join("k.conf"), options), folder)
}

fn said(loaded: &Loaded, folder: &Path) -> Vec<String> {
    let folder = folder.canonicalize().expect("it is there").display().to_string();
    loaded
        .diagnostics
        .iter()
        .map(|d| {
            format!("{}:{}: {}: {}", d.file.file_name().unwrap_or_default().display(), d.line, d.severity, d.message)
        })
        .map(|line| line.replace(&folder, ""))
        .collect()
}

#[test]
fn files_are_found_beside_the_file_that_includes_them() {
    let (loaded, folder) = load(
        &[
            ("k.conf", "includea sub/*.conf\ninclude sub/{x,y}.inc\n"),
            ("sub/b.conf", "include deeper/c.conf\n"),
            ("sub/a.conf", "global_defs {\n"),
            ("sub/deeper/c.conf", " router_id fromc\n}\n"),
            ("sub/x.inc", "instance x\n"),
        ],
        &LoadOptions::default(),
    );
    let config = loaded.config.as_ref().expect("nothing is fatal");
    assert_eq!(config.daemon.router_id.as_deref(), Some("fromc"));
    assert_eq!(config.daemon.instance.as_deref(), Some("x"));
    assert_eq!(loaded.files.len(), 5);
    let said = said(&loaded, folder.path());
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("k.conf:2: warning: cannot include `"), "{said:?}");
}

/// Scripts often lie beside the configurations: keepalived skips what is executable.
#[test]
fn what_is_executable_is_no_configuration() {
    use std::os::unix::fs::PermissionsExt;
    let (_, folder) = load(
        &[("k.conf", "include sub/*\n"), ("sub/a", "use_pid_dir\n"), ("sub/b.sh", "exit 0\n")],
        &LoadOptions::default(),
    );
    fs::set_permissions(folder.path().join("sub/b.sh"), fs::Permissions::from_mode(0o755)).expect("ours");
    let loaded = conf::load(&folder.path().join("k.conf"), &LoadOptions::default());
    assert!(loaded.config.as_ref().is_some_and(|config| config.daemon.use_pid_dir));
    let said = said(&loaded, folder.path());
    assert_eq!(said, ["k.conf:1: warning: `/sub/b.sh` is executable: it is skipped, as in keepalived"]);
}

#[test]
fn a_file_that_includes_itself_is_reported_once() {
    let (loaded, folder) =
        load(&[("k.conf", "include a.conf\nuse_pid_dir\n"), ("a.conf", "include k.conf\n")], &LoadOptions::default());
    assert!(loaded.config.as_ref().is_some_and(|config| config.daemon.use_pid_dir));
    let said = said(&loaded, folder.path());
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("a.conf:1: error: ") && said[0].ends_with("/k.conf → /a.conf → /k.conf"), "{said:?}");
}

#[test]
fn a_file_that_must_be_there_is_fatal() {
    let strict = LoadOptions { strict_includes: true, ..LoadOptions::default() };
    let table = [
        ("include gone.conf", LoadOptions::default(), 0),
        ("includer gone.conf", LoadOptions::default(), 6),
        ("includem gone*.conf", LoadOptions::default(), 0),
        ("includew gone*.conf", LoadOptions::default(), 6),
        ("include gone.conf", strict, 6),
    ];
    for (line, options, code) in table {
        let (loaded, _folder) = load(&[("k.conf", line)], &options);
        assert_eq!(loaded.diagnostics.config_test_exit_code(), code, "{line}");
        assert_eq!(loaded.config.is_none(), code == 6, "{line}");
    }
}

#[test]
fn no_main_file_is_fatal() {
    let loaded = conf::load(Path::new("/nonexistent/keepalived.conf"), &LoadOptions::default());
    assert!(loaded.config.is_none());
    assert_eq!(loaded.diagnostics.config_test_exit_code(), 6);
    let said = loaded.diagnostics.to_string();
    assert!(said.starts_with("/nonexistent/keepalived.conf: fatal: cannot read the configuration: "), "{said}");
}

#[test]
fn diagnostics_travel_as_json() {
    let (loaded, _folder) = load(&[("k.conf", "global_def {\n}\n")], &LoadOptions::default());
    let json = serde_json::to_value(&loaded.diagnostics).expect("plain data");
    assert_eq!(json[0]["severity"], "error");
    assert_eq!((json[0]["line"].as_u64(), json[0]["column"].as_u64()), (Some(1), Some(1)));
    assert_eq!(json[0]["help"], "did you mean `global_defs`?");
}
