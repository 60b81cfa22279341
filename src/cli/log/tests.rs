//! What is printed, and what a followed file does meanwhile.

use std::io::Write as _;

use super::*;

fn denial(id: &str) -> String {
    format!(
        "{{\"time\":\"2026-01-02T03:04:05.5Z\",\"event\":\"denial\",\"id\":\"{id}\",\"target\":\"a.example:443\",\"reason\":\"no\\u001b\"}}\n"
    )
}

/// Without the clock, which is that of the place.
fn events(out: &[u8]) -> Vec<String> {
    let text = String::from_utf8(out.to_vec()).unwrap();
    text.lines().map(|line| line.split_once(' ').unwrap().1.trim().to_owned()).collect()
}

#[test]
fn every_event_is_one_line() {
    let text = [
        denial("k3f9-1").trim_end(),
        r#"{"event":"denial","id":"k3f9-2","target":"b","reason":"r","observed":true}"#,
        r#"{"event":"flow","flow":3,"kind":"https","destination":"192.0.2.1:443","host":"a.example","millis":1250}"#,
        r#"{"event":"flow","flow":4,"kind":"published","destination":"172.16.0.2:80","peer":"127.0.0.1:9","millis":0}"#,
        r#"{"event":"request","flow":3,"method":"GET","origin":"https://a.example","path":"/x","status":201}"#,
        r#"{"event":"request","flow":3,"method":"PUT","origin":"https://a.example","path":"/y","status":403,"denial":"k3f9-3"}"#,
        r#"{"event":"injection","flow":3,"secret":"T","origin":"https://a.example","place":"basic"}"#,
        r#"{"event":"denials","count":7}"#,
        r#"{"event":"published","address":"127.0.0.1:1","guest_port":2,"transport":"tcp"}"#,
        r#"{"event":"secret","secret":"T","change":"rotated"}"#,
        r#"{"event":"policy","change":"replaced","reason":"1: deny a.example","rules":2,"ended":1}"#,
        r#"{"event":"of a later\nversion"}"#,
        "no record",
    ]
    .join("\n");
    let mut out = Vec::new();
    let mut err = Vec::new();
    print(text.as_bytes(), &mut out, &mut err).unwrap();
    assert_eq!(
        String::from_utf8(err).unwrap(),
        "portcullis: warning: 1 line is no whole record and was left out\n"
    );
    assert_eq!(
        events(&out),
        [
            "denied    a.example:443: no\\u{1b} (k3f9-1)",
            "observed  b: r (k3f9-2)",
            "flow      a.example:443 https, 1.2 s (flow 3)",
            "flow      172.16.0.2:80 from 127.0.0.1:9 published, 0.0 s (flow 4)",
            "request   GET https://a.example/x 201",
            "request   PUT https://a.example/y 403 (k3f9-3)",
            "injected  T into basic of https://a.example",
            "denied    7 more",
            "published 127.0.0.1:1 to port 2 by tcp",
            "secret    T rotated",
            "policy    replaced: 1: deny a.example; 2 rules, 1 flow ended",
            "other     of a later\\u{a}version",
        ]
    );
}

#[test]
fn what_is_appended_cut_or_replaced_is_seen() {
    let path = std::env::temp_dir().join(format!("portcullis-log-{:016x}", getrandom::u64().unwrap()));
    let write = |text: &str| {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    write(&denial("k3f9-1"));
    let mut followed = Followed::open(&path).unwrap();
    let seen = |followed: &mut Followed| {
        let mut out = Vec::new();
        followed.go_on(&mut out).unwrap();
        events(&out).len()
    };
    assert_eq!((seen(&mut followed), seen(&mut followed)), (1, 0));
    let (half, rest) = (denial("k3f9-2"), denial("k3f9-3"));
    let (half, end) = half.split_at(40);
    write(half);
    assert_eq!(seen(&mut followed), 0);
    write(&format!("{end}{rest}"));
    assert_eq!(seen(&mut followed), 2);
    write(&"x".repeat(300_000));
    write(&format!("\n{rest}"));
    assert_eq!((seen(&mut followed), followed.begun.len()), (1, 0));
    fs::File::create(&path).unwrap();
    write(&rest);
    assert_eq!(seen(&mut followed), 1);
    assert!(!followed.is_replaced(&path));
    fs::rename(&path, path.with_extension("1")).unwrap();
    assert!(!followed.is_replaced(&path));
    write(&rest);
    assert!(followed.is_replaced(&path));
    fs::remove_file(&path).unwrap();
    fs::remove_file(path.with_extension("1")).unwrap();
}
