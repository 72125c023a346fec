"""Pictures of digits, many at a time: asyncio, httpx, one connection pool, and another try when the service is full."""

import asyncio
import os
import sys
from pathlib import Path

import httpx

URL = os.environ.get("EKIBEN_URL", "http://localhost:3000")


async def classify(client: httpx.AsyncClient, file: Path, tries: int = 5) -> str:
    """The digit in a picture file. 429 and 503 say in Retry-After when to come back."""
    for _ in range(tries):
        response = await client.post("/digits/classify", files={"image": (file.name, file.read_bytes())})
        if response.status_code not in (429, 503):
            break
        await asyncio.sleep(float(response.headers.get("retry-after", 1)))
    response.raise_for_status()
    return str(response.json()["label"])


async def main(files: list[Path]) -> None:
    limits = httpx.Limits(max_connections=8)
    async with httpx.AsyncClient(base_url=URL, limits=limits, timeout=10) as client:
        labels = await asyncio.gather(*(classify(client, file) for file in files))
    for file, label in zip(files, labels, strict=True):
        print(file.name, label)


if __name__ == "__main__":
    asyncio.run(main([Path(name) for name in sys.argv[1:]]))
