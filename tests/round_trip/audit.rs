//! What is told of a flow, and what is not done where it cannot be told.

use std::path::{Path, PathBuf};

use portcullis::audit::{Event, FlowKind};
use serde_json::Value;

use crate::memory::{HOST, Http, OTHER, Origin, Plan, Reply, run};

on_h1_and_h2!(every_step_is_recorded, nothing_is_injected_that_cannot_be_recorded);

fn scratch() -> PathBuf {
    std::env::temp_dir().join(format!("portcullis-round-trip-{:016x}", getrandom::u64().unwrap()))
}

async fn every_step_is_recorded(http: Http) {
    let origin = Origin::start(Some(crate::good()), |_| Reply::text("ok").status(201)).await;
    let path = scratch();
    let plan = Plan::new().to(&origin).audit(&path);
    let secret = plan.canary();
    let mut bed = plan.start();
    let mut client = bed.https(http, HOST).await;
    let token = bed.token();
    assert_eq!(client.get(&format!("/v1?q={token}"), &[("x-api-key", &token)]).await.status, 201);
    client.get_for(OTHER, "/misdirected", &[]).await.assert_refused(421, "http_request_error", OTHER);
    bed.https(http, "denied.example").await.get("/", &[]).await.assert_refused(
        403,
        "http_request_denied",
        "",
    );
    drop(client);
    let kind = bed
        .event(|event| match event {
            Event::Flow { kind, host, .. } if host.as_deref() == Some(HOST) => Some(*kind),
            _ => None,
        })
        .await;
    assert_eq!(kind, FlowKind::Https);
    bed.finish().await;

    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(!text.contains(&secret));
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of =
        |kind: &str| -> Vec<&Value> { records.iter().filter(|record| record["event"] == kind).collect() };
    let injection = of("injection")[0];
    assert_eq!((&injection["secret"], &injection["place"]), (&"TOKEN".into(), &"header:x-api-key".into()));
    assert_eq!(injection["origin"], format!("https://{HOST}"));
    let request = of("request")[0];
    assert_eq!((&request["method"], &request["status"]), (&"GET".into(), &201.into()));
    assert_eq!(request["path"], format!("/v1?q={token}"));
    let flow = of("flow").into_iter().find(|flow| flow["host"] == HOST).unwrap();
    assert_eq!((&flow["flow"], &flow["kind"]), (&request["flow"], &"https".into()));
    assert_eq!((&flow["upstream"], &flow["rule"]), (&origin.addr.to_string().into(), &"secret TOKEN".into()));
    let denials = of("denial");
    let misdirected = format!("GET https://{HOST}/misdirected");
    let misdirected = denials.iter().find(|denial| denial["target"] == misdirected.as_str()).unwrap();
    let denied = denials.iter().find(|denial| denial["target"] == "denied.example:443").unwrap();
    assert_eq!(denied["hint"], "--allow denied.example");
    for (path, status, denial) in [("/misdirected", 421, misdirected), ("/", 403, denied)] {
        let request = of("request").into_iter().find(|request| request["path"] == path).unwrap();
        assert_eq!((&request["status"], &request["denial"]), (&status.into(), &denial["id"]));
        assert!(of("flow").iter().any(|flow| flow["flow"] == request["flow"]), "{request}");
    }
    assert_eq!(of("request").len(), 3);
}

#[test]
fn whatever_is_refused_in_the_clear_has_a_denial_a_request_and_a_flow() {
    run(async {
        let origin = Origin::start(None, |_| Reply::text("ok")).await;
        let path = scratch();
        let plan = Plan::new().connect(OTHER, 80, origin.addr).rule(&format!("allow GET {OTHER} /v1/**"));
        let bed = plan.audit(&path).start();
        let mut client = bed.http(OTHER).await;
        assert_eq!(client.get("/v1/x", &[]).await.status, 200);
        assert_eq!(client.get("/v2", &[]).await.status, 403);
        drop(client);
        assert_eq!(bed.http("denied.example").await.get("/d", &[]).await.status, 403);
        let bare = bed.guest.connect("93.184.216.34:80".parse().unwrap()).await.unwrap();
        let mut client = bed.client(Http::One, bare, ("http", "93.184.216.34")).await;
        assert_eq!(client.get_for("93.184.216.34", "/a", &[]).await.status, 403);
        drop(client);
        bed.finish().await;
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let find = |kind: &str, key: &str, value: &Value| {
            let is_it = |record: &&Value| record["event"] == kind && record[key] == *value;
            records.iter().find(is_it).unwrap_or_else(|| panic!("{kind} {key} {value} in {text}"))
        };
        let known = format!("http://{OTHER}");
        for (path, origin) in
            [("/v2", known.as_str()), ("/d", "http://denied.example"), ("/a", "http://93.184.216.34:80")]
        {
            let request = find("request", "path", &path.into());
            assert_eq!((&request["origin"], &request["status"]), (&origin.into(), &403.into()));
            find("denial", "id", &request["denial"]);
            assert_eq!(find("flow", "flow", &request["flow"])["kind"], "http");
        }
        assert_eq!(find("request", "path", &"/v1/x".into())["denial"], Value::Null);
        assert!(!text.contains("nobody.invalid"), "{text}");
    });
}

async fn nothing_is_injected_that_cannot_be_recorded(http: Http) {
    let origin = Origin::start(Some(crate::good()), |_| Reply::text("ok")).await;
    let bed = Plan::new().to(&origin).audit(Path::new("/dev/full")).start();
    let mut client = bed.https(http, HOST).await;
    let token = bed.token();
    for _ in 0..3 {
        let answer = client.get("/", &[("x-api-key", &token)]).await;
        answer.assert_refused(503, "proxy_internal_error", "audit trail");
    }
    assert_eq!(client.get("/", &[]).await.text(), "ok", "what carries no secret goes on");
    assert!(!String::from_utf8_lossy(&origin.application()).contains(bed.canary.value()));
    assert_eq!(origin.seen().len(), 1);
    bed.finish().await;
}
