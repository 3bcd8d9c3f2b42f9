"""Makes the virtual environment and builds the workspace; the launcher calls it when needed.

Runs on a bare Python 3.10+, before anything is installed: standard library only, no package
import. Every step may be interrupted: what counts as done is written last, and a start that
finds it missing does the step again. A lock lets two first starts follow each other.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_COLCON = "import sys; from colcon_core.command import main; sys.exit(main())"
_TAIL_LINES = 12
#: The oldest Node that Vite runs on.
_NODE = (20, 19)
#: Where a sourced ROS 2 brings its own, compiled for: another version would break its messages.
_ROS_OWNS = {"numpy": "numpy", "opencv-python-headless": "cv2"}


class StepError(Exception):
    """A step failed: which, its last output, and what to do about it."""

    def __init__(self, step: str, tail: Sequence[str], log: Path, fix: str) -> None:
        lines = "".join(f"\n    {line}" for line in tail)
        super().__init__(f"{step} failed:{lines}\n  whole output: {log}\n  fix: {fix}")


class Steps:
    """Runs commands one after another, each with a line of progress on stderr and a log file."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._tty = sys.stderr.isatty()

    def run(self, title: str, command: Sequence[str], env: dict[str, str], fix: str) -> None:
        """Run ``command``; raises ``StepError`` where it ends with anything but 0."""
        began = time.monotonic()
        with self.log.open("ab") as log:
            log.write(f"\n== {title}\n$ {shlex.join(command)}\n".encode())
            log.flush()
            start = log.tell()
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=env
            )
            try:
                self._watch(title, process, began)
            except BaseException:
                process.terminate()
                process.wait()
                raise
        spent_s = time.monotonic() - began
        if process.returncode:
            self._say(f"  ✗ {title} ({spent_s:.0f} s)", last=True)
            raise StepError(title, self._tail(start), self.log, fix)
        self._say(f"  ✓ {title} ({spent_s:.0f} s)", last=True)

    def _watch(self, title: str, process: subprocess.Popen[bytes], began: float) -> None:
        if not self._tty:
            self._say(f"  … {title}", last=True)
            process.wait()
            return
        for frame in _spinner():
            self._say(f"  {frame} {title} {time.monotonic() - began:.0f} s  {self._last()}")
            try:
                process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
            return

    def _say(self, line: str, last: bool = False) -> None:
        if self._tty:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r\x1b[2K{line[:width]}{chr(10) if last else ''}")
        else:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    def _last(self) -> str:
        tail = self._tail(0)
        return tail[-1] if tail else ""

    def _tail(self, start: int) -> list[str]:
        with self.log.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(start, end - 4096))
            text = log.read().decode(errors="replace")
        return [line.rstrip() for line in text.splitlines() if line.strip()][-_TAIL_LINES:]


def _spinner() -> Iterator[str]:
    while True:
        yield from "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Environment:
    """The virtual environment at ``venv`` for the source tree at ``repo``."""

    def __init__(self, repo: Path, venv: Path, keys: argparse.Namespace) -> None:
        self.repo = repo
        self.venv = venv
        self.keys = keys
        self.stock_ros = os.environ.get("ROS_DISTRO", "")
        self.python = str(venv / "bin" / "python")
        self.workspace = venv / "ws"

    def prepare(self) -> None:
        """Do what is not done yet, in order; each stamp is written after its step."""
        if self._is("ready", self.keys.build) and self._is("ready-dev", self.keys.dev):
            return  # somebody else did it while we waited for the lock
        self._write("ready", "")
        fresh = not (self._is("deps", self.keys.deps) and self._works())
        if fresh:
            self._make_venv()
        self._steps = Steps(self.venv / "setup.log")
        if fresh:
            self._install()
            self._write("deps", self.keys.deps)
        if self.keys.dev and not self._is("ready-dev", self.keys.dev):
            self._pip("Installing the tools for tests", [self.repo / "requirements-dev.txt"])
        self._build()
        self._build_dashboard()
        _write_env(self)
        if self.keys.dev:
            self._write("ready-dev", self.keys.dev)
        self._write("ready", self.keys.build)

    def env(self) -> dict[str, str]:
        """The environment of every step: this venv first, nothing of another one."""
        env = {key: value for key, value in os.environ.items() if key not in _FOREIGN}
        env["VIRTUAL_ENV"] = str(self.venv)
        env["PATH"] = f"{self.venv / 'bin'}{os.pathsep}{env.get('PATH', os.defpath)}"
        if not self.stock_ros:
            env.pop("PYTHONPATH", None)
            env["AMENT_PREFIX_PATH"] = str(self.venv)
            env.update(_wheel_libraries(self.venv))
        if not _home_is_writable():
            # pip keeps its cache, and packages that are built keep their scratch files, at home.
            env.setdefault("PIP_CACHE_DIR", str(self.venv / "cache"))
            if not Path(env.get("HOME") or "/nonexistent").is_dir():
                env["HOME"] = str(self.venv)
        env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
        env["PIP_ROOT_USER_ACTION"] = "ignore"
        return env

    def _works(self) -> bool:
        try:
            done = subprocess.run(
                [self.python, "-c", "import pip, yaml, typer"], env=self.env(), capture_output=True
            )
        except OSError:
            return False
        return done.returncode == 0

    def _make_venv(self) -> None:
        """A venv anew: what an interrupted or older one left is not worth telling apart."""
        shutil.rmtree(self.venv, ignore_errors=True)
        self.venv.mkdir(parents=True)
        (self.venv / "COLCON_IGNORE").touch()
        steps = Steps(self.venv / "setup.log")
        version = ".".join(map(str, sys.version_info[:3]))
        base = _base_python()
        command = [base, "-m", "venv", str(self.venv)]
        if self.stock_ros:
            command.insert(3, "--system-site-packages")
        minor = f"python3.{sys.version_info.minor}-venv"
        fix = f"apt install {minor} (Debian, Ubuntu), or python3-pip, then run this again"
        title = f"Making the virtual environment (Python {version})"
        if _has("ensurepip"):
            steps.run(title, command, dict(os.environ), fix)
        elif _has("pip"):
            steps.run(title, [*command, "--without-pip"], dict(os.environ), fix)
            pip = [base, "-m", "pip", "--python", self.python, "install", "pip"]
            steps.run("Bringing pip into it", pip, self.env(), fix)
        else:
            raise StepError(title, ["this Python has no ensurepip and no pip"], steps.log, fix)

    def _install(self) -> None:
        if not self.stock_ros:
            files = [self.repo / "requirements.txt", self.repo / "requirements-ros.txt"]
            self._pip("Installing ROS 2 and the libraries (some 150 MB on first use)", files)
            return
        kept = self.venv / "requirements.txt"
        kept.write_text(_without_ros_owned((self.repo / "requirements.txt").read_text()))
        self._pip(f"Installing the libraries beside ROS 2 {self.stock_ros}", [kept])
        if shutil.which("colcon", path=self.env()["PATH"]) is None:
            self._pip("Installing colcon", [], "colcon-common-extensions")

    def _pip(self, title: str, files: Sequence[Path], *names: str) -> None:
        command = [self.python, "-m", "pip", "install", "--progress-bar", "off"]
        for file in files:
            command += ["-r", str(file)]
        fix = "check network and disk space (pip's own PIP_INDEX_URL, PIP_PROXY are honoured)"
        self._steps.run(title, [*command, *names], self.env(), f"{fix}, then run this again")

    def _build(self) -> None:
        """colcon with links into the source; an earlier half build is not built upon."""
        shutil.rmtree(self.workspace, ignore_errors=True)
        packages = len(list(self.repo.glob("src/*/package.xml")))
        colcon = [self.python, "-c", _COLCON]
        if self.stock_ros and not _imports(self.python, "colcon_core"):
            colcon = ["colcon"]
        command = [*colcon, "--log-base", str(self.workspace / "log"), "build"]
        command += ["--base-paths", str(self.repo / "src"), "--symlink-install"]
        command += ["--build-base", str(self.workspace / "build")]
        command += ["--install-base", str(self.workspace / "install")]
        command += ["--metas", str(self.repo / "colcon.meta")]
        fix = "mend the package named above, then run this again"
        self._steps.run(f"Building {packages} packages", command, self.env(), fix)

    def _build_dashboard(self) -> None:
        """web/ for browsers. A robot streams and drives without it, so a failure stops nothing."""
        web = self.repo / "web"
        if not (web / "package.json").is_file() or not os.access(web, os.W_OK):
            return
        key = _tree_hash(web)
        if self._is("dashboard", key) and (web / "dist" / "index.html").is_file():
            return
        try:
            npm = [self._npm(), "--prefix", str(web), "--no-audit", "--no-fund"]
            fix = "install Node 20.19 or newer; everything but the dashboard works without it"
            self._steps.run("Fetching the dashboard's parts", [*npm, "ci"], self.env(), fix)
            self._steps.run("Building the dashboard", [*npm, "run", "build"], self.env(), fix)
        except StepError as error:
            sys.stderr.write(f"  {error}\n")
            return
        self._write("dashboard", key)

    def _npm(self) -> str:
        """npm of this machine's Node, or of one as a wheel where there is none or an older one."""
        path = self.env()["PATH"]
        if not _has_node(path):
            self._pip("Bringing Node for the dashboard", [self.repo / "requirements-web.txt"])
        return shutil.which("npm", path=path) or "npm"

    def _is(self, stamp: str, key: str) -> bool:
        try:
            return not key or (self.venv / stamp).read_text().strip() == key
        except OSError:
            return False

    def _write(self, stamp: str, key: str) -> None:
        if key:
            temporary = self.venv / f"{stamp}.tmp"
            temporary.write_text(f"{key}\n")
            temporary.replace(self.venv / stamp)
        else:
            (self.venv / stamp).unlink(missing_ok=True)


#: Left by another virtual environment or a debugging session; they would bend ours.
_FOREIGN = ("PYTHONHOME", "VIRTUAL_ENV", "PIP_REQUIRE_VIRTUALENV", "PIP_USER", "PIP_TARGET")
#: Of the sourced environment only these matter; what a shell sets by itself doesn't.
_SKIPPED = ("_", "SHLVL", "PWD", "OLDPWD", "COLCON_CURRENT_PREFIX", "COLCON_PYTHON_EXECUTABLE")


def _has_node(path: str) -> bool:
    """Whether ``path`` has npm and a Node that Vite takes."""
    node = shutil.which("node", path=path)
    if node is None or shutil.which("npm", path=path) is None:
        return False
    done = subprocess.run([node, "--version"], capture_output=True, text=True)
    found = re.match(r"v(\d+)\.(\d+)", done.stdout)
    return found is not None and (int(found[1]), int(found[2])) >= _NODE


def _tree_hash(folder: Path) -> str:
    """Of the sources below ``folder``: what is made there does not count."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        made = {"node_modules", "dist"} & set(path.relative_to(folder).parts)
        if not made and path.is_file():
            digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _base_python() -> str:
    """The interpreter that runs us, not a venv's link to it."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def _has(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


def _imports(python: str, module: str) -> bool:
    return subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode == 0


def _home_is_writable() -> bool:
    """Whether pip may write its cache; tried, because root is told yes on a read-only home too."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    try:
        (cache / "pip").mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(cache / "pip", os.W_OK) and (cache / "pip").stat().st_uid == os.geteuid()


def _without_ros_owned(requirements: str) -> str:
    """The requirements less those that ROS brings itself, compiled for its messages."""
    owned = {name for name, module in _ROS_OWNS.items() if _has(module)}
    lines = requirements.splitlines()
    return "\n".join(line for line in lines if line.split("==")[0].strip() not in owned) + "\n"


def _wheel_libraries(venv: Path) -> dict[str, str]:
    """What the ROS wheels' start-up hook would set by starting the interpreter a second time."""
    folders = [venv / "lib", *sorted(venv.glob("lib/python3*/site-packages/ros_*.libs"))]
    if len(folders) == 1:
        return {}
    paths = os.pathsep.join(map(str, folders))
    return {"LD_LIBRARY_PATH": paths, "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}


def _write_env(made: Environment) -> None:
    """Source the workspace once and keep what changed as ``env.sh``: 3 ms instead of 300."""
    base = made.env()
    if not made.stock_ros:
        keep = ("PATH", "VIRTUAL_ENV", "AMENT_PREFIX_PATH", "LD_LIBRARY_PATH")
        base = {key: base[key] for key in (*keep, "_ROS_WHEELS_BOOTSTRAP_COMPLETE") if key in base}
        base["PATH"] = f"{made.venv / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin"
    # colcon's script calls the Python that built it without quotes: one without spaces does.
    base["COLCON_PYTHON_EXECUTABLE"] = _base_python()
    script = f". {shlex.quote(str(made.workspace / 'install' / 'setup.bash'))} && env -0"
    done = subprocess.run(["bash", "-c", script], env=base, capture_output=True, text=True)
    if done.returncode:
        log = made.workspace / "install" / "setup.bash"
        raise StepError("Sourcing the workspace", done.stderr.splitlines(), log, "run this again")
    after = dict(line.split("=", 1) for line in done.stdout.split("\0") if "=" in line)
    # A wheel venv starts from nothing, a sourced ROS 2 from the caller's own environment.
    before = dict(os.environ) if made.stock_ros else {"PATH": "/usr/bin:/bin"}
    lines = [
        _export(name, value, before.get(name, ""))
        for name, value in sorted(after.items())
        if name not in _SKIPPED and value != before.get(name)
    ]
    cli = made.workspace / "install" / "dialtone_core" / "lib" / "dialtone_core" / "dialtone"
    lines += [f"export DIALTONE_CLI={shlex.quote(str(cli))}", "unset PYTHONHOME", ""]
    temporary = made.venv / "env.sh.tmp"
    temporary.write_text("\n".join(lines), encoding="utf-8")
    temporary.replace(made.venv / "env.sh")


def _export(name: str, value: str, before: str) -> str:
    """Lists keep what the caller's environment has behind ours; once, however often sourced."""
    ours = value[: -len(before) - 1] if before and value.endswith(f":{before}") else value
    quoted = shlex.quote(ours)
    if not (name == "PATH" or name.endswith("PATH")):
        return f"export {name}={quoted}"
    return (
        f'case "${{{name}-}}" in {quoted}|{quoted}:*) ;; '
        f'*) export {name}={quoted}"${{{name}:+:${name}}}" ;; esac'
    )


@contextmanager
def _locked(folder: Path, report: Path) -> Iterator[None]:
    """Hold ``folder`` for us alone; says so where another start holds it."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write(f"dialtone: waiting for another start that sets up {report}\n")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def main() -> int:
    """Prepare what the launcher asked for; 0, or 1 with the failing step on stderr."""
    parser = argparse.ArgumentParser(description="Set up Dialtone's virtual environment.")
    parser.add_argument("--repo", type=Path, required=True)
    parser.add_argument("--venv", type=Path, required=True)
    for key in ("--deps", "--build", "--dev"):
        parser.add_argument(key, default="")
    arguments = parser.parse_args()
    try:
        arguments.venv.parent.mkdir(parents=True, exist_ok=True)
        with _locked(arguments.venv.parent, arguments.venv):
            Environment(arguments.repo, arguments.venv, arguments).prepare()
    except StepError as error:
        sys.stderr.write(f"dialtone: {error}\n")
        return 1
    except OSError as error:
        fix = "free some space, or set DIALTONE_HOME to a folder that you can write"
        sys.stderr.write(f"dialtone: cannot set up {arguments.venv}: {error}. Fix: {fix}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ndialtone: interrupted; the next start goes on from here\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
