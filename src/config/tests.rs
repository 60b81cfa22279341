//! Files and flags, right and wrong.

use super::*;
use crate::name::{HostName, Origin, Scheme};
use crate::policy::Verdict;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse_as(Path::new("dir/p.toml"), text).map_err(|error| error.to_string())
}

fn flags(allow: &[&str], secret: &[&str], connect_to: &[&str]) -> Result<Config, String> {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let (allow, secret, connect_to) = (owned(allow), owned(secret), owned(connect_to));
    let flags = Flags { allow: &allow, secret: &secret, connect_to: &connect_to, ..Flags::default() };
    Config::load(None, flags).map_err(|error| error.to_string())
}

fn rule_for(config: &Config, host: &str, port: u16) -> Option<String> {
    let origin = Origin { scheme: Scheme::Https, host: HostName::parse(host).unwrap(), port };
    match config.policy().at_name(&origin) {
        Verdict::Allow(permit) => Some(permit.rule().to_string()),
        Verdict::Deny(_) => None,
    }
}

#[test]
fn a_whole_file_is_read() {
    let config = parse(
        r#"
        [net]
        allow = ["pypi.org", "*.pythonhosted.org:443", "*.apple.com"]
        nameservers = ["9.9.9.9", "127.0.0.1:5353", "2620:fe::fe", "ns.example"]
        [tls]
        passthrough = ["*.apple.com"]
        upstream_ca = ["corp.pem", "/abs.pem"]
        [secrets.OPENAI_API_KEY]
        from = "env://KEY"
        hosts = ["api.openai.com", "eu.openai.com:8443"]
        swap = ["header:authorization"]
        [secrets.OTHER]
        hosts = ["*.other.example"]
        "#,
    )
    .unwrap();
    assert_eq!(rule_for(&config, "pypi.org", 80).unwrap(), "dir/p.toml:3: [net] allow[0] \"pypi.org\"");
    assert_eq!(
        rule_for(&config, "a.pythonhosted.org", 443).unwrap(),
        "dir/p.toml:3: [net] allow[1] \"*.pythonhosted.org:443\""
    );
    assert_eq!(rule_for(&config, "api.openai.com", 443).unwrap(), "secret OPENAI_API_KEY");
    assert_eq!(rule_for(&config, "eu.openai.com", 8443).unwrap(), "secret OPENAI_API_KEY");
    assert_eq!(rule_for(&config, "api.openai.com", 80), None);
    assert_eq!(rule_for(&config, "eu.openai.com", 443), None);
    assert_eq!(config.upstream_ca, [PathBuf::from("dir/corp.pem"), PathBuf::from("/abs.pem")]);
    let servers: Vec<String> = config.nameservers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["9.9.9.9:53", "127.0.0.1:5353", "[2620:fe::fe]:53", "ns.example:53"]);
    let [openai, other] = config.secrets.as_slice() else { panic!("{:?}", config.secrets) };
    assert_eq!(openai.from.to_string(), "env://KEY");
    assert_eq!(openai.swap, ["header:authorization"]);
    assert_eq!(other.from.to_string(), "env://OTHER");
    assert_eq!(other.swap, ["header", "basic"]);
    assert!(config.policy().is_passed_through(&HostName::parse("x.apple.com").unwrap()));
}

#[test]
fn an_empty_file_and_no_flags_allow_nothing() {
    let config = parse("").unwrap();
    assert!(config.allow.is_empty() && config.secrets.is_empty() && config.nameservers.is_empty());
    assert_eq!(rule_for(&config, "pypi.org", 443), None);
}

#[test]
fn text_in_memory_is_a_configuration_too() {
    let config = Config::parse("[net]\nallow = ['pypi.org']\n[tls]\nupstream_ca = ['corp.pem']").unwrap();
    assert_eq!(rule_for(&config, "pypi.org", 443).unwrap(), "configuration:2: [net] allow[0] \"pypi.org\"");
    assert_eq!(config.upstream_ca, [PathBuf::from("corp.pem")]);
    let error = Config::parse("[net]\nallow = ['*']").unwrap_err().to_string();
    assert!(error.starts_with("configuration:2:10: [net] allow \"*\": "), "{error}");
    let error = Config::parse("[tls]\npassthrough = ['a.example']").unwrap_err();
    assert_eq!(error.problem, Problem::PassthroughNotAllowed);
}

#[test]
fn every_fault_of_a_file_has_its_place_and_its_remedy() {
    // The text, where the fault is, what the line must say.
    let table = [
        ("[net]\nallow = [\"pypi.org\", \"127.1\"]", "2:22", "[net] allow \"127.1\": is an address"),
        ("[net]\nallow = [\"*\"]", "2:10", "name the host, or all below one as *.SUFFIX"),
        ("[net]\nallow = [\"é\", \"a b\"]", "2:15", "write HOST, HOST:PORT or *.SUFFIX"),
        ("[net]\nallow = [\"a.example:0\"]", "2:10", "has no ports that can be"),
        ("[net]\nallow = [\"host.portcullis.internal\"]", "2:10", "host.portcullis.internal:PORT"),
        ("[net]\nallow = \"pypi.org\"", "2:9", "invalid type: string"),
        ("[net]\nalow = []", "2:1", "unknown field `alow`, expected one of `allow`"),
        ("[nett]", "1:2", "unknown field `nett`"),
        ("[net\nallow = []", "1:5", ""),
        ("[net]\nnameservers = [\"a b\"]", "2:16", "write ADDR, ADDR:PORT with an IPv6"),
        ("[net]\nnameservers = [\"ns.example:99999\"]", "2:16", "has a port that is not a number"),
        ("[net]\npool = \"10.0.0.0\"", "2:8", "[net] pool \"10.0.0.0\": is no network; write ADDR/LEN"),
        ("[net]\nprefix = \"10.0.0.0/8\"", "2:10", "[net] prefix \"10.0.0.0/8\": is no network"),
        ("[net]\nguest = \"10.0.0.2\"", "2:9", "is no network; write ADDR/LEN"),
        ("[net]\ngateway = \"10.0.0.1/24\"", "2:11", "is no IPv4 address"),
        ("[net]\nguest6 = \"10.0.0.1\"", "2:10", "is no IPv6 address"),
        ("[net]\ngateway6 = \"fd00::1/64\"", "2:12", "is no IPv6 address"),
        ("[net]\nmac = \"02:00\"", "2:7", "is no MAC address; write six pairs"),
        ("[net]\ngateway_mac = \"\"", "2:15", "is no MAC address"),
        ("[net]\nslot = 65536", "2:8", "invalid value: integer `65536`, expected u16"),
        ("[net]\nmtu = -1", "2:7", "invalid value: integer `-1`, expected u16"),
        ("[tls]\npassthrough = [\"a.example:443\"]", "2:16", "write the host alone"),
        ("[tls]\npassthrough = [\"*\"]", "2:16", "name the host"),
        ("[secrets.T]", "1:10", "a secret needs its hosts"),
        ("[secrets.T]\nhosts = []", "1:10", "a secret needs its hosts"),
        ("[secrets.T]\nhosts = [\"*\"]", "2:10", "[secrets.T] hosts \"*\": '*' would be any host"),
        ("[secrets.T]\nhosts = [\"\"]", "2:10", "a secret needs its hosts"),
        ("[secrets.T]\nhosts = [\"10.0.0.1\"]", "2:10", "is an address"),
        ("[secrets.T]\nhosts = [\"a.example:80\"]", "2:10", "port 80 is plain HTTP"),
        ("[secrets.T]\nhosts = [\"host.portcullis.internal\"]", "2:10", "needs a port"),
        (
            "[secrets.T]\nhosts = [\"a.example\"]\nfrom = \"vault://x\"",
            "3:8",
            "[secrets.T]: from is no source",
        ),
        (
            "[secrets.T]\nhosts = [\"a.example\"]\nfrom = \"env://\"",
            "3:8",
            "from names no environment variable",
        ),
        ("[secrets.T]\nhosts = [\"a.example\"]\nfrom = \"file://x\"", "3:8", "three slashes"),
        ("[secrets.T]\nhosts = [\"a.example\"]\nfrom = \"cmd://op x\"", "3:8", "write it as a list"),
        ("[secrets.T]\nhosts = [\"a.example\"]\nfrom = { cmd = [] }", "3:8", "from names no program"),
        ("[secrets.T]\nhosts = [\"a.example\"]\nfrom = { cmd = \"op x\" }", "3:8", "from has to be"),
        ("[secrets.T]\nhosts = [\"a.example\"]\nfrom = { cmd = [\"op\"], sh = 1 }", "3:8", "from has to be"),
        (
            "[secrets.T]\nhosts = [\"a.example\"]\nshape = \"sk-\"",
            "3:9",
            "[secrets.T]: shape has no random part",
        ),
        ("[secrets.T]\nhosts = [\"a.example\"]\nshape = \"{rand:4}\"", "3:9", "too little room"),
        ("[secrets.T]\nhosts = [\"a.example\"]\nalphabet = \"01\"", "3:12", "an alphabet is for the {rand}"),
        (
            "[secrets.T]\nhosts = [\"a.example\"]\nshape = \"{rand}\"\nalphabet = \"0\"",
            "4:12",
            "needs an alphabet",
        ),
        ("[secrets.\"A B\"]\nhosts = [\"a.example\"]", "1:10", "letters, digits and '_'"),
        ("[secrets.1A]\nhosts = [\"a.example\"]", "1:10", "letters, digits and '_'"),
        ("[secrets.T]\nhosts = [\"a.example\"]\nvalue = \"x\"", "3:1", "unknown field `value`"),
        ("[secrets.T]\nhosts = [\"a.example\"]\n[secrets.T]\nhosts = []", "3:10", "duplicate key"),
    ];
    for (text, place, says) in table {
        let error = parse(text).expect_err(text);
        assert!(error.starts_with(&format!("dir/p.toml:{place}: ")), "{text:?}: {error}");
        assert!(error.contains(says), "{text:?}: {error}");
        assert!(!error.contains('\n'), "{text:?}: {error}");
    }
}

#[test]
fn addresses_are_read_and_what_is_left_out_is_as_usual() {
    let text = r#"
        [net]
        slot = 7
        pool = "10.64.0.0/16"
        prefix = "fd12:3456:789a::/48"
        mtu = 9000
        mac = "5a:94:ef:e4:0c:ee"
        "#;
    let network = parse(text).unwrap().network(Arc::default()).unwrap();
    assert_eq!((network.guest_v4.to_string(), network.v4_prefix), ("10.64.0.30".to_owned(), 30));
    assert_eq!(network.guest_v6.to_string(), "fd12:3456:789a:7::2");
    assert_eq!((network.guest_mac, network.mtu), ([0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xee], 9_000));
    let text = r#"
        [net]
        guest = "10.0.2.15/24"
        gateway = "10.0.2.2"
        guest6 = "fd00::15"
        gateway6 = "fd00::2"
        gateway_mac = "52:55:0a:00:02:02"
        "#;
    let network = parse(text).unwrap().network(Arc::default()).unwrap();
    assert_eq!(
        (network.guest_v4.to_string(), network.gateway_v4.to_string()),
        ("10.0.2.15".into(), "10.0.2.2".into())
    );
    assert_eq!(
        (network.guest_v6.to_string(), network.gateway_v6.to_string()),
        ("fd00::15".into(), "fd00::2".into())
    );
    assert_eq!((network.gateway_mac, network.mtu), ([0x52, 0x55, 0x0a, 0, 2, 2], 1_500));
    assert_eq!(parse("").unwrap().addressing, Addressing::default());
}

#[test]
fn addresses_that_do_not_hold_together_do_not_start() {
    for (net, says) in [
        (
            "slot = 64\npool = '10.0.0.0/24'",
            "pool 10.0.0.0/24 has no network for slot 64; take a larger pool, or a slot below 64",
        ),
        ("guest = '10.0.0.2/24'\ngateway = '10.0.0.2'", "10.0.0.2 is both guest and gateway"),
        ("guest = '198.18.0.2/24'", "198.18.0.0/24 overlaps 198.18.0.0/15"),
        ("mac = 'ff:ff:ff:ff:ff:ff'", "MAC address ff:ff:ff:ff:ff:ff is a group's or none"),
        ("mtu = 576", "an MTU of 576 is none of IPv6 over Ethernet"),
    ] {
        let error = parse(&format!("[net]\n{net}")).unwrap_err();
        assert!(error.starts_with(&format!("[net]: {says}")), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_pass_through_host_is_allowed_and_holds_no_secret() {
    let base = "[tls]\npassthrough = [\"*.apple.com\"]\n";
    let error = parse(base).unwrap_err();
    assert_eq!(
        error,
        "dir/p.toml:2:16: [tls] passthrough \"*.apple.com\": no rule allows it; add it to [net] allow"
    );
    for allow in ["api.apple.com", "*.apple.com", "*.api.apple.com", "*.com"] {
        parse(&format!("{base}[net]\nallow = [\"{allow}\"]")).expect(allow);
    }
    for allow in ["api.apple.com:5000/udp", "*.apple.com/icmp"] {
        parse(&format!("{base}[net]\nallow = [\"{allow}\"]")).unwrap_err();
    }
    for host in ["api.apple.com", "*.apple.com", "*.com"] {
        let text = format!("{base}[net]\nallow = [\"*.apple.com\"]\n[secrets.T]\nhosts = [\"{host}\"]");
        let error = parse(&text).unwrap_err();
        assert!(
            error.starts_with("dir/p.toml:2:16: [tls] passthrough \"*.apple.com\": secret T could never"),
            "{error}"
        );
    }
}

/// `--allow`, `--secret`, `--connect-to`, and what the error must say.
type Faulty = (&'static [&'static str], &'static [&'static str], &'static [&'static str], &'static str);

#[test]
fn flags_are_joined_and_their_faults_named() {
    let config =
        flags(&["pypi.org"], &["TOKEN@api.example,eu.example:8443"], &["api.example:443:127.0.0.1:1"])
            .unwrap();
    assert_eq!(rule_for(&config, "pypi.org", 443).unwrap(), "--allow pypi.org");
    assert_eq!(rule_for(&config, "eu.example", 8443).unwrap(), "secret TOKEN");
    assert_eq!(config.secrets[0].from.to_string(), "env://TOKEN");
    let table: [Faulty; 16] = [
        (&["127.1"], &[], &[], "--allow '127.1': is an address"),
        (&["*"], &[], &[], "--allow '*': '*' would be any host"),
        (&["a.example/udp"], &[], &[], "--allow 'a.example/udp': UDP needs a port; write HOST:PORT/udp"),
        (&["a.example:443/udp"], &[], &[], "cannot be intercepted; write HOST alone, and clients use TCP"),
        (&["a.example:1/icmp"], &[], &[], "write HOST/icmp"),
        (&["a\nb"], &[], &[], "--allow 'a\\nb': has a label"),
        (&[], &["TOKEN"], &[], "--secret 'TOKEN': a secret needs its hosts; write NAME@HOST"),
        (&[], &["TOKEN@"], &[], "--secret 'TOKEN@': a secret needs its hosts"),
        (&[], &["TOKEN@a.example,"], &[], "a secret needs its hosts"),
        (&[], &["@a.example"], &[], "--secret '…@a.example': the name of a secret is that of a variable"),
        (&[], &["TOKEN@*"], &[], "'*' would be any host"),
        (&[], &["TOKEN@a.example:80"], &[], "port 80 is plain HTTP"),
        (&[], &["T@a.example", "T@b.example"], &[], "--secret 'T@b.example': secret T is there already"),
        (&[], &[], &["a.example:443"], "write HOST:PORT:ADDR:PORT"),
        (&[], &[], &["a.example:443:b.example:443"], "write HOST:PORT:ADDR:PORT"),
        (&[], &[], &["a.example:1:127.0.0.1:1", "A.example:1:127.0.0.1:2"], "sent to 127.0.0.1:1 already"),
    ];
    for (allow, secret, connect_to, says) in table {
        let error = flags(allow, secret, connect_to).expect_err(says);
        assert!(error.contains(says), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_secret_in_file_and_flag_does_not_start() {
    let dir = std::env::temp_dir().join(format!("portcullis-config-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join("c.toml");
    fs::write(&path, "[secrets.T]\nhosts = [\"a.example\"]\n[net]\nallow = [\"b.example\"]").unwrap();
    let secret = ["T@c.example".to_owned()];
    let error = Config::load(Some(&path), Flags { secret: &secret, ..Flags::default() }).unwrap_err();
    assert_eq!(error.problem, Problem::SecretTwice { name: "T".to_owned() });
    let allow = ["c.example".to_owned()];
    let config = Config::load(Some(&path), Flags { allow: &allow, ..Flags::default() }).unwrap();
    assert!(rule_for(&config, "b.example", 443).is_some() && rule_for(&config, "c.example", 443).is_some());
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Some(Path::new("/nonexistent/p.toml")), Flags::default()).unwrap_err();
    assert!(error.to_string().starts_with("/nonexistent/p.toml: cannot be read"), "{error}");
}

#[test]
fn an_unset_variable_is_named_and_a_set_one_is_not_asked_for_its_value() {
    let config = flags(&[], &["TOKEN@api.example", "OTHER@api.example"], &[]).unwrap();
    let error = config.require_variables(|name| (name == "TOKEN").then(|| "x".into())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "secret OTHER: variable OTHER is not set; export OTHER with the secret's value"
    );
    assert!(config.require_variables(|_| Some("x".into())).is_ok());
}

#[test]
fn what_may_be_a_secret_is_not_repeated() {
    const VALUE: &str = "ghp_0123456789abcdefABCDEF";
    let faults = [
        flags(&[], &[VALUE], &[]).unwrap_err(),
        flags(&[], &[&format!("TOKEN={VALUE}@a.example")], &[]).unwrap_err(),
        flags(&[], &["sk-hunter2@a.example:80"], &[]).unwrap_err(),
        flags(&[], &[&format!("{VALUE}@*")], &[]).unwrap_err(),
        flags(&[], &[&format!("{VALUE}@a.example")], &[])
            .unwrap()
            .require_variables(|_| None)
            .unwrap_err()
            .to_string(),
        parse(&format!("[secrets]\nTOKEN = \"{VALUE}, expected \\\" {VALUE}\"")).unwrap_err(),
        parse(&format!("[secrets.TOKEN]\nhosts = \"{VALUE}\"")).unwrap_err(),
        parse("[secrets]\nTOKEN = 123456789012").unwrap_err(),
    ];
    for fault in faults {
        for part in ["0123456789", "hunter2", "12345"] {
            assert!(!fault.contains(part), "{fault}");
        }
    }
}

#[test]
fn ports_are_published_by_file_and_flag() {
    let config = parse(
        "[net]\npublish = ['8080:80', '0:53/udp']\n[[publish]]\nport = '[::]:22:22'\nfrom = ['2001:db8::/32', '::1']",
    )
    .unwrap();
    let flags = ["0.0.0.0:8080:80".to_owned()];
    let config = config.join(Flags { publish: &flags, ..Flags::default() }).unwrap();
    let shown: Vec<String> = config.publish.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["127.0.0.1:8080:80", "127.0.0.1:0:53/udp", "[::]:22:22", "0.0.0.0:8080:80"]);
    let admits = |index: usize, peer: &str| {
        matches!(config.policy().at_peer(&config.publish[index], peer.parse().unwrap()), Verdict::Allow(_))
    };
    assert!(admits(2, "[2001:db8::9]:1") && admits(2, "[::1]:1") && !admits(2, "127.0.0.1:1"));
    assert!(admits(0, "127.0.0.1:1"));
}

#[test]
fn faults_of_published_ports_say_where_they_stand() {
    for (text, expected) in [
        ("[net]\npublish = ['80']", "dir/p.toml:2:12: [net] publish \"80\": is no published port"),
        (
            "[net]\npublish = ['1:2', '1:3']",
            "dir/p.toml:2:19: [net] publish \"1:3\": 127.0.0.1:1 is published",
        ),
        ("[[publish]]\nport = 'x:1'", "dir/p.toml:2:8: [[publish]] port \"x:1\": 'x' is no port"),
        (
            "[[publish]]\nport = '1:1'\nfrom = ['10.0.0.1/8']",
            "dir/p.toml:3:9: [[publish]] from \"10.0.0.1/8\": has bits set behind its prefix; write 10.0.0.0/8",
        ),
        (
            "[[publish]]\nport = '1:1'\nfrom = []",
            "dir/p.toml:3:8: [[publish]] from: a port that is open to nobody",
        ),
        ("[[publish]]\nfrom = ['::1']", "dir/p.toml:1:1: missing field `port`"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    let fault = |texts: &[&str]| {
        let publish: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Config::load(None, Flags { publish: &publish, ..Flags::default() }).unwrap_err().to_string()
    };
    assert!(fault(&["1:0"]).starts_with("--publish '1:0': the guest has no port 0"));
    assert!(
        fault(&["1:2", "127.0.0.1:1:3"])
            .starts_with("--publish '127.0.0.1:1:3': 127.0.0.1:1 is published already")
    );
}

#[test]
fn bounds_are_read_and_every_fault_has_its_place() {
    let config = parse("[limits]\nflows = 100\nring_memory = \"64MiB\"\nsniff = \"250ms\"").unwrap();
    assert_eq!((config.limits.flows, config.limits.ring_memory), (100, 64 << 20));
    assert_eq!(config.limits.sniff, std::time::Duration::from_millis(250));
    for (text, place, says) in [
        ("[limits]\nflowz = 1", "2:1", "[limits] flowz: there is no such limit; did you mean flows?"),
        ("[limits]\n  flows = \"x\"", "2:11", "[limits] flows: write a whole number"),
        ("[limits]\nflows = -1", "2:9", "write a whole number"),
        ("[limits]\nflows = 1.5", "2:9", "write a whole number"),
        ("[limits]\nflows = [1]", "2:9", "write a whole number"),
        ("[limits]\nflows = 0", "2:9", "flows must be from 1 to 16777216"),
        ("[limits]\nsniff = 5", "2:9", "write a time"),
        ("[limits]\nleaf_life = \"25h\"", "2:13", "leaf_life must be from 1m to 24h"),
        ("[limits]\nflows = 1\nring_memory = 100000", "3:15", "may not be more than ring_memory"),
        ("[limits]\nflows = 1\nflows = 2", "3:1", "duplicate key"),
        ("limits = 5", "1:10", "invalid type: integer"),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.starts_with(&format!("dir/p.toml:{place}: ")), "{text:?}: {error}");
        assert!(error.contains(says) && !error.contains('\n'), "{text:?}: {error}");
    }
}
