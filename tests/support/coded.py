"""JSON in zstd with a placeholder inside: by httpx, whole and in pieces, and by curl over HTTP/2."""
import json
import os
import subprocess
import sys

import httpx
import zstandard

url, token = f"https://{sys.argv[1]}/coded", os.environ["TOKEN"]
plain = json.dumps({"pad": "x" * 100_000, "token": token, "pads": ["y" * 99] * 999}).encode()
coded = zstandard.ZstdCompressor(level=9).compress(plain)
fields = {"content-encoding": "zstd", "content-type": "application/json"}


def told(how, digest, answer):
    said = json.loads(answer)
    # In place of a secret that was escaped stands more than its placeholder.
    said["token"] = said["token"].rstrip("*")
    print(how, digest, said == json.loads(plain))


def pieces():
    compressor = zstandard.ZstdCompressor().compressobj()
    for start in range(0, len(plain), 7_000):
        yield compressor.compress(plain[start:start + 7_000])
        yield compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    yield compressor.flush()


for how, content in (("whole", coded), ("pieces", pieces())):
    answer = httpx.post(url, content=content, headers=fields).raise_for_status()
    told(how, answer.headers["x-digest"], answer.content)

with open("coded.zst", "wb") as file:
    file.write(coded)
lines = [word for name, value in fields.items() for word in ("-H", f"{name}: {value}")]
curl = ["curl", "-sSf", "--http2", "-w", "%{http_version} %header{x-digest}", "-o", "answer", *lines]
said = subprocess.run([*curl, "--data-binary", "@coded.zst", url], check=True, capture_output=True, text=True)
told(f"curl {said.stdout.split()[0]}", said.stdout.split()[1], open("answer", "rb").read())
