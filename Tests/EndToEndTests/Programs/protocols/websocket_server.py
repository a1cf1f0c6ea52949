"""A WebSocket server that echoes, on 9109."""
import packages  # noqa: F401, first: it says where websockets is.
import asyncio
from websockets.asyncio.server import serve


async def echo(connection):
    await connection.send("hello " + connection.request.path)
    async for message in connection:
        await connection.send(message)


async def main():
    async with serve(echo, None, 9109, max_size=1 << 24, subprotocols=["chat"]) as server:
        await server.serve_forever()

asyncio.run(main())
