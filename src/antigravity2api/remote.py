"""Pictures behind https URLs, fetched only where the operator switched it on.

The caller chooses the URL, so everything is guarded: https on port 443 only, one resolution, every address of the
answer must be public, the connection goes to that very address, no redirect is followed. Size and time are bounded for
each picture and for all pictures of a request. What arrives is judged by its first bytes later, like any other image.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import ssl
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httptools

from antigravity2api.errors import Fault, invalid
from antigravity2api.gemini.jsontext import dumps, loads_client

MAX_BYTES = 20 << 20
"""Most bytes of one picture."""
REQUEST_BYTES = 32 << 20
"""Most bytes of all pictures of one request."""
SECONDS = 10.0
"""How long one picture may take."""
REQUEST_SECONDS = 20.0
"""How long all pictures of one request may take together."""
_MAX_IMAGES = 16
_AT_ONCE = 4
_UNICAST = ipaddress.ip_network("2000::/3")
"""The only IPv6 space that is handed out for global unicast (IANA's registry); all else is local or special."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_SPECIAL = tuple(ipaddress.ip_network(net) for net in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "3fff::/20"))
"""Blocks of IANA's special-purpose registries that the standard library knows in part or not at all."""

Resolve = Callable[[str], Awaitable[list[str]]]
Connect = Callable[[str, str], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def _resolve(host: str) -> list[str]:
    infos = await asyncio.get_running_loop().getaddrinfo(host, 443, type=1)
    return [str(info[4][0]) for info in infos]


class _Connector:
    """Connections with one TLS context, made on first use: reading the system's roots takes tens of milliseconds."""

    def __init__(self) -> None:
        self._context: ssl.SSLContext | None = None
        self._making = asyncio.Lock()

    async def __call__(self, address: str, host: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with self._making:
            if self._context is None:
                self._context = await asyncio.to_thread(ssl.create_default_context)
        return await asyncio.open_connection(address, 443, ssl=self._context, server_hostname=host)


def is_public(address: str) -> bool:
    """Whether an address is reachable for everyone, also when it hides an IPv4 address inside an IPv6 one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip not in _UNICAST:
            return False
    return ip.is_global and not ip.is_multicast and not any(ip in net for net in _SPECIAL if net.version == ip.version)


class RemoteImages:
    """Replaces https image URLs of a chat body by data URLs. ``resolve`` and ``connect`` can be replaced in tests."""

    def __init__(
        self, *, resolve: Resolve = _resolve, connect: Connect | None = None, seconds: float = REQUEST_SECONDS
    ) -> None:
        self._resolve = resolve
        self._connect = connect or _Connector()
        self._seconds = seconds

    async def prefetch(self, body: bytes | bytearray) -> bytes | bytearray:
        """The body with its remote images inside. Raises ``Fault`` invalid_image_url naming the field."""
        if b"http" not in body:
            return body
        document = loads_client(body)
        places = list(_remote_images(document))
        if not places:
            return body
        if len(places) > _MAX_IMAGES:
            raise invalid(f"At most {_MAX_IMAGES} images by URL are fetched for one request.", "messages")
        first: dict[str, str] = {}
        for holder, key, path in places:
            first.setdefault(holder[key], path)
        images = await self._fetch_all(first)
        for holder, key, _ in places:
            holder[key] = images[holder[key]]
        return dumps(document)

    async def _fetch_all(self, urls: dict[str, str]) -> dict[str, str]:
        """Data URLs by URL, each fetched once. The first that fails ends the others. ``urls``: URL and where it is."""
        budget = _Budget()
        turns = asyncio.Semaphore(_AT_ONCE)

        async def one(url: str, path: str) -> str:
            async with turns:
                data = await self.fetch(url, path, budget)
            return "data:application/octet-stream;base64," + base64.b64encode(data).decode("ascii")

        try:
            async with asyncio.timeout(self._seconds), asyncio.TaskGroup() as group:
                tasks = {url: group.create_task(one(url, path)) for url, path in urls.items()}
        except TimeoutError:
            raise _refused(
                f"and the others did not all arrive within {self._seconds:g} s", next(iter(urls.values()))
            ) from None
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return {url: task.result() for url, task in tasks.items()}

    async def fetch(self, url: str, path: str, budget: _Budget | None = None) -> bytes:
        """The bytes behind one URL. Raises ``Fault``; what exactly failed inside our network is not told."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise _refused("is no valid URL", path) from None
        host = parts.hostname
        if parts.scheme != "https" or not host or port not in (None, 443) or parts.username is not None:
            raise _refused("must be an https URL on the default port without credentials", path)
        if not host.isascii() or not parts.path.isascii() or any(c in url for c in "\r\n\t \\"):
            raise _refused("must be plain ASCII, percent-encoded", path)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            async with asyncio.timeout(SECONDS):
                return await self._get(host, target, path, budget or _Budget())
        except TimeoutError:
            raise _refused(f"did not answer within {SECONDS:g} s", path) from None
        except (OSError, httptools.HttpParserError, UnicodeError):
            raise _refused("could not be fetched", path) from None

    async def _get(self, host: str, target: str, path: str, budget: _Budget) -> bytes:
        addresses = await self._resolve(host)
        if not addresses or not all(is_public(address) for address in addresses):
            raise _refused("does not lead to a public address", path)
        reader, writer = await self._connect(addresses[0], host)
        try:
            writer.write(
                f"GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: image/*\r\nAccept-Encoding: identity\r\n"
                "User-Agent: antigravity2api\r\nConnection: close\r\n\r\n".encode("ascii")
            )
            answer = _Answer(budget)
            parser = httptools.HttpResponseParser(answer)
            while not answer.complete:
                data = await reader.read(65536)
                if not data:
                    break
                parser.feed_data(data)
                status = parser.get_status_code()
                if answer.head_done and status != 200:
                    raise _refused(f"answered with status {status}", path)
                if answer.size > MAX_BYTES:
                    raise _refused(f"is larger than {MAX_BYTES >> 20} MB", path)
                if budget.left < 0:
                    raise _refused(f"is one of several with more than {REQUEST_BYTES >> 20} MB together", path)
            if not answer.head_done or (answer.framed and not answer.complete):
                raise _refused("was cut short", path)
            return b"".join(answer.pieces)
        finally:
            writer.close()


class _Budget:
    """Bytes that the pictures of one request may still bring."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = REQUEST_BYTES


class _Answer:
    """Collects what the parser reports."""

    def __init__(self, budget: _Budget) -> None:
        self.budget = budget
        self.pieces: list[bytes] = []
        self.size = 0
        self.head_done = False
        self.complete = False
        self.framed = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self.framed = True

    def on_headers_complete(self) -> None:
        self.head_done = True

    def on_body(self, data: bytes) -> None:
        self.pieces.append(data)
        self.size += len(data)
        self.budget.left -= len(data)

    def on_message_complete(self) -> None:
        self.complete = True


def _remote_images(document: Any) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Every place in a chat body that holds an http(s) image URL: its object, key and dotted path."""
    messages = document.get("messages")
    for i, message in enumerate(messages if isinstance(messages, list) else ()):
        content = message.get("content") if isinstance(message, dict) else None
        for j, part in enumerate(content if isinstance(content, list) else ()):
            if not isinstance(part, dict):
                continue
            path = f"messages[{i}].content[{j}].image_url"
            holder: Any = part
            key = "image_url"
            if isinstance(part.get("image_url"), dict):
                holder, key, path = part["image_url"], "url", path + ".url"
            url = holder.get(key)
            if isinstance(url, str) and url[:8].lower().startswith(("http://", "https://")):
                yield holder, key, path


def _refused(why: str, path: str) -> Fault:
    return invalid(f"The image URL {why}. Send the image as a base64 data URL instead.", path, "invalid_image_url")
