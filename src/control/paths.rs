//! Where the control sockets are.
//!
//! Pure: names only. A directory for each daemon of a machine: `/run/holdfast`, and `/run/holdfast/INSTANCE_NAMESPACE`
//! for one that the configuration gives an `instance` or a `net_namespace`, as pid files carry them.

use std::path::{Path, PathBuf};

use crate::conf::config::DaemonConfig;

/// The directory of a daemon without a name.
pub const DEFAULT_DIRECTORY: &str = "/run/holdfast";

/// The directory of the sockets: the command line's, else the file's, else the default one.
pub fn directory(given: Option<&Path>, config: &DaemonConfig, namespace: Option<&str>) -> PathBuf {
    if let Some(given) = given.or(config.control_directory.as_deref()) {
        return given.to_owned();
    }
    let names: Vec<&str> = [config.instance.as_deref(), namespace].into_iter().flatten().collect();
    let default = Path::new(DEFAULT_DIRECTORY);
    if names.is_empty() { default.to_owned() } else { default.join(names.join("_").replace('/', "_")) }
}

/// Where to look and not to touch.
pub fn status_socket(directory: &Path) -> PathBuf {
    directory.join("status.sock")
}

/// Where commands are given.
pub fn admin_socket(directory: &Path) -> PathBuf {
    directory.join("admin.sock")
}

/// Locked by the daemon whose sockets these are.
pub fn lock_file(directory: &Path) -> PathBuf {
    directory.join("control.pid")
}

/// What must be known after a restart.
pub fn maintenance_file(directory: &Path) -> PathBuf {
    directory.join("maintenance.json")
}

/// What operators have said of real servers.
pub fn real_servers_file(directory: &Path) -> PathBuf {
    directory.join("real-servers.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_comes_before_the_file_and_names_make_directories_of_their_own() {
        let mut config = DaemonConfig::default();
        let path =
            |given: Option<&str>, c: &DaemonConfig, ns| directory(given.map(Path::new), c, ns).display().to_string();
        assert_eq!(path(None, &config, None), "/run/holdfast");
        assert_eq!(path(None, &config, Some("ns")), "/run/holdfast/ns");
        config.instance = Some("two".into());
        assert_eq!(path(None, &config, None), "/run/holdfast/two");
        assert_eq!(path(None, &config, Some("../../x")), "/run/holdfast/two_.._.._x");
        config.control_directory = Some("/srv/control".into());
        assert_eq!(path(None, &config, Some("ns")), "/srv/control");
        assert_eq!(path(Some("/tmp/x"), &config, Some("ns")), "/tmp/x");
    }
}
