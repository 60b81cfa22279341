//! How a sandbox ends, and what passes between the command and its caller meanwhile.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::Case;
use crate::caller::{Caller, Texts, run};

pub(crate) const CASES: &[Case] = &[
    ("the_commands_code_is_ours", the_commands_code_is_ours),
    ("a_signals_code_is_the_shells", a_signals_code_is_the_shells),
    ("input_and_output_pass", input_and_output_pass),
    ("the_commands_path_is_searched", the_commands_path_is_searched),
    ("a_script_without_an_interpreter_line_runs", a_script_without_an_interpreter_line_runs),
    ("the_working_directory_is_kept", the_working_directory_is_kept),
    ("what_the_command_leaves_behind_dies_with_it", what_the_command_leaves_behind_dies_with_it),
    ("orphans_are_buried", orphans_are_buried),
    ("signals_to_the_parent_reach_the_command", signals_to_the_parent_reach_the_command),
    ("killing_the_parent_leaves_nothing", killing_the_parent_leaves_nothing),
    ("killing_the_first_process_is_told", killing_the_first_process_is_told),
    ("a_terminals_job_control_works", a_terminals_job_control_works),
];

fn the_commands_code_is_ours(caller: &Caller) {
    for code in [0, 1, 3, 125, 255] {
        assert_eq!(caller.run(&["sh", "-c", &format!("exit {code}")]).status.code(), Some(code));
    }
}

fn a_signals_code_is_the_shells(caller: &Caller) {
    for (name, number) in [("KILL", 9), ("TERM", 15), ("USR1", 10), ("SEGV", 11), ("PIPE", 13)] {
        let output = caller.run(&["sh", "-c", &format!("kill -{name} $$")]);
        assert_eq!(output.status.code(), Some(128 + number), "{name}: {}", output.err());
    }
}

fn input_and_output_pass(caller: &Caller) {
    let input: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let output = run(&mut caller.parent(&["sh", "-c", "cat; echo end >&2"]), &input);
    assert!(output.stdout == input, "{} octets of {}", output.stdout.len(), input.len());
    assert_eq!(output.err(), "end\n");
}

fn the_commands_path_is_searched(caller: &Caller) {
    let script = "mkdir /tmp/bin; printf '#!/bin/sh\\necho found $1\\n' >/tmp/bin/tool; chmod 755 /tmp/bin/tool; \
        PATH=$PATH:/tmp/bin exec /mnt/self --as-parent tool it";
    assert_eq!(run(&mut caller.staged(&["sh", "-c", script]), b"").succeeded(), "found it\n");
}

fn a_script_without_an_interpreter_line_runs(caller: &Caller) {
    let script =
        "echo 'echo plain' >/tmp/script; chmod 755 /tmp/script; exec /mnt/self --as-parent /tmp/script";
    assert_eq!(run(&mut caller.staged(&["sh", "-c", script]), b"").succeeded(), "plain\n");
}

fn the_working_directory_is_kept(caller: &Caller) {
    let script = "mkdir '/tmp/a b'; cd '/tmp/a b'; exec /mnt/self --as-parent pwd";
    assert_eq!(run(&mut caller.staged(&["sh", "-c", script]), b"").succeeded(), "/tmp/a b\n");
}

fn what_the_command_leaves_behind_dies_with_it(caller: &Caller) {
    // The sleeper holds the pipe, so reading to its end waits for the sleeper's.
    let output = caller.run(&["sh", "-c", "trap '' TERM HUP; setsid sleep 1000 & echo started"]);
    assert_eq!(output.succeeded(), "started\n");
}

fn orphans_are_buried(caller: &Caller) {
    let program = "import os, time\n\
        reader, writer = os.pipe()\n\
        if os.fork() == 0:\n\
        \x20   pid = os.fork()\n\
        \x20   if pid: os.write(writer, str(pid).encode())\n\
        \x20   os._exit(0)\n\
        os.wait()\n\
        orphan = '/proc/' + os.read(reader, 9).decode()\n\
        deadline = time.monotonic() + 20\n\
        while os.path.exists(orphan) and time.monotonic() < deadline: os.sched_yield()\n\
        print(os.path.exists(orphan))\n";
    assert_eq!(caller.python(program), "False\n");
}

fn signals_to_the_parent_reach_the_command(caller: &Caller) {
    for (name, signal) in [
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("QUIT", Signal::QUIT),
        ("TERM", Signal::TERM),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
    ] {
        let script =
            format!("trap 'echo got {name}; exit 9' {name}; echo ready; while :; do read line; done");
        let (mut parent, mut output) = start(caller, &["sh", "-c", &script]);
        rustix::process::kill_process(pid_of(&parent), signal).unwrap();
        let mut rest = String::new();
        // dash comes back from `read` only when it is over; closing the input ends each.
        drop(parent.stdin.take());
        output.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, format!("got {name}\n"));
        assert_eq!(parent.wait().unwrap().code(), Some(9));
    }
}

fn killing_the_parent_leaves_nothing(caller: &Caller) {
    let (mut parent, mut output) = start(caller, &["sh", "-c", "setsid sleep 1000 & echo ready; sleep 1000"]);
    let init = only_child(&parent);
    let watched = rustix::process::pidfd_open(init, rustix::process::PidfdFlags::empty()).unwrap();
    rustix::process::kill_process(pid_of(&parent), Signal::KILL).unwrap();
    parent.wait().unwrap();
    wait_for_end(&watched);
    // Both sleepers hold the pipe; its end is theirs.
    assert_eq!(output.read(&mut [0]).unwrap(), 0);
}

fn killing_the_first_process_is_told(caller: &Caller) {
    let (mut parent, mut output) = start(caller, &["sh", "-c", "echo ready; sleep 1000"]);
    rustix::process::kill_process(only_child(&parent), Signal::KILL).unwrap();
    assert_eq!(output.read(&mut [0]).unwrap(), 0);
    let mut error = String::new();
    parent.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert!(error.starts_with("portcullis: the sandbox's first process was killed"), "{error}");
    assert_eq!(parent.wait().unwrap().code(), Some(125));
}

fn a_terminals_job_control_works(caller: &Caller) {
    let output = run(&mut caller.staged(&["python3", "-c", include_str!("terminal.py")]), b"");
    assert!(output.status.success(), "{}{}", output.out(), output.err());
}

/// Starts a command and waits until it says `ready`.
fn start(caller: &Caller, command: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut parent = caller.parent(command).spawn().unwrap();
    let mut output = BufReader::new(parent.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (parent, output)
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

fn only_child(parent: &Child) -> Pid {
    let pid = parent.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    Pid::from_raw(children.trim().parse().unwrap()).unwrap()
}

fn wait_for_end(process: &rustix::fd::OwnedFd) {
    let deadline = Duration::from_secs(20).try_into().unwrap();
    let mut poll = [rustix::event::PollFd::new(process, rustix::event::PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut poll, Some(&deadline)).unwrap(), 1, "it still runs");
}
