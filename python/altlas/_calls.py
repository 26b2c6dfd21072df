"""Every call of the task API: what is sent, and what is made of the answer. Both clients run these."""
import uuid
from typing import Any, Callable, Dict, Generic, List, Mapping, NamedTuple, Optional, Sequence, TypeVar, Union

from . import _protocol as protocol
from . import types
from .errors import Error

T = TypeVar("T")
Options = Mapping[str, Any]


class Plan(Generic[T]):
    """A call with the reader of its answer. wait_s: how long the server may say nothing, beside the client's timeout."""

    def __init__(self, call: protocol.Call, reader: Callable[[protocol.Answer], T], wait_s: float = 0.0) -> None:
        self.call = call
        self.reader = reader
        self.wait_s = wait_s


def _get(path: str, reader: Callable[[Dict[str, Any]], T], wait_s: float = 0.0) -> Plan[T]:
    return Plan(protocol.Call("GET", path, again=True), lambda answer: reader(protocol.read_object(answer)), wait_s)


def _post(path: str, body: Any, reader: Callable[[Dict[str, Any]], T], again: bool) -> Plan[T]:
    return Plan(protocol.Call("POST", path, protocol.to_json(body), again),
                lambda answer: reader(protocol.read_object(answer)))


def predict(text: str, options: Options) -> Plan[types.Placed]:
    """A task without a key of its own gets one, so that sending it again can't make two tasks of it."""
    body = {"text": text, **{name: value for name, value in options.items() if value is not None}}
    body.setdefault("idempotency_key", "py-" + uuid.uuid4().hex)
    return _post("/api/v1/predict", body, lambda value: types.read(types.Placed, value), again=True)


def batch_predict(batch: Sequence[Union[str, Options]], gpu_options: Optional[Options]) -> Plan[types.BatchPlaced]:
    """As predict() for each item; an item is a text or a whole body."""
    items: List[Dict[str, Any]] = []
    prefix = "py-" + uuid.uuid4().hex
    for index, item in enumerate(batch):
        body: Dict[str, Any] = {"text": item} if isinstance(item, str) else dict(item)
        body.setdefault("idempotency_key", "%s-%d" % (prefix, index))
        items.append(body)
    whole: Dict[str, Any] = {"batch": items}
    if gpu_options is not None:
        whole["gpu_options"] = dict(gpu_options)
    return _post("/api/v1/batch_predict", whole, types.read_batch, again=True)


def task(task_id: str, wait_s: Optional[float] = None) -> Plan[types.Task]:
    return _get(protocol.target("/api/v1/task/{}", task_id, wait=wait_s), types.read_task, wait_s or 0.0)


def stream(task_id: str) -> protocol.Call:
    return protocol.Call("GET", protocol.target("/api/v1/task/{}/stream", task_id), again=True)


def cancel(task_id: str) -> Plan[None]:
    call = protocol.Call("DELETE", protocol.target("/api/v1/task/{}", task_id))
    return Plan(call, lambda answer: _nothing(protocol.read_object(answer)))


def _nothing(_: object) -> None:
    return None


def tasks(status: Optional[str], limit: int, offset: int) -> Plan[types.TaskPage]:
    def reader(value: Dict[str, Any]) -> types.TaskPage:
        found = [types.read_task({"task_id": name, **one}) for name, one in value.get("tasks", {}).items()]
        return types.TaskPage(found, int(value.get("total", len(found))))
    return _get(protocol.target("/api/v1/tasks", status=status, limit=limit, offset=offset), reader)


def explain(task_id: str) -> Plan[Dict[str, Any]]:
    return _get(protocol.target("/api/v1/task/{}/explain", task_id), lambda value: value)


def gpus() -> Plan[List[types.Gpu]]:
    return _get("/api/v1/gpus", lambda value: [types.read(types.Gpu, one) for one in value.get("gpus", [])])


def gpu(gpu_id: int) -> Plan[types.Gpu]:
    return _get(protocol.target("/api/v1/gpus/{}", str(gpu_id)), lambda value: types.read(types.Gpu, value))


def deployments() -> Plan[Dict[str, types.Deployment]]:
    def reader(value: Dict[str, Any]) -> Dict[str, types.Deployment]:
        return {name: types.read(types.Deployment, {**one, "name": name}) for name, one in value["deployments"].items()}
    return _get("/api/v1/deployments", reader)


def strategies() -> Plan[types.Strategies]:
    return _get("/api/v1/config/gpu/strategy", lambda value: types.read(types.Strategies, value))


def set_strategy(strategy: str) -> Plan[None]:
    return _post("/api/v1/config/gpu/strategy", {"strategy": strategy}, _nothing, again=True)


def set_max_concurrent_tasks(value: int) -> Plan[None]:
    return _post("/api/v1/config/gpu/max_concurrent_tasks", {"value": value}, _nothing, again=True)


def usage(hours: int) -> Plan[List[types.KeyUsage]]:
    return _get(protocol.target("/api/v1/usage", hours=hours),
                lambda value: [types.read(types.KeyUsage, one) for one in value.get("keys", [])])


def health() -> Plan[types.Health]:
    def reader(answer: protocol.Answer) -> types.Health:
        if answer.status == 503:
            answer = answer._replace(status=200)
        return types.read(types.Health, protocol.read_object(answer))
    return Plan(protocol.Call("GET", "/health"), reader)


def version() -> Plan[str]:
    return _get("/version", lambda value: str(value["version"]))


def post_json(path: str, body: Options, again: bool, wait_s: float) -> Plan[Dict[str, Any]]:
    plan = _post(path, dict(body), lambda value: value, again)
    plan.wait_s = wait_s
    return plan


class StreamState:
    """What a reader of a task's stream has seen: where it goes on after its connection broke. Pure."""

    def __init__(self) -> None:
        self.last_event_id: Optional[str] = None
        self.ended = False
        self.failures = 0

    def take(self, event: protocol.ServerEvent) -> Optional[types.TextEvent]:
        """Returns what the reader is told for an event; None for nothing."""
        value = protocol.read_event(event)
        self.failures = 0
        if value is None:
            return None
        if event.id:
            self.last_event_id = event.id
        if "task_id" in value:
            self.ended = True
            return types.TextEvent("", [], types.read_task(value))
        return types.TextEvent(str(value.get("text", "")), list(value.get("tokens", [])))

    def broke(self, error: Error, call: protocol.Call, retries: int) -> float:
        """Returns the seconds after which the stream is asked for again. Raises `error` where it is not."""
        self.failures += 1
        delay = protocol.retry_delay(error, call, self.failures, retries)
        if delay is None:
            raise error
        return delay


class Deadline(NamedTuple):
    """Until when wait() waits. at: on the monotonic clock; None: for ever."""

    at: Optional[float]

    def poll_s(self, now: float) -> float:
        """Returns for how long the next long poll may wait. Raises Error `deadline` where none is left."""
        if self.at is None:
            return 60.0
        if now >= self.at:
            raise Error("the task was not over within timeout_s; it goes on", "deadline")
        return min(60.0, self.at - now)
