//! The control socket of a sandbox in somebody else's program.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;

use portcullis::control::{Directory, Endpoint, SandboxName};
use portcullis::limits::Limits;
use portcullis::link::memory;
use portcullis::sandbox::{Sandbox, StartError, Termination};

use super::fresh;

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path = std::env::temp_dir().join(fresh("embedded"));
        std::fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }

    fn claim(&self) -> Endpoint {
        let name = SandboxName::parse("embedded").unwrap();
        Endpoint::claim_in(Directory::open(&self.0).unwrap(), &name).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Whether there is somebody to prepare a sandbox with: the test's own CA, whatever the system has.
fn builder() -> portcullis::sandbox::Builder {
    let config = portcullis::config::Config {
        upstream_ca: vec![[env!("CARGO_MANIFEST_DIR"), "certs", "ca.pem"].iter().collect()],
        ..portcullis::config::Config::default()
    };
    Sandbox::builder().config(config)
}

#[test]
fn the_library_and_the_socket_say_the_same_and_the_socket_keeps_no_sandbox_alive() {
    let scratch = Scratch::new();
    let (ended, termination) = sync_channel(1);
    let hook = move |why| ended.send(why).unwrap();
    let prepared = builder().control(scratch.claim()).on_termination(hook).prepare().unwrap();
    let (near, _far) = memory::pair(64, 1500);
    let sandbox = prepared.start(near).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let socket = scratch.0.join("embedded.sock");
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(b"{\"version\":1,\"request\":\"status\"}\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let told = &answer["answer"]["status"];
    assert_eq!((&told["name"], &told["pid"]), (&"embedded".into(), &std::process::id().into()));
    let stats = runtime.block_on(sandbox.stats()).unwrap();
    assert_eq!(told["stats"]["dns"], serde_json::to_value(stats.dns).unwrap());
    assert_eq!(told["stats"]["net"]["dropped"], serde_json::to_value(stats.net.dropped).unwrap());

    // One that is connected and says nothing holds nothing up either.
    let _silent = UnixStream::connect(&socket).unwrap();
    drop(sandbox);
    assert_eq!(termination.recv().unwrap(), Termination::Shutdown);
    assert!(!socket.exists());
}

#[test]
fn a_name_is_given_up_where_the_sandbox_does_not_start() {
    let scratch = Scratch::new();
    drop(builder().control(scratch.claim()).prepare().unwrap());
    let limits = Limits { event_queue: 0, ..Limits::default() };
    let refused = builder().control(scratch.claim()).limits(limits).prepare();
    assert!(matches!(refused, Err(StartError::Limit(_))));
    drop(scratch.claim());
}

#[test]
fn bounds_are_the_builders_else_the_configurations() {
    let text = "[limits]\ntransmit_ring = \"64KiB\"\nring_memory = \"1MiB\"\n";
    let mut config = portcullis::config::Config::parse(text).unwrap();
    config.upstream_ca = vec![[env!("CARGO_MANIFEST_DIR"), "certs", "ca.pem"].iter().collect()];
    Sandbox::builder().config(config.clone()).prepare().unwrap();
    let wrong = Limits { flows: 0, ..Limits::default() };
    let refused = Sandbox::builder().limits(wrong.clone()).config(config.clone()).prepare();
    assert!(matches!(refused, Err(StartError::Limit(_))));
    config.limits = wrong;
    assert!(matches!(Sandbox::builder().config(config.clone()).prepare(), Err(StartError::Limit(_))));
    Sandbox::builder().limits(Limits::default()).config(config).prepare().unwrap();
}
