//! What `check` prints, and its exit codes.

mod agreement;

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: CheckArgs,
}

/// Exit code, what people read, what went wrong.
pub(super) fn run(words: &[&str]) -> (u8, String, String) {
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
        "allowed POST https://api.example.com/v1?x\nrule: secret TOKEN\naddress: 127.0.0.1:8443, by --connect-to\n\
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
        "denied GET https://other.host/x\nreason: no rule allows it\nrule: default\nto allow it: --allow other.host\n"
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
        let keys: Vec<&str> = out.lines().filter_map(|line| line.split([':', ' ']).next()).collect();
        assert_eq!(keys, ["denied", "reason", "rule", "to"], "{url}: {out}");
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
        &["https:pypi.org"],
        &["HTTPS:pypi.org:443"],
        &["https:/pypi.org"],
        &["ftp:pypi.org"],
        &["::1:22"],
        &["2001:db8::1:443"],
        &["::1/icmp"],
        &["https://::1/"],
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
        // The verdict, the rule and the address.
        let lines: Vec<&str> = out.lines().skip(3).collect();
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
    assert_eq!(shown("https://a.corp.example/"), "secrets: none");
    assert_eq!(shown("https://host.portcullis.internal/"), "secrets: none");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn method_and_path_are_judged() {
    let rule = ["--rule", "allow GET api.example /v1/**", "--rule", "deny api.example:22"];
    let with = |words: &[&str]| run(&[&rule[..], words].concat());
    assert_eq!(
        with(&["https://api.example/v1/x?q"]).1,
        "allowed GET https://api.example/v1/x?q\nrule: --rule 'allow GET api.example /v1/**'\n\
         address: not judged, the name is not resolved here\nsecrets: none\n"
    );
    let (code, out, _) = with(&["POST", "https://api.example/v1/x"]);
    assert_eq!(code, 3);
    assert!(out.ends_with("to allow it: --rule 'allow POST api.example /v1/x'\n"), "{out}");
    for path in ["/v2", "/v1/../v2", "/v1/%2e%2e/v2", "//v1/x", "/v1/..;/x"] {
        assert_eq!(with(&[&format!("https://api.example{path}")]).0, 3, "{path}");
    }
    for path in ["/a b", "/\u{7f}", "/\"\u{1}"] {
        let (code, out, _) = with(&[&format!("https://api.example{path}")]);
        assert_eq!(code, 3);
        assert!(out.contains("rule: spelling\nto allow it: write the path percent-encoded"), "{out}");
    }
    assert_eq!(with(&["api.example:22"]).0, 3);
    assert!(with(&["api.example:443"]).1.contains("ask with a URL"));
    // What a guest may have chosen is not to be pasted into a shell.
    let (_, out, _) = with(&["https://api.example/'$(reboot)'"]);
    assert!(out.contains("to allow it: a [[rule]] for api.example"), "{out}");
}

#[test]
fn flows_are_judged_by_protocol_and_port() {
    let allow =
        ["--allow", "time.example:123/udp", "--allow", "ping.example/icmp", "--allow", "ssh.example:22"];
    for (what, expected) in [
        ("time.example:123/udp", 0),
        ("time.example:123", 3),
        ("ping.example/icmp", 0),
        ("ping.example:443", 3),
        ("ssh.example:22", 0),
        ("ssh.example:2222", 3),
        ("ssh.example:443/udp", 3),
        ("user@ssh.example:22", 3),
        ("0x7f.1:22", 3),
        ("ssh.example", 125),
        ("ssh.example:22/sctp", 125),
        ("ping.example:7/icmp", 125),
        ("time.example/udp", 125),
    ] {
        let (code, out, err) = run(&[&allow[..], &[what]].concat());
        assert_eq!(code, expected, "{what}: {out}{err}");
    }
    assert_eq!(run(&["GET", "ssh.example:22"]).0, 125);
}

#[test]
fn an_address_is_judged_where_one_is_given() {
    let name = ["--allow", "a.example", "https://a.example/"];
    let (code, out, _) = run(&[&["--address", "93.184.216.34"], &name[..]].concat());
    assert_eq!(code, 0);
    assert!(out.contains("address: 93.184.216.34, allowed\n"), "{out}");
    for special in ["10.0.0.5", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::a00:5"] {
        let (code, out, _) = run(&[&["--address", special], &name[..]].concat());
        assert_eq!(code, 3, "{special}");
        assert!(out.contains("rule: special-use addresses\n"), "{out}");
    }
    let by_itself = ["--rule", "allow 10.0.0.0/8:22", "10.0.0.5:22"];
    assert_eq!(run(&by_itself).0, 0);
    assert_eq!(run(&["--rule", "allow 10.0.0.0/8:22", "[2001:db8::1]:22"]).0, 3);
    let denied = run(&["--rule", "deny 10.0.0.0/8", "http://10.0.0.5/"]);
    assert!(denied.1.contains("rule: --rule 'deny 10.0.0.0/8'"), "{}", denied.1);
}

#[test]
fn where_an_operator_sends_a_host_is_for_the_floor_to_allow_too() {
    let path = std::env::temp_dir().join(format!("portcullis-floor-{:016x}.toml", getrandom::u64().unwrap()));
    let sent = ["--allow", "a.example", "--connect-to", "a.example:80:127.0.0.1:1", "--floor"];
    for (floor, expected) in [("'a.example'", 3), ("'a.example', '127.0.0.1:1'", 0)] {
        std::fs::write(&path, format!("[net]\nallow = [{floor}]")).unwrap();
        for what in ["http://a.example/", "a.example:80"] {
            let (code, out, _) = run(&[&sent[..], &[path.to_str().unwrap(), what]].concat());
            assert_eq!(code, expected, "{floor} {what}: {out}");
        }
    }
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_usual_slip_is_told_what_to_write() {
    for (what, says) in [
        ("https:pypi.org", "a URL that starts with http:// or https://, or HOST:PORT"),
        ("::1:22", "put an IPv6 address in brackets, as in [2001:db8::1]:22"),
    ] {
        let (_, _, err) = run(&[what]);
        assert!(err.contains(says), "{err}");
    }
    assert_eq!(run(&["https:443"]).0, 3, "a host may be called https");
}

#[test]
fn a_passed_through_host_is_judged_as_what_is_never_read() {
    let path =
        std::env::temp_dir().join(format!("portcullis-unread-{:016x}.toml", getrandom::u64().unwrap()));
    let text = "[[rule]]\nhost = 'api.example'\nmethods = ['GET']\npaths = ['/v1/**']\naction = 'allow'\n\
                [tls]\npassthrough = ['api.example']\n";
    std::fs::write(&path, text).unwrap();
    let asked = |words: &[&str]| run(&[&["-c", path.to_str().unwrap()], words].concat());
    for words in [&["https://api.example/v1/x"][..], &["--address", "1.1.1.1", "https://api.example/v1/x"]] {
        assert_eq!(asked(words).0, 3, "{words:?}");
    }
    assert_eq!(asked(&["http://api.example/v1/x"]).0, 0, "plain HTTP is read");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn ports_of_the_sandboxs_own_dns_lead_nowhere_else() {
    for what in ["pypi.org:53", "pypi.org:853", "https://pypi.org:853/", "http://pypi.org:53/", "1.1.1.1:53"]
    {
        for rule in [&["--allow", "pypi.org"][..], &["--rule", "allow any"], &["--rule", "allow @public"]] {
            let (code, out, _) = run(&[rule, &[what]].concat());
            assert_eq!(code, 3, "{what}: {out}");
            assert!(out.contains("is answered by the sandbox's own DNS\nrule: reserved ports\n"), "{out}");
            assert!(
                out.ends_with("to allow it: nothing does; set [net] nameservers to choose who is asked\n")
            );
        }
    }
}

#[test]
fn rules_that_do_nothing_are_warned_about() {
    let rules = ["--rule", "deny *.example", "--rule", "allow a.example", "https://a.example/"];
    let (code, _, err) = run(&rules);
    assert_eq!(code, 3);
    assert!(err.starts_with("portcullis: warning: ") && err.contains("is never reached"), "{err}");
}

#[test]
fn a_program_reads_the_same() {
    let (code, out, _) = run(&["--json", "--allow", "a.example", "https://a.example/x"]);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["verdict"], &told["rule"]), (0, &"allowed".into(), &"--allow a.example".into()));
    let (code, out, _) = run(&["--json", "https://user@a.example/x"]);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["verdict"], &told["rule"]), (3, &"denied".into(), &"spelling".into()));
}
