"""`altlas collectives` as a user meets it: the table in one process and over processes, the NCCL_* variables, bad input, and what
the other ranks say of one that is killed or stopped."""
import json
import signal
import subprocess

import pytest

from conftest import BINARY, clean_environment, free_port, run_cli

HEADING = ["size", "count", "type", "redop", "root", "time", "algbw", "busbw", "#wrong", "time", "algbw", "busbw", "#wrong"]


def rows_of(text):
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def start_rank(rank, size, port, *arguments, env=None):
    """Starts one rank, placed as torchrun places it."""
    place = {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return subprocess.Popen([BINARY, "collectives", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=clean_environment(**place, **(env or {})))


def run_ranks(size, *arguments, env=None):
    port = free_port()
    ranks = [start_rank(rank, size, port, *arguments, env=env) for rank in range(size)]
    return [(rank.communicate(timeout=120), rank.returncode) for rank in ranks]


def test_the_table_of_the_seed():
    result = run_cli("collectives", "-b", "8", "-e", "64K", "-f", "2", "-g", "4", "-n", "3", "-w", "1")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert any(line.lstrip("#").split() == HEADING for line in lines), result.stdout
    rows = rows_of(result.stdout)
    assert [int(row[0]) for row in rows] == [8 * 2**i for i in range(14)]
    widths = {len(line) for line in lines if line and not line.startswith("#")}
    assert len(widths) == 1, "the rows line up"
    for row in rows:
        assert len(row) == len(HEADING) and row[2:5] == ["float", "sum", "-1"]
        assert int(row[0]) == 4 * int(row[1]) and row[8] == row[12] == "0" and float(row[5]) > 0
    assert "# Out of bounds values : 0 OK" in result.stdout and "# Avg bus bandwidth" in result.stdout


@pytest.mark.parametrize("op", ["all_reduce", "all_gather", "reduce_scatter", "broadcast", "alltoall", "sendrecv"])
@pytest.mark.parametrize("transport", ["threads", "shm", "tcp", "sim"])
def test_every_op_over_every_transport(op, transport):
    result = run_cli("collectives", "-b", "60", "-e", "60000", "-f", "10", "-g", "3", "-n", "2", "-w", "1", "--op", op, "-d", "bfloat16",
                     "-o", "max", "--transport", transport, "--json")
    assert result.returncode == 0, result.stderr
    table = json.loads(result.stdout)
    assert (table["op"], table["ranks"], table["wrong"], table["type"]) == (op, 3, 0, "bfloat16")
    assert [row["size"] for row in table["rows"]] == [60, 600, 6000, 60000]
    assert all(row["out_of_place"]["wrong"] == 0 and row["out_of_place"]["time_us"] > 0 for row in table["rows"])
    assert all((row["in_place"] is None) == (op == "sendrecv") for row in table["rows"])


def test_two_processes_as_torchrun_starts_them():
    (first, code), (second, other) = run_ranks(2, "-b", "8", "-e", "1M", "-f", "8", "-n", "5")
    assert code == other == 0, (first, second)
    assert "over shared memory" in first[0] and len(rows_of(first[0])) == 6 and second[0] == ""


def test_two_processes_by_flags():
    port = free_port()
    ranks = [subprocess.Popen([BINARY, "collectives", "-b", "1K", "-e", "1K", "--rank", str(rank), "--world-size", "2", "--master",
                               f"127.0.0.1:{port}", "--transport", "tcp", "--plain-tcp"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment()) for rank in range(2)]
    said = [rank.communicate(timeout=60) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
    assert "TCP in plain text" in said[0][0] and "can read and change" in said[0][1]


def test_nccl_shm_disable_takes_tcp():
    env = {"NCCL_SHM_DISABLE": "1", "NCCL_SOCKET_NTHREADS": "2", "NCCL_NSOCKS_PERTHREAD": "2", "NCCL_SOCKET_IFNAME": "lo"}
    result = run_cli("collectives", "-b", "1M", "-e", "1M", "-n", "2", env=env)
    assert result.returncode == 0, result.stderr
    assert "TCP with mutual TLS, 4 sockets on 2 threads" in result.stdout
    assert "# NCCL_SHM_DISABLE=1: no shared memory: TCP" in result.stdout
    refused = run_ranks(2, "-b", "8", "-e", "8", env=env)
    for (out, err), code in refused:
        assert code == 2 and "--plain-tcp" in err and out == ""
    for (out, err), code in run_ranks(2, "-b", "8", "-e", "8", "--plain-tcp", env=env):
        assert code == 0, err


def certificates(folder):
    """Makes an authority, and a certificate that it signed."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=authority")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "rank.key", "-out", "rank.csr", "-subj", "/CN=rank")
    openssl("x509", "-req", "-in", "rank.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "rank.pem", "-days", "2")
    return ["--tls-cert", str(folder / "rank.pem"), "--tls-key", str(folder / "rank.key"), "--tls-ca", str(folder / "ca.pem")]


def test_mutual_tls_between_processes(tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    ours, theirs = certificates(tmp_path / "a"), certificates(tmp_path / "b")
    for (out, err), code in run_ranks(2, "-b", "8", "-e", "8", "--transport", "tcp", *ours):
        assert code == 0, err
    port = free_port()
    ranks = [start_rank(rank, 2, port, "-b", "8", "-e", "8", "--transport", "tcp", "--timeout", "5", *files)
             for rank, files in enumerate((ours, theirs))]
    for rank in ranks:
        _, err = rank.communicate(timeout=60)
        assert rank.returncode == 1 and "certificate" in err, err


@pytest.mark.parametrize("arguments", [[], ["--transport", "tcp", "--plain-tcp"]], ids=["shm", "tcp"])
@pytest.mark.parametrize("sent, words", [(signal.SIGKILL, "rank 1 died"), (signal.SIGSTOP, "rank 1 did not come within the timeout")])
def test_a_rank_that_is_killed_or_stopped_is_named(arguments, sent, words):
    port = free_port()
    ranks = [start_rank(rank, 3, port, "-b", "8", "-e", "32M", "-f", "4194304", "-n", "1", "-w", "3000", "--timeout", "5", *arguments)
             for rank in range(3)]
    try:
        while ranks[0].stdout.readline().split()[:1] != ["8"]:  # After this size come the large ones, which take long.
            assert ranks[0].poll() is None, ranks[0].stderr.read()
        ranks[1].send_signal(sent)
        for rank in (ranks[0], ranks[2]):
            _, err = rank.communicate(timeout=60)
            assert rank.returncode == 1 and words in err and "all_reduce, step" in err, err
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()


@pytest.mark.parametrize("arguments, env, words", [
    (["--op", "allreduce"], {}, ["--op", "all_reduce"]),
    (["-d", "float7"], {}, ["float7", "bfloat16"]),
    (["-o", "mean"], {}, ["mean", "avg"]),
    (["-b", "9", "-e", "8"], {}, ["-b 9", "-e 8"]),
    (["-f", "0.5"], {}, ["-f", "more than 1"]),
    (["-g", "0"], {}, ["--ranks"]),
    (["-b", "many"], {}, ["many"]),
    (["--root", "2"], {}, ["--root 2", "0 to 1"]),
    (["--transport", "ib"], {}, ["--transport ib", "shm"]),
    (["--transport", "sim", "--link", "string"], {}, ["string", "nvswitch"]),
    (["--rank", "0"], {}, ["--world-size"]),
    ([], {"RANK": "2", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}, ["rank 2 of 2"]),
    ([], {"RANK": "x", "WORLD_SIZE": "2"}, ["RANK=x"]),
    ([], {"RANK": "0", "WORLD_SIZE": "2"}, ["MASTER_ADDR"]),
    ([], {"NCCL_SHM_DISABLE": "yes"}, ["NCCL_SHM_DISABLE=yes", "0 or 1"]),
    ([], {"NCCL_DEBUG": "LOUD"}, ["NCCL_DEBUG=LOUD", "INFO"]),
    ([], {"NCCL_SOCKET_NTHREADS": "99"}, ["NCCL_SOCKET_NTHREADS=99", "1 to 16"]),
    (["--transport", "tcp"], {"NCCL_SOCKET_IFNAME": "nosuch"}, ["NCCL_SOCKET_IFNAME", "nosuch", "lo"]),
])
def test_bad_input_is_one_line(arguments, env, words):
    result = run_cli("collectives", *arguments, env=env)
    assert result.returncode == 2 and result.stdout == "", (result.returncode, result.stdout)
    assert len(result.stderr.splitlines()) == 1, result.stderr
    for word in words:
        assert word in result.stderr, result.stderr
