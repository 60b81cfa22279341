//! Secrets that change while connections are open.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use portcullis::audit::{Event, SecretChange};
use portcullis::secret::{Rotation, SecretState, SecretValue};

use crate::memory::{Bed, Canary, HOST, Http, Origin, Plan, Reply};

on_h1_and_h2!(
    a_rotation_is_seen_by_the_next_request_of_an_open_connection,
    a_revoked_secret_is_refused_and_its_connection_lives,
    a_file_renamed_over_is_seen_and_a_bad_one_is_not_taken,
    a_command_that_fails_lets_its_value_expire_and_nothing_else,
    the_placeholder_of_another_sandbox_is_text,
);

/// An upstream that says what it was given, now and before.
async fn echo() -> Origin {
    let before = RefCell::new(Vec::new());
    Origin::start(Some(crate::good()), move |seen| {
        let given = seen.headers.get("x-api-key").map_or("nothing", |key| key.to_str().unwrap());
        let reply = Reply::text(format!("{given} after [{}]", before.borrow().join(" ")));
        before.borrow_mut().push(given.to_owned());
        reply.field("x-given", given)
    })
    .await
}

fn value(of: &Canary) -> SecretValue {
    SecretValue::new(of.value().into()).unwrap()
}

/// A directory of the test's own.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, http: Http) -> Self {
        let path = std::env::temp_dir().join(format!("portcullis-{name}-{http:?}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Puts a file there in one step.
    fn put(&self, name: &str, content: &str) -> PathBuf {
        let (path, next) = (self.0.join(name), self.0.join("next"));
        fs::write(&next, content).unwrap();
        fs::rename(next, &path).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The next thing that becomes of a secret, and why.
async fn change(bed: &mut Bed) -> (SecretChange, String) {
    bed.event(|event| match event {
        Event::Secret { change, reason, .. } => Some((*change, reason.clone())),
        _ => None,
    })
    .await
}

async fn a_rotation_is_seen_by_the_next_request_of_an_open_connection(http: Http) {
    let origin = echo().await;
    let mut bed = Plan::new().to(&origin).start();
    let (token, second, third) = (bed.token(), Canary::new(), Canary::new());
    let mut client = bed.https(http, HOST).await;
    let first = bed.canary.value().to_owned();
    assert_eq!(client.get("/", &[("x-api-key", &token)]).await.text(), format!("{token} after []"));
    assert_eq!(origin.latest().field("x-api-key"), first);
    // What the secret was before is nothing for the guest either.
    for (next, before) in [(&second, token.clone()), (&third, format!("{token} {token}"))] {
        assert_eq!(bed.sandbox().rotate_secret("TOKEN", value(next)).unwrap(), Rotation::Replaced);
        let answer = client.get("/", &[("x-api-key", &token)]).await;
        assert_eq!(answer.text(), format!("{token} after [{before}]"));
        assert_eq!(answer.field("x-given"), token);
        assert_eq!(origin.latest().field("x-api-key"), next.value());
        assert_eq!(change(&mut bed).await, (SecretChange::Rotated, String::new()));
    }
    assert_eq!(origin.connections(), 1, "all on one connection");
    assert!(bed.sandbox().secrets()[0].rotated.is_some());
    [second, third].iter().for_each(Canary::assert_unseen);
    bed.finish().await;
}

async fn a_revoked_secret_is_refused_and_its_connection_lives(http: Http) {
    let origin = echo().await;
    let mut bed = Plan::new().to(&origin).start();
    let (token, next) = (bed.token(), Canary::new());
    let mut client = bed.https(http, HOST).await;
    assert_eq!(client.get("/", &[("x-api-key", &token)]).await.status, 200);
    bed.sandbox().revoke_secret("TOKEN").unwrap();
    assert_eq!(change(&mut bed).await, (SecretChange::Revoked, String::new()));
    let (answer, seen) = (client.get("/", &[("x-api-key", &token)]).await, origin.seen().len());
    assert_eq!((answer.status.as_u16(), seen), (403, 1));
    assert!(answer.text().contains("secret TOKEN was revoked"), "{}", answer.text());
    assert_eq!(client.get("/", &[("user-agent", &token)]).await.status, 200, "no place for a secret");
    let old = value(&bed.canary);
    assert!(bed.sandbox().rotate_secret("TOKEN", old).unwrap_err().to_string().contains("was revoked"));
    assert!(bed.sandbox().rotate_secret("OTHER", value(&next)).is_err());
    bed.sandbox().rotate_secret("TOKEN", value(&next)).unwrap();
    assert_eq!(client.get("/", &[("x-api-key", &token)]).await.status, 200);
    assert_eq!((origin.latest().field("x-api-key"), origin.connections()), (next.value(), 1));
    bed.finish().await;
}

async fn a_file_renamed_over_is_seen_and_a_bad_one_is_not_taken(http: Http) {
    let (scratch, origin) = (Scratch::new("file", http), echo().await);
    let values = [(); 4].map(|()| Canary::new());
    let [first, second, third, fourth] = values.each_ref().map(Canary::value);
    let path = scratch.put("key", &format!("{first}\n"));
    let source = format!("\"file://{}\"", path.display());
    let quick =
        |limits: &mut portcullis::limits::Limits| limits.source_poll = std::time::Duration::from_millis(20);
    let mut bed = Plan::new().to(&origin).from("KEY", &source).limits(quick).start();
    let key = bed.placeholder("KEY");
    let mut client = bed.https(http, HOST).await;
    let mut sent = async || {
        let answer = client.get("/", &[("x-api-key", &key)]).await;
        assert!(answer.text().starts_with(&format!("{key} after [")), "{}", answer.text());
        origin.latest().field("x-api-key").to_owned()
    };
    assert_eq!(sent().await, first);
    scratch.put("key", second);
    assert_eq!(change(&mut bed).await, (SecretChange::Rotated, format!("by file://{}", path.display())));
    assert_eq!(sent().await, second);
    for (bad, says) in
        [(Some("short"), "shorter than 8 bytes"), (None, "cannot be read"), (Some("a\nb"), "shorter")]
    {
        match bad {
            Some(content) => drop(scratch.put("key", content)),
            None => fs::remove_file(&path).unwrap(),
        }
        let (change, reason) = change(&mut bed).await;
        assert!(change == SecretChange::Unavailable && reason.contains(says), "{reason}");
        assert_eq!(sent().await, second, "the last good value");
    }
    // In place, too; and a file that had gone is found again.
    fs::write(&path, third).unwrap();
    assert_eq!(change(&mut bed).await.0, SecretChange::Rotated);
    assert_eq!(sent().await, third);
    scratch.put("key", fourth);
    assert_eq!(change(&mut bed).await.0, SecretChange::Rotated);
    assert_eq!((sent().await, origin.connections()), (fourth.to_owned(), 1));
    bed.finish().await;
}

/// A command that counts how often it runs, and gives `value` for three seconds, once: long enough that it is
/// asked again before they are over, whatever part of the first has passed already.
fn once(dir: &Path, value: &str) -> String {
    let script = "echo >> $0/runs; test $(wc -l < $0/runs) = 1 || exit 7; \
        printf '{\\\"value\\\":\\\"%s\\\",\\\"expires_at\\\":%s}' \\\"$(cat $0/value)\\\" $(($(date +%s) + 3))";
    fs::write(dir.join("value"), value).unwrap();
    format!("{{ cmd = [\"sh\", \"-c\", \"{script}\", \"{}\"] }}", dir.display())
}

async fn a_command_that_fails_lets_its_value_expire_and_nothing_else(http: Http) {
    let (scratch, origin) = (Scratch::new("command", http), echo().await);
    let first = Canary::new();
    let source = once(&scratch.0, first.value());
    let mut bed = Plan::new().to(&origin).from("KEY", &source).start();
    let (key, token) = (bed.placeholder("KEY"), bed.token());
    let mut client = bed.https(http, HOST).await;
    assert_eq!(client.get("/", &[("x-api-key", &key)]).await.status, 200);
    assert_eq!(origin.latest().field("x-api-key"), first.value());
    let (unavailable, reason) = change(&mut bed).await;
    assert_eq!(unavailable, SecretChange::Unavailable);
    assert!(reason.starts_with("the command sh ended with exit code 7"), "{reason}");
    assert_eq!(change(&mut bed).await.0, SecretChange::Expired);
    let status = &bed.sandbox().secrets()[0];
    assert_eq!((status.name.as_str(), status.source.as_deref()), ("KEY", Some("cmd://sh")));
    assert_eq!(status.state, SecretState::Expired);
    let (answer, seen) = (client.get("/", &[("x-api-key", &key)]).await, origin.seen().len());
    assert_eq!((answer.status.as_u16(), seen), (503, 1));
    assert!(answer.text().contains("the value of secret KEY has expired"), "{}", answer.text());
    // Other secrets, and requests without any, are as they were.
    assert_eq!(client.get("/", &[("x-api-key", &token)]).await.status, 200);
    assert_eq!(client.get("/", &[]).await.status, 200);
    let answer = client.get("/", &[]).await;
    assert_eq!(answer.text(), format!("nothing after [{key} {token} nothing]"), "it is scrubbed still");
    bed.finish().await;
}

async fn the_placeholder_of_another_sandbox_is_text(http: Http) {
    let origin = echo().await;
    let (bed, other) = (Plan::new().to(&origin).start(), Plan::new().to(&origin).slot(1).start());
    let foreign = other.token();
    let answer = bed.https(http, HOST).await.get("/", &[("x-api-key", &foreign)]).await;
    assert_eq!(answer.text(), format!("{foreign} after []"));
    assert_eq!(origin.latest().field("x-api-key"), foreign);
    bed.finish().await;
    other.finish().await;
}
