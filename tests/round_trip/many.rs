//! Many requests with a secret, on both versions of HTTP at once, to an upstream that repeats all it gets.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tokio::task::LocalSet;

use crate::memory::{Bed, HOST, Http, Origin, Plan, Reply, Seen, run};

/// The secret in every form it may come back in, numbered so that no two answers are alike.
fn echo(seen: &Seen) -> Reply {
    let secret = seen.field("x-api-key");
    let basic = seen.field("authorization").strip_prefix("Basic ").unwrap();
    let number: usize = seen.target.rsplit('/').next().unwrap().parse().unwrap();
    let mut text = format!("{number} {secret} {basic} {}", "-".repeat(number % 97));
    for octet in secret.bytes() {
        write!(text, "{octet:02x}").unwrap();
    }
    text.push(' ');
    for (at, octet) in secret.bytes().enumerate() {
        match (at + number) % 5 {
            0 => write!(text, "%{octet:02X}").unwrap(),
            1 => write!(text, "\\u{octet:04x}").unwrap(),
            2 => write!(text, "&#{octet};").unwrap(),
            3 => write!(text, "&#x{octet:x};").unwrap(),
            _ => text.push(char::from(octet)),
        }
    }
    let alignment = &"ab"[..number % 3];
    write!(text, " {}", URL_SAFE_NO_PAD.encode(format!("{alignment}{secret}?"))).unwrap();
    Reply::pieces(&text, 1 + number % 61).field("x-echo", secret)
}

/// No form of the secret is in a text; those that are written plainly, as a check of what the answers hold.
fn assert_clean(secret: &str, text: &str) {
    let hex = secret.bytes().fold(String::new(), |hex, octet| format!("{hex}{octet:02x}"));
    let cores = (0..3).map(|alignment| {
        let text = URL_SAFE_NO_PAD.encode(format!("{}{secret}", &"ab"[..alignment]));
        text[alignment.div_ceil(1) + 1..text.len() - 3].to_owned()
    });
    for form in cores.chain([secret.to_owned(), hex]) {
        assert!(!text.contains(&form), "{form} in {text}");
    }
}

async fn requests(bed: &Bed, http: Http, numbers: std::ops::Range<usize>) {
    let (token, secret) = (bed.token(), bed.canary.value().to_owned());
    let basic = format!("Basic {}", STANDARD.encode(format!("user:{token}")));
    let mut client = bed.https(http, HOST).await;
    for number in numbers {
        let fields = [("x-api-key", &*token), ("authorization", &basic), ("x-note", "note")];
        let answer = client.get(&format!("/{number}"), &fields).await;
        assert_eq!((answer.status.as_u16(), answer.field("x-echo")), (200, &*token));
        let text = answer.text();
        assert!(text.starts_with(&format!("{number} {token} ")), "{text}");
        assert_clean(&secret, text);
    }
}

async fn exchange(count: usize) {
    let tokens = Rc::new(RefCell::new(Vec::<String>::new()));
    let placeholders = Rc::clone(&tokens);
    let origin = Origin::start(Some(crate::good()), move |seen| {
        for value in seen.headers.values() {
            let text = value.to_str().unwrap();
            assert!(!placeholders.borrow().iter().any(|token| text.contains(token.as_str())), "{text}");
        }
        echo(seen)
    })
    .await;
    let bed = Plan::new().to(&origin).start();
    let token = bed.token();
    let encoded = STANDARD.encode(format!("user:{token}"));
    tokens.borrow_mut().extend([token, encoded]);
    tokio::join!(requests(&bed, Http::One, 0..count / 2), requests(&bed, Http::Two, count / 2..count));
    assert_eq!(origin.connections(), 2);
    bed.finish().await;
}

#[test]
fn dozens_of_echoes_bring_no_secret_and_take_no_placeholder() {
    run(exchange(60));
}

/// The same for long: `cargo test --release --test round_trip -- --ignored hundred_thousand`.
#[test]
#[ignore = "takes minutes"]
fn a_hundred_thousand_echoes_bring_no_secret_and_take_no_placeholder() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, exchange(100_000));
}
