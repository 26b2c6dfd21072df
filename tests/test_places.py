"""Places that others prepared are refused and left alone; what the server makes is for its user only."""
import functools
import os
import re
import resource
import socket
import stat
import subprocess
import time

import pytest

from conftest import Server, run_cli

SIM = ("--devices", "sim:h100", "--max-model-len", "128")


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def serve(folder):
    return run_cli("serve", "--port", "0", "--data-dir", str(folder), *SIM)


@pytest.mark.parametrize("open_mode", [0o1777, 0o777, 0o770, 0o2775])
def test_a_data_folder_that_others_may_write_to_is_refused_and_left(tmp_path, open_mode):
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(open_mode)
    ended = serve(folder)
    assert ended.returncode == 2, ended.stderr
    assert "--data-dir: others may write to the folder" in ended.stderr
    assert mode(folder) == open_mode
    assert list(folder.iterdir()) == []


def test_links_at_known_names_are_not_followed(tmp_path):
    victim = tmp_path / "victim"
    for name in ("journal.db", "journal.db.lock", "journal.db-wal", "control.events"):
        victim.write_text("kept")
        folder = tmp_path / ("data-" + name)
        folder.mkdir(mode=0o700)
        (folder / name).symlink_to(victim)
        if name == "control.events":  # The last start's log is moved away, link or not, and a new one is made.
            server = Server(*SIM, data_dir=str(folder))
            server.stop()
            server.close()
            assert not (folder / name).is_symlink()
        else:
            ended = serve(folder)
            assert ended.returncode != 0 and "is a link" in ended.stderr, ended.stderr
        assert victim.read_text() == "kept"


def test_what_the_server_makes_is_for_its_user_only(tmp_path):
    before = os.umask(0)
    try:
        server = Server(*SIM, data_dir=str(tmp_path / "deep" / "data"))
    finally:
        os.umask(before)
    try:
        server.post("/api/v1/predict", {"text": "x", "max_length": 4})
        server.post("/v1/files", files={"file": ("a.jsonl", b"{}\n")}, data={"purpose": "batch"})
        found = [os.path.join(top, name) for top, folders, files in os.walk(tmp_path / "deep") for name in folders + files]
        assert len(found) > 5
        assert {path: oct(mode(path)) for path in found if mode(path) & 0o077} == {}
        server.stop()
    finally:
        server.close()


def test_a_journal_that_lost_its_end_is_refused_unless_that_is_accepted(tmp_path):
    folder = tmp_path / "data"
    server = Server(*SIM, data_dir=str(folder))
    try:
        tasks = [server.post("/api/v1/predict", {"text": "x", "max_length": 4}).json()["task_id"] for _ in range(20)]
        server.wait_task(tasks[-1])
        server.kill()
    finally:
        server.close()
    log = folder / "journal.db-wal"
    os.truncate(log, log.stat().st_size // 2)
    left = log.read_bytes()
    for _ in range(2):
        ended = serve(folder)
        assert ended.returncode == 1, ended.stderr
        assert "events are lost" in ended.stderr and "--accept-loss" in ended.stderr
        assert log.read_bytes() == left
    for arguments in (("--accept-loss",), ()):
        server = Server(*SIM, *arguments, data_dir=str(folder))
        try:
            known = [server.get(f"/api/v1/task/{task}").status_code for task in tasks]
            assert 404 in known and 200 in known
            assert ("events are lost" in server.log()) == bool(arguments)
            server.stop()
        finally:
            server.close()


@pytest.mark.parametrize("limit", [64, 100])
def test_idle_connections_leave_descriptors_for_the_journal(limit, monkeypatch):
    def lower():
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit // 2, limit))

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", functools.partial(subprocess.Popen, preexec_fn=lower))
        server = Server(*SIM)
    idle = []
    try:
        said = re.search(r"at most (\d+) connections are served, not 4096 .*may open (\d+) files", server.log())
        assert said, server.log()
        possible = int(said[1])
        assert int(said[2]) == limit, "the soft limit is raised to the hard one"
        address = re.fullmatch(r"http://(.*):(\d+)", server.url).groups()
        answers = []
        for _ in range(limit + 20):
            idle.append(socket.create_connection(address, timeout=30))
        for one in idle[possible:]:  # They were accepted in order, so these are too many.
            answers.append(one.recv(64))
        assert answers and all(answer.startswith(b"HTTP/1.1 503") for answer in answers), answers[:3]
        # One place among the others is enough for a durable task.
        idle[0].sendall(b"POST /api/v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                        b"Content-Length: 30\r\n\r\n" + b'{"text": "x", "max_length": 4}')
        answer = idle[0].recv(65536)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        for one in idle[1:]:
            one.close()
        idle[0].sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert b" 200 " in idle[0].recv(65536).split(b"\r\n")[0]
        deadline = time.monotonic() + 30
        while server.get("/health").status_code == 503 and time.monotonic() < deadline:
            pass  # The closed connections give their places back.
        task = re.search(rb'"task_id": ?"([0-9a-f]+)"', answer)[1].decode()
        assert server.wait_task(task)["status"] == "completed"
        server.stop()
    finally:
        for one in idle:
            one.close()
        server.close()
