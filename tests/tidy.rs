//! What no lint holds: module headers, file length, loose ends, and that sans-IO code is sans-IO.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};

/// Most lines of a file.
const LINES: usize = 400;

/// Folders whose code takes `now` as a parameter, spawns nothing and touches no socket; then the shells in them.
const SANS_IO: [&str; 7] =
    ["src/coding", "src/net", "src/dns", "src/sniff", "src/policy", "src/secret", "src/websocket"];
const SHELLS: [&str; 16] = [
    "src/net/arrivals.rs",
    "src/net/driver.rs",
    "src/net/stream.rs",
    "src/dns/exchange.rs",
    "src/dns/flights.rs",
    "src/dns/forwarder.rs",
    "src/dns/lookup.rs",
    "src/dns/resolver.rs",
    "src/dns/stream.rs",
    "src/dns/watched.rs",
    "src/sniff/rewind.rs",
    // The world's edge is a trait over tokio's own socket.
    "src/policy/permit.rs",
    "src/secret/source.rs",
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
