//! Readings, and what real servers make of a path, which no rule may miss.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::requests::{Readings, Requests};
use super::*;

fn readings(target: &str) -> Vec<String> {
    Path::new(target).readings().map(str::to_owned).collect()
}

#[test]
fn a_plain_path_has_one_reading() {
    for (target, path) in [
        ("/a/b?x=/../y", "/a/b"),
        ("/", "/"),
        ("", "/"),
        ("/a/", "/a/"),
        ("/a-b_~", "/a-b_~"),
        ("/.well-known/x", "/.well-known/x"),
    ] {
        assert_eq!(readings(target), [path], "{target}");
        assert!(!Path::new(target).is_ambiguous(), "{target}");
    }
}

#[test]
fn what_some_server_reads_otherwise_has_that_reading_too() {
    let table = [
        ("/a//b", "/a/b"),
        ("//a", "/a"),
        ("/a%2fb", "/a/b"),
        ("/a%252Fb", "/a/b"),
        ("/a\\b", "/a/b"),
        ("/a%5cb", "/a/b"),
        ("/a;x=1/b", "/a/b"),
        ("/a;x%2fy/b", "/a/b"),
        ("/a%3bx/b", "/a/b"),
        ("/%61dmin", "/admin"),
        ("/a%00b", "/a"),
        ("/a%3Fb", "/a"),
        ("/a%3Fb", "/a?b"),
        ("/a%23%2fb", "/a#/b"),
        ("/a;\\x/b", "/a/b"),
        ("/a./b%20", "/a/b"),
    ];
    for (target, reading) in table {
        assert!(readings(target).iter().any(|own| own == reading), "{target}: {:?}", readings(target));
    }
}

#[test]
fn what_leads_up_or_is_no_text_has_no_reading_to_rely_on() {
    for target in [
        "/a/../b",
        "/a/%2e%2e/b",
        "/a/.%2E/b",
        "/a/%252e%252e/b",
        "/a/./b",
        "/a/..;/b",
        "/a/..;x%2fy/b",
        "/a/b/..",
        "/a\\..\\b",
        "/a%5c..%5cb",
        "/a%2f..%2fb",
        "/a/..%00/b",
        "/a/..%20/b",
        "/a/%09../b",
        "/../../a",
        "/a%zz",
        "/a%",
        "/a%2",
        "/a/%c0%ae%c0%ae/b",
        "/a/%u002e%u002e/b",
        "/a/%3b/../b",
        "/a/..%3bx/b",
    ] {
        assert!(Path::new(target).is_unclear(), "{target}: {:?}", readings(target));
    }
}

#[test]
fn escapes_of_data_stay_in_one_reading() {
    assert_eq!(readings("/p/%67roup%2fname")[0], "/p/group%2Fname");
    assert_eq!(readings("/caf%c3%a9")[0], "/caf%C3%A9");
    assert_eq!(readings("/café")[0], "/caf%C3%A9");
}

/// What a server takes a path for, each step as real ones do it: escapes undone so often, parameters left out before
/// or after, `\` as `/`, an escaped slash as a slash, empty segments merged, and then `..` followed.
#[derive(Clone, Copy, Debug)]
struct Server {
    decodings: usize,
    parameters: Option<usize>,
    backslash: bool,
    keeps_escaped_slash: bool,
    merges_first: bool,
    /// What looks like a query once it is undone, or NUL, ends the path.
    cuts: bool,
}

impl Server {
    fn reads(self, path: &str) -> String {
        let mut text = path.to_owned();
        for round in 0..=self.decodings {
            if round > 0 {
                text = self.decode(&text);
                if self.cuts {
                    text = text.split(['?', '#', '\0']).next().unwrap().to_owned();
                }
            }
            if self.parameters == Some(round) {
                text = text
                    .split('/')
                    .map(|segment| segment.split(';').next().unwrap())
                    .collect::<Vec<_>>()
                    .join("/");
            }
        }
        if self.backslash {
            text = text.replace('\\', "/");
        }
        if self.merges_first {
            while text.contains("//") {
                text = text.replace("//", "/");
            }
        }
        // RFC 3986 §5.2.4.
        let mut kept: Vec<&str> = Vec::new();
        let mut segments = text.split('/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            let is_last = segments.peek().is_none();
            match segment {
                "." | ".." => {
                    if segment == ".." {
                        kept.pop();
                    }
                    if is_last {
                        kept.push("");
                    }
                }
                name => kept.push(name),
            }
        }
        format!("/{}", kept.join("/"))
    }

    fn decode(self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            let code = rest.get(at + 1..at + 3).and_then(|code| u8::from_str_radix(code, 16).ok());
            let Some(octet) = code else {
                out.push('%');
                rest = &rest[at + 1..];
                continue;
            };
            if self.keeps_escaped_slash && octet == b'/' {
                out.push_str("%2F");
            } else {
                out.push(char::from(octet));
            }
            rest = &rest[at + 3..];
        }
        out + rest
    }
}

fn server() -> impl Strategy<Value = Server> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (0..=DECODINGS, proptest::option::of(0..=DECODINGS), flags).prop_map(
        |(decodings, parameters, (backslash, keeps_escaped_slash, merges_first, cuts))| Server {
            decodings,
            parameters,
            backslash,
            keeps_escaped_slash,
            merges_first,
            cuts,
        },
    )
}

fn path() -> impl Strategy<Value = String> {
    let parts = [
        "/", "/", "/", "public", "admin", "a", "..", ".", "%2e", "%2E%2e", "%2f", "%2F", "%5c", "\\", ";",
        ";x", "%3b", "%252f", "%252e", "%255c", "%253B", "%3f", "%23", "%00", "%253f", "//", "/public/",
        "/admin/", "/../",
    ];
    vec(select(parts.to_vec()), 0..10).prop_map(|parts| format!("/{}", parts.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn no_spelling_gets_round_a_rule(path in path(), server in server()) {
        // A server that undoes nothing sees what is escaped as data, which no rule names.
        let read = server.reads(&path);
        let is_below = |apex: &str| read.starts_with(apex) && read.len() > apex.len();
        let rule = |glob| Requests::new([], [glob]).unwrap();
        let own = Path::new(&path);
        if rule("/public/**").matches("GET", &own) == Readings::All {
            let plain = read.trim_start_matches('/');
            prop_assert!(plain.starts_with("public/") || plain.starts_with("public%2F") , "{path} is read as {read}");
        }
        if is_below("/admin/") {
            prop_assert_ne!(rule("/admin/**").matches("GET", &own), Readings::None, "{} is read as {}", path, read);
        }
    }
}
