"""The command line program as a user meets it: output, errors, exit codes."""
import json
import math
import os
import pathlib
import platform
import signal
import subprocess

import pytest
import requests

from conftest import BINARY, run_cli

MODEL = os.environ.get("ALTLAS_TEST_MODEL", "qwen2.5-coder-0.5b-instruct")


def model_is_here():
    if os.path.exists(MODEL):
        return True
    lines = run_cli("models").stdout.splitlines()
    return any(line.split()[0] == MODEL and " yes " in line for line in lines[1:])


@pytest.fixture(scope="module")
def model():
    if not model_is_here():
        pytest.skip(f"model {MODEL} is not here: altlas pull {MODEL}, or set ALTLAS_TEST_MODEL to a file")
    return MODEL


def refused(result, *words, code=2):
    """Expects one clear line on standard error, nothing on standard output, and the exit code."""
    assert result.returncode == code, (result.returncode, result.stderr)
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("altlas: "), result.stderr
    for word in words:
        assert word in lines[0], lines[0]


@pytest.mark.parametrize("arguments, words", [
    ([], ["subcommand"]),
    (["nonsense"], ["nonsense"]),
    (["generate"], ["--prompt", "required"]),
    (["generate", "--prompt", "x", "--unknown"], ["--unknown"]),
    (["generate", "--prompt", "x", "--temperature", "3"], ["temperature"]),
    (["generate", "--prompt", "x", "--temperature", "hot"], ["temperature", "hot"]),
    (["generate", "--prompt", "x", "--max-tokens", "0"], ["max-tokens"]),
    (["generate", "--prompt", "x", "--top-p", "1.5"], ["top-p"]),
    (["generate", "--prompt", "x", "--model", "no-such-model"], ["no-such-model"]),
    (["generate", "--prompt", "x", "--devices", "gpu"], ["gpu", "cpu, cuda, sim"]),
    (["generate", "--prompt", "x", "--devices", "sim:h101"], ["h101", "h100"]),
    (["generate", "--prompt", "x", "--kv-dtype", "f7"], ["f7", "f16"]),
    (["generate", "--prompt", "x", "--simd", "mmx"], ["mmx", "avx2"]),
    (["generate", "--prompt", "x", "--config", "/nowhere.yaml"], ["--config", "/nowhere.yaml"]),
    (["perplexity", "--file", "/nowhere.txt"], ["--file", "/nowhere.txt"]),
    (["pull", "no-such-model"], ["no-such-model"]),
    (["cancel", "xyz"], ["xyz", "task id"]),
    (["strategy", "least_load"], ["least_load", "least_loaded"]),
    (["status", "--watch", "-1"], ["watch"]),
    (["status", "--url", "localhost"], ["localhost", "http://"]),
    (["validate-config"], ["FILE"]),
    (["worker"], ["--connect", "cluster.listen"]),
])
def test_bad_usage_is_one_line(arguments, words):
    refused(run_cli(*arguments), *words)


@pytest.mark.parametrize("arguments, hint", [
    (["bench", "nonsense"], "of altlas bench"),
    (["bench", "engin"], "did you mean engine?"),
    (["bench", "engine", "--nonsense"], "altlas bench engine --help"),
    (["simulate", "seeds", "--count", "x"], "altlas simulate seeds --help"),
])
def test_bad_usage_names_the_command(arguments, hint):
    refused(run_cli(*arguments), hint)


@pytest.mark.parametrize("redirected, code, said", [
    ("models >/dev/full", 1, "No space left"),
    ("validate-config --schema >/dev/full", 1, "No space left"),  # The text is longer than one buffer.
    ("models >&-", 0, ""),
    ("validate-config --schema >&-", 0, ""),
    ("nonsense 2>/dev/full", 2, ""),
    ("nonsense 2>&-", 2, ""),
])
def test_output_that_cannot_be_written(redirected, code, said):
    result = subprocess.run(["bash", "-c", f'"$0" {redirected}', BINARY], capture_output=True, text=True, timeout=60)
    assert result.returncode == code and said in result.stderr, (result.returncode, result.stderr)
    assert len(result.stderr.splitlines()) == (1 if said else 0), result.stderr


def test_server_outlives_the_reader_of_its_output():
    read, write = os.pipe()
    os.close(read)
    command = [BINARY, "serve", "--port", "0", "--devices", "sim:h100:1", "--data-dir", "none"]
    server = subprocess.Popen(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    try:
        line = next((line for line in server.stderr if "listening on" in line), "")
        assert "standard output" in line, line
        assert requests.get(line.split("listening on ")[1].strip() + "/health", timeout=30).status_code == 200
        tasks = pathlib.Path(f"/proc/{server.pid}/task").iterdir()
        children = [child for task in tasks for child in (task / "children").read_text().split()]
        assert {pathlib.Path(f"/proc/{child}/comm").read_text().strip() for child in children} == {"altlas-worker"}
    finally:
        server.send_signal(signal.SIGTERM)
        server.stderr.read()
    assert server.wait(60) == 0


@pytest.mark.parametrize("name, code, said", [
    ("avx9", 2, "engine.simd: unknown SIMD target"),
    ("avx2" if platform.machine() == "aarch64" else "neon", 0, "warning"),
    ("scalar", 0, "valid"),
])
def test_validate_config_knows_simd_names(tmp_path, name, code, said):
    file = tmp_path / "altlas.yaml"
    file.write_text(f"engine:\n  simd: {name}\n")
    result = run_cli("validate-config", str(file))
    assert result.returncode == code and said in result.stdout + result.stderr, result


def test_help_and_version():
    for command in [[], ["serve"], ["generate"], ["chat"], ["perplexity"], ["status"], ["doctor"], ["validate-config"]]:
        result = run_cli(*command, "--help")
        assert result.returncode == 0 and "Usage" in result.stdout, (command, result.stderr)
    assert run_cli("--version").stdout.strip()


def test_no_server():
    refused(run_cli("status", "--url", "http://127.0.0.1:9"), "127.0.0.1:9", "altlas serve", code=1)
    result = run_cli("strategy", env={"ALTLAS_URL": "http://127.0.0.1:9"})
    refused(result, "127.0.0.1:9", code=1)


def test_models_are_listed():
    lines = run_cli("models", check=True).stdout.splitlines()
    assert lines[0].split() == ["NAME", "SIZE", "FROM", "HERE", "PATH"]
    assert any(line.startswith("qwen2.5-coder-0.5b-instruct ") for line in lines)
    column = lines[0].index("FROM")
    assert all(line[column - 1] == " " and line[column] != " " for line in lines), "columns line up"


def test_pull_of_what_is_here(tmp_path):
    """A file of the catalogued size counts as pulled, since it got there only verified."""
    path = tmp_path / "gemma3-270m.gguf"
    with open(path, "wb") as file:
        file.truncate(253113024)
    result = run_cli("pull", "gemma3-270m", env={"ALTLAS_CACHE": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(path)


def test_validate_config_names_every_error(tmp_path):
    path = tmp_path / "altlas.yaml"
    path.write_text("server:\n  port: 70000\n  hots: 1.2.3.4\ngpu:\n  multi_gpu:\n    default_strategy: least_load\n")
    result = run_cli("validate-config", str(path))
    assert result.returncode == 2 and result.stdout == ""
    lines = result.stderr.splitlines()
    assert any(f"{path}:2:" in line and "server.port" in line and "70000" in line for line in lines), lines
    assert any(f"{path}:3:" in line and "hots" in line and "host" in line for line in lines), lines
    assert any(f"{path}:6:" in line and "least_loaded" in line for line in lines), lines


def test_validate_config_valid(tmp_path):
    path = tmp_path / "altlas.yaml"
    path.write_text("server:\n  port: 8001\n")
    result = run_cli("validate-config", str(path))
    assert (result.returncode, result.stdout) == (0, f"{path}: valid\n"), result.stderr
    path.write_text("engine:\n  devices: cpu:2\ngpu:\n  multi_gpu:\n    task_specific_mappings: {x: gpu_5}\n")
    result = run_cli("validate-config", str(path))
    assert result.returncode == 2 and "5" in result.stderr, (result.stdout, result.stderr)


def test_schema_is_json():
    schema = json.loads(run_cli("validate-config", "--schema", check=True).stdout)
    assert schema["$schema"].endswith("2020-12/schema")
    assert {"server", "gpu", "engine", "deployments"} <= set(schema["properties"])


def test_doctor_says_what_there_is():
    result = run_cli("doctor")
    assert result.returncode == 0, result.stderr
    titles = {line[:11].strip() for line in result.stdout.splitlines()}
    assert {"system", "cpu", "simd", "memory", "libraries", "models", "missing"} <= titles, result.stdout
    assert "(used)" in result.stdout and "GB/s" in result.stdout
    forced = run_cli("doctor", env={"ALTLAS_SIMD": "scalar"})
    assert "scalar (used)" in forced.stdout, forced.stdout
    refused(run_cli("doctor", env={"ALTLAS_SIMD": "avx9"}), "avx9", "scalar")


def test_generate(model):
    arguments = ["generate", "--model", model, "--prompt", "def add(a, b):", "--max-tokens", "24", "--temperature", "0"]
    first, second = run_cli(*arguments), run_cli(*arguments, "--devices", "cpu:1:1")
    assert first.returncode == 0, first.stderr
    assert "return a + b" in first.stdout
    assert first.stdout == second.stdout, "the same bits with another number of threads"
    assert "tokens/s" in first.stderr.splitlines()[-1]


def test_a_target_with_other_bits_is_named_once_at_the_start(model, start_server):
    notice = "SIMD target avx512_bf16 leaves the promise of equal bits"
    if "avx512_bf16" not in run_cli("doctor").stdout:
        pytest.skip("this CPU has no AVX-512 BF16")
    arguments = ["generate", "--model", model, "--prompt", "1, 2", "--max-tokens", "2"]
    assert run_cli(*arguments, env={"ALTLAS_SIMD": "avx512_bf16"}).stderr.count(notice) == 1
    assert notice not in run_cli(*arguments, env={"ALTLAS_SIMD": ""}).stderr
    served = start_server("--model", model, "--devices", "cpu:1", "--simd", "avx512_bf16")
    assert served.log().count(notice) == 1, served.log()


def test_generate_seed_and_stop(model):
    arguments = ["generate", "--model", model, "--prompt", "Once upon a time", "--max-tokens", "16", "--seed", "7"]
    one, two = run_cli(*arguments), run_cli(*arguments)
    other = run_cli(*arguments[:-1], "8")
    assert one.stdout == two.stdout != other.stdout
    stopped = run_cli("generate", "--model", model, "--prompt", "1, 2, 3, 4,", "--temperature", "0", "--stop", "7")
    assert stopped.returncode == 0 and "6" in stopped.stdout and "7" not in stopped.stdout
    assert ", stop, " in stopped.stderr


def test_chat(model):
    result = run_cli("chat", "--model", model, "--temperature", "0", "--max-tokens", "40",
                     input="My name is Ada. Answer in one short sentence.\nWhat is my name?\n/exit\nnever read\n")
    assert result.returncode == 0, result.stderr
    assert "Ada" in result.stdout.splitlines()[-1]


def test_perplexity_json(model, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("The quick brown fox jumps over the lazy dog.")
    result = run_cli("perplexity", "--model", model, "--file", str(text), "--json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert set(answer) == {"ids", "logprobs", "top1", "nll"}
    count = len(answer["ids"])
    assert count > 5 and len(answer["logprobs"]) == len(answer["top1"]) == count - 1
    assert all(value <= 0 for value in answer["logprobs"])
    assert math.isclose(answer["nll"], -sum(answer["logprobs"]) / (count - 1), rel_tol=1e-6)
    ids = tmp_path / "ids.json"
    ids.write_text(json.dumps(answer["ids"]))
    again = json.loads(run_cli("perplexity", "--model", model, "--file", str(ids), "--ids", "--json", check=True).stdout)
    assert again == answer


def test_perplexity_refuses(model, tmp_path):
    path = tmp_path / "text"
    path.write_text("x")
    refused(run_cli("perplexity", "--model", model, "--file", str(path)), "1 tokens", "at least 2")
    path.write_text("word " * 600)
    refused(run_cli("perplexity", "--model", model, "--file", str(path), "--max-model-len", "256"), "601", "255")
    path.write_bytes(b"\xff\xfe bad")
    refused(run_cli("perplexity", "--model", model, "--file", str(path)), "UTF-8")
    path.write_text("[1, 99999999]")
    refused(run_cli("perplexity", "--model", model, "--file", str(path), "--ids"), "element 1", "99999999")


def test_truncated_model_is_refused(model, tmp_path):
    path = pathlib.Path(model)
    if not path.is_file():
        pytest.skip("needs ALTLAS_TEST_MODEL to be a file")
    cut = tmp_path / "cut.gguf"
    with open(path, "rb") as file:
        cut.write_bytes(file.read(1 << 20))
    refused(run_cli("generate", "--model", str(cut), "--prompt", "x"), "cut.gguf")


def test_status_of_a_server(start_server):
    sim_server = start_server("--devices", "sim:h100:1")
    result = run_cli("status", "--url", sim_server.url)
    assert result.returncode == 0, result.stderr
    assert "DEVICE" in result.stdout and "REPLICA" in result.stdout and "h100" in result.stdout
    task = sim_server.post("/api/v1/predict", {"text": "x", "max_length": 30000}).json()
    canceled = run_cli("cancel", task["task_id"], "--url", sim_server.url)
    assert canceled.returncode == 0 and "canceled" in canceled.stdout, canceled.stderr
    refused(run_cli("cancel", "0" * 32, "--url", sim_server.url), "404")
    changed = run_cli("strategy", "round_robin", "--url", sim_server.url)
    assert (changed.returncode, changed.stdout) == (0, "round_robin\n"), changed.stderr


