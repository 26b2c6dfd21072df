"""deploy/: a real Prometheus reads a server by the shipped configuration, evaluates the shipped rules, and has a series for
every expression of the shipped dashboard."""
import json
import re
import shutil
import signal
import subprocess

import pytest
import requests
import yaml

from conftest import ROOT, free_port, until
from settings_servers import Files, Group

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "altlas-alerts.yml"
# Names that others gave, with habits of theirs that promtool warns of.
OTHERS = ("gpu_", "DCGM_FI_", "vllm:")

pytestmark = pytest.mark.skipif(not shutil.which("prometheus"), reason="no prometheus here: apt-get install prometheus")


def energy(files, joules):
    zone = files.root / "powercap" / "intel-rapl:0"
    zone.mkdir(parents=True, exist_ok=True)
    (zone / "name").write_text("package-0\n")
    (zone / "energy_uj").write_text(f"{joules * 1_000_000}\n")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    files = Files(tmp_path_factory.mktemp("prometheus"))
    energy(files, 1)
    core = files.root / "cpus" / "cpu0" / "cpufreq"
    core.mkdir(parents=True)
    (core / "scaling_cur_freq").write_text("3100000\n")
    config = {"auth": {"keys": [{"name": "anna", "key": "root", "role": "admin"}, {"name": "prometheus", "key": "watch", "role": "metrics"}]},
              "monitoring": {"interval": 0.1, "inference_extension_metrics": True}, "engine": {"devices": "cpu:1:1:1GiB"}}
    env = {"ALTLAS_TEST_POWERCAP": str(files.root / "powercap"), "ALTLAS_TEST_CPUS": str(files.root / "cpus")}
    one = Group(files, config, "--model", str(files.tiny), key="root", env=env)
    yield one
    one.close()


class Prometheus:
    """Prometheus with the shipped files: only its targets, periods and the key's place are this test's."""

    def __init__(self, folder, server):
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"}
        altlas, dcgm = config["scrape_configs"]
        assert (altlas["job_name"], dcgm["job_name"]) == ("altlas", "dcgm-exporter")
        altlas["static_configs"][0]["targets"] = [server.url.removeprefix("http://")]
        (folder / "altlas-key").write_text("watch\n")
        altlas["authorization"]["credentials_file"] = str(folder / "altlas-key")
        config["scrape_configs"] = [altlas]
        rules = yaml.safe_load(RULES.read_text())
        for group in rules["groups"]:
            for rule in group["rules"]:
                rule.pop("for", None)  # Rules fire at once, or the test would take minutes.
        (folder / "altlas-alerts.yml").write_text(yaml.safe_dump(rules))
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = open(folder / "log", "w")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address={self.url.removeprefix('http://')}"], stdout=self.log, stderr=self.log)
        until(lambda: self.ready())

    def ready(self):
        assert self.process.poll() is None
        try:
            return requests.get(self.url + "/-/ready", timeout=10).status_code == 200
        except requests.ConnectionError:
            return False

    def get(self, path, **query):
        answer = requests.get(self.url + "/api/v1" + path, params=query, timeout=30).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression):
        return self.get("/query", query=expression)["result"]

    def firing(self):
        return {one["labels"]["alertname"] for one in self.get("/alerts")["alerts"] if one["state"] == "firing"}

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        self.log.close()


@pytest.fixture(scope="module")
def prometheus(server, tmp_path_factory):
    one = Prometheus(tmp_path_factory.mktemp("prometheus-data"), server)
    yield one
    one.close()


def waste(server):
    """Cancels tasks, the first of which has generated something by then."""
    tasks = [server.predict(max_length=100).json()["task_id"] for _ in range(10)]
    server.cancel(*reversed(tasks))


def test_promtool_finds_nothing_in_our_names(server):
    server.run()
    text = server.get("/metrics").text
    check = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    problems = [line for line in (check.stdout + check.stderr).splitlines() if line and not line.startswith(OTHERS)]
    assert not problems and check.returncode in (0, 3), (check.returncode, problems)
    ours = "\n".join(line for line in text.splitlines() if not re.match(rf"(# (HELP|TYPE) )?({'|'.join(OTHERS)})", line)) + "\n"
    subprocess.run(["promtool", "check", "metrics"], input=ours, text=True, check=True, timeout=60)


def test_the_rules_are_right():
    subprocess.run(["promtool", "check", "rules", RULES], check=True, capture_output=True, timeout=60)
    subprocess.run(["promtool", "check", "config", "--syntax-only", DEPLOY / "prometheus" / "prometheus.yml"], check=True, capture_output=True, timeout=60)


def expressions():
    dashboard = json.loads((DEPLOY / "grafana" / "altlas.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            text = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$deployment", ".*")
            assert "$" not in text, text
            yield panel["title"], text


def test_every_expression_of_the_dashboard_has_a_series(server, prometheus):
    """Work goes on while Prometheus reads, as a rate takes two readings with something between them."""
    waits = dict.fromkeys(expressions())
    assert len(waits) > 40

    joules = [1]

    def seen():
        joules[0] += 5
        energy(server.files, joules[0])
        server.run(text="one two three four five six seven eight " * 4)
        waste(server)
        for title, expression in list(waits):
            if any(sample["value"][1] != "NaN" for sample in prometheus.query(expression)):
                del waits[title, expression]
        return not waits

    try:
        until(seen, seconds=60)
    except AssertionError:
        pytest.fail(f"no series for {list(waits)}")
    assert float(prometheus.query("DCGM_FI_DEV_SM_CLOCK")[0]["value"][1]) == 3100


def test_rules_are_evaluated_and_fire(server, prometheus):
    """A device that gets too hot fires its alert, which ends when it is cool again; others rest."""
    until(lambda: prometheus.query('up{job="altlas"} == 1'))
    names = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}

    def health():
        rules = [rule for group in prometheus.get("/rules")["groups"] for rule in group["rules"]]
        assert {rule["name"] for rule in rules} == names
        return {rule["health"] for rule in rules} == {"ok"}

    until(health)
    assert not prometheus.firing() & {"AltlasDown", "AltlasNoReplicaRuns", "AltlasDeviceUnhealthy", "AltlasJournalFails", "GpuHot"}
    server.files.heat(90)
    until(lambda: "GpuHot" in prometheus.firing())
    server.files.heat(40)
    until(lambda: "GpuHot" not in prometheus.firing())


def test_a_server_that_is_gone_fires(server, prometheus):
    """The last test of this server."""
    until(lambda: prometheus.query('up{job="altlas"} == 1'))
    server.server.stop()
    until(lambda: "AltlasDown" in prometheus.firing())
