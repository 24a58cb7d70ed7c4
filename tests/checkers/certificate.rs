//! Certificates of an authority that exists for one test.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name};

/// A certificate with its key.
#[derive(Clone)]
pub struct Identity {
    pub certificate: X509,
    pub key: PKey<Private>,
}

impl Identity {
    /// An authority that vouches for itself.
    pub fn authority(name: &str) -> Self {
        let key = key(2048);
        let mut builder = builder(name, &key, 0, 10);
        let constraint = BasicConstraints::new().critical().ca().build().expect("an extension");
        builder.append_extension(constraint).expect("an extension");
        builder.set_issuer_name(&subject(name)).expect("a name");
        builder.sign(&key, MessageDigest::sha256()).expect("a signature");
        Self { certificate: builder.build(), key }
    }

    /// A certificate for a name and for 127.0.0.1, valid from and to these days from now.
    pub fn issue(&self, name: &str, days: (i64, i64)) -> Self {
        self.issue_with(name, days, 2048, MessageDigest::sha256())
    }

    /// The same as people made them twenty years ago.
    pub fn issue_old(&self, name: &str) -> Self {
        self.issue_with(name, (0, 10), 1024, MessageDigest::sha1())
    }

    fn issue_with(&self, name: &str, (from, to): (i64, i64), bits: u32, digest: MessageDigest) -> Self {
        let key = key(bits);
        let mut builder = builder(name, &key, from, to);
        builder.set_issuer_name(self.certificate.subject_name()).expect("a name");
        let context = builder.x509v3_context(Some(&self.certificate), None);
        let names = SubjectAlternativeName::new().dns(name).ip("127.0.0.1").build(&context).expect("an extension");
        builder.append_extension(names).expect("an extension");
        builder.sign(&self.key, digest).expect("a signature");
        Self { certificate: builder.build(), key }
    }

    pub fn certificate_pem(&self) -> Vec<u8> {
        self.certificate.to_pem().expect("a certificate")
    }

    pub fn key_pem(&self) -> Vec<u8> {
        self.key.private_key_to_pem_pkcs8().expect("a key")
    }
}

fn key(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).expect("a key")).expect("a key")
}

fn subject(name: &str) -> X509Name {
    let mut builder = X509Name::builder().expect("a name");
    builder.append_entry_by_nid(Nid::COMMONNAME, name).expect("a name");
    builder.build()
}

fn builder(name: &str, key: &PKey<Private>, from: i64, to: i64) -> X509Builder {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let day = |day: i64| Asn1Time::from_unix(now.as_secs().cast_signed() + day * 86_400 - 60).expect("a time");
    let mut serial = BigNum::new().expect("a number");
    serial.rand(64, openssl::bn::MsbOption::MAYBE_ZERO, false).expect("a number");
    let mut builder = X509::builder().expect("a certificate");
    builder.set_version(2).expect("a version");
    builder.set_serial_number(&serial.to_asn1_integer().expect("a number")).expect("a number");
    builder.set_subject_name(&subject(name)).expect("a name");
    builder.set_pubkey(key).expect("a key");
    builder.set_not_before(&day(from)).expect("a time");
    builder.set_not_after(&day(to)).expect("a time");
    builder
}
