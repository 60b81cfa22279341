"""What a guest tries, one line of outcome for each try. Standard library only."""

import collections
import concurrent.futures
import errno
import os
import select
import socket
import ssl
import struct
import subprocess
import threading
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


def once(host, port, data, patience=PATIENCE):
    """One connection: the first line of what came, or how it ended."""
    with socket.socket(family(host), socket.SOCK_STREAM) as stream:
        stream.settimeout(patience)
        try:
            stream.connect((host, port))
            return summary(exchange(stream, data))
        except OSError as error:
            return outcome(error)


def rebound(names, tries, denied, public, port):
    """Resolves and connects, by the name and by every address told; then to where the name may never lead."""
    counts, told, lock = collections.Counter(), set(), threading.Lock()

    def one(number):
        name = names[number % len(names)]
        try:
            addresses = {entry[4][0] for entry in socket.getaddrinfo(name, 0)}
        except OSError:
            addresses = set()
        ends = [once(address, port, b"word") for address in addresses]
        results = ["sink" if end == "sink" else "unsunk" for end in ends]
        dialled = min(addresses) if addresses and number % 2 else denied[number % len(denied)] if number % 3 else public
        words = once(dialled, 80, get(name)).split()
        results.append(words[1] if len(words) > 1 and words[1] in ("200", "403") else "-".join(words) or "closed")
        inside = denied[number // 4 % len(denied)]
        results.append("shut" if once(inside, port, b"word") in ("refused", "reset") else "inside")
        with lock:
            told.update(addresses)
            counts.update(results)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(tries)))
    counts.setdefault("inside", 0)
    say("rebound", tries, "told=" + ",".join(sorted(told)), *("%s=%d" % pair for pair in sorted(counts.items())))


def message(name, kind, edns=b"", klass=1, flags=0x100, tail=b"", counts=(1, 0, 0)):
    """A DNS message; the name is taken octet for octet, and what follows the question is as it is given."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label)
    opt = b"\0" + struct.pack("!HHIH", 41, 1232, 0, len(edns)) + edns if edns else b""
    head = struct.pack("!HHHHHH", 4711, flags, counts[0], counts[1], counts[2], 1 if edns else 0)
    return head + labels + b"\0" + struct.pack("!HH", kind, klass) + tail + opt


def option(code, data):
    return struct.pack("!HH", code, len(data)) + data


def smuggle(server, over, query):
    """Sends a message by UDP, TCP or DoT, and tells the response code."""
    framed = struct.pack("!H", len(query)) + query
    try:
        with socket.socket(family(server), socket.SOCK_DGRAM if over == "udp" else socket.SOCK_STREAM) as sock:
            sock.settimeout(PATIENCE)
            sock.connect((server, 853 if over == "dot" else 53))
            if over == "udp":
                sock.send(query)
                # To an answer nobody answers; to the question behind it somebody does.
                if query[2] & 0x80:
                    sock.send(message("api.example.com", 1))
                answer = b"\0\0" + sock.recv(65536)
            elif over == "tcp":
                sock.sendall(framed)
                answer = sock.recv(65536)
            else:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                with context.wrap_socket(sock, server_hostname="dns.google") as stream:
                    stream.sendall(framed)
                    answer = stream.recv(65536)
        result = "code %d" % (answer[5] & 15) if len(answer) > 5 else "closed"
    except OSError as error:
        result = outcome(error)
    say("smuggle", over, server, result)


def scan(host):
    """Every TCP port there is, a few hundred at once; tells where something took the connection, and its word."""
    ports, pending, taken = iter(range(1, 65536)), {}, []
    poller = select.epoll()
    port, done = next(ports), 0
    while port or pending:
        while port and len(pending) < 128:
            sock = socket.socket(family(host), socket.SOCK_STREAM)
            sock.setblocking(False)
            error = sock.connect_ex((host, port))
            if error == errno.EINPROGRESS:
                pending[sock.fileno()] = (sock, port)
                poller.register(sock, select.EPOLLOUT)
            else:
                taken.extend([port] if error == 0 else [])
                sock.close()
            port, done = next(ports, None), done + 1
        for number, _ in poller.poll(PATIENCE):
            sock, tried = pending.pop(number)
            poller.unregister(number)
            taken.extend([tried] if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 else [])
            sock.close()
    say("scan", host, done, "open", *sorted(taken))


def encoded(host):
    """One IPv4 address in each way that something might read as it."""
    octets = [int(part) for part in host.split(".")]
    a, b, c, d = octets
    number = int.from_bytes(bytes(octets), "big")
    high, low = number >> 16, number & 0xFFFF
    negative = number ^ 0xFFFFFFFF
    wide = "".join(chr(ord(digit) + 0xFEE0) if digit.isdigit() else digit for digit in host)
    return [
        host, host + ".", "%d" % number, "0x%x" % number, "0X%X" % number, "0%o" % number, "%d" % (number + (1 << 32)),
        "%d.%d" % (a, number & 0xFFFFFF), "%d.%d.%d" % (a, b, low), "0x%x.%d" % (a, number & 0xFFFFFF),
        "0%o.0%o.0%o.0%o" % (a, b, c, d), "0x%x.0x%x.0x%x.0x%x" % (a, b, c, d), "%03d.%03d.%03d.%03d" % (a, b, c, d),
        "00000%o.%d.%d.%d" % (a, b, c, d), "[::ffff:%s]" % host, "[::ffff:%x:%x]" % (high, low), "[0:0:0:0:0:FFFF:%s]" % host,
        "[::%s]" % host, "[64:ff9b::%x:%x]" % (high, low), "[64:ff9b::%s]" % host, "[64:ff9b:1::%x:%x]" % (high, low),
        "[2002:%x:%x::1]" % (high, low), "[2001:0:%x:%x::1]" % (high, low), "[2001::%x:%x]" % (negative >> 16, negative & 0xFFFF),
        "[::ffff:0:%s]" % host, "[fe80::5efe:%s]" % host, "[::ffff:%s%%25eth0]" % host, "[::ffff:%s%%eth0]" % host,
        wide, host.replace(".", "\u3002"), host.replace(".", "%2e"), host.replace(str(a), "".join("%%%x" % ord(x) for x in str(a)), 1),
        "api.example.com@" + host, "api.example.com:80@" + host, "api.example.com#@" + host, "%s#.api.example.com" % host,
        "%s\\@api.example.com" % host, "api.example.com\\@" + host, host + "%00.api.example.com", host + ":80:80",
    ]


OWN_V6 = ["[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[fd00::1]", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[fe80::1]", "[ff02::1]", "[fd00:ec2::254]", "localhost", "localhost."]


def everything(denied):
    return [spelling for host in denied for spelling in encoded(host)] + OWN_V6


def spelled(denied, through):
    """Each spelling as Host, as the target of CONNECT, and in an absolute target; tells which had a good answer."""
    good, tried = [], 0
    for spelling in everything(denied):
        name = spelling.encode()
        for request in (
            b"GET / HTTP/1.1\r\nHost: " + name + b"\r\nConnection: close\r\n\r\n",
            b"CONNECT " + name + b":80 HTTP/1.1\r\nHost: " + name + b":80\r\n\r\n",
            b"GET http://" + name + b"/ HTTP/1.1\r\nHost: " + name + b"\r\nConnection: close\r\n\r\n",
            b"GET http://" + name + b"/ HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n",
        ):
            for host in through:
                said = once(host, 80, request)
                tried += 1
                if not said.startswith("HTTP/1.1 4") and said not in ("closed", "reset", "refused"):
                    good.append((spelling, request.split()[0], said))
    say("spelled", tried, *good)


def followed(denied, start, allowed):
    """Each spelling as curl's URL and where an allowed host sends curl to; tells who else had a good answer."""
    spellings = everything(denied)
    with open("urls", "w") as urls:
        for number, spelling in enumerate(spellings):
            for url in ("http://%s/" % spelling, "http://%s:2222/" % spelling, "%s/%d?to=%s" % (start, number, ("http://%s/" % spelling).encode().hex())):
                quoted = url.replace("\\", "\\\\").replace('"', '\\"')
                urls.write('url = "%s"\noutput = "/dev/null"\n' % quoted)
    options = ["-gksSL", "--max-redirs", "3", "-m", "8", "-w", "%{http_code} %{num_redirects} %{remote_ip} %{url}\n", "-K", "urls"]
    run = subprocess.run(["curl", "--parallel", "--parallel-immediate", *options], capture_output=True, text=True)
    lines = [line.split(" ", 3) for line in run.stdout.splitlines()]
    good = [line for line in lines if line[0] not in ("000", "400", "403") and line[2] not in allowed]
    moved = sum(count == "1" for _, count, _, url in lines if url.startswith(start))
    say("followed", len(lines), "moved", moved, *good)
