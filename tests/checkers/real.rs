//! Probes against the servers that people run: nginx, nsd, exim. Each in a network namespace of its own, with its
//! configuration in a directory of its own; the namespaces go, and the servers with them, when the test ends.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use holdfast::checkers::config::{
    DnsProbe, HttpProbe, HttpVersion, Probe, RegexConfig, SmtpProbe, Sni, TlsConfig, UrlConfig,
};
use holdfast::checkers::finding::Finding;
use holdfast::checkers::genhash::{self, GenhashArgs};
use holdfast::checkers::http::expect;
use holdfast::lab::host::{Host, Process};
use md5::{Digest, Md5};

use crate::ask::{PATIENT, ask, http, https, reason, target};
use crate::certificate::Identity;
use crate::common::{needs_root, skipped};

const NGINX: &str = "/usr/sbin/nginx";
const NSD: &str = "/usr/sbin/nsd";
const EXIM: &str = "/usr/sbin/exim4";

/// A server in its namespace.
struct Real {
    host: Host,
    directory: tempfile::TempDir,
    _process: Process,
}

impl Real {
    /// Starts a program and waits until this port takes connections. `None`, with a word, where it is not installed.
    fn start(name: &str, program: &str, port: u16, configure: impl FnOnce(&Path) -> Vec<String>) -> Option<Self> {
        if !Path::new(program).exists() {
            skipped(&format!("needs {program}"));
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let args = configure(directory.path());
        let host = Host::new(name).expect("namespaces");
        host.run(|| {
            let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip runs");
            assert!(up.success());
        });
        let log = std::fs::File::create(directory.path().join("output")).expect("a file");
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        let process = host.spawn(command).expect("it starts");
        let real = Self { host, directory, _process: process };
        real.wait(port);
        Some(real)
    }

    fn wait(&self, port: u16) {
        let deadline = Instant::now() + 2 * PATIENT;
        while !self.host.run(move || TcpStream::connect(("127.0.0.1", port)).is_ok()) {
            let output = || std::fs::read_to_string(self.directory.path().join("output")).unwrap_or_default();
            assert!(Instant::now() < deadline, "nobody on port {port}: {}", output());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn ask(&self, probe: Probe) -> Finding {
        self.host.run(move || ask(probe))
    }

    fn ask_http(&self, probe: HttpProbe) -> Finding {
        self.ask(Probe::Http(Box::new(probe)))
    }
}

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn write(directory: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = directory.join(name);
    std::fs::write(&path, content).expect("a file");
    path.display().to_string()
}

/// nginx with pages and, on ports of their own, TLS as of today, with RSA key exchange, and of twenty years ago.
fn nginx(name: &str, authority: &Identity) -> Option<Real> {
    let identity = authority.issue("www.example.org", (0, 10));
    let old = authority.issue_old("old.example.org");
    Real::start(name, NGINX, 443, |directory| {
        // Its workers run as somebody else.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(directory, open).expect("permissions");
        write(directory, "index.html", "hello from nginx\n");
        write(directory, "state.json", r#"{"db": {"state": "ready"}, "load": 7}"#);
        write(directory, "big.bin", vec![b'x'; 3 << 20]);
        let new =
            (write(directory, "a.pem", identity.certificate_pem()), write(directory, "a.key", identity.key_pem()));
        let aged = (write(directory, "o.pem", old.certificate_pem()), write(directory, "o.key", old.key_pem()));
        let server = |listen: &str, (certificate, key): &(String, String), more: &str| {
            format!("server {{ listen {listen}; ssl_certificate {certificate}; ssl_certificate_key {key}; {more} }}\n")
        };
        let configuration = format!(
            "daemon off; pid {0}/pid; error_log stderr; worker_processes 1; events {{ }}\n\
             http {{ access_log off; root {0}; server_tokens off;\n\
             client_body_temp_path {0}/t1; proxy_temp_path {0}/t2; fastcgi_temp_path {0}/t3;\n\
             uwsgi_temp_path {0}/t4; scgi_temp_path {0}/t5;\n\
             server {{ listen 80; location /down {{ return 503; }} location /away {{ return 302 /; }}\n\
             location /post {{ if ($request_method != POST) {{ return 405; }} return 200 posted; }}\n\
             location /vhost {{ return 200 $host; }} }}\n\
             {1}{2}{3} }}\n",
            directory.display(),
            server("443 ssl", &new, ""),
            server("444 ssl", &new, "ssl_protocols TLSv1.2; ssl_ciphers AES128-SHA;"),
            server("445 ssl", &aged, "ssl_protocols TLSv1; ssl_ciphers ALL:@SECLEVEL=0;"),
        );
        vec!["-c".to_owned(), write(directory, "nginx.conf", configuration)]
    })
}

#[test]
fn nginx_serves_pages() {
    needs_root!();
    let Some(nginx) = nginx("chk-nginx", &Identity::authority("ca")) else { return };
    let digest = |body: &[u8]| Some(Md5::digest(body).into());
    let regex = RegexConfig {
        pattern: "^HELLO from".to_owned(),
        no_match: false,
        options: vec!["caseless".to_owned()],
        min_offset: None,
        max_offset: Some(0),
        stack: None,
    };
    let post = || UrlConfig { method: Some("POST".to_owned()), body: Some("x".to_owned()), ..UrlConfig::new("/post") };
    let table = [
        (
            UrlConfig {
                digest: digest(b"hello from nginx\n"),
                regex: Some(Box::new(regex)),
                ..UrlConfig::new("/index.html")
            },
            None,
        ),
        (UrlConfig { digest: digest(&vec![b'x'; 3 << 20]), ..UrlConfig::new("/big.bin") }, None),
        (UrlConfig::new("/absent"), Some("status 404 of http://127.0.0.1:80/absent")),
        (UrlConfig { status: vec![(200, 299), (404, 404)], ..UrlConfig::new("/absent") }, None),
        (UrlConfig::new("/down"), Some("status 503 of http://127.0.0.1:80/down")),
        (UrlConfig::new("/away"), Some("status 302 of http://127.0.0.1:80/away")),
        (
            UrlConfig {
                virtualhost: Some("a.example".to_owned()),
                expect_body: Some("a.example".to_owned()),
                ..UrlConfig::new("/vhost")
            },
            None,
        ),
        (
            UrlConfig {
                expect_json: vec![(".db.state".to_owned(), "ready".to_owned())],
                ..UrlConfig::new("/state.json")
            },
            None,
        ),
        (
            UrlConfig { expect_json: vec![(".load".to_owned(), "8".to_owned())], ..UrlConfig::new("/state.json") },
            Some("JSON .load is 7 of http://127.0.0.1:80/state.json"),
        ),
        (
            UrlConfig { expect_headers: vec![("server".to_owned(), Some("nginx".to_owned()))], ..UrlConfig::new("/") },
            None,
        ),
        (UrlConfig { method: Some("HEAD".to_owned()), ..UrlConfig::new("/big.bin") }, None),
        (post(), None),
        (UrlConfig { method: None, body: None, ..post() }, Some("status 405 of http://127.0.0.1:80/post")),
    ];
    for (url, expected) in table {
        for version in [HttpVersion::V10, HttpVersion::V10Close, HttpVersion::V11] {
            let finding = nginx.ask_http(HttpProbe { version, ..http(local(80), url.clone()) });
            match expected {
                None => assert_eq!(finding, Ok(0), "{version:?} {url:?}"),
                Some(expected) => assert_eq!(reason(finding), expected, "{version:?}"),
            }
        }
    }
}

/// keepalived reaches TLS 1.0 with short keys and RSA key exchange, and so do we; with `tls_verify` these are refused.
#[test]
fn nginx_serves_tls_new_and_old() {
    needs_root!();
    let authority = Identity::authority("ca");
    let Some(nginx) = nginx("chk-tls", &authority) else { return };
    let ca = nginx.directory.path().join("ca.pem");
    std::fs::write(&ca, authority.certificate_pem()).expect("a file");
    let page = |name: &str| UrlConfig { virtualhost: Some(name.to_owned()), ..UrlConfig::new("/index.html") };
    let verify = TlsConfig { verify: true, ca: Some(ca), sni: Some(Sni::VirtualHost), ..TlsConfig::default() };
    for port in [443, 444, 445] {
        let lenient = TlsConfig { compliant_close: port == 443, ..TlsConfig::default() };
        let probe = https(local(port), page("www.example.org"), lenient);
        assert_eq!(nginx.ask_http(probe), Ok(0), "port {port}");
    }
    assert_eq!(nginx.ask_http(https(local(443), page("www.example.org"), verify.clone())), Ok(0));
    let other = reason(nginx.ask_http(https(local(443), page("example.com"), verify.clone())));
    assert_eq!(other, "TLS: the certificate of 127.0.0.1:443 is not accepted: hostname mismatch");
    assert!(reason(nginx.ask_http(https(local(445), page("old.example.org"), verify))).starts_with("TLS"));
    assert!(reason(nginx.ask_http(https(local(80), page("x"), TlsConfig::default()))).starts_with("TLS"));
}

#[test]
fn genhash_prints_what_keepalived_s_prints() {
    needs_root!();
    let Some(nginx) = nginx("chk-genhash", &Identity::authority("ca")) else { return };
    for (port, tls) in [(80, false), (443, true)] {
        let args = GenhashArgs {
            server: [127, 0, 0, 1].into(),
            port,
            url: "/index.html".to_owned(),
            tls,
            sni: false,
            virtualhost: None,
            fwmark: 0,
            version: HttpVersion::V10,
            timeout: 20,
            verbose: false,
        };
        let ours = nginx.host.run(move || genhash::run(&args).expect("a digest"));
        assert_eq!(ours, format!("{}\n", expect::hex(&Md5::digest(b"hello from nginx\n"))));
        let theirs = nginx.host.run(move || {
            let mut command = Command::new("/usr/bin/genhash");
            command.args(["-s", "127.0.0.1", "-p", &port.to_string(), "-u", "/index.html"]);
            command.args(tls.then_some("-S")).output().ok()
        });
        match theirs {
            Some(theirs) => assert_eq!(String::from_utf8_lossy(&theirs.stdout), ours, "port {port}"),
            None => skipped("needs /usr/bin/genhash"),
        }
    }
}

#[test]
fn nsd_answers() {
    needs_root!();
    let nsd = Real::start("chk-nsd", NSD, 53, |directory| {
        let zone = "$ORIGIN example.org.\n$TTL 60\n@ SOA ns mail 1 60 60 60 60\n@ NS ns\nns A 192.0.2.1\n\
                    ns AAAA 2001:db8::1\n@ MX 10 ns\n@ TXT \"hello\"\nwww CNAME ns\n@ TYPE65500 \\# 1 ff\n";
        let zone = write(directory, "zone", zone);
        let configuration = format!(
            "server:\n username: \"\"\n chroot: \"\"\n zonesdir: \"{0}\"\n database: \"\"\n pidfile: \"{0}/pid\"\n \
             xfrdfile: \"{0}/xfrd\"\n zonelistfile: \"{0}/list\"\n xfrdir: \"{0}\"\n ip-address: 127.0.0.1\n \
             logfile: \"{0}/output\"\nremote-control:\n control-enable: no\n\
             zone:\n name: example.org\n zonefile: {zone}\n",
            directory.display()
        );
        vec!["-d".to_owned(), "-c".to_owned(), write(directory, "nsd.conf", configuration)]
    });
    let Some(nsd) = nsd else { return };
    let dns = |record_type: &str, name: &str| {
        let (record_type, name) = (record_type.to_owned(), name.to_owned());
        nsd.ask(Probe::Dns(Box::new(DnsProbe { target: target(local(53)), record_type, name })))
    };
    for record_type in ["SOA", "A", "NS", "CNAME", "MX", "TXT", "AAAA", "RRSIG", "DNSKEY", "TYPE65500", "any"] {
        assert_eq!(dns(record_type, "example.org"), Ok(0), "{record_type}");
    }
    assert_eq!(dns("A", "www.example.org."), Ok(0));
    assert!(reason(dns("A", "absent.example.org")).starts_with("the answer is an error: "));
    assert!(reason(dns("SOA", ".")).starts_with("the answer is an error: "), "not its zone");
}

#[test]
fn exim_greets() {
    needs_root!();
    let exim = Real::start("chk-exim", EXIM, 25, |directory| {
        let configuration = format!(
            "primary_hostname = mail.example.org\nspool_directory = {0}\nlog_file_path = {0}/log-%s\n\
             pid_file_path = {0}/pid\nexim_user = root\nexim_group = root\nnever_users =\n\
             acl_smtp_helo = check_helo\nbegin acl\ncheck_helo:\n\
             deny message = go away\n condition = ${{if eq{{$sender_helo_name}}{{bad.example.org}}}}\n accept\n",
            directory.display()
        );
        ["-bdf", "-C", &write(directory, "exim.conf", configuration), "-oX", "127.0.0.1 : 25"]
            .map(str::to_owned)
            .to_vec()
    });
    let Some(exim) = exim else { return };
    let smtp = |name: &str| {
        let targets = vec![target(local(25)), target(local(25))];
        exim.ask(Probe::Smtp(SmtpProbe { targets, helo_name: name.to_owned() }))
    };
    assert_eq!(smtp("lb.example.org"), Ok(0));
    assert_eq!(reason(smtp("bad.example.org")), "HELO: 127.0.0.1:25 answered 550, not 250");
}
