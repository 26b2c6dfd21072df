"""`altlas bench engine` as a user meets it: figures, JSON, errors and exit codes."""
import json

import pytest

from conftest import run_cli

TINY = ["bench", "engine", "--random-weights", "llama-tiny", "--devices", "cpu:1:1:256MiB", "--rounds", "1", "--prefill", "20",
        "--batches", "1,2", "--tokens", "3", "--context", "40"]


def test_text():
    result = run_cli(*TINY, "--ops")
    assert result.returncode == 0, result.stderr
    for words in ("model llama-tiny q4_k random", "roofs: read ", "prefill 20", "decode 1 ", "decode 2 ", "decode 1 at 40", "gate_up",
                  "attention", "% of "):
        assert words in result.stdout, result.stdout
    assert "%" in result.stderr  # It shows progress.


def test_json():
    result = run_cli(*TINY, "--json", "--ops", "--quant", "q8_0", "--simd", "scalar")
    assert result.returncode == 0, result.stderr
    figures = json.loads(result.stdout)
    assert figures["simd"] == "scalar" and figures["threads"] == 1
    assert [work["name"] for work in figures["works"]] == ["prefill 20", "decode 1", "decode 2", "decode 1 at 40"]
    assert all(roof > 0 for roof in figures["roofs"].values())
    for work in figures["works"]:
        assert work["tokens_per_s_best"] >= work["tokens_per_s"] > 0
        assert sum(op["seconds"] for op in work["ops"].values()) > 0
        assert sum(op["weight_bytes"] for op in work["ops"].values()) > 0


@pytest.mark.parametrize("arguments, words", [
    (["--simd", "sse9"], ["sse9", "avx2"]),
    (["--random-weights", "llama-9b"], ["llama-9b", "llama-8b"]),
    (["--quant", "q4_k_m"], ["q4_k_m", "q4_k"]),
    (["--context", "5000"], ["--context", "5003", "2048"]),
    (["--prefill", "3000"], ["--prefill", "3000", "2048"]),
    (["--batches", "0"], ["batches"]),
    (["--batches", "two"], ["batches", "two"]),
    (["--tokens", "0"], ["tokens"]),
    (["--devices", "sim:h100"], ["--devices", "cpu"]),
    (["--devices", "cpu:1:1:1MiB"], ["does not fit", "weights"]),
    (["--model", "nowhere.gguf"], ["--random-weights", "--model"]),
    (["--kv-dtype", "f7"], ["f7"]),
    (["--random-weights", ""], ["random weights named ''", "llama-8b"]),
    (["--tensor-parallel-size", "2"], ["--tensor-parallel-size", "without it"]),
    (["--devices", "cpu:2"], ["one device", "cpu:1:THREADS"]),
    (["--batches", "1024", "--tokens", "1500"], ["KV cache", "1556480"]),
])
def test_refuses(arguments, words):
    rest = list(TINY)
    for flag in (one for one in arguments if one in rest):
        del rest[rest.index(flag):rest.index(flag) + 2]
    result = run_cli(*rest, *arguments)
    assert result.returncode == 2, (result.returncode, result.stderr)
    assert result.stdout == ""
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("altlas: "), result.stderr
    for word in words:
        assert word in last, last


@pytest.mark.parametrize("name", ["scalar", "avx2", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx", "amx_bf16", "neon", "neon_dotprod"])
def test_every_simd_name_runs_or_is_refused_with_those_that_do(name):
    doctor = run_cli("doctor").stdout
    here = next(line for line in doctor.splitlines() if line.startswith("simd")).removeprefix("simd").split(", ")
    names = [entry.split()[0] for entry in here]
    result = run_cli(*TINY, env={"ALTLAS_SIMD": name})
    if name in names:
        assert result.returncode == 0 and f"simd {name}," in result.stdout, result.stderr
        notices = result.stderr.count(f"SIMD target {name} leaves the promise of equal bits")
        assert notices == (1 if name in ("avx512_bf16", "amx_bf16") else 0), result.stderr
    else:
        assert result.returncode == 2 and f"cannot run {name}; it can run {', '.join(names)}" in result.stderr, result.stderr


def test_quant_is_of_random_weights():
    result = run_cli("bench", "engine", "--quant", "q8_0")
    assert result.returncode == 2 and "--random-weights" in result.stderr, result.stderr


def test_unknown_simd_in_environment():
    result = run_cli(*TINY, env={"ALTLAS_SIMD": "avx9"})
    assert result.returncode == 2 and "avx9" in result.stderr and "avx2" in result.stderr
