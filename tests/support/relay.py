"""A relay of byte streams: python relay.py LISTEN TARGET, each tcp:PORT on 127.0.0.1 or unix:PATH."""

import asyncio
import sys
from contextlib import suppress


async def copy(reader, writer):
    """Copy until the end of the stream, then close the writing side."""
    with suppress(OSError):
        while block := await reader.read(65_536):
            writer.write(block)
            await writer.drain()
    with suppress(OSError):
        writer.close()


async def main(listen, target):
    """Relay connections until the process is stopped."""

    async def connected(reader, writer):
        kind, _, place = target.partition(":")
        try:
            if kind == "tcp":
                there = await asyncio.open_connection("127.0.0.1", int(place))
            else:
                there = await asyncio.open_unix_connection(place)
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

    kind, _, place = listen.partition(":")
    if kind == "tcp":
        server = await asyncio.start_server(connected, "127.0.0.1", int(place))
    else:
        server = await asyncio.start_unix_server(connected, place)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
