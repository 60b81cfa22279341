"""Plays a host on which a guest sees control sockets by another way, and what each end then says to the other."""
import os
import subprocess
import sys

SELF, PYTHON = "/mnt/self", "/usr/bin/python3"
# Two mounts of one directory, of which `run` knows one.
DIRECTORY, ALIAS = sys.argv[1:]

GUEST = r"""
import os, socket, sys
real = socket.socket(socket.AF_UNIX)
real.connect(sys.argv[1] + '/real.sock')
try:
    real.sendall(b'{"version":1,"request":"env"}\n')
    print('told', real.recv(99999))
except (BrokenPipeError, ConnectionResetError):
    print('told', b'')
fake = socket.socket(socket.AF_UNIX)
fake.bind(sys.argv[1] + '/fake.sock')
fake.listen()
print('ready', flush=True)
peer, _ = fake.accept()
print('asked' if peer.recv(1) else 'connected', flush=True)
"""


def start(name, command):
    return subprocess.Popen(
        [SELF, "run", "--name", name, "--", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


real = start("real", ["sh", "-c", "echo ready; read -r line; true"])
assert real.stdout.readline() == "ready\n"
assert os.listdir(ALIAS) == ["real.sock"]
guest = start("guest", [PYTHON, "-c", GUEST, ALIAS])
seen = [guest.stdout.readline(), guest.stdout.readline()]
asked = subprocess.run([SELF, "env", "fake"], capture_output=True, text=True)
seen += [f"{asked.returncode} {asked.stdout}{asked.stderr}"]
seen += guest.stdout.readlines()
assert guest.wait() == 0
real.stdin.close()
assert real.wait() == 0
sys.stdout.write("".join(seen))
