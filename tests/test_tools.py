"""The scripts around the program keep their promises: CMake asks for what tools/packages names and the other way round, the
installer says what to do, skipped tests are explained, and tidy needs no git."""
import ast
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import test_report  # noqa: E402

# Debian package: what it is for, as (how it is asked for, a file of it that answers). `cmake`: what CMake asks for.
# `command`: a word of a script, a test or a preset. `text`: words in the sources that need it.
PACKAGES = {
    "clang-19": [("command", "clang++-19", "/usr/bin/clang++-19"), ("command", "clang-19", "/usr/bin/clang-19")],
    "lld-19": [("cmake", "find_program ld.lld-19", "/usr/bin/ld.lld-19")],
    "cmake": [("command", "cmake", "/usr/bin/cmake"), ("command", "ctest", "/usr/bin/ctest")],
    "ninja-build": [("command", "Ninja", "/usr/bin/ninja")],
    "ccache": [("cmake", "find_program ccache", "/usr/bin/ccache")],
    "pkgconf": [("cmake", "find_package PkgConfig", "/usr/bin/pkg-config")],
    "protobuf-compiler": [("cmake", "find_package Protobuf", "/usr/bin/protoc"), ("command", "protoc", "/usr/bin/protoc")],
    "libprotobuf-dev": [("cmake", "find_package Protobuf", "/usr/include/google/protobuf/message.h")],
    "libboost1.81-dev": [("cmake", "find_package Boost", "/usr/include/boost/asio.hpp")],
    "libboost-json1.81-dev": [("cmake", "find_package Boost json", "boost_json-config.cmake")],
    "libboost-url1.81-dev": [("cmake", "find_package Boost url", "boost_url-config.cmake")],
    "libsqlite3-dev": [("cmake", "find_package SQLite3", "/usr/include/sqlite3.h")],
    "libyaml-cpp-dev": [("cmake", "find_package yaml-cpp", "yaml-cpp-config.cmake")],
    "libcli11-dev": [("cmake", "find_package CLI11", "CLI11Config.cmake")],
    "libfmt-dev": [("cmake", "find_package fmt", "fmt-config.cmake")],
    "libspdlog-dev": [("cmake", "find_package spdlog", "spdlogConfig.cmake")],
    "libhwy-dev": [("cmake", "pkg_check_modules libhwy", "libhwy.pc")],
    "libpcre2-dev": [("cmake", "pkg_check_modules libpcre2-8", "libpcre2-8.pc")],
    "libutf8proc-dev": [("cmake", "pkg_check_modules libutf8proc", "libutf8proc.pc")],
    "libssl-dev": [("cmake", "find_package OpenSSL", "/usr/include/openssl/ssl.h")],
    "libgtest-dev": [("cmake", "find_package GTest", "GTestConfig.cmake")],
    "libgmock-dev": [("cmake", "find_package GTest", "/usr/include/gmock/gmock.h")],
    "libbenchmark-dev": [("cmake", "find_package benchmark", "benchmarkConfig.cmake")],
    "python3": [("cmake", "find_package Python3", None), ("command", "python3", None)],
    "python3-pip": [("command", "pip", "/usr/bin/pip3")],
    "ca-certificates": [("text", "set_default_verify_paths", "/usr/sbin/update-ca-certificates")],
    "libclang-rt-19-dev": [("command", "ALTLAS_SANITIZE", "libclang_rt.asan_static-x86_64.a" if os.uname().machine == "x86_64" else None)],
    "llvm-19": [("command", "llvm-symbolizer-19", "/usr/bin/llvm-symbolizer-19")],
    "python3-venv": [("command", "venv", None)],
    "curl": [("command", "curl", "/usr/bin/curl")],
    "openssl": [("command", "openssl", "/usr/bin/openssl")],
    "valgrind": [("command", "valgrind", "/usr/bin/valgrind")],
    "binutils": [("command", "strip", "/usr/bin/strip")],
    "chromium": [("command", "chromium", "/usr/bin/chromium")],
    "prometheus": [("command", "prometheus", "/usr/bin/prometheus"), ("command", "promtool", "/usr/bin/promtool")],
    "clang-format-19": [("command", "clang-format-19", None)],
    "g++-12": [("command", "g++-12", None)],
}
# What a bare Debian has (the C library comes with the compiler), and programs that a test makes or that a bench is told of.
ALWAYS = {"find_package Threads"}
PROGRAMS = {"bash", "sh", "cc"} | {"ldconfig"}

# What is found must be linked; this is the target that shows it.
LINKED = {"Threads": "Threads::Threads", "Boost json": "Boost::json", "Boost url": "Boost::url", "OpenSSL": "OpenSSL::SSL",
          "SQLite3": "SQLite::SQLite3", "Protobuf": "protobuf::libprotobuf", "yaml-cpp": "yaml-cpp", "CLI11": "CLI11::CLI11",
          "fmt": "fmt::fmt", "spdlog": "spdlog::spdlog", "libhwy": "PkgConfig::HWY", "libpcre2-8": "PkgConfig::PCRE2",
          "libutf8proc": "PkgConfig::UTF8PROC", "GTest": "GTest::gtest_main", "benchmark": "benchmark::benchmark_main"}


def named_packages(text=None):
    lines = (ROOT / "tools" / "packages").read_text().splitlines() if text is None else text.splitlines()
    return [line for line in lines if line and not line.startswith(("#", "["))]


def cmake_files():
    found = [ROOT / "CMakeLists.txt", *ROOT.glob("src/*/CMakeLists.txt"), *ROOT.glob("tests/CMakeLists.txt"), *ROOT.glob("cmake/*.cmake")]
    return [path.read_text() for path in found if path.name != "arm64-linux.cmake"]


def asked_of_cmake(texts):
    """Returns 'find_package Boost json' and the like, for every call in these texts."""
    asked = set()
    for text in texts:
        text = re.sub(r"#.*", "", text)
        for name, rest in re.findall(r"find_package\(\s*(\S+?)\s*(?:\s([^)]*))?\)", text):
            asked.add(f"find_package {name}")
            parts = rest.split("COMPONENTS")[1].split() if "COMPONENTS" in rest else []
            asked |= {f"find_package {name} {part}" for part in parts if part.islower()}
        for words in re.findall(r"pkg_(?:check_modules|search_module)\(([^)]*)\)", text):
            flags = {"REQUIRED", "IMPORTED_TARGET", "QUIET", "GLOBAL"}
            asked |= {f"pkg_check_modules {one}" for one in words.split()[1:] if one not in flags}
        for words in re.findall(r"find_(?:program|library|path|file)\(([^)]*)\)", text):
            asked.add(f"find_program {[one for one in words.split()[1:] if one != 'NAMES'][0]}")
    return asked


def unmatched(texts, packages):
    """Returns what CMake asks for and no named package gives, and what a package should give CMake but nobody asks for."""
    asked = asked_of_cmake(texts) - ALWAYS
    given = {what for package in packages for kind, what, _ in PACKAGES.get(package, []) if kind == "cmake"}
    return asked - given, given - asked


def test_cmake_asks_for_what_is_installed():
    packages = named_packages()
    assert len(asked_of_cmake(cmake_files())) > 15
    assert unmatched(cmake_files(), packages) == (set(), set())
    assert sorted(packages) == sorted(PACKAGES), "a package without a use here, or a use without its package"
    assert len(set(packages)) == len(packages)


@pytest.mark.parametrize("more", ["find_package(hwloc REQUIRED)", "pkg_check_modules(HWLOC REQUIRED IMPORTED_TARGET hwloc)",
                                  "find_package(CURL)", "find_package( Boost 1.81 COMPONENTS json program_options)",
                                  "find_library(NUMA numa)", "find_program(GO NAMES go)"])
def test_another_library_is_seen(more):
    missing, _ = unmatched([*cmake_files(), more], named_packages())
    assert len(missing) == 1


@pytest.mark.parametrize("package", [name for name, uses in PACKAGES.items() if uses[0][0] == "cmake"])
def test_a_missing_package_is_seen(package):
    missing, _ = unmatched(cmake_files(), [name for name in named_packages() if name != package])
    both = {"protobuf-compiler", "libprotobuf-dev", "libgtest-dev", "libgmock-dev"}  # Two packages answer one call.
    assert package in both or missing == {what for kind, what, _ in PACKAGES[package] if kind == "cmake"}


def test_what_is_found_is_linked():
    asked = {one.split(" ", 1)[1] for one in asked_of_cmake(cmake_files()) if not one.startswith("find_program")}
    assert asked - {"Boost", "PkgConfig", "Python3"} == set(LINKED)
    calls = " ".join(re.sub(r"find_package\([^)]*\)", "", text) for text in cmake_files())
    for found, target in LINKED.items():
        assert re.search(rf"(?<![\w:-]){re.escape(target)}(?![\w:-])", calls), f"{found} is asked for and linked by nobody"


def scripts():
    """Returns scripts, tests and presets: whatever names a program."""
    paths = [ROOT / name for name in ("run", "test", "Makefile", "CMakePresets.json")]
    for folder, pattern in ((".ci", "*"), ("tools", "*"), ("tests", "*.py"), ("cmake", "*"), ("bench/engine", "*.py"), ("src/weights", "pull.cc")):
        paths += [path for path in ROOT.glob(f"{folder}/{pattern}") if path.is_file()]
    return {path: path.read_text() for path in paths if path not in (ROOT / "tools" / "packages", pathlib.Path(__file__))}


def test_every_package_has_a_use():
    words = "\n".join(scripts().values())
    for package, uses in PACKAGES.items():
        for kind, what, _ in uses:
            if kind == "command":
                assert re.search(rf"(?<![\w-]){re.escape(what)}(?![\w-])", words), f"{package}: nobody calls {what}"
            elif kind == "text":
                assert any(what in path.read_text() for path in ROOT.glob("src/**/*.cc")), f"{package}: no source says {what}"


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="no Debian")
@pytest.mark.parametrize("package", PACKAGES)
def test_the_package_holds_the_file(package):
    listed = subprocess.run(["dpkg-query", "-L", package], capture_output=True, text=True)
    if listed.returncode != 0:
        assert package in ("clang-format-19", "g++-12"), f"{package} is not installed"  # `tools/install dev` installs it.
        return
    for _, what, file in PACKAGES[package]:
        assert file is None or re.search(rf"(^|/){re.escape(file)}$", listed.stdout, re.M), f"{package}: {what}: no {file}"


def called_programs(text):
    """Returns the first words of argument lists of subprocess.run and Popen, and what shutil.which is asked for."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
            continue
        first = node.args[0]
        if node.func.attr in ("run", "Popen", "check_output", "check_call") and isinstance(first, ast.List) and first.elts:
            first = first.elts[0]
        elif node.func.attr != "which":
            continue
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value


def test_programs_that_tests_call_are_installed():
    known = PROGRAMS | {what for uses in PACKAGES.values() for kind, what, _ in uses if kind == "command"} | {"llvm-strip-19", "dpkg-query"}
    called = {name: path for path, text in scripts().items() if path.suffix == ".py" for name in called_programs(text)}
    assert {"openssl", "valgrind"} <= set(called)
    assert set(called) - known == set(), called


def fake(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def install(folder, *arguments, sudo=None, uid=1000, missing=("clang-19", "ninja-build")):
    """Runs tools/install with `missing` missing, as this user, with such a sudo. Returns what apt-get was told."""
    folder.mkdir(exist_ok=True)
    fake(folder, "dpkg-query", f"case ' {' '.join(missing)} ' in *\" ${{@: -1}} \"*) exit 1;; esac; echo 'install ok installed'")
    fake(folder, "id", f"echo {uid}")
    fake(folder, "apt-get", f'echo "$0 $*" >>{folder}/told')
    for name in ("bash", "env", "grep", "dirname", "true"):
        (folder / name).symlink_to(shutil.which(name))
    if sudo is not None:
        fake(folder, "sudo", sudo)
    done = subprocess.run([shutil.which("bash"), ROOT / "tools" / "install", *arguments], capture_output=True, text=True,
                          env={"PATH": str(folder)}, stdin=subprocess.DEVNULL)
    told = (folder / "told").read_text() if (folder / "told").exists() else ""
    return done, told


@pytest.mark.parametrize("sudo", [None, "echo 'a password is required' >&2; exit 1"], ids=["no sudo", "sudo that refuses"])
def test_a_user_is_told_what_to_do(tmp_path, sudo):
    done, told = install(tmp_path / "bin", sudo=sudo)
    assert done.returncode == 1
    assert "apt-get install --no-install-recommends clang-19 ninja-build" in done.stderr
    assert "As root" in done.stderr and told == ""


def test_a_user_with_sudo_installs(tmp_path):
    done, told = install(tmp_path / "bin", sudo='while [[ $1 == -* ]]; do shift; done; exec "$@"')
    assert done.returncode == 0, done.stderr
    assert "update" in told and "--no-install-recommends clang-19 ninja-build" in told


def test_root_needs_no_sudo(tmp_path):
    done, told = install(tmp_path / "bin", uid=0)
    assert done.returncode == 0 and "--no-install-recommends clang-19 ninja-build" in told


@pytest.mark.parametrize("part, more", [("build", []), ("test", ["curl", "openssl"]), ("dev", ["curl", "openssl", "g++-12"])])
def test_parts_build_on_each_other(tmp_path, part, more):
    _, told = install(tmp_path / "bin", part, uid=0, missing=("cmake", "curl", "openssl", "g++-12"))
    assert told.splitlines()[-1].split("recommends ")[1].split() == ["cmake", *more]


def test_nothing_missing_asks_for_nothing(tmp_path):
    done, told = install(tmp_path / "bin", "dev", missing=())
    assert (done.returncode, done.stderr, told) == (0, "", "")


def test_another_part_is_refused(tmp_path):
    done, told = install(tmp_path / "bin", "tests", uid=0)
    assert done.returncode != 0 and "no part 'tests'" in done.stderr and told == ""


def test_tidy_needs_no_git(tmp_path):
    """tidy reads the sources of a folder that is no repository, and of one whose text is wrong, without git."""
    for name in ("tools", "src"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("testdata", "__pycache__"))

    def tidy():
        return subprocess.run([sys.executable, tmp_path / "tools" / "tidy.py"], capture_output=True, text=True, env={"PATH": "/nowhere"})

    done = tidy()
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "src" / "base" / "another.h").write_text("#include <vector>\n")
    done = tidy()
    assert done.returncode == 1 and "src/base/another.h" in done.stdout


JUNIT = """<testsuite>
<testcase name="a/Fast.Test" time="0.1" status="run"><system-out>fine</system-out></testcase>
<testcase name="a/Cpu.Wide" time="0.2" status="notrun"><skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/>
<system-out>[ RUN      ] Cpu.Wide
/src/a_test.cc:7: Skipped
this CPU has no AVX-1024
[  SKIPPED ] Cpu.Wide (0 ms)</system-out></testcase>
<testcase name="end_to_end/test_x" time="9" status="run"><system-out>..s.
=== short test summary info ===
SKIPPED [1] test_x.py:12: the network is away
3 passed, 1 skipped in 9.00s</system-out></testcase>
<testcase name="a/Child" time="0" status="disabled"><skipped message="Disabled"/></testcase>
{more}</testsuite>"""
EXPLAINED = """# Comment.
*:a/Cpu.* | this CPU has no * | hardware
run:end_to_end/test_x | the network is away | outside CI: a laptop may be offline
*:a/Child | disabled | a child of another test
"""


@pytest.mark.parametrize("excuses, more, ci, code, words", [
    (EXPLAINED, "", False, 0, ["2 passed, 0 failed, 2 skipped", "9.0 s  run:end_to_end/test_x", "this CPU has no AVX-1024 (hardware)"]),
    (EXPLAINED, "", True, 1, ["the network is away (NOT EXPLAINED"]),
    (EXPLAINED.replace("*:a/Cpu.*", "other:a/Cpu.*"), "", False, 1, ["run:a/Cpu.Wide: this CPU has no AVX-1024 (NOT EXPLAINED"]),
    (EXPLAINED.replace("this CPU has no *", "no model"), "", False, 1, ["a/Cpu.Wide: this CPU has no AVX-1024 (NOT EXPLAINED"]),
    (EXPLAINED.replace("disabled", "gone"), "", False, 1, ["run:a/Child: disabled (NOT EXPLAINED"]),
    (EXPLAINED, '<testcase name="b/Bad" time="1" status="fail"><failure message=""/></testcase>', False, 1, ["Failed: run:b/Bad", "1 failed"]),
    (EXPLAINED, '<testcase name="c/Code" time="1" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/><system-out>skipped: no valgrind'
     '</system-out></testcase>', False, 1, ["run:c/Code: no valgrind (NOT EXPLAINED"]),
    (EXPLAINED, '<testcase name="c/Mute" time="1" status="notrun"><skipped message="SKIP_RETURN_CODE=5"/></testcase>', False, 1,
     ["run:c/Mute: no reason given (NOT EXPLAINED"]),
])
def test_skips_need_a_reason(tmp_path, capsys, excuses, more, ci, code, words):
    (tmp_path / "junit.xml").write_text(JUNIT.replace("{more}", more))
    assert test_report.main([f"run={tmp_path / 'junit.xml'}"], excuses, ci) == code
    said = capsys.readouterr().out
    for word in words:
        assert word in said, said


def test_only_the_slowest_are_listed(tmp_path, capsys):
    cases = "".join(f'<testcase name="t{i:02}" time="{i}" status="run"/>' for i in range(30))
    (tmp_path / "junit.xml").write_text(f"<testsuite>{cases}</testsuite>")
    assert test_report.main([f"run={tmp_path / 'junit.xml'}"], "", False) == 0
    listed = re.findall(r"s  run:(t\d+)", capsys.readouterr().out)
    assert listed == [f"t{i:02}" for i in range(29, 19, -1)]


@pytest.mark.parametrize("line", ["a | b", "a | | c", "a | b | c | d", "a"])
def test_a_line_that_explains_nothing_is_refused(line):
    with pytest.raises(SystemExit, match="may_skip.txt:2"):
        test_report.read_excuses(f"# first\n{line}\n")


def test_the_real_list_is_read():
    assert len(test_report.read_excuses(test_report.MAY_SKIP.read_text())) > 3
