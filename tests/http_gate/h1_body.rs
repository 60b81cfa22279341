//! Lengths, chunks, and what follows a request on HTTP/1.

use super::h1::Fate::{Broken, Passed, Refused};
use super::h1::{GET, HELLO, judge, judge_all};
use super::run;

#[test]
fn a_body_has_one_length() {
    judge_all(&[
        ("length", b"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello", HELLO),
        ("length in 1.0", b"POST /x HTTP/1.0\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello", HELLO),
        (
            "chunked",
            b"POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            HELLO,
        ),
        (
            "GET with chunks",
            b"GET /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            Passed(&[("GET", "/x", "hi")]),
        ),
        ("empty", b"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n", Passed(&[("POST", "/x", "")])),
        ("sign", b"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: +5\r\n\r\nhello", Refused(400)),
        ("minus", b"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: -5\r\n\r\nhello", Refused(400)),
        ("zeros", b"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 005\r\n\r\nhello", Refused(400)),
        ("list", b"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5, 5\r\n\r\nhello", Refused(400)),
        ("hexadecimal", b"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0x5\r\n\r\nhello", Refused(400)),
        ("no digits", b"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length:\r\n\r\n", Refused(400)),
        (
            "too large a number",
            b"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 99999999999999999999\r\n\r\n",
            Refused(400),
        ),
        (
            "two that differ",
            b"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            Refused(400),
        ),
        (
            // hyper drops the second before we see it.
            "two that agree",
            b"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            HELLO,
        ),
    ]);
}

#[test]
fn chunked_is_chunked_and_nothing_else() {
    judge_all(&[
        (
            // hyper drops the length before we see it, and ends the connection.
            "length before chunked",
            b"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /y HTTP/1.1\r\nHost: a.example\r\n\r\n",
            HELLO,
        ),
        (
            "length after chunked",
            b"POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /y HTTP/1.1\r\nHost: a.example\r\n\r\n",
            HELLO,
        ),
        (
            "chunked twice",
            b"POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "chunked on two lines",
            b"POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "identity",
            b"POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: identity\r\n\r\nhello",
            Refused(400),
        ),
        (
            "gzip inside",
            b"POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "chunked not last",
            b"POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        ("nearly", b"POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", Refused(400)),
        ("vertical tab", b"POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", Refused(400)),
        (
            "capitals",
            b"POST /x HTTP/1.1\r\nHost: a.example\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            HELLO,
        ),
        (
            "in 1.0",
            b"POST /x HTTP/1.0\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "extension",
            b"POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0;c\r\n\r\n",
            HELLO,
        ),
        (
            "zeros before the size",
            b"POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n0005\r\nhello\r\n000\r\n\r\n",
            HELLO,
        ),
    ]);
}

#[test]
fn a_broken_body_is_a_message_that_never_ends() {
    const HEAD: &str = "POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "5\r\nhel",
        "5\r\nhello",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff1\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        "5\r\nhello\r\n0\r\n",
        "5\r\nhello\r\n",
        "",
    ] {
        run(async { judge(body, format!("{HEAD}{body}").as_bytes(), &Broken).await });
    }
    judge_all(&[(
        "short of its length",
        b"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\nhello",
        Broken,
    )]);
}

#[test]
fn what_follows_a_request_is_the_next_or_nothing() {
    judge_all(&[
        (
            "pipelined",
            b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\nGET /y HTTP/1.1\r\nHost: a.example\r\n\r\n",
            Passed(&[("GET", "/x", ""), ("GET", "/y", "")]),
        ),
        (
            "pipelined after a body",
            b"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhelloGET /y HTTP/1.1\r\nHost: a.example\r\n\r\n",
            Passed(&[("POST", "/x", "hello"), ("GET", "/y", "")]),
        ),
        (
            "pipelined, not wanted",
            b"GET /x HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\nGET /y HTTP/1.1\r\nHost: a.example\r\n\r\n",
            GET,
        ),
        (
            "refused, then good",
            b"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 05\r\n\r\nhelloGET /y HTTP/1.1\r\nHost: a.example\r\n\r\n",
            Refused(400),
        ),
        (
            "a body without length is no body",
            b"POST /x HTTP/1.1\r\nHost: a.example\r\n\r\nGET /y HTTP/1.1\r\nHost: a.example\r\n\r\n",
            Passed(&[("POST", "/x", ""), ("GET", "/y", "")]),
        ),
        (
            "h2c, then a second request",
            b"GET /x HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\nGET /y HTTP/1.1\r\nHost: a.example\r\n\r\n",
            Passed(&[("GET", "/x", ""), ("GET", "/y", "")]),
        ),
        (
            "WebSocket refused, then a second request",
            b"GET /x HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nGET /y HTTP/1.1\r\nHost: a.example\r\n\r\n",
            Passed(&[("GET", "/x", ""), ("GET", "/y", "")]),
        ),
    ]);
}
