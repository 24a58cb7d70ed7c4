//! The pairs in `examples/`: each file is read without an error, without warnings where it is our own advice, and the
//! lab sees in it what the daemon does.

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast::conf::{Diagnostic, LoadOptions, Loaded, Severity, load};
use holdfast::lab::examples::EXAMPLES;
use holdfast::lab::survey::survey;
use holdfast::vrrp::config::TrackerKey;

use common::{KEEPALIVED, keepalived};

/// Pairs as other people wrote them: warnings about what is not built, or was dropped long ago, are right there.
const NOT_OUR_ADVICE: [&str; 2] = ["classic-pair", "classic-nat-directors"];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

fn files() -> Vec<PathBuf> {
    let pattern = directory().join("*/*.conf");
    let files: Vec<_> = glob::glob(pattern.to_str().expect("UTF-8")).expect("a pattern").flatten().collect();
    assert!(files.len() >= 16, "{files:?}");
    files
}

fn read(path: &Path) -> Loaded {
    load(path, &LoadOptions::default())
}

#[test]
fn each_is_read_without_an_error() {
    for path in files() {
        let loaded = read(&path);
        let text = loaded.diagnostics.render(false);
        let ours = !NOT_OUR_ADVICE.iter().any(|name| path.parent().is_some_and(|parent| parent.ends_with(name)));
        // A keyword that keepalived dropped long ago is an error of the file there and here, and the rest of it runs.
        let dropped = |d: &Diagnostic| !ours && d.message.contains("`nat_mask` is not a keyword");
        let errors = loaded.diagnostics.iter().filter(|d| d.severity == Severity::Error && !dropped(d)).count();
        assert_eq!(errors, 0, "{}:\n{text}", path.display());
        assert!(!ours || loaded.diagnostics.is_empty(), "{}:\n{text}", path.display());
        let config = loaded.config.expect("a configuration without errors");
        assert!(!config.vrrp.instances.is_empty(), "{}", path.display());
    }
}

#[test]
fn the_lab_sees_what_the_daemon_sees() {
    for path in files() {
        let config = read(&path).config.expect("tested above").vrrp;
        let found = survey(&std::fs::read_to_string(&path).expect("readable"));
        assert_eq!(found.instances.len(), config.instances.len(), "{}", path.display());
        for seen in &found.instances {
            let real = config.instances.get(&seen.name).unwrap_or_else(|| panic!("{}: {}", path.display(), seen.name));
            assert_eq!(seen.interface, real.interface);
            assert_eq!(seen.vrid, real.vrid.value());
            assert_eq!(seen.priority, real.priority.value());
            assert_eq!(seen.interval, real.advert_interval.duration());
            assert_eq!(seen.v3, real.version.value() == 3);
            assert_eq!(seen.preempt, real.preempt);
            assert_eq!(seen.source, real.source);
            let ours: Vec<_> = seen.vips.iter().map(|vip| vip.address).collect();
            let theirs: Vec<_> = real.all_addresses().map(|address| address.address).collect();
            assert_eq!(ours, theirs);
            let weights: Vec<_> = seen.tracks.iter().map(|track| track.weight).collect();
            let scripts = real.tracks.iter().filter(|track| matches!(track.tracker, TrackerKey::Script(_)));
            assert_eq!(weights, scripts.map(|track| i32::from(track.weight)).collect::<Vec<_>>());
        }
    }
}

#[test]
fn the_maintenance_file_does_change_the_master() {
    let priority = |node: &str| {
        let loaded = read(&directory().join("maintenance-file").join(node));
        let instance = loaded.config.expect("tested above").vrrp.instances.remove("VI_1").expect("VI_1");
        (i32::from(instance.priority.value()), instance.tracks.iter().map(|t| i32::from(t.weight)).sum::<i32>())
    };
    let (a, weight) = priority("node-a.conf");
    let (b, _) = priority("node-b.conf");
    assert!(a > b && a + weight < b, "{a} {weight} {b}");
}

#[test]
fn all_are_built_in() {
    let folders: BTreeSet<_> =
        files().iter().filter_map(|path| Some(path.parent()?.file_name()?.to_str()?.to_owned())).collect();
    let built_in: BTreeSet<_> = EXAMPLES.iter().map(|example| example.name.to_owned()).collect();
    assert_eq!(built_in, folders);
}

/// The same files through Debian's keepalived, where it is installed. What it says of interfaces depends on the machine.
#[test]
fn keepalived_reads_them_too() {
    if !keepalived() {
        return;
    }
    for path in files() {
        // It disables the shell line that we run, and dropped nat_mask: see the comments there.
        let known = ["maintenance-file", "classic-nat-directors"];
        if known.iter().any(|name| path.parent().is_some_and(|parent| parent.ends_with(name))) {
            continue;
        }
        let output = Command::new(KEEPALIVED).args(["-t", "-l", "-f"]).arg(&path).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        // Our own keyword, which lets go of a dead real server soon; keepalived leaves it out.
        let expected =
            |line: &str| line.to_lowercase().contains("interface") || line.contains("'proxy_connect_timeout'");
        let complaints: Vec<_> = said.lines().filter(|line| !expected(line)).collect();
        assert_eq!(complaints, Vec::<&str>::new(), "{}", path.display());
    }
}
