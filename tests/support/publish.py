"""A guest's servers: publish.py MODE PORT. Says "ready" when it listens, serves one connection, says how it went."""
import hashlib
import socket
import struct
import sys
import threading

BLOCK = bytes(i % 251 for i in range(251 * 256))
BLOCKS = 1045  # a little more than 64 MiB

mode, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if mode == "v6" else socket.AF_INET


def say(text):
    print(text, flush=True)


def serve_udp():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("0.0.0.0", port))
    say("ready")
    while True:
        payload, peer = server.recvfrom(65536)
        server.sendto(b"%s:%d " % (peer[0].encode(), peer[1]) + payload, peer)


if mode == "udp":
    threading.Thread(target=serve_udp, daemon=True).start()
    sys.stdin.read()
    sys.exit()

server = socket.socket(family, socket.SOCK_STREAM)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if family == socket.AF_INET6:
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
server.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
server.listen()
say("ready")
conn, peer = server.accept()


def read_all():
    digest, count = hashlib.sha256(), 0
    while octets := conn.recv(1 << 20):
        digest.update(octets)
        count += len(octets)
    return count, digest.hexdigest()


def write_all():
    for _ in range(BLOCKS):
        conn.sendall(BLOCK)
    conn.shutdown(socket.SHUT_WR)


if mode in ("last-word", "v6"):
    count, _ = read_all()
    conn.sendall(b"%d octets from %s" % (count, peer[0].encode()))
elif mode == "first-word":
    conn.sendall(b"that is all")
    conn.shutdown(socket.SHUT_WR)
    count, _ = read_all()
    say("%d octets" % count)
elif mode == "both":
    writer = threading.Thread(target=write_all)
    writer.start()
    count, digest = read_all()
    writer.join()
    expected = hashlib.sha256()
    for _ in range(BLOCKS):
        expected.update(BLOCK)
    say("equal" if digest == expected.hexdigest() else "different: %d octets" % count)
elif mode == "reset":
    conn.recv(1)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
conn.close()
