//! Scripted proxies on loopback: HTTP CONNECT and SOCKS 5, that connect, refuse, hang or talk nonsense.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

/// What a proxy does about a request.
#[derive(Clone)]
pub(crate) enum Does {
    /// Connects to this address, whatever it is asked for.
    Connect(SocketAddr),
    /// The same, and says this in one piece with its own last word.
    Greet(SocketAddr, &'static [u8]),
    /// Says this, and no more.
    Say(Vec<u8>),
    /// Says this and goes away.
    SayAndClose(Vec<u8>),
}

/// How a proxy is spoken to.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Kind {
    Http,
    Socks,
    /// SOCKS that takes nobody without a login.
    SocksWithLogin,
}

#[derive(Default)]
struct State {
    asked: RefCell<Vec<Vec<u8>>>,
    logins: RefCell<Vec<Vec<u8>>>,
    open: Cell<usize>,
    changed: Notify,
}

/// A running proxy.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    state: Rc<State>,
}

impl Proxy {
    pub(crate) async fn start(kind: Kind, does: Does) -> Self {
        Self::inside(None, kind, does).await
    }

    /// Inside of TLS where there is a configuration.
    pub(crate) async fn inside(tls: Option<ServerConfig>, kind: Kind, does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, state) = (listener.local_addr().unwrap(), Rc::new(State::default()));
        let shared = Rc::clone(&state);
        let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, does, state) = (tls.clone(), does.clone(), Rc::clone(&shared));
                tokio::task::spawn_local(async move {
                    state.count(1);
                    let _ = match tls {
                        None => serve(stream, kind, does, &state).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, kind, does, &state).await,
                            Err(error) => Err(error),
                        },
                    };
                    state.count(-1);
                });
            }
        });
        Self { addr, state }
    }

    /// What was asked for: each head of HTTP, or each request of SOCKS.
    pub(crate) fn asked(&self) -> Vec<Vec<u8>> {
        self.state.asked.borrow().clone()
    }

    /// The first line of what was asked for last.
    pub(crate) fn line(&self) -> String {
        let head = String::from_utf8(self.asked().pop().expect("nothing was asked for")).unwrap();
        head.lines().next().unwrap().to_owned()
    }

    /// The logins that SOCKS was shown.
    pub(crate) fn logins(&self) -> Vec<Vec<u8>> {
        self.state.logins.borrow().clone()
    }

    /// Resolves when it was asked for something.
    pub(crate) async fn until_asked(&self) {
        while self.asked().is_empty() {
            self.state.changed.notified().await;
        }
    }

    /// Resolves when no connection is open.
    pub(crate) async fn idle(&self) {
        while self.state.open.get() > 0 {
            self.state.changed.notified().await;
        }
    }
}

impl State {
    fn count(&self, by: isize) {
        self.open.set(self.open.get().checked_add_signed(by).unwrap());
        self.changed.notify_waiters();
    }

    fn was_asked(&self, what: Vec<u8>) {
        self.asked.borrow_mut().push(what);
        self.changed.notify_waiters();
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    kind: Kind,
    does: Does,
    state: &State,
) -> std::io::Result<()> {
    let yes: &[u8] = match kind {
        Kind::Http => {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            state.was_asked(head);
            b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n"
        }
        Kind::Socks | Kind::SocksWithLogin => {
            let request = socks(&mut stream, kind == Kind::SocksWithLogin, state).await?;
            state.was_asked(request);
            &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        }
    };
    let (to, first) = match does {
        Does::Connect(to) => (to, yes.to_vec()),
        Does::Greet(to, greeting) => (to, [yes, greeting].concat()),
        Does::Say(words) => {
            stream.write_all(&words).await?;
            stream.flush().await?;
            while stream.read(&mut [0; 1000]).await? > 0 {}
            return Ok(());
        }
        Does::SayAndClose(words) => {
            stream.write_all(&words).await?;
            return stream.shutdown().await;
        }
    };
    let mut upstream = TcpStream::connect(to).await?;
    stream.write_all(&first).await?;
    stream.flush().await?;
    copy_bidirectional(&mut stream, &mut upstream).await.map(|_| ())
}

/// The SOCKS request, once its client may ask.
async fn socks<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    login: bool,
    state: &State,
) -> std::io::Result<Vec<u8>> {
    let mut methods = vec![0; 2];
    stream.read_exact(&mut methods).await?;
    methods.resize(usize::from(methods[1]), 0);
    stream.read_exact(&mut methods).await?;
    if login {
        assert!(methods.contains(&2), "no login is offered");
        stream.write_all(&[5, 2]).await?;
        let mut shown = vec![stream.read_u8().await?];
        for _ in 0..2 {
            let mut part = vec![0; usize::from(stream.read_u8().await?)];
            stream.read_exact(&mut part).await?;
            shown.push(b' ');
            shown.extend(part);
        }
        state.logins.borrow_mut().push(shown);
        stream.write_all(&[1, 0]).await?;
    } else {
        stream.write_all(&[5, 0]).await?;
    }
    let mut request = vec![0; 5];
    stream.read_exact(&mut request).await?;
    let rest = match request[3] {
        1 => 3 + 2,
        3 => usize::from(request[4]) + 2,
        _ => 15 + 2,
    };
    let mut tail = vec![0; rest];
    stream.read_exact(&mut tail).await?;
    request.extend(tail);
    Ok(request)
}
