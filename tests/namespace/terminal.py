"""Drives an interactive shell on a terminal of its own, and a sandbox in it, as a person would."""
import os
import pty
import select
import sys
import time

PATIENCE = 20
RUN = "/mnt/self --as-parent "
pid, terminal = pty.fork()
if pid == 0:
    os.environ["PS1"] = "outer> "
    os.environ["TERM"] = "dumb"
    os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
seen = b""


def expect(text):
    global seen
    deadline = time.monotonic() + PATIENCE
    while text.encode() not in seen:
        ready, _, _ = select.select([terminal], [], [], max(deadline - time.monotonic(), 0))
        try:
            read = os.read(terminal, 4096) if ready else b""
        except OSError:
            read = b""
        if not read:
            sys.exit(f"waited for {text!r}, saw {seen!r}")
        seen += read
    seen = seen.split(text.encode(), 1)[1]


def type(text):
    os.write(terminal, text.encode())


def run(line, *texts):
    """Types a line; its echo ends the old output, so what follows is the answer."""
    type(line + "\n")
    for text in texts:
        expect(text)


STOP, INTERRUPT, END = "\x1a", "\x03", "\x04"
# Forks nothing: a shell that is stopped while its child has not yet executed waits for it, deaf.
ECHO = "sh -c 'echo re\"\"ady; exec cat'"


def stop_and_go_on(prompt):
    """Stops what runs in the foreground, starts it again, and sees that it reads."""
    type(STOP)
    expect("Stopped")
    expect(prompt)
    run("fg", "exec cat'")
    run("line", "line\r", "line\r")


expect("outer> ")
# A shell in the sandbox, with job control of its own.
run(f"PS1='guest> ' {RUN} bash --norc --noprofile -i", "\r\n")
expect("guest> ")
run(ECHO, "ready\r")
stop_and_go_on("guest> ")
type(INTERRUPT)
expect("guest> ")
run("echo code=$?", "code=130\r", "guest> ")
run("tty; true & wait; echo do''ne", "/dev/pts/", "done\r", "guest> ")
# Its own `suspend` stops the whole sandbox, and the outer shell sees it.
run("suspend", "Stopped", "outer> ")
run("echo in=out''er", "in=outer\r", "outer> ")
run("fg", "guest> ")
run("echo ba''ck", "back\r", "guest> ")
run("exit 7", "outer> ")
run("echo code=$?", "code=7\r", "outer> ")
# A caller that leaves the terminal alone can read from it when a shell of the sandbox has had it.
run(f"sh -c '{RUN} bash --norc --noprofile -ic \"echo had i\"\"t\"; read answer; echo got=$answer'", "had it\r")
run("this", "got=this\r", "outer> ")
# A command without a shell of its own.
run(RUN + ECHO, "ready\r")
stop_and_go_on("outer> ")
type(INTERRUPT)
expect("outer> ")
run("echo code=$?", "code=130\r", "outer> ")
run(f"{RUN} sh -c 'kill -STOP $$; echo resu\"\"med'", "Stopped", "outer> ")
run("fg", "resumed\r", "outer> ")
# In a pipeline, and the end of its input.
run(f"{RUN} cat | tr a-z A-Z", "\r\n")
run("hello", "HELLO\r")
type(END)
expect("outer> ")
run("jobs; echo e''nd", "end\r", "outer> ")
os.close(terminal)
