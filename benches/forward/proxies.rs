//! The proxies that are compared: ours, HAProxy as it comes and tuned by hand, nginx as it comes and with large buffers.
//!
//! Shell: starts processes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use holdfast::ipvs::dataplane::Dataplane;
use holdfast::ipvs::forward::{Options, Userspace};
use holdfast::ipvs::table::{Destination, Operation, ServiceSettings};
use holdfast::ipvs::types::{Protocol, Scheduler, ServiceKey, SocketKey};
use holdfast::lab::host::Process;
use nix::sys::signal::Signal;

use crate::load;
use crate::place::{Place, SERVER, VIP};
use crate::usage;

/// The argument with which this program is the forwarder.
pub const SERVE: &str = "--serve";

const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    Holdfast,
    Haproxy,
    HaproxyTuned,
    Nginx,
    NginxLarge,
}

/// A proxy that runs.
pub struct Running {
    pub contender: Contender,
    process: Process,
    _files: tempfile::TempDir,
}

impl Contender {
    pub fn all() -> [Self; 5] {
        [Self::Holdfast, Self::Haproxy, Self::HaproxyTuned, Self::Nginx, Self::NginxLarge]
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Holdfast => "holdfast",
            Self::Haproxy => "haproxy",
            Self::HaproxyTuned => "haproxy-max",
            Self::Nginx => "nginx",
            Self::NginxLarge => "nginx64",
        }
    }

    /// Where it listens for a service of the server's port.
    pub fn port(self, service: u16) -> u16 {
        service + 100 * (self as u16 + 1)
    }

    /// HAProxy does not forward datagrams.
    pub fn udp(self) -> bool {
        matches!(self, Self::Holdfast | Self::Nginx)
    }

    pub fn start(self, place: &Place) -> Option<Running> {
        let files = tempfile::tempdir().expect("a temporary directory");
        let command = match self {
            Self::Holdfast => {
                let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
                command.arg(SERVE);
                command
            }
            Self::Haproxy | Self::HaproxyTuned => {
                let mut command = Command::new(installed("/usr/sbin/haproxy", self)?);
                command.args(["-db", "-q", "-f"]).arg(self.file(files.path(), self.haproxy()));
                command
            }
            Self::Nginx | Self::NginxLarge => {
                installed(NGINX_STREAM, self)?;
                let mut command = Command::new(installed("/usr/sbin/nginx", self)?);
                command.arg("-c").arg(self.file(files.path(), self.nginx(files.path())));
                command.arg("-p").arg(files.path()).args(["-e", "stderr"]);
                command
            }
        };
        let mut command = command;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        let process = place.proxy.spawn(command).expect("the proxy starts");
        load::wait_listening(place, VIP, self.port(load::SHORT));
        Some(Running { contender: self, process, _files: files })
    }

    fn file(self, folder: &Path, text: String) -> PathBuf {
        let path = folder.join("proxy.conf");
        std::fs::write(&path, text).expect("the temporary directory can be written");
        path
    }

    fn haproxy(self) -> String {
        let (tuning, splicing) = if self == Self::HaproxyTuned {
            (
                "tune.bufsize 65536\n tune.pipesize 524288\n",
                "option splice-auto\n option splice-request\n option splice-response\n",
            )
        } else {
            ("", "option splice-auto\n")
        };
        let mut text = format!(
            "global\n nbthread 2\n maxconn 5000\n {tuning}\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 900s\n \
             timeout server 900s\n {splicing}"
        );
        for service in load::TCP {
            let port = self.port(service);
            text += &format!("listen s{service}\n bind {VIP}:{port}\n server s {SERVER}:{service}\n");
        }
        text
    }

    fn nginx(self, folder: &Path) -> String {
        let buffers = if self == Self::NginxLarge { "proxy_buffer_size 64k;" } else { "" };
        let mut text = format!(
            "load_module {NGINX_STREAM};\nuser root;\ndaemon off;\nworker_processes 2;\nworker_rlimit_nofile 20000;\n\
             pid {}/pid;\nerror_log stderr error;\nevents {{ worker_connections 20000; }}\nstream {{ {buffers}\n",
            folder.display()
        );
        for service in load::TCP {
            let port = self.port(service);
            text += &format!("server {{ listen {VIP}:{port} reuseport; proxy_pass {SERVER}:{service}; }}\n");
        }
        let (service, port) = (load::UDP, self.port(load::UDP));
        text += &format!("server {{ listen {VIP}:{port} udp reuseport; proxy_pass {SERVER}:{service}; }}\n}}\n");
        text
    }
}

fn installed(path: &'static str, contender: Contender) -> Option<&'static str> {
    let there = Path::new(path).exists();
    if !there {
        println!("{}: {path} is not installed, no column for it", contender.name());
    }
    there.then_some(path)
}

impl Running {
    /// CPU time of all its processes and threads so far.
    pub fn cpu(&self) -> Duration {
        usage::cpu(&usage::family(self.process.pid().as_raw()))
    }

    /// Bytes of user memory of all its processes.
    pub fn memory(&self) -> u64 {
        let of = |pid: i32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:").map(str::to_owned));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        usage::family(self.process.pid().as_raw()).into_iter().map(of).sum::<u64>() * 1024
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process.signal(Signal::SIGTERM);
        if self.process.wait(Duration::from_secs(3)).is_none() {
            self.process.signal(Signal::SIGKILL);
        }
    }
}

/// This program as the forwarder, until it is killed.
pub fn serve() {
    let mut plane =
        Userspace::start(&Options { threads: Some(2), ..Options::default() }).expect("the forwarder starts");
    let mut operations = Vec::new();
    let services = load::TCP.map(|service| (Protocol::Tcp, service)).into_iter().chain([(Protocol::Udp, load::UDP)]);
    for (protocol, service) in services {
        let address = SocketAddr::new(VIP, Contender::Holdfast.port(service));
        let key = ServiceKey::Address { protocol, address: SocketKey::new(address.ip(), address.port()) };
        let settings = ServiceSettings { scheduler: Scheduler::Wlc, ..ServiceSettings::default() };
        operations.push(Operation::AddService(key, settings));
        let to = Destination { weight: 1, ..Destination::default() };
        operations.push(Operation::AddDestination(key, SocketKey::new(SERVER, service), to));
    }
    let refusals = plane.apply(&operations);
    assert!(refusals.is_empty(), "{refusals:?}");
    loop {
        std::thread::park();
    }
}
