//! Orders about real servers: which are meant, and what is said of it.
//!
//! Shell, on main's loop.

use tracing::info;

use super::super::MainProcess;
use crate::control::api::{Refused, done, nearest, refused};
use crate::ipvs::config::VirtualServerId;
use crate::ipvs::event::AdminState;
use crate::ipvs::types::SocketKey;
use crate::status::model::Outcome;

impl MainProcess {
    pub(super) fn order_real_server(
        &mut self,
        name: &str,
        server: Option<&str>,
        state: AdminState,
        by: &str,
    ) -> Outcome {
        let services = &self.config.balancer.services;
        let is_meant = |id: &VirtualServerId, label: &Option<String>| {
            server.is_none_or(|server| {
                id.to_string() == server || is_address(id, server) || label.as_deref() == Some(server)
            })
        };
        if let Some(server) = server.filter(|_| !services.iter().any(|(id, config)| is_meant(id, &config.snmp_name))) {
            let names: Vec<String> = services.keys().map(ToString::to_string).collect();
            return Outcome {
                did_you_mean: nearest(server, names.iter().map(String::as_str)),
                ..refused(Refused::Unknown, format!("there is no virtual_server {server}"))
            };
        }
        let meant = services.iter().filter(|(id, config)| is_meant(id, &config.snmp_name));
        let all: Vec<(VirtualServerId, SocketKey, Option<String>)> = meant
            .flat_map(|(id, config)| config.real_servers.iter().map(|r| (id.clone(), r.address, r.snmp_name.clone())))
            .collect();
        let is_named = |address: &SocketKey, label: &Option<String>| {
            address.to_string() == name || address.ip.to_string() == name || label.as_deref() == Some(name)
        };
        let chosen: Vec<_> = all.iter().filter(|(_, address, label)| is_named(address, label)).collect();
        if chosen.is_empty() {
            let names: Vec<String> = all.iter().flat_map(|(_, a, _)| [a.to_string(), a.ip.to_string()]).collect();
            let of = server.map(|server| format!(" of {server}")).unwrap_or_default();
            return Outcome {
                did_you_mean: nearest(name, names.iter().map(String::as_str)),
                ..refused(Refused::Unknown, format!("there is no real_server {name}{of}"))
            };
        }
        let mut lines = Vec::new();
        for (id, address, _) in chosen {
            let what = match state {
                AdminState::Up => "is judged by its health again",
                AdminState::Drain => "takes no new connections; those that there are go on",
                AdminState::Maint => "is out of service, whatever its health",
            };
            info!("{address} of {id}: {state}, asked for by {by}");
            lines.push(format!("{address} of {id} {what}"));
            self.set_admin(id.clone(), *address, state);
        }
        done(lines.join("\n"))
    }
}

/// `192.0.2.1:80` for `[192.0.2.1]:tcp:80`.
fn is_address(id: &VirtualServerId, text: &str) -> bool {
    matches!(id, VirtualServerId::Address { address, .. } if address.to_string() == text)
}
