"""A folder that appears whole or not at all, and changes whole or not at all."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
from pathlib import Path
from types import TracebackType

from dialtone_core.errors import DialtoneError
from dialtone_recorder.manifest import sync_folder

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


class Staging:
    """``with Staging(out, append) as folder``: write into ``folder``; it becomes ``out``.

    Appending works on a copy made of hard links, so a big dataset costs no copying; files that
    were there must be replaced, not written into. At the end the two folders change names in one
    system call (renameat2, RENAME_EXCHANGE). A crash leaves ``out`` as it was and a hidden folder
    beside it, which the next one to write to the same place removes. A disk that fails meanwhile
    is a ``DialtoneError``.
    """

    def __init__(
        self, out: Path, append: bool = False, fix: str = "give another --out, or remove it"
    ) -> None:
        self._fix = fix
        self._out = out.absolute()
        self._append = append
        self._folder = self._out.with_name(f".{self._out.name}.partial")
        self._lock_path = self._out.with_name(f".{self._out.name}.lock")
        self._lock = -1

    def __enter__(self) -> Path:
        if self._append and not self._out.is_dir():
            raise DialtoneError(
                "no dataset to append to", where=str(self._out), fix="leave --append out"
            )
        if not self._append and (self._out.exists() or self._out.is_symlink()):
            raise DialtoneError("exists already", where=str(self._out), fix=self._fix)
        try:
            self._out.parent.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            shutil.rmtree(self._folder, ignore_errors=True)
            if self._append:
                shutil.copytree(self._out, self._folder, copy_function=_link)
            else:
                self._folder.mkdir()
        except OSError as error:
            self._release()
            raise DialtoneError(
                f"cannot write there ({error.strerror or error})", where=str(self._out.parent),
                fix="give another --out",
            ) from error  # fmt: skip
        return self._folder

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        failure = error if isinstance(error, OSError) else None
        try:
            if error is None:
                self._publish()
        except OSError as found:
            failure = found
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._release()
        if failure is not None:
            raise DialtoneError(
                f"cannot be written ({failure.strerror or failure})", where=str(self._out),
                fix="free some disk, or give another place with --out",
            ) from failure  # fmt: skip

    def _publish(self) -> None:
        for path in self._folder.rglob("*"):
            if path.is_file() and path.stat().st_nlink == 1:
                _sync(path)
        for path in [self._folder, *(p for p in self._folder.rglob("*") if p.is_dir())]:
            sync_folder(path)
        if self._append:
            _exchange(self._folder, self._out)
        else:
            self._folder.rename(self._out)
        sync_folder(self._out.parent)

    def _take_lock(self) -> None:
        self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            self._lock = -1
            raise DialtoneError(
                "somebody else writes there", where=str(self._out), fix="wait for it to end"
            ) from error

    def _release(self) -> None:
        if self._lock >= 0:
            self._lock_path.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1


def _link(source: str, target: str) -> None:
    """A hard link where the file system has them, else a copy."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS):
            raise
        shutil.copy2(source, target)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _exchange(new: Path, old: Path) -> None:
    """Swap two folders' names atomically; where the kernel or file system cannot, in two steps."""
    libc = ctypes.CDLL(None, use_errno=True)
    swap = getattr(libc, "renameat2", None)
    paths = os.fsencode(new), os.fsencode(old)
    if swap is not None and not swap(
        _AT_FDCWD, paths[0], _AT_FDCWD, paths[1], ctypes.c_uint(_RENAME_EXCHANGE)
    ):
        return
    aside = old.with_name(f".{old.name}.before")
    old.rename(aside)
    new.rename(old)
    aside.rename(new)
