//! What people hear of nameservers that fail.

use std::cell::Cell;
use std::io::{self, Write};
use std::sync::Mutex;

use tracing::subscriber::DefaultGuard;

use super::*;

const GOOD: &str = "151.101.0.223";

/// What is logged on this thread while it lives.
struct Logged {
    text: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

#[derive(Clone)]
struct Into(Arc<Mutex<Vec<u8>>>);

impl Write for Into {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Logged {
    fn start() -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let writer = Into(Arc::clone(&text));
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(move || writer.clone())
            .finish();
        Self { text, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines since the last call.
    fn take(&self) -> Vec<String> {
        let text = std::mem::take(&mut *self.text.lock().unwrap());
        String::from_utf8(text).unwrap().lines().map(|line| line.trim().to_owned()).collect()
    }
}

#[tokio::test]
async fn a_nameserver_that_fails_is_told_once_and_once_when_it_answers_again() {
    local(async {
        let logged = Logged::start();
        let is_well = Rc::new(Cell::new(false));
        let state = Rc::clone(&is_well);
        let server = Nameserver::start(move |_| match state.get() {
            true => Script::Answer(vec![address("pypi.org", 300, GOOD)]),
            false => Script::Code(ResponseCode::ServFail),
        })
        .await;
        let world = World::new(&[&server], |_| {});
        for number in 0..50 {
            assert_eq!(world.short(&format!("n{number}.cdn.example"), RecordType::A).await, "ServFail");
        }
        let lines = logged.take();
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.starts_with("WARN") && line.contains("nameserver fails"), "{line}");
        let error = ForwardError::Failed(server.addr, ResponseCode::ServFail).to_string();
        assert!(line.contains(&error) && !line.contains("cdn.example"), "{line}");
        is_well.set(true);
        for _ in 0..5 {
            assert_eq!(world.short("pypi.org", RecordType::A).await, format!("NoError {GOOD}"));
        }
        assert_eq!(logged.take(), [format!("WARN nameserver answers again server={}", server.addr)]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_nameserver_and_one_that_is_not_there_are_told_of() {
    local(async {
        let logged = Logged::start();
        let silent = Nameserver::start(|_| Script::Silence).await;
        let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
        let world = World::new(&[], |setup| setup.nameservers = vec![silent.addr.into(), closed.into()]);
        assert_eq!(world.short("pypi.org", RecordType::A).await, "ServFail");
        let lines = logged.take().join("\n");
        assert!(lines.contains(&format!("{} did not answer in time", silent.addr)), "{lines}");
        assert!(lines.contains(&format!("{closed} cannot be reached: connection refused")), "{lines}");
        assert_eq!(lines.lines().count(), 2, "{lines}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn that_there_is_no_nameserver_is_told_once_until_there_is_one() {
    local(async {
        let logged = Logged::start();
        let file = Scratch::new("none", "# nothing yet\n");
        let world = World::new(&[], |setup| setup.resolv_conf.clone_from(&file.0));
        for number in 0..50 {
            assert_eq!(world.short(&format!("n{number}.cdn.example"), RecordType::A).await, "ServFail");
        }
        let lines = logged.take();
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.contains("no nameserver is known; set [net] nameservers"), "{line}");
        // Nobody listens there; it is a nameserver all the same.
        file.replace("nameserver 127.255.255.254\n");
        tokio::time::advance(Limits::default().dns_host_file_rest).await;
        world.ask("pypi.org", RecordType::A).await;
        assert!(logged.take().contains(&"WARN there is a nameserver again".to_owned()));
        file.replace("# nothing again\n");
        tokio::time::advance(Limits::default().dns_host_file_rest).await;
        world.ask("pypi.org", RecordType::A).await;
        assert_eq!(logged.take().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_nameserver_without_an_address_is_told_of_by_its_name() {
    local(async {
        let logged = Logged::start();
        let named = "ns.corp.example:53".parse().unwrap();
        let world = World::new(&[], |setup| setup.nameservers = vec![named]);
        for _ in 0..5 {
            assert_eq!(world.short("pypi.org", RecordType::A).await, "ServFail");
        }
        let lines = logged.take();
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.contains("the nameserver ns.corp.example has no address"), "{line}");
    })
    .await;
}

#[tokio::test]
async fn a_nameserver_behind_no_interface_is_told_of_once_for_a_list() {
    local(async {
        let logged = Logged::start();
        let file = Scratch::new("zone", "nameserver fe80::1%nosuch0\nnameserver 127.255.255.254\n");
        let world = World::new(&[], |setup| setup.resolv_conf.clone_from(&file.0));
        for _ in 0..5 {
            world.ask("pypi.org", RecordType::A).await;
        }
        let lines = logged.take();
        let told = |line: &&String| line.contains("no such interface") && line.contains("fe80::1%nosuch0");
        assert_eq!(lines.iter().filter(told).count(), 1, "{lines:?}");
        assert_eq!(lines.len(), 2, "and that the other one fails: {lines:?}");
    })
    .await;
}
