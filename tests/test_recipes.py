"""The pages of docs/adding are true: what they name exists, and they are carried out, step by step, on a scratch copy of the
sources, which the compiler and tidy then accept; without one of the steps they do not. Recipes whose sources take long to
compile are in test_recipes_slow.py."""
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


def replace(path, old, new):
    """Puts `new` in place of `old`, which stands there once."""
    source = path.read_text()
    assert source.count(old) == 1, f"{old} in {path.name}"
    path.write_text(source.replace(old, new))


def compiles(scratch, path):
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    done = subprocess.run([COMPILER, "-std=c++2b", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers",
                           "-I", scratch / "src", "-I", scratch / "gen", scratch / "src" / path], capture_output=True, text=True, timeout=1200)
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
  const Best best = chooser.pick(better);
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
    insert(metrics, "&kTasksTotal,\n", "&kTasksMoved,\n    ")
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


def test_a_setting_is_added_as_the_page_says(scratch):
    engine, replica = scratch / "src/config/engine_config.h", scratch / "src/replica/settings.h"
    insert(engine, "\n  static constexpr void fields(auto&& field) {\n    layout_fields(field);", "\n  int64_t step_pause_ms = 0;")
    done, words = compiles(scratch, "config/type.cc")
    assert not done and "describe every member in fields()" in words  # A member without a row.
    rows = "  static constexpr void step_fields(auto& field) {\n    using S = EngineConfig;\n"
    replace(engine, rows, rows + """    field("step_pause_ms", &S::step_pause_ms,
          FieldInfo{.help = "Between two steps.", .unit = "ms", .min = 0, .max = 1000});
""")
    done, words = compiles(scratch, "config/type.cc")
    assert done, words
    # A setting that replicas read: the same in ReplicaSettings, and it is where it is read.
    (scratch / "src/replica/pause_test.cc").write_text("""#include "replica/settings.h"

uint32_t pause_of(const altlas::config::EngineConfig& engine) {
  return altlas::replica::settings_of<altlas::replica::ReplicaSettings>(engine).step_pause_ms;
}
""")
    insert(replica, "  // Calls field(name in frames, member,", "  uint32_t step_pause_ms = 0;\n")
    done, words = compiles(scratch, "replica/pause_test.cc")
    assert not done and "describe every member in fields()" in words
    row = '    field("executor_depth", &S::executor_depth, &C::executor_depth);\n'
    replace(replica, row, row + row.replace("executor_depth", "step_pause_ms"))
    done, words = compiles(scratch, "replica/pause_test.cc")
    assert done, words
    done, words = tidy(scratch)
    assert done, words


def test_an_operation_is_added_as_the_page_says(scratch):
    folder = scratch / "src/ops/max_norm"
    folder.mkdir()
    for part in ("rms_norm.h", "rms_norm_ref.cc", "rms_norm_cpu.cc", "rms_norm_test.cc"):
        source = (scratch / "src/ops/rms_norm" / part).read_text()
        (folder / part.replace("rms_norm", "max_norm")).write_text(source.replace("rms_norm", "max_norm").replace("RmsNorm", "MaxNorm"))
    for part in ("max_norm_ref.cc", "max_norm_cpu.cc", "max_norm_test.cc"):
        done, words = compiles(scratch, f"ops/max_norm/{part}")
        assert done, words
    done, words = tidy(scratch)
    assert done, words


def test_a_simd_target_is_added_as_the_page_says(scratch):
    header, source = scratch / "src/ops/simd.h", scratch / "src/ops/simd.cc"
    insert(header, "  kAvx512Vnni,\n", "  kAvx10,\n")
    done, words = compiles(scratch, "ops/simd.cc")
    assert not done and words.count("kAvx10") >= 2  # highway_targets() and to_string() ask for it.
    insert(source, "    case SimdTarget::kAvx512Vnni:\n    case", "    case SimdTarget::kAvx10:\n")
    insert(source, "    case SimdTarget::kAvx512Vnni:\n      return \"", '    case SimdTarget::kAvx10:\n      return "avx10";\n')
    insert(source, "  if (target == SimdTarget::kAvx512Vnni) return has", "  if (target == SimdTarget::kAvx10) return has_avx512_vnni();\n")
    insert(source, "SimdTarget::kAvx512Vnni, SimdTarget::kAvx512Bf16, SimdTarget::kAmx,", "SimdTarget::kAvx10,\n    ")
    done, words = compiles(scratch, "ops/simd.cc")
    assert done, words
    example = (scratch / "src/ops/matmul/matmul_avx_vnni.cc").read_text()
    (scratch / "src/ops/matmul/matmul_avx10.cc").write_text(example.replace("matmul_kernel_avx_vnni", "matmul_kernel_avx10"))
    insert(scratch / "src/ops/matmul/kernels.h", "MatmulKernel matmul_kernel_avx512();", "MatmulKernel matmul_kernel_avx10();\n")
    insert(scratch / "src/ops/matmul/matmul.cc", "    case SimdTarget::kAvxVnni:", "    case SimdTarget::kAvx10:\n      return matmul_kernel_avx10();\n")
    for part in ("matmul_avx10.cc", "matmul.cc"):
        done, words = compiles(scratch, f"ops/matmul/{part}")
        assert done, words
    done, words = tidy(scratch)
    assert done, words


def test_an_architecture_is_added_as_the_page_says(scratch):
    table = scratch / "src/model/architecture.cc"
    row = '    {.name = "qwen2", .hugging_face = "qwen2", .qkv_bias = true},\n'
    insert(table, row, row.replace("qwen2", "tinymodel"))
    done, words = compiles(scratch, "model/architecture.cc")
    assert done, words
    done, words = tidy(scratch)
    assert done, words


def pure_virtuals(path, name):
    body = re.search(rf"^class {name} \{{.*?^\}};", (ROOT / "src" / path).read_text(), re.S | re.M)
    return re.findall(r"virtual [^;]*?(\w+)\([^;]*\) (?:const )?= 0;", body[0])


def test_the_page_on_devices_names_all_that_a_kind_must_answer(scratch):
    page = (ROOT / "docs/adding/device.md").read_text()
    asked = pure_virtuals("device/device.h", "Device") + pure_virtuals("model/forward.h", "Forward")
    assert len(asked) > 20
    assert not [name for name in asked if f"`{name}()`" not in page]
    # A new kind without a name does not compile.
    insert(scratch / "src/device/device.h", "kSim };\nstd::string_view to_string(DeviceKind kind);", "kToy, ")
    done, words = compiles(scratch, "device/device.cc")
    assert not done and "kToy" in words
    insert(scratch / "src/device/device.cc", "    case DeviceKind::kSim:", '    case DeviceKind::kToy:\n      return "toy";\n')
    done, words = compiles(scratch, "device/device.cc")
    assert done, words
