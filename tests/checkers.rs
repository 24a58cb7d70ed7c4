//! The checkers' probes against real servers (nginx, nsd, exim) and against small servers that misbehave, and the
//! supervisor that runs them.
#![allow(missing_docs, clippy::disallowed_methods)]

#[path = "checkers/ask.rs"]
mod ask;
#[path = "checkers/certificate.rs"]
mod certificate;
mod common;
#[path = "checkers/datagrams.rs"]
mod datagrams;
#[path = "checkers/http.rs"]
mod http;
#[path = "checkers/network.rs"]
mod network;
#[path = "checkers/real.rs"]
mod real;
#[path = "checkers/server.rs"]
mod server;
#[path = "checkers/smtp.rs"]
mod smtp;
#[path = "checkers/supervisor.rs"]
mod supervisor;
#[path = "checkers/tls.rs"]
mod tls;
