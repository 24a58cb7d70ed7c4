//! The script of a rehearsal behind the directors: what is broken of a virtual server's real servers, how soon that is
//! seen, and what clients notice of it.
//!
//! Shell: drives a [`Cluster`]. Every wait is for something to happen, with a deadline.

#![allow(clippy::disallowed_methods)] // A shell: it measures.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::cluster::Cluster;
use super::faults::Fault;
use super::plan::RealHost;
use super::report::ServiceRow;
use super::survey::RealServer;
use crate::control::api::{Method, encode};
use crate::control::client::{Client, ClientError};
use crate::control::paths::DEFAULT_DIRECTORY;

/// Beyond the bound, to be sure that something does not happen rather than happens late.
const GRACE: Duration = Duration::from_secs(5);
/// How long the spread of requests over the servers is watched.
const SPREAD: Duration = Duration::from_secs(1);
/// A checker that takes longer is not waited for.
const LONGEST_REACTION: Duration = Duration::from_secs(60);
/// A server that answers nothing for so long gets no new connections.
const QUIET: Duration = Duration::from_millis(500);
/// A busy machine may add so much to a checker's own times.
const TOLERANCE: Duration = Duration::from_millis(1500);

/// Breaks one thing and repairs it. No rows when these files have nothing of the kind.
pub fn run(cluster: &mut Cluster, fault: Fault) -> Result<Vec<ServiceRow>> {
    let Some(probe) = cluster.plan.probes.iter().position(|probe| probe.balanced) else { return Ok(Vec::new()) };
    let instance = cluster.plan.probes.get(probe).context("a probe")?.instance.clone();
    let Some(master) = cluster.world.masters(&instance).into_iter().next() else { return Ok(Vec::new()) };
    let Some(number) = cluster.plan.real_servers.iter().position(|real| !real.sorry) else { return Ok(Vec::new()) };
    let scene = Scene { probe, master, number };
    let Some((real, _)) = scene.real(cluster, number) else { return Ok(Vec::new()) };
    // Without a checker nobody looks, and with a slow one nobody waits.
    let looked_after = real.checks.iter().any(|check| check != "FILE_CHECK") && real.reaction <= LONGEST_REACTION;
    match fault {
        Fault::RealPower | Fault::RealPort | Fault::RealPage | Fault::AllReal if !looked_after => Ok(Vec::new()),
        Fault::RealPower => scene.power(cluster),
        Fault::RealPort => scene.port(cluster),
        Fault::RealPage if real.checks.iter().any(|check| check.ends_with("_GET")) => scene.page(cluster),
        Fault::RealDrain => scene.drain(cluster, &real),
        Fault::AllReal => scene.all(cluster),
        _ => Ok(Vec::new()),
    }
}

/// Says the same of a real server to every director. Answers how, or nothing when there is no way to.
fn order(cluster: &Cluster, real: &RealServer, word: &str, number: &str) -> Result<Option<String>> {
    let address = SocketAddr::new(real.address, real.port).to_string();
    let mut how = None;
    for node in 0..cluster.nodes.len() {
        let director = cluster.director(node)?;
        let path = format!("/v1/real-servers/{}/{word}", encode(&address));
        let answer =
            director.host().run(move || Client::new(DEFAULT_DIRECTORY.as_ref()).ask(Method::Post, &path, "{}"));
        match (answer, &real.weight_file) {
            (Ok(answer), _) if answer.status == 200 => how = Some(format!("`holdfast {word} {address}`")),
            (Ok(answer), _) => {
                anyhow::bail!("{}: {word} {address}: {}", director.name(), String::from_utf8_lossy(&answer.body))
            }
            (Err(ClientError::NotRunning { .. }), Some(file)) => {
                director.write_file(file, number)?;
                how = Some(format!("{} says {}", file.display(), number.trim_end()));
            }
            (Err(ClientError::NotRunning { .. }), None) => return Ok(None),
            (Err(error), _) => return Err(error.into()),
        }
    }
    Ok(how)
}

struct Scene {
    /// The probe that is watched.
    probe: usize,
    /// The director that serves.
    master: String,
    /// The first real server.
    number: usize,
}

impl Scene {
    fn power(&self, cluster: &mut Cluster) -> Result<Vec<ServiceRow>> {
        let name = self.name(cluster)?;
        let at = cluster.note("lab", format!("{name} loses its power"));
        cluster.power_real(self.number, false)?;
        let broken = self.after(cluster, "real server dies", at, &[self.number], false)?;
        let at = cluster.note("lab", format!("{name} has power again"));
        cluster.power_real(self.number, true)?;
        Ok(vec![broken, self.after(cluster, "comes back", at, &[self.number], true)?])
    }

    fn port(&self, cluster: &mut Cluster) -> Result<Vec<ServiceRow>> {
        let name = self.name(cluster)?;
        let at = cluster.note("lab", format!("the web server of {name} ends"));
        cluster.serve_real(self.number, false)?;
        let broken = self.after(cluster, "port closed", at, &[self.number], false)?;
        let at = cluster.note("lab", format!("the web server of {name} starts"));
        cluster.serve_real(self.number, true)?;
        Ok(vec![broken, self.after(cluster, "open again", at, &[self.number], true)?])
    }

    fn page(&self, cluster: &mut Cluster) -> Result<Vec<ServiceRow>> {
        let name = self.name(cluster)?;
        let at = cluster.note("lab", format!("{name} answers every request with an error"));
        cluster.break_page(self.number, true);
        let broken = self.after(cluster, "wrong page", at, &[self.number], false)?;
        let at = cluster.note("lab", format!("{name} answers well again"));
        cluster.break_page(self.number, false);
        Ok(vec![broken, self.after(cluster, "right page", at, &[self.number], true)?])
    }

    /// Every director is told, as an operator tells it; one without control sockets, by the file that a FILE_CHECK reads.
    fn drain(&self, cluster: &mut Cluster, real: &RealServer) -> Result<Vec<ServiceRow>> {
        let name = self.name(cluster)?;
        // From before the order: a director may have carried it out when its answer comes.
        let at = Instant::now();
        let Some(told) = order(cluster, real, "drain", "-1\n")? else { return Ok(Vec::new()) };
        cluster.note("lab", format!("{name} is drained: {told}"));
        let broken = self.after_weight(cluster, "drained", at, &name, false)?;
        let at = Instant::now();
        let told = order(cluster, real, "enable", "0\n")?.context("who could drain it can enable it")?;
        cluster.note("lab", format!("{name} serves again: {told}"));
        Ok(vec![broken, self.after_weight(cluster, "serves again", at, &name, true)?])
    }

    /// Waits until a real server gets no new connections any more, or gets some again, and measures.
    fn after_weight(
        &self,
        cluster: &mut Cluster,
        what: &str,
        at: Instant,
        name: &str,
        serves: bool,
    ) -> Result<ServiceRow> {
        let probe = self.probe;
        let seen = cluster.wait(at + GRACE, |world| {
            let now = Instant::now();
            let from = if serves { Some(at) } else { now.checked_sub(QUIET).filter(|from| *from > at) };
            from.is_some_and(|from| world.answers(probe, from, now).0.contains_key(name) == serves)
        })?;
        let passed = at.elapsed();
        let (spread, lost_after) = self.watch(cluster)?;
        let mut row = self.measure(cluster, what, at, name)?;
        row.detect = seen.then(|| if serves { passed } else { passed.saturating_sub(QUIET) });
        row.good = seen && spread.contains_key(name) == serves && row.lost == 0 && lost_after == 0;
        let real = self.real(cluster, self.number).map(|(real, _)| named(&real));
        row.cause = real.and_then(|real| cluster.world.real_server_cause(&self.master, &real, at));
        row.spread = spread;
        Ok(row)
    }

    /// Who answers for a while, and how many requests are lost. Requests that are under way may still go wrong; what
    /// begins after them may not.
    fn watch(&self, cluster: &mut Cluster) -> Result<(BTreeMap<String, usize>, usize)> {
        let calm_from = Instant::now() + super::client::PATIENCE;
        cluster.wait(calm_from + SPREAD + super::client::PATIENCE, |_| false)?;
        Ok(cluster.world.answers(self.probe, calm_from, calm_from + SPREAD))
    }

    /// All web servers end at once, and the sorry server serves.
    fn all(&self, cluster: &mut Cluster) -> Result<Vec<ServiceRow>> {
        let sorry = cluster.plan.real_servers.iter().find(|real| real.sorry).map(|real| real.name.clone());
        let Some(sorry) = sorry else { return Ok(Vec::new()) };
        let all: Vec<usize> = (0..cluster.plan.real_servers.len())
            .filter(|number| cluster.plan.real_servers.get(*number).is_some_and(|real| !real.sorry))
            .collect();
        let at = cluster.note("lab", "the web servers of all real servers end");
        for number in &all {
            cluster.serve_real(*number, false)?;
        }
        let mut broken = self.after(cluster, "all ports closed", at, &all, false)?;
        broken.to = "all".to_owned();
        broken.good &= broken.spread.keys().eq([&sorry]);
        let at = cluster.note("lab", "the web servers of all real servers start");
        for number in &all {
            cluster.serve_real(*number, true)?;
        }
        let mut mended = self.after(cluster, "all open again", at, &all, true)?;
        mended.to = "all".to_owned();
        mended.good &= !mended.spread.contains_key(&sorry);
        Ok(vec![broken, mended])
    }

    /// Waits until the director that serves says that these real servers are out, or serve, and measures.
    fn after(
        &self,
        cluster: &mut Cluster,
        what: &str,
        at: Instant,
        numbers: &[usize],
        serves: bool,
    ) -> Result<ServiceRow> {
        let reals: Vec<(RealServer, RealHost)> =
            numbers.iter().filter_map(|number| self.real(cluster, *number)).collect();
        let bound = reals.iter().map(|(real, _)| real.reaction).max().unwrap_or_default();
        let names: Vec<String> = reals.iter().map(|(real, _)| named(real)).collect();
        let master = self.master.clone();
        let said = |world: &super::world::World| {
            let since = names.iter().map(|name| world.real_server_since(&master, name, serves));
            since.collect::<Option<Vec<_>>>()?.into_iter().max().filter(|since| *since >= at)
        };
        let seen = cluster.wait(at + bound + TOLERANCE + GRACE, |world| said(world).is_some())?;
        let detected = said(&cluster.world);
        let (spread, lost_after) = self.watch(cluster)?;
        let served_by = |host: &RealHost| spread.contains_key(&host.name);
        let right = if serves {
            reals.iter().all(|(_, host)| served_by(host))
        } else {
            !reals.iter().any(|(_, host)| served_by(host))
        };
        let name = reals.first().map(|(_, host)| host.name.clone()).unwrap_or_default();
        let mut row = self.measure(cluster, what, at, &name)?;
        row.detect = detected.map(|detected| detected - at);
        row.bound = Some(bound + TOLERANCE);
        row.spread = spread;
        row.cause = names.first().and_then(|name| cluster.world.real_server_cause(&self.master, name, at));
        row.good = seen && right && lost_after == 0 && row.detect <= row.bound;
        if !seen {
            row.remark = "not seen".to_owned();
        } else if !right {
            row.remark = "the wrong servers answer".to_owned();
        } else if lost_after > 0 {
            row.remark = format!("{lost_after} requests lost after it was seen");
        }
        Ok(row)
    }

    fn measure(&self, cluster: &Cluster, what: &str, at: Instant, name: &str) -> Result<ServiceRow> {
        let now = Instant::now();
        let (answers, lost) = cluster.world.answers(self.probe, at, now);
        Ok(ServiceRow {
            what: what.to_owned(),
            to: name.to_owned(),
            detect: None,
            bound: None,
            requests: answers.values().sum::<usize>() + lost,
            lost,
            spread: BTreeMap::new(),
            good: true,
            remark: String::new(),
            cause: None,
        })
    }

    fn name(&self, cluster: &Cluster) -> Result<String> {
        Ok(cluster.plan.real_servers.get(self.number).context("a real server")?.name.clone())
    }

    /// A real server as the master's file has it, and as the lab does.
    fn real(&self, cluster: &Cluster, number: usize) -> Option<(RealServer, RealHost)> {
        let host = cluster.plan.real_servers.get(number)?;
        let node = cluster.node_number(&self.master)?;
        let services = &cluster.nodes.get(node)?.survey.services;
        let real = services.iter().flat_map(|s| &s.real_servers).find(|real| real.address == host.address)?;
        Some((real.clone(), host.clone()))
    }
}

/// A real server as log lines have it.
fn named(real: &RealServer) -> String {
    format!("[{}]:tcp:{}", real.address, real.port)
}
