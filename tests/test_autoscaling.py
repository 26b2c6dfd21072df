"""Goal: the number of replicas follows the load as Ray Serve's does, a person's number stands, and no request notices any of it.
Method: decisions against a record of Ray Serve 2.60's own (bench/autoscaling/ray_decisions.py made it); a real server on
simulated devices under load from the official client."""
import concurrent.futures
import json
import pathlib

import pytest

from conftest import run_cli, until

RECORD = json.loads((pathlib.Path(__file__).parent / "data/ray_decisions.json").read_text())


def simulate(tmp_path, config, lines):
    """Runs the command; config and lines are texts."""
    (tmp_path / "c.yaml").write_text(config)
    (tmp_path / "t.jsonl").write_text(lines)
    return run_cli("simulate", "autoscaler", "--config", str(tmp_path / "c.yaml"), "--trace", str(tmp_path / "t.jsonl"))


@pytest.mark.parametrize("wrapped", [False, True])
def test_decisions_are_rays(tmp_path, wrapped):
    assert len(RECORD) >= 40 and sum(a[3] != b[3] for one in RECORD for a, b in zip(one["lines"], one["lines"][1:])) > 300
    for number, one in enumerate(RECORD):
        config = {"autoscaling_config": one["config"]} if wrapped else one["config"]
        lines = "".join(json.dumps({"t": t, "ongoing": ongoing, "running": running}) + "\n" for t, ongoing, running, _ in one["lines"])
        done = simulate(tmp_path, json.dumps(config), lines)
        assert done.returncode == 0, done.stderr
        said = [json.loads(line) for line in done.stdout.splitlines()]
        assert [(line["t"], line["target"]) for line in said] == [(line[0], line[3]) for line in one["lines"]], f"case {number}: {config}"


@pytest.mark.parametrize("config, lines, says", [
    ("min_replicas: 3\nmax_replicas: 2", "", "min_replicas: 3 is more than max_replicas, 2"),
    ("max_replicas: 0", "", "max_replicas"),
    ("no_such: 1", "", "no_such"),
    ("3", "", "mapping"),
    ("a: [", "", "c.yaml:"),
    ("max_replicas: 2", '{"t": 1, "ongoing": 1, "running": 1}\n{"t": 0, "ongoing": 1, "running": 1}\n', "t.jsonl:2: its time is before"),
    ("max_replicas: 2", '{"t": 1, "ongoing": -1, "running": 1}\n', "t.jsonl:1: ongoing is not from 0"),
    ("max_replicas: 2", '{"t": 1, "ongoing": 1, "running": 1.5}\n', "t.jsonl:1: running should be a whole number"),
    ("max_replicas: 2", '{"t": 1, "running": 1}\n', "t.jsonl:1: ongoing should be a number"),
    ("max_replicas: 2", "\n[1]\n", "t.jsonl:2: it should be like"),
    ("max_replicas: 2", "x" * 70000, "t.jsonl:1: it is longer than"),
])
def test_bad_input_is_named(tmp_path, config, lines, says):
    done = simulate(tmp_path, config, lines)
    assert done.returncode != 0 and says in done.stderr, done.stderr


def test_old_names_warn(tmp_path):
    done = simulate(tmp_path, "{max_replicas: 9, target_num_ongoing_requests: 1, upscale_smoothing_factor: 0.5, upscale_delay_s: 0}",
                    '{"t": 0, "ongoing": 9, "running": 1}\n')
    assert json.loads(done.stdout) == {"t": 0, "target": 5} and done.stderr.count("old name") == 2, done.stderr


def test_missing_files_are_named(tmp_path):
    done = run_cli("simulate", "autoscaler", "--config", str(tmp_path / "none.yaml"), "--trace", str(tmp_path / "none.jsonl"))
    assert done.returncode != 0 and "none.yaml" in done.stderr


# ---- A server ----

SCALING = {"min_replicas": 1, "max_replicas": 3, "target_ongoing_requests": 2, "upscale_delay_s": 0, "downscale_delay_s": 0.5,
           "look_back_period_s": 0.4, "metrics_interval_s": 0.1}


def configured(**scaling):
    return json.dumps({"deployments": [{"name": "llm", "model": "qwen2.5-coder-0.5b-instruct", "autoscaling_config": {**SCALING, **scaling}, "graceful_shutdown_timeout_s": 20}]})


def deployment(server, name="llm"):
    answer = server.get(f"/api/v1/deployments/{name}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def complete(server, number):
    answer = server.openai().completions.create(model="llm", prompt=f"Tell {number}:", max_tokens=300, seed=number, temperature=1)
    assert answer.usage.completion_tokens == 300
    return answer.choices[0].text


def scale(server, name="llm", **body):
    return server.post(f"/api/v1/deployments/{name}/scale", body)


def test_replicas_follow_the_load_and_no_request_notices(start_server):
    server = start_server("--devices", "sim:h100:3", "--max-model-len", "1024", config=configured())
    assert deployment(server)["target_replicas"] == 1 and deployment(server)["max_replicas"] == 3
    alone = [complete(server, number) for number in range(4)]
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        most = 0
        answers = [pool.submit(complete, server, number % 4) for number in range(200)]
        while not all(one.done() for one in answers):
            most = max(most, deployment(server)["replica_states"].get("RUNNING", 0))
        assert [one.result() for one in answers] == [alone[number % 4] for number in range(200)]
    assert most == 3
    assert until(lambda: len(deployment(server)["replicas"]) == 1, 60)
    assert until(lambda: deployment(server)["status"] == "HEALTHY", 60)
    decisions = server.get("/api/v1/deployments/llm/decisions").json()["decisions"]
    changes = [(one["from"], one["to"]) for one in decisions if one["from"] != one["to"]]
    assert changes and changes[0][0] == 1 and changes[-1][1] == 1 and max(to for _, to in changes) == 3, changes
    assert all(one["reason"] for one in decisions)
    assert "500" not in {line.split('status="')[1][:3] for line in server.get("/metrics").text.splitlines()
                         if line.startswith("altlas_server_requests_total{") and not line.endswith(" 0")}


def test_from_none_and_back(start_server):
    server = start_server("--devices", "sim:h100:2", "--max-model-len", "1024", config=configured(min_replicas=0, max_replicas=2, downscale_to_zero_delay_s=0.2))
    assert deployment(server)["replicas"] == [] and server.get("/health").status_code == 200
    text = complete(server, 1)
    assert until(lambda: deployment(server)["replicas"] == [], 60)
    assert all(gpu["memory_used"] == 0 for gpu in server.get("/api/v1/gpus").json()["gpus"])
    assert complete(server, 1) == text


def test_a_persons_number_stands(start_server):
    server = start_server("--devices", "sim:h100:3", "--max-model-len", "1024", config=configured())
    done = run_cli("scale", "llm", "3", "--url", server.url)
    assert done.returncode == 0 and "3 of at most 3 wanted, held by a person" in done.stdout, done.stderr
    assert until(lambda: deployment(server)["replica_states"].get("RUNNING") == 3, 60)
    assert "3 of at most 3 wanted, held by a person" in run_cli("status", "--url", server.url).stdout
    decisions = server.get("/api/v1/deployments/llm/decisions").json()["decisions"]
    assert decisions[-1]["reason"] == "a person asked for 3"
    assert run_cli("scale", "llm", "auto", "--url", server.url).returncode == 0
    assert until(lambda: deployment(server)["target_replicas"] == 1, 60)
    for arguments, says in [(("llm", "4"), "places for 3"), (("llm", "-1"), ""), (("llm", "many"), "neither a number"), (("nobody", "1"), "no deployment"),
                            (("a/b", "1"), "no deployment"), (("echo", "auto"), "no autoscaling_config")]:
        done = run_cli("scale", *arguments, "--url", server.url)
        assert done.returncode != 0 and says in done.stderr, (arguments, done.stderr)
    for body in [{}, {"replicas": 1, "autoscale": True}, {"replicas": "two"}, {"replicas": -1}, {"replicas": 5000}, {"autoscale": False}]:
        assert scale(server, **body).status_code == 400, body
    assert scale(server, "nobody", replicas=1).status_code == 404
    assert server.get("/api/v1/deployments/nobody").status_code == 404
    assert server.get("/api/v1/deployments/nobody/decisions").status_code == 404


def test_scaled_to_none_is_said(start_server):
    server = start_server("--devices", "sim:h100:2", "--max-model-len", "1024")
    name = next(name for name in server.get("/api/v1/deployments").json()["deployments"] if name != "echo")
    assert scale(server, name, replicas=0).json()["target_replicas"] == 0
    answer = server.post("/v1/completions", {"model": name, "prompt": "a", "max_tokens": 1})
    assert answer.status_code == 503 and "scaled to no replica" in answer.text, answer.text
    assert server.get("/health").status_code == 503
    assert scale(server, name, replicas=1).status_code == 200
    assert until(lambda: server.get("/health").status_code == 200, 60)
    assert server.post("/v1/completions", {"model": name, "prompt": "a", "max_tokens": 1}).status_code == 200


def test_only_admins_scale(start_server):
    keys = {"auth": {"keys": [{"name": "ann", "key": "key-of-ann"}, {"name": "root", "key": "key-of-root", "role": "admin"}]}}
    server = start_server("--devices", "sim:h100:2", "--max-model-len", "1024", config=json.dumps({**json.loads(configured(max_replicas=2)), **keys}))
    for key, status in [("key-of-ann", 403), ("wrong", 401), ("key-of-root", 200)]:
        answer = server.post("/api/v1/deployments/llm/scale", {"replicas": 2}, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == status, answer.text


def test_more_replicas_than_there_is_room_for(start_server):
    server = start_server("--devices", "sim:h100:2", "--max-model-len", "1024", config=configured(max_replicas=50))
    assert deployment(server)["max_replicas"] == 2
    assert "max_replicas is 50, the devices have room for 2" in server.log()


def test_the_load_is_what_the_settings_say(start_server):
    """A short burst is the most of the look-back period, and nothing in its least."""
    targets = {}
    for function in ("max", "min"):
        server = start_server("--devices", "sim:h100:3", "--max-model-len", "1024",
                              config=configured(aggregation_function=function, look_back_period_s=3600, metrics_interval_s=0.1))
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            list(pool.map(lambda number: complete(server, number), range(12)))
        decided = len(server.get("/api/v1/deployments/llm/decisions").json()["decisions"])
        assert until(lambda: len(server.get("/api/v1/deployments/llm/decisions").json()["decisions"]) > decided or decided >= 64, 60)
        targets[function] = deployment(server)["target_replicas"]
        server.stop()
    assert targets == {"max": 3, "min": 1}


def test_a_replica_ends_its_tasks_before_it_goes(start_server):
    """The task on the replica that has to go takes longer than it has: it goes on elsewhere, and its text is the same."""
    config = json.loads(configured(max_replicas=2, min_replicas=2))
    config["deployments"][0]["graceful_shutdown_timeout_s"] = 0.2
    server = start_server("--devices", "sim:h100:2", "--max-model-len", "4096", config=json.dumps(config))
    def text(number):
        return server.openai().completions.create(model="llm", prompt=f"Tell {number}:", max_tokens=2000, seed=number, temperature=1).choices[0].text
    alone = [text(number) for number in range(4)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(text, number) for number in range(4)]
        assert until(lambda: all(one["running"] > 0 for one in deployment(server)["replicas"]), 60)
        assert scale(server, replicas=1).status_code == 200
        assert until(lambda: len(deployment(server)["replicas"]) == 1, 60)
        assert [one.result() for one in answers] == alone
