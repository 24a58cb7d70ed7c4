//! Finding a script's file, and who else could change it.
//!
//! Shell: looks at files, runs nothing.

use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use nix::unistd::Gid;
use rustix::io::Errno;

use super::exec::Identity;

/// Why a program cannot be run, or should not.
#[derive(Debug, thiserror::Error)]
pub enum PathProblem {
    /// A component of the path is not there or cannot be passed.
    #[error("{}: {source}", component.display())]
    Missing {
        /// The first component that is.
        component: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// No directory of PATH has it.
    #[error("{name} is in no directory of PATH ({path})")]
    NotInPath {
        /// The program's name.
        name: String,
        /// The value of PATH.
        path: String,
    },
    /// A directory or a device.
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// No execute permission for anybody.
    #[error("{0} is not executable (mode {1:04o}); `chmod a+x {0}` mends it", file.display(), mode)]
    NotExecutable {
        /// The file.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Somebody other than root owns a component.
    #[error("{0} belongs to user {1}, who could change what root runs; `chown root {0}` mends it", component.display(), owner)]
    ForeignOwner {
        /// The component.
        component: PathBuf,
        /// Its owner's user id.
        owner: u32,
    },
    /// Others may write to a component.
    #[error("{0} can be written by others than root (mode {1:04o}); `chmod go-w {0}` mends it", component.display(), mode)]
    WritableByOthers {
        /// The component.
        component: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The user that it runs as may not pass a directory, or not run the file.
    #[error("user {user} may not {deed} {0} (mode {mode:04o}); `chmod {remedy} {0}` mends it", component.display())]
    Forbidden {
        /// The user.
        user: String,
        /// `enter` or `run`.
        deed: &'static str,
        /// The component.
        component: PathBuf,
        /// Its mode.
        mode: u32,
        /// What chmod is told.
        remedy: &'static str,
    },
}

/// The file that `program` names: a path as it is, a bare name by `PATH`. It exists and has an execute bit.
///
/// # Errors
/// There is no such program.
pub fn locate(program: &str) -> Result<PathBuf, PathProblem> {
    if program.contains('/') {
        let path = PathBuf::from(program);
        check_executable(&path)?;
        return Ok(path);
    }
    let path =
        std::env::var("PATH").unwrap_or_else(|_| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into());
    path.split(':')
        .map(|dir| Path::new(dir).join(program))
        .find(|candidate| check_executable(candidate).is_ok())
        .ok_or_else(|| PathProblem::NotInPath { name: program.to_owned(), path })
}

fn check_executable(path: &Path) -> Result<(), PathProblem> {
    let meta = fs::metadata(path).map_err(|source| first_missing(path, source))?;
    let mode = meta.permissions().mode() & 0o7777;
    if !meta.is_file() {
        return Err(PathProblem::NotAFile(path.to_owned()));
    }
    if mode & 0o111 == 0 {
        return Err(PathProblem::NotExecutable { file: path.to_owned(), mode });
    }
    Ok(())
}

/// Names the component that is missing rather than the whole path: at 3 a.m. it is the typing mistake.
fn first_missing(path: &Path, source: io::Error) -> PathProblem {
    for component in prefixes(path) {
        if let Err(source) = fs::metadata(&component) {
            return PathProblem::Missing { component, source };
        }
    }
    PathProblem::Missing { component: path.to_owned(), source }
}

/// Whether only root can change what is run as `path`: every component of it and of what it resolves to belongs to
/// root and is writable by nobody else (a directory with the sticky bit protects its entries).
///
/// # Errors
/// The first component that is not so.
pub fn check_only_root_writes(path: &Path) -> Result<(), PathProblem> {
    let resolved = fs::canonicalize(path).map_err(|source| first_missing(path, source))?;
    for component in prefixes(path).into_iter().chain(prefixes(&resolved)) {
        let meta = fs::symlink_metadata(&component).map_err(|source| first_missing(&component, source))?;
        check_component(component, &meta)?;
    }
    Ok(())
}

/// Whether a user other than root may run this file: pass every directory on the way to it, and, of a file that begins
/// with `#!`, read it. By modes alone: a component with an access list is believed to be in order.
///
/// # Errors
/// The first component that does not let it through.
pub fn check_user_runs(path: &Path, user: &str, identity: &Identity) -> Result<(), PathProblem> {
    let resolved = fs::canonicalize(path).map_err(|source| first_missing(path, source))?;
    for component in prefixes(&resolved) {
        let meta = fs::metadata(&component).map_err(|source| first_missing(&component, source))?;
        let mode = meta.permissions().mode() & 0o7777;
        let is_member = |group: &Gid| group.as_raw() == meta.gid();
        let in_group = is_member(&identity.gid) || identity.supplementary.iter().any(is_member);
        let class = match (meta.uid() == identity.uid.as_raw(), in_group) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        let is_script = meta.is_file() && begins_as_script(&component);
        let needed = if is_script { 0o5 } else { 0o1 };
        if (mode >> class) & needed != needed && !has_access_list(&component) {
            let (deed, remedy) = match (meta.is_dir(), is_script) {
                (true, _) => ("enter", "a+x"),
                (false, true) => ("run", "a+rx"),
                (false, false) => ("run", "a+x"),
            };
            return Err(PathProblem::Forbidden { user: user.to_owned(), deed, component, mode, remedy });
        }
    }
    Ok(())
}

fn begins_as_script(file: &Path) -> bool {
    let mut start = [0; 2];
    fs::File::open(file).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"#!"
}

fn has_access_list(path: &Path) -> bool {
    let mut list = [0_u8; 1024];
    !matches!(rustix::fs::getxattr(path, "system.posix_acl_access", &mut list), Err(Errno::NODATA | Errno::OPNOTSUPP))
}

fn check_component(component: PathBuf, meta: &Metadata) -> Result<(), PathProblem> {
    if meta.uid() != 0 {
        return Err(PathProblem::ForeignOwner { component, owner: meta.uid() });
    }
    let mode = meta.permissions().mode() & 0o7777;
    let sticky_dir = meta.is_dir() && mode & 0o1000 != 0;
    // The mode of a symbolic link means nothing; what it leads to is checked on its own.
    if mode & 0o022 != 0 && !sticky_dir && !meta.file_type().is_symlink() {
        return Err(PathProblem::WritableByOthers { component, mode });
    }
    Ok(())
}

/// `/`, `/a`, `/a/b` of `/a/b`.
fn prefixes(path: &Path) -> Vec<PathBuf> {
    let mut prefix = PathBuf::new();
    path.components()
        .filter(|c| !matches!(c, Component::CurDir))
        .map(|component| {
            prefix.push(component);
            prefix.clone()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use nix::unistd::Uid;

    use super::*;

    fn script(dir: &Path, name: &str, mode: u32) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn what_cannot_be_run_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let message = |program: &str| locate(program).unwrap_err().to_string();
        let missing = message(&path("nodir/x"));
        assert!(missing.starts_with(&format!("{}: No such file", path("nodir"))), "{missing}");
        script(dir.path(), "plain", 0o644);
        assert_eq!(
            message(&path("plain")),
            format!("{0} is not executable (mode 0644); `chmod a+x {0}` mends it", path("plain"))
        );
        assert!(message(&dir.path().display().to_string()).contains("not a regular file"));
        assert!(message("no-such-program-anywhere").contains("PATH"));
        assert!(locate("sh").unwrap().is_absolute());
        script(dir.path(), "ok", 0o755);
        assert!(locate(&path("ok")).is_ok());
    }

    #[test]
    fn what_its_user_may_not_run_is_named_with_the_remedy() {
        if !crate::common::root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let identity = |uid, supplementary: &[u32]| Identity {
            uid: Uid::from_raw(uid),
            gid: Gid::from_raw(70_001),
            supplementary: supplementary.iter().copied().map(Gid::from_raw).collect(),
        };
        let may_as =
            |path: &Path, who: Identity| check_user_runs(path, "ann", &who).map_err(|problem| problem.to_string());
        let may = |path: &Path, uid| may_as(path, identity(uid, &[]));
        let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        chmod(dir.path(), 0o755);
        let sub = dir.path().join("sub");
        fs::create_dir(&sub).unwrap();
        chmod(&sub, 0o700);
        let file = script(&sub, "s", 0o755);
        let said = may(&file, 70_000).unwrap_err();
        assert_eq!(said, format!("user ann may not enter {0} (mode 0700); `chmod a+x {0}` mends it", sub.display()));
        chown(&sub, Some(70_000), None).unwrap();
        assert_eq!(may(&file, 70_000), Ok(()), "its own directory");
        chmod(&sub, 0o711);
        chmod(&file, 0o711);
        let said = may(&file, 70_002).unwrap_err();
        assert_eq!(said, format!("user ann may not run {0} (mode 0711); `chmod a+rx {0}` mends it", file.display()));
        chown(&file, None, Some(70_001)).unwrap();
        chmod(&file, 0o750);
        assert_eq!(may(&file, 70_002), Ok(()), "its group may");
        chown(&file, None, Some(70_005)).unwrap();
        assert!(may(&file, 70_002).is_err());
        assert_eq!(may_as(&file, identity(70_002, &[70_001, 70_005])), Ok(()), "a group besides");
        fs::write(&file, "\x7fELF").unwrap();
        chmod(&file, 0o711);
        assert_eq!(may(&file, 70_002), Ok(()), "a program need not be readable");
    }

    #[test]
    fn what_others_could_change_is_named_with_the_remedy() {
        if !crate::common::root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let ok = script(dir.path(), "ok", 0o755);
        check_only_root_writes(&ok).unwrap();
        let link = dir.path().join("link");
        symlink("ok", &link).unwrap();
        check_only_root_writes(&link).unwrap();

        let loose = script(dir.path(), "loose", 0o775);
        let said = check_only_root_writes(&loose).unwrap_err().to_string();
        assert!(said.contains("mode 0775") && said.contains(&format!("`chmod go-w {}`", loose.display())), "{said}");
        chown(&loose, Some(1234), None).unwrap();
        let said = check_only_root_writes(&loose).unwrap_err().to_string();
        assert!(said.contains("user 1234") && said.contains(&format!("`chown root {}`", loose.display())), "{said}");

        // A good name that leads to a bad file, and a good file in a bad directory.
        let link = dir.path().join("alias");
        symlink("loose", &link).unwrap();
        assert!(check_only_root_writes(&link).is_err());
        let sub = dir.path().join("sub");
        fs::create_dir(&sub).unwrap();
        let inner = script(&sub, "inner", 0o755);
        fs::set_permissions(&sub, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(check_only_root_writes(&inner).unwrap_err().to_string().starts_with(&sub.display().to_string()));
        fs::set_permissions(&sub, fs::Permissions::from_mode(0o1777)).unwrap();
        check_only_root_writes(&inner).unwrap();
    }
}
