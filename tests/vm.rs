//! A real virtual machine behind `portcullis serve`: a stock kernel, its DHCP client, and curl over TLS.
//!
//! Needs `qemu-system-x86_64`, Debian's cloud kernel, `busybox` (static) and `curl`; says loudly when something is
//! missing, and insists where `PORTCULLIS_REQUIRE_VM` is set. No KVM is used, so it runs anywhere, slowly.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "vm/initramfs.rs"]
mod initramfs;
#[path = "vm/machine.rs"]
mod machine;
#[path = "support/served.rs"]
mod served;
mod support;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use initramfs::Archive;
use machine::{Hardware, Machine};
use served::{Serve, Served};
use support::upstream::Upstream;
use support::{canary, pki};

/// The kernel and its modules, where all that the test needs is here.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn kernel() -> Option<(PathBuf, Vec<PathBuf>)> {
    let has = |probe: &str| Command::new("sh").args(["-c", probe]).output().unwrap().status.success();
    let missing = ["qemu-system-x86_64 --version", "busybox true", "curl --version", "ldd --version"]
        .into_iter()
        .find(|probe| !has(probe));
    let kernel = initramfs::kernel();
    let why = match (missing, &kernel) {
        (None, Some(_)) => return kernel,
        (Some(probe), _) => format!("`{probe}` fails"),
        (None, None) => "there is no /boot/vmlinuz-*-cloud-amd64 with its modules".to_owned(),
    };
    assert!(std::env::var_os("PORTCULLIS_REQUIRE_VM").is_none(), "a virtual machine is required: {why}");
    eprintln!("\n*** SKIPPED, no virtual machine here: {why}");
    None
}

/// The guest's system, with what `serve --out` wrote for it.
fn system(served: &Served, modules: &[PathBuf]) -> Vec<u8> {
    let mut archive = Archive::new();
    let which = |program: &str| {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
        String::from_utf8(found.stdout).unwrap().trim().to_owned()
    };
    archive.file("/bin/busybox", &std::fs::read(which("busybox")).unwrap());
    archive.program(&which("curl"));
    archive.file("/init", include_bytes!("vm/init.sh"));
    archive.file("/udhcpc.sh", include_bytes!("vm/udhcpc.sh"));
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    for module in modules {
        archive.file(&format!("/modules/{}", name(module)), &std::fs::read(module).unwrap());
    }
    let order: Vec<String> = modules.iter().map(name).collect();
    archive.file("/modules/order", order.join("\n").as_bytes());
    archive.file("/guest.env", served.scratch.read("out/guest.env").as_bytes());
    // Trusting the upstream's own authority is no way to the upstream.
    archive.file("/upstream.pem", served.scratch.read("upstream.pem").as_bytes());
    for file in ["ca.pem", "bundle.pem"] {
        archive
            .file(&format!("/run/portcullis/{file}"), served.scratch.read(&format!("out/{file}")).as_bytes());
    }
    archive.finish()
}

/// What the guest got to see of one request.
fn answer<'a>(console: &'a str, name: &str) -> &'a str {
    let (_, rest) = console.split_once(&format!("== {name}\r\n")).expect(console);
    rest.split_once("== exit ").map(|(answer, _)| answer).expect(console)
}

#[test]
fn a_virtual_machine_gets_out_and_so_does_the_next() {
    let Some((kernel, modules)) = kernel() else { return };
    let tls = pki::server_config("good", rustls::ALL_VERSIONS, &[b"h2", b"http/1.1"]);
    let upstream = Upstream::start(Some(Arc::new(tls)), None);
    let served = Serve::new("qemu:DIR/net").upstream(upstream.addr).args(&["--out", "out"]).start();
    let initramfs = served.dir().join("initramfs");
    std::fs::write(&initramfs, system(&served, &modules)).unwrap();
    let mac = served.variable("PORTCULLIS_MAC");
    let socket = served.dir().join("net");
    let boot =
        || Machine::start(&Hardware { kernel: &kernel, initramfs: &initramfs, socket: &socket, mac: &mac });
    let token = served.variable("TOKEN");
    for round in 1..=2 {
        let console = boot().powers_off();
        assert_guest_got_out(&console, &served, &token);
        assert_eq!(upstream.seen().iter().filter(|seen| bearer(seen) == served.secret).count(), round);
    }
    served.terminate();
    let (status, said) = served.end();
    assert!(status.success(), "{status} {said:?}");
    assert!(said.concat().contains("elsewhere.example.com"), "{said:?}");
}

/// The credentials of a request, without their scheme.
fn bearer(seen: &support::upstream::Seen) -> String {
    seen.header("authorization").concat().trim_start_matches("Bearer ").to_owned()
}

fn assert_guest_got_out(console: &str, served: &Served, token: &str) {
    assert!(!console.contains(&served.secret), "the guest saw the secret:\n{console}");
    assert!(console.contains(&format!("the guest has {token}")), "{console}");
    let address = served.variable("PORTCULLIS_IPV4");
    let gateway = served.variable("PORTCULLIS_IPV4_GATEWAY");
    assert!(console.contains(&format!("bound to {address} via {gateway}, MTU 1500")), "{console}");
    assert!(console.contains(&format!("nameserver {gateway}")), "{console}");
    // The upstream's echo of the secret comes back as the placeholder.
    assert!(answer(console, "echo").contains(&format!("authorization: Bearer {token}")), "{console}");
    assert!(answer(console, "bundle").contains("200 over HTTP/2"), "{console}");
    assert!(answer(console, "untrusted").contains("curl: (60)"), "{console}");
    assert!(answer(console, "denied").contains("to allow it: --allow elsewhere.example.com"), "{console}");
    assert!(answer(console, "large").contains("300000"), "{console}");
    assert!(!console.contains("timed out"), "{console}");
    assert!(answer(console, "six").contains("from fd"), "{console}");
    assert!(console.contains("data: first\r\n") && console.contains("== all done"), "{console}");
}
