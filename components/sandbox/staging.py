"""Directories of sessions: made under a numbered name, claimed while in use, removed by the next
session where their owner was killed.

The number is the lowest free one, so that a command which prints where it is prints the same on
every machine that runs one session at a time.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from components.contract import EnvironmentMissing

FILES = "files"
_PREFIX = "strata-sandbox-"


class Staged:
    """Hold one directory with a copy of the files in `files`; anybody may read it, nobody but the
    owner write.

    The claim is a lock, which goes when its process does. So directories that killed processes left
    are known by having none.
    """

    def __init__(self, files: Path) -> None:
        made = _new_directory()
        self._claim: int | None = _claim(made)
        copies = made / FILES
        copies.mkdir()
        for path in sorted(files.iterdir()):
            if path.is_file():
                shutil.copyfile(path, copies / path.name)
                (copies / path.name).chmod(0o644)
                os.utime(copies / path.name, (0, 0))  # a listing tells the same at any time
        for directory in (copies, made):
            directory.chmod(0o755)
        os.utime(copies, (0, 0))
        self.path = _numbered(made)
        self.files = self.path / FILES

    def remove(self) -> None:
        """Remove the directory and give up the claim; again is well."""
        if self._claim is not None:
            remove_tree(self.path)
            os.close(self._claim)
            self._claim = None


def remove_tree(directory: Path) -> None:
    """Remove a directory whatever lies in it: any depth, any modes, of no living process."""
    with contextlib.suppress(OSError, RecursionError):
        shutil.rmtree(directory)
    if directory.exists():  # these two neither follow links nor recurse in Python
        for words in (("chmod", "-R", "u+rwx"), ("rm", "-rf")):
            subprocess.run([*words, "--", str(directory)], stderr=subprocess.DEVNULL, check=False)


def _new_directory() -> Path:
    try:
        _remove_left_ones()
        return Path(tempfile.mkdtemp(prefix=f".{_PREFIX}"))
    except (FileNotFoundError, PermissionError) as problem:
        raise EnvironmentMissing(
            f"the sandbox has no place for its files: {problem}. Set TMPDIR to a directory that "
            "can be written"
        ) from problem


def _numbered(made: Path) -> Path:
    """Rename a directory to the first free number; it is not empty, so it can replace none that
    another session has just made.
    """
    for number in itertools.count():
        path = made.with_name(f"{_PREFIX}{number}")
        try:
            return made.rename(path)
        except OSError as problem:
            if problem.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
    raise AssertionError("numbers do not end")


def _remove_left_ones() -> None:
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            claim = _claim(left)
            held, named = os.fstat(claim), left.lstat()
            if os.path.samestat(held, named) and held.st_uid == os.geteuid():
                remove_tree(left)
            os.close(claim)


def _claim(directory: Path) -> int:
    """Lock a directory and return the descriptor that holds it; BlockingIOError where it is held
    already.

    By then the name may be another directory's, whose owner holds another lock.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
