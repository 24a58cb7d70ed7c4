//! Large configurations, as programs write them.
//!
//! Pure.

use std::fmt::Write;

/// So many virtual routers on interfaces of their own.
pub fn instances(count: usize) -> String {
    let mut text = String::from("global_defs {\n    router_id node1\n    dynamic_interfaces\n}\n\n");
    for n in 0..count {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "vrrp_instance VI_{n} {{\n    state BACKUP\n    interface eth0.{}\n    virtual_router_id {}\n    priority 100\n    \
             advert_int 1\n    authentication {{\n        auth_type PASS\n        auth_pass secret{}\n    }}\n    \
             virtual_ipaddress {{\n        10.{}.{}.1/24\n        192.0.2.7/32\n    }}\n}}\n\n",
            n / 200,
            n % 200 + 1,
            n % 10,
            n / 250,
            n % 250,
        );
    }
    text
}

/// So many virtual servers with so many real servers each.
pub fn virtual_servers(count: usize, real_servers: usize) -> String {
    let mut text = String::from("global_defs {\n    router_id node1\n}\n\n");
    for n in 0..count {
        let (a, b, c) = (n / 65_536, n / 256 % 256, n % 256);
        let _ = write!(
            text,
            "virtual_server 10.{a}.{b}.{c} 80 {{\n    delay_loop 6\n    lb_algo wrr\n    lb_kind NAT\n    persistence_timeout 50\n    \
             protocol TCP\n    sorry_server 192.0.2.7 80\n\n"
        );
        for server in 0..real_servers {
            let _ = write!(
                text,
                "    real_server 172.{}.{}.{} 80 {{\n        weight 1\n        TCP_CHECK {{\n            connect_timeout 3\n            \
                 retry 3\n            delay_before_retry 3\n        }}\n    }}\n",
                16 + server / 65_536,
                server / 256 % 256,
                server % 256,
            );
        }
        text.push_str("}\n\n");
    }
    text
}
