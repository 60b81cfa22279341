//! Faults of rules in a file, each at its place and with what to write.

use std::path::Path;

use crate::config::Config;

#[test]
fn every_fault_of_a_rule_stands_where_it_was_written() {
    let rule = "[[rule]]\nhost = 'a.example'\naction = 'allow'\n";
    for (text, expected) in [
        ("ports = 443", "4:9: invalid type: integer, expected a list; write ports = [\"443\"]"),
        ("methods = 'GET'", "4:11: invalid type: string, expected a list; write methods = [\"GET\"]"),
        ("paths = '/v1'", "4:9: invalid type: string, expected a list; write paths = [\"/v1/**\"]"),
        ("protocols = 'tcp'", "4:13: invalid type: string, expected a list; write protocols = [\"tcp\"]"),
        ("ports = [80, '0']", "4:14: [[rule]] ports \"0\": has no ports that can be; write 443, 8000-8999"),
        ("ports = [80, 0]", "4:14: [[rule]] ports 0: has no ports that can be"),
        ("ports = [80, 70000]", "4:14: [[rule]] ports 70000: has no ports that can be"),
        ("ports = [true]", "4:10: [[rule]] ports boolean: has no ports that can be"),
        ("ports = [\n  80,\n  'x',\n]", "6:3: [[rule]] ports \"x\": has no ports that can be"),
        ("methods = ['GET', 'get']", "4:19: [[rule]] methods \"get\": is no method; write it in capitals"),
        ("methods = ['TRACE']", "4:12: [[rule]] methods \"TRACE\": CONNECT and TRACE are never let by"),
        ("paths = ['/a', 'b']", "4:16: [[rule]] paths \"b\": is no path; write one that starts with '/'"),
        ("paths = ['/a/../b']", "4:10: [[rule]] paths \"/a/../b\": is no canonical path"),
        ("protocols = ['tcp', 'x']", "4:21: [[rule]] protocols \"x\": is no protocol"),
        ("protocols = ['udp']\nports = [53]", "1:1: [[rule]]: that UDP port is refused to every guest"),
    ] {
        let error = Config::parse_as(Path::new("p.toml"), &format!("{rule}{text}")).unwrap_err().to_string();
        assert!(error.starts_with(&format!("p.toml:{expected}")), "{text}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_rule_that_says_not_what_to_do_is_told_what_to_write() {
    let error = Config::parse_as(Path::new("p.toml"), "\n[[rule]]\nhost = 'a.example'").unwrap_err();
    assert_eq!(
        error.to_string(),
        "p.toml:2:1: [[rule]]: needs an action; write action = \"allow\" or action = \"deny\""
    );
}
