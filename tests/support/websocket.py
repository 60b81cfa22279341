"""A WebSocket client in plain Python: handshake, three echoes that carry the placeholder, close."""
import base64, os, socket, ssl, struct, sys

host, token = sys.argv[1], os.environ["TOKEN"]
raw = socket.create_connection((host, 443))
sock = ssl.create_default_context().wrap_socket(raw, server_hostname=host)
key = base64.b64encode(os.urandom(16)).decode()
sock.sendall((
    f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Authorization: Bearer {token}\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
    f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode())
stream = sock.makefile("rb")
status = stream.readline().split()[1].decode()
fields = {}
while (line := stream.readline().strip()):
    name, _, value = line.decode().partition(": ")
    fields[name.lower()] = value
print(status, "extensions=" + fields.get("x-saw-extensions", "?"))


def send(opcode, payload):
    mask = os.urandom(4)
    length = len(payload)
    head = bytes([0x80 | opcode])
    if length < 126:
        head += bytes([0x80 | length])
    elif length < 65536:
        head += bytes([0x80 | 126]) + struct.pack("!H", length)
    else:
        head += bytes([0x80 | 127]) + struct.pack("!Q", length)
    masked = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    sock.sendall(head + mask + masked)


def receive():
    first, length = stream.read(2)
    if length == 126:
        (length,) = struct.unpack("!H", stream.read(2))
    elif length == 127:
        (length,) = struct.unpack("!Q", stream.read(8))
    return first & 15, stream.read(length)


for size in (5, 300, 70000):
    payload = (token.encode() * (size // len(token) + 1))[:size]
    send(2, payload)
    opcode, echo = receive()
    assert opcode == 2 and echo == payload, "the echo differs"
    print("echo", len(echo))
send(8, struct.pack("!H", 1000))
assert receive()[0] == 8
assert stream.read() == b""
print("closed")
