//! What `check` prints, and its exit codes.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: CheckArgs,
}

/// Exit code, what people read, what went wrong.
fn run(words: &[&str]) -> (u8, String, String) {
    let args = Command::try_parse_from([&["check"], words].concat()).expect("a command line").args;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = check(&args, &mut out, &mut err).unwrap();
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn an_allowed_request_shows_its_rule_and_its_secrets() {
    let (code, out, err) = run(&[
        "--allow",
        "pypi.org",
        "--secret",
        "TOKEN@api.example.com",
        "--connect-to",
        "api.example.com:443:127.0.0.1:8443",
        "POST",
        "https://API.example.com./v1?x#y",
    ]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "allowed POST https://api.example.com\nrule: secret TOKEN\ndialled at: 127.0.0.1:8443\n\
         secret: TOKEN in header, basic\n"
    );
}

#[test]
fn a_secret_is_shown_only_where_it_would_be_injected() {
    let secret = ["--secret", "TOKEN@*.example.com:8443", "--allow", "*.example.com"];
    let with = |url| run(&[&secret[..], &[url]].concat());
    assert!(with("https://a.example.com:8443/").1.contains("secret: TOKEN"));
    for url in ["https://a.example.com/", "http://a.example.com/", "http://a.example.com:8443/"] {
        let (code, out, _) = with(url);
        assert_eq!(code, 0);
        assert!(out.ends_with("secrets: none\n"), "{url}: {out}");
    }
}

#[test]
fn a_denied_request_says_which_flag_would_allow_it() {
    let (code, out, err) = run(&["--allow", "pypi.org", "https://other.host/x"]);
    assert_eq!((code, err.as_str()), (3, ""));
    assert_eq!(
        out,
        "denied GET https://other.host\nreason: no rule allows it\nrule: default\nto allow it: --allow other.host\n"
    );
}

#[test]
fn odd_spellings_are_denied_and_never_guessed_at() {
    for url in [
        "https://user@pypi.org/",
        "https://pypi.org@evil.example/",
        "https://pypi.org:443@evil.example/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://pypi.org:0443/",
        "https://pypi.org:+443/",
        "https://pypi.org:/",
        "https://pypi.org:0/",
        "https://pypi.org\\@evil.example/",
        "https://pypi.org\\.evil.example/",
        "https://pypi .org/",
        "https://pypi.org\t/",
        "https://pypi%2eorg/",
        "https://pypi..org/",
        "https://pypi.org../",
        "https://*.pypi.org/",
        "https:///pypi.org/",
        "https://",
        "https://-pypi.org/",
    ] {
        let (code, out, _) = run(&["--allow", "pypi.org", "--allow", "*.pypi.org", url]);
        assert_eq!(code, 3, "{url}: {out}");
        assert!(out.starts_with("denied\nreason: "), "{url}: {out}");
    }
    for method in ["CONNECT", "TRACE"] {
        assert_eq!(run(&["--allow", "pypi.org", method, "https://pypi.org/"]).0, 3);
    }
}

#[test]
fn wrong_usage_and_wrong_configuration_end_with_125_and_one_line() {
    for words in [
        &["pypi.org"][..],
        &["ftp://pypi.org/"],
        &["get", "https://pypi.org/"],
        &["--allow", "127.1", "https://pypi.org/"],
        &["--secret", "TOKEN", "https://pypi.org/"],
        &["-c", "/nonexistent.toml", "https://pypi.org/"],
    ] {
        let (code, out, err) = run(words);
        assert_eq!((code, out.as_str()), (125, ""), "{words:?}");
        assert!(err.starts_with("portcullis: ") && err.lines().count() == 1, "{err:?}");
    }
}

#[test]
fn the_host_alias_is_judged_like_a_name_with_its_port() {
    let alias = ["--allow", "host.portcullis.internal:8080"];
    assert_eq!(run(&[&alias[..], &["http://host.portcullis.internal:8080/"]].concat()).0, 0);
    let (code, out, _) = run(&[&alias[..], &["http://host.portcullis.internal/"]].concat());
    assert_eq!(code, 3);
    assert!(out.contains("to allow it: --allow host.portcullis.internal:80\n"), "{out}");
}

#[test]
fn a_passed_through_host_shows_that_it_gets_no_secret() {
    let path = std::env::temp_dir().join(format!("portcullis-check-{}.toml", std::process::id()));
    std::fs::write(&path, "[net]\nallow = [\"*.apple.com\"]\n[tls]\npassthrough = [\"*.apple.com\"]")
        .unwrap();
    let (code, out, _) = run(&["-c", path.to_str().unwrap(), "https://x.apple.com/"]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(code, 0);
    assert!(out.contains("passed through"), "{out}");
}

#[test]
fn an_output_file_needs_a_directory_that_exists() {
    use super::super::options::output_file;
    let dir = std::env::temp_dir();
    assert!(output_file("--audit", dir.join("a.json").to_str().unwrap()).is_ok());
    assert!(output_file("--audit", "a.json").is_ok());
    for text in ["", "/", "/nonexistent/a.json", dir.to_str().unwrap(), "x/"] {
        let error = output_file("--audit", text).unwrap_err().to_string();
        assert!(error.starts_with("--audit '") && error.contains("is no file to write to"), "{error}");
    }
}

#[test]
fn the_way_to_an_upstream_and_its_tls_are_shown_where_they_are_not_as_usual() {
    let path = std::env::temp_dir().join(format!("portcullis-check-{}.toml", std::process::id()));
    let text = r#"
        [net]
        allow = ["*.corp.example", "pypi.org", "host.portcullis.internal:443"]
        [[upstream]]
        hosts = ["git.corp.example"]
        ca = ["/etc/corp.pem"]
        client_cert = "/etc/client.pem"
        client_key = "/etc/client.key"
        min_tls = "1.3"
        proxy = "direct"
        connect_timeout = "5s"
        handshake_timeout = "2s"
        response_timeout = "90s"
        [proxy.corp]
        url = "http://proxy.corp.example:3128"
        username = "agent"
        password = "env://HUNTER2"
        default = true
    "#;
    std::fs::write(&path, text).unwrap();
    let shown = |url: &str| {
        let sent = ["--connect-to", "a.corp.example:443:127.0.0.1:8443"];
        let words = [&["-c", path.to_str().unwrap()], &sent[..], &[url]].concat();
        let (code, out, err) = run(&words);
        assert_eq!((code, err.as_str()), (0, ""));
        let lines: Vec<&str> = out.lines().skip(2).collect();
        lines.join("\n")
    };
    assert_eq!(
        shown("https://git.corp.example/"),
        "connect timeout: 5s\ntrusted instead of the system's roots: /etc/corp.pem\n\
         client certificate: /etc/client.pem\noldest TLS: 1.3\nhandshake timeout: 2s\n\
         response timeout: 90s\nsecrets: none"
    );
    assert_eq!(
        shown("http://git.corp.example/"),
        "connect timeout: 5s\nresponse timeout: 90s\nsecrets: none"
    );
    let by_proxy = "proxy: corp (http://proxy.corp.example:3128), addresses judged here\nsecrets: none";
    assert_eq!(shown("https://pypi.org/"), by_proxy);
    assert_eq!(shown("https://a.corp.example/"), "dialled at: 127.0.0.1:8443\nsecrets: none");
    assert_eq!(shown("https://host.portcullis.internal/"), "secrets: none");
    std::fs::remove_file(&path).unwrap();
}
