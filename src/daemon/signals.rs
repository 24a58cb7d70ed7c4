//! The signals that main answers, under keepalived's meanings.
//!
//! Shell. All are caught from the first day: an uncaught SIGUSR1 from a monitoring script would end the daemon.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// TERM, and INT unless it is ignored.
    Stop,
    /// HUP.
    Reload,
    /// USR1: keepalived.data.
    Data,
    /// USR2: keepalived.stats.
    Stats,
    /// SIGRTMAX-1: statistics, then clear them.
    StatsClear,
    /// SIGRTMIN+2: keepalived.json.
    Json,
}

impl Request {
    /// keepalived's word for it, as `--signum` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "STOP",
            Self::Reload => "RELOAD",
            Self::Data => "DATA",
            Self::Stats => "STATS",
            Self::StatsClear => "STATS_CLEAR",
            Self::Json => "JSON",
        }
    }
}

/// The handlers.
#[derive(Debug)]
pub struct Signals {
    term: Signal,
    int: Signal,
    ignore_int: bool,
    hup: Signal,
    usr1: Signal,
    usr2: Signal,
    clear: Signal,
    json: Signal,
}

impl Signals {
    /// Installs all handlers. With `ignore_int`, SIGINT is caught and nothing comes of it (`--ignore-sigint`).
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn install(ignore_int: bool) -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            ignore_int,
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
            clear: signal(SignalKind::from_raw(libc::SIGRTMAX() - 1))?,
            json: signal(SignalKind::from_raw(libc::SIGRTMIN() + 2))?,
        })
    }

    /// The next request. Stopping goes before everything else; several signals of one kind may come as one.
    pub async fn next(&mut self) -> Request {
        loop {
            tokio::select! {
                biased;
                Some(()) = self.term.recv() => return Request::Stop,
                Some(()) = self.int.recv() => if !self.ignore_int { return Request::Stop },
                Some(()) = self.hup.recv() => return Request::Reload,
                Some(()) = self.usr1.recv() => return Request::Data,
                Some(()) = self.usr2.recv() => return Request::Stats,
                Some(()) = self.clear.recv() => return Request::StatsClear,
                Some(()) = self.json.recv() => return Request::Json,
            }
        }
    }
}
