"""Writes tests/data/ray_decisions.json: what Ray Serve 2.60 decides over made-up loads, for tests/test_autoscaling.py to compare
with `altlas simulate autoscaler`. Usage: ray_decisions.py RAY_WHEEL, the file of `pip download --no-deps ray==2.60.0`. Of the wheel
only its autoscaling policy is run, with Ray's own functions in Ray's own order; nothing of it is copied."""
import json
import math
import pathlib
import random
import sys
import types
import zipfile

NAMES = {"ray.serve._private.common": ["DeploymentID"], "ray.serve.config": ["AutoscalingConfig", "AutoscalingContext"]}
CONSTANTS = ["SERVE_AUTOSCALING_DECISION_COUNTERS_KEY", "SERVE_AUTOSCALING_DECISION_TIMESTAMP_KEY", "SERVE_LOGGER_NAME"]


def load_policy(wheel):
    for name in ("ray", "ray.serve", "ray.serve._private", "ray.util", *NAMES):
        sys.modules[name] = types.ModuleType(name)
        for member in NAMES.get(name, []):
            setattr(sys.modules[name], member, type(member, (), {}))
    constants = sys.modules["ray.serve._private.constants"] = types.ModuleType("constants")
    for name in CONSTANTS:
        setattr(constants, name, name)
    annotations = sys.modules["ray.util.annotations"] = types.ModuleType("annotations")
    annotations.PublicAPI = lambda *arguments, **options: lambda one: one
    policy = types.ModuleType("policy")
    with zipfile.ZipFile(wheel) as files:
        exec(compile(files.read("ray/serve/autoscaling_policy.py"), "autoscaling_policy.py", "exec"), policy.__dict__)
    return policy


class Config(types.SimpleNamespace):
    def get_upscaling_factor(self):
        return self.upscaling_factor

    def get_downscaling_factor(self):
        return self.downscaling_factor

    def get_target_ongoing_requests(self):
        return self.target_ongoing_requests


def draw_config(draw):
    least = draw.choice([0, 0, 1, 1, 2, 5])
    most = least + draw.choice([0, 1, 3, 10, 100]) or 1
    config = {"min_replicas": least, "max_replicas": most, "target_ongoing_requests": draw.choice([0.3, 1, 2, 5, 7.7]),
              "upscale_delay_s": draw.choice([0, 0.5, 3, 30]), "downscale_delay_s": draw.choice([0, 1, 10, 60]),
              "upscaling_factor": draw.choice([0.1, 0.5, 1, 1, 2]), "downscaling_factor": draw.choice([0.1, 0.3, 0.5, 1, 1])}
    if draw.random() < 0.5:
        config["initial_replicas"] = draw.randint(least, most)
    if draw.random() < 0.5:
        config["downscale_to_zero_delay_s"] = draw.choice([0, 2, 20])
    return config


def decisions(policy, config, seed, steps):
    """A load that wanders, bursts and stops; replicas run some seconds after they were asked for, and some crash."""
    draw = random.Random(seed)
    settings = Config(**{"initial_replicas": None, "downscale_to_zero_delay_s": None, **config})
    decide = policy._apply_autoscaling_config(policy._core_replica_queue_length_policy)
    target = config.get("initial_replicas", config["min_replicas"])
    state, running, load, t, lines = {}, target, 0.0, 0.0, []
    for _ in range(steps):
        t = round(t + draw.choice([0.1, 0.1, 1, 1, 5]), 3)
        load = draw.choice([load, load, load, load + draw.random() * 5, load * 0.7, 0.0, draw.randint(0, 60)])
        ongoing = round(load, 3)
        running = max(0, running + (1 if running < target and draw.random() < 0.7 else 0)) if running <= target else target
        if draw.random() < 0.03:
            running = max(0, running - 1)
        policy.time.time = lambda: t  # noqa: B023 (the policy asks within this turn)
        context = types.SimpleNamespace(config=settings, current_num_replicas=running, target_num_replicas=target,
                                        total_num_requests=ongoing, policy_state=state)
        wanted, state = decide(context)
        target = max(config["min_replicas"], min(config["max_replicas"], math.ceil(wanted)))
        lines.append([t, ongoing, running, target])
    return lines


def main():
    policy = load_policy(sys.argv[1])
    policy.time = types.SimpleNamespace(time=None)
    draw = random.Random(7)
    cases = []
    for seed in range(40):
        config = draw_config(draw)
        cases.append({"config": config, "lines": decisions(policy, config, seed, 150)})
    out = pathlib.Path(__file__).resolve().parents[2] / "tests/data/ray_decisions.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
