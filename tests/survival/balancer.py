"""A balancer over two instances, as small as can be: it passes bytes on, and a refused connection elsewhere."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from tests.conftest import free_port


@contextlib.contextmanager
def balancer(*ports: int) -> Iterator[str]:
    """Its address. Each connection goes to the next instance that does not refuse it, and stays there."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    here = free_port()
    turn = 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        turn += 1
        for port in (*ports[turn % len(ports) :], *ports[: turn % len(ports)]):
            with contextlib.suppress(ConnectionRefusedError):
                back_reader, back_writer = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.gather(passed(reader, back_writer), passed(back_reader, writer))
                return
        writer.close()

    async def passed(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        target.close()

    async def ended() -> None:
        server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(connected, "127.0.0.1", here), loop).result()
    try:
        yield f"http://127.0.0.1:{here}"
    finally:
        asyncio.run_coroutine_threadsafe(ended(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
