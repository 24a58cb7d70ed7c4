use std::path::Path;

use super::*;
use crate::conf::load_text;

const BASE: &str = "\
global_defs {
    router_id one
}
vrrp_script web {
    script \"/bin/check web\"
    interval 2
    rise 2
    fall 2
}
vrrp_instance A {
    interface eth0
    virtual_router_id 1
    priority 150
    authentication {
        auth_type PASS
        auth_pass hunter2
    }
    virtual_ipaddress {
        192.0.2.1/24
    }
    track_script {
        web weight -60
    }
}
vrrp_instance B {
    interface eth0
    virtual_router_id 2
    virtual_ipaddress {
        192.0.2.2/24 dev eth1
    }
}
vrrp_instance C {
    interface eth0
    virtual_router_id 3
    virtual_ipaddress {
        192.0.2.3/24
    }
}
";

fn config(text: &str) -> Config {
    let loaded = load_text(Path::new("k.conf"), text.as_bytes(), &Default::default());
    assert!(!loaded.diagnostics.has_errors(), "{}", loaded.diagnostics);
    loaded.config.unwrap()
}

fn plan(change: impl Fn(&str) -> String) -> Plan {
    Plan::between(&config(BASE), &config(&change(BASE)))
}

#[test]
fn nothing() {
    let plan = plan(|text| format!("# a remark\n{text}"));
    assert_eq!(plan.render(false), "no change: 3 instances stay as they are\n");
}

#[test]
fn it_reads_like_a_diff() {
    let text = plan(|text| {
        let text = text.replace("priority 150", "priority 120").replace("192.0.2.1/24\n", "192.0.2.1/24\n 192.0.2.9\n");
        let text = text.replace("hunter2", "hunter3").replace("router_id one", "router_id two");
        let at = text.find("vrrp_instance C").unwrap();
        format!(
            "{}vrrp_instance D {{\n interface eth0\n virtual_router_id 9\n advert_int 2\n virtual_ipaddress {{ 192.0.2.7 }}\n}}\n",
            &text[..at]
        )
    });
    let expected = "\
~ global_defs: counts from then on
    - router_id one
    + router_id two
~ vrrp_instance A: it goes on in its state
    - authentication ******** (#1)
    + authentication ******** (#2)
    - priority 150
    + priority 120
    + virtual_ipaddress 192.0.2.9/32 track
- vrrp_instance C: it resigns if it is master, and its addresses are taken off
    - interface eth0
    - priority 100
    - virtual_ipaddress 192.0.2.3/24 track
    - virtual_router_id 3
+ vrrp_instance D: a new virtual router begins
    + advert_int 2 s
    + interface eth0
    + priority 100
    + virtual_ipaddress 192.0.2.7/32 track
    + virtual_router_id 9
blocks: 1 to add, 2 to change, 1 to remove
instances: 3 touched (A, C, D), 1 untouched
";
    assert_eq!(mask(&text.render(false)), expected);
    assert!(!text.render(false).contains("hunter"));
    assert!(text.render(true).contains("\x1b[32m+ priority 120"));
}

/// The marks of passwords are in no order that means anything: numbered as they come.
fn mask(text: &str) -> String {
    let mut number = 0;
    let mut masked = String::new();
    for line in text.split_inclusive('\n') {
        match line.find("(#") {
            Some(at) => {
                number += 1;
                masked.push_str(&format!("{}(#{number})\n", &line[..at]));
            }
            None => masked.push_str(line),
        }
    }
    masked
}

#[test]
fn what_a_change_does_to_an_instance_is_told() {
    let effect = |change: fn(&str) -> String| {
        let plan = plan(change);
        let block = plan.blocks.first().unwrap();
        (block.block.clone(), block.effect.clone(), plan.touched.iter().cloned().collect::<Vec<_>>().join(" "))
    };
    let (block, what, touched) = effect(|text| text.replace("virtual_router_id 2", "virtual_router_id 22"));
    assert!(what.contains("another virtual router") && block == "vrrp_instance B" && touched == "B", "{what}");
    let (block, what, touched) = effect(|text| text.replace("vrrp_instance B", "vrrp_instance Beta"));
    assert_eq!((block.as_str(), what.as_str()), ("vrrp_instance Beta", "was called B; it goes on in its state"));
    assert_eq!(touched, "Beta");
    let (block, _, touched) = effect(|text| text.replace("interval 2", "interval 3"));
    assert_eq!((block.as_str(), touched.as_str()), ("vrrp_script web", "A"), "who tracks it");
    let notify = |text: &str| text.replace(" priority 150", " priority 150\n notify /bin/tell");
    let (block, _, touched) = effect(notify);
    assert_eq!((block.as_str(), touched.as_str()), ("vrrp_instance A", ""), "telling people is no part of its life");
    let (_, what, _) = effect(|text| format!("umask 022\n{text}").replace("umask 022\n", "net_namespace blue\n"));
    assert!(what.contains("net_namespace at the next start only"), "{what}");
}

#[test]
fn the_order_of_addresses_counts_and_shows() {
    let two = |order: &str| BASE.replace("192.0.2.1/24\n", order);
    let (one, other) = (two("192.0.2.1/24\n192.0.2.9/24\n"), two("192.0.2.9/24\n192.0.2.1/24\n"));
    let plan = Plan::between(&config(&one), &config(&other));
    assert_eq!(plan.blocks.first().map(|block| block.lines.len()), Some(1), "{plan:?}");
}
