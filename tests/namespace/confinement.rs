//! What the command is, and what it may not do.

use std::os::unix::fs::MetadataExt;

use crate::Case;
use crate::caller::{Caller, Texts, run, with_stage};
use crate::spawner;

pub(crate) const CASES: &[Case] = &[
    ("the_command_keeps_its_user_and_groups", the_command_keeps_its_user_and_groups),
    ("the_command_has_no_capability_and_gains_none", the_command_has_no_capability_and_gains_none),
    ("no_descriptor_above_two_is_inherited", no_descriptor_above_two_is_inherited),
    ("signals_start_as_a_program_expects_them", signals_start_as_a_program_expects_them),
    ("the_hosts_processes_are_out_of_sight", the_hosts_processes_are_out_of_sight),
    ("the_first_process_shows_nothing_of_the_parents_memory", the_first_process_shows_nothing),
    ("a_secret_of_the_parents_environment_is_nowhere", a_secret_of_the_parents_environment_is_nowhere),
    ("typing_into_a_terminal_is_refused", typing_into_a_terminal_is_refused),
    ("only_socket_families_of_the_namespace_are_there", only_socket_families_of_the_namespace_are_there),
    ("io_uring_and_x32_are_not_there", io_uring_and_x32_are_not_there),
    ("the_callers_process_group_cannot_be_killed", the_callers_process_group_cannot_be_killed),
    ("the_keyrings_are_out_of_reach", the_keyrings_are_out_of_reach),
    ("mounts_are_locked_also_against_a_nested_user_namespace", mounts_are_locked),
    ("settings_of_the_kernel_cannot_be_written", settings_of_the_kernel_cannot_be_written),
    ("a_plain_user_may_nest_a_sandbox_with_its_own_proc", a_plain_user_may_nest_a_sandbox),
    ("the_parent_is_not_dumpable", the_parent_is_not_dumpable),
];

fn the_command_keeps_its_user_and_groups(caller: &Caller) {
    let outside = run(&mut caller.staged(&["id"]), b"").succeeded();
    assert_eq!(caller.sh("id"), outside);
}

fn the_command_has_no_capability_and_gains_none(caller: &Caller) {
    let status = caller.sh("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(status.contains(&format!("{set}:\t0000000000000000\n")), "{status}");
    }
    assert!(status.contains("NoNewPrivs:\t1\n") && status.contains("Seccomp:\t2\n"), "{status}");
}

fn no_descriptor_above_two_is_inherited(caller: &Caller) {
    let program = "import os; print(sorted(os.listdir('/proc/self/fd')))";
    let script =
        format!("exec 9</etc/passwd 200</etc/passwd; exec /mnt/self --as-parent python3 -c \"{program}\"");
    let output = run(&mut caller.staged(&["bash", "-c", &script]), b"");
    // Descriptor 3 is the listing's own.
    assert_eq!(output.succeeded(), "['0', '1', '2', '3']\n");
}

fn signals_start_as_a_program_expects_them(caller: &Caller) {
    let outside = |script: &str| run(&mut caller.staged(&["sh", "-c", script]), b"").succeeded();
    assert_eq!(caller.sh("exec grep ^SigBlk /proc/self/status"), "SigBlk:\t0000000000000000\n");
    // What the caller ignores the command ignores, as under nohup; SIGPIPE, which Rust ignores, it does not.
    for caller_ignores in ["", "trap '' HUP;"] {
        let before = outside(&format!("{caller_ignores} exec grep ^SigIgn /proc/self/status"));
        let inside =
            outside(&format!("{caller_ignores} exec /mnt/self --as-parent grep ^SigIgn /proc/self/status"));
        assert_eq!(inside, before);
    }
}

fn the_hosts_processes_are_out_of_sight(caller: &Caller) {
    assert_eq!(
        caller.sh(
            "exec python3 -c 'import os; print(sorted(p for p in os.listdir(\"/proc\") if p.isdigit()))'"
        ),
        "['1', '2']\n"
    );
}

fn the_first_process_shows_nothing(caller: &Caller) {
    let script = "for f in environ maps mem auxv syscall; do cat /proc/1/$f && echo read $f; done; \
        for l in cwd root exe ns/mnt ns/user; do readlink /proc/1/$l && echo read $l; done; \
        for l in /proc/1/fd/*; do readlink $l && echo read $l; done; \
        tr -d '\\0' </proc/1/cmdline; true";
    assert_eq!(caller.sh(&format!("{{ {script}; }} 2>/dev/null")), "");
}

fn a_secret_of_the_parents_environment_is_nowhere(caller: &Caller) {
    let canary = format!("canary-{}", std::process::id());
    let mut parent =
        caller.parent(&["sh", "-c", "env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null; true"]);
    let output = run(parent.env(spawner::CANARY, &canary).env("COPY", &canary), b"").succeeded();
    assert!(!output.contains(&canary), "{output}");
    assert!(output.contains(&format!("COPY={}", spawner::PLACEHOLDER)), "{output}");
}

fn typing_into_a_terminal_is_refused(caller: &Caller) {
    let program = "import ctypes, os, pty\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        master, slave = pty.openpty()\n\
        for request in (0x5412, 0x541c, 0x5412 | 1 << 32, 0x541c | 7 << 40):\n\
        \x20   print(libc.ioctl(slave, ctypes.c_ulong(request), b'x'), ctypes.get_errno())\n\
        os.write(master, b'y\\n'); print(os.read(slave, 9))\n";
    assert_eq!(caller.python(program), "-1 1\n-1 1\n-1 1\n-1 1\nb'y\\n'\n");
}

fn only_socket_families_of_the_namespace_are_there(caller: &Caller) {
    let program = "import ctypes, socket\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        pair = (ctypes.c_int * 2)()\n\
        for family in range(64):\n\
        \x20   ctypes.set_errno(0)\n\
        \x20   kind = 3 if family == 16 else 1\n\
        \x20   if libc.socket(family, kind, 0) >= 0: print(family)\n\
        \x20   elif ctypes.get_errno() != 97: print(family, 'errno', ctypes.get_errno())\n\
        print('pair', libc.socketpair(1, 1, 0, pair), libc.socketpair(30, 1, 0, pair), ctypes.get_errno())\n\
        print('high', libc.syscall(41, ctypes.c_long(40 | 1 << 32), 1, 0), ctypes.get_errno())\n";
    let program =
        if cfg!(target_arch = "x86_64") { program } else { &program.replace("syscall(41", "syscall(198") };
    let (unix, inet, inet6, netlink) = (1, 2, 10, 16);
    let expected = format!("{unix}\n{inet}\n{inet6}\n{netlink}\npair 0 -1 97\nhigh -1 97\n");
    assert_eq!(caller.python(program), expected);
}

fn io_uring_and_x32_are_not_there(caller: &Caller) {
    let program = "import ctypes\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        for number in NUMBERS:\n\
        \x20   print(libc.syscall(ctypes.c_long(number), 8, ctypes.create_string_buffer(120)), ctypes.get_errno())\n";
    let x32 = if cfg!(target_arch = "x86_64") { ", 0x40000000 + 39, 0x40000000 + 514" } else { "" };
    let numbers = format!("(425, 426, 427{x32})");
    let printed = caller.python(&program.replace("NUMBERS", &numbers));
    assert!(printed.lines().count() >= 3 && printed.lines().all(|line| line == "-1 38"), "{printed}");
}

fn the_callers_process_group_cannot_be_killed(caller: &Caller) {
    let program = "import os, signal\n\
        for number in (9, 6, 11, 14, 33, 64):\n\
        \x20   try: os.kill(0, number); print('killed', number)\n\
        \x20   except PermissionError: print('refused')\n\
        os.kill(0, 0)\n\
        for number in (10, 12): signal.signal(number, signal.SIG_IGN); os.kill(0, number)\n";
    assert_eq!(caller.python(program), "refused\n".repeat(6));
}

fn the_keyrings_are_out_of_reach(caller: &Caller) {
    let keyctl = if cfg!(target_arch = "x86_64") { 250 } else { 219 };
    // Joins a session keyring of its own, says which, and becomes the parent of a sandbox that cannot ask for any.
    let inside = format!("import ctypes; print(ctypes.CDLL(None).syscall({keyctl}, 0, -3, 0))");
    let outside = format!(
        "import ctypes, os\n\
        print(ctypes.CDLL(None).syscall({keyctl}, 1, None), flush=True)\n\
        os.execv('/mnt/self', ['self', '--as-parent', 'python3', '-c', '''{inside}'''])\n"
    );
    let printed = run(&mut caller.staged(&["python3", "-c", &outside]), b"").succeeded();
    let keyrings: Vec<i64> = printed.lines().map(|line| line.parse().unwrap()).collect();
    let [outside, inside] = keyrings.as_slice() else { panic!("{printed}") };
    assert!(*outside > 0 && *inside == -1, "{printed}");
}

fn mounts_are_locked(caller: &Caller) {
    let mut parent = caller.parent(&["python3", "-c", include_str!("locked.py")]);
    with_stage(&mut parent, "touch /tmp/covered; chmod 666 /tmp/covered");
    let output =
        run(parent.env(spawner::HIDDEN, "/tmp/covered").env("COVERED", "/tmp/covered"), b"").succeeded();
    let done: Vec<_> = output.lines().filter(|line| line.ends_with(" done")).collect();
    // Only its own namespaces, and a copy that has every cover in it.
    assert_eq!(done, ["unshare done", "copy done"], "{output}");
}

fn settings_of_the_kernel_cannot_be_written(caller: &Caller) {
    let targets = "/proc/sys/kernel/hostname /proc/sys/kernel/core_pattern /proc/sys/net/ipv4/ip_forward \
        /proc/sysrq-trigger /proc/irq/default_smp_affinity /sys/kernel/mm/transparent_hugepage/enabled";
    let script = format!("for f in {targets}; do test -e $f && (: >>$f) 2>/dev/null && echo $f; done; true");
    assert_eq!(caller.sh(&script), "");
    assert_eq!(caller.sh("find /sys/fs/cgroup -maxdepth 3 -writable ! -type l 2>/dev/null | head -3"), "");
}

fn a_plain_user_may_nest_a_sandbox(caller: &Caller) {
    if caller.is_root() {
        return; // the kernel maps no root for a process without CAP_SETFCAP
    }
    let nested =
        caller.sh("unshare -Urnmpf --mount-proc sh -c 'ls /proc | grep -c \"^[0-9]\"; ip -o link | wc -l'");
    assert_eq!(nested.lines().last(), Some("1"), "{nested}");
}

fn the_parent_is_not_dumpable(caller: &Caller) {
    let mut parent = caller.parent(&["cat"]).spawn().unwrap();
    let pid = parent.id();
    let mut input = parent.stdin.take().unwrap();
    let mut output = parent.stdout.take().unwrap();
    std::io::Write::write_all(&mut input, b"x").unwrap();
    std::io::Read::read_exact(&mut output, &mut [0]).unwrap();
    // The kernel gives the files of a process that is not dumpable to root.
    let owner = std::fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid();
    drop(input);
    assert!(parent.wait().unwrap().success());
    if *caller == Caller::Plain {
        assert_eq!(owner, 0);
    }
}
