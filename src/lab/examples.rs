//! The example pairs, built into the binary so that `holdfast lab` needs nothing else.
//!
//! Pure. The files are those of `examples/` in the source tree.

/// A pair of files that belong together.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// Its name, as `holdfast lab NAME` takes it.
    pub name: &'static str,
    /// File name and content of each node.
    pub nodes: &'static [(&'static str, &'static str)],
}

/// What `holdfast lab` rehearses when it is told nothing.
pub const DEFAULT: &str = "two-directors";

macro_rules! example {
    ($name:literal) => {
        Example {
            name: $name,
            nodes: &[
                ("node-a.conf", include_str!(concat!("../../examples/", $name, "/node-a.conf"))),
                ("node-b.conf", include_str!(concat!("../../examples/", $name, "/node-b.conf"))),
            ],
        }
    };
}

/// All of them.
pub const EXAMPLES: [Example; 9] = [
    example!("two-directors"),
    example!("maintenance-file"),
    example!("nginx-pair"),
    example!("sync-group"),
    example!("ipv6"),
    example!("unicast"),
    example!("web-cluster"),
    example!("classic-pair"),
    example!("classic-nat-directors"),
];

/// The example of that name.
pub fn find(name: &str) -> Option<&'static Example> {
    EXAMPLES.iter().find(|example| example.name == name)
}
