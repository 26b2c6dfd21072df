"""The pages of docs/adding are true: what they name exists, and some of them are carried out, step by step, on a scratch copy of
the sources, which the compiler and tidy then accept. Without one of the steps they do not."""
import re
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT

PAGES = sorted((ROOT / "docs" / "adding").glob("*.md"))
SOURCES = "\n".join(path.read_text(errors="replace") for folder in ("src", "tests", "tools", "cmake")
                    for path in sorted((ROOT / folder).rglob("*")) if path.suffix in (".h", ".cc", ".proto", ".py", ".txt", ".cmake"))
WORDS = set(re.findall(r"\w+", SOURCES))
COMPILER = shutil.which("clang++-19")


def quoted(page):
    """Returns the texts in backticks, each in one line."""
    return [re.sub(r"\s+", " ", text) for text in re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", page.read_text(), flags=re.S))]


def candidates(path):
    return [base / path for base in (ROOT, ROOT / "src", ROOT / "src/server", ROOT / "src/model", ROOT / "tests", ROOT / "docs", ROOT / "docs/adding")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_files_that_a_recipe_names_are_there(page):
    paths = [text for text in quoted(page) if re.fullmatch(r"[\w./-]+\.(h|cc|py|md|proto|txt)|(src|tests|docs|tools)/[\w./-]+/?", text)]
    gone = [path for path in paths if not any(place.exists() for place in candidates(path)) and not list(ROOT.glob(f"src/**/{path}"))]
    assert not gone
    assert paths or page.stem == "op"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_names_that_a_recipe_uses_are_in_the_sources(page):
    names = [name for text in quoted(page) if re.fullmatch(r"[\w:]+(\(\))?", text) for name in re.findall(r"\w+", text)]
    # Targets of the build, endings, and names that stand for others are not in the sources.
    mine = re.compile(r"\d+|\w+_test|_\w+|ALTLAS_SECTION_NAME")
    assert not [name for name in names if name not in WORDS and not mine.fullmatch(name)]


@pytest.fixture
def scratch(tmp_path):
    for folder in ("src", "tools"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "testdata"))
    return tmp_path


def insert(path, before, text):
    """Puts `text` before `before`, which must be there once."""
    source = path.read_text()
    assert source.count(before) == 1, f"{before} in {path.name}"
    path.write_text(source.replace(before, text + before))


def compiles(scratch, path):
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    done = subprocess.run([COMPILER, "-std=c++2b", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers",
                           "-I", scratch / "src", scratch / "src" / path], capture_output=True, text=True, timeout=300)
    return done.returncode == 0, done.stderr


def tidy(scratch):
    done = subprocess.run([sys.executable, scratch / "tools" / "tidy.py"], capture_output=True, text=True, timeout=300)
    return done.returncode == 0, done.stdout


def test_a_strategy_is_added_as_the_page_says(scratch):
    names, placement = scratch / "src/config/names.h", scratch / "src/scheduler/placement.cc"
    insert(names, "};\nenum class Priority", "  kHighestId,\n")
    source = names.read_text()
    names.write_text(source.replace('{"earliest_finish", 6}};', '{"earliest_finish", 6}, {"highest_id", 7}};'))
    done, words = compiles(scratch, "scheduler/placement.cc")
    assert not done and "kHighestId" in words  # The switch asks for step 2.
    insert(placement, "void run_strategy(", """void highest_id(const Chooser& chooser, Placement& out) {
  const Better better = [](const auto& a, const auto& b) { return a.id > b.id; };
  Best best(better);
  chooser.pick(better, best);
  best.tell(out);
  out.reason = fmt::format("device {} has the highest id", out.winner.value);
}

""")
    insert(placement, "    case Strategy::kTaskSpecific:", "    case Strategy::kHighestId:\n      return highest_id(chooser, out);\n")
    done, words = compiles(scratch, "scheduler/placement.cc")
    assert done, words
    done, words = tidy(scratch)
    assert done, words


def test_a_metric_is_added_as_the_page_says(scratch):
    metrics = scratch / "src/control/metrics.h"
    definition = """inline constexpr MetricDef kTasksMoved{.name = "NAME",
                                       .kind = MetricKind::kCounter,
                                       .help = "Tasks that moved to another device while they waited.",
                                       .unit = "tasks",
                                       .labels = {"deployment"}};
"""
    insert(metrics, "inline constexpr MetricDef kGpuUtilization{", definition.replace("NAME", "altlas_moves_total"))
    insert(metrics, "&kTasksTotal,        &kGeneratedTokensTotal,\n                                                       &kQueueSeconds", "&kTasksMoved,\n    ")
    done, words = compiles(scratch, "control/service_metrics.cc")
    assert done, words
    done, words = tidy(scratch)
    assert not done and "altlas_moves_ names no room" in words
    metrics.write_text(metrics.read_text().replace("altlas_moves_total", "altlas_control_moved_tasks_total"))
    done, words = tidy(scratch)
    assert done, words


def test_a_route_is_added_as_the_page_says(scratch):
    system = scratch / "src/server/system.cc"
    insert(system, "// GET /version, as vLLM has it.", """// GET /api/v1/uptime.
awaitable<Result<Response>> uptime(Request, Services& services) {
  const json::object answer{{"version", services.version}};
  co_return json_response(text::json_text(answer));
}

""")
    first = re.search(r'\n( *)\{"GET",\s*"/health"', system.read_text())
    assert first, "the row of /health"
    insert(system, first[0], '\n      {"GET", "/api/v1/uptime", Access::kUser, uptime, "How long the server runs"},')
    done, words = compiles(scratch, "server/system.cc")
    assert done, words
    done, words = tidy(scratch)
    assert done, words
