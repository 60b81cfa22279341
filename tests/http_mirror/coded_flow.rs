//! Coded answers of a host that has a secret, while they are under way.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt as _;
use portcullis::coding::{Coding, Encoder};
use portcullis::limits::Limits;
use portcullis::tls::Alpn;
use tokio::task::spawn_local;

use crate::coded::{ALL, SECRET, answer, encoded, got, setting};
use crate::http_peers::{fed, piece, text};
use crate::on_both_versions;

on_both_versions!(
    events_arrive_one_by_one_as_they_are_flushed,
    a_head_does_not_wait_for_a_silent_body,
    a_large_coded_answer_passes_step_by_step,
    a_guest_that_does_not_read_holds_a_coded_upstream_back,
);

async fn events_arrive_one_by_one_as_they_are_flushed(alpn: Alpn) {
    let (setting, placeholder) = setting(alpn);
    for coding in ALL {
        let (feed, body) = fed();
        let body = Cell::new(Some(body));
        let respond = move || {
            let response = Response::builder().header("content-type", "text/event-stream");
            response.header("content-encoding", coding.name()).body(body.take().unwrap()).unwrap()
        };
        let mut body = got(&setting, respond).await.into_body();
        let mut encoder = Encoder::new(coding);
        for event in ["data: 1\n\n".to_owned(), format!("data: {SECRET}\n\n"), "data: 3\n\n".to_owned()] {
            let begun = encoder.push(Bytes::from(event.clone())).unwrap();
            let flushed = [begun, encoder.flush().unwrap()].concat();
            feed.send_bytes(flushed.into()).await.unwrap();
            // The next is not written before this one is read.
            let mut came = String::new();
            while came.len() < event.len() {
                came += &piece(&mut body).await;
            }
            assert_eq!(came, event.replace(SECRET, &placeholder), "{coding:?}");
        }
        feed.send_bytes(encoder.finish().unwrap()).await.unwrap();
        drop(feed);
        assert_eq!(text(body).await, "");
    }
}

async fn a_head_does_not_wait_for_a_silent_body(alpn: Alpn) {
    let (setting, _) = setting(alpn);
    let (feed, body) = fed();
    let body = Cell::new(Some(body));
    let respond =
        move || Response::builder().header("content-encoding", "gzip").body(body.take().unwrap()).unwrap();
    // The feed is here, and gives nothing before the head has come.
    let answer = got(&setting, respond).await;
    assert_eq!(answer.status(), 200);
    feed.send_bytes(encoded(Coding::Gzip, "at last")).await.unwrap();
    drop(feed);
    assert_eq!(text(answer.into_body()).await, "at last");
}

async fn a_large_coded_answer_passes_step_by_step(alpn: Alpn) {
    const WHOLE: usize = 24 << 20;
    const STEP: usize = 16 << 10;
    let (mut setting, _) = setting(alpn);
    setting.limits = Limits { decoded_step: STEP, decoded_ratio: 100_000, ..Limits::default() };
    for coding in ALL {
        let coded = encoded(coding, &"x".repeat(WHOLE));
        let respond = move || answer(coding.name(), vec![coded.clone()]);
        let mut body = got(&setting, respond).await.into_body();
        let mut came = 0;
        while let Some(frame) = body.frame().await {
            came += frame.unwrap().into_data().unwrap().len();
        }
        assert_eq!(came, WHOLE, "{coding:?}");
    }
}

/// Octets that may be under way at once: both legs' windows and buffers, and one step.
const UNDER_WAY: usize = 12 << 20;

async fn a_guest_that_does_not_read_holds_a_coded_upstream_back(alpn: Alpn) {
    let (setting, _) = setting(alpn);
    for coding in ALL {
        let decoded = Rc::new(Cell::new(0));
        let respond = {
            let decoded = decoded.clone();
            move || {
                let (feed, body) = fed();
                let decoded = decoded.clone();
                spawn_local(async move {
                    let mut encoder = Encoder::new(coding);
                    let mut seed = 1_u32;
                    loop {
                        // It does not compress, so what is sent is what it becomes.
                        let noise: Vec<u8> = std::iter::repeat_with(|| {
                            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                            (seed >> 24) as u8
                        })
                        .take(64 << 10)
                        .collect();
                        let begun = encoder.push(Bytes::from(noise)).unwrap();
                        let flushed = [begun, encoder.flush().unwrap()].concat();
                        if feed.send_bytes(flushed.into()).await.is_err() {
                            return;
                        }
                        decoded.set(decoded.get() + (64 << 10));
                    }
                });
                Response::builder().header("content-encoding", coding.name()).body(body).unwrap()
            }
        };
        let answer = got(&setting, respond).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(decoded.get() < UNDER_WAY, "{coding:?}: {}", decoded.get());
        drop(answer);
    }
}
