//! What a lab needs of the kernel, and what to do when it is missing.
//!
//! Pure but for reading `/proc/self/status`.

use anyhow::{Context, Result, bail};

/// Number, name and purpose of each capability without which there is no lab.
const NEEDED: [(u32, &str, &str); 6] = [
    (5, "CAP_KILL", "to end daemons that changed their user"),
    (6, "CAP_SETGID", "for daemons that run scripts as other users"),
    (7, "CAP_SETUID", "for daemons that run scripts as other users"),
    (12, "CAP_NET_ADMIN", "to make interfaces and give them addresses"),
    (13, "CAP_NET_RAW", "to send and capture adverts"),
    (21, "CAP_SYS_ADMIN", "to make network, mount and process namespaces"),
];

/// Fails with a message that says what is missing.
pub fn check() -> Result<()> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let missing = missing(&status);
    if missing.is_empty() {
        return Ok(());
    }
    let list: String = missing.iter().map(|(name, why)| format!("\n  {name}: {why}")).collect();
    bail!(
        "the lab needs privileges that this process lacks:{list}\n\
         Run it as root (sudo holdfast lab). In a container, give it these capabilities, or --privileged. \
         It uses them inside namespaces of its own and changes nothing outside."
    )
}

/// Those that the effective set of a process does not have.
fn missing(status: &str) -> Vec<(&'static str, &'static str)> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0);
    let lacks = |(bit, ..): &&(u32, &str, &str)| effective & (1 << bit) == 0;
    NEEDED.iter().filter(lacks).map(|(_, name, why)| (*name, *why)).collect()
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn names_what_is_missing() {
        assert_eq!(missing("Name:\tx\nCapEff:\t000001ffffffffff\n"), []);
        let ordinary = missing("CapEff:\t0000000000000000\n");
        assert_eq!(ordinary.len(), 6);
        // Docker's default set.
        let docker: Vec<_> = missing("CapEff:\t00000000a80425fb\n").iter().map(|(name, _)| *name).collect();
        assert_eq!(docker, ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]);
    }
}
