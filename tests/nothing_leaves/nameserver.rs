//! A nameserver of the test's own: it says what the test tells it to, and remembers every question.

use std::collections::HashMap;
use std::net::{IpAddr, UdpSocket};
use std::sync::{Arc, Mutex};

const A: u16 = 1;
const AAAA: u16 = 28;
const NXDOMAIN: u8 = 3;

/// Answers in turn; the last one is repeated.
type Turns = Vec<Vec<IpAddr>>;

#[derive(Default)]
struct State {
    zone: HashMap<String, Turns>,
    asked: Vec<(String, u16)>,
}

/// A running nameserver.
pub(crate) struct Nameserver(Arc<Mutex<State>>);

impl Nameserver {
    /// Serves on `socket` until the process ends.
    pub(crate) fn start(socket: UdpSocket) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
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
        let parse = |turn: &&[&str]| turn.iter().map(|address| address.parse().unwrap()).collect();
        self.0.lock().unwrap().zone.insert(name.to_owned(), turns.iter().map(parse).collect());
    }

    /// The names that were asked for so far, each question once for each asking.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.iter().map(|(name, _)| name.clone()).collect()
    }
}

/// The answer to a query of one question, each record with a time to live of 0.
fn answer(state: &mut State, query: &[u8]) -> Vec<u8> {
    let (name, kind, end) = question(query);
    let turn = state.asked.iter().filter(|asked| **asked == (name.clone(), kind)).count();
    state.asked.push((name.clone(), kind));
    let turns = state.zone.get(&name);
    let addresses = turns.and_then(|turns| turns.get(turn).or(turns.last())).cloned().unwrap_or_default();
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
