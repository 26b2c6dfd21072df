"""What is said to a server and how its answers are read: no socket, no clock, the same for both clients."""
import json
import re
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union
from urllib.parse import quote, urlencode, urlsplit

from .errors import Error, code_of_status

ANSWER_BYTES_MAX = 256 << 20
EVENT_BYTES_MAX = 64 << 20
_RETRIED_STATUSES = (429, 502, 503, 504)
_FIELD = re.compile(r"^([A-Za-z_][\w.\[\]-]*): ")


class Address(NamedTuple):
    """Where a server is. prefix: path before that of every route, without a slash at its end."""

    secure: bool
    host: str
    port: int
    prefix: str

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = "[%s]" % self.host if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else "%s:%d" % (host, self.port)


def read_address(url: str) -> Address:
    """Reads http://HOST[:PORT][/PREFIX]. Raises Error for anything else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as problem:
        raise Error("url: %r is no address: %s" % (url, problem), "invalid", "url") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise Error("url: %r should be http://HOST:PORT or https://HOST" % url, "invalid", "url")
    secure = parts.scheme == "https"
    return Address(secure, parts.hostname, port or (443 if secure else 80), parts.path.rstrip("/"))


class Call(NamedTuple):
    """One request. again: whether sending it twice does what sending it once does."""

    method: str
    path: str
    body: Optional[bytes] = None
    again: bool = False


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]  # Names are in lower case.
    body: bytes


def target(path: str, *names: str, **query: Union[str, int, float, None]) -> str:
    """Returns `path` with every {} filled by a quoted name, and the query of what is not None."""
    filled = path.format(*(quote(name, safe="") for name in names))
    given = {key: value for key, value in query.items() if value is not None}
    return filled + ("?" + urlencode(given) if given else "")


def to_json(value: Any) -> bytes:
    """Raises Error where the value has no JSON, NaN and infinity included."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    except (TypeError, ValueError) as problem:
        raise Error("the request is no JSON: %s" % problem, "invalid") from None


def error_of(answer: Answer) -> Error:
    """Returns what a refusal says: {"error": "…"} of the task API, {"error": {"message": …}} of OpenAI's routes."""
    message, field = "", None
    try:
        said = json.loads(answer.body.decode("utf-8"))["error"]
        if isinstance(said, dict):
            message, field = str(said.get("message", "")), said.get("param")
        else:
            message = str(said)
    except (ValueError, KeyError, TypeError):
        message = answer.body[:200].decode("utf-8", "replace").strip()
    if field is None and answer.status == 400:
        found = _FIELD.match(message)
        field = found.group(1) if found else None
    retry: Optional[float] = None
    try:
        retry = max(0.0, float(answer.headers["retry-after"]))
    except (KeyError, ValueError):
        pass
    return Error(message or "the server answered %d without a reason" % answer.status, code_of_status(answer.status),
                 field if isinstance(field, str) else None, answer.status, retry)


def read_json(answer: Answer) -> Any:
    """Returns the answer's JSON. Raises Error for a refusal, and for what is no JSON."""
    if not 200 <= answer.status < 300:
        raise error_of(answer)
    try:
        return json.loads(answer.body.decode("utf-8"))
    except ValueError:
        raise Error("the answer is no JSON; does the address lead to an altlas server? It begins with %r"
                    % answer.body[:80], "io", status=answer.status) from None


def read_object(answer: Answer) -> Dict[str, Any]:
    """As read_json() for an answer that must be an object."""
    value = read_json(answer)
    if not isinstance(value, dict):
        raise Error("the answer is no JSON object; does the address lead to an altlas server?", "io")
    return value


def retry_delay(error: Error, call: Call, tries: int, retries: int) -> Optional[float]:
    """Returns the seconds after which `call` is sent again, or None where it must not be.

    A call is sent again if that can't do its work twice. A refusal (429, 503) did no work, so it always may be.
    tries: how often it was sent.
    """
    if tries > retries:
        return None
    refused = error.status in (429, 503)
    if not refused and not (call.again and (error.status is None or error.status in _RETRIED_STATUSES)):
        return None
    if error.status is None and error.code not in ("unavailable", "io"):
        return None
    delay = min(0.1 * 2.0 ** (tries - 1), 5.0)
    return max(delay, min(error.retry_after_s or 0.0, 60.0))


class ServerEvent(NamedTuple):
    id: str
    data: str


class EventReader:
    """Server-sent events from pieces of any size (HTML standard, section 9.2)."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: List[str] = []
        self._id = ""

    def push(self, piece: bytes) -> Iterator[ServerEvent]:
        """Yields the events that `piece` completes. Raises Error for an event above 64 MiB."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > EVENT_BYTES_MAX:
            raise Error("an event is larger than 64 MiB", "too_large")
        for raw in lines:
            line = raw.rstrip(b"\r").decode("utf-8", "replace")
            if not line:
                if self._data:
                    yield ServerEvent(self._id, "\n".join(self._data))
                self._data = []
                continue
            name, _, value = line.partition(":")
            if value.startswith(" "):
                value = value[1:]
            if name == "data":
                self._data.append(value)
            elif name == "id" and "\0" not in value:
                self._id = value


def read_event(event: ServerEvent) -> Optional[Dict[str, Any]]:
    """Returns the object of an event, None for [DONE]. Raises Error for an event that says one."""
    if event.data == "[DONE]":
        return None
    try:
        value = json.loads(event.data)
    except ValueError:
        raise Error("an event of the stream is no JSON: %r" % event.data[:80], "io") from None
    if not isinstance(value, dict):
        raise Error("an event of the stream is no object", "io")
    if "error" in value and "task_id" not in value:
        said = value["error"]
        if isinstance(said, dict):
            raise Error(str(said.get("message", said)), str(said.get("code") or "failed"))
        raise Error(str(said), "failed")
    return value


def headers_of(address: Address, api_key: Optional[str], call: Call, accept: str,
               last_event_id: Optional[str]) -> List[Tuple[str, str]]:
    """Returns the request's headers. Raises Error for a key that no header can carry."""
    headers = [("Host", address.authority), ("Accept", accept)]
    if api_key:
        if not api_key.isascii() or not api_key.isprintable():
            raise Error("api_key: should be printable ASCII", "invalid", "api_key")
        headers.append(("Authorization", "Bearer " + api_key))
    if call.body is not None:
        headers += [("Content-Type", "application/json"), ("Content-Length", str(len(call.body)))]
    if last_event_id is not None:
        headers.append(("Last-Event-ID", last_event_id))
    return headers
