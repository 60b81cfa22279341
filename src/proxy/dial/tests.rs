//! The race over judged addresses, in paused time, and what a real socket is given.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::*;
use crate::name::HostName;
use crate::policy::{ConnectTo, Dialling, Policy, Rule, RuleSource, Verdict};

/// What becomes of a dial.
#[derive(Clone, Copy)]
enum Fate {
    /// It connects after so long, to the listener of the test.
    Connects(Duration),
    Fails(Duration, io::ErrorKind),
    Hangs,
}

/// Dials as it was told to, and notes when which address was tried, and which attempts were given up.
struct Scripted {
    fates: HashMap<SocketAddr, Fate>,
    listener: SocketAddr,
    started: Instant,
    tried: RefCell<Vec<(u128, SocketAddr)>>,
    dropped: Rc<RefCell<Vec<SocketAddr>>>,
}

/// Notes an attempt that ends without an answer.
struct Attempt(SocketAddr, Rc<RefCell<Vec<SocketAddr>>>);

impl Drop for Attempt {
    fn drop(&mut self) {
        self.1.borrow_mut().push(self.0);
    }
}

impl Dial for Scripted {
    fn dial(&self, permit: Permit) -> Dialling<'_> {
        let addr = permit.addr();
        self.tried.borrow_mut().push((self.started.elapsed().as_millis(), addr));
        let attempt = Attempt(addr, Rc::clone(&self.dropped));
        Box::pin(async move {
            let result = match self.fates[&addr] {
                Fate::Connects(after) => {
                    sleep(after).await;
                    TcpStream::connect(self.listener).await.map(|stream| Dialled::new(stream, permit))
                }
                Fate::Fails(after, kind) => {
                    sleep(after).await;
                    Err(kind.into())
                }
                Fate::Hangs => std::future::pending().await,
            };
            std::mem::forget(attempt);
            result
        })
    }
}

fn addr(last: u8) -> SocketAddr {
    SocketAddr::from(([93, 184, 216, last], 443))
}

fn permits(addrs: &[SocketAddr]) -> Vec<Permit> {
    let rule = Rule::allowing("example.com", RuleSource::Flag("example.com".to_owned())).unwrap();
    let policy = Policy::builder().rule(rule).build();
    let Verdict::Allow(name) = policy.at_host(&HostName::parse("example.com").unwrap(), 443) else {
        panic!()
    };
    let permit = |addr: &SocketAddr| match policy.at_addr(&name, addr.ip()) {
        Verdict::Allow(permit) => permit,
        Verdict::Deny(denial) => panic!("{denial}"),
    };
    addrs.iter().map(permit).collect()
}

/// Dials three addresses with these fates: what came of it, after how many milliseconds, and what was tried.
fn race_of(fates: [Fate; 3]) -> (io::Result<SocketAddr>, u128, Rc<Scripted>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addrs = [addr(1), addr(2), addr(3)];
        let scripted = Rc::new(Scripted {
            fates: addrs.into_iter().zip(fates).collect(),
            listener: listener.local_addr().unwrap(),
            started: Instant::now(),
            tried: RefCell::default(),
            dropped: Rc::default(),
        });
        let dial: Rc<dyn Dial> = Rc::<Scripted>::clone(&scripted);
        let dialled = dial_any(&dial, permits(&addrs), Duration::from_secs(10)).await;
        let took = scripted.started.elapsed().as_millis();
        (dialled.map(|dialled| dialled.permit().addr()), took, scripted)
    })
}

const REFUSED: Fate = Fate::Fails(Duration::ZERO, io::ErrorKind::ConnectionRefused);
const AT_ONCE: Fate = Fate::Connects(Duration::ZERO);

#[test]
fn the_first_address_that_answers_is_the_only_one_tried() {
    let (dialled, _, scripted) = race_of([AT_ONCE, AT_ONCE, AT_ONCE]);
    assert_eq!(dialled.unwrap(), addr(1));
    assert_eq!(scripted.tried.borrow().len(), 1);
}

#[test]
fn a_slow_address_has_a_quarter_of_a_second_before_the_next_is_tried_beside_it() {
    let (dialled, _, scripted) = race_of([Fate::Hangs, Fate::Hangs, AT_ONCE]);
    assert_eq!(dialled.unwrap(), addr(3));
    assert_eq!(*scripted.tried.borrow(), [(0, addr(1)), (250, addr(2)), (500, addr(3))]);
    let mut dropped = scripted.dropped.borrow().clone();
    dropped.sort();
    assert_eq!(dropped, [addr(1), addr(2)], "nobody waits for the others any more");
}

#[test]
fn an_earlier_address_that_answers_late_still_wins() {
    let slow = Fate::Connects(Duration::from_millis(400));
    let (dialled, _, scripted) = race_of([slow, Fate::Hangs, Fate::Hangs]);
    assert_eq!(dialled.unwrap(), addr(1));
    assert_eq!(scripted.tried.borrow().len(), 2);
}

#[test]
fn a_refusal_moves_on_at_once_and_the_last_one_is_told() {
    let (dialled, _, scripted) = race_of([REFUSED, AT_ONCE, AT_ONCE]);
    assert_eq!(dialled.unwrap(), addr(2));
    assert_eq!(*scripted.tried.borrow(), [(0, addr(1)), (0, addr(2))]);
    let unreachable = Fate::Fails(Duration::ZERO, io::ErrorKind::HostUnreachable);
    let (dialled, took, _) = race_of([REFUSED, REFUSED, unreachable]);
    assert_eq!((dialled.unwrap_err().kind(), took), (io::ErrorKind::HostUnreachable, 0));
}

#[test]
fn all_addresses_together_have_the_limit() {
    let (dialled, took, scripted) = race_of([Fate::Hangs, REFUSED, Fate::Hangs]);
    assert_eq!((dialled.unwrap_err().kind(), took), (io::ErrorKind::TimedOut, 10_000));
    assert_eq!(scripted.dropped.borrow().len(), 2);
}

#[test]
fn sockets_to_upstreams_have_keepalive_and_no_nagle() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let rule = Rule::allowing("example.com", RuleSource::Flag("example.com".to_owned())).unwrap();
        let connect_to = ConnectTo::parse(&format!("example.com:443:{to}")).unwrap();
        let policy = Policy::builder().rule(rule).connect_to(connect_to).build();
        let host = HostName::parse("example.com").unwrap();
        let Verdict::Allow(name) = policy.at_host(&host, 443) else { panic!() };
        let Verdict::Allow(permit) = policy.at_addr(&name, to.ip()) else { panic!() };
        let dialled = HostDial.dial(permit).await.unwrap();
        assert!(dialled.stream.nodelay().unwrap());
        assert!(rustix::net::sockopt::socket_keepalive(&dialled.stream).unwrap());
    });
}
