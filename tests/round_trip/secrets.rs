//! Placeholders that become secrets on their way out, and secrets that become placeholders on their way back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis::sandbox::Termination;
use portcullis::secret::{Elsewhere, Location, Reaction, SecretSpec, SecretValue};

use crate::memory::{Bed, Canary, HOST, Http, OTHER, Origin, Plan, Reply, Seen};
use crate::pki;

on_h1_and_h2!(
    a_secret_is_injected_in_authorization_a_custom_field_and_basic,
    reflective_fields_carry_the_placeholder_on,
    only_the_named_field_is_injected_where_one_is_named,
    an_echo_is_scrubbed_in_header_body_and_trailer_at_every_split,
    an_echo_in_an_error_answer_is_scrubbed,
    a_clean_body_passes_in_its_pieces,
    an_answer_in_an_unknown_coding_of_a_host_of_secrets_is_refused,
    a_request_with_a_secret_asks_for_the_whole_and_uncoded,
    a_secret_cannot_be_had_slice_by_slice,
    a_part_that_nobody_asked_for_is_refused,
    a_part_of_an_answer_to_a_secret_is_refused,
    a_host_of_one_secret_gives_away_no_other,
    a_placeholder_that_ends_the_sandbox_ends_it,
);

/// A sandbox, and an upstream that answers by `answer`.
async fn bed(answer: impl Fn(&Seen) -> Reply + 'static) -> (Origin, Bed) {
    let origin = Origin::start(Some(crate::good()), answer).await;
    let bed = Plan::new().to(&origin).start();
    (origin, bed)
}

async fn a_secret_is_injected_in_authorization_a_custom_field_and_basic(http: Http) {
    let (origin, bed) = bed(|_| Reply::text("ok")).await;
    let (token, secret) = (bed.token(), bed.canary.value().to_owned());
    let basic = |value: &str| format!("Basic {}", STANDARD.encode(format!("user:{value}")));
    let mut client = bed.https(http, HOST).await;
    for (name, given, arrived) in [
        ("authorization", format!("Bearer {token}"), format!("Bearer {secret}")),
        ("x-api-key", token.clone(), secret.clone()),
        ("x-two", format!("{token} and {token}"), format!("{secret} and {secret}")),
        ("authorization", basic(&token), basic(&secret)),
    ] {
        let answer = client.get("/", &[(name, &given)]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(origin.latest().field(name), arrived);
        assert_eq!(origin.latest().version == ::http::Version::HTTP_2, http == Http::Two);
    }
    client.get("/", &[("authorization", "Bearer the-guest's-own")]).await;
    assert_eq!(origin.latest().field("authorization"), "Bearer the-guest's-own");
    assert_eq!(origin.connections(), 1, "one connection for one connection");
    bed.finish().await;
}

async fn a_placeholder_that_ends_the_sandbox_ends_it(http: Http) {
    let origin = Origin::start(Some(crate::good()), |_| Reply::text("ok")).await;
    let value = SecretValue::new(b"trap-canary-of-a-host-that-is-not-asked".to_vec()).unwrap();
    let spec = SecretSpec::new("TRAP", value, &[OTHER]).unwrap();
    let spec = SecretSpec { elsewhere: Elsewhere::all(Reaction::Terminate), ..spec };
    let (tell, told) = tokio::sync::oneshot::channel();
    let plan = Plan::new().to(&origin).spec(spec).on_termination(move |why| tell.send(why).unwrap());
    let bed = plan.start();
    let mut client = bed.https(http, HOST).await;
    let (token, trap) = (bed.token(), bed.placeholder("TRAP"));
    assert_eq!(client.get("/", &[("x-key", &token)]).await.status, 200);
    let fields = [("x-key", trap.as_str())];
    let why = tokio::select! {
        biased;
        why = told => why.unwrap(),
        // It may be answered before the end.
        () = async { drop(client.get("/", &fields).await); std::future::pending().await } => unreachable!(),
    };
    let Termination::Misuse(text) = why else { panic!("{why:?}") };
    assert!(text.contains("secret TRAP (header:x-key) may not go to"), "{text}");
    bed.finish().await;
}

async fn reflective_fields_carry_the_placeholder_on(http: Http) {
    let (origin, bed) = bed(|seen| Reply::text(format!("{:?}", seen.headers))).await;
    let token = bed.token();
    let fields = ["user-agent", "referer", "origin", "cookie", "x-forwarded-for", "x-request-id", "accept"];
    let fields = fields.map(|name| (name, token.as_str()));
    let answer = bed.https(http, HOST).await.get("/", &fields).await;
    assert_eq!(answer.status, 200);
    for (name, _) in fields {
        assert_eq!(origin.latest().field(name), token, "{name}");
    }
    assert!(!String::from_utf8_lossy(&origin.application()).contains(bed.canary.value()));
    bed.finish().await;
}

async fn only_the_named_field_is_injected_where_one_is_named(http: Http) {
    let origin = Origin::start(Some(crate::good()), |_| Reply::text("ok")).await;
    let bed = Plan::with_swap(vec![Location::parse("header:x-api-key").unwrap()]).to(&origin).start();
    let token = bed.token();
    let basic = format!("Basic {}", STANDARD.encode(format!("user:{token}")));
    let fields = [("x-api-key", &*token), ("x-other", &token), ("authorization", &basic)];
    assert_eq!(bed.https(http, HOST).await.get("/", &fields).await.status, 200);
    let seen = origin.latest();
    assert_eq!(seen.field("x-api-key"), bed.canary.value());
    assert_eq!((seen.field("x-other"), seen.field("authorization")), (&*token, &*basic));
    bed.finish().await;
}

/// Answers with what came in `x-api-key`: in a field, in the body by pieces of as many octets as the path
/// says, and in a trailer.
fn echo(seen: &Seen) -> Reply {
    let secret = seen.field("x-api-key");
    let size = seen.target.rsplit('/').next().unwrap().parse().unwrap();
    let body = format!("<{secret}> {} {secret}{secret}", &secret[..secret.len() - 1]);
    Reply::pieces(&body, size).field("x-echo", secret).field("trailer", "x-last").trailer("x-last", secret)
}

async fn an_echo_is_scrubbed_in_header_body_and_trailer_at_every_split(http: Http) {
    let (origin, bed) = bed(echo).await;
    let token = bed.token();
    let mut client = bed.https(http, HOST).await;
    let secret = bed.canary.value().to_owned();
    for size in [1, 2, 3, 7, secret.len() - 1, secret.len(), secret.len() + 1, 1000] {
        // The trailer comes only to those who ask, on h1.
        let answer = client.get(&format!("/{size}"), &[("x-api-key", &token), ("te", "trailers")]).await;
        let expected = format!("<{token}> {} {token}{token}", &secret[..secret.len() - 1]);
        assert_eq!((answer.status.as_u16(), answer.text()), (200, &*expected), "pieces of {size}");
        assert_eq!(answer.field("x-echo"), token);
        assert_eq!(answer.trailers["x-last"], token);
    }
    assert_eq!(origin.latest().field("x-api-key"), secret);
    bed.finish().await;
}

async fn an_echo_in_an_error_answer_is_scrubbed(http: Http) {
    let (_origin, bed) = bed(|seen| {
        let secret = seen.field("authorization");
        Reply::text(format!("bad credentials: {secret}")).status(401).field("www-authenticate", secret)
    })
    .await;
    let bearer = format!("Bearer {}", bed.token());
    let answer = bed.https(http, HOST).await.get("/", &[("authorization", &bearer)]).await;
    assert_eq!((answer.status.as_u16(), answer.field("www-authenticate")), (401, &*bearer));
    assert_eq!(answer.text(), format!("bad credentials: {bearer}"));
    bed.finish().await;
}

async fn a_clean_body_passes_in_its_pieces(http: Http) {
    let (_origin, bed) = bed(|_| Reply::pieces(&"event!".repeat(50), 6)).await;
    let answer = bed.https(http, HOST).await.get("/", &[("x-api-key", &bed.token())]).await;
    assert_eq!(answer.text(), "event!".repeat(50));
    assert!(answer.chunks > 1);
    bed.finish().await;
}

async fn an_answer_in_an_unknown_coding_of_a_host_of_secrets_is_refused(http: Http) {
    let (_origin, bed) = bed(|seen| {
        let (_, coding) = seen.target.rsplit_once('/').unwrap();
        Reply::text("coded").field("content-encoding", coding)
    })
    .await;
    for coding in ["compress", "dcz", "gzip,br"] {
        // The refused body is not read, so on h1 its connection ends.
        let mut client = bed.https(http, HOST).await;
        let answer = client.get(&format!("/{coding}"), &[("x-api-key", &bed.token())]).await;
        answer.assert_refused(502, "http_response_content_coding", "identity was asked for");
    }
    assert_eq!(bed.https(http, HOST).await.get("/identity", &[]).await.text(), "coded");
    bed.finish().await;
}

const WISHES: [(&str, &str); 3] =
    [("range", "bytes=1-2"), ("if-range", "\"tag\""), ("accept-encoding", "gzip, br")];

async fn a_request_with_a_secret_asks_for_the_whole_and_uncoded(http: Http) {
    let (origin, bed) = bed(|_| Reply::text("ok")).await;
    let token = bed.token();
    let fields = [&WISHES[..], &[("x-api-key", &token)]].concat();
    assert_eq!(bed.https(http, HOST).await.get("/", &fields).await.status, 200);
    let seen = origin.latest();
    assert!(!seen.headers.contains_key("range") && !seen.headers.contains_key("if-range"));
    assert_eq!(seen.field("accept-encoding"), "identity");
    bed.finish().await;
}

async fn a_secret_cannot_be_had_slice_by_slice(http: Http) {
    let plan = Plan::new();
    let kept = plan.canary();
    // An upstream that was told the secret earlier, and shows it to a request that has none.
    let origin = Origin::start(Some(crate::good()), move |seen| match seen.headers.get("range") {
        None => Reply::text(kept.clone()),
        Some(_) => Reply::text(kept[1..3].to_owned()).status(206).field("content-range", "bytes 1-2/99"),
    })
    .await;
    let bed = plan.to(&origin).start();
    let answer = bed.https(http, HOST).await.get("/", &WISHES).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, &*bed.token()));
    let seen = origin.latest();
    assert!(!seen.headers.contains_key("range") && !seen.headers.contains_key("if-range"));
    assert_eq!(seen.field("accept-encoding"), "identity");
    bed.finish().await;
}

async fn a_part_that_nobody_asked_for_is_refused(http: Http) {
    let (_origin, bed) = bed(|_| Reply::text("k").status(206).field("content-range", "bytes 1-1/2")).await;
    let answer = bed.https(http, HOST).await.get("/", &WISHES).await;
    answer.assert_refused(502, "http_response_content_coding", "the whole was asked for");
    bed.finish().await;
}

async fn a_part_of_an_answer_to_a_secret_is_refused(http: Http) {
    let (_origin, bed) = bed(|seen| {
        let secret = seen.field("x-api-key");
        Reply::text(secret[..secret.len() / 2].to_owned()).status(206)
    })
    .await;
    let answer = bed.https(http, HOST).await.get("/", &[("x-api-key", &bed.token())]).await;
    assert_eq!(answer.status, 502, "{answer:?}");
    bed.finish().await;
}

async fn a_host_of_one_secret_gives_away_no_other(http: Http) {
    let (plan, theirs) = (Plan::new(), Canary::new());
    let mine = plan.canary();
    let config = pki::server_config("other", rustls::ALL_VERSIONS, &[b"h2", b"http/1.1"]);
    let origin = Origin::start(Some(config), move |seen| {
        // It came by the secret of another host in some way of its own.
        Reply::text(format!("{} {mine}", seen.field("x-api-key")))
    })
    .await;
    let plan = plan.secret("THEIRS", theirs.value(), OTHER);
    let bed = plan.connect(OTHER, 443, origin.addr).start();
    let (own, other) = (bed.placeholder("THEIRS"), bed.token());
    let mut client = bed.https(http, OTHER).await;
    let answer = client.get("/", &[("x-api-key", &own)]).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, &*format!("{own} {other}")));
    assert_eq!(origin.latest().field("x-api-key"), theirs.value());
    let answer = client.get("/", &[("x-api-key", &format!("{own}{other}"))]).await;
    answer.assert_refused(403, "http_request_denied", "TOKEN");
    assert_eq!(origin.seen().len(), 1);
    theirs.assert_unseen();
    bed.finish().await;
}
