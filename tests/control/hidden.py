"""Plays the host: starts sandboxes, and has the guest of the first look for control sockets. Prints what it found."""
import os
import subprocess
import sys

SELF, PYTHON = "/mnt/self", "/usr/bin/python3"
DIRECTORY = sys.argv[1]
PATHS = [f"{DIRECTORY}/{name}.sock" for name in ("one", "two")]

GUEST = r"""
import os, socket, stat, sys

def connect(address):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        try:
            socket.socket(socket.AF_UNIX, kind).connect(address)
            print('reached', address)
        except OSError:
            pass

def look():
    for path in sys.argv[1:]:
        connect(path)
        connect('\0' + path)
        connect('\0' + os.path.basename(path))
        if os.path.isdir(os.path.dirname(path)) and os.path.basename(path) in os.listdir(os.path.dirname(path)):
            print('listed', path)
    with open('/proc/net/unix') as table:
        for line in table:
            if '.sock' in line or '@' in line:
                print('table', line.split()[-1])
    for top, directories, files in os.walk('/'):
        if top == '/':
            directories[:] = [name for name in directories if name in ('home', 'mnt', 'root', 'run', 'tmp', 'var')]
        for name in files:
            try:
                if stat.S_ISSOCK(os.lstat(os.path.join(top, name)).st_mode):
                    print('found', os.path.join(top, name))
            except OSError:
                pass

look()
print('ready', flush=True)
sys.stdin.readline()
look()
print('done', flush=True)
"""


def start(name, command):
    return subprocess.Popen(
        [SELF, "run", "--name", name, "--", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def status(name):
    return subprocess.run([SELF, "status", name], stdout=subprocess.DEVNULL).returncode


if sys.argv[2:]:
    # With more than sockets in it, so that it is not taken for a directory of some program's sockets.
    os.mkdir(DIRECTORY, 0o700)
    open(f"{DIRECTORY}/notes", "w").close()
assert sys.argv[2:] or not os.path.exists(DIRECTORY), "made by this very start"
one = start("one", [PYTHON, "-c", GUEST, *PATHS])
seen = []
while not seen or seen[-1] not in ("ready\n", ""):
    seen.append(one.stdout.readline())
assert status("one") == 0
two = start("two", ["sh", "-c", "echo ready; read -r line; true"])
assert two.stdout.readline() == "ready\n" and status("two") == 0
assert os.stat(DIRECTORY).st_mode & 0o7777 == 0o700

# The same search outside finds all there is, so it can fail.
outside = subprocess.run([PYTHON, "-c", GUEST, *PATHS], input="\n", capture_output=True, text=True).stdout
for path in PATHS:
    for what in ("reached", "listed", "table", "found"):
        assert f"{what} {path}\n" in outside, outside

one.stdin.write("\n")
one.stdin.close()
seen += one.stdout.readlines()
two.stdin.close()
assert (one.wait(), two.wait()) == (0, 0)
assert os.listdir(DIRECTORY) == sys.argv[2:]
sys.stdout.write("".join(seen))
