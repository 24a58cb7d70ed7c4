//! Length-framed messages over a stream socket pair between our own processes.
//!
//! Shell. Frame: 4 bytes length, little endian, then the message in postcard's encoding. Both ends are the same
//! binary, so the encoding needs no versions; the first message says which build speaks.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

/// Larger frames are a bug or an attack, not a configuration.
const MAX_FRAME: usize = 256 << 20;
/// Frames that wait are written together, up to this many bytes.
const TOGETHER: usize = 64 << 10;
/// For the buffer of who reads with [`receive`]: small frames that came together are read together.
pub const READ_TOGETHER: usize = 16 << 10;

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

/// Writes the frames of a queue, those that wait together in one system call. Ends with the queue.
///
/// # Errors
/// The peer is gone.
pub async fn send_queued(to: &mut (impl AsyncWriteExt + Unpin), queue: &mut mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    let mut left = None;
    loop {
        let next = match left.take() {
            None => queue.recv().await,
            next => next,
        };
        let Some(mut frames) = next else { return Ok(()) };
        while let Ok(frame) = queue.try_recv() {
            if frames.len() + frame.len() > TOGETHER {
                left = Some(frame);
                break;
            }
            frames.extend_from_slice(&frame);
        }
        to.write_all(&frames).await?;
    }
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

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::AsyncWrite;

    use super::*;

    /// What each system call would have written.
    #[derive(Default)]
    struct Calls(Vec<Vec<u8>>);

    impl AsyncWrite for Calls {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.0.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn small_frames_that_wait_are_sent_together() {
        let (queue, mut waiting) = mpsc::channel(16);
        let frames = [vec![1; 3], vec![2; 4], vec![3; TOGETHER], vec![4; 5], vec![5; TOGETHER - 5], vec![6; 1]];
        for frame in &frames {
            queue.try_send(frame.clone()).expect("room");
        }
        drop(queue);
        let mut calls = Calls::default();
        send_queued(&mut calls, &mut waiting).await.expect("it takes everything");
        let sizes: Vec<usize> = calls.0.iter().map(Vec::len).collect();
        assert_eq!(sizes, [7, TOGETHER, TOGETHER, 1]);
        assert_eq!(calls.0.concat(), frames.concat(), "in their order");
    }
}
