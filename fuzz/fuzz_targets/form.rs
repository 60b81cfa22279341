//! Walks through forms, queries and multipart bodies: no octets panic, and no split changes what is found.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::secret::{FormWalk, MultipartWalk, Walk};

fuzz_target!(|octets: &[u8]| {
    let names = ["a".to_owned(), "b c".to_owned()];
    alike(octets, || Walk::Form(FormWalk::new(&names)));
    alike(octets, || Walk::Multipart(MultipartWalk::new(b"b", &names, 64)));
    // The values of a form by a plain reading of the whole.
    let plain = octets.split(|octet| *octet == b'&').filter_map(|pair| {
        let (name, value) = pair.split_at(pair.iter().position(|octet| *octet == b'=')?);
        (name == b"a").then(|| value[1..].to_vec())
    });
    let names = ["a".to_owned()];
    let own = spans(octets, Walk::Form(FormWalk::new(&names)), octets.len().max(1));
    if !octets.contains(&b'%') {
        assert!(plain.eq(own.into_iter()));
    }
});

fn alike(octets: &[u8], walk: impl Fn() -> Walk) {
    let whole = spans(octets, walk(), octets.len().max(1));
    for size in [1, 2, 3, 7] {
        assert_eq!(spans(octets, walk(), size), whole);
    }
}

/// What stands at the places.
fn spans(octets: &[u8], mut walk: Walk, size: usize) -> Vec<Vec<u8>> {
    let (mut found, mut open) = (Vec::<Vec<u8>>::new(), false);
    for piece in octets.chunks(size) {
        let mut cuts = Vec::new();
        walk.walk(piece, &mut cuts);
        let mut from = 0;
        for cut in cuts {
            if open {
                found.last_mut().expect("open").extend_from_slice(&piece[from..cut.at]);
            }
            open = !cut.places.is_empty();
            if open {
                found.push(Vec::new());
            }
            from = cut.at;
        }
        if open {
            found.last_mut().expect("open").extend_from_slice(&piece[from..]);
        }
    }
    found
}
