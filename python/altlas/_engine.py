"""The engine's process: an `altlas serve` that this package starts on a free loopback port, with a key that only it knows.

It ends with this process, however that ends: close(), the end of the interpreter, or PR_SET_PDEATHSIG."""
import atexit
import json
import logging
import os
import queue
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import weakref
from typing import Any, Callable, Dict, List, Optional

from ._version import __version__
from .client import Client
from .errors import Error

log = logging.getLogger("altlas")
_PR_SET_PDEATHSIG = 1
# What would change where the engine listens, what it keeps and who may ask it.
_NOT_INHERITED = ("ALTLAS_SERVER_", "ALTLAS_STORE_", "ALTLAS_AUTH_", "ALTLAS_API_KEY", "ALTLAS_CLUSTER_")


def find_binary() -> str:
    """Returns the program: ALTLAS_BINARY, the one in this package, or `altlas` of PATH. Raises Error where there is none."""
    named = os.environ.get("ALTLAS_BINARY")
    if named:
        if os.access(named, os.X_OK):
            return named
        raise Error("ALTLAS_BINARY: %r is no program" % named, "not_found", "ALTLAS_BINARY")
    own = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "altlas")
    if os.access(own, os.X_OK):
        return own
    found = _altlas_of_path()
    if found:
        return found
    raise Error("the program altlas is not in this package and not in PATH: `pip install ./python` builds it, and "
                "ALTLAS_BINARY names one", "not_found", "ALTLAS_BINARY")


def _altlas_of_path() -> Optional[str]:
    """Returns an `altlas` of PATH that is a program, not this package's own script."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        path = os.path.join(folder, "altlas")
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            with open(path, "rb") as file:
                if file.read(4) == b"\x7fELF":
                    return path
    return None


class _Launcher:
    """A thread that starts processes and never ends: PR_SET_PDEATHSIG counts the death of the thread that forked."""

    def __init__(self) -> None:
        self._work: "queue.Queue[Callable[[], None]]" = queue.Queue()
        self._pid = os.getpid()
        threading.Thread(target=self._run, name="altlas-launcher", daemon=True).start()

    def _run(self) -> None:
        while True:
            self._work.get()()

    def start(self, command: List[str], environment: Dict[str, str], log_file: int) -> "subprocess.Popen[str]":
        import ctypes
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        parent = os.getpid()

        def die_with_parent() -> None:
            prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

        done: "queue.Queue[Any]" = queue.Queue()

        def work() -> None:
            try:
                # A session of its own: a terminal's Ctrl-C is for this process to answer.
                done.put(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log_file,
                                          env=environment, start_new_session=True, preexec_fn=die_with_parent,
                                          universal_newlines=True))
            except Exception as problem:  # It is raised again where it is waited for.
                done.put(problem)

        self._work.put(work)
        made = done.get()
        if isinstance(made, Exception):
            raise Error("can't start %s: %s" % (command[0], made), "io") from None
        return made  # type: ignore[no-any-return]

    @property
    def of_this_process(self) -> bool:
        return self._pid == os.getpid()


_launcher: Optional[_Launcher] = None
_launcher_lock = threading.Lock()
_running: "weakref.WeakSet[Engine]" = weakref.WeakSet()


def _start(command: List[str], environment: Dict[str, str], log_file: int) -> "subprocess.Popen[str]":
    global _launcher
    with _launcher_lock:
        if _launcher is None or not _launcher.of_this_process:
            _launcher = _Launcher()
        return _launcher.start(command, environment, log_file)


@atexit.register
def _close_all() -> None:
    for engine in list(_running):
        engine.close()


class Engine:
    """A server of this process. flags: of `altlas serve`; settings: sections of its configuration.

    Raises Error where the server does not come up, with the last it said. Threads: any; not usable after a fork."""

    def __init__(self, flags: List[str], settings: Dict[str, Any]) -> None:
        self._pid = os.getpid()
        self._closed = False
        self._lock = threading.Lock()
        self._folder = tempfile.mkdtemp(prefix="altlas-")
        self.api_key = secrets.token_urlsafe(32)
        config = os.path.join(self._folder, "altlas.yaml")
        with open(config, "w", encoding="utf-8") as file:
            json.dump(settings, file)  # JSON is YAML.
        self._log_path = os.path.join(self._folder, "log")
        binary = find_binary()
        command = [binary, "serve", "--port", "0", "--host", "127.0.0.1", "--data-dir", "none", "--config", config, *flags]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
        environment["ALTLAS_API_KEY"] = self.api_key
        log_file = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self.process = _start(command, environment, log_file)
        finally:
            os.close(log_file)
        _running.add(self)
        try:
            self.url = self._read_url(binary)
            self.client = Client(self.url, self.api_key, timeout_s=86400.0)
            self._check_version(binary)
        except BaseException:
            self.close()
            raise

    def _read_url(self, binary: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = re.match(r"listening on (\S+)", line)
            if found:
                threading.Thread(target=self._drain, name="altlas-output", daemon=True).start()
                return found.group(1)
        self.process.wait()
        raise Error(self._why(binary), "unavailable")

    def _drain(self) -> None:
        assert self.process.stdout is not None
        try:
            for line in self.process.stdout:
                log.debug("engine: %s", line.rstrip())
        except (OSError, ValueError):
            pass

    def _check_version(self, binary: str) -> None:
        version = self.client.version()
        if version != __version__:
            raise Error("%s is altlas %s, but this package is %s: install both of one version, or leave ALTLAS_BINARY out"
                        % (binary, version, __version__), "invalid", "ALTLAS_BINARY")

    def _why(self, binary: str) -> str:
        lines = self.log_text().strip().splitlines()
        said = [re.sub(r"^.*?\berror\b[: ]*", "", line) for line in lines if "error" in line.lower()] or lines[-3:]
        return "the engine did not start: %s" % (" ".join(said[-3:]) or "%s ended with %s and said nothing"
                                                 % (binary, self.process.returncode))

    def log_text(self) -> str:
        """Returns the end of what the engine logged, at most 64 KiB."""
        try:
            with open(self._log_path, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 65536))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def check(self) -> None:
        """Raises Error where it can't be used: closed, ended, or of another process."""
        if self._pid != os.getpid():
            raise Error("this LLM was made before a fork and belongs to process %d: make one in each process, after the "
                        "fork (or start processes with `spawn`)" % self._pid, "conflict")
        if self._closed:
            raise Error("this LLM is closed", "canceled")
        if self.process.poll() is not None:
            raise Error("the engine's process ended with %d: %s" % (
                self.process.returncode, " ".join(self.log_text().strip().splitlines()[-3:])), "unavailable")

    def close(self) -> None:
        """Ends the process and takes its folder away. In a child after a fork it does nothing."""
        if self._pid != os.getpid():
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
        _running.discard(self)
        if hasattr(self, "client"):
            self.client.close()
        if hasattr(self, "process"):
            if self.process.poll() is None:
                self.process.terminate()
                try:
                    self.process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)
