//! HTTP_GET and SSL_GET: what is sent, how the answer is read, and how it is judged.
//!
//! Pure but for [`regex`], which calls PCRE2. The probe that carries it is [`super::probe::http`].

pub mod expect;
pub mod regex;
pub mod request;
pub mod response;

#[cfg(test)]
mod tests {
    use crate::checkers::config::UrlConfig;

    /// A page by its path, with every other setting as it is by default.
    pub fn url(path: &str) -> UrlConfig {
        UrlConfig {
            path: path.to_owned(),
            virtualhost: None,
            digest: None,
            status: vec![(200, 299)],
            regex: None,
            method: None,
            headers: Vec::new(),
            body: None,
            expect_headers: Vec::new(),
            expect_body: None,
            expect_json: Vec::new(),
            compliant_close: None,
        }
    }
}
