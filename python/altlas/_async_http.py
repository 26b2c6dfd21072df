"""HTTP for the asyncio client: connections that are kept, one request on each at a time."""
import asyncio
from typing import AsyncIterator, Dict, List, Optional, Set, Tuple

from . import _protocol as protocol
from ._http import KEPT_MAX, tls_context
from .errors import Error

HEAD_BYTES_MAX = 64 << 10


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.kept = False

    def close(self) -> None:
        self.writer.close()


class _Head:
    """The head of an answer (RFC 9112): how its body is delimited."""

    def __init__(self, block: bytes) -> None:
        lines = block.decode("latin-1").split("\r\n")
        parts = lines[0].split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
            raise Error("the answer is no HTTP/1.1; it begins with %r" % lines[0][:80], "io")
        self.status = int(parts[1])
        self.headers: Dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if colon:
                self.headers[name.strip().lower()] = value.strip()
        self.chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        length = self.headers.get("content-length")
        if length is not None and not length.isdigit():
            raise Error("the answer's Content-Length is no number", "io")
        self.length = int(length) if length is not None and not self.chunked else None
        if self.status in (204, 304):
            self.length = 0
        self.closes = self.headers.get("connection", "").lower() == "close" or parts[0] == "HTTP/1.0" or (
            not self.chunked and self.length is None)


class AsyncTransport:
    """Sends calls on one event loop."""

    def __init__(self, address: protocol.Address, api_key: Optional[str], timeout_s: float, ca_file: Optional[str],
                 verify: bool) -> None:
        self._address = address
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._tls = tls_context(ca_file, verify) if address.secure else None
        self._kept: List[_Connection] = []
        self._busy: Set[_Connection] = set()
        self._closed = False

    async def send(self, call: protocol.Call, timeout_s: Optional[float] = None) -> protocol.Answer:
        """As Transport.send()."""
        seconds = self._timeout_s if timeout_s is None else timeout_s
        connection, head = await self._open(call, "application/json", None, seconds)
        whole = False
        try:
            body = bytearray()
            async for piece in self._body(connection, head, seconds):
                body += piece
                if len(body) > protocol.ANSWER_BYTES_MAX:
                    raise Error("the answer is larger than 256 MiB", "too_large")
            whole = not head.closes
            return protocol.Answer(head.status, head.headers, bytes(body))
        finally:
            self._give_back(connection, whole)

    async def stream(self, call: protocol.Call, last_event_id: Optional[str]) -> AsyncIterator[protocol.ServerEvent]:
        """As Transport.stream(). The caller closes the iterator (aclose) to end it early."""
        connection, head = await self._open(call, "text/event-stream", last_event_id, self._timeout_s)
        whole = False
        try:
            pieces = self._body(connection, head, self._timeout_s)
            if head.status != 200:
                body = b"".join([piece async for piece in pieces])
                raise protocol.error_of(protocol.Answer(head.status, head.headers, body))
            reader = protocol.EventReader()
            async for piece in pieces:
                for event in reader.push(piece):
                    yield event
            whole = not head.closes
        finally:
            self._give_back(connection, whole)

    async def close(self) -> None:
        """Closes all connections; calls that are under way end with an error."""
        self._closed = True
        for connection in [*self._kept, *self._busy]:
            connection.close()
        self._kept = []

    async def _open(self, call: protocol.Call, accept: str, last_event_id: Optional[str],
                    seconds: float) -> Tuple[_Connection, _Head]:
        headers = protocol.headers_of(self._address, self._api_key, call, accept, last_event_id)
        lines = ["%s %s HTTP/1.1" % (call.method, self._address.prefix + call.path)]
        lines += ["%s: %s" % header for header in headers]
        request = ("\r\n".join(lines) + "\r\n\r\n").encode("ascii") + (call.body or b"")
        while True:
            connection = await self._take(seconds)
            try:
                connection.writer.write(request)
                await asyncio.wait_for(connection.writer.drain(), seconds)
                block = await asyncio.wait_for(connection.reader.readuntil(b"\r\n\r\n"), seconds)
                return connection, _Head(block[:-4])
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.TimeoutError) as problem:
                self._give_back(connection, False)
                late = isinstance(problem, asyncio.TimeoutError)
                # The server closed a kept connection meanwhile; only what may be sent twice goes on a new one.
                if late or not connection.kept or not call.again or self._closed:
                    raise self._broken(problem) from None
            except BaseException:
                self._give_back(connection, False)
                raise

    async def _body(self, connection: _Connection, head: _Head, seconds: float) -> AsyncIterator[bytes]:
        reader = connection.reader
        try:
            if head.chunked:
                while True:
                    line = await asyncio.wait_for(reader.readuntil(b"\r\n"), seconds)
                    left = int(line.split(b";")[0].strip(), 16)
                    if left == 0:
                        while await asyncio.wait_for(reader.readuntil(b"\r\n"), seconds) != b"\r\n":
                            pass
                        return
                    while left > 0:
                        piece = await asyncio.wait_for(reader.read(min(left, 65536)), seconds)
                        if not piece:
                            raise ConnectionError("it ended within the answer")
                        left -= len(piece)
                        yield piece
                    await asyncio.wait_for(reader.readexactly(2), seconds)
            left = head.length if head.length is not None else protocol.ANSWER_BYTES_MAX + 1
            while left > 0:
                piece = await asyncio.wait_for(reader.read(min(left, 65536)), seconds)
                if not piece:
                    if head.length is None:
                        return
                    raise ConnectionError("it ended within the answer")
                left -= len(piece)
                yield piece
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError,
                asyncio.TimeoutError) as problem:
            raise self._broken(problem) from None

    async def _take(self, seconds: float) -> _Connection:
        if self._closed:
            raise Error("the client is closed", "canceled")
        while self._kept:
            connection = self._kept.pop()
            if connection.reader.at_eof() or connection.writer.is_closing():
                connection.close()
                continue
            self._busy.add(connection)
            return connection
        try:
            reader, writer = await asyncio.wait_for(
                asyncio.open_connection(self._address.host, self._address.port, ssl=self._tls, limit=HEAD_BYTES_MAX), seconds)
        except (OSError, asyncio.TimeoutError) as problem:
            raise Error("no connection to %s: %s; is the server running?"
                        % (self._address.authority, problem or "it does not answer"), "unavailable") from None
        connection = _Connection(reader, writer)
        self._busy.add(connection)
        return connection

    def _give_back(self, connection: _Connection, usable: bool) -> None:
        self._busy.discard(connection)
        if usable and not self._closed and len(self._kept) < KEPT_MAX:
            connection.kept = True
            self._kept.append(connection)
        else:
            connection.close()

    def _broken(self, problem: BaseException) -> Error:
        if self._closed:
            return Error("the client was closed", "canceled")
        if isinstance(problem, asyncio.TimeoutError):
            return Error("%s said nothing for the client's timeout_s" % self._address.authority, "deadline")
        return Error("the connection to %s broke: %s" % (self._address.authority, problem or type(problem).__name__), "io")
