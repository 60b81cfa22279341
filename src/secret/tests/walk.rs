//! The walkers against plain readings of whole documents.

use proptest::prelude::*;

use super::*;

/// What stands at the places of a text, taken in pieces of `size`; each with its places.
fn places(mut walk: Walk, text: &[u8], size: usize) -> Vec<(Vec<usize>, String)> {
    let (mut found, mut open) = (Vec::<(Vec<usize>, Vec<u8>)>::new(), Vec::new());
    for piece in text.chunks(size) {
        let mut cuts = Vec::new();
        walk.walk(piece, &mut cuts);
        let mut cuts = cuts.into_iter().peekable();
        for at in 0..=piece.len() {
            while let Some(cut) = cuts.next_if(|cut| cut.at == at) {
                open = cut.places.to_vec();
                if !open.is_empty() {
                    found.push((open.clone(), Vec::new()));
                }
            }
            if let (false, Some(byte)) = (open.is_empty(), piece.get(at)) {
                found.last_mut().unwrap().1.push(*byte);
            }
        }
        assert!(cuts.next().is_none());
    }
    found.into_iter().map(|(places, text)| (places, String::from_utf8(text).unwrap())).collect()
}

/// The same at every size of piece, which makes no difference.
fn at_every_split(walk: impl Fn() -> Walk, text: &[u8]) -> Vec<(Vec<usize>, String)> {
    let whole = places(walk(), text, text.len().max(1));
    for size in 1..text.len().min(12) {
        assert_eq!(places(walk(), text, size), whole, "in pieces of {size}");
    }
    whole
}

fn json(paths: &[&str], text: &str) -> Vec<(Vec<usize>, String)> {
    let paths: Vec<_> = paths.iter().map(|path| JsonPath::parse(path).unwrap()).collect();
    at_every_split(|| Walk::Json(JsonWalk::new(paths.clone(), 8)), text.as_bytes())
}

fn found(list: &[(&[usize], &str)]) -> Vec<(Vec<usize>, String)> {
    list.iter().map(|(places, text)| (places.to_vec(), (*text).to_owned())).collect()
}

#[test]
fn strings_at_a_path_are_found_in_json() {
    let text = r#"{"a" : {"b":["x","y",{"c":"z"},[["deep"]]], "B":"n"}, "a\"":"q", "e":1.5e+3, "\u0061":{"b":"again"}}"#;
    assert_eq!(json(&["a.b[0]"], text), found(&[(&[0], "x")]));
    assert_eq!(json(&["/a/b/1", "a.b[1]", "a.*[1]"], text), found(&[(&[0, 1, 2], "y")]));
    assert_eq!(json(&["a.b[*]"], text), found(&[(&[0], "x"), (&[0], "y")]));
    assert_eq!(json(&["a.b[2].c"], text), found(&[(&[0], "z")]));
    assert_eq!(json(&["*.b[3][0][0]"], text), found(&[(&[0], "deep")]));
    assert_eq!(json(&["a.b"], text), found(&[(&[0], "again")]), "an escaped name, and only its string");
    assert_eq!(json(&["/a\""], text), found(&[(&[0], "q")]));
    assert_eq!(json(&["b", "a", "a.c", "e", "a.b[9]", "*[0]"], text), []);
}

#[test]
fn strings_keep_their_escapes_and_end_at_their_quote() {
    assert_eq!(json(&["a"], r#"{"a":"x\"y\\","b":"z"}"#), found(&[(&[0], r#"x\"y\\"#)]));
    assert_eq!(json(&["a"], r#"{"b":"\\","a":""}"#), found(&[(&[0], "")]));
}

#[test]
fn documents_in_a_row_are_each_a_document() {
    assert_eq!(json(&["a"], "{\"a\":\"1\"}\n{\"a\":\"2\"}\n"), found(&[(&[0], "1"), (&[0], "2")]));
}

#[test]
fn from_a_fault_on_there_are_no_places() {
    for text in [
        r#"{"a" "b"} {"x":"1"}"#,
        r#"{"a":1,} {"x":"1"}"#,
        r#"["a"}{"x":"1"}"#,
        r#"{a:1}{"x":"1"}"#,
        r#"]{"x":"1"}"#,
        "\u{feff}{\"x\":\"1\"}",
        r#"{"\q":1,"x":"1"}"#,
        r#"[[[[[[[[[1]]]]]]]]]{"x":"1"}"#,
    ] {
        assert_eq!(json(&["x"], text), [], "{text}");
    }
    assert_eq!(json(&["x"], r#"[[[[[[[[1]]]]]]]]{"x":"1"}"#).len(), 1, "as deep as it may be");
}

fn form(names: &[&str], text: &str) -> Vec<(Vec<usize>, String)> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    at_every_split(|| Walk::Form(FormWalk::new(&names)), text.as_bytes())
}

#[test]
fn values_of_a_name_are_found_in_a_form() {
    let text = "a=1&b=2=3&a=%41&&=x&a+b=4&%61%20b=5&aa=6&a";
    assert_eq!(form(&["a"], text), found(&[(&[0], "1"), (&[0], "%41")]));
    assert_eq!(form(&["b", "a b"], text), found(&[(&[0], "2=3"), (&[1], "4"), (&[1], "5")]));
    assert_eq!(form(&["c"], text), []);
}

fn parts(names: &[&str], text: &str) -> Vec<(Vec<usize>, String)> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    at_every_split(|| Walk::Multipart(MultipartWalk::new(b"=b=", &names, 256)), text.as_bytes())
}

#[test]
fn parts_of_a_name_are_found_in_a_multipart_body() {
    let part = |head: &str, content: &str| format!("--=b=\r\n{head}\r\n\r\n{content}\r\n");
    let named = |name: &str| format!("Content-Disposition: form-data; name=\"{name}\"");
    let body = [
        part(&named("a"), "one\r\n--=b\r\r\ntwo"),
        part(&format!("{}; filename=\"a;name=b\"\r\nContent-Type: text/plain", named("file")), "data"),
        part("content-DISPOSITION:form-data;name=a\r\nX: y", ""),
        part(&format!("{}\r\nContent-Transfer-Encoding: base64", named("a")), "coded"),
        part(&named("a\\\"q"), "quoted"),
        "--=b=--\r\n".to_owned() + &part(&named("a"), "after the end"),
    ]
    .concat();
    let tail = "\r\n--=b=";
    let end = |text: &str| format!("{text}{tail}");
    let own = parts(&["a", "a\"q"], &body);
    let expected = [(vec![0], end("one\r\n--=b\r\r\ntwo")), (vec![0], end("")), (vec![1], end("quoted"))];
    assert_eq!(own, expected);
    assert_eq!(parts(&["file"], &body), [(vec![0], end("data"))]);
    assert_eq!(parts(&["a"], &format!("preamble\r\n{body}")).len(), 2);
    assert_eq!(parts(&["a"], &format!("x{body}")).len(), 1, "the first delimiter begins a line");
    assert_eq!(parts(&["a"], &format!("--=b=\r\nX: {}\r\n{body}", "y".repeat(300))), [], "a long head");
}

/// A document, and what stands at `/a/0` and `*.b` of it by a plain reading.
fn document() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(Into::into),
        any::<bool>().prop_map(Into::into),
        "[a-b\\\\\"\u{e9}\n/ ]{0,4}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map("[ab\"]{1,2}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_is_walked_as_it_is_read(document in document(), pretty in any::<bool>(), size in 1_usize..9) {
        let text = if pretty { serde_json::to_vec_pretty(&document) } else { serde_json::to_vec(&document) }.unwrap();
        let paths = ["/a/0", "*.b", "b.a.a", "[1][0]"];
        let steps: Vec<_> = paths.iter().map(|path| JsonPath::parse(path).unwrap()).collect();
        let walk = Walk::Json(JsonWalk::new(steps, 64));
        let mut own: Vec<_> = places(walk, &text, size).into_iter().flat_map(|(places, text)| {
            let text: String = serde_json::from_str(&format!("\"{text}\"")).unwrap();
            places.into_iter().map(move |place| (place, text.clone()))
        }).collect();
        let children = |value: &serde_json::Value| -> Vec<serde_json::Value> {
            let list = value.as_array().cloned().into_iter().flatten();
            let map = value.as_object().cloned().into_iter().flatten().map(|(_, child)| child);
            list.chain(map).collect()
        };
        let text = |value: Option<&serde_json::Value>| value.and_then(|value| value.as_str().map(str::to_owned));
        let mut expected: Vec<(usize, String)> = Vec::new();
        expected.extend(text(document.pointer("/a/0")).map(|text| (0, text)));
        expected.extend(children(&document).iter().filter_map(|child| Some((1, text(child.get("b"))?))));
        expected.extend(text(document.get("b").and_then(|b| b.get("a")?.get("a"))).map(|text| (2, text)));
        expected.extend(text(document.get(1).and_then(|b| b.get(0))).map(|text| (3, text)));
        own.sort();
        expected.sort();
        prop_assert_eq!(own, expected);
    }

    #[test]
    fn any_octets_are_walked_alike_however_they_are_cut(
        text in prop::collection::vec(prop::sample::select(b"{}[]\",:\\ua1 =&%+-\r\n".to_vec()), 0..60),
    ) {
        let text = String::from_utf8(text).unwrap();
        json(&["a", "*.a", "[1]"], &text);
        form(&["a", "1"], &text);
        parts(&["a"], &text.replace('1', "\r\n--=b=\r\n"));
    }
}
