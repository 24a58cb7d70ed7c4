//! Small servers that behave as they are told.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::common::loopback;

/// Serves each connection in a thread of its own, on a port of its own on loopback. The threads end with the process.
pub fn serve(behaviour: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let behaviour = behaviour.clone();
            // The client may be gone; that is its right.
            std::thread::spawn(move || drop(behaviour(stream)));
        }
    });
    address
}

/// Reads a request up to its empty line.
pub fn read_request(stream: &mut TcpStream) -> io::Result<String> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? > 0 {
        request.extend(byte);
    }
    Ok(String::from_utf8_lossy(&request).into_owned())
}

/// Answers each request with these bytes and closes.
pub fn answer(bytes: impl Into<Vec<u8>>) -> SocketAddr {
    let bytes = bytes.into();
    serve(move |mut stream| {
        read_request(&mut stream)?;
        stream.write_all(&bytes)
    })
}

/// Answers with these bytes, and then keeps the connection.
pub fn answer_and_stay(bytes: &'static [u8]) -> SocketAddr {
    serve(move |mut stream| {
        read_request(&mut stream)?;
        stream.write_all(bytes)?;
        wait_for_close(&mut stream)
    })
}

/// Takes the connection and says nothing.
pub fn silent() -> SocketAddr {
    serve(|mut stream| wait_for_close(&mut stream))
}

/// Says the same for ever.
pub fn endless(beginning: &'static [u8], again: &'static [u8]) -> SocketAddr {
    serve(move |mut stream| {
        read_request(&mut stream)?;
        stream.write_all(beginning)?;
        loop {
            stream.write_all(again)?;
        }
    })
}

/// Answers byte by byte.
pub fn trickle(bytes: &'static [u8], between: Duration) -> SocketAddr {
    serve(move |mut stream| {
        stream.set_nodelay(true)?;
        read_request(&mut stream)?;
        for byte in bytes {
            stream.write_all(&[*byte])?;
            std::thread::sleep(between);
        }
        Ok(())
    })
}

/// A port that nobody listens on, and nobody will.
pub fn closed_port() -> SocketAddr {
    (loopback(), 9).into()
}

pub fn wait_for_close(stream: &mut TcpStream) -> io::Result<()> {
    let mut rest = [0; 1024];
    while stream.read(&mut rest)? > 0 {}
    Ok(())
}
