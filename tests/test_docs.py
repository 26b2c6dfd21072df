"""The docs are true: generated pages are current, every command in them runs, every link leads somewhere, and both READMEs say
the same. With ALTLAS_UPDATE_DOCS=1 the generated page is written."""
import os
import pathlib
import re
import signal
import subprocess

import pytest

from conftest import BINARY, ROOT, Server, clean_environment, run_cli

PAGES = sorted([*ROOT.glob("README*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"(?:<!-- test: (?P<mark>[^>]*?) -->\n)?^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$", re.M | re.S)


def blocks():
    """Yields every block of shell commands: page, place, mark, commands. A `console` block has its commands behind `$ `."""
    for page in PAGES:
        for found in BLOCK.finditer(page.read_text()):
            if found["language"] not in ("sh", "bash", "console"):
                continue
            text = found["text"]
            if found["language"] == "console":
                text = "".join(line[2:] for line in text.splitlines(True) if line.startswith("$ "))
            line = page.read_text()[:found.start()].count("\n") + 1
            yield pytest.param(found["mark"] or "", text, id=f"{page.relative_to(ROOT)}:{line}")


@pytest.fixture(scope="module")
def server():
    server = Server("--devices", "sim:h100:2", "--max-model-len", "512")
    yield server
    server.stop()
    server.close()


def in_bash(text, server, folder):
    text = text.replace("/tmp/", f"{folder}/").replace("http://127.0.0.1:8000", server.url).replace("build/altlas", BINARY)
    # A refused request is a failure, too.
    script = "set -euo pipefail\ncurl() { command curl --fail-with-body \"$@\"; }\n" + text
    return ["bash", "-c", script], clean_environment(ALTLAS_URL=server.url)


@pytest.mark.parametrize("mark, text", list(blocks()))
def test_commands_run(mark, text, server, tmp_path):
    if mark.startswith("skip:"):
        pytest.skip(mark.removeprefix("skip:").strip())
    if mark == "server":
        return serves(text, server, tmp_path)
    assert mark == "", f"unknown mark '{mark}': skip: REASON, or server"
    command, environment = in_bash(text, server, tmp_path)
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def serves(text, server, folder):
    """Expects one `altlas serve` command to listen, and to end with 0."""
    text = re.sub(r"\s+#.*", "", text.strip()) + " --port 0 --data-dir /tmp/data"
    command, environment = in_bash("exec " + text, server, folder)
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout.readline().startswith("listening on http://")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.stdout.close()


def subcommands(help_text):
    if "\nSubcommands:\n" not in help_text:
        return []
    return re.findall(r"^  (\w[\w-]*)", help_text.split("\nSubcommands:\n")[1], re.M)


def cli_page():
    page = ["# Commands", "", "Generated from the program's own help; do not edit. Exit codes: 0 done, 2 bad usage or configuration, 1 otherwise.",
            "Settings in parentheses: the variable and the key of the configuration file that say the same.", ""]

    def add(path, level):
        text = run_cli(*path, "--help", check=True).stdout.rstrip()
        page.extend([f"{'#' * level} `{' '.join(['altlas', *path])}`", "", "```text", text, "```", ""])
        for name in subcommands(text + "\n"):
            add([*path, name], min(level + 1, 4))

    add([], 2)
    return "\n".join(page)


def test_cli_page_is_current():
    page, path = cli_page(), ROOT / "docs" / "cli.md"
    if os.environ.get("ALTLAS_UPDATE_DOCS"):
        path.write_text(page)
    assert "## `altlas`" in page and "### `altlas serve`" in page
    assert path.read_text() == page, "docs/cli.md is out of date: run this test with ALTLAS_UPDATE_DOCS=1"


def test_routes_and_metrics_of_a_server_are_in_the_pages(server):
    described = server.get("/openapi.json").json()
    api = (ROOT / "docs" / "api.md").read_text()
    for path, methods in described["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in api, f"{method} {path} is not in docs/api.md"
    server.post("/v1/completions", {"prompt": "x", "max_tokens": 2})
    metrics = (ROOT / "docs" / "metrics.md").read_text()
    names = set(re.findall(r"^# TYPE (\S+)", server.get("/metrics").text, re.M))
    assert len(names) > 10
    for name in names:
        assert f"`{name}`" in metrics, f"{name} is not in docs/metrics.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://|#|mailto:", target):
            continue
        assert (page.parent / target.split("#")[0]).exists(), f"{target} is not there"


def test_both_readmes_show_the_same_commands():
    """The Turkish page keeps up with the English one: it has the same blocks, comments aside, and the same links."""
    def commands(name):
        text = (ROOT / name).read_text()
        kept = [re.sub(r"\s*#.*", "", found["text"]).split() for found in BLOCK.finditer(text)]
        return kept, sorted(set(re.findall(r"\]\((docs/[^)]*)\)", text)))
    assert commands("README.md") == commands("README.tr.md")
