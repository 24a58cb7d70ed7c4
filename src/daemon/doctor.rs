//! `holdfast doctor`: what about this machine would defeat the virtual servers of a configuration.
//!
//! Shell: looks at the machine, asks on its links, prints. What is found is decided in [`crate::ipvs::advice`].

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr};

use serde_json::json;

use super::load;
use crate::cli::DoctorArgs;
use crate::conf::{self, Severity};
use crate::ipvs::advice::{self, Cluster, Findings, Level, Machine, arp, probe};
use crate::ipvs::types::{ForwardMethod, ServiceKey};

/// Of the shape of JSON output. It grows when a field changes its meaning or goes; new fields may come without.
const JSON_FORMAT: u32 = 1;
/// Exit code: traffic does not get through, or the file cannot be used.
const ERRORS: u8 = 2;
/// Exit code: warnings, under `--strict`.
const WARNINGS: u8 = 1;
/// Services that are named with a finding; the others are counted.
const NAMED: usize = 3;

/// What was looked at, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Examination {
    findings: Findings,
    services: usize,
    remarks: Vec<String>,
}

/// `holdfast doctor`: 2 when something keeps traffic from getting through or the file cannot be used, 1 with `--strict`
/// when there are warnings, else 0.
///
/// # Errors
/// Standard output cannot be written.
pub fn doctor(args: &DoctorArgs) -> anyhow::Result<u8> {
    let mut out = io::stdout().lock();
    let loaded = conf::load(&args.file, &load::options(args.config_id.as_deref(), false));
    let Some(config) = &loaded.config else {
        if args.json {
            let report = json!({ "format": JSON_FORMAT, "exit_code": ERRORS, "file": args.file,
                "diagnostics": loaded.diagnostics, "findings": [] });
            serde_json::to_writer_pretty(&mut out, &report)?;
            writeln!(out)?;
        } else {
            write!(out, "{}", loaded.diagnostics.render(wants_color(&out)))?;
        }
        return Ok(ERRORS);
    };
    let cluster = Cluster::of(&config.balancer, &config.vrrp);
    let examination = examine(&cluster, args.real_server, !args.no_probe);
    let wrong = loaded.diagnostics.iter().filter(|d| d.severity >= Severity::Error).count();
    let code = examination.exit_code(args.strict);
    if args.json {
        let report = json!({
            "format": JSON_FORMAT,
            "exit_code": code,
            "file": args.file,
            "role": if args.real_server { "real_server" } else { "director" },
            "services": examination.services,
            "remarks": examination.remarks,
            "findings": examination.json(),
        });
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
        return Ok(code);
    }
    let file = args.file.display();
    if wrong > 0 {
        writeln!(out, "{file}: {wrong} lines with errors are left out; `holdfast check` tells which")?;
    }
    let role = if args.real_server { "real server" } else { "director" };
    match examination.services {
        0 if args.real_server => writeln!(out, "{file}: no real server of it has an address of this machine")?,
        0 => writeln!(out, "{file}: no virtual servers for the kernel: nothing to look at")?,
        1 => writeln!(out, "{file}: 1 service, this machine as {role}")?,
        services => writeln!(out, "{file}: {services} services, this machine as {role}")?,
    }
    let color = wants_color(&out);
    examination.print(&mut out, color)?;
    Ok(code)
}

/// Looks at this machine. `ask`: ask on its links who has the virtual addresses too.
pub(super) fn examine(cluster: &Cluster, real_server: bool, ask: bool) -> Examination {
    let mut machine = probe::machine();
    let mut examination = Examination::default();
    if real_server {
        let (findings, _) = advice::of_real_server(cluster, &machine);
        let ours = |wanted: &&advice::Wanted| wanted.reals.iter().any(|(real, _)| machine.has(*real));
        examination.services = cluster.services.iter().filter(ours).count();
        examination.findings = findings;
        return examination;
    }
    examination.services = cluster.services.len();
    if ask {
        match arp::ask(&questions(cluster, &machine)) {
            Ok(answering) => machine.answering = answering,
            Err(error) => {
                examination.remarks.push(format!("who else answers for virtual addresses was not asked: {error}"))
            }
        }
    }
    examination.findings = advice::of_director(cluster, &machine);
    examination
}

/// The addresses of DR and TUN, and their real servers, so that whoever answers has a name.
fn questions(cluster: &Cluster, machine: &Machine) -> BTreeSet<(Ipv4Addr, String)> {
    let mut questions = BTreeSet::new();
    for service in &cluster.services {
        let itself =
            |(_, method): &(IpAddr, ForwardMethod)| matches!(method, ForwardMethod::Dr | ForwardMethod::Tun(_));
        let (ServiceKey::Address { address, .. }, true) = (service.key, service.reals.iter().any(itself)) else {
            continue;
        };
        let brought = cluster.brought.get(&address.ip).cloned().flatten();
        let link = brought.or_else(|| machine.link_of(address.ip).map(str::to_owned));
        let all = service.reals.iter().map(|(real, _)| *real).filter(|real| !machine.has(*real));
        let reals = all.filter_map(|real| Some((real, machine.link_of(real)?.to_owned())));
        for (ip, link) in link.map(|link| (address.ip, link)).into_iter().chain(reals) {
            if let IpAddr::V4(ip) = ip {
                questions.insert((ip, link));
            }
        }
    }
    questions
}

impl Examination {
    /// By the convention of `check`.
    pub(super) fn exit_code(&self, strict: bool) -> u8 {
        match (self.findings.count(Level::Error), self.findings.count(Level::Warning)) {
            (0, 0) => 0,
            (0, _) => WARNINGS * u8::from(strict),
            _ => ERRORS,
        }
    }

    /// Whether there is more than notes.
    pub(super) fn has_problems(&self) -> bool {
        self.exit_code(true) > 0
    }

    /// One object for each finding.
    pub(super) fn json(&self) -> serde_json::Value {
        let one = |(finding, services): (&advice::Finding, &BTreeSet<ServiceKey>)| {
            let services: Vec<String> = services.iter().map(ServiceKey::to_string).collect();
            json!({ "level": finding.level, "code": finding.code, "message": finding.message, "help": finding.help,
                "services": services })
        };
        self.findings.0.iter().map(one).collect()
    }

    /// As `check` prints what it finds.
    pub(super) fn print(&self, out: &mut impl Write, color: bool) -> io::Result<()> {
        let paint = |code: &'static str| if color { code } else { "" };
        let (bold, reset) = (paint("\x1b[1m"), paint("\x1b[0m"));
        for (finding, services) in &self.findings.0 {
            let tint = match finding.level {
                Level::Error => paint("\x1b[1;31m"),
                Level::Warning => paint("\x1b[1;33m"),
                Level::Note => paint("\x1b[1;36m"),
            };
            writeln!(out, "{tint}{}[{}]:{reset} {bold}{}{reset}", finding.level, finding.code, finding.message)?;
            let named: Vec<String> = services.iter().take(NAMED).map(ServiceKey::to_string).collect();
            let more = services.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            writeln!(out, "  = concerns: {}{more}", named.join(", "))?;
            writeln!(out, "  = help: {}", finding.help)?;
        }
        for remark in &self.remarks {
            writeln!(out, "note: {remark}")?;
        }
        let count = |level| self.findings.count(level);
        let (errors, warnings, notes) = (count(Level::Error), count(Level::Warning), count(Level::Note));
        if self.services > 0 && errors + warnings == 0 {
            return writeln!(out, "nothing is in the way, as far as can be seen from here");
        }
        if errors + warnings > 0 {
            writeln!(out, "{errors} errors, {warnings} warnings, {notes} notes")?;
        }
        if self.findings.0.keys().any(|finding| finding.help.contains("sysctl -w")) {
            writeln!(out, "A setting of sysctl outlives a boot as a line of a file in /etc/sysctl.d.")?;
        }
        Ok(())
    }
}

/// Colour on a terminal, unless the user wants none (no-color.org).
fn wants_color(out: &impl IsTerminal) -> bool {
    out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
