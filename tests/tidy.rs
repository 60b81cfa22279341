//! What no lint holds: module headers, file length, loose ends, and that sans-IO code is sans-IO.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};

/// Most lines of a file.
const LINES: usize = 400;

/// Folders whose code takes `now` as a parameter, spawns nothing and touches no socket; then the shells in them.
const SANS_IO: [&str; 8] = [
    "src/coding",
    "src/net",
    "src/dns",
    "src/sniff",
    "src/policy",
    "src/secret",
    "src/upstream",
    "src/websocket",
];
const SHELLS: [&str; 20] = [
    "src/net/arrivals.rs",
    "src/net/driver.rs",
    "src/net/stream.rs",
    "src/dns/exchange.rs",
    "src/dns/flights.rs",
    "src/dns/forwarder.rs",
    "src/dns/lookup.rs",
    "src/dns/resolver.rs",
    "src/dns/resolver/operator.rs",
    "src/dns/sockets.rs",
    "src/dns/stream.rs",
    "src/dns/watched.rs",
    "src/dns/zone.rs",
    "src/sniff/rewind.rs",
    // The world's edge is a trait over tokio's own socket.
    "src/policy/permit.rs",
    "src/secret/source.rs",
    "src/upstream/stream.rs",
    "src/secret/source/command.rs",
    "src/secret/source/file.rs",
    "src/net/mod.rs",
];

fn sources(dir: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut dirs = vec![root.join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    assert!(!found.is_empty(), "nothing in {dir}");
    found
}

/// Tests live under the same folders and may do what they like.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
        || path.ends_with("testing.rs")
}

/// The file without its unit tests.
fn production(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap()
}

#[test]
fn every_file_says_what_it_is() {
    for (path, text) in ["src", "tests", "benches", "examples"].into_iter().flat_map(sources) {
        let first = text.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
        assert!(first.starts_with("//! "), "{} does not open with //!", path.display());
    }
}

#[test]
fn no_file_is_long() {
    for (path, text) in ["src", "tests", "benches", "examples"].into_iter().flat_map(sources) {
        let lines = text.lines().count();
        assert!(lines <= LINES, "{} has {lines} lines", path.display());
    }
}

#[test]
fn nothing_is_left_for_later() {
    let words =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("to", "do!("), concat!("unimpl", "emented!(")];
    for (path, text) in ["src", "tests", "benches", "examples"].into_iter().flat_map(sources) {
        for word in words {
            assert!(!text.contains(word), "{} has {word}", path.display());
        }
    }
}

#[test]
fn sans_io_code_reads_no_clock_and_touches_no_socket() {
    for (path, text) in SANS_IO.into_iter().flat_map(sources) {
        if is_test(&path) || SHELLS.iter().any(|shell| path == Path::new(shell)) {
            continue;
        }
        for word in [
            "Instant::now",
            "SystemTime::now",
            "tokio::",
            "std::fs",
            "UdpSocket",
            "TcpStream::connect",
            "thread::",
        ] {
            let found = production(&text)
                .lines()
                .find(|line| line.contains(word) && !line.trim_start().starts_with("//"));
            assert_eq!(found, None, "{} uses {word}", path.display());
        }
    }
}

#[test]
fn unsafe_is_in_one_module() {
    for (path, text) in sources("src") {
        let excused = path == Path::new("src/sys.rs") || path.starts_with("src/sys");
        assert!(excused || !text.contains("unsafe {"), "{} has unsafe code", path.display());
    }
}

#[test]
fn exceptions_to_lints_give_a_reason() {
    for (path, text) in ["src", "tests", "benches", "examples"].into_iter().flat_map(sources) {
        assert!(
            !text.contains(concat!("#[", "allow(")) && !text.contains(concat!("#![", "allow(")),
            "{}",
            path.display()
        );
    }
}

/// What gives a test its canary: it makes the secret, and looks through what the guest gets and what is logged.
const HARNESSES: [(&str, &[&str]); 5] = [
    ("tests/support/canary.rs", &["canary::over(", "canary::assert_not_in("]),
    ("tests/support/http_peers.rs", &["http_peers::run("]),
    ("tests/support/memory.rs", &["memory::run("]),
    ("tests/support/sandboxed.rs", &["Sandboxed::new(", "Sandboxed::bare("]),
    ("tests/support/served.rs", &["Serve::new("]),
];
/// Integration tests without one, each with its reason.
const WITHOUT_CANARY: [(&str, &str); 3] = [
    ("prepare", "no sandbox of it ever has a guest"),
    ("scrub", "its random secrets are the test, and every octet that comes out is compared"),
    ("tidy", "it reads the sources"),
];

#[test]
fn every_integration_test_carries_a_canary() {
    let all = sources("tests");
    for (harness, _) in HARNESSES {
        let (_, text) = all.iter().find(|(path, _)| path == Path::new(harness)).unwrap();
        assert!(harness.ends_with("canary.rs") || text.contains("canary::"), "{harness} looks for nothing");
    }
    let uses = |text: &str| {
        let words = HARNESSES.iter().flat_map(|(_, words)| *words);
        // Imported first, most often.
        let imported = ["use memory::", "use crate::memory::"].iter().any(|import| text.contains(import));
        imported || words.into_iter().any(|word| text.contains(word))
    };
    let roots = all.iter().filter_map(|(path, _)| match path.components().count() {
        2 => Some((path.file_stem().unwrap().to_str().unwrap(), path.with_extension(""))),
        3 if path.ends_with("main.rs") => {
            let folder = path.parent().unwrap();
            Some((folder.file_name().unwrap().to_str().unwrap(), folder.to_owned()))
        }
        _ => None,
    });
    let mut count = 0;
    for (name, folder) in roots {
        count += 1;
        let mut texts =
            all.iter().filter(|(path, _)| path.with_extension("") == folder || path.starts_with(&folder));
        let carries = name != "tidy" && texts.any(|(_, text)| uses(text));
        let excused = WITHOUT_CANARY.iter().any(|(own, _)| *own == name);
        assert!(
            carries != excused,
            "tests/{name}: run it by a harness with a canary (tests/support/canary.rs), or say why not"
        );
    }
    assert!(count > 15, "{count} integration tests were found");
}
