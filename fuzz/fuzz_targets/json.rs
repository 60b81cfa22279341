//! Walks through JSON: no octets panic, no split changes what is found, and what a strict reader reads is found alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::secret::{JsonPath, JsonWalk, Walk};

const PATHS: [&str; 3] = ["/a/0", "*.b", "[1][0]"];

fuzz_target!(|octets: &[u8]| {
    let whole = strings(octets, octets.len().max(1));
    for size in [1, 2, 3, 7] {
        assert_eq!(strings(octets, size), whole);
    }
    let Ok(document) = serde_json::from_slice::<serde_json::Value>(octets) else { return };
    // A name that is there twice is one to a reader and two to a walk.
    let Some(text) = document.pointer("/a/0").and_then(serde_json::Value::as_str) else { return };
    let is_it = |(place, spelled): &(usize, Vec<u8>)| {
        let quoted = [b"\"", spelled.as_slice(), b"\""].concat();
        *place == 0 && serde_json::from_slice::<String>(&quoted).is_ok_and(|own| own == text)
    };
    assert!(whole.iter().any(is_it), "{text:?}");
});

/// The strings found, each with its place.
fn strings(octets: &[u8], size: usize) -> Vec<(usize, Vec<u8>)> {
    let paths = PATHS.iter().filter_map(|path| JsonPath::parse(path).ok()).collect();
    let mut walk = Walk::Json(JsonWalk::new(paths, 128));
    let (mut found, mut open) = (Vec::<(usize, Vec<u8>)>::new(), None);
    for piece in octets.chunks(size) {
        let mut cuts = Vec::new();
        walk.walk(piece, &mut cuts);
        let mut from = 0;
        for cut in cuts {
            if open.is_some() {
                found.last_mut().expect("open").1.extend_from_slice(&piece[from..cut.at]);
            }
            open = cut.places.first().copied();
            found.extend(open.map(|place| (place, Vec::new())));
            from = cut.at;
        }
        if open.is_some() {
            found.last_mut().expect("open").1.extend_from_slice(&piece[from..]);
        }
    }
    found
}
