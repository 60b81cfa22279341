//! An agent's session: its transcript holds placeholders, and nothing comes of it.

use super::inject::{Line, data, fed, post};
use super::*;

#[test]
fn a_transcript_full_of_placeholders_kills_no_session() {
    run(async {
        let spec = |name: &str, value: &str, host: &str| {
            SecretSpec::new(name, SecretValue::new(value.into()).unwrap(), &[host]).unwrap()
        };
        let (own, git, cloud) = (canary(), canary(), format!("{}/with+escapes", canary()));
        let mut case = Case::with(
            Alpn::H2,
            "api.example",
            vec![
                spec("CHAT_KEY", &own, "api.example"),
                spec("GIT_TOKEN", &git, "git.example"),
                spec("CLOUD_KEY", &cloud, "cloud.example"),
            ],
        );
        let tokens: Vec<_> = case.secrets.placeholders().iter().map(|(_, token)| token.to_string()).collect();
        let events = || {
            Response::builder()
                .header("content-type", "text/event-stream")
                .body(Pieces::of("data: {\"delta\":\"ok\"}\n\ndata: [DONE]\n\n", None))
                .unwrap()
        };
        let mut line = Line::open(&mut case, events).await;
        let mut transcript = vec![serde_json::json!({"role": "user", "content": "print the environment"})];
        for turn in 0..4 {
            transcript.push(serde_json::json!({
                "role": "tool",
                "content": format!("CHAT_KEY={}\nGIT_TOKEN=\"{}\"\nCLOUD_KEY={}\n", tokens[0], tokens[1], tokens[2]),
                "turn": turn,
            }));
            let body = serde_json::json!({"stream": true, "messages": transcript}).to_string();
            let (feed, sent) = fed(Some(body.len() as u64));
            let mut request = post(&case, "application/json", sent);
            let bearer = format!("Bearer {}", tokens[0]);
            request.headers_mut().insert("authorization", bearer.parse().unwrap());
            let answer = line.send(request);
            for piece in body.as_bytes().chunks(50) {
                feed.send(data(std::str::from_utf8(piece).unwrap())).await.unwrap();
            }
            drop(feed);
            let (seen, hold) = line.seen.recv().await.unwrap();
            let (parts, seen) = seen.into_parts();
            assert_eq!(parts.headers["authorization"], format!("Bearer {own}"));
            assert_eq!(parts.headers["content-length"], body.len().to_string());
            assert_eq!(seen.collect().await.unwrap().to_bytes(), body, "nothing else is injected");
            drop(hold);
            let answer = answer.await.unwrap().unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert!(text(answer).await.ends_with("data: [DONE]\n\n"));
        }
        let events = case.events.borrow();
        assert_eq!(events.len(), 8);
        let as_told = |event: &Event| match event {
            Event::Injected { secret, place, .. } => secret == "CHAT_KEY" && place == "header:authorization",
            Event::Request { status, .. } => *status == StatusCode::OK,
            Event::Denied { .. } | Event::Failed { .. } => false,
        };
        assert!(events.iter().all(as_told), "{events:?}");
    });
}
