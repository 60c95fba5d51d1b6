"""Serves an ASGI application over real HTTP on a free port, as our processes do, for as long as a test needs it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import uvicorn

from services.kit.process import http_config


class _Server(uvicorn.Server):
    """Ends as soon as it is told to. The original looks whether it was told every tenth of a second, and then waits
    another tenth: over a thousand tests that is minutes."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.told = asyncio.Event()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.told.wait()

    async def shutdown(self, sockets: Any = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 (uvicorn tells nobody)
                    await asyncio.sleep(0.002)
        except TimeoutError:
            for task in self.server_state.tasks:
                task.cancel()


@contextlib.asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The base URL of the running server."""
    server = _Server(http_config(app))
    running = asyncio.create_task(server.serve())
    while not server.started:
        if running.done():
            await running
        await asyncio.sleep(0.001)
    host, port = server.servers[0].sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.told.set()
        await running
