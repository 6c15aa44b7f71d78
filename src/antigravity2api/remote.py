"""Pictures behind https URLs, fetched only where the operator switched it on.

The caller chooses the URL, so everything is guarded: https on port 443 only, one resolution, every address of the
answer must be public, the connection goes to that very address, no redirect is followed, size and time are bounded.
What arrives is judged by its first bytes later, like any other image.
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
import orjson

from antigravity2api.errors import Fault, invalid
from antigravity2api.gemini.jsontext import loads_client

MAX_BYTES = 20 << 20
SECONDS = 10.0
_MAX_IMAGES = 16
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Resolve = Callable[[str], Awaitable[list[str]]]
Connect = Callable[[str, str], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def _resolve(host: str) -> list[str]:
    infos = await asyncio.get_running_loop().getaddrinfo(host, 443, type=1)
    return [str(info[4][0]) for info in infos]


async def _connect(address: str, host: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(address, 443, ssl=ssl.create_default_context(), server_hostname=host)


def is_public(address: str) -> bool:
    """Whether an address is reachable for everyone, also when it hides an IPv4 address inside an IPv6 one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


class RemoteImages:
    """Replaces https image URLs of a chat body by data URLs. ``resolve`` and ``connect`` can be replaced in tests."""

    def __init__(self, *, resolve: Resolve = _resolve, connect: Connect = _connect) -> None:
        self._resolve = resolve
        self._connect = connect

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
        for holder, key, path in places:
            data = await self.fetch(holder[key], path)
            holder[key] = "data:application/octet-stream;base64," + base64.b64encode(data).decode("ascii")
        return orjson.dumps(document)

    async def fetch(self, url: str, path: str) -> bytes:
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
                return await self._get(host, target, path)
        except TimeoutError:
            raise _refused(f"did not answer within {SECONDS:g} s", path) from None
        except (OSError, httptools.HttpParserError, UnicodeError):
            raise _refused("could not be fetched", path) from None

    async def _get(self, host: str, target: str, path: str) -> bytes:
        addresses = await self._resolve(host)
        if not addresses or not all(is_public(address) for address in addresses):
            raise _refused("does not lead to a public address", path)
        reader, writer = await self._connect(addresses[0], host)
        try:
            writer.write(
                f"GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: image/*\r\nAccept-Encoding: identity\r\n"
                "User-Agent: antigravity2api\r\nConnection: close\r\n\r\n".encode("ascii")
            )
            answer = _Answer()
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
            if not answer.head_done or (answer.framed and not answer.complete):
                raise _refused("was cut short", path)
            return b"".join(answer.pieces)
        finally:
            writer.close()


class _Answer:
    """Collects what the parser reports."""

    def __init__(self) -> None:
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
