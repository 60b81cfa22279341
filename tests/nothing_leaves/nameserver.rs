//! A nameserver of the test's own: it says what the test tells it to, and remembers every question.

use std::collections::HashMap;
use std::net::{IpAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Instant;

const A: u16 = 1;
const AAAA: u16 = 28;
const NXDOMAIN: u8 = 3;

/// When a name's addresses become others.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// At each question; the last ones stay.
    Once,
    /// At each question, and again from the first.
    Questions,
    /// Every millisecond, and again from the first.
    Milliseconds,
}

/// Answers in turn.
struct Turns {
    addresses: Vec<Vec<IpAddr>>,
    pace: Pace,
}

impl Turns {
    /// What is true at the `asked`th question.
    fn at(&self, asked: usize, started: Instant) -> Vec<IpAddr> {
        let count = self.addresses.len();
        let turn = match self.pace {
            Pace::Once => asked.min(count - 1),
            Pace::Questions => asked % count,
            Pace::Milliseconds => started.elapsed().as_millis() as usize % count,
        };
        self.addresses[turn].clone()
    }
}

struct State {
    started: Instant,
    zone: HashMap<String, Turns>,
    asked: Vec<String>,
    turns: HashMap<(String, u16), usize>,
}

/// A running nameserver.
pub(crate) struct Nameserver(Arc<Mutex<State>>);

impl Nameserver {
    /// Serves on `socket` until the process ends.
    pub(crate) fn start(socket: UdpSocket) -> Self {
        let state = Arc::new(Mutex::new(State {
            started: now(),
            zone: HashMap::new(),
            asked: Vec::new(),
            turns: HashMap::new(),
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            let mut query = [0; 4096];
            while let Ok((length, client)) = socket.recv_from(&mut query) {
                let answer = answer(&mut shared.lock().unwrap(), &query[..length]);
                socket.send_to(&answer, client).unwrap();
            }
        });
        Self(state)
    }

    /// From now on `name` has these addresses.
    pub(crate) fn set(&self, name: &str, addresses: &[&str]) {
        self.set_turns(name, &[addresses]);
    }

    /// From now on `name` has these addresses, others at each asking for a family of them.
    pub(crate) fn set_turns(&self, name: &str, turns: &[&[&str]]) {
        self.set_paced(name, turns, Pace::Once);
    }

    /// From now on `name` has one of these after the other.
    pub(crate) fn set_paced(&self, name: &str, turns: &[&[&str]], pace: Pace) {
        let parse = |turn: &&[&str]| turn.iter().map(|address| address.parse().unwrap()).collect();
        let turns = Turns { addresses: turns.iter().map(parse).collect(), pace };
        self.0.lock().unwrap().zone.insert(name.to_owned(), turns);
    }

    /// The names that were asked for so far, each question once for each asking.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }
}

#[expect(clippy::disallowed_methods, reason = "a nameserver that flips by the clock has one")]
fn now() -> Instant {
    Instant::now()
}

/// The answer to a query of one question, each record with a time to live of 0.
fn answer(state: &mut State, query: &[u8]) -> Vec<u8> {
    let (name, kind, end) = question(query);
    let turn = state.turns.entry((name.clone(), kind)).or_default();
    let asked = std::mem::replace(turn, *turn + 1);
    state.asked.push(name.clone());
    let turns = state.zone.get(&name);
    let addresses = turns.map(|turns| turns.at(asked, state.started)).unwrap_or_default();
    let records: Vec<Vec<u8>> = addresses
        .iter()
        .filter_map(|address| match (address, kind) {
            (IpAddr::V4(address), A) => Some(address.octets().to_vec()),
            (IpAddr::V6(address), AAAA) => Some(address.octets().to_vec()),
            _ => None,
        })
        .collect();
    let code = if turns.is_some() { 0 } else { NXDOMAIN };
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
    answer.extend(&query[12..end]);
    for record in records {
        answer.extend([0xc0, 12, 0, kind as u8, 0, 1, 0, 0, 0, 0, 0, record.len() as u8]);
        answer.extend(record);
    }
    answer
}

/// Name in lower case, type, and where the question ends.
fn question(query: &[u8]) -> (String, u16, usize) {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    (labels.join("."), u16::from_be_bytes([query[at + 1], query[at + 2]]), at + 5)
}
