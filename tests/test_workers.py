"""A replica whose ranks are processes of their own: the same text as from one process, and the end of any of them, killed or
frozen, is the end of the replica within its timeout and of no task."""
import os
import pathlib
import signal

import pytest

from conftest import Server, until
from test_layouts import adapter, answers, held, one  # noqa: F401: fixtures


def config(devices, more):
    return f"engine: {{devices: '{devices}', distributed_executor_backend: mp, {more}}}\n"


def workers_of(server):
    """The processes of the default deployment, the leading one first."""
    children = {int(child) for task in pathlib.Path(f"/proc/{server.process.pid}/task").iterdir()
                for child in (task / "children").read_text().split()}
    deployments = server.get("/api/v1/deployments").json()["deployments"]
    children -= {replica["pid"] for name, one in deployments.items() if name != "default" for replica in one["replicas"]}
    (leader,) = [replica["pid"] for replica in deployments["default"]["replicas"]]
    return [leader, *sorted(children - {leader})]


@pytest.mark.parametrize("ranks, more", [(2, "tensor_parallel_size: 2"), (2, "pipeline_parallel_size: 2"),
                                         (4, "tensor_parallel_size: 2, pipeline_parallel_size: 2"),
                                         (3, "tensor_parallel_size: 3, speculative_tokens: 3, swap_bytes: 64MiB")],
                         ids=["tp2", "pp2", "tp2-pp2", "tp3-guesses"])
def test_same_text_as_one_process(one, adapter, ranks, more):  # noqa: F811
    server = Server(adapter, config=config(f"cpu:{ranks}:1", more))
    try:
        assert len(workers_of(server)) == ranks, "a process for each rank"
        assert answers(server) == answers(one)
        whole, parts = held(one)[0], held(server)
        assert len(parts) == ranks and max(parts) < 0.85 * whole, (parts, whole)
        server.stop()
    finally:
        server.close()


@pytest.fixture(scope="module")
def pair():
    server = Server(config=config("cpu:2:1", "tensor_parallel_size: 2, distributed_timeout_seconds: 2"))
    yield server
    server.stop()
    server.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
@pytest.mark.parametrize("who", [0, 1], ids=["leader", "follower"])
def test_the_end_of_one_is_the_end_of_all_and_of_no_task(pair, who, how):
    body = {"text": "def fibonacci(n):", "max_length": 60, "temperature": 0}
    want = pair.wait_task(pair.post("/api/v1/predict", body).json()["task_id"])["result"]["text"]
    workers = workers_of(pair)
    assert len(workers) == 2
    victim = workers[who]
    before = pair.log()
    tasks = [pair.post("/api/v1/predict", body).json()["task_id"] for _ in range(3)]
    until(lambda: any(pair.get(f"/api/v1/task/{task}").json()["status"] == "running" for task in tasks), 60)
    os.kill(victim, how)
    for task in tasks:
        got = pair.wait_task(task)
        assert got["status"] == "completed" and got["result"]["text"] == want
    until(lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in workers), 60)
    assert len(workers_of(pair)) == 2
    said = pair.log()[len(before):]
    assert "is gone" in said, said
    if how == signal.SIGSTOP and who == 1:
        assert "rank 1" in said and "timeout" in said and "step" in said, said
