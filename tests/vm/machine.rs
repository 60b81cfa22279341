//! A virtual machine under software emulation, and what it writes to its serial console.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What one machine may take, from power-on to its last word.
const DEADLINE: Duration = Duration::from_secs(55);
/// How often the console is looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// What a machine is started with.
pub(crate) struct Hardware<'a> {
    pub(crate) kernel: &'a Path,
    pub(crate) initramfs: &'a Path,
    pub(crate) socket: &'a Path,
    pub(crate) mac: &'a str,
}

/// A machine that runs; dropping it is pulling its plug.
pub(crate) struct Machine {
    child: Child,
    console: Arc<Mutex<String>>,
    started: Instant,
}

impl Machine {
    #[expect(clippy::disallowed_methods, reason = "a real machine takes real time, which is bounded here")]
    pub(crate) fn start(hardware: &Hardware<'_>) -> Self {
        let mut child = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg", "-cpu", "max", "-m", "256M", "-nographic", "-no-reboot", "-nodefaults"])
            .args(["-serial", "stdio", "-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on"])
            .arg("-kernel")
            .arg(hardware.kernel)
            .arg("-initrd")
            .arg(hardware.initramfs)
            .arg("-netdev")
            .arg(format!("stream,id=n,server=off,addr.type=unix,addr.path={}", hardware.socket.display()))
            .args(["-device", &format!("virtio-net-pci,netdev=n,mac={},romfile=", hardware.mac)])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let console = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().unwrap(), Arc::clone(&console));
        collect(child.stderr.take().unwrap(), Arc::clone(&console));
        Self { child, console, started: Instant::now() }
    }

    /// Waits for the machine to power itself off; all it said.
    pub(crate) fn powers_off(mut self) -> String {
        self.until("the end", |_, ended| ended)
    }

    fn until(&mut self, what: &str, done: impl Fn(&str, bool) -> bool) -> String {
        loop {
            let ended = self.child.try_wait().unwrap().is_some();
            let console = self.console.lock().unwrap().clone();
            if done(&console, ended) {
                return console;
            }
            assert!(!ended, "the machine ended before {what}:\n{console}");
            assert!(self.started.elapsed() < DEADLINE, "the machine hangs before {what}:\n{console}");
            std::thread::sleep(GLANCE);
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut from: impl std::io::Read + Send + 'static, into: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        let mut part = [0; 4096];
        while let Ok(len @ 1..) = from.read(&mut part) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&part[..len]));
        }
    });
}
