//! The tally, the ids and what is kept of denials.

use super::*;

fn denial(target: &str) -> Event {
    Event::Denial {
        id: "k3f9-1".into(),
        flow: Some(1),
        target: target.into(),
        reason: "r".into(),
        rule: "default".into(),
        hint: String::new(),
        observed: false,
    }
}

#[test]
fn denials_are_summed_up_in_one_line() {
    let audit = Audit::new(None, &Limits::default());
    assert_eq!(audit.denials().summary(), None);
    for target in ["b:443", "a:443", "b:443"] {
        audit.record(denial(target));
    }
    assert_eq!(audit.denials().summary().as_deref(), Some("3 denials: b:443 (2), a:443 (1)"));
}

#[test]
fn a_name_looked_up_counts_once_and_not_beside_its_flows() {
    let audit = Audit::new(None, &Limits::default());
    let question = |name: &str| {
        let Event::Denial { id, target, reason, rule, hint, observed, .. } = denial(name) else {
            unreachable!()
        };
        Event::Denial { id, flow: None, target, reason, rule, hint, observed }
    };
    for event in [question("a"), question("a"), denial("a:443"), question("a"), question("b"), question("b")]
    {
        audit.record(event);
    }
    assert_eq!(audit.denials().summary().as_deref(), Some("2 denials: a:443 (1), b (1)"));
}

#[test]
fn the_last_denials_are_kept_by_their_ids() {
    let audit = Audit::new(None, &Limits { denials_kept: 2, ..Limits::default() });
    let ids: Vec<String> = (0..3).map(|_| audit.next_denial()).collect();
    for (port, id) in ids.iter().enumerate() {
        let Event::Denial { flow, target, reason, rule, hint, observed, .. } = denial(&format!("a:{port}"))
        else {
            unreachable!()
        };
        audit.record(Event::Denial { id: id.clone(), flow, target, reason, rule, hint, observed });
    }
    let kept = |id: &String| audit.denial(id).map(|told| told.target);
    let kept: Vec<_> = ids.iter().map(kept).collect();
    assert_eq!(kept, [None, Some("a:1".to_owned()), Some("a:2".to_owned())]);
}

#[tokio::test]
async fn subscribers_see_what_is_recorded() {
    let audit = Audit::new(None, &Limits::default());
    let mut events = audit.subscribe();
    audit.record(denial("a:1"));
    assert!(matches!(events.recv().await.unwrap().event, Event::Denial { target, .. } if target == "a:1"));
}
