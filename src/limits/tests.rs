//! Bounds from text, each of them, and what is refused.

use super::*;

/// How the value of a field is written, as `Debug` shows it.
fn shown(limits: &Limits, key: &str) -> String {
    let text = format!("{limits:#?}");
    let prefix = format!("    {key}: ");
    let line = text.lines().find_map(|line| line.strip_prefix(prefix.as_str()));
    line.unwrap().trim_end_matches(',').to_owned()
}

#[test]
fn every_field_can_be_set_by_its_name_and_nothing_else_changes() {
    let own = Limits::default();
    let fields = format!("{own:#?}").lines().filter(|line| line.starts_with("    ")).count();
    assert_eq!(Limits::KEYS.len(), fields);
    for key in Limits::KEYS {
        let mut limits = Limits::default();
        // No defaults, and one of them in the range of every bound.
        let numbers = [65_533, 777, 65_537, 2, 2 << 20].map(Amount::Number);
        let times = ["77m", "7m"].map(|text| Amount::Text(text.into()));
        let set = numbers.iter().chain(&times).any(|amount| limits.set(key, amount).is_ok());
        assert!(set, "{key} takes no value");
        assert_ne!(shown(&limits, key), shown(&own, key), "{key} is as it was");
        for other in Limits::KEYS.iter().filter(|other| *other != key) {
            assert_eq!(shown(&limits, other), shown(&own, other), "{key} changes {other}");
        }
    }
}

#[test]
fn the_default_is_within_its_ranges() {
    Limits::default().check().unwrap();
}

#[test]
fn octets_and_times_have_units() {
    let mut limits = Limits::default();
    for (text, octets) in [("64KiB", 64 << 10), ("3 MiB", 3 << 20), ("1GiB", 1 << 30)] {
        limits.set("ring_memory", &Amount::Text(text.into())).unwrap();
        assert_eq!(limits.ring_memory, octets);
    }
    for (text, time) in [
        ("250ms", Duration::from_millis(250)),
        ("30s", Duration::from_secs(30)),
        ("5 m", Duration::from_secs(300)),
        ("24h", Duration::from_secs(86_400)),
    ] {
        limits.set("drain", &Amount::Text(text.into())).unwrap();
        assert_eq!(limits.drain, time);
    }
}

#[test]
fn what_is_no_amount_is_refused_and_changes_nothing() {
    let mut limits = Limits::default();
    for text in ["", "KiB", "-1KiB", "1.5MiB", "64", "64kb", "64KiB ", "64  KiB", "1TiB", "30s", "٣KiB"] {
        assert_eq!(limits.set("ring_memory", &Amount::Text(text.into())), Err(LimitError::Number), "{text}");
    }
    for text in ["", "s", "-1s", "1.5s", "30", "30 sec", "64KiB", "1d", "18446744073709551616s"] {
        assert_eq!(limits.set("drain", &Amount::Text(text.into())), Err(LimitError::Time), "{text}");
    }
    assert_eq!(limits.set("drain", &Amount::Number(30)), Err(LimitError::Time));
    assert_eq!(limits, Limits::default());
}

#[test]
fn what_would_break_an_invariant_is_out_of_range() {
    let mut limits = Limits::default();
    for (key, amount, range) in [
        ("leaf_life", Amount::Text("25h".into()), "leaf_life must be from 1m to 24h"),
        ("event_queue", Amount::Number(0), "event_queue must be from 1 to 1048576"),
        ("h1_buffer", Amount::Number(8_191), "h1_buffer must be from 8192 to 1073741824"),
        ("h2_stream_window", Amount::Text("2GiB".into()), "from 1 to 2147483647"),
        ("h2_stream_window", Amount::Number(u64::MAX), "from 1 to 2147483647"),
        ("dns_udp_payload", Amount::Number(65_536 + 1_232), "from 512 to 65534"),
        ("header_fields", Amount::Number(40_000), "from 1 to 16384"),
        ("receive_ring", Amount::Number(0), "from 16384 to 1073741824"),
        ("flows", Amount::Number(0), "from 1"),
        ("drain", Amount::Text("0s".into()), "drain must be from 1ms to 8760h"),
        ("drain", Amount::Text("18446744073709551615h".into()), "to 8760h"),
    ] {
        let error = limits.set(key, &amount).unwrap_err().to_string();
        assert!(error.contains(range), "{error}");
    }
    assert_eq!(limits, Limits::default());
    limits.shutdown = Duration::ZERO;
    limits.check().unwrap();
    limits.event_queue = 0;
    assert!(matches!(limits.check(), Err(LimitError::Range { key: "event_queue", .. })));
}

#[test]
fn bounds_that_cannot_both_hold_are_refused() {
    let limits = Limits { ring_memory: 1 << 20, ..Limits::default() };
    let error = limits.check().unwrap_err().to_string();
    assert_eq!(error, "transmit_ring may not be more than ring_memory; lower the one or raise the other");
    let limits = Limits { dns_ttl_ceiling: Duration::from_secs(1), ..Limits::default() };
    assert!(matches!(limits.check(), Err(LimitError::Order { small: "dns_ttl_floor", .. })));
}

#[test]
fn a_name_mistyped_is_told_the_nearest() {
    let mut limits = Limits::default();
    let mut told = |key| limits.set(key, &Amount::Number(1)).unwrap_err().to_string();
    assert_eq!(told("flow"), "there is no such limit; did you mean flows?");
    assert_eq!(told("dns_time_out"), "there is no such limit; did you mean dns_timeout?");
    assert_eq!(told("xyzzy"), "there is no such limit");
}
