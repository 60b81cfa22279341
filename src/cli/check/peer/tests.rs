//! Who would be let in, and who would not.

use super::super::tests::run;

const RULES: [&str; 4] = ["--rule", "deny ingress 10.6.0.0/16:80", "--rule", "deny ingress @private:53/udp"];

fn asked(ports: &[&str], peer: &str, port: &str) -> (u8, String, String) {
    let published: Vec<&str> = ports.iter().flat_map(|port| ["-p", port]).collect();
    run(&[&RULES[..], &published, &["--peer", peer, port]].concat())
}

#[test]
fn a_peer_is_let_in_by_a_port_that_is_open_to_it() {
    let (code, out, err) = asked(&["0.0.0.0:8080:80"], "10.5.0.1", "80");
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "allowed 10.5.0.1 to 0.0.0.0:8080:80\nrule: publish 0.0.0.0:8080:80\naddress: 10.5.0.1, let in\n"
    );
    assert_eq!(asked(&["0.0.0.0:5353:53/udp"], "192.0.2.9", "53/udp").0, 0);
    assert_eq!(asked(&["0.0.0.0:8080:80"], "::ffff:10.5.0.1", "80/tcp").0, 0);
}

#[test]
fn a_rule_that_looks_inward_keeps_a_peer_out() {
    let (code, out, _) = asked(&["0.0.0.0:8080:80"], "10.6.7.8", "80");
    assert_eq!(code, 3);
    assert!(out.contains("reason: a rule denies it\nrule: --rule 'deny ingress 10.6.0.0/16:80'\n"), "{out}");
    assert_eq!(asked(&["0.0.0.0:8080:80"], "::ffff:10.6.7.8", "80").0, 3);
    assert_eq!(asked(&["0.0.0.0:5353:53/udp"], "10.5.0.1", "53/udp").0, 3);
}

#[test]
fn a_port_that_is_not_published_says_how_to_publish_it() {
    for (ports, asks, hint) in [
        (&[][..], "80", "--publish HOST:80"),
        (&["8080:81"], "80", "--publish HOST:80"),
        (&["80:8080"], "80", "--publish HOST:80"),
        (&["8080:80"], "80/udp", "--publish HOST:80/udp"),
    ] {
        let (code, out, _) = asked(ports, "10.5.0.1", asks);
        assert_eq!(code, 3);
        assert!(out.contains("reason: no published port leads there\n"), "{out}");
        assert!(out.ends_with(&format!("to allow it: {hint}\n")), "{out}");
    }
}

#[test]
fn a_table_says_who_may_come_in() {
    let path = std::env::temp_dir().join(format!("portcullis-peer-{:016x}.toml", getrandom::u64().unwrap()));
    let text = "[net]\npublish = ['1:22']\n[[publish]]\nport = '0.0.0.0:8080:80'\nfrom = ['192.0.2.0/24']\n\
                [[publish]]\nport = '0.0.0.0:8081:80'\nfrom = ['192.0.2.7']\n";
    std::fs::write(&path, text).unwrap();
    let asked = |peer, port| run(&["-c", path.to_str().unwrap(), "--peer", peer, port]);
    let (code, out, _) = asked("192.0.2.9", "80");
    assert_eq!(code, 0);
    assert!(out.contains("closed: 0.0.0.0:8081:80, the port is not open to that address (rule: "), "{out}");
    assert!(asked("192.0.2.7", "80").1.contains("also open: 0.0.0.0:8081:80\n"));
    let (code, out, _) = asked("192.0.3.1", "80");
    assert_eq!(code, 3);
    assert!(
        out.contains("to allow it: [[publish]] from = [\"192.0.3.1\"]\nclosed: 0.0.0.0:8081:80"),
        "{out}"
    );
    let (code, out, _) = asked("192.0.2.9", "22");
    assert_eq!(code, 0);
    assert!(out.ends_with("bound: to 127.0.0.1, which is reached from this machine alone\n"), "{out}");
    assert!(!asked("127.0.0.2", "22").1.contains("bound: "));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn what_is_no_port_of_the_guests_ends_with_125() {
    for words in [
        &["--peer", "10.0.0.1", "a.example:80"][..],
        &["--peer", "10.0.0.1", "0"],
        &["--peer", "10.0.0.1", "080"],
        &["--peer", "10.0.0.1", "80/icmp"],
        &["--peer", "10.0.0.1", "80/udp/tcp"],
        &["--peer", "10.0.0.1", "GET", "80"],
        &["-p", "80", "--peer", "10.0.0.1", "80"],
    ] {
        let (code, out, err) = run(words);
        assert_eq!((code, out.as_str()), (125, ""), "{words:?}");
        assert!(err.starts_with("portcullis: ") && err.lines().count() == 1, "{err:?}");
    }
}
