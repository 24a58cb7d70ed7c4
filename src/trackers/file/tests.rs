//! Real files and inotify.

use std::os::unix::fs::symlink;

use super::*;

struct Bench {
    trackers: FileTrackers,
    updates: mpsc::Receiver<Update>,
    known: BTreeMap<TrackerKey, TrackerStatus>,
}

impl Bench {
    fn watching(paths: &[(&str, &Path)]) -> Self {
        let (sender, updates) = mpsc::channel(16);
        let mut bench = Self { trackers: FileTrackers::new(sender), updates, known: BTreeMap::new() };
        bench.apply(paths);
        bench
    }

    fn apply(&mut self, paths: &[(&str, &Path)]) {
        let config = |path: &Path| FileConfig { path: path.to_owned(), init: None };
        let wanted = paths.iter().map(|(name, path)| ((*name).to_owned(), config(path))).collect();
        self.trackers.apply(&wanted, &self.known);
    }

    /// Next values until `want` is seen; what may come before it is an intermediate state that really was there.
    async fn value(&mut self, want: i32) {
        loop {
            let update = tokio::time::timeout(Duration::from_secs(20), self.updates.recv()).await;
            let update = update.unwrap_or_else(|_| panic!("never {want}")).expect("an update");
            self.known.insert(update.key, update.status);
            if update.status == TrackerStatus::Value(want) {
                return;
            }
        }
    }
}

#[tokio::test]
async fn created_written_renamed_over_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weight");
    let mut bench = Bench::watching(&[("w", &path)]);
    bench.value(0).await;
    fs::write(&path, "5\n").unwrap();
    bench.value(5).await;
    fs::write(&path, "-12").unwrap();
    bench.value(-12).await;
    fs::write(dir.path().join("new"), "0x20").unwrap();
    fs::rename(dir.path().join("new"), &path).unwrap();
    bench.value(32).await;
    fs::remove_file(&path).unwrap();
    bench.value(0).await;
}

#[tokio::test]
async fn its_directory_may_be_missing_deleted_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b/weight");
    let mut bench = Bench::watching(&[("w", &path)]);
    bench.value(0).await;
    for n in 1..=3 {
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(&path, n.to_string()).unwrap();
        bench.value(n).await;
        fs::remove_dir_all(dir.path().join("a")).unwrap();
        bench.value(0).await;
    }
    fs::create_dir_all(dir.path().join("new/b")).unwrap();
    fs::write(dir.path().join("new/b/weight"), "9").unwrap();
    fs::rename(dir.path().join("new"), dir.path().join("a")).unwrap();
    bench.value(9).await;
}

#[tokio::test]
async fn a_link_that_is_switched_over() {
    // As Kubernetes mounts a ConfigMap: weight -> ..data/weight, ..data -> ..1, then ..data is renamed over.
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for (name, value) in [("..1", "1"), ("..2", "2")] {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("weight"), value).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/weight", at("weight")).unwrap();
    let path = at("weight");
    let mut bench = Bench::watching(&[("w", &path)]);
    bench.value(1).await;
    symlink("..2", at("..tmp")).unwrap();
    fs::rename(at("..tmp"), at("..data")).unwrap();
    bench.value(2).await;
    fs::write(at("..2/weight"), "3").unwrap();
    bench.value(3).await;
}

#[tokio::test]
async fn a_reload_reports_only_what_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
    fs::write(&one, "1").unwrap();
    fs::write(&two, "2").unwrap();
    let mut bench = Bench::watching(&[("one", &one)]);
    bench.value(1).await;
    bench.apply(&[("one", &one), ("two", &two)]);
    let update = bench.updates.recv().await.unwrap();
    assert_eq!(update, Update { key: TrackerKey::File("two".into()), status: TrackerStatus::Value(2) });
    fs::write(&one, "7").unwrap();
    bench.value(7).await;
}

#[test]
fn init_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let init = |value, overwrite| create(&path, FileInit { value, overwrite }).unwrap();
    init(3, false);
    assert_eq!(fs::read_to_string(&path).unwrap(), "3\n");
    init(4, false);
    assert_eq!(fs::read_to_string(&path).unwrap(), "3\n");
    init(5, true);
    assert_eq!(fs::read_to_string(&path).unwrap(), "5\n");
}

#[test]
fn ways_end_where_links_loop() {
    let dir = tempfile::tempdir().unwrap();
    symlink("b", dir.path().join("a")).unwrap();
    symlink("a", dir.path().join("b")).unwrap();
    let path = dir.path().join("a");
    let names = ways([&path].into_iter()).remove(&fs::canonicalize(dir.path()).unwrap()).unwrap();
    assert_eq!(names, ["a", "b"].map(OsString::from).into());
}
