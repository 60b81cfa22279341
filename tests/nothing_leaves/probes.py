"""What a guest tries, one line of outcome for each try. Standard library only."""

import errno
import os
import select
import socket
import ssl
import struct
import time

PATIENCE = 8
AT_ONCE = 1


def say(*words):
    print(*words, flush=True)


def family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def outcome(error):
    if isinstance(error, (TimeoutError, socket.timeout)):
        return "timeout"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    # A shutdown may come too late for a connection that was reset.
    if isinstance(error, (ConnectionResetError, BrokenPipeError)) or error.errno == errno.ENOTCONN:
        return "reset"
    return type(error).__name__ + " " + os.strerror(error.errno or 0)


def exchange(stream, data):
    """Sends, ends its own side, reads to the end of the other."""
    stream.sendall(data)
    if not isinstance(stream, ssl.SSLSocket):
        stream.shutdown(socket.SHUT_WR)
    answer = b""
    while True:
        try:
            more = stream.recv(65536)
        except ssl.SSLError:
            more = b""
        if not more:
            return answer
        answer += more


def summary(answer):
    return answer.split(b"\r\n")[0].decode("latin-1") or "closed"


def tcp(host, port, data=b""):
    """Connects and sends; a server that closes without a word is told from one that resets."""
    with socket.socket(family(host), socket.SOCK_STREAM) as stream:
        stream.settimeout(PATIENCE)
        try:
            stream.connect((host, port))
            result = summary(exchange(stream, data))
        except OSError as error:
            result = outcome(error)
    say("tcp", host, port, result)


def udp(host, port, data=b"?" * 64):
    with socket.socket(family(host), socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        start = time.monotonic()
        try:
            sock.connect((host, port))
            sock.send(data)
            result = "answered %d" % len(sock.recv(65536))
        except OSError as error:
            result = outcome(error)
        when = "at once" if time.monotonic() - start < AT_ONCE else "late"
    say("udp", host, port, result, when)


def udp_twice(host, port):
    """Two datagrams from one port, the second after the answer to the first."""
    with socket.socket(family(host), socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect((host, port))
        said = []
        for word in (b"once", b"twice"):
            sock.send(word)
            said.append(sock.recv(65536).decode())
    say("udp", host, port, *said)


def path_mtu(host, port, size):
    """A datagram that may not be fragmented, then what the guest's kernel has learnt; the same again, in fragments."""
    v6 = ":" in host
    level, discover, mtu = (socket.IPPROTO_IPV6, 23, 24) if v6 else (socket.IPPROTO_IP, 10, 14)
    with socket.socket(family(host), socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect((host, port))
        sock.setsockopt(level, discover, 2)
        sock.send(b"?" * size)
        try:
            result = "answered %d" % len(sock.recv(65536))
        except OSError as error:
            result = outcome(error)
        learnt = sock.getsockopt(level, mtu)
        sock.setsockopt(level, discover, 1)
        sock.send(b"?" * size)
        again = len(sock.recv(65536))
    say("path_mtu", host, port, result, learnt, again)


def ping(gateway, others):
    """Echoes by unprivileged ping sockets, as ping(8) sends them, the gateway's last; tells who has answered by then."""
    socks = {}
    for host in others + [gateway]:
        v6 = ":" in host
        protocol = socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP
        socks[host] = socket.socket(family(host), socket.SOCK_DGRAM, protocol)
        socks[host].sendto(struct.pack("!BBHHH", 128 if v6 else 8, 0, 0, 0, 1) + b"echo", (host, 0))
    select.select([socks[gateway]], [], [], PATIENCE)
    say("ping", *(host for host in socks if select.select([socks[host]], [], [], 0)[0]))


TYPES = {"A": 1, "NS": 2, "CNAME": 5, "NULL": 10, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "HTTPS": 65, "ANY": 255}


def question(name, kind):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".") if label)
    return struct.pack("!HHHHHH", 4711, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", TYPES[kind], 1)


def dns(server, name, kind, over="udp"):
    """Asks and tells the response code and how many answers; the guest's own addresses are told as such."""
    query = question(name, kind)
    with socket.socket(family(server), socket.SOCK_DGRAM if over == "udp" else socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE)
        try:
            sock.connect((server, 53))
            if over == "udp":
                sock.send(query)
                answer = sock.recv(65536)
            else:
                sock.sendall(struct.pack("!H", len(query)) + query)
                answer = sock.recv(65536)[2:]
            code, count = answer[3] & 15, struct.unpack("!H", answer[6:8])[0]
            result = "%s %d" % ({0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}.get(code, code), count)
            if count and kind == "A":
                result += " " + socket.inet_ntoa(answer[-4:]).rsplit(".", 2)[0]
        except OSError as error:
            result = outcome(error)
    say("dns", over, server, kind, len(name) if len(name) > 40 else name, result)


def tls(host, port, name, request=b"", alpn=None):
    """A handshake that believes everything, then a request; tells the alert or the first line."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    with socket.socket(family(host), socket.SOCK_STREAM) as plain:
        plain.settimeout(PATIENCE)
        try:
            plain.connect((host, port))
            with context.wrap_socket(plain, server_hostname=name) as stream:
                result = summary(exchange(stream, request))
        except ssl.SSLError as error:
            result = str(error)
        except OSError as error:
            result = outcome(error)
    say("tls", host, port, name, result)


def get(host, path="/", extra=""):
    """A request, with an IPv6 address in brackets."""
    host = "[%s]" % host if host.count(":") > 1 and "[" not in host else host
    return ("GET %s HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\n\r\n" % (path, host, extra)).encode()


def address(host, version):
    kind = socket.AF_INET6 if version == 6 else socket.AF_INET
    return socket.getaddrinfo(host, 0, kind)[0][4][0]


def look_up(host):
    """What the guest's resolver makes of a name."""
    try:
        found = ",".join(sorted({entry[4][0] for entry in socket.getaddrinfo(host, 0)}))
    except OSError:
        found = "nothing"
    say("look_up", host, found)
