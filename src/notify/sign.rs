//! Signatures of requests: the Standard Webhooks specification, and Amazon's version 4.
//!
//! Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// HMAC-SHA-256.
pub fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    // An HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// The value of `webhook-signature`: `v1,BASE64` of `id.timestamp.body`. A secret that begins with `whsec_` is base64.
pub fn standard_webhook(secret: &str, id: &str, timestamp: u64, body: &[u8]) -> String {
    let key = secret.strip_prefix("whsec_").and_then(|text| openssl::base64::decode_block(text).ok());
    let key = key.unwrap_or_else(|| secret.as_bytes().to_vec());
    let text = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    format!("v1,{}", openssl::base64::encode_block(&hmac(&key, &text)))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Who signs for Amazon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsKeys {
    /// Access key id.
    pub id: String,
    /// Secret access key.
    pub secret: String,
    /// Session token of a role.
    pub session: Option<String>,
}

/// A request as it is signed.
#[derive(Debug)]
pub struct AwsRequest<'a> {
    /// Method.
    pub method: &'a str,
    /// Host, with the port where it is not the usual one.
    pub host: &'a str,
    /// Path, escaped; `/` when it is empty.
    pub path: &'a str,
    /// Query, escaped, without its `?`.
    pub query: &'a str,
    /// Body.
    pub body: &'a [u8],
    /// `eu-central-1`.
    pub region: &'a str,
    /// `ec2`.
    pub service: &'a str,
    /// `20261121T081500Z`.
    pub time: &'a str,
}

/// The headers that Amazon wants: `x-amz-date`, `x-amz-content-sha256`, the session's token and `authorization`.
pub fn aws(request: &AwsRequest<'_>, keys: &AwsKeys) -> Vec<(&'static str, String)> {
    let payload = hex(&Sha256::digest(request.body));
    let mut headers: BTreeMap<&'static str, String> = BTreeMap::from([
        ("host", request.host.to_owned()),
        ("x-amz-content-sha256", payload.clone()),
        ("x-amz-date", request.time.to_owned()),
    ]);
    if let Some(session) = &keys.session {
        headers.insert("x-amz-security-token", session.clone());
    }
    let mut query: Vec<&str> = request.query.split('&').filter(|part| !part.is_empty()).collect();
    query.sort_unstable();
    let query: Vec<String> =
        query.iter().map(|part| if part.contains('=') { (*part).to_owned() } else { format!("{part}=") }).collect();
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let signed = headers.keys().copied().collect::<Vec<_>>().join(";");
    let AwsRequest { method, path, region, service, time, .. } = request;
    let canonical = format!("{method}\n{path}\n{}\n{lines}\n{signed}\n{payload}", query.join("&"));
    let date = time.get(..8).unwrap_or(time);
    let scope = format!("{date}/{region}/{service}/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let key = [date, region, service, "aws4_request"]
        .iter()
        .fold(format!("AWS4{}", keys.secret).into_bytes(), |key, part| hmac(&key, part.as_bytes()));
    let signature = hex(&hmac(&key, text.as_bytes()));
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}", keys.id);
    headers.remove("host");
    let mut headers: Vec<_> = headers.into_iter().collect();
    headers.push(("authorization", authorization));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 §4.3.
    #[test]
    fn hmac_of_the_rfc() {
        let mac = hex(&hmac(b"Jefe", b"what do ya want for nothing?"));
        assert_eq!(mac, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    /// The example of the specification (standardwebhooks.com, "Signature scheme").
    #[test]
    fn a_webhook_of_the_specification() {
        let signature = standard_webhook(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    /// "GET Object" of Amazon's "Signature calculations for the authorization header", without its `range` header the
    /// signature would be another; so the example is "GET Bucket Lifecycle", which has none.
    #[test]
    fn a_request_of_amazon_s_example() {
        let keys = AwsKeys {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            session: None,
        };
        let request = AwsRequest {
            method: "GET",
            host: "examplebucket.s3.amazonaws.com",
            path: "/",
            query: "lifecycle",
            body: b"",
            region: "us-east-1",
            service: "s3",
            time: "20130524T000000Z",
        };
        let headers = aws(&request, &keys);
        let authorization = &headers.last().expect("headers").1;
        let want = "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543";
        assert!(authorization.ends_with(want), "{authorization}");
    }
}
