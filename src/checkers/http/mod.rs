//! HTTP_GET and SSL_GET: what is sent, how the answer is read, and how it is judged.
//!
//! Pure but for [`regex`], which calls PCRE2. The probe that carries it is [`super::probe::http`].

pub mod expect;
pub mod regex;
pub mod request;
pub mod response;
