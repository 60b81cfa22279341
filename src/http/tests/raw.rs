//! Bodies that get a secret, octet for octet as HTTP/1 frames them.

use super::inject::spec;
use super::*;

#[test]
fn pipelined_requests_keep_their_own_bodies_and_lengths() {
    run(async {
        let value = "Canary-9";
        let mut case = Case::with(Alpn::Http1, "api.example", vec![spec(value, &["body", "query:k"])]);
        let (mut guest, guest_end) = duplex(1 << 16);
        let (upstream_end, mut upstream) = duplex(1 << 16);
        case.serve(guest_end, upstream_end);
        let token = &case.placeholder;
        let sized = format!(
            "POST /1?k={token} HTTP/1.1\r\nHost: api.example\r\nContent-Length: {}\r\n\r\n<{token}>",
            token.len() + 2
        );
        let chunked = format!(
            "POST /2 HTTP/1.1\r\nHost: api.example\r\nTransfer-Encoding: chunked\r\n\r\n\
             a\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
            &token[..10],
            token.len() - 10,
            &token[10..]
        );
        guest.write_all(format!("{sized}{chunked}").as_bytes()).await.unwrap();
        let first = until(&mut upstream, "<Canary-9>").await.replace("Content-Length", "content-length");
        assert!(first.starts_with("POST /1?k=Canary-9 HTTP/1.1\r\n"), "{first}");
        assert!(first.contains("content-length: 10\r\n") && !first.contains("chunked"), "{first}");
        upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        let second =
            until(&mut upstream, "0\r\n\r\n").await.replace("Transfer-Encoding", "transfer-encoding");
        assert!(second.contains("transfer-encoding: chunked\r\n"), "{second}");
        assert!(second.ends_with("8\r\nCanary-9\r\n0\r\n\r\n"), "{second}");
    });
}

#[test]
fn a_body_that_was_to_be_asked_for_is_asked_for_and_collected() {
    run(async {
        let mut case = Case::with(Alpn::Http1, "api.example", vec![spec("Canary-9", &["body"])]);
        let (mut guest, guest_end) = duplex(1 << 16);
        let (upstream_end, mut upstream) = duplex(1 << 16);
        case.serve(guest_end, upstream_end);
        let length = case.placeholder.len();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: api.example\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        );
        guest.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(until(&mut guest, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        guest.write_all(case.placeholder.as_bytes()).await.unwrap();
        let got = until(&mut upstream, "Canary-9").await.replace("Content-Length", "content-length");
        assert!(got.contains("content-length: 8\r\n") && !got.contains("expect"), "{got}");
    });
}
