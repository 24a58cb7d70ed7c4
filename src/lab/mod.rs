//! A cluster in network namespaces on one machine: `holdfast lab`, and the ground that the end-to-end tests stand on.
//!
//! Shell, with pure parts. Nothing but this binary and root is needed; nothing outside the namespaces is touched, and
//! they have no names, so that the kernel removes them when the process ends, however it ends.
//!
//! ```text
//!    director a           director b           client            pure: survey (what a file asks for), plan (addresses),
//!   daemon, server       daemon, server     asks the VIP               frame, outage, world (what was seen), report
//!        | eth0               | eth0             |             shell: host, lan, sniffer, server, client, director,
//!   =====+====================+==================+=====               cluster (all of it), faults and services (the
//!                 switch (bridge, sniffer)                               script before and behind the directors)
//!   real servers of virtual servers stand on the switch of their subnet
//! ```
//!
//! Tests use [`host::Host`], [`lan::Lan`], [`director::Director`], [`sniffer::Sniffer`] and [`client::Client`] directly.

pub mod client;
pub mod cluster;
pub mod director;
pub mod examples;
pub mod faults;
pub mod frame;
pub mod host;
mod init;
pub mod lan;
pub mod mounts;
mod netlink;
pub mod outage;
pub mod plan;
pub mod privileges;
pub mod report;
pub mod server;
pub mod services;
pub mod sniffer;
pub mod survey;
pub mod world;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use cluster::{Cluster, Interrupted, NodeFile};
use faults::Fault;
use mounts::ExtraFile;
use report::Report;
use world::Happening;

/// The most nodes of one rehearsal.
const MOST_NODES: usize = 5;

/// How long the daemons have to end before their hosts are taken away.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// Rehearse failures of two directors on this machine, in network namespaces of their own.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct LabArgs {
    /// A directory with one keepalived.conf per node (*.conf), or the name of a built-in example
    #[arg(value_name = "DIRECTORY|EXAMPLE", conflicts_with = "nodes")]
    pub example: Option<PathBuf>,
    /// A node's keepalived.conf; at least two
    #[arg(long = "node", value_name = "FILE")]
    pub nodes: Vec<PathBuf>,
    /// Run notify scripts too (they are left out otherwise; track scripts always run)
    #[arg(long)]
    pub scripts: bool,
    /// Rehearse another daemon that takes keepalived's options, such as /usr/sbin/keepalived
    #[arg(long, value_name = "PROGRAM")]
    pub daemon: Option<PathBuf>,
    /// Break only these, in this order
    #[arg(long, value_name = "FAULT", value_delimiter = ',')]
    pub faults: Vec<Fault>,
    /// Repeat the faults until so many seconds have passed
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub duration: u64,
    /// Print one JSON object at the end; the timeline goes to standard error
    #[arg(long)]
    pub json: bool,
    /// Show what the daemons log, too
    #[arg(long)]
    pub logs: bool,
    /// List the built-in examples
    #[arg(long)]
    pub list: bool,
}

/// Runs a rehearsal. Exit code 0: every fault was survived in time; 1: not; 130: interrupted.
pub fn run(args: LabArgs) -> Result<ExitCode> {
    if args.list {
        examples::EXAMPLES.iter().for_each(|example| say(example.name));
        return Ok(ExitCode::SUCCESS);
    }
    let nodes = load_nodes(&args)?;
    privileges::check()?;
    match rehearse(&args, nodes) {
        Ok(report) => {
            if args.json {
                say(&serde_json::to_string_pretty(&report)?);
            } else {
                if !report.services.is_empty() {
                    say(&format!("\n{}", report::render_services(&report.services)));
                }
                if !report.rows.is_empty() {
                    say(&format!("\n{}", report::render(&report.rows)));
                }
                let Report { requests, unanswered, .. } = report;
                let addresses = report.addresses.join(", ");
                say(&format!("{requests} requests to {addresses}, {unanswered} unanswered. All is cleaned up."));
            }
            Ok(ExitCode::from(u8::from(!report.is_good())))
        }
        Err(error) if error.is::<Interrupted>() => {
            complain("\nInterrupted. All is cleaned up.");
            Ok(ExitCode::from(130))
        }
        Err(error) => Err(error),
    }
}

/// Standard output may be a pipe that nobody reads any more: the lab still ends and cleans up in good order.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[allow(clippy::disallowed_methods)] // Real time passes in a rehearsal.
fn rehearse(args: &LabArgs, nodes: Vec<NodeFile>) -> Result<Report> {
    let program = args.daemon.clone().unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
    let mut options = Vec::new();
    // Without IPVS in the kernel keepalived ends altogether; the lab is about VRRP.
    if args.daemon.is_some() && nodes.iter().any(|node| node.survey.virtual_servers) {
        options.push("-P".to_owned());
    }
    let to_stderr = args.json;
    let print = move |line: &str| if to_stderr { complain(line) } else { say(line) };
    let mut cluster = Cluster::build(nodes, &program, &options, args.logs, print)?;
    cluster.can_explain = args.daemon.is_none();
    let _signals = Signals::watch(cluster.outbox())?;
    announce(&mut cluster, &program);
    faults::start(&mut cluster)?;
    let chosen = if args.faults.is_empty() { faults::ALL.to_vec() } else { args.faults.clone() };
    let end = Instant::now() + Duration::from_secs(args.duration);
    let (mut rows, mut service_rows) = (Vec::new(), Vec::new());
    loop {
        for fault in &chosen {
            let shown = if fault.is_of_services() {
                let happened = services::run(&mut cluster, *fault)?;
                let shown = !happened.is_empty();
                service_rows.extend(happened);
                shown
            } else {
                let happened = faults::run(&mut cluster, *fault)?;
                let shown = !happened.is_empty();
                rows.extend(happened);
                shown
            };
            if !shown && !args.faults.is_empty() {
                cluster.note("lab", format!("nothing in these files can show {fault:?}"));
            }
        }
        if Instant::now() >= end {
            break;
        }
    }
    cluster.note("lab", "the end: stopping the daemons");
    cluster.stop_all(STOP_PATIENCE);
    let (requests, unanswered) = cluster.world.totals();
    Ok(Report {
        daemon: program.display().to_string(),
        nodes: cluster.nodes.iter().map(|node| node.name.clone()).collect(),
        addresses: cluster.plan.probes.iter().map(|probe| probe.address.to_string()).collect(),
        rows,
        services: service_rows,
        requests,
        unanswered,
        timeline: std::mem::take(&mut cluster.world.entries),
    })
}

/// What stands where, as the first lines of the timeline.
fn announce(cluster: &mut Cluster, program: &Path) {
    let what = if program.starts_with("/proc") { "this program".to_owned() } else { program.display().to_string() };
    let files: Vec<_> = cluster.nodes.iter().map(|node| format!("{} ({})", node.name, node.path.display())).collect();
    let mut lines = vec![format!("rehearsing {what} with {}", files.join(" and "))];
    lines.push("in network and mount namespaces of its own: nothing outside is touched".to_owned());
    for segment in &cluster.plan.segments {
        for cable in &segment.cables {
            let name = cluster.nodes.get(cable.node).map_or("", |node| &node.name);
            let addresses: Vec<_> = cable.addresses.iter().map(|(a, len)| format!("{a}/{len}")).collect();
            lines.push(format!("{name} has {} {}", cable.interface, addresses.join(" ")));
        }
    }
    for real in &cluster.plan.real_servers {
        lines.push(format!("{} is {}:{}", real.name, real.address, real.port));
    }
    for probe in &cluster.plan.probes {
        lines.push(format!(
            "a client asks {} ({}) every {} ms",
            probe.address,
            probe.instance,
            client::EVERY.as_millis()
        ));
    }
    for node in &cluster.nodes {
        for include in node.survey.includes.iter().filter(|include| Path::new(include).is_absolute()) {
            if !mounts::PRIVATE.iter().any(|private| Path::new(include).starts_with(private)) {
                lines.push(format!("{} includes {include}, where notify scripts are not left out", node.name));
            }
        }
    }
    for line in lines {
        cluster.note("lab", line);
    }
}

fn load_nodes(args: &LabArgs) -> Result<Vec<NodeFile>> {
    let files: Vec<(PathBuf, String)> = if !args.nodes.is_empty() {
        args.nodes.iter().map(|path| read(path)).collect::<Result<_>>()?
    } else {
        let wanted = args.example.clone().unwrap_or_else(|| examples::DEFAULT.into());
        if wanted.is_dir() { read_directory(&wanted)? } else { built_in(&wanted)? }
    };
    if !(2..=MOST_NODES).contains(&files.len()) {
        bail!("a rehearsal needs 2 to {MOST_NODES} nodes, and here are {}", files.len());
    }
    let names = node_names(&files);
    let nodes = files.into_iter().zip(names);
    Ok(nodes.map(|((path, text), name)| node_file(&path, &text, name, args.scripts)).collect())
}

fn read(path: &Path) -> Result<(PathBuf, String)> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok((path.to_owned(), String::from_utf8_lossy(&bytes).into_owned()))
}

fn read_directory(directory: &Path) -> Result<Vec<(PathBuf, String)>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension() == Some(OsStr::new("conf")));
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn built_in(name: &Path) -> Result<Vec<(PathBuf, String)>> {
    // `examples/two-directors` means the example also where the source tree is not.
    let base = name.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let Some(example) = examples::find(base) else {
        let known: Vec<_> = examples::EXAMPLES.iter().map(|example| example.name).collect();
        bail!("{} is neither a directory nor one of the examples: {}", name.display(), known.join(", "));
    };
    Ok(example.nodes.iter().map(|(file, text)| (PathBuf::from(file), (*text).to_owned())).collect())
}

/// File names without `.conf` where they differ, else those of their directories, else letters.
fn node_names(files: &[(PathBuf, String)]) -> Vec<String> {
    let text = |part: Option<&OsStr>| part.and_then(OsStr::to_str).unwrap_or_default().to_owned();
    let stems: Vec<_> = files.iter().map(|(path, _)| text(path.file_stem())).collect();
    let parents: Vec<_> = files.iter().map(|(path, _)| text(path.parent().and_then(Path::file_name))).collect();
    let usable = |names: &Vec<String>| {
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        distinct.len() == names.len() && !names.iter().any(|n| n.is_empty() || n.len() > 32 || n == "client")
    };
    let letters = || ('a'..).take(files.len()).map(|letter| format!("node-{letter}")).collect();
    [stems, parents].into_iter().find(usable).unwrap_or_else(letters)
}

fn node_file(path: &Path, text: &str, name: String, scripts: bool) -> NodeFile {
    let armed = survey::survey(text);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let edit = |mut file: ExtraFile| {
        if file.name.extension() == Some(OsStr::new("conf")) {
            file.content = survey::disarm(&String::from_utf8_lossy(&file.content), scripts).into_bytes();
        }
        file
    };
    // What the machine has may be named by absolute path; what lies beside the file, by relative path.
    let mut files: Vec<_> =
        mounts::files_below(Path::new("/etc/keepalived"), Path::new("")).into_iter().map(edit).collect();
    let mut whole = text.to_owned();
    if !armed.includes.is_empty() {
        files.extend(mounts::files_below(directory, Path::new("")).into_iter().map(edit));
        for include in &armed.includes {
            let pattern = directory.join(include);
            for found in glob::glob(&pattern.to_string_lossy()).into_iter().flatten().flatten() {
                whole.push('\n');
                whole.push_str(&fs::read_to_string(found).unwrap_or_default());
            }
        }
    }
    NodeFile { name, path: path.to_owned(), text: survey::disarm(text, scripts), survey: survey::survey(&whole), files }
}

/// Turns Ctrl-C, SIGTERM and SIGHUP into an end in good order.
struct Signals {
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Signals {
    fn watch(outbox: Sender<Happening>) -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let [mut int, mut term, mut hup] = runtime.block_on(async {
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
            let [int, term, hup] = kinds;
            std::io::Result::Ok([int?, term?, hup?])
        })?;
        let thread = std::thread::Builder::new().name("lab-signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = int.recv() => {}
                        _ = term.recv() => {}
                        _ = hup.recv() => {}
                        _ = &mut stopped => return,
                    }
                    let _ = outbox.send(Happening::Interrupted);
                }
            });
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
