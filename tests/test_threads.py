"""Which thread does what: nothing that a client sends holds up the connections or the watch over the workers."""
import concurrent.futures
import json
import os
import pathlib

import requests

from conftest import Server


def cpu_ticks(pid):
    """Returns the processor time of a process' threads in clock ticks, summed by name."""
    ticks = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        name = (task / "comm").read_text().strip()
        ticks[name] = ticks.get(name, 0) + int(fields[11]) + int(fields[12])
    return ticks


def test_large_bodies_are_read_on_a_thread_of_their_own():
    """Millions of numbers are parsed and refused; the connections' threads only carry the bytes."""
    server = Server("--devices", "sim:h100:1")
    try:
        body = json.dumps({"prompt": "x", "stop": [[0] * 40] * 60_000}).encode()
        assert 6 << 20 < len(body) < 8 << 20
        before = cpu_ticks(server.process.pid)
        assert {"altlas-io", "altlas-control", "altlas-large"} <= before.keys()

        def send(_):
            headers = {"Content-Type": "application/json"}
            return requests.post(server.url + "/v1/completions", data=body, headers=headers, timeout=300).status_code
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            assert set(pool.map(send, range(24))) == {400}
        after = cpu_ticks(server.process.pid)
        spent = {name: after[name] - before.get(name, 0) for name in after}
        assert spent["altlas-large"] > os.sysconf("SC_CLK_TCK") // 5, spent
        assert spent["altlas-large"] > 2 * spent["altlas-io"], spent
        assert spent["altlas-control"] < spent["altlas-large"] / 4, spent
        assert server.post("/v1/completions", {"prompt": "x", "max_tokens": 2}).status_code == 200
    finally:
        server.stop()
        server.close()
