"""Every operation by which a process changes files: written down, and one of them not survived.

It is for a child that ends without undoing it. Buffered files call `write` of their raw file, so that a write here is
one of the operating system.
"""

import builtins
import errno
import io
import os
import signal
import sys
from collections import Counter
from typing import NamedTuple

NEEDS_SPACE = {"mkdir", "create", "write", "rename", "link", "fsync"}
_CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
# Names of functions of `os`, by what is written down of them.
_OF_PATHS = {
    "mkdir": "mkdir",
    "rmdir": "rmdir",
    "unlink": "unlink",
    "remove": "unlink",
    "rename": "rename",
    "replace": "rename",
    "link": "link",
    "symlink": "link",
}
_OF_FILES = {"fsync": "fsync", "fdatasync": "fsync", "ftruncate": "truncate"}
_AUDITED = {
    "open": "create",
    "os.mkdir": "mkdir",
    "os.rmdir": "rmdir",
    "os.remove": "unlink",
    "os.rename": "rename",
    "os.link": "link",
    "os.symlink": "link",
}


class Operation(NamedTuple):
    """One change.

    Attributes:
        kind: mkdir, create (opening a file to write to it), write, fsync, truncate, rename, link, unlink or rmdir.
        path: that it is of; the new one for renames and links.
        size: bytes of a write.
    """

    kind: str
    path: str
    size: int = 0


class Operations:
    """The changes of files below a folder.

    Args:
        root: the folder.
        strike: called before each with the operation, its index, and for a write with what writes only the first half
            (None for others); whatever it raises is raised in place of the operation, whatever it returns but None is
            returned.
    """

    def __init__(self, root, strike=lambda operation, index, half: None):
        self.done, self._root, self._strike = [], f"{os.path.abspath(root)}{os.sep}", strike
        self._paths, self._audited, self._depth = {}, Counter(), 0

    def watch(self):
        """Watch this process from here on."""
        for name, kind in _OF_PATHS.items():
            setattr(os, name, self._of_paths(getattr(os, name), kind))
        for name, kind in _OF_FILES.items():
            setattr(os, name, self._of_file(getattr(os, name), kind))
        os.open, os.write = self._os_open(os.open), self._os_write(os.write)
        io.open = builtins.open = self._io_open(io.open)
        sys.addaudithook(self._audit)

    def check_complete(self):
        """Whether the interpreter has seen the same operations; it reports neither writes nor fsync."""
        seen = Counter(operation.kind for operation in self.done)
        assert {kind: seen[kind] for kind in _AUDITED.values()} == {
            kind: self._audited[kind] for kind in _AUDITED.values()
        }

    def _is_inside(self, path):
        return isinstance(path, (str, os.PathLike)) and os.path.abspath(path).startswith(self._root)

    def _begin(self, kind, path, size=0, half=None):
        operation = Operation(kind, os.path.abspath(path), size)
        self.done.append(operation)
        return self._strike(operation, len(self.done) - 1, half)

    def _of_paths(self, call, kind):
        def changes(*paths, **options):
            if self._is_inside(paths[-1] if kind in ("rename", "link") else paths[0]):
                self._begin(kind, paths[1] if kind in ("rename", "link") else paths[0])
            return call(*paths, **options)

        return changes

    def _of_file(self, call, kind):
        def changes(file, *rest):
            if file in self._paths:
                self._begin(kind, self._paths[file])
            return call(file, *rest)

        return changes

    def _os_open(self, call):
        def opens(path, flags, *rest, **options):
            is_ours = flags & _CHANGES and self._is_inside(path)
            if is_ours:
                self._begin("create", path)
            file = call(path, flags, *rest, **options)
            self._paths.pop(file, None)
            if is_ours:
                self._paths[file] = os.path.abspath(path)
            return file

        return opens

    def _os_write(self, call):
        def writes(file, content):
            return self._write(self._paths.get(file), content, lambda part: call(file, part))

        return writes

    def _write(self, path, content, write):
        if path is not None:
            content = memoryview(content).cast("B")
            struck = self._begin("write", path, len(content), lambda: write(content[: len(content) // 2]))
            if struck is not None:
                return struck
        return write(content)

    def _io_open(self, call):
        operations = self

        class Raw(io.FileIO):
            def write(self, content):
                return operations._write(str(self.name), content, super().write)

        def opens(path, mode="r", *rest, **options):
            if mode.rstrip("bt") == "r" or not self._is_inside(path):
                return call(path, mode, *rest, **options)
            self._begin("create", path)
            raw = Raw(os.path.abspath(path), mode.replace("b", "").replace("t", ""))
            self._paths[raw.fileno()] = str(raw.name)
            file = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return file if "b" in mode else io.TextIOWrapper(file, *rest[1:], **options)

        return opens

    def _audit(self, event, arguments):
        kind = _AUDITED.get(event)
        if kind is None:
            return
        is_open = event == "open"
        path = arguments[1 if kind in ("rename", "link") else 0]
        if self._is_inside(path) and (not is_open or arguments[2] & _CHANGES):
            self._audited[kind] += 1


def killed_at(index, in_the_middle=False):
    """Die at an operation: before it, or when half of what it writes is written."""

    def strike(operation, number, half):
        if number == index:
            if in_the_middle:
                half()
            os.kill(os.getpid(), signal.SIGKILL)

    return strike


def full_from(index, in_the_middle=False, first=lambda: None):
    """A disk that is full from an operation on, when half of what it writes is written or none.

    Args:
        index: of the operation.
        in_the_middle: whether half of it fits.
        first: called before anything fails.
    """

    def strike(operation, number, half):
        if number < index or operation.kind not in NEEDS_SPACE:
            return None
        if number == index:
            first()
            if in_the_middle:
                return half()
        if operation.kind == "write":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *([operation.path] if operation.kind != "fsync" else []))

    return strike
