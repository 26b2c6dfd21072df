"""Packs the program beside the modules: build/altlas of the checkout, which is built first where it is not there."""
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = pathlib.Path(__file__).resolve().parent.parent


def program():
    """Returns the program to pack: ALTLAS_BINARY, else build/altlas, built where it is not there."""
    named = os.environ.get("ALTLAS_BINARY")
    if named:
        return pathlib.Path(named)
    built = ROOT / "build" / "altlas"
    if not built.exists():
        build()
    return built


def build():
    """Builds build/altlas and says so every 10 seconds, to the terminal too, where pip keeps the output to itself."""
    if not (ROOT / "tools" / "build").exists():
        sys.exit("altlas: there is no build/altlas and no checkout around python/ to build it from: set ALTLAS_BINARY")
    over = threading.Event()
    begun = time.monotonic()

    def say():
        try:
            out = open("/dev/tty", "w")
        except OSError:
            out = sys.stderr
        while not over.wait(10):
            print("altlas: building the program, %d s so far" % (time.monotonic() - begun), file=out, flush=True)

    threading.Thread(target=say, daemon=True).start()
    try:
        subprocess.run([str(ROOT / "tools" / "build"), "release", "altlas"], cwd=str(ROOT), check=True)
    finally:
        over.set()


class BuildWithProgram(build_py):
    """Copies the program, without its symbols, into the package."""

    def run(self):
        super().run()
        folder = pathlib.Path(self.build_lib) / "altlas" / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / "altlas"
        shutil.copy2(str(program().resolve()), str(target))
        subprocess.run(["strip", str(target)], check=True)
        target.chmod(0o755)


class PlatformWheel(bdist_wheel):
    """The wheel holds a program of one platform and runs under every Python 3."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


class WithProgram(Distribution):
    """Its files depend on the platform, as an extension module's do."""

    def has_ext_modules(self):
        return True


setup(distclass=WithProgram, cmdclass={"build_py": BuildWithProgram, "bdist_wheel": PlatformWheel})
