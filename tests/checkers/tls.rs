//! SSL_GET against small TLS servers: names, certificates, how connections end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc;

use holdfast::checkers::config::{Sni, TlsConfig, UrlConfig};
use holdfast::ipvs::config::SslConfig;
use openssl::ssl::{NameType, ShutdownResult, Ssl, SslContext, SslContextBuilder, SslMethod, SslStream, SslVerifyMode};

use crate::ask::{PATIENT, SHORT, ask_http, ask_with, https, own_trouble, reason};
use crate::certificate::Identity;
use crate::server::{serve, silent, wait_for_close};

const PAGE: &[u8] = b"HTTP/1.0 200 OK\r\n\r\nhello\n";

/// How a server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// As the standard says, and waits for the client to do the same.
    Compliant,
    /// Closes the connection without a word.
    Silent,
}

/// What a server saw of a client.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    name: Option<String>,
    certificate: Option<String>,
    /// The client said good-bye in TLS.
    good_bye: bool,
}

fn context(identity: &Identity, client_authority: Option<&Identity>) -> SslContext {
    let mut builder = SslContextBuilder::new(SslMethod::tls_server()).expect("OpenSSL");
    builder.set_certificate(&identity.certificate).expect("a certificate");
    builder.set_private_key(&identity.key).expect("a key");
    if let Some(authority) = client_authority {
        builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        builder.cert_store_mut().add_cert(authority.certificate.clone()).expect("an authority");
    }
    builder.build()
}

fn tls_server(context: SslContext, end: End) -> (SocketAddr, mpsc::Receiver<Seen>) {
    let (sender, seen) = mpsc::channel();
    let address = serve(move |stream| {
        let ssl = Ssl::new(&context).expect("OpenSSL");
        let mut stream = SslStream::new(ssl, stream).expect("OpenSSL");
        if stream.accept().is_err() {
            return Ok(());
        }
        let name = stream.ssl().servername(NameType::HOST_NAME).map(str::to_owned);
        let common_name = |certificate: openssl::x509::X509| {
            let entry = certificate.subject_name().entries().next()?.data().to_string().ok()?;
            Some(entry)
        };
        let certificate = stream.ssl().peer_certificate().and_then(common_name);
        read_request(&mut stream)?;
        stream.write_all(PAGE)?;
        let good_bye = end == End::Compliant && {
            // Ours is sent first, then we wait for the client's.
            let _ = stream.shutdown();
            matches!(stream.shutdown(), Ok(ShutdownResult::Received))
        };
        let _ = sender.send(Seen { name, certificate, good_bye });
        Ok(())
    });
    (address, seen)
}

fn read_request(stream: &mut SslStream<TcpStream>) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? > 0 {
        request.extend(byte);
    }
    Ok(())
}

/// A file that is removed with its directory.
fn file(directory: &tempfile::TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, content).expect("a file");
    path
}

#[test]
fn the_name_that_is_sent() {
    let identity = Identity::authority("ca").issue("www.example.org", (0, 10));
    let (address, seen) = tls_server(context(&identity, None), End::Silent);
    let named = UrlConfig { virtualhost: Some("www.example.org".to_owned()), ..UrlConfig::new("/") };
    let literal = UrlConfig { virtualhost: Some("192.0.2.1".to_owned()), ..UrlConfig::new("/") };
    let table = [
        (None, named.clone(), None),
        (Some(Sni::VirtualHost), named.clone(), Some("www.example.org")),
        (Some(Sni::VirtualHost), UrlConfig::new("/"), None),
        (Some(Sni::VirtualHost), literal, None),
        (Some(Sni::Name("other.example.org".to_owned())), named, Some("other.example.org")),
    ];
    for (sni, url, expected) in table {
        let tls = TlsConfig { sni, ..TlsConfig::default() };
        assert_eq!(ask_http(https(address, url, tls.clone())), Ok(0));
        let name = seen.recv_timeout(PATIENT).expect("a connection").name;
        assert_eq!(name.as_deref(), expected, "{tls:?}");
    }
}

/// keepalived never looks at a certificate; `tls_verify` does.
#[test]
fn certificates_are_looked_at_where_that_is_asked_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let authority = Identity::authority("ca");
    let ca = file(&directory, "ca.pem", &authority.certificate_pem());
    let stranger = Identity::authority("stranger");
    let good = authority.issue("www.example.org", (0, 10));
    let table = [
        (good.clone(), Some("www.example.org"), None),
        (good.clone(), None, None),
        (good, Some("example.org"), Some("hostname mismatch")),
        (
            stranger.issue("www.example.org", (0, 10)),
            Some("www.example.org"),
            Some("unable to get local issuer certificate"),
        ),
        (authority.issue("www.example.org", (-10, -5)), Some("www.example.org"), Some("certificate has expired")),
        (
            authority.issue("www.example.org", (5, 10)),
            Some("www.example.org"),
            Some("certificate is not yet valid or the system clock is incorrect"),
        ),
    ];
    for (identity, name, expected) in table {
        let (address, _seen) = tls_server(context(&identity, None), End::Silent);
        let url = UrlConfig { virtualhost: name.map(str::to_owned), ..UrlConfig::new("/") };
        let verify = TlsConfig { verify: true, ca: Some(ca.clone()), ..TlsConfig::default() };
        let finding = ask_http(https(address, url.clone(), verify));
        match expected {
            None => assert_eq!(finding, Ok(0)),
            Some(why) => {
                let expected = format!("TLS: the certificate of {address} is not accepted: {why}");
                assert_eq!(reason(finding), expected);
            }
        }
        assert_eq!(ask_http(https(address, url, TlsConfig::default())), Ok(0), "not looked at");
    }
}

#[test]
fn a_file_of_authorities_that_is_not_there_is_our_trouble() {
    let tls = TlsConfig { verify: true, ca: Some("/nonexistent.pem".into()), ..TlsConfig::default() };
    let finding = ask_http(https(([127, 0, 0, 1], 1).into(), UrlConfig::new("/"), tls));
    assert!(own_trouble(finding).starts_with("/nonexistent.pem: "));
}

#[test]
fn our_certificate_is_shown_where_there_is_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let authority = Identity::authority("ca");
    let ours = authority.issue("lb", (0, 10));
    let encrypted = ours.key.private_key_to_pem_pkcs8_passphrase(openssl::symm::Cipher::aes_128_cbc(), b"secret");
    let path = |path: PathBuf| Some(path.to_string_lossy().into_owned());
    let ssl = SslConfig {
        password: Some("secret".to_owned()),
        ca: None,
        certificate: path(file(&directory, "lb.pem", &ours.certificate_pem())),
        key: path(file(&directory, "lb.key", &encrypted.expect("a key"))),
    };
    let (address, seen) = tls_server(context(&authority.issue("a", (0, 10)), Some(&authority)), End::Silent);
    let probe =
        || holdfast::checkers::config::Probe::Http(Box::new(https(address, UrlConfig::new("/"), TlsConfig::default())));
    assert_eq!(ask_with(probe(), &ssl), Ok(0));
    assert_eq!(seen.recv_timeout(PATIENT).expect("a connection").certificate.as_deref(), Some("lb"));
    // The server insists on one; whether its words or the end of the connection are seen first is a race.
    reason(ask_with(probe(), &SslConfig::default()));
    let wrong = SslConfig { password: Some("wrong".to_owned()), ..ssl };
    own_trouble(ask_with(probe(), &wrong));
}

#[test]
fn connections_end_as_configured() {
    let identity = Identity::authority("ca").issue("a", (0, 10));
    for (of_checker, of_page, expected) in [(false, None, false), (true, None, true), (true, Some(false), false)] {
        let (address, seen) = tls_server(context(&identity, None), End::Compliant);
        let url = UrlConfig { compliant_close: of_page, ..UrlConfig::new("/") };
        let tls = TlsConfig { compliant_close: of_checker, ..TlsConfig::default() };
        assert_eq!(ask_http(https(address, url, tls)), Ok(0));
        let good_bye = seen.recv_timeout(PATIENT).expect("a connection").good_bye;
        assert_eq!(good_bye, expected, "{of_checker} {of_page:?}");
    }
}

#[test]
fn servers_without_tls_are_down() {
    let plain = serve(|mut stream| {
        stream.write_all(PAGE)?;
        wait_for_close(&mut stream)
    });
    let expected = format!("TLS with {plain}: wrong version number");
    assert_eq!(reason(ask_http(https(plain, UrlConfig::new("/"), TlsConfig::default()))), expected);
    let silent = silent();
    let mut probe = https(silent, UrlConfig::new("/"), TlsConfig::default());
    probe.target.connect_timeout = SHORT;
    assert_eq!(reason(ask_http(probe)), format!("TLS: no answer from {silent} within 3s"));
    let closing = serve(|_| Ok(()));
    assert!(
        reason(ask_http(https(closing, UrlConfig::new("/"), TlsConfig::default()))).starts_with("TLS: connection ")
    );
}
