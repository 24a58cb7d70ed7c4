//! `apply(diff(a, b), a) == b`, for configurations that the parser makes of random files.

use std::fmt::Write;
use std::path::Path;

use holdfast::conf::{self, LoadOptions};
use holdfast::vrrp::config::{ConfigDiff, VrrpConfig};
use proptest::prelude::*;

/// What varies of one instance.
#[derive(Debug, Clone)]
struct Shape {
    name: u8,
    vrid: u8,
    priority: u8,
    nopreempt: bool,
    addresses: Vec<u8>,
    scripts: Vec<u8>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let addresses = proptest::collection::vec(1..20_u8, 1..5);
    let scripts = proptest::collection::vec(0..4_u8, 0..3);
    (0..6_u8, 1..=255_u8, 1..=254_u8, any::<bool>(), addresses, scripts).prop_map(
        |(name, vrid, priority, nopreempt, addresses, scripts)| Shape {
            name,
            vrid,
            priority,
            nopreempt,
            addresses,
            scripts,
        },
    )
}

fn configuration() -> impl Strategy<Value = VrrpConfig> {
    let shapes = proptest::collection::vec(shape(), 0..6);
    let group = proptest::collection::vec(0..6_u8, 0..4);
    let statics = proptest::collection::vec(1..9_u8, 0..3);
    (shapes, group, statics, 0..4_u8).prop_map(|(shapes, group, statics, delay)| {
        let mut text = String::new();
        if delay > 0 {
            let _ = writeln!(text, "global_defs {{\n vrrp_startup_delay {delay}\n}}");
        }
        for script in 0..4 {
            let _ = writeln!(text, "vrrp_script s{script} {{\n script \"/bin/s{script}\"\n}}");
        }
        for (index, shape) in shapes.iter().enumerate() {
            // An interface of its own: a duplicate virtual router would be fatal.
            let _ = writeln!(
                text,
                "vrrp_instance V{} {{\n interface eth{index}\n virtual_router_id {}",
                shape.name, shape.vrid
            );
            let _ = writeln!(text, " priority {}\n virtual_ipaddress {{", shape.priority);
            for address in &shape.addresses {
                let _ = writeln!(text, "  192.0.2.{address}/24");
            }
            let _ = writeln!(text, " }}\n track_script {{");
            for script in &shape.scripts {
                let _ = writeln!(text, "  s{script}");
            }
            let _ = writeln!(text, " }}\n{}}}", if shape.nopreempt { " nopreempt\n" } else { "" });
        }
        let _ = writeln!(text, "vrrp_sync_group G {{\n group {{");
        for member in &group {
            let _ = writeln!(text, "  V{member}");
        }
        let _ = writeln!(text, " }}\n}}\nstatic_ipaddress {{");
        for address in &statics {
            let _ = writeln!(text, " 198.51.100.{address}");
        }
        let _ = writeln!(text, "}}");
        let loaded = conf::load_text(Path::new("k.conf"), text.as_bytes(), &LoadOptions::default());
        loaded.config.unwrap_or_else(|| panic!("{text}\n{}", loaded.diagnostics)).vrrp
    })
}

proptest! {
    #[test]
    fn applying_the_difference_gives_the_new_configuration(a in configuration(), b in configuration()) {
        let diff = ConfigDiff::between(&a, &b);
        prop_assert_eq!(diff.is_empty(), a == b);
        let mut applied = a;
        diff.apply(&mut applied);
        prop_assert_eq!(applied, b);
    }

    #[test]
    fn a_configuration_differs_from_itself_in_nothing(a in configuration()) {
        prop_assert!(ConfigDiff::between(&a, &a).is_empty());
    }
}
