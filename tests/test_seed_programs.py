"""Every program of the source documents runs against a real server, with nothing changed but URL, key and durations."""
import os
import subprocess
import sys

import pytest

import seeds
from conftest import Server

PROGRAMS = seeds.first_programs()
KEY = "test-key"
# The document's YAML maps to three devices; one of its programs asks for 8 GiB.
YAML = next(code for _, language, code in PROGRAMS if language == "yaml")


@pytest.fixture(scope="module")
def server():
    # Some programs leave tasks behind, which are handed over rather than waited for.
    one = Server("--devices", "cpu:3:1:9GiB", "--api-key", KEY, config=YAML + "\nserver: {graceful_shutdown_timeout_s: 1}\n")
    yield one
    one.stop()
    one.close()


def run_python(code, folder):
    env = {**os.environ, "MPLBACKEND": "Agg"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, cwd=folder, env=env)


def python_programs():
    return [pytest.param(code, id=f"{i}-{heading[:40]}") for i, (heading, language, code) in enumerate(PROGRAMS) if language == "python"]


def shell_programs():
    return [pytest.param(code, id=f"{i}-{heading[:40]}") for i, (heading, language, code) in enumerate(PROGRAMS) if language == "bash"]


@pytest.fixture(scope="module")
def task_id(server):
    answer = server.post("/api/v1/predict", {"text": "def add(a, b):", "max_length": 16}, headers={"Authorization": f"Bearer {KEY}"})
    assert answer.status_code == 200, answer.text
    return answer.json()["task_id"]


@pytest.mark.parametrize("code", python_programs())
def test_python(server, task_id, tmp_path, code):
    done = run_python(seeds.adapt(code, server, KEY, task_id), tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip(), "a program that prints nothing did not do its work"
    if "Result:" in code:
        assert "Status: completed" in done.stdout and "Execution Time:" in done.stdout


@pytest.mark.parametrize("code", shell_programs())
def test_curl(server, task_id, code):
    done = subprocess.run(["bash", "-c", seeds.adapt(code, server, KEY, task_id).replace("curl ", "curl -sS --fail ")],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.startswith("{")


def test_mapping_of_the_yaml(server):
    """The document's YAML maps three types to devices 0, 1 and 2, and makes task_specific the default."""
    for kind, device in (("image_segmentation", 0), ("text_generation", 1), ("object_detection", 2)):
        answer = server.post("/api/v1/predict", {"text": "x", "type": kind, "max_length": 1}, headers={"Authorization": f"Bearer {KEY}"})
        assert answer.json()["gpu_id"] == device, answer.text


def test_echo_client():
    server = Server("--devices", "sim:h100:1")
    try:
        lines = seeds.second_block("import requests", "print(resp.json())")
        code = "\n".join(lines).replace("http://localhost:8000", server.url)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == "{'echo': {'hello': 'world'}, 'calls': 1}"
        server.stop()
    finally:
        server.close()




def indent_load_test(lines):
    """The document has lost its indentation; this restores it, line by line."""
    out, depth = [], 0
    for line in lines:
        if line.startswith(("import ", "asyncio.run(")):
            depth = 0
        elif line.startswith("async def load_test"):
            depth = 0
        elif line.startswith("async def req"):
            depth = 1
        elif line == "}":
            depth = 1
        elif line.startswith(("start = time.perf_counter", "try:", "except ")):
            depth = 2
        elif line.startswith("async with session.post"):
            depth = 3
        elif line.startswith(("result = await", "latencies.append")):
            depth = 4
        elif line.startswith(("nonlocal errors", "errors += 1")):
            depth = 3
        elif line.startswith("async with aiohttp.ClientSession"):
            depth = 1
        elif line.startswith(("start = time.time", "tasks = []", "req_id = 0", "while time.time", "await asyncio.gather")):
            depth = 2
        elif line.startswith(("tasks.append", "req_id += 1", "await asyncio.sleep")):
            depth = 3
        elif line.startswith(('"messages"', '"max_tokens"', '"temperature"')):
            depth = 2
        else:
            depth = 1
        out.append("    " * depth + line)
    return "\n".join(out)


def test_load_client(tmp_path):
    server = Server("--devices", "cpu:2")
    try:
        lines = seeds.second_block("import asyncio, aiohttp, time, statistics", "asyncio.run(load_test(target_rps=3, duration_s=120))")
        code = indent_load_test(lines)
        code = code.replace("http://localhost:8000", server.url).replace("duration_s=120", "duration_s=5")
        code = code.replace('"max_tokens": 256', '"max_tokens": 48')  # Its patience is a minute, however slow the machine is.
        done = run_python(code, tmp_path)
        assert done.returncode == 0, done.stderr[-2000:] + code
        assert ", 0 hata" in done.stdout, done.stdout
        assert "P99:" in done.stdout
        server.stop()
    finally:
        server.close()
