"""A uvicorn like the one that BentoML starts, in the test's own event loop."""

import asyncio
import contextlib

import uvicorn

from tests.conftest import free_port


@contextlib.asynccontextmanager
async def serving(app, **options):
    config = uvicorn.Config(app, port=free_port(), log_config=None, lifespan="off", loop="none", **options)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield config.port
    finally:
        server.should_exit = True
        await task
