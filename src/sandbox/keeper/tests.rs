//! Keeping, in a world of the tests' own and in their own time.

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime};

use tokio::task::{LocalSet, yield_now};
use tokio::time::{Instant, advance, sleep};

use super::*;
use crate::secret::{Loaded, Origins, SecretSpec, SecretState, SourceError, Stamp};

/// What a source gives, and how often it was asked.
#[derive(Default)]
struct Fake {
    runs: Cell<u32>,
    running: Cell<u32>,
    /// How long it takes.
    takes: Cell<Duration>,
    /// The value's number and its life; an error without.
    gives: Cell<Option<(u32, Option<Duration>)>>,
    /// When it was asked.
    times: RefCell<Vec<Duration>>,
    file: RefCell<Option<Stamp>>,
}

fn value(number: u32) -> SecretValue {
    SecretValue::new(format!("canary-{number:08}").into_bytes()).unwrap()
}

/// The day on which the tests begin.
fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)
}

struct Bed {
    fake: Rc<Fake>,
    keeping: Keeping,
    begun: Instant,
    _notices: mpsc::Sender<Event>,
}

const MINUTE: Duration = Duration::from_secs(60);

/// A secret `TOKEN` with value 0, which lives so long, and its keeper.
fn bed(source: Source, life: Option<Duration>) -> Bed {
    let fake = Rc::new(Fake::default());
    let begun = Instant::now();
    let clock = move || epoch() + begun.elapsed();
    let world = World {
        load: Box::new({
            let fake = Rc::clone(&fake);
            move |_| {
                let fake = Rc::clone(&fake);
                Box::pin(async move {
                    fake.runs.set(fake.runs.get() + 1);
                    fake.running.set(fake.running.get() + 1);
                    assert_eq!(fake.running.get(), 1, "read by two at once");
                    fake.times.borrow_mut().push(begun.elapsed());
                    sleep(fake.takes.get()).await;
                    fake.running.set(0);
                    let given = fake.gives.get().ok_or(SourceError::Unset { name: "NONE".into() });
                    let loaded = |(number, life): (u32, Option<Duration>)| Loaded {
                        value: value(number),
                        expires: life.map(|life| clock() + life),
                    };
                    Some(given.map(loaded))
                })
            }
        }),
        stamp: Box::new({
            let fake = Rc::clone(&fake);
            move |_| {
                let stamp = *fake.file.borrow();
                Box::pin(async move { stamp })
            }
        }),
        clock: Box::new(clock),
    };
    let limits = Arc::new(Limits::default());
    let spec = SecretSpec::new("TOKEN", value(0), &["api.example"]).unwrap();
    let origin = (source.clone(), life.map(|life| epoch() + life));
    let secrets =
        Secrets::within((vec![spec], &[]), &Origins::from([("TOKEN".into(), origin)]), &limits).unwrap();
    let audit = Rc::new(Audit::new(None, &limits));
    let (notices, noticed) = mpsc::channel(1);
    tokio::task::spawn_local(record(Rc::clone(&audit), noticed));
    let keeper = Keeper { secrets, audit };
    let keeping = keeper.keep_in(&Rc::new(world), vec![Kept { name: "TOKEN".into(), source }], &limits);
    Bed { fake, keeping, begun, _notices: notices }
}

fn command() -> Source {
    Source::command(vec!["vault".into()]).unwrap()
}

impl Bed {
    fn state(&self) -> SecretState {
        self.keeping.list()[0].state
    }

    fn holds(&self, number: u32) -> bool {
        let shown = self.keeping.keeper.secrets.rewrite(value(number).expose()).is_some();
        // All values that it ever had are scrubbed; the one it has now is told by giving it again.
        shown && matches!(self.keeping.rotate("TOKEN", value(number)), Ok(Rotation::Same))
    }

    /// Lets so much time pass, in small steps.
    async fn pass(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            advance((until - Instant::now()).min(Duration::from_millis(250))).await;
            for _ in 0..8 {
                yield_now().await;
            }
        }
    }
}

/// Runs a test in time that stands still.
fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

#[test]
fn a_value_is_replaced_before_its_end() {
    run(async {
        let bed = bed(command(), Some(10 * MINUTE));
        let mut events = bed.keeping.keeper.audit.subscribe();
        bed.fake.gives.set(Some((1, Some(10 * MINUTE))));
        bed.pass(8 * MINUTE).await;
        assert_eq!(bed.fake.runs.get(), 0);
        bed.pass(2 * MINUTE).await;
        assert_eq!((bed.fake.runs.get(), bed.state()), (1, SecretState::Live));
        let event = events.try_recv().unwrap().event;
        assert!(matches!(event, Event::Secret { change: SecretChange::Rotated, .. }), "{event:?}");
        assert_eq!(bed.fake.times.borrow()[0].as_secs(), 540, "a minute before its end");
        bed.pass(9 * MINUTE).await;
        assert_eq!(bed.fake.runs.get(), 2);
        assert!(bed.holds(1) && events.try_recv().is_err(), "the same value is no news");
    });
}

#[test]
fn a_value_that_lives_shortly_is_not_asked_for_without_end() {
    run(async {
        let bed = bed(command(), Some(Duration::from_secs(20)));
        bed.fake.gives.set(Some((1, Some(Duration::from_millis(10)))));
        bed.pass(Duration::from_secs(11)).await;
        assert_eq!(bed.fake.times.borrow()[0].as_secs(), 10, "half of its life");
        bed.pass(Duration::from_secs(10)).await;
        assert!(bed.fake.runs.get() <= 22, "{}", bed.fake.runs.get());
    });
}

#[test]
fn the_last_good_value_lives_until_its_end_and_no_longer() {
    run(async {
        let bed = bed(command(), Some(10 * MINUTE));
        let mut events = bed.keeping.keeper.audit.subscribe();
        bed.pass(9 * MINUTE + Duration::from_secs(59)).await;
        assert_eq!(bed.state(), SecretState::Live);
        bed.pass(Duration::from_secs(2)).await;
        assert_eq!(bed.state(), SecretState::Expired);
        let mut told = || {
            let event = events.try_recv().unwrap().event;
            let Event::Secret { change, reason, .. } = event else { panic!("{event:?}") };
            (change, reason)
        };
        let (change, reason) = told();
        assert_eq!(change, SecretChange::Unavailable);
        assert!(reason.contains("NONE is not set") && !reason.contains("canary"), "{reason}");
        assert_eq!(told().0, SecretChange::Expired);
        // What stays wrong was told once: what comes next is something else.
        bed.fake.gives.set(Some((1, None)));
        bed.pass(10 * MINUTE).await;
        assert_eq!((bed.state(), told().0), (SecretState::Live, SecretChange::Rotated));
        let runs = bed.fake.runs.get();
        bed.pass(60 * MINUTE).await;
        assert_eq!(bed.fake.runs.get(), runs, "a value without an end is not asked for again");
    });
}

#[test]
fn tries_that_fail_come_ever_later() {
    run(async {
        let bed = bed(command(), Some(2 * MINUTE));
        bed.pass(60 * MINUTE).await;
        let times = bed.fake.times.borrow();
        let waits: Vec<u64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
        assert_eq!(waits[..9], [1, 2, 4, 8, 16, 32, 64, 128, 256]);
        assert!(waits[9..].iter().all(|wait| *wait == 300), "{waits:?}");
    });
}

#[test]
fn a_value_ends_also_while_its_source_is_being_read() {
    run(async {
        let bed = bed(command(), Some(10 * MINUTE));
        bed.fake.takes.set(5 * MINUTE);
        bed.fake.gives.set(Some((1, None)));
        bed.pass(11 * MINUTE).await;
        assert_eq!((bed.state(), bed.fake.running.get()), (SecretState::Expired, 1));
        bed.pass(4 * MINUTE).await;
        assert_eq!((bed.state(), bed.fake.runs.get()), (SecretState::Live, 1));
    });
}

#[test]
fn whoever_asks_at_once_is_answered_by_one_reading() {
    run(async {
        let bed = bed(command(), None);
        bed.fake.takes.set(MINUTE);
        bed.fake.gives.set(Some((1, None)));
        let all = async {
            let ask = || bed.keeping.refresh("TOKEN");
            let first = tokio::join!(ask(), ask(), ask());
            (first.0, first.1, first.2)
        };
        let (answers, ()) = tokio::join!(all, bed.pass(5 * MINUTE));
        let replaced =
            [&answers.0, &answers.1, &answers.2].into_iter().filter(|a| **a == Ok(Rotation::Replaced));
        assert_eq!((replaced.count() >= 1, bed.fake.runs.get() <= 2), (true, true), "{answers:?}");
        assert!(bed.holds(1));
        // While one reading is under way, all others wait for one more.
        let late = async {
            let first = bed.keeping.refresh("TOKEN");
            let others = async {
                yield_now().await;
                tokio::join!(
                    bed.keeping.refresh("TOKEN"),
                    bed.keeping.refresh("TOKEN"),
                    bed.keeping.refresh("TOKEN")
                )
            };
            tokio::join!(first, others)
        };
        let before = bed.fake.runs.get();
        let _ = tokio::join!(late, bed.pass(5 * MINUTE));
        assert!(bed.fake.runs.get() - before <= 2);
    });
}

#[test]
fn what_was_revoked_is_left_alone_until_its_owner_asks() {
    run(async {
        let bed = bed(command(), Some(10 * MINUTE));
        bed.fake.gives.set(Some((1, Some(10 * MINUTE))));
        bed.keeping.revoke("TOKEN").unwrap();
        bed.pass(60 * MINUTE).await;
        assert_eq!((bed.fake.runs.get(), bed.state()), (0, SecretState::Revoked));
        assert_eq!(bed.keeping.refresh("TOKEN").await, Ok(Rotation::Replaced));
        assert_eq!(bed.state(), SecretState::Live);
    });
}

#[test]
fn a_file_is_read_when_it_has_changed_and_is_left_alone() {
    run(async {
        let dir = std::env::temp_dir().join(format!("portcullis-keeper-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let stamp = |text: &str| {
            let path = dir.join("token");
            std::fs::write(&path, text).unwrap();
            Stamp::of(&path)
        };
        let bed = bed(Source::File(dir.join("token")), None);
        *bed.fake.file.borrow_mut() = stamp("1");
        bed.fake.gives.set(Some((0, None)));
        bed.pass(MINUTE).await;
        assert_eq!(bed.fake.runs.get(), 1, "once for what happened at the start");
        // Half of it is there, and more at every look.
        bed.fake.gives.set(Some((1, None)));
        for length in 2..8 {
            *bed.fake.file.borrow_mut() = stamp(&"x".repeat(length));
            bed.pass(Duration::from_millis(500)).await;
            assert_eq!(bed.fake.runs.get(), 1, "it is being written");
        }
        bed.pass(Duration::from_millis(750)).await;
        assert_eq!(bed.fake.runs.get(), 2);
        assert!(bed.holds(1));
        bed.pass(MINUTE).await;
        assert_eq!(bed.fake.runs.get(), 2, "and not without a cause");
        // It is gone for a while.
        *bed.fake.file.borrow_mut() = None;
        bed.fake.gives.set(None);
        bed.pass(10 * MINUTE).await;
        assert_eq!((bed.fake.runs.get(), bed.state()), (3, SecretState::Live));
        *bed.fake.file.borrow_mut() = stamp("another one");
        bed.fake.gives.set(Some((2, None)));
        bed.pass(2 * Duration::from_millis(750)).await;
        assert!(bed.holds(2));
        std::fs::remove_dir_all(dir).unwrap();
    });
}

#[test]
fn a_clock_that_is_set_and_a_machine_that_slept_are_noticed() {
    run(async {
        let slept = Rc::new(Cell::new(Duration::ZERO));
        let clock = {
            let slept = Rc::clone(&slept);
            move || epoch() + slept.get()
        };
        let world = World {
            load: Box::new(|_| Box::pin(async { None })),
            stamp: Box::new(|_| Box::pin(async { None })),
            clock: Box::new(clock),
        };
        let begun = Instant::now();
        let reach = world.reach(epoch() + 60 * MINUTE, Duration::from_secs(30));
        let sleep = async {
            sleep(Duration::from_secs(10)).await;
            slept.set(60 * MINUTE);
        };
        tokio::join!(reach, sleep);
        assert_eq!(begun.elapsed(), Duration::from_secs(30));
    });
}

#[test]
fn a_variable_is_not_read_again() {
    run(async {
        let bed = bed(Source::Env("TOKEN".into()), None);
        let why = bed.keeping.refresh("TOKEN").await.unwrap_err();
        assert!(
            why.contains("does not change") && why.contains("file:///PATH") && why.contains("--stdin"),
            "{why}"
        );
        assert!(bed.keeping.refresh("NONE").await.unwrap_err().contains("no secret of that name"));
        assert_eq!((bed.fake.runs.get(), bed.begun.elapsed()), (0, Duration::ZERO));
    });
}
