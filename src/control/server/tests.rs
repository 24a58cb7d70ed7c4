//! The sockets with a main that answers everything: limits, panics, hostile clients.
use std::io::{Read, Write};
use std::os::unix::net::UnixStream as Stream;
use std::time::Instant;

use super::*;
use crate::control::api::{Answer, Method, Request, done};
use crate::control::client::{Client, ClientError};
use crate::status::model::Status;

const PATIENCE: Duration = Duration::from_secs(30);

struct Bench {
    directory: tempfile::TempDir,
    server: Option<Server>,
    handle: Handle,
}

impl Bench {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (server, handle, mut inbox) = Server::start(directory.path(), permissions()).unwrap();
        std::thread::spawn(move || {
            while let Some(ask) = inbox.requests.blocking_recv() {
                let _ = ask.answer.send(match ask.request {
                    Request::Status => Answer::Status(Arc::new(Status { node: "n".into(), ..Status::default() })),
                    Request::Events { .. } => Answer::Events { events: Vec::new(), lost: 0 },
                    other => Answer::Outcome(done(format!("{other:?}"))),
                });
            }
        });
        Self { directory, server: Some(server), handle }
    }

    fn client(&self) -> Client {
        Client::new(self.directory.path())
    }

    fn connect(&self) -> Stream {
        let stream = Stream::connect(paths::status_socket(self.directory.path())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// What comes back until the end of the connection.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // It may be closed while we write.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn status(&self) -> Result<u16, ClientError> {
        self.client().ask(Method::Get, "/v1/status", "").map(|answer| answer.status)
    }
}

fn permissions() -> Permissions {
    Permissions { owner: nix::unistd::geteuid().as_raw(), group: None }
}

#[test]
fn answers_come_from_main_and_commands_go_to_the_other_socket() {
    let bench = Bench::start();
    let answer = bench.client().ask(Method::Get, "/v1/status", "").unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(serde_json::from_slice::<Status>(&answer.body).unwrap().node, "n");
    let answer = bench.client().ask(Method::Post, "/v1/instances/VI%201/failover", "").unwrap();
    assert_eq!(answer.status, 200);
    assert!(String::from_utf8_lossy(&answer.body).contains("VI 1"), "{answer:?}");
    let order = r#"{"on": true, "for_seconds": 60}"#;
    assert_eq!(bench.client().ask(Method::Post, "/v1/maintenance", order).unwrap().status, 200);
    for (path, body) in [("/v1/maintenance", ""), ("/v1/maintenance", "{"), ("/v1/maintenance", r#"{"on":true,"x":1}"#)]
    {
        assert_eq!(bench.client().ask(Method::Post, path, body).unwrap().status, 400, "{body}");
    }
    let answer = bench.raw(b"POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let answer = bench.raw(b"PUT /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert_eq!(bench.client().ask(Method::Get, "/v1/events?after=x", "").unwrap().status, 400);
    assert_eq!(bench.client().ask(Method::Get, "/v1/openapi.json", "").unwrap().status, 200);
}

#[test]
fn requests_that_make_no_sense_end_themselves_only() {
    let bench = Bench::start();
    assert!(!bench.raw(b"\0\xff\x16\x03 nothing of the kind\r\n\r\n").starts_with("HTTP/1.1 200"));
    let mut giant = b"GET /v1/status HTTP/1.1\r\nHost: ".to_vec();
    giant.resize(1 << 20, b'x');
    assert!(!bench.raw(&giant).starts_with("HTTP/1.1 200"), "a head of a megabyte");
    let many = "a: b\r\n".repeat(200);
    assert!(!bench.raw(format!("GET /v1/status HTTP/1.1\r\n{many}\r\n").as_bytes()).starts_with("HTTP/1.1 200"));
    let body = " ".repeat(answer::MOST_BODY + 1);
    let answer = bench.client().ask(Method::Post, "/v1/maintenance", &body);
    assert_ne!(answer.map_or(0, |answer| answer.status), 200);
    assert_eq!(bench.status().unwrap(), 200);
    assert!(bench.handle.counters.refused.load(Ordering::Relaxed) >= 4);
}

#[test]
fn mute_connections_end_and_make_room() {
    let bench = Bench::start();
    let mute: Vec<Stream> = (0..1000).map(|_| bench.connect()).collect();
    let deadline = Instant::now() + PATIENCE;
    // They are as privileged as we are here; others leave us room (tests/control).
    while bench.status().map_or(true, |status| status != 200) {
        assert!(Instant::now() < deadline, "never any room");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(bench.handle.counters.refused.load(Ordering::Relaxed) >= 900, "most are turned away at once");
    for mut stream in mute {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
}

#[test]
fn a_panic_ends_its_connection_and_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (handle, _inbox) = channel();
    let served = handle.clone();
    let ask = |path: PathBuf| {
        let mut stream = Stream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    let answers = runtime.block_on(async {
        let socket = Socket {
            listener: Arc::new(UnixListener::bind(&path).unwrap()),
            access: Access::Status,
            permissions: permissions(),
            handle: served,
            open: Arc::default(),
            service: |_, _| Box::pin(async { panic!("as a test wants it") }),
        };
        drop(tokio::spawn(socket.keep_accepting()));
        let asking = tokio::task::spawn_blocking(move || [ask(path.clone()), ask(path)]);
        asking.await.unwrap()
    });
    assert_eq!(answers, ["", ""], "and the second was accepted");
    assert_eq!(handle.counters.panics.load(Ordering::Relaxed), 2);
}

#[test]
fn a_directory_belongs_to_one_daemon_and_is_left_clean() {
    let mut bench = Bench::start();
    let directory = bench.directory.path().to_owned();
    assert!(matches!(Server::start(&directory, permissions()), Err(StartError::Taken(_))));
    assert_eq!(bench.status().unwrap(), 200);
    bench.server = None;
    assert!(!paths::status_socket(&directory).exists() && !paths::admin_socket(&directory).exists());
    let Err(error) = bench.status() else { panic!("nobody listens") };
    assert!(matches!(error, ClientError::NotRunning { .. }), "{error}");
    assert!(error.to_string().contains(&paths::status_socket(&directory).display().to_string()), "{error}");
    // What a killed daemon leaves behind is replaced.
    drop(StdUnixListener::bind(paths::status_socket(&directory)).unwrap());
    assert!(matches!(bench.status(), Err(ClientError::NotRunning { .. })));
    let (_server, ..) = Server::start(&directory, permissions()).unwrap();
    let mode = std::fs::metadata(paths::admin_socket(&directory)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}
