"""Secrets that are looked for afterwards, and the looking: in files, in a database, in Redis, in pages.

A canary is found in whatever dress it hides: as it is, in base64 at each of the three alignments, percent-encoded, in
hexadecimal digits.
"""

import asyncio
import base64
import contextlib
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import redis.asyncio as redis

HINT = 4  # the last characters of a key may be shown, so that people tell keys apart


class Canary:
    """One secret.

    Args:
        name: what it is, for the report.
        value: the whole secret; all but its last four characters must be found nowhere.
    """

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self.value = value
        hidden = value[:-HINT].encode()
        self.forms = {
            hidden,
            hidden.hex().encode(),
            quote(hidden, safe="").encode(),
            "".join(f"%{byte:02X}" for byte in hidden).encode(),
            *_in_base64(hidden),
        }

    def is_in(self, haystack: bytes) -> bool:
        """Whether it is there in any form."""
        return any(form in haystack for form in self.forms)


def _in_base64(secret: bytes) -> Iterator[bytes]:
    """What of the secret's base64 does not depend on its neighbours, behind 0, 1 and 2 other bytes."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + secret)
        inner = whole[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))


def hits(canaries: list[Canary], places: Iterator[tuple[str, bytes]]) -> set[tuple[str, str]]:
    """(canary, place) of everything that was found."""
    return {(canary.name, place) for place, content in places for canary in canaries if canary.is_in(content)}


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file, recordings and the database's own files included; not those whose purpose is to hold a key."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".key" and "static" not in path.relative_to(folder).parts:
            yield f"file {path.relative_to(folder)}", path.read_bytes()


def tables(path: Path) -> Iterator[tuple[str, bytes]]:
    """Every table, value by value: in the file a long one is spread over pages."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            rows = database.execute(f'SELECT * FROM "{name}"').fetchall()  # noqa: S608
            yield f"table {name}", "\n".join(str(value) for row in rows for value in row).encode()


async def keys_of_redis(url: str) -> list[tuple[str, bytes]]:
    """Every key with its value, whatever its type."""
    found = []
    async with redis.Redis.from_url(url) as client:
        async for key in client.scan_iter():
            match (await client.type(key)).decode():
                case "string":
                    value = await client.get(key)
                case "hash":
                    value = await client.hgetall(key)
                case "list":
                    value = await client.lrange(key, 0, -1)
                case "set":
                    value = await client.smembers(key)
                case "zset":
                    value = await client.zrange(key, 0, -1, withscores=True)
                case "stream":
                    value = await client.xrange(key)
                case other:
                    raise AssertionError(f"{key!r} is a {other}: read it here")
            found.append(("redis keys", key + b" " + re.sub(rb"\\x00", b"", repr(value).encode())))
    return found


@contextlib.asynccontextmanager
async def traffic_of_redis(socket: str) -> AsyncIterator[bytearray]:
    """All that any client sends to Redis while the block runs: queues and channels keep nothing."""
    heard = bytearray()
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(b"MONITOR\r\n")

    async def listen() -> None:
        while piece := await reader.read(65_536):
            heard.extend(piece)

    listening = asyncio.create_task(listen())
    try:
        yield heard
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        writer.close()
