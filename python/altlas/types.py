"""What the task API answers, as plain values. `raw` is the JSON object that each was read from."""
from dataclasses import dataclass, field, fields
from typing import Any, Dict, List, Mapping, Optional, Type, TypeVar

from .errors import Error

_T = TypeVar("_T")
ENDED = ("completed", "failed", "canceled")


def read(kind: Type[_T], value: Any) -> _T:
    """Makes a `kind` of a JSON object; members that it does not name stay in `raw`. Raises Error where one is missing."""
    if not isinstance(value, dict):
        raise Error("the answer has no %s where one should be" % kind.__name__, "io")
    make: Any = kind  # Any dataclass with `raw`.
    names = [one.name for one in fields(make)]
    try:
        made: _T = make(**{**{name: value[name] for name in names if name in value}, "raw": value})
        return made
    except TypeError as problem:
        raise Error("the answer is no whole %s: %s" % (kind.__name__, problem), "io") from None


@dataclass(frozen=True)
class Placed:
    """A task that was accepted: it is durable, and `gpu_id` is the device that was chosen for it."""

    task_id: str
    gpu_id: int
    status: str
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class BatchPlaced:
    """A batch that was accepted. gpu_id: only where it was not split. task_ids: in the order of the batch."""

    status: str
    gpu_id: Optional[int] = None
    task_ids: List[str] = field(default_factory=list)
    tasks: List[Placed] = field(default_factory=list)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Result:
    """What a task gave. execution_time: seconds. embedding: only of tasks that make one."""

    text: str = ""
    execution_time: float = 0.0
    timestamp: str = ""
    tokens: int = 0
    finish_reason: str = ""
    embedding: Optional[List[float]] = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Task:
    """A task as the server knows it. status: queued, running, completed, failed or canceled."""

    task_id: str
    status: str
    gpu_id: int
    type: str
    created_at: str = ""
    started_at: str = ""
    finished_at: str = ""
    deployment: str = ""
    prompt_tokens: int = 0
    generated_tokens: int = 0
    queue_position: Optional[int] = None
    seed: Optional[int] = None
    error: Optional[str] = None
    note: Optional[str] = None
    result: Optional[Result] = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDED

    def text(self) -> str:
        """Returns the text of a completed task. Raises Error for one that failed, was canceled or goes on."""
        if self.status == "completed" and self.result is not None:
            return self.result.text
        if self.status == "canceled":
            raise Error("task %s was canceled" % self.task_id, "canceled")
        if self.status == "failed":
            raise Error(self.error or "task %s failed" % self.task_id, "failed")
        raise Error("task %s is %s: wait for it first" % (self.task_id, self.status), "conflict")


@dataclass(frozen=True)
class TaskPage:
    """Tasks, newest first. total: of all that match, not only of this page."""

    tasks: List[Task]
    total: int


@dataclass(frozen=True)
class Gpu:
    """A device. utilization: 0 to 100, measured. memory_*: bytes. temperature: °C. power: W."""

    id: int
    name: str
    kind: str = ""
    node: str = ""
    utilization: float = 0.0
    memory_used: int = 0
    memory_total: int = 0
    task_count: int = 0
    queued_count: int = 0
    temperature: float = 0.0
    power: float = 0.0
    healthy: bool = True
    deployments: List[str] = field(default_factory=list)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Deployment:
    """A deployment. replica_states: how many replicas are in which state."""

    name: str
    status: str
    message: str = ""
    model: str = ""
    replica_states: Dict[str, int] = field(default_factory=dict)
    replicas: List[Dict[str, Any]] = field(default_factory=list)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Strategies:
    """strategy: the one for tasks that name none. strategies: those that may be set."""

    strategy: str
    strategies: List[str] = field(default_factory=list)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class KeyUsage:
    """What one key used. total: tasks, tokens, device seconds and cost over all hours."""

    key: str
    total: Dict[str, Any] = field(default_factory=dict)
    hours: List[Dict[str, Any]] = field(default_factory=list)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Health:
    """status: ok, starting, draining or unavailable, as a request sent now would meet it."""

    status: str
    model: str = ""
    message: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class TextEvent:
    """A piece of a task's text. task: the whole task, in the last event of a stream only."""

    text: str
    token_ids: List[int] = field(default_factory=list)
    task: Optional[Task] = None


def read_task(value: Any) -> Task:
    """Reads a task with its result."""
    task = read(Task, value)
    if isinstance(task.result, dict):
        object.__setattr__(task, "result", read(Result, task.result))
    return task


def read_batch(value: Any) -> BatchPlaced:
    """Reads the answer to a batch, split or not; `task_ids` are told either way."""
    batch = read(BatchPlaced, value)
    tasks = [read(Placed, one) for one in batch.tasks]
    object.__setattr__(batch, "tasks", tasks)
    if tasks and not batch.task_ids:
        object.__setattr__(batch, "task_ids", [one.task_id for one in tasks])
    return batch
