"""What this build or this machine lacks is said before anything starts; GPUs that are not used are named once."""
import pytest

from conftest import ROOT, run_cli
from settings_servers import Files, Group, Nvml, refused

NOTICE = "2 GPUs (NVIDIA H100 80GB HBM3) are left alone"
PRESETS = {
    "cpu_laptop": [], "sim_8gpu": [],
    "h100_x1": [("engine.devices", "cuda:0")],
    "llama70b_tp4": [("engine.devices", "cuda"), ("deployments[0].model", "Meta-Llama-3-70B-Instruct")],
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("missing"))


@pytest.fixture(scope="module")
def nvml(files):
    return Nvml(files)


def test_every_preset_is_looked_at():
    assert {path.stem for path in (ROOT / "presets").glob("*.yaml")} == set(PRESETS)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_say_what_is_missing(name):
    path, missing = str(ROOT / "presets" / f"{name}.yaml"), PRESETS[name]
    done = run_cli("validate-config", path)
    assert done.returncode == (2 if missing else 0), done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(missing), lines
    for words in missing:
        assert any(all(word in line for word in words) for line in lines), lines
    if missing:
        start = run_cli("serve", "--config", path, "--port", "0", "--data-dir", "none")
        assert start.returncode == 2, start.stderr
        assert [line.split(": ", 1)[1] for line in start.stderr.splitlines()] == [line.split(f"{path}: ", 1)[1] for line in lines]


@pytest.mark.parametrize("config, words", [
    ("engine: {devices: 'cpu:1+cuda'}", ["engine.devices", "cpu:1+cuda"]),
    ("models: {a: {path: /nowhere.gguf}}", ["models[0].path", "/nowhere.gguf"]),
    ("deployments: {d: {model: qwen2.5-coder-0.5b-instrukt}}", ["deployments[0].model", "qwen2.5-coder-0.5b-instruct"]),
])
def test_missing_things_have_their_place(config, words, tmp_path):
    refused(config, words=words)
    file = tmp_path / "altlas.yaml"
    file.write_text(config)
    done = run_cli("validate-config", str(file))
    assert done.returncode == 2 and all(word in done.stderr for word in [str(file), *words]), done.stderr


def test_gpus_that_are_left_alone_are_named(files, nvml):
    assert NOTICE in nvml.run("doctor").stdout
    one = Group(files, {}, "--model", str(files.tiny), env=nvml.env)
    try:
        assert sum(NOTICE in line for line in one.log().splitlines()) == 1
        status = run_cli("status", "--url", one.url, check=True).stdout
        assert sum(NOTICE in line for line in status.splitlines()) == 1, status
        assert NOTICE in one.get("/api/v1/gpus").json()["notice"]
    finally:
        one.close()


@pytest.mark.parametrize("config", [{"engine": {"devices": "cpu:1:1:1GiB"}}, {"gpu": {"enabled": False}}])
def test_who_chose_is_told_nothing(files, nvml, config):
    one = Group(files, config, "--model", str(files.tiny), env=nvml.env)
    try:
        assert "left alone" not in one.log() and "notice" not in one.get("/api/v1/gpus").json()
    finally:
        one.close()


def test_no_gpu_no_notice(files):
    one = Group(files, {"engine": {"devices": "sim:h100:1"}}, "--model", str(files.tiny))
    try:
        assert "left alone" not in one.log() and "left alone" not in run_cli("status", "--url", one.url, check=True).stdout
    finally:
        one.close()
