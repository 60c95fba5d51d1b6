"""A cable between a client and a server that a test may cut: what goes through it is real, and so is its end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class Cable:
    """Forwards a local port to a server until it is cut; `mend` lets new connections through again."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Ends every connection at once, without a farewell, and refuses new ones."""
        assert self._server is not None, "the cable was never laid"
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        both = {writer, far_writer}
        self._writers |= both
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        self._writers -= both


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def cable_to(dsn: str) -> AsyncIterator[tuple[Cable, str]]:
    """The cable, and the DSN that goes through it."""
    place = urlsplit(dsn)
    cable = Cable(place.hostname or "127.0.0.1", place.port or 5432)
    await cable.mend()
    credentials, _, _ = place.netloc.rpartition("@")
    try:
        yield cable, place._replace(netloc=f"{credentials}@127.0.0.1:{cable.port}").geturl()
    finally:
        await cable.cut()
