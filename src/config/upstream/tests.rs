//! Entries and proxies, right and wrong.

use super::*;
use crate::config::Config;
use crate::name::HostName;

fn parse(text: &str) -> Result<Config, String> {
    let config =
        crate::config::file::parse(Path::new("dir/p.toml"), text).map_err(|error| error.to_string())?;
    config.check().map_err(|error| error.to_string())?;
    Ok(config)
}

#[test]
fn a_whole_file_is_read() {
    let config = parse(
        r#"
        [[upstream]]
        hosts = ["git.corp.example", "*.corp.example"]
        ca = ["corp.pem", "/abs.pem"]
        client_cert = "client.pem"
        client_key = "keys/client.key"
        min_tls = "1.3"
        proxy = "corp"
        connect_timeout = "5s"
        handshake_timeout = "250ms"
        response_timeout = "2m"
        [[upstream]]
        hosts = ["pypi.org"]
        proxy = "direct"
        [proxy.corp]
        url = "http://proxy.corp.example:3128"
        username = "agent"
        password = { cmd = ["pass", "proxy"] }
        [proxy.tor]
        url = "socks5://127.0.0.1:9050"
        resolve = "there"
        default = true
        "#,
    )
    .unwrap();
    let [corp, pypi] = config.upstreams.options() else { panic!() };
    assert_eq!(corp.ca, [PathBuf::from("dir/corp.pem"), PathBuf::from("/abs.pem")]);
    let client = corp.client.as_ref().unwrap();
    assert_eq!(client.chain, PathBuf::from("dir/client.pem"));
    assert_eq!(client.key, PathBuf::from("dir/keys/client.key"));
    assert_eq!(corp.min_tls, MinTls::Tls13);
    let millis = [corp.connect_timeout, corp.handshake_timeout, corp.response_timeout]
        .map(|time| time.unwrap().as_millis());
    assert_eq!(millis, [5_000, 250, 120_000]);
    assert_eq!(pypi.via, Via::Direct);
    let policy = config.policy();
    let way = |name: &str| {
        let proxy = policy.proxy_of(&HostName::parse(name).unwrap(), 443);
        proxy.map(|proxy| (proxy.name().to_owned(), proxy.resolve()))
    };
    assert_eq!(way("git.corp.example"), Some(("corp".to_owned(), Resolve::Here)));
    assert_eq!(way("pypi.org"), None);
    assert_eq!(way("else.where"), Some(("tor".to_owned(), Resolve::There)));
    assert_eq!(way("host.portcullis.internal"), None);
}

#[test]
fn every_fault_has_its_place_and_its_remedy() {
    const PROXY: &str = "[proxy.corp]\nurl = 'http://p.example:3128'\n";
    const ENTRY: &str = "[[upstream]]\nhosts = ['a.example']\n";
    let table = [
        ("[[upstream]]\nca = ['x.pem']".to_owned(), "1:1", "missing field `hosts`"),
        ("[[upstream]]\nhosts = []".to_owned(), "2:9", "[[upstream]] hosts: names no host"),
        ("[[upstream]]\nhosts = ['*']".to_owned(), "2:10", "[[upstream]] hosts \"*\": '*' would be any host"),
        ("[[upstream]]\nhosts = ['a.example:443']".to_owned(), "2:10", "write the host alone"),
        ("[[upstream]]\nhosts = ['10.0.0.1']".to_owned(), "2:10", "is an address"),
        (format!("{ENTRY}cas = []"), "3:1", "unknown field `cas`, expected one of `hosts`, `ca`"),
        (format!("{ENTRY}ca = []"), "3:6", "would trust nobody"),
        (
            format!("{ENTRY}client_cert = 'c.pem'"),
            "3:15",
            "client_cert: client_cert and client_key go together",
        ),
        (
            format!("{ENTRY}client_key = 'c.key'"),
            "3:14",
            "client_key: client_cert and client_key go together",
        ),
        (format!("{ENTRY}min_tls = '1.1'"), "3:11", "[[upstream]] min_tls \"1.1\": write \"1.2\" or \"1.3\""),
        (format!("{ENTRY}min_tls = 1.3"), "3:11", "invalid type: floating point"),
        (format!("{ENTRY}proxy = 'corp'"), "3:9", "[[upstream]] proxy: there is no proxy \"corp\""),
        (format!("{ENTRY}connect_timeout = '5'"), "3:19", "connect_timeout \"5\": write a time as in"),
        (format!("{ENTRY}handshake_timeout = '0s'"), "3:21", "handshake_timeout must be from 1ms to"),
        (format!("{ENTRY}response_timeout = 5"), "3:20", "invalid type: integer"),
        (
            format!("{PROXY}[[upstream]]\nhosts = ['host.portcullis.internal']\nproxy = 'corp'"),
            "5:9",
            "this machine is never reached through a proxy",
        ),
        (PROXY.to_owned(), "1:8", "[proxy.corp]: nothing goes through it; name it in an [[upstream]]"),
        ("[proxy.corp]\ndefault = true".to_owned(), "1:1", "missing field `url`"),
        ("[proxy.direct]\nurl = 'http://p:1'\ndefault = true".to_owned(), "1:8", "and not \"direct\""),
        ("[proxy.corp]\nurl = 'p:1'".to_owned(), "2:7", "[proxy.corp] url: is no URL of a proxy"),
        ("[proxy.corp]\nurl = 'http://u:hunter2@p:1'".to_owned(), "2:7", "a login does not stand in the URL"),
        ("[proxy.corp]\nurl = 'socks5h://p:1'".to_owned(), "2:7", "resolve = \"there\""),
        ("[proxy.corp]\nurl = 'http://p'".to_owned(), "2:7", "needs its port"),
        (format!("{PROXY}user = 'x'"), "3:1", "unknown field `user`, expected one of `url`, `username`"),
        (format!("{PROXY}username = 'x'"), "3:12", "username and password go together"),
        (format!("{PROXY}password = 'env://X'"), "3:12", "username and password go together"),
        (format!("{PROXY}username = 'x'\npassword = 'hunter2'"), "4:12", "password is no source of a secret"),
        (format!("{PROXY}username = 'x:y'\npassword = 'env://X'"), "3:12", "username: a username is"),
        (format!("{PROXY}resolve = 'remote'"), "3:11", "write \"here\" or \"there\""),
        (
            format!("{PROXY}default = true\n[proxy.second]\nurl = 'http://q:1'\ndefault = true"),
            "4:8",
            "[proxy.second]: corp is the default already",
        ),
    ];
    for (text, place, says) in table {
        let error = parse(&text).expect_err(&text);
        assert!(error.starts_with(&format!("dir/p.toml:{place}: ")), "{text:?}: {error}");
        assert!(error.contains(says) && !error.contains('\n'), "{text:?}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn options_of_tls_for_a_host_that_is_passed_through_are_refused() {
    let text = |option: &str| {
        format!(
            "[net]\nallow = ['*.corp.example']\n[tls]\npassthrough = ['a.corp.example']\n\
             [[upstream]]\nhosts = ['*.corp.example']\n{option}"
        )
    };
    for option in ["ca = ['x.pem']", "client_cert = 'c'\nclient_key = 'k'", "min_tls = '1.3'"] {
        let error = Config::parse(&text(option)).unwrap_err();
        let place = "configuration:4:16: [tls] passthrough \"a.corp.example\": ";
        assert!(error.to_string().starts_with(place), "{error}");
        assert!(error.to_string().contains("*.corp.example are the guest's own there, so that an [[upstream]] can set only proxy and connect_timeout; take"), "{error}");
    }
    assert!(Config::parse(&text("connect_timeout = '1s'")).is_ok());
}
