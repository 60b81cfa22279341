//! What a denied guest is told, and that everybody else is told the same.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;
use tokio::net::UdpSocket;

use crate::memory::{HOST, Http, OTHER, Origin, Plan, Reply};

on_h1_and_h2!(
    a_denial_has_one_id_everywhere,
    a_denied_request_is_recorded_with_its_rule,
    what_is_refused_for_other_reasons_has_an_id_too,
    what_is_only_observed_is_let_by_and_told,
);

fn scratch() -> PathBuf {
    std::env::temp_dir().join(format!("portcullis-denials-{:016x}", getrandom::u64().unwrap()))
}

fn records(path: &PathBuf) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    std::fs::remove_file(path).unwrap();
    let records = text.lines().map(|line| serde_json::from_str(line).unwrap());
    records.filter(|record: &Value| record["event"] == "denial").collect()
}

const JSON: [(&str, &str); 1] = [("accept", "application/json")];

async fn a_denial_has_one_id_everywhere(http: Http) {
    let path = scratch();
    let bed = Plan::new().audit(&path).start();
    let mut client = bed.https(http, "denied.example").await;
    let answer = client.get("/", &JSON).await;
    answer.assert_refused(403, "http_request_denied", "denied.example");
    assert_eq!(answer.field("content-type"), "application/json");
    let told: Value = serde_json::from_str(answer.text()).unwrap();
    let id = told["id"].as_str().unwrap().to_owned();
    let text = client.get("/", &[]).await;
    assert!(text.text().ends_with(&format!("to allow it: --allow denied.example (denial {id})\n")));
    assert!(answer.field("proxy-status").contains(&id) && text.field("proxy-status").contains(&id));
    let problem = client.get("/", &[("accept", "application/problem+json")]).await;
    let problem: Value = serde_json::from_str(problem.text()).unwrap();
    assert_eq!((&problem["status"], &problem["id"]), (&403.into(), &told["id"]));
    drop(client);
    bed.finish().await;
    let records = records(&path);
    let record = records.iter().find(|record| record["id"] == told["id"]).unwrap();
    for (key, own) in [("target", "target"), ("reason", "reason"), ("rule", "rule"), ("hint", "allow_with")] {
        assert_eq!(record[key], told[own], "{key}");
    }
    assert_eq!(told["error"], "denied");
    let mut ids: Vec<&str> = records.iter().map(|record| record["id"].as_str().unwrap()).collect();
    ids.dedup();
    assert_eq!(ids.len(), records.len());
}

async fn a_denied_request_is_recorded_with_its_rule(http: Http) {
    let origin = Origin::start(Some(crate::good()), |_| Reply::text("ok")).await;
    let path = scratch();
    let rule = format!("allow GET {HOST} /v1/**");
    let bed = Plan::new().rule(&rule).to(&origin).audit(&path).start();
    let mut client = bed.https(http, HOST).await;
    let answer = client.get("/v2", &JSON).await;
    answer.assert_refused(403, "http_request_denied", "only for other methods or paths");
    assert_eq!(client.get("/v1/x", &[]).await.text(), "ok");
    let told: Value = serde_json::from_str(answer.text()).unwrap();
    drop(client);
    bed.finish().await;
    let records = records(&path);
    let record = records.iter().find(|record| record["id"] == told["id"]).unwrap();
    assert_eq!(record["target"], format!("GET https://{HOST}/v2"));
    assert_eq!(record["rule"], format!("--rule '{rule}'"));
    assert_eq!(record["hint"], format!("--rule 'allow GET {HOST} /v2'"));
    assert_eq!(origin.seen().len(), 1);
}

async fn what_is_refused_for_other_reasons_has_an_id_too(http: Http) {
    let origin = Origin::start(Some(crate::good()), |_| Reply::text("ok")).await;
    let path = scratch();
    let bed = Plan::new().to(&origin).audit(&path).start();
    let answer = bed.https(http, HOST).await.get_for(OTHER, "/", &JSON).await;
    answer.assert_refused(421, "http_request_error", OTHER);
    let told: Value = serde_json::from_str(answer.text()).unwrap();
    assert_eq!(told["error"], "http_request_error");
    bed.finish().await;
    let records = records(&path);
    let record = records.iter().find(|record| record["id"] == told["id"]).unwrap();
    assert_eq!(record["reason"], told["reason"]);
}

/// The UDP port of an echo service.
const ECHO: u16 = 7;

async fn what_is_only_observed_is_let_by_and_told(http: Http) {
    let certificate = crate::pki::server_config("other", rustls::ALL_VERSIONS, &[b"h2", b"http/1.1"]);
    let origin = Origin::start(Some(certificate), |_| Reply::text("ok")).await;
    let path = scratch();
    let echo = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let plan = Plan::new().observe().connect(OTHER, 443, origin.addr);
    let bed = plan.connect(OTHER, ECHO, echo.local_addr().unwrap()).audit(&path).start();
    tokio::task::spawn_local(async move {
        let mut datagram = [0; 16];
        let (len, from) = echo.recv_from(&mut datagram).await.unwrap();
        echo.send_to(&datagram[..len], from).await.unwrap();
    });
    let token = bed.token();
    let mut client = bed.https(http, OTHER).await;
    assert_eq!(client.get("/seen", &[]).await.text(), "ok");
    client.get("/", &[("authorization", &token)]).await.assert_refused(403, "http_request_denied", "TOKEN");
    assert!(bed.guest.connect("10.1.2.3:22".parse().unwrap()).await.is_err());
    let datagrams = SocketAddr::new(bed.address(OTHER).await, ECHO);
    assert_eq!(bed.guest.udp_exchange(datagrams, b"seen").await.unwrap(), b"seen");
    let sandbox = bed.sandbox();
    let observed = sandbox.observed().unwrap();
    assert!(observed.starts_with("would have denied 2: "), "{observed}");
    for target in [format!("{OTHER}:443 (1)"), format!("{OTHER}:{ECHO}/udp (1)")] {
        assert!(observed.contains(&target), "{observed}");
    }
    assert!(sandbox.denials().is_some_and(|denials| !denials.contains(&format!("{OTHER}:443"))));
    drop(client);
    bed.finish().await;
    let records = records(&path);
    let observed = |record: &&Value| record["observed"] == true;
    let record = records.iter().filter(observed).find(|record| record["target"] == format!("{OTHER}:443"));
    assert_eq!(record.unwrap()["hint"], format!("--allow {OTHER}"));
    assert!(records.iter().any(|record| record["target"] == OTHER && record["observed"] == true));
    let datagrams =
        records.iter().filter(observed).find(|record| record["target"] == format!("{OTHER}:{ECHO}/udp"));
    assert_eq!(datagrams.unwrap()["hint"], format!("--allow {OTHER}:{ECHO}/udp"));
    assert!(!String::from_utf8_lossy(&origin.application()).contains(&token));
}
