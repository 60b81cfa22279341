"""A bot that says who it is in a text message, with the package websockets."""
import asyncio, json, os, sys

import websockets


async def main():
    token = os.environ["TOKEN"]
    async with websockets.connect(f"wss://{sys.argv[1]}/bot") as socket:
        await socket.send(json.dumps({"op": 2, "token": token}))
        said = json.loads(await socket.recv())
        print(said["digest"], str(said["token"] == token).lower())
        await socket.close(1000, "bye")
        print(socket.close_code, socket.close_reason, "true")


asyncio.run(main())
