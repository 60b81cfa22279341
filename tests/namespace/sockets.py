"""Plays a host full of Unix sockets, and starts a sandbox that tries to reach each. Prints what it reached."""
import ctypes
import os
import socket
import subprocess
import sys

NEWUSER, NEWNET = 0x10000000, 0x40000000
KEEP = []


def listen(path, kind=socket.SOCK_STREAM):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    server = socket.socket(socket.AF_UNIX, kind)
    server.bind(path)
    if kind != socket.SOCK_DGRAM:
        server.listen()
    KEEP.append(server)


def listen_in_another_network(paths):
    """Such a socket is in no list that this process can read."""
    parent, child = socket.socketpair()
    if os.fork() == 0:
        parent.close()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(NEWNET) != 0:
            assert libc.unshare(NEWUSER | NEWNET) == 0
        for path in paths:
            listen(path)
        child.send(b"x")
        child.recv(1)  # until the other end is closed
        os._exit(0)
    child.close()
    assert parent.recv(1) == b"x"
    KEEP.append(parent)


os.makedirs("/tmp/home/.gnupg")
os.makedirs("/tmp/relative")
os.chmod("/tmp/home/.gnupg", 0o700)
os.makedirs("/tmp/agent", 0o700)
os.makedirs("/tmp/mixed")
open("/tmp/mixed/file", "w").close()
STREAMS = [
    "/tmp/.X11-unix/X0",
    "/tmp/.ICE-unix/1",
    "/tmp/agent/agent.1",
    "/tmp/mixed/app.sock",
    "/tmp/with space/a b.sock",
    "/tmp/home/tool.sock",
    "/tmp/runtime/bus",
    "/tmp/runtime/gnupg/S.gpg-agent",
]
STREAMS += sys.argv[1:]
for path in STREAMS:
    listen(path)
listen("/tmp/datagram.sock", socket.SOCK_DGRAM)
listen("/tmp/packets.sock", socket.SOCK_SEQPACKET)
os.chdir("/tmp/relative")
listen("relative.sock")
FOREIGN = ["/tmp/home/.gnupg/S.gpg-agent", "/tmp/home/.docker/run/docker.sock", "/tmp/bus,1", "/tmp/d/docker.sock"]
listen_in_another_network(FOREIGN)

GUEST = """
import os, socket, sys
for path in sys.argv[1:]:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        try:
            socket.socket(socket.AF_UNIX, kind).connect(path)
            print('reached', path)
        except OSError:
            pass
# What is no socket is still there, and a directory kept for sockets takes the guest's own.
assert os.path.exists('/tmp/mixed/file') and os.path.isdir('/tmp/home/.gnupg')
own = socket.socket(socket.AF_UNIX)
own.bind('/tmp/.X11-unix/X9'); own.listen()
socket.socket(socket.AF_UNIX).connect('/tmp/.X11-unix/X9')
print('tried', len(sys.argv) - 1)
"""
everything = STREAMS + FOREIGN + ["/tmp/datagram.sock", "/tmp/packets.sock", "/tmp/relative/relative.sock"]
environment = dict(
    os.environ,
    SSH_AUTH_SOCK="/tmp/agent/agent.1",
    DBUS_SESSION_BUS_ADDRESS="unix:path=/tmp/bus%2c1,guid=1",
    DOCKER_HOST="unix:///tmp/d/docker.sock",
    XDG_RUNTIME_DIR="/tmp/runtime",
)
command = [sys.executable, "-c", GUEST, *everything]
reachable = subprocess.run(command, env=environment, capture_output=True, text=True).stdout
assert reachable.count("reached") == len(everything), reachable  # the test can fail
os.unlink("/tmp/.X11-unix/X9")
sys.exit(subprocess.call(["/mnt/self", "--as-parent", *command], env=environment))
