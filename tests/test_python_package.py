"""The package itself: typed, of the Pythons that it names, and one wheel that holds the program."""
import ast
import pathlib
import re
import subprocess
import sys
import zipfile

from conftest import BINARY, ROOT, clean_environment

PACKAGE = ROOT / "python" / "altlas"


def test_types_are_strict():
    found = subprocess.run([sys.executable, "-m", "mypy", "--cache-dir", "/dev/null", "--config-file", "pyproject.toml"], cwd=ROOT / "python",
                           capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


def test_it_runs_on_python_3_8():
    for path in PACKAGE.rglob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 8))
    found = subprocess.run([str(pathlib.Path(sys.executable).parent / "vermin"), "-t=3.8-", "--no-tips", "--violations", str(PACKAGE)],
                           capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_names_and_version_are_those_of_the_program():
    sys.path.insert(0, str(ROOT / "python"))
    import altlas
    assert all(hasattr(altlas, name) for name in altlas.__all__)
    assert re.search(r"project\(altlas VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text()).group(1) == altlas.__version__


def test_both_clients_have_the_same_methods():
    import inspect

    import altlas
    blocking, asynchronous = [{name: inspect.signature(value) for name, value in vars(kind).items() if inspect.isfunction(value) and name[0] != "_"}
                              for kind in (altlas.Client, altlas.AsyncClient)]
    assert {name: list(one.parameters.values()) for name, one in blocking.items()} == {
        name: list(one.parameters.values()) for name, one in asynchronous.items()}


def test_the_wheel_installs_and_runs(tmp_path):
    environment = clean_environment(ALTLAS_BINARY=BINARY)
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(ROOT / "python")],
                   check=True, env=environment)
    (wheel,) = tmp_path.glob("*.whl")
    assert re.fullmatch(r"altlas-[\d.]+-py3-none-\w+\.whl", wheel.name)
    names = zipfile.ZipFile(wheel).namelist()
    assert "altlas/bin/altlas" in names and "altlas/py.typed" in names
    assert wheel.stat().st_size <= 15 << 20
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path / "site"), str(wheel)], check=True)
    said = subprocess.run([sys.executable, "-m", "altlas", "--version"], cwd=tmp_path, capture_output=True, text=True,
                          env=clean_environment(PYTHONPATH=str(tmp_path / "site")))
    assert said.returncode == 0 and said.stdout.strip(), said.stderr
    assert pathlib.Path(tmp_path / "site/altlas/bin/altlas").stat().st_mode & 0o111
