//! What scrubbing a body costs, in bytes a second, by the number of secrets.
//!
//! `cargo bench --bench replacer`

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up has nothing to measure")]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::BytesCount;
use portcullis::name::HostName;
use portcullis::secret::{ScrubStream, SecretSpec, SecretValue, Secrets};

const HOST: &str = "api.example";
const SECRETS: [usize; 3] = [1, 5, 20];
/// A TLS record's worth, as hyper hands it over.
const CHUNK: usize = 16 << 10;
/// More than a core's caches hold twice.
const BODY: usize = 4 << 20;

/// Text without a secret: the body passes uncopied, but for chunks that end like a secret begins.
#[divan::bench(args = SECRETS)]
fn clean_text(bencher: Bencher<'_, '_>, count: usize) {
    scrub(bencher, count, &text(BODY, b""));
}

/// The same where no secret has a public prefix.
#[divan::bench(args = SECRETS)]
fn clean_text_secrets_without_prefix(bencher: Bencher<'_, '_>, count: usize) {
    let bytes = Bytes::from(text(BODY, b""));
    run(bencher, &secrets(count, &[""]), &bytes);
}

/// Text where every fourth word is a public prefix of the secrets and no secret.
#[divan::bench(args = SECRETS)]
fn text_full_of_prefixes(bencher: Bencher<'_, '_>, count: usize) {
    scrub(bencher, count, &text(BODY, b"sk-proj-abc"));
}

/// One secret in each KiB or so.
#[divan::bench(args = SECRETS)]
fn text_with_echoes(bencher: Bencher<'_, '_>, count: usize) {
    let mut body = text(BODY, b"");
    for place in body.chunks_mut(1_024) {
        place[100..100 + VALUE].copy_from_slice(value(0, PREFIXES[0]).as_bytes());
    }
    scrub(bencher, count, &body);
}

/// JSON in a string of JSON, as agents' transcripts are: a backslash every ten octets or so.
#[divan::bench(args = SECRETS)]
fn json_text(bencher: Bencher<'_, '_>, count: usize) {
    const PIECES: [&str; 8] = [
        r#"{\"role\":\"user\",\"content\":\""#,
        r#"Fix the build.\n\nerror: expected one of `!`"#,
        r#"https:\/\/api.example\/v1\/items\/4711"#,
        r#"caf\u00e9 and \u4f60\u597d, then \t more"#,
        r#"\"},{\"id\":1024,\"ok\":true,\"at\":\"2026-01-01\"}"#,
        r#"C:\\Users\\me\\src"#,
        r#"plain words of an answer without any escape at all, "#,
        r#"\"tool_calls\":[{\"name\":\"run\",\"arguments\":\"ls\"}]"#,
    ];
    scrub(bencher, count, &pieces(&PIECES));
}

/// HTML, with a reference every fifteen octets or so.
#[divan::bench(args = SECRETS)]
fn html_text(bencher: Bencher<'_, '_>, count: usize) {
    const PIECES: [&str; 6] = [
        "<a href=\"/search?q=a&amp;page=2&amp;lang=en\">next</a>\n",
        "if (a &lt; b &amp;&amp; c &gt; d) { return &quot;x&quot;; }\n",
        "<p class=\"text\">It&#39;s a guest&rsquo;s page&nbsp;&mdash; and so on.</p>\n",
        "<td>&nbsp;</td><td>&#x27;quoted&#x27;</td>\n",
        "<img src=\"/a%20b%2Fc.png?x=1&y=2\">",
        "<li>words of a page without anything to escape in them</li>\n",
    ];
    scrub(bencher, count, &pieces(&PIECES));
}

/// What has nothing to do with text.
#[divan::bench(args = SECRETS)]
fn random_bytes(bencher: Bencher<'_, '_>, count: usize) {
    let mut random = Random(7);
    let body: Vec<u8> = (0..BODY).map(|_| random.below(256) as u8).collect();
    scrub(bencher, count, &body);
}

/// Server-sent events of a hundred bytes, each a chunk of its own.
#[divan::bench(args = SECRETS)]
fn small_events(bencher: Bencher<'_, '_>, count: usize) {
    let body = Bytes::from(text(64 << 10, b""));
    let mut stream = stream(&secrets(count, &PREFIXES));
    bencher.counter(BytesCount::new(body.len())).bench_local(|| pass(&mut stream, &body, 100));
}

fn main() {
    divan::main();
}

fn scrub(bencher: Bencher<'_, '_>, count: usize, body: &[u8]) {
    run(bencher, &secrets(count, &PREFIXES), &Bytes::copy_from_slice(body));
}

fn run(bencher: Bencher<'_, '_>, secrets: &Arc<Secrets>, body: &Bytes) {
    let mut stream = stream(secrets);
    bencher.counter(BytesCount::new(body.len())).bench_local(|| pass(&mut stream, body, CHUNK));
}

fn pass(stream: &mut ScrubStream, body: &Bytes, chunk: usize) {
    for start in (0..body.len()).step_by(chunk) {
        black_box(stream.push(body.slice(start..body.len().min(start + chunk))));
    }
    black_box(stream.finish());
}

fn stream(secrets: &Arc<Secrets>) -> ScrubStream {
    secrets.scrubber(&HostName::parse(HOST).expect("a name")).expect("a host of secrets").body()
}

const PREFIXES: [&str; 5] = ["sk-proj-", "ghp_", "sk-ant-api03-", "xoxb-", ""];
const VALUE: usize = 51;

fn secrets(count: usize, prefixes: &[&str]) -> Arc<Secrets> {
    let spec = |index: usize| {
        let value = value(index, prefixes[index % prefixes.len()]).into_bytes();
        let value = SecretValue::new(value).expect("valid");
        SecretSpec::new(&format!("SECRET_{index}"), value, &[HOST]).expect("valid")
    };
    Secrets::new((0..count).map(spec).collect()).expect("valid")
}

fn value(index: usize, prefix: &str) -> String {
    let mut random = Random(index as u64 + 1);
    let rest =
        (prefix.len()..VALUE).map(|_| char::from(b"0123456789abcdefghijKLMNOPQRSTUVwxyz"[random.below(36)]));
    prefix.chars().chain(rest).collect()
}

/// English and JSON, with `salt` for every fourth word.
fn text(length: usize, salt: &[u8]) -> Vec<u8> {
    const WORDS: [&str; 24] = [
        "the ",
        "guest ",
        "asks ",
        "for ",
        "a ",
        "task-",
        "sketch ",
        "\"content\": ",
        "ghost ",
        "graph ",
        "{\"id\": ",
        "0x3fa9",
        "response ",
        "}, \n",
        "xor ",
        "boxes ",
        "tokens ",
        "is ",
        "processed ",
        "1024, ",
        "https://",
        "example.com/",
        "skipping ",
        "proj ",
    ];
    let mut random = Random(42);
    let mut out = Vec::with_capacity(length + 32);
    while out.len() < length {
        out.extend_from_slice(WORDS[random.below(WORDS.len())].as_bytes());
        if random.below(4) == 0 {
            out.extend_from_slice(salt);
        }
    }
    out.truncate(length);
    out
}

fn pieces(pieces: &[&str]) -> Vec<u8> {
    let mut random = Random(42);
    let mut out = Vec::with_capacity(BODY + 64);
    while out.len() < BODY {
        out.extend_from_slice(pieces[random.below(pieces.len())].as_bytes());
    }
    out.truncate(BODY);
    out
}

/// The same numbers at every run (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        high as usize % bound
    }
}
