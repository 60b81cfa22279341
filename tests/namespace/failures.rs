//! What is said, and with which code, when a command cannot be started.

use std::process::Output;

use portcullis::namespace::{self, Addresses, Assignment, NamespaceError, Spec};

use crate::Case;
use crate::caller::{Caller, Texts, run, with_stage};
use crate::spawner;

pub(crate) const CASES: &[Case] = &[
    ("a_missing_command_is_127", a_missing_command_is_127),
    ("a_file_that_cannot_run_is_126", a_file_that_cannot_run_is_126),
    ("no_command_is_our_own_failure", no_command_is_our_own_failure),
    ("a_masked_proc_names_the_containers_option", a_masked_proc_names_the_containers_option),
    ("a_missing_tun_device_is_told", a_missing_tun_device_is_told),
    ("a_forbidden_tun_device_is_told", a_forbidden_tun_device_is_told),
    ("no_more_user_namespaces_is_told", no_more_user_namespaces_is_told),
    ("a_hidden_working_directory_is_told", a_hidden_working_directory_is_told),
    ("a_missing_file_to_hide_is_told", a_missing_file_to_hide_is_told),
    ("a_missing_resolver_file_is_told", a_missing_resolver_file_is_told),
    ("a_process_with_threads_is_refused", a_process_with_threads_is_refused),
];

fn fails(output: &Output, code: i32, text: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", output.err());
    assert!(output.err().starts_with(&format!("portcullis: {text}")), "{}", output.err());
    assert_eq!(output.err().lines().count(), 1, "{}", output.err());
    assert_eq!(output.out(), "");
}

fn staged(caller: &Caller, stage: &str, script: &str) -> Output {
    let mut command = caller.staged(&["sh", "-c", script]);
    with_stage(&mut command, stage);
    run(&mut command, b"")
}

fn a_missing_command_is_127(caller: &Caller) {
    fails(&caller.run(&["no-such-command"]), 127, "no-such-command: not found");
    fails(&caller.run(&["/no/such/command"]), 127, "/no/such/command: not found");
}

fn a_file_that_cannot_run_is_126(caller: &Caller) {
    fails(&caller.run(&["/etc/passwd"]), 126, "/etc/passwd: Permission denied");
    fails(&caller.run(&["/etc/passwd/x"]), 126, "/etc/passwd/x: Not a directory");
}

fn no_command_is_our_own_failure(caller: &Caller) {
    fails(&caller.run(&[]), 125, "no command");
}

fn a_masked_proc_names_the_containers_option(caller: &Caller) {
    let output =
        staged(caller, "mount --bind /dev/null /proc/meminfo", "exec /mnt/self --as-parent echo ran");
    fails(&output, 125, "a container masks /proc");
    assert!(
        output.err().contains("systempaths=unconfined") && output.err().contains("unmask=ALL"),
        "{}",
        output.err()
    );
}

fn a_missing_tun_device_is_told(caller: &Caller) {
    let output = staged(caller, "mount -t tmpfs none /dev/net", "exec /mnt/self --as-parent echo ran");
    fails(&output, 125, "there is no /dev/net/tun: `modprobe tun`");
}

fn a_forbidden_tun_device_is_told(caller: &Caller) {
    if *caller == Caller::Unprivileged {
        return; // makes no device nodes
    }
    // On a mount without devices the node may not be opened, by root neither.
    let stage = "mkdir /mnt/no; mount -t tmpfs -o nodev none /mnt/no; mknod -m 666 /mnt/no/tun c 10 200; \
        mount --bind /mnt/no/tun /dev/net/tun";
    let output = staged(caller, stage, "exec /mnt/self --as-parent echo ran");
    fails(&output, 125, "/dev/net/tun may not be opened (Permission denied): `chmod 0666 /dev/net/tun`");
}

fn no_more_user_namespaces_is_told(caller: &Caller) {
    // The limit of a user namespace of the test's own, so that nobody else meets it.
    let script = "exec unshare -Ur sh -c \
        'echo 0 >/proc/sys/user/max_user_namespaces; exec /mnt/self --as-parent echo ran'";
    let output = staged(caller, "", script);
    fails(
        &output,
        125,
        "no user namespace can be made (No space left on device): raise it with `sysctl user.max",
    );
}

fn a_hidden_working_directory_is_told(caller: &Caller) {
    let output = staged(caller, "mkdir /run/work", "cd /run/work && exec /mnt/self --as-parent echo ran");
    fails(&output, 125, "the working directory /run/work is hidden in the sandbox");
}

fn a_missing_file_to_hide_is_told(caller: &Caller) {
    let mut parent = caller.parent(&["echo", "ran"]);
    fails(&run(parent.env(spawner::HIDDEN, "/tmp/none"), b""), 125, "/tmp/none cannot be");
}

fn a_missing_resolver_file_is_told(caller: &Caller) {
    let stage = format!("{}; rm -f /etc/resolv.conf", crate::caller::OWN_ETC);
    fails(
        &staged(caller, &stage, "exec /mnt/self --as-parent echo ran"),
        125,
        "/etc/resolv.conf does not exist",
    );
}

fn a_process_with_threads_is_refused(_: &Caller) {
    let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(0);
    let thread = std::thread::spawn(move || stopped.recv());
    let spec = Spec {
        command: vec!["true".into()],
        env: Vec::new(),
        addresses: Addresses {
            mac: [2, 0, 0, 0, 0, 2],
            mtu: 1500,
            v4: Assignment { guest: [172, 16, 0, 2].into(), prefix: 30, gateway: [172, 16, 0, 1].into() },
            v6: Assignment {
                guest: "fd00::2".parse().unwrap(),
                prefix: 64,
                gateway: "fd00::1".parse().unwrap(),
            },
        },
        dns: Vec::new(),
        ca_pem: String::new(),
        bundle: String::new(),
        hidden: Vec::new(),
        private: Vec::new(),
        read_only: Vec::new(),
    };
    assert_eq!(namespace::spawn(&spec).unwrap_err(), NamespaceError::Threads);
    drop(stop);
    assert!(thread.join().unwrap().is_err());
}
