//! TLS of SSL_GET, by OpenSSL: reaches what keepalived reaches, and verifies where that is asked for.
//!
//! Shell: reads certificate files when a context is made.
//!
//! Without `tls_verify` the question is whether the server serves, not who it is: TLS 1.0, RSA key exchange, short keys
//! and SHA-1 are all taken (security level 0), as are servers without secure renegotiation and those that close without
//! saying so.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslRef, SslSessionCacheMode, SslVerifyMode,
};
use openssl::x509::X509VerifyResult;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use super::super::config::{Sni, Target, TlsConfig, UrlConfig};
use super::super::finding::Failure;
use super::socket;
use crate::ipvs::config::SslConfig;

/// `SSL_OP_LEGACY_SERVER_CONNECT`, which the library has no name for.
const LEGACY_SERVER_CONNECT: u64 = 0x4;
/// Where distributions keep the certificates of the authorities that they trust.
const SYSTEM_AUTHORITIES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What all connections of one kind share.
///
/// # Errors
/// A certificate, a key or an authority cannot be read.
pub fn context(config: &TlsConfig, ssl: &SslConfig) -> Result<SslContext, Failure> {
    let mut builder = SslContextBuilder::new(SslMethod::tls_client()).map_err(|error| broken("OpenSSL", &error))?;
    // Each probe is a whole handshake.
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.set_options(SslOptions::IGNORE_UNEXPECTED_EOF | SslOptions::NO_TICKET);
    if config.verify {
        builder.set_verify(SslVerifyMode::PEER);
        let named = config.ca.as_deref().or(ssl.ca.as_deref().map(Path::new));
        let system = || SYSTEM_AUTHORITIES.iter().map(Path::new).find(|path| path.exists());
        let file =
            named.or_else(system).ok_or_else(|| Failure::ours("tls_verify: no file of authorities, set tls_ca"))?;
        builder.set_ca_file(file).map_err(|error| broken(&file.display().to_string(), &error))?;
    } else {
        builder.set_verify(SslVerifyMode::NONE);
        builder.set_options(SslOptions::from_bits_retain(LEGACY_SERVER_CONNECT));
        builder.set_security_level(0);
        let lenient = builder.set_cipher_list("DEFAULT:@SECLEVEL=0");
        lenient.and_then(|()| builder.set_min_proto_version(None)).map_err(|error| broken("OpenSSL", &error))?;
    }
    identify(&mut builder, ssl)?;
    Ok(builder.build())
}

/// Our certificate, if the root block `SSL` has one.
fn identify(builder: &mut SslContextBuilder, ssl: &SslConfig) -> Result<(), Failure> {
    if let Some(file) = &ssl.certificate {
        builder.set_certificate_chain_file(file).map_err(|error| broken(file, &error))?;
    }
    if let Some(file) = &ssl.key {
        let pem = std::fs::read(file).map_err(|error| Failure::ours(format!("{file}: {error}")))?;
        // An empty pass phrase rather than none: OpenSSL would ask for one on the terminal.
        let password = ssl.password.as_deref().unwrap_or_default().as_bytes();
        let key = PKey::private_key_from_pem_passphrase(&pem, password).map_err(|error| broken(file, &error))?;
        builder.set_private_key(&key).map_err(|error| broken(file, &error))?;
    }
    Ok(())
}

fn broken(what: &str, error: &ErrorStack) -> Failure {
    Failure::ours(format!("{what}: {}", words(error)))
}

/// OpenSSL's reasons, without its file names and numbers.
fn words(errors: &ErrorStack) -> String {
    let reasons: Vec<_> = errors.errors().iter().filter_map(|error| error.reason()).collect();
    if reasons.is_empty() { "the session is broken".to_owned() } else { reasons.join(", ") }
}

/// The words of an error that a TLS stream gave, or of any other.
pub fn explain(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<openssl::ssl::Error>());
    match inner.and_then(openssl::ssl::Error::ssl_error) {
        Some(errors) => format!("TLS: {}", words(errors)),
        None => error.to_string(),
    }
}

/// Speaks TLS over a connection, within `connect_timeout`.
///
/// # Errors
/// The server's, or an unusable name.
pub async fn handshake(
    context: &SslContext,
    config: &TlsConfig,
    target: &Target,
    url: &UrlConfig,
    stream: TcpStream,
) -> Result<SslStream<TcpStream>, Failure> {
    let mut ssl = Ssl::new(context).map_err(|error| broken("OpenSSL", &error))?;
    let name = match &config.sni {
        Some(Sni::Name(name)) => Some(name.as_str()),
        Some(Sni::VirtualHost) => url.virtualhost.as_deref(),
        None => None,
    };
    if let Some(name) = name.filter(|name| name.parse::<IpAddr>().is_err()) {
        ssl.set_hostname(name).map_err(|error| broken(name, &error))?;
    }
    if config.verify {
        let expected = name.or(url.virtualhost.as_deref());
        expect_name(&mut ssl, expected, target).map_err(|error| broken("tls_verify", &error))?;
    }
    let mut stream = SslStream::new(ssl, stream).map_err(|error| broken("OpenSSL", &error))?;
    match tokio::time::timeout(target.connect_timeout, Pin::new(&mut stream).connect()).await {
        Ok(Ok(())) => Ok(stream),
        Ok(Err(error)) => Err(refused(&error, stream.ssl(), target)),
        Err(_) => {
            Err(Failure::unfit(format!("TLS: no answer from {} within {:?}", target.address, target.connect_timeout)))
        }
    }
}

/// The certificate must be for this name, or for the address.
fn expect_name(ssl: &mut Ssl, name: Option<&str>, target: &Target) -> Result<(), ErrorStack> {
    let address = match name {
        Some(name) => match name.parse::<IpAddr>() {
            Ok(address) => address,
            Err(_) => return ssl.param_mut().set_host(name),
        },
        None => target.address.ip,
    };
    ssl.param_mut().set_ip(address)
}

fn refused(error: &openssl::ssl::Error, ssl: &SslRef, target: &Target) -> Failure {
    if ssl.verify_result() != X509VerifyResult::OK {
        let reason = ssl.verify_result().error_string();
        return Failure::unfit(format!("TLS: the certificate of {} is not accepted: {reason}", target.address));
    }
    if let Some(errors) = error.ssl_error() {
        return Failure::unfit(format!("TLS with {}: {}", target.address, words(errors)));
    }
    match error.io_error() {
        Some(error) => match socket::failed(target, error) {
            Failure::Unfit(reason) => Failure::unfit(format!("TLS: {reason}")),
            ours @ Failure::Ours(_) => ours,
        },
        None => Failure::unfit(format!("TLS: connection closed by {}", target.address)),
    }
}
