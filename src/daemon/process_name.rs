//! What the processes are called in `ps`, `top` and `pidof`.
//!
//! Pure: who is called what; shell: the call that says so. Without it a process that was started as `/proc/self/exe` is
//! called `exe`, and nobody finds it.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::conf::config::DaemonConfig;

/// The names of our processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessNames {
    /// `process_name`, or the name that the program was started under.
    pub main: String,
    /// `vrrp_process_name`, or what [`Self::main`] is called.
    pub vrrp: String,
    /// `checker_process_name`, or what [`Self::main`] is called.
    pub balancer: String,
}

impl ProcessNames {
    /// Those that a configuration asks for, of a program started as `program`.
    pub fn of(config: &DaemonConfig, program: &OsStr) -> Self {
        let program = Path::new(program).file_name().unwrap_or(program).to_string_lossy();
        let main = config.process_name.clone().unwrap_or_else(|| program.into_owned());
        let child = |own: &Option<String>, usual: &str| match own {
            Some(own) => own.clone(),
            None if config.process_names => usual.to_owned(),
            None => main.clone(),
        };
        Self {
            vrrp: child(&config.vrrp_process_name, "keepalived_vrrp"),
            balancer: child(&config.checker_process_name, "keepalived_lvs"),
            main,
        }
    }
}

/// Calls this process so; of a longer name the kernel takes 15 bytes. To be said by the first thread, whose name is the
/// process's.
pub fn call_this_process(name: &OsStr) {
    // A name out of an argument or a word has no zero byte in it, and a process can live with another name.
    if let Ok(name) = CString::new(name.as_bytes()) {
        let _ = nix::sys::prctl::set_name(&name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_its_own_then_the_usual_ones_then_the_parents() {
        let name = |name: &str| Some(name.to_owned());
        let mut config = DaemonConfig::default();
        let names = |config: &DaemonConfig| {
            let names = ProcessNames::of(config, OsStr::new("/usr/sbin/keepalived"));
            [names.main, names.vrrp, names.balancer]
        };
        assert_eq!(names(&config), ["keepalived", "keepalived", "keepalived"]);
        config.process_name = name("director");
        assert_eq!(names(&config), ["director", "director", "director"]);
        config.process_names = true;
        assert_eq!(names(&config), ["director", "keepalived_vrrp", "keepalived_lvs"]);
        config.vrrp_process_name = name("elections");
        assert_eq!(names(&config), ["director", "elections", "keepalived_lvs"]);
        config.checker_process_name = name("checks");
        assert_eq!(names(&config), ["director", "elections", "checks"]);
    }
}
