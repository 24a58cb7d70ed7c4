//! The keywords of webhooks and cloud addresses: all of them ours.
//!
//! Pure.

use super::{Args, Block, Index, keyword};

const SECRET: &str = "file PATH | env NAME | credential NAME";

/// `notify_webhook`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static NOTIFY_WEBHOOK: Block = Block {
    name: "notify_webhook",
    // A name may be left out.
    named: false,
    more: 1,
    index: Index::new(),
    keywords: &[
        keyword("url", Args::Words { min: 1, max: 2 }, "URL | file PATH | env NAME | credential NAME", "none", "http or https", "where notices are sent; certificates are verified, redirects are not followed").ours(),
        keyword("preset", Args::Choice(&["generic", "cloudevents", "slack", "teams", "pagerduty", "alertmanager"]), "generic|cloudevents|slack|teams|pagerduty|alertmanager", "generic", "", "what is sent, in the form that the service takes").ours(),
        keyword("routing_key", Args::Words { min: 2, max: 2 }, SECRET, "none", "", "of PagerDuty's integration").ours(),
        keyword("body_template", Args::Word, "TEXT", "none", "", "what is sent instead: text with {{event}}, {{name}}, {{cause}} and the other fields of the generic JSON; in JSON, ' stands for a double quote").ours(),
        keyword("body_file", Args::Word, "PATH", "none", "absolute", "a file with such a text").ours(),
        keyword("events", Args::Words { min: 1, max: 32 }, "MASTER BACKUP FAULT STOP DELETED UP DOWN MASTER_RX_LOWER_PRI PRIORITY CHECK", "all but PRIORITY and CHECK", "", "what it hears of").repeatable().ours(),
        keyword("method", Args::Word, "METHOD", "POST", "", "request method").ours(),
        keyword("header", Args::Words { min: 2, max: 2 }, "NAME VALUE", "none", "", "one more request header; {{…}} as in body_template").repeatable().ours(),
        keyword("authorization", Args::Words { min: 2, max: 2 }, SECRET, "none", "", "where the whole value of the Authorization header is").ours(),
        keyword("token", Args::Block(&WEBHOOK_TOKEN), "{ … }", "none", "", "asks for a token first, which is {{token}} in url, header and body").ours(),
        keyword("sign", Args::Words { min: 3, max: 4 }, "hmac-sha256 file PATH | hmac-sha256 env NAME | hmac-sha256 credential NAME | aws-sigv4 REGION SERVICE [METADATA_URL]", "none", "", "signs each request: Standard Webhooks' headers, or Amazon's with the role of this machine").ours(),
        keyword("timeout", Args::Seconds { min: 100_000, max: 300_000_000, whole: false }, "SECS", "10", "0.1..300", "limit of one attempt").ours(),
        keyword("retry", Args::Int { min: 0, max: 1_000_000 }, "N", "for ever", ">=0", "attempts after the first before a notice is given up; pauses grow from half a second to a minute").ours(),
        keyword("reassert", Args::Seconds { min: 1_000_000, max: 86_400_000_000, whole: false }, "SECS", "never", "1..86400", "tells of who is MASTER again this often, as STILL_MASTER").ours(),
        keyword("status_code", Args::Words { min: 1, max: usize::MAX }, "N | A-B ...", "200-299", "100..599", "statuses of an answer that mean success").repeatable().ours(),
        keyword("tls_ca", Args::Word, "PATH", "the system's", "", "file with the CA that signed the server's certificate").ours(),
    ],
};

/// `cloud_address`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static CLOUD_ADDRESS: Block = Block {
    name: "cloud_address",
    named: true,
    more: 0,
    index: Index::new(),
    keywords: &[
        keyword("url", Args::Words { min: 1, max: 2 }, "URL | file PATH | env NAME | credential NAME", "none", "http or https", "the cloud's API").ours(),
        keyword("method", Args::Word, "METHOD", "POST", "", "request method").ours(),
        keyword("header", Args::Words { min: 2, max: 2 }, "NAME VALUE", "none", "", "one more request header; {{…}} as in body_template").repeatable().ours(),
        keyword("body_template", Args::Word, "TEXT", "nothing is sent", "", "what is sent: text with {{event}}, {{name}}, {{priority}}, {{token}}; in JSON, ' stands for a double quote").ours(),
        keyword("body_file", Args::Word, "PATH", "none", "absolute", "a file with such a text").ours(),
        keyword("authorization", Args::Words { min: 2, max: 2 }, SECRET, "none", "", "where the whole value of the Authorization header is").ours(),
        keyword("token", Args::Block(&WEBHOOK_TOKEN), "{ … }", "none", "", "asks for a token first, which is {{token}} in url, header and body").ours(),
        keyword("sign", Args::Words { min: 3, max: 4 }, "hmac-sha256 file PATH | hmac-sha256 env NAME | hmac-sha256 credential NAME | aws-sigv4 REGION SERVICE [METADATA_URL]", "none", "", "signs each request: Standard Webhooks' headers, or Amazon's with the role of this machine").ours(),
        keyword("events", Args::Words { min: 1, max: 8 }, "MASTER BACKUP FAULT STOP DELETED", "MASTER", "", "the states at which it asks").repeatable().ours(),
        keyword("timeout", Args::Seconds { min: 100_000, max: 300_000_000, whole: false }, "SECS", "10", "0.1..300", "limit of one attempt").ours(),
        keyword("retry", Args::Int { min: 0, max: 1_000_000 }, "N", "for ever", ">=0", "attempts after the first before it is given up until the next event; pauses grow from half a second to a minute").ours(),
        keyword("reassert", Args::Seconds { min: 0, max: 86_400_000_000, whole: false }, "SECS", "60", "0..86400, 0 = never", "asks again this often while MASTER: what somebody else changed is put right").ours(),
        keyword("status_code", Args::Words { min: 1, max: usize::MAX }, "N | A-B ...", "200-299", "100..599", "statuses of an answer that mean success").repeatable().ours(),
        keyword("tls_ca", Args::Word, "PATH", "the system's", "", "file with the CA that signed the server's certificate").ours(),
    ],
};

/// `token`.
#[rustfmt::skip] // One keyword a line: this is a table.
pub static WEBHOOK_TOKEN: Block = Block {
    name: "token",
    named: false,
    more: 0,
    index: Index::new(),
    keywords: &[
        keyword("url", Args::Words { min: 1, max: 2 }, "URL | file PATH | env NAME | credential NAME", "none", "http or https", "who gives tokens").ours(),
        keyword("method", Args::Word, "METHOD", "GET", "", "request method").ours(),
        keyword("header", Args::Words { min: 2, max: 2 }, "NAME VALUE", "none", "", "one more request header").repeatable().ours(),
        keyword("authorization", Args::Words { min: 2, max: 2 }, SECRET, "none", "", "where the whole value of the Authorization header is").ours(),
        keyword("body_template", Args::Word, "TEXT", "nothing is sent", "", "what is sent; in JSON, ' stands for a double quote").ours(),
        keyword("body_file", Args::Word, "PATH", "none", "absolute", "a file with it").ours(),
        keyword("field", Args::Word, "NAME", "access_token", "", "the field of the answer's JSON that is the token").ours(),
        keyword("response_header", Args::Word, "NAME", "none", "", "the header of the answer that is the token").ours(),
        keyword("timeout", Args::Seconds { min: 100_000, max: 300_000_000, whole: false }, "SECS", "10", "0.1..300", "limit of one attempt").ours(),
        keyword("status_code", Args::Words { min: 1, max: usize::MAX }, "N | A-B ...", "200-299", "100..599", "statuses of an answer that mean success").repeatable().ours(),
        keyword("tls_ca", Args::Word, "PATH", "the system's", "", "file with the CA that signed the server's certificate").ours(),
    ],
};
