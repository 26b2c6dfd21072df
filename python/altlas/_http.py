"""HTTP for the blocking client: connections that are kept, one request on each at a time."""
import http.client
import socket
import ssl
import threading
from typing import Iterator, List, Optional, Set, Union

from . import _protocol as protocol
from .errors import Error

KEPT_MAX = 256  # Idle connections that are kept.
_Connection = Union[http.client.HTTPConnection, http.client.HTTPSConnection]


def tls_context(ca_file: Optional[str], verify: bool) -> ssl.SSLContext:
    """Raises Error for an authority file that can't be read."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as problem:
        raise Error("ca_file: %r can't be read: %s" % (ca_file, problem), "invalid", "ca_file") from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Transport:
    """Sends calls. Threads: any number; each call has a connection of its own."""

    def __init__(self, address: protocol.Address, api_key: Optional[str], timeout_s: float, ca_file: Optional[str],
                 verify: bool) -> None:
        self._address = address
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._tls = tls_context(ca_file, verify) if address.secure else None
        self._lock = threading.Lock()
        self._kept: List[_Connection] = []
        self._busy: Set[_Connection] = set()
        self._closed = False

    def send(self, call: protocol.Call, timeout_s: Optional[float] = None) -> protocol.Answer:
        """Returns the answer, a refusal too. Raises Error `unavailable` (no connection) or `io` (it broke)."""
        connection, response = self._open(call, "application/json", None, timeout_s)
        try:
            body = response.read(protocol.ANSWER_BYTES_MAX + 1)
            if len(body) > protocol.ANSWER_BYTES_MAX:
                raise Error("the answer is larger than 256 MiB", "too_large")
            answer = protocol.Answer(response.status, _lower(response), body)
            self._give_back(connection, not response.will_close and response.isclosed())
            return answer
        except (OSError, http.client.HTTPException) as problem:
            self._give_back(connection, False)
            raise self._broken(problem) from None
        except BaseException:
            self._give_back(connection, False)
            raise

    def stream(self, call: protocol.Call, last_event_id: Optional[str]) -> Iterator[protocol.ServerEvent]:
        """Yields events. Leaving the loop closes the connection. Errors: as send(), and a refusal's."""
        connection, response = self._open(call, "text/event-stream", last_event_id, None)
        whole = False
        try:
            if response.status != 200:
                raise protocol.error_of(protocol.Answer(response.status, _lower(response), response.read(1 << 20)))
            reader = protocol.EventReader()
            while True:
                piece = response.read1(65536)
                if not piece:
                    whole = not response.will_close
                    return
                for event in reader.push(piece):
                    yield event
        except (OSError, http.client.HTTPException) as problem:
            raise self._broken(problem) from None
        finally:
            self._give_back(connection, whole)

    def close(self) -> None:
        """Closes all connections; calls that are under way end with an error. From any thread."""
        with self._lock:
            self._closed = True
            open_ones = [*self._kept, *self._busy]
            self._kept = []
        for connection in open_ones:
            _cut(connection)

    def _open(self, call: protocol.Call, accept: str, last_event_id: Optional[str],
              timeout_s: Optional[float]) -> "tuple[_Connection, http.client.HTTPResponse]":
        headers = protocol.headers_of(self._address, self._api_key, call, accept, last_event_id)
        seconds = self._timeout_s if timeout_s is None else timeout_s
        while True:
            connection, kept = self._take(seconds)
            try:
                connection.putrequest(call.method, self._address.prefix + call.path, skip_host=True,
                                      skip_accept_encoding=True)
                for name, value in headers:
                    connection.putheader(name, value)
                connection.endheaders(call.body)
                response = connection.getresponse()
                # http.client takes a head that was cut for a whole one; every whole one says how its body ends.
                if response.length is None and not response.chunked:
                    raise http.client.IncompleteRead(b"")
                return connection, response
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as problem:
                self._give_back(connection, False)
                # The server closed a kept connection meanwhile; only what may be sent twice goes on a new one.
                if not kept or not call.again:
                    raise self._broken(problem) from None
            except (OSError, http.client.HTTPException, UnicodeError) as problem:
                self._give_back(connection, False)
                raise self._broken(problem) from None
            except BaseException:
                self._give_back(connection, False)
                raise

    def _take(self, timeout_s: float) -> "tuple[_Connection, bool]":
        with self._lock:
            if self._closed:
                raise Error("the client is closed", "canceled")
            while self._kept:
                connection = self._kept.pop()
                if _is_stale(connection):
                    connection.close()
                    continue
                self._busy.add(connection)
                if connection.sock is not None:
                    connection.sock.settimeout(timeout_s)
                return connection, True
        made: _Connection
        host, port = self._address.host, self._address.port
        if self._tls is not None:
            made = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=self._tls)
        else:
            made = http.client.HTTPConnection(host, port, timeout=timeout_s)
        try:
            made.connect()
            assert made.sock is not None
            made.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as problem:
            made.close()
            raise Error("no connection to %s: %s; is the server running?" % (self._address.authority, problem),
                        "unavailable") from None
        with self._lock:
            if self._closed:
                made.close()
                raise Error("the client is closed", "canceled")
            self._busy.add(made)
        return made, False

    def _give_back(self, connection: _Connection, usable: bool) -> None:
        with self._lock:
            self._busy.discard(connection)
            if usable and not self._closed and len(self._kept) < KEPT_MAX:
                self._kept.append(connection)
                return
        connection.close()

    def _broken(self, problem: BaseException) -> Error:
        if self._closed:
            return Error("the client was closed", "canceled")
        if isinstance(problem, socket.timeout):
            return Error("%s said nothing for the client's timeout_s" % self._address.authority, "deadline")
        return Error("the connection to %s broke: %s" % (self._address.authority, problem or type(problem).__name__), "io")


def _lower(response: http.client.HTTPResponse) -> "dict[str, str]":
    return {name.lower(): value for name, value in response.getheaders()}


def _is_stale(connection: _Connection) -> bool:
    """A kept connection on which something arrived was closed by the server."""
    import select
    if connection.sock is None:
        return True
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


def _cut(connection: _Connection) -> None:
    sock = connection.sock
    if sock is None:
        return
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
