"""Client: the task API of a running altlas server, blocking. AsyncClient (async_client.py) is the same for asyncio."""
import time
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, TypeVar, Union

from . import _calls, types
from . import _protocol as protocol
from ._http import Transport
from .errors import Error

T = TypeVar("T")
Options = Mapping[str, Any]


class Client:
    """Calls a server. Every method raises altlas.Error with the server's own words.

    url: such as http://127.0.0.1:8000.
    api_key: sent as `Authorization: Bearer`; None where the server asks for none.
    timeout_s: the longest silence of the server; long polls wait longer by what they ask for.
    retries: how often a call is sent again after a refusal (429, 503) or a connection that broke. Tasks carry an
        idempotency key, so that this never makes two of one.
    ca_file: PEM of the authorities to trust, in place of the system's. verify: False takes any certificate.

    Threads: any number at a time. After a fork the child needs a client of its own.
    """

    def __init__(self, url: str = "http://127.0.0.1:8000", api_key: Optional[str] = None, *, timeout_s: float = 120.0,
                 retries: int = 4, ca_file: Optional[str] = None, verify: bool = True) -> None:
        self._retries = retries
        self._timeout_s = timeout_s
        self._transport = Transport(protocol.read_address(url), api_key, timeout_s, ca_file, verify)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections; calls under way end with Error `canceled`."""
        self._transport.close()

    def _run(self, plan: "_calls.Plan[T]") -> T:
        tries = 0
        while True:
            tries += 1
            try:
                answer = self._transport.send(plan.call, self._timeout_s + plan.wait_s if plan.wait_s else None)
                return plan.reader(answer)
            except Error as error:
                delay = protocol.retry_delay(error, plan.call, tries, self._retries)
                if delay is None:
                    raise
                time.sleep(delay)

    def predict(self, text: str, *, type: Optional[str] = None, max_length: Optional[int] = None,
                temperature: Optional[float] = None, gpu_options: Optional[Options] = None,
                idempotency_key: Optional[str] = None, **options: Any) -> types.Placed:
        """Submits one task. `options` are further fields of POST /api/v1/predict (docs/api.md), such as `priority`."""
        return self._run(_calls.predict(text, {"type": type, "max_length": max_length, "temperature": temperature,
                                               "gpu_options": gpu_options, "idempotency_key": idempotency_key, **options}))

    def batch_predict(self, batch: Sequence[Union[str, Options]], *,
                      gpu_options: Optional[Options] = None) -> types.BatchPlaced:
        """Submits many tasks, all or none. An item is a text, or the body of one predict."""
        return self._run(_calls.batch_predict(batch, gpu_options))

    def task(self, task_id: str) -> types.Task:
        """Looks at a task."""
        return self._run(_calls.task(task_id))

    def wait(self, task_id: str, *, timeout_s: Optional[float] = None) -> types.Task:
        """Waits until the task is over. Raises Error `deadline` after timeout_s; the task goes on then."""
        deadline = _calls.Deadline(None if timeout_s is None else time.monotonic() + timeout_s)
        while True:
            task = self._run(_calls.task(task_id, deadline.poll_s(time.monotonic())))
            if task.ended:
                return task

    def stream(self, task_id: str) -> Iterator[types.TextEvent]:
        """Yields the task's text as it comes; the last event carries the task. Goes on by itself where the connection
        breaks, behind the last event that was read: nothing is missing and nothing comes twice."""
        call, state = _calls.stream(task_id), _calls.StreamState()
        while not state.ended:
            try:
                for event in self._transport.stream(call, state.last_event_id):
                    said = state.take(event)
                    if said is not None:
                        yield said
                if not state.ended:
                    raise Error("the stream ended before the task", "io")
            except Error as error:
                time.sleep(state.broke(error, call, self._retries))

    def cancel(self, task_id: str) -> None:
        """Cancels a task. Raises Error `conflict` where it is over."""
        self._run(_calls.cancel(task_id))

    def tasks(self, *, status: Optional[str] = None, limit: int = 100, offset: int = 0) -> types.TaskPage:
        """Lists tasks, newest first."""
        return self._run(_calls.tasks(status, limit, offset))

    def explain(self, task_id: str) -> Dict[str, Any]:
        """Says why the task's device was chosen."""
        return self._run(_calls.explain(task_id))

    def gpus(self) -> List[types.Gpu]:
        """Lists the devices."""
        return self._run(_calls.gpus())

    def gpu(self, gpu_id: int) -> types.Gpu:
        """Looks at one device."""
        return self._run(_calls.gpu(gpu_id))

    def deployments(self) -> Dict[str, types.Deployment]:
        """Returns the deployments by name."""
        return self._run(_calls.deployments())

    def strategies(self) -> types.Strategies:
        """Returns the default strategy and those that may be set."""
        return self._run(_calls.strategies())

    def set_strategy(self, strategy: str) -> None:
        """Changes the default strategy. Needs an admin key where there are keys."""
        self._run(_calls.set_strategy(strategy))

    def set_max_concurrent_tasks(self, value: int) -> None:
        """Changes how many tasks a device runs at a time. Needs an admin key where there are keys."""
        self._run(_calls.set_max_concurrent_tasks(value))

    def usage(self, *, hours: int = 24) -> List[types.KeyUsage]:
        """Returns what each key used; a user sees the own."""
        return self._run(_calls.usage(hours))

    def health(self) -> types.Health:
        """Says whether a request sent now would be served; a server that is not ready is no error."""
        return self._run(_calls.health())

    def version(self) -> str:
        """Returns the server's version."""
        return self._run(_calls.version())

    def post(self, path: str, body: Options, *, again: bool = False, wait_s: float = 0.0) -> Dict[str, Any]:
        """Sends JSON to any route and returns its JSON. again: whether it may be sent a second time."""
        return self._run(_calls.post_json(path, body, again, wait_s))

    def post_stream(self, path: str, body: Options) -> Iterator[Dict[str, Any]]:
        """As post() for an answer in events; yields their objects. Leaving the loop ends the request."""
        call = protocol.Call("POST", path, protocol.to_json(body))
        for event in self._transport.stream(call, None):
            value = protocol.read_event(event)
            if value is not None:
                yield value
