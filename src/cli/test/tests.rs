//! Fixtures that pass, fail, and are none.

use super::*;

struct Directory(PathBuf);

impl Directory {
    fn new(files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("portcullis-test-{:016x}", getrandom::u64().unwrap()));
        fs::create_dir(&path).unwrap();
        for (name, text) in files {
            fs::write(path.join(name), text).unwrap();
        }
        Self(path)
    }

    /// Exit code, what people read, what went wrong, with the directory's own name left out.
    fn run(&self) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = test(&TestArgs { directory: self.0.clone() }, &mut out, &mut err).unwrap();
        let text =
            |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&format!("{}/", self.0.display()), "");
        (code, text(out), text(err))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

const INLINE: &str = "
[[rule]]
action = \"allow\"
host = \"api.example\"
methods = [\"GET\"]
paths = [\"/v1/**\"]

[[case]]
request = \"GET https://api.example/v1/x\"
expect = \"allow\"
rule = \"a.toml:2: [[rule]]\"

[[case]]
request = \"POST https://api.example/v1/x\"
expect = \"deny\"

[[case]]
request = \"https://user@api.example/\"
expect = \"deny\"
rule = \"spelling\"

[net]
allow = [\"b.example:22\"]

[[case]]
to = \"b.example:22\"
address = \"10.0.0.1\"
expect = \"deny\"
rule = \"special-use\"
";

#[test]
fn cases_that_come_out_as_expected_pass() {
    let other = "config = \"a.conf\"\n[[case]]\nto = \"x.example:443\"\nexpect = \"allow\"\n";
    let files = [("a.toml", INLINE), ("b.toml", other), ("a.conf", "[net]\nallow = [\"x.example\"]\n")];
    assert_eq!(Directory::new(&files).run(), (0, "5 passed, 0 failed\n".into(), String::new()));
}

#[test]
fn a_case_that_comes_out_otherwise_is_told_with_file_and_line() {
    let flipped =
        INLINE.replacen("expect = \"allow\"", "expect = \"deny\"", 1).replace("special-use", "other");
    let (code, out, err) = Directory::new(&[("a.toml", &flipped)]).run();
    assert_eq!((code, err.as_str()), (1, ""));
    assert_eq!(
        out,
        "a.toml:8: GET https://api.example/v1/x: is allowed by rule: a.toml:2: [[rule]]\n\
         a.toml:25: b.example:22: is denied as expected, but by rule: special-use addresses, where 'other' is \
         expected\n2 passed, 2 failed\n"
    );
}

#[test]
fn a_rule_that_does_nothing_is_warned_about_as_check_does() {
    let hidden = "[[rule]]\naction = \"deny\"\nhost = \"*.example\"\n[net]\nallow = [\"a.example\"]\n\
                  [[case]]\nto = \"a.example:443\"\nexpect = \"deny\"\n";
    let (code, out, err) = Directory::new(&[("a.toml", hidden)]).run();
    assert_eq!((code, out.as_str()), (0, "1 passed, 0 failed\n"));
    assert!(err.starts_with("portcullis: warning: ") && err.contains("is never reached"), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

#[test]
fn what_is_no_fixture_ends_with_125() {
    for (text, says) in [
        ("[net]\nallow = []\n", "a.toml:1: it has no [[case]]"),
        ("[[case]]\nexpect = \"allow\"\n", "a.toml:1: a case needs either request or to"),
        ("[[case]]\nto = \"a.example:1\"\nexpect = \"maybe\"\n", "a.toml:3: unknown variant `maybe`"),
        ("[[case]]\nto = \"a.example:1\"\n", "missing field `expect`"),
        ("[[case]]\nto = \"a.example:1\"\nexpect = \"deny\"\nrules = \"\"\n", "unknown field `rules`"),
        ("[[case]]\nto = \"a.example\"\nexpect = \"deny\"\n", "a.toml:1: what is asked about is a URL"),
        ("[net]\nallow = [\"*\"]\n[[case]]\nto = \"a.example:1\"\nexpect = \"deny\"\n", "a.toml:2:10"),
        ("config = \"x\"\n[net]\n[[case]]\nto = \"a.example:1\"\nexpect = \"deny\"\n", "leave one out"),
        ("config = \"gone\"\n[[case]]\nto = \"a.example:1\"\nexpect = \"deny\"\n", "gone"),
        ("case = [{ to = \"a.example:1\", expect = \"deny\" }]\n", "a table of its own"),
        ("nonsense", "a.toml:1: "),
    ] {
        let (code, out, err) = Directory::new(&[("a.toml", text)]).run();
        assert_eq!((code, out.as_str()), (125, ""), "{text}");
        assert!(err.starts_with("portcullis: ") && err.lines().count() == 1 && err.contains(says), "{err}");
    }
    assert_eq!(Directory::new(&[("a.txt", "")]).run().0, 125);
}
