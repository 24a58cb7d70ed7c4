//! The whole laboratory: switches, directors with their web servers, clients and captures, and their common inbox.
//!
//! Shell: everything is undone by dropping it, in the order of the fields.

#![allow(clippy::disallowed_methods)] // A shell: waits in real time.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::client::Client;
use super::director::{Daemon, Director};
use super::host::Host;
use super::lan::{Lan, add_route};
use super::mounts::ExtraFile;
use super::netlink;
use super::plan::{Plan, plan};
use super::server::Server;
use super::sniffer::Sniffer;
use super::survey::{Instance, Survey};
use super::world::{CALM, Happening, World};
use crate::status::time::Time;
use crate::status::why::{Answer, Explained};

/// What a real server's interface is called.
const REAL_INTERFACE: &str = "eth0";

/// A node before it runs.
#[derive(Debug, Clone)]
pub struct NodeFile {
    /// Its name.
    pub name: String,
    /// Where its keepalived.conf came from.
    pub path: PathBuf,
    /// Its keepalived.conf as the daemon will read it.
    pub text: String,
    /// What the lab knows of it.
    pub survey: Survey,
    /// Files beside it.
    pub files: Vec<ExtraFile>,
}

/// Ctrl-C, SIGTERM or SIGHUP.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// A running laboratory.
pub struct Cluster {
    clients: Vec<Client>,
    sniffers: Vec<Sniffer>,
    servers: Vec<Option<Server>>,
    directors: Vec<Director>,
    /// In the order of the plan: the machine, and its web server while it runs.
    real_servers: Vec<(Host, Option<Server>)>,
    client_host: Host,
    lans: Vec<Lan>,
    /// The files it was made from.
    pub nodes: Vec<NodeFile>,
    /// The network it has.
    pub plan: Plan,
    /// What was seen so far.
    pub world: World,
    /// The daemons are of our own make, and can be asked why.
    pub can_explain: bool,
    inbox: Receiver<Happening>,
    outbox: Sender<Happening>,
    print: Box<dyn FnMut(&str)>,
    printed: usize,
}

impl Cluster {
    /// Builds the network and the nodes; nothing runs yet. `print` gets each line of the timeline, with
    /// `logs` also those that the daemons log.
    pub fn build(
        nodes: Vec<NodeFile>,
        program: &std::path::Path,
        options: &[String],
        logs: bool,
        print: impl FnMut(&str) + 'static,
    ) -> Result<Self> {
        let surveys: Vec<Survey> = nodes.iter().map(|node| node.survey.clone()).collect();
        let plan = plan(&surveys);
        if plan.probes.is_empty() {
            bail!("the files have no virtual address that a client could ask");
        }
        let client_host = Host::new("client").context("cannot make a network namespace")?;
        let mut directors = Vec::new();
        for node in &nodes {
            let host = Host::new(&node.name)?;
            let daemon = Daemon { program: PathBuf::from(program), options: options.to_vec() };
            let director = Director::new(host, daemon, &node.text, node.files.clone());
            directors.push(director.with_context(|| format!("cannot prepare {}", node.name))?);
        }
        let mut lans = Vec::new();
        for (n, segment) in plan.segments.iter().enumerate() {
            let mut lan = Lan::new(&format!("switch{}", n + 1))?;
            lan.plug(&client_host, &format!("client{}", n + 1), &segment.client)?;
            for cable in &segment.cables {
                let Some(director) = directors.get(cable.node) else { continue };
                lan.plug(director.host(), &cable.interface, &cable.addresses)
                    .with_context(|| format!("cannot make {} on {}", cable.interface, director.name()))?;
                for peer in &cable.routes {
                    add_route(director.host(), &cable.interface, *peer)?;
                }
            }
            lans.push(lan);
        }
        let mut real_servers = Vec::new();
        for real in &plan.real_servers {
            let host = Host::new(&real.name)?;
            if let Some(lan) = lans.get_mut(real.segment) {
                lan.plug(&host, REAL_INTERFACE, &[(real.address, real.prefix_len)])?;
            }
            real_servers.push((host, None));
        }
        for (lan, segment) in lans.iter().zip(&plan.segments) {
            lan.wait_ready()?;
            for cable in &segment.cables {
                if let Some(director) = directors.get(cable.node) {
                    lan.wait_host_ready(director.host(), &cable.interface)?;
                }
            }
        }
        let (outbox, inbox) = channel();
        let world = World::new(Instant::now(), &plan.probes, logs);
        let mut cluster = Self {
            clients: Vec::new(),
            sniffers: Vec::new(),
            servers: Vec::new(),
            directors,
            real_servers,
            client_host,
            lans,
            nodes,
            plan,
            world,
            can_explain: false,
            inbox,
            outbox,
            print: Box::new(print),
            printed: 0,
        };
        cluster.observe()?;
        Ok(cluster)
    }

    /// Web servers, captures and clients. The inbox is unbounded: the lab's own loop reads it all the time, and what
    /// feeds it is bounded by the clients' pace.
    fn observe(&mut self) -> Result<()> {
        for number in 0..self.plan.real_servers.len() {
            self.serve_real(number, true)?;
        }
        for (director, node) in self.directors.iter_mut().zip(&self.nodes) {
            // A virtual server's port on a director is the virtual server's.
            let free = node.survey.services.iter().all(|service| service.port != super::server::PORT);
            let server = free.then(|| Server::start(director.host())).transpose();
            self.servers.push(server.context("cannot start a web server")?);
            let (outbox, node) = (self.outbox.clone(), director.name().to_owned());
            director.on_line(move |line| {
                let _ = outbox.send(Happening::Line { node: node.clone(), at: line.at, text: line.text.clone() });
            });
        }
        for lan in &self.lans {
            let outbox = self.outbox.clone();
            let send = move |frame| drop(outbox.send(Happening::Frame(frame)));
            self.sniffers.push(Sniffer::start(lan, send).context("cannot capture packets")?);
        }
        for (number, probe) in self.plan.probes.iter().enumerate() {
            let outbox = self.outbox.clone();
            let send = move |sample| drop(outbox.send(Happening::Sample { probe: number, sample }));
            self.clients.push(Client::start(&self.client_host, probe.address, send).context("cannot start a client")?);
        }
        Ok(())
    }

    /// Where signal handlers and others report.
    pub fn outbox(&self) -> Sender<Happening> {
        self.outbox.clone()
    }

    /// Writes into the timeline.
    pub fn note(&mut self, who: &str, what: impl Into<String>) -> Instant {
        let now = Instant::now();
        self.world.note(now, who, what);
        self.print_news();
        now
    }

    /// Takes in what happens until `good` holds, or until `deadline`; whether it did.
    pub fn wait(&mut self, deadline: Instant, mut good: impl FnMut(&World) -> bool) -> Result<bool> {
        loop {
            if good(&self.world) {
                return Ok(true);
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return Ok(false) };
            match self.inbox.recv_timeout(left) {
                Ok(Happening::Interrupted) => return Err(Interrupted.into()),
                Ok(happening) => self.world.handle(happening),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("nobody observes the lab any more"),
            }
            self.print_news();
        }
    }

    /// As [`Self::wait`], for something that must hold for [`CALM`] without a break.
    pub fn wait_calm(&mut self, deadline: Instant, mut good: impl FnMut(&World) -> bool) -> Result<bool> {
        loop {
            if !self.wait(deadline, &mut good)? {
                return Ok(false);
            }
            let calm_from = Instant::now();
            if !self.wait(calm_from + CALM, |world| !good(world))? {
                return Ok(true);
            }
        }
    }

    fn print_news(&mut self) {
        for entry in self.world.entries.iter().skip(self.printed) {
            (self.print)(&entry.to_string());
        }
        self.printed = self.world.entries.len();
    }

    /// The latest change of an instance on a node with its evidence, if it is later than `since` (CLOCK_REALTIME).
    pub fn why(&self, node: usize, instance: &str, since: Time) -> Option<Explained> {
        let director = self.directors.get(node).filter(|_| self.can_explain)?;
        let text = director.ask(&["why", instance, "--last", "1", "--json"]).ok()?;
        let answer: Answer = serde_json::from_str(&text).ok()?;
        let latest = answer.instances.into_values().flatten().next()?;
        // It comes in whole milliseconds, and may be of the one in which the fault began.
        (latest.transition.at.millis() >= since.millis()).then_some(latest)
    }

    /// Starts a node's daemon.
    pub fn start(&mut self, node: usize) -> Result<()> {
        let director = self.director_mut(node)?;
        director.start().with_context(|| format!("cannot start the daemon of {}", director.name()))
    }

    /// A director by number.
    pub fn director(&self, node: usize) -> Result<&Director> {
        self.directors.get(node).context("no such node")
    }

    /// A director by number.
    pub fn director_mut(&mut self, node: usize) -> Result<&mut Director> {
        self.directors.get_mut(node).context("no such node")
    }

    /// The number of the node with that name.
    pub fn node_number(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// An instance as a node's file has it.
    pub fn instance(&self, node: usize, name: &str) -> Option<&Instance> {
        self.nodes.get(node)?.survey.instances.iter().find(|instance| instance.name == name)
    }

    /// Pulls all cables of a node, or that of one interface.
    pub fn cut(&self, node: usize, interface: Option<&str>) -> Result<()> {
        self.each_cable(node, interface, |lan, host, name| lan.cut(host.name(), name))
    }

    /// Drops all that a node sends and is sent, while its links look well.
    pub fn silence(&self, node: usize) -> Result<()> {
        self.each_cable(node, None, |lan, host, name| lan.partition(host.name(), name))
    }

    /// Ends [`Self::silence`].
    pub fn hear(&self, node: usize) -> Result<()> {
        self.each_cable(node, None, |lan, host, name| lan.heal(host.name(), name))
    }

    /// Puts them back. The kernel takes up to a second to notice.
    pub fn mend(&self, node: usize, interface: Option<&str>) -> Result<()> {
        self.each_cable(node, interface, |lan, host, name| lan.mend(host.name(), name))
    }

    /// Waits until a node's cables pass traffic.
    pub fn wait_links(&self, node: usize) -> Result<()> {
        self.each_cable(node, None, Lan::wait_host_ready)
    }

    /// Removes what a dead daemon left on the interfaces, as a reboot would.
    pub fn wipe_addresses(&self, node: usize) -> Result<()> {
        let cables = self.plan.segments.iter().flat_map(|segment| &segment.cables);
        for cable in cables.filter(|cable| cable.node == node) {
            let keep: BTreeSet<IpAddr> = cable.addresses.iter().map(|(address, _)| *address).collect();
            let name = cable.interface.clone();
            self.director(node)?.host().run(move || netlink::remove_addresses_except(&name, &keep))?;
        }
        Ok(())
    }

    fn each_cable(
        &self,
        node: usize,
        interface: Option<&str>,
        act: impl Fn(&Lan, &Host, &str) -> io::Result<()>,
    ) -> Result<()> {
        let host = self.director(node)?.host();
        for (lan, segment) in self.lans.iter().zip(&self.plan.segments) {
            let here = segment.cables.iter().filter(|cable| cable.node == node);
            for cable in here.filter(|cable| interface.is_none_or(|name| name == cable.interface)) {
                act(lan, host, &cable.interface)?;
            }
        }
        Ok(())
    }

    /// Ends a node's web server, or starts it again.
    pub fn serve(&mut self, node: usize, on: bool) -> Result<()> {
        let server = if on { Some(Server::start(self.director(node)?.host())?) } else { None };
        if let Some(slot) = self.servers.get_mut(node) {
            *slot = server;
        }
        Ok(())
    }

    /// Ends a real server's web server, or starts it again.
    pub fn serve_real(&mut self, number: usize, on: bool) -> Result<()> {
        let port = self.plan.real_servers.get(number).context("no such real server")?.port;
        let (host, server) = self.real_servers.get_mut(number).context("no such real server")?;
        *server = if on { Some(Server::start_on(host, port).context("cannot start a web server")?) } else { None };
        Ok(())
    }

    /// Has a real server's web server answer with an error, or well again.
    pub fn break_page(&self, number: usize, broken: bool) {
        if let Some((_, Some(server))) = self.real_servers.get(number) {
            server.set_broken(broken);
        }
    }

    /// Takes the power from a real server, or gives it back.
    pub fn power_real(&self, number: usize, on: bool) -> Result<()> {
        let (real, (host, _)) =
            self.plan.real_servers.get(number).zip(self.real_servers.get(number)).context("none")?;
        let lan = self.lans.get(real.segment).context("no such switch")?;
        if on {
            lan.mend(host.name(), REAL_INTERFACE)?;
            lan.wait_host_ready(host, REAL_INTERFACE)?;
        } else {
            lan.cut(host.name(), REAL_INTERFACE)?;
        }
        Ok(())
    }

    /// Ends every daemon in good order, so that its last log lines are seen; what is left is killed with its host.
    pub fn stop_all(&mut self, patience: Duration) {
        for director in &self.directors {
            director.signal(nix::sys::signal::Signal::SIGTERM);
        }
        let deadline = Instant::now() + patience;
        for director in &self.directors {
            director.wait_exit(deadline.saturating_duration_since(Instant::now()));
        }
    }
}
