use proptest::prelude::*;

use super::*;

const ALL: Wanted = Wanted { digest: true, text: true, head_only: false, by_length: false };

/// The answer when it comes in pieces of this many bytes.
fn read(wanted: Wanted, bytes: &[u8], piece: usize) -> Result<Response, ResponseError> {
    let mut reader = Reader::new(wanted);
    for piece in bytes.chunks(piece) {
        reader.feed(piece)?;
    }
    reader.finish()
}

fn body_of(bytes: &[u8]) -> Result<String, ResponseError> {
    read(ALL, bytes, usize::MAX).map(|answer| String::from_utf8_lossy(&answer.text).into_owned())
}

#[test]
fn odd_servers_are_understood() {
    let table: &[(&[u8], u16, &str)] = &[
        (b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody", 200, "body"),
        (b"HTTP/1.0 200\r\n\r\nbody", 200, "body"),
        (b"HTTP/1.1 200 OK\n\nbody", 200, "body"),
        (b"HTTP/1.1 200 OK\r\n\nbody", 200, "body"),
        (b"HTTP/1.1  404  Not  Found\r\n\r\n", 404, ""),
        (b"HTTP/1.1\t503 Busy\r\n\r\n", 503, ""),
        (b"HTTP/2 200\r\n\r\nx", 200, "x"),
        (b"HTTP/ 200\r\n\r\nx", 0, "refused"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n: no name\r\n\xff\xfe: \xff\r\n\r\nx", 200, "x"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx", 200, "x"),
        (b"HTTP/1.1 204 None\r\n\r\nnot a body", 204, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nmore than two", 200, "more than two"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nless", 200, "less"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nbody", 200, "body"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
            200,
            "abc0123456789",
        ),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, Chunked\r\n\r\n3\nabc\n0\nTrailer: x\n\nafter", 200, "abc"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", 200, "abc"),
    ];
    for (bytes, status, body) in table {
        for piece in [1, 2, 7, usize::MAX] {
            match read(ALL, bytes, piece) {
                Ok(answer) => {
                    let text = String::from_utf8_lossy(&answer.text);
                    assert_eq!((answer.status, &*text), (*status, *body), "{:?}", String::from_utf8_lossy(bytes));
                    assert_eq!(answer.digest, Some(Md5::digest(body.as_bytes()).into()));
                }
                Err(error) => {
                    assert_eq!((*status, *body), (0, "refused"), "{error} {:?}", String::from_utf8_lossy(bytes))
                }
            }
        }
    }
}

#[test]
fn what_is_no_http_is_refused() {
    let table: &[(&[u8], ResponseError)] = &[
        (b"", ResponseError::NoHead),
        (b"HT", ResponseError::NoHead),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n", ResponseError::NoHead),
        (b"SSH-2.0-OpenSSH\r\n", ResponseError::NotHttp),
        (b"<html>", ResponseError::NotHttp),
        (b"HTTP/1.1 OK\r\n\r\n", ResponseError::NotHttp),
        (b"HTTP/1.1 20 OK\r\n\r\n", ResponseError::NotHttp),
        (b"HTTP/1.1 2000 OK\r\n\r\n", ResponseError::NotHttp),
        (b"HTTP/1.1 -20 OK\r\n\r\n", ResponseError::NotHttp),
        (b"\r\n\r\n", ResponseError::NotHttp),
    ];
    for (bytes, error) in table {
        assert_eq!(read(ALL, bytes, usize::MAX), Err(*error), "{:?}", String::from_utf8_lossy(bytes));
        assert_eq!(read(ALL, bytes, 1), Err(*error), "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn bad_chunks_are_refused() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for bad in ["x\r\n", "\r\n", "-1\r\n", "+1\r\n", "3\r\nabcd\r\n", "3\r\nabcXY", "ffffffffffffffffff\r\n"] {
        assert_eq!(body_of(&[head, bad.as_bytes()].concat()), Err(ResponseError::BadChunk), "{bad:?}");
    }
    let endless = [head.as_slice(), &[b'0'; 5000]].concat();
    assert_eq!(body_of(&endless), Err(ResponseError::BadChunk));
}

#[test]
fn headers_do_not_go_on_for_ever() {
    let mut reader = Reader::new(ALL);
    let mut sent = 0;
    reader.feed(b"HTTP/1.1 200 OK\r\n").expect("a beginning");
    let error = loop {
        sent += 8;
        assert!(sent < 1 << 20, "endless headers end");
        if let Err(error) = reader.feed(b"a: bcd\r\n") {
            break error;
        }
    };
    assert_eq!(error, ResponseError::LongHead);
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000);
    assert_eq!(body_of(&interim), Err(ResponseError::LongHead));
    let long = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &[b'x'; LONGEST_TEXT + 1]].concat();
    assert_eq!(body_of(&long), Err(ResponseError::LongText));
}

#[test]
fn an_answer_knows_when_it_is_over() {
    let by_length = Wanted { by_length: true, ..ALL };
    let table: &[(Wanted, &[u8], bool, bool)] = &[
        (ALL, b"HTTP/1.1 200 OK\r\n\r\nx", false, false),
        (ALL, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx", false, false),
        (ALL, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", false, true),
        (ALL, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, true),
        (by_length, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", true, true),
        (by_length, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true, true),
        (by_length, b"HTTP/1.1 200 OK\r\n\r\nx", false, false),
        (Wanted { head_only: true, ..ALL }, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true, true),
        (ALL, b"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n", true, true),
        (ALL, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", false, false),
        (ALL, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", true, true),
    ];
    for (wanted, bytes, complete, may_be_all) in table {
        let mut reader = Reader::new(*wanted);
        reader.feed(bytes).expect("HTTP");
        let text = String::from_utf8_lossy(bytes);
        assert_eq!((reader.is_complete(), reader.may_be_all()), (*complete, *may_be_all), "{text:?}");
    }
}

#[test]
fn headers_are_found_by_name_and_may_be_folded() {
    let answer = read(ALL, b"HTTP/1.1 200 OK\r\nX-A:  one \r\n  two\r\nx-a: three\r\n\r\n", 3).expect("HTTP");
    let expected = [("x-a", "one two"), ("x-a", "three")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(answer.headers, expected);
}

proptest! {
    /// However an answer is cut into pieces, it is the same answer; and no bytes make the reader fall over.
    #[test]
    fn pieces_do_not_matter(
        status in 200_u16..600,
        chunked in any::<bool>(),
        noise in prop::collection::vec(any::<u8>(), 0..200),
        cuts in prop::collection::vec(1_usize..40, 1..40),
    ) {
        let encoding = if chunked { "Transfer-Encoding: chunked\r\n" } else { "" };
        let mut bytes = format!("HTTP/1.1 {status} X\r\n{encoding}\r\n").into_bytes();
        if chunked {
            bytes.extend(b"5\r\nhello\r\n");
        }
        bytes.extend(noise);
        let whole = read(ALL, &bytes, usize::MAX);
        let mut reader = Reader::new(ALL);
        let mut rest = bytes.as_slice();
        let mut result = Ok(());
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() && result.is_ok() {
            let (piece, after) = rest.split_at(cuts.next().map_or(1, |cut| *cut).min(rest.len()));
            result = reader.feed(piece);
            rest = after;
        }
        prop_assert_eq!(result.and_then(|()| reader.finish()), whole);
    }

    #[test]
    fn garbage_is_no_crash(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1_usize..300) {
        let _ = read(ALL, &bytes, piece);
        let _ = read(ALL, &[b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n".as_slice(), &bytes].concat(), piece);
    }
}
