//! How a log line looks: its text first, then the fields that the text does not say already.
//!
//! Pure. Control characters are escaped: part of a line may come from a packet, a file or a script's name.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::field::{Field, Visit};

/// One line on its way to the sinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// How bad.
    pub level: tracing::Level,
    /// When.
    pub time: SystemTime,
    /// What, without control characters.
    pub text: String,
    /// Main says it for this child, `_vrrp` for example: people look for such lines under `Keepalived_vrrp`.
    pub child: &'static str,
    /// What the configuration appends to the name: `_NAMESPACE_INSTANCE`.
    pub suffix: Arc<str>,
    /// The same as fields, for lines in JSON.
    pub fields: Option<Box<Structured>>,
}

/// A line as fields, under the names of `/v1/events`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Structured {
    message: String,
    fields: serde_json::Map<String, serde_json::Value>,
}

impl Structured {
    /// The notice of lines that are missing.
    pub fn lost(count: u64) -> Self {
        let mut lost = Self { message: format!("{count} log lines dropped"), ..Self::default() };
        lost.fields.insert("kind".to_owned(), "log_lines_dropped".into());
        lost.fields.insert("count".to_owned(), count.into());
        lost
    }
}

impl Record {
    /// A line; control characters in `text` are escaped.
    pub fn new(level: tracing::Level, time: SystemTime, text: String) -> Self {
        let text = if text.chars().any(char::is_control) { escape(&text) } else { text };
        Self { level, time, text, child: "", suffix: Arc::default(), fields: None }
    }

    /// The name in the log: the process's own, or the child's for lines that main says for it.
    pub fn ident<'a>(&self, own: &'a str) -> Cow<'a, str> {
        let process = if own.ends_with(self.child) { "" } else { self.child };
        if process.len() + self.suffix.len() == 0 {
            own.into()
        } else {
            format!("{own}{process}{}", self.suffix).into()
        }
    }

    /// The line for a sink that puts nothing before it: JSON if that is wanted, else what `text` makes of it.
    pub fn line(&self, own: &str, text: impl FnOnce() -> String) -> String {
        let Some(structured) = &self.fields else { return text() };
        let ident = self.ident(own);
        // The name of the process as the status shows it.
        let process = if ident.contains("_vrrp") {
            "vrrp"
        } else if ident.contains("_healthcheckers") {
            "balancer"
        } else {
            "main"
        };
        let mut line = serde_json::Map::new();
        line.insert("at".to_owned(), self.timestamp().into());
        line.insert("level".to_owned(), self.level.as_str().to_ascii_lowercase().into());
        line.insert("process".to_owned(), process.into());
        line.insert("ident".to_owned(), ident.into());
        line.insert("pid".to_owned(), std::process::id().into());
        line.insert("text".to_owned(), structured.message.as_str().into());
        for (name, value) in &structured.fields {
            // What the line says itself stays as it is.
            line.entry(name.as_str()).or_insert_with(|| value.clone());
        }
        serde_json::Value::Object(line).to_string()
    }

    /// syslog's number for the level.
    pub fn severity(&self) -> u8 {
        match self.level {
            tracing::Level::ERROR => 3,
            tracing::Level::WARN => 4,
            tracing::Level::INFO => 6,
            _ => 7,
        }
    }

    /// The time in UTC: `2026-11-21T01:40:31.123Z`.
    pub fn timestamp(&self) -> String {
        let since = self.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let seconds = since.as_secs();
        let (year, month, day) = civil_date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    escaped
}

/// Days since 1970-01-01 to a date of the Gregorian calendar, counting years from March so that the leap day is last.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// The text of a tracing event.
pub(super) fn render(event: &tracing::Event<'_>) -> String {
    let mut visitor = Fields::default();
    event.record(&mut visitor);
    let Fields { mut message, fields } = visitor;
    for (name, value) in fields {
        // Those are for programs, and in the text already where people need them.
        if !name.starts_with(JSON_ONLY) && !message.contains(&value) {
            let separator = if message.is_empty() { "" } else { " " };
            let _ = write!(message, "{separator}{name}={value}");
        }
    }
    message
}

/// Fields of this prefix are shown in JSON only, without it.
const JSON_ONLY: &str = "json.";

/// A tracing event as fields.
pub(super) fn fields(event: &tracing::Event<'_>) -> Structured {
    let mut structured = Structured::default();
    event.record(&mut structured);
    structured
}

impl Structured {
    fn put(&mut self, field: &Field, value: serde_json::Value) {
        let name = match field.name().strip_prefix(JSON_ONLY).unwrap_or(field.name()) {
            // What an event is about is its subject, whatever it is.
            "instance" => "subject",
            name => name,
        };
        if value != "" {
            self.fields.insert(name.to_owned(), value);
        }
    }
}

impl Visit for Structured {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let value = format!("{value:?}");
        if field.name() == "message" { self.message = value } else { self.put(field, value.into()) }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" { value.clone_into(&mut self.message) } else { self.put(field, value.into()) }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let value = format!("{value:?}");
        if field.name() == "message" { self.message = value } else { self.fields.push((field.name(), value)) }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else if value.is_empty() || value.contains([' ', '"', '=']) && !self.message.contains(value) {
            self.fields.push((field.name(), format!("{value:?}")));
        } else {
            self.fields.push((field.name(), value.to_owned()));
        }
    }
}
