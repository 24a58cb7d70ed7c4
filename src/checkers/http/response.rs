//! Reads an HTTP answer as it comes, leniently where keepalived is, and with a bound on everything.
//!
//! Pure. Without `Transfer-Encoding: chunked` the body is what comes until the connection ends, whatever
//! `Content-Length` says, because the digests of existing configurations were computed over that. `Content-Length` tells
//! when there is nothing more to wait for.

use md5::{Digest, Md5};

/// All headers together, with the interim answers before them; keepalived takes 4 KiB.
const LONGEST_HEAD: usize = 64 << 10;
/// A body of more than this is no page to be checked.
const LONGEST_BODY: u64 = 256 << 20;
/// As much of the body is kept where it is searched.
const LONGEST_TEXT: usize = 1 << 20;
/// The line with the size of a chunk.
const LONGEST_CHUNK_LINE: usize = 4 << 10;

/// What is wanted of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Its MD5.
    pub digest: bool,
    /// The body itself, to be searched.
    pub text: bool,
    /// The answer is to a HEAD: there is no body.
    pub head_only: bool,
    /// `Content-Length` ends the body (HTTP/1.1); otherwise the end of the connection does.
    pub by_length: bool,
}

/// Why an answer is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// The first line is none of HTTP.
    #[error("the answer is not HTTP")]
    NotHttp,
    /// More than 64 KiB before the body.
    #[error("the headers have more than 64 KiB")]
    LongHead,
    /// More than 256 MiB.
    #[error("the body has more than 256 MiB")]
    LongBody,
    /// More than 1 MiB, and it is to be searched.
    #[error("the body has more than 1 MiB, which is too much to be searched")]
    LongText,
    /// No size of a chunk where one must be.
    #[error("the body is not chunked as the headers say")]
    BadChunk,
    /// The connection ended first.
    #[error("the connection was closed before the end of the headers")]
    NoHead,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// MD5 of the body, if it was wanted.
    pub digest: Option<[u8; 16]>,
    /// The body, if it was wanted.
    pub text: Vec<u8>,
    /// Bytes of the body.
    pub length: u64,
}

/// Takes an answer in pieces.
pub struct Reader {
    wanted: Wanted,
    stage: Stage,
    head: Head,
    /// Bytes of heads so far: of interim answers too.
    head_length: usize,
    announced: Option<u64>,
    length: u64,
    text: Vec<u8>,
    digest: Option<Md5>,
}

#[derive(Debug, Default)]
struct Head {
    status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    fn values(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

enum Stage {
    Head(Vec<u8>),
    UntilClose,
    Chunked(Chunk),
    Complete,
}

enum Chunk {
    /// In the line with the size.
    Size(Vec<u8>),
    /// So many bytes of data to go.
    Data(u64),
    /// At the end of line after the data.
    End,
    /// After the last chunk: a line that has begun has so many bytes.
    Trailer { line: usize, total: usize },
}

impl Reader {
    /// Nothing read yet.
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            stage: Stage::Head(Vec::new()),
            head: Head::default(),
            head_length: 0,
            announced: None,
            length: 0,
            text: Vec::new(),
            digest: wanted.digest.then(Md5::new),
        }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// It is no HTTP, or too much of it.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), ResponseError> {
        while !bytes.is_empty() {
            bytes = match &mut self.stage {
                Stage::Head(_) => self.feed_head(bytes)?,
                Stage::UntilClose => {
                    self.take_body(bytes)?;
                    if self.wanted.by_length && self.announced.is_some_and(|announced| self.length >= announced) {
                        self.stage = Stage::Complete;
                    }
                    &[]
                }
                Stage::Chunked(_) => self.feed_chunk(bytes)?,
                Stage::Complete => &[],
            };
        }
        Ok(())
    }

    /// Whether nothing that may follow counts.
    pub fn is_complete(&self) -> bool {
        matches!(self.stage, Stage::Complete)
    }

    /// Whether a server that says nothing more has said all that it announced.
    pub fn may_be_all(&self) -> bool {
        match self.stage {
            Stage::Complete => true,
            Stage::UntilClose => self.announced.is_some_and(|announced| self.length >= announced),
            Stage::Head(_) | Stage::Chunked(_) => false,
        }
    }

    /// The answer, when the connection has ended or [`Self::is_complete`]. A body that ended early is what it is.
    ///
    /// # Errors
    /// The headers did not end.
    pub fn finish(self) -> Result<Response, ResponseError> {
        if let Stage::Head(_) = self.stage {
            return Err(ResponseError::NoHead);
        }
        Ok(Response {
            status: self.head.status,
            headers: self.head.headers,
            digest: self.digest.map(|digest| digest.finalize().into()),
            text: self.text,
            length: self.length,
        })
    }

    fn feed_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ResponseError> {
        let Stage::Head(seen) = &mut self.stage else { return Ok(bytes) };
        let searched = seen.len().saturating_sub(3);
        let before = seen.len();
        // No more than the bound is copied, whatever came in one piece.
        let room = (LONGEST_HEAD + 1).saturating_sub(self.head_length + before).min(bytes.len());
        seen.extend(bytes.iter().take(room));
        let Some(end) = end_of_head(seen, searched) else {
            if !b"HTTP/".starts_with(seen) && !seen.starts_with(b"HTTP/") {
                return Err(ResponseError::NotHttp);
            }
            return if self.head_length + seen.len() > LONGEST_HEAD { Err(ResponseError::LongHead) } else { Ok(&[]) };
        };
        let head = parse_head(seen.get(..end).unwrap_or_default()).ok_or(ResponseError::NotHttp)?;
        self.head_length += end;
        let interim = (100..200).contains(&head.status) && head.status != 101;
        self.stage = if interim { Stage::Head(Vec::new()) } else { self.body_of(&head) };
        self.head = head;
        Ok(bytes.get(end.saturating_sub(before)..).unwrap_or_default())
    }

    fn body_of(&mut self, head: &Head) -> Stage {
        if self.wanted.head_only || matches!(head.status, 204 | 304) {
            return Stage::Complete;
        }
        if head.values("transfer-encoding").any(|value| value.to_ascii_lowercase().contains("chunked")) {
            return Stage::Chunked(Chunk::Size(Vec::new()));
        }
        self.announced = head.values("content-length").find_map(|value| value.parse().ok());
        if self.wanted.by_length && self.announced == Some(0) { Stage::Complete } else { Stage::UntilClose }
    }

    fn feed_chunk<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ResponseError> {
        let Stage::Chunked(chunk) = &mut self.stage else { return Ok(bytes) };
        let line_end = bytes.iter().position(|byte| *byte == b'\n');
        let (line, after) = bytes.split_at(line_end.map_or(bytes.len(), |at| at + 1));
        match chunk {
            Chunk::Size(seen) => {
                if seen.len() + line.len() > LONGEST_CHUNK_LINE {
                    return Err(ResponseError::BadChunk);
                }
                seen.extend(line);
                if line_end.is_some() {
                    *chunk = match chunk_size(seen).ok_or(ResponseError::BadChunk)? {
                        0 => Chunk::Trailer { line: 0, total: 0 },
                        size => Chunk::Data(size),
                    };
                }
                Ok(after)
            }
            Chunk::Data(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= here as u64;
                if *left == 0 {
                    *chunk = Chunk::End;
                }
                let (data, after) = bytes.split_at(here);
                self.take_body(data)?;
                Ok(after)
            }
            Chunk::End => {
                if !line.iter().all(|byte| matches!(byte, b'\r' | b'\n')) || line.len() > 2 {
                    return Err(ResponseError::BadChunk);
                }
                if line_end.is_some() {
                    *chunk = Chunk::Size(Vec::new());
                }
                Ok(after)
            }
            Chunk::Trailer { line: length, total } => {
                *length += line.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).count();
                *total += line.len();
                if *total > LONGEST_HEAD {
                    return Err(ResponseError::LongHead);
                }
                if line_end.is_some() {
                    match *length {
                        0 => self.stage = Stage::Complete,
                        _ => *length = 0,
                    }
                }
                Ok(after)
            }
        }
    }

    fn take_body(&mut self, bytes: &[u8]) -> Result<(), ResponseError> {
        self.length += bytes.len() as u64;
        if self.length > LONGEST_BODY {
            return Err(ResponseError::LongBody);
        }
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        if self.wanted.text {
            if self.text.len() + bytes.len() > LONGEST_TEXT {
                return Err(ResponseError::LongText);
            }
            self.text.extend(bytes);
        }
        Ok(())
    }
}

/// The length of the head: an empty line ends it, with or without carriage returns.
fn end_of_head(seen: &[u8], from: usize) -> Option<usize> {
    let rest = seen.get(from..)?;
    rest.iter().enumerate().filter(|(_, byte)| **byte == b'\n').find_map(|(at, _)| {
        let after = rest.get(at + 1..)?;
        match after {
            [b'\n', ..] => Some(from + at + 2),
            [b'\r', b'\n', ..] => Some(from + at + 3),
            _ => None,
        }
    })
}

fn parse_head(head: &[u8]) -> Option<Head> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
    let first = lines.next()?.strip_prefix(b"HTTP/")?;
    let mut words = first.split(|byte| *byte == b' ' || *byte == b'\t').filter(|word| !word.is_empty());
    let _version = words.next()?;
    let code = words.next().filter(|code| code.len() == 3 && code.iter().all(u8::is_ascii_digit))?;
    let status = std::str::from_utf8(code).ok()?.parse().ok()?;
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let text = String::from_utf8_lossy(line);
        match (line.first(), headers.last_mut()) {
            // A line that goes on from the one before (RFC 9112 §5.2).
            (Some(b' ' | b'\t'), Some((_, value))) => {
                value.push(' ');
                value.push_str(text.trim());
            }
            // Lines without a colon mean nothing.
            _ => headers.extend(
                text.split_once(':').map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned())),
            ),
        }
    }
    Some(Head { status, headers })
}

/// `1a;extension` in hexadecimal.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let size = line.split(|byte| *byte == b';').next()?.trim_ascii();
    if size.is_empty() || !size.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()
}

#[cfg(test)]
mod tests;
