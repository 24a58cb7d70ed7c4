//! Length-framed messages over a stream socket pair between our own processes.
//!
//! Shell. Frame: 4 bytes length, little endian, then the message in postcard's encoding. Both ends are the same
//! binary, so the encoding needs no versions; the first message says which build speaks.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Larger frames are a bug or an attack, not a configuration.
const MAX_FRAME: usize = 256 << 20;

/// Writes one message.
///
/// # Errors
/// The peer is gone, or the message cannot be encoded.
pub async fn send<T: Serialize>(to: &mut (impl AsyncWriteExt + Unpin), message: &T) -> io::Result<()> {
    to.write_all(&encode(message)?).await
}

/// Reads one message; `None` when the peer closed the stream between two messages.
///
/// # Errors
/// The stream broke inside a message, or what came is not a message.
pub async fn receive<T: DeserializeOwned>(from: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length).await {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    }
    let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("frame of {length} bytes")));
    }
    let mut frame = vec![0; length];
    from.read_exact(&mut frame).await?;
    postcard::from_bytes(&frame).map(Some).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// One message as a frame, for senders that queue bytes.
///
/// # Errors
/// The message cannot be encoded or is too large.
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut frame = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
    let length = frame.len() - 4;
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("message of {length} bytes")));
    }
    let length = u32::try_from(length).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}
