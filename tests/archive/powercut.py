"""What a disk may hold after a power cut: a program's file operations, replayed to any instant.

``strace`` records what a program does below a folder. The model is what POSIX promises and no
more: a file's content survives from its last fsync on; a folder's entries (create, rename, remove)
survive from the folder's last fsync on. What came later may be there in whole, in part, or not at
all: entries as any prefix of their order, content as nothing, all, or a beginning of it. Source of
the idea: Pillai et al. 2014, "All File Systems Are Not Created Equal", OSDI.
"""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

SYSCALLS = (
    "openat,open,creat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,"
    "mkdir,mkdirat,rmdir,ftruncate,link,linkat,symlink,symlinkat,copy_file_range,sendfile,mmap"
)
_LINE = re.compile(r"(\d+\.\d+) (\w+)\((.*)\) += (-?\d+)(?:<(.*)>)?")
_PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
_FD = re.compile(r"^\d+<((?:[^<>\\]|\\.)*)>")
#: what is left of what was not synced: by chance, nothing, or everything
Chance = random.Random | Literal["promised", "all"]

#: what would change files behind the model's back
_UNKNOWN = {"link", "linkat", "symlink", "symlinkat", "copy_file_range", "sendfile"}


@dataclass(frozen=True)
class Operation:
    """One thing a program did: ``what`` it did to ``path``; ``said`` on its standard output."""

    what: str
    path: str = ""
    other: str = ""
    data: bytes = b""
    at: int = -1
    flags: str = ""


def record(command: Sequence[str], below: Path, log: Path, **options: object) -> list[Operation]:
    """Run a program and return what it did below a folder and said, in order."""
    traced = ["strace", "-ff", "-ttt", "-y", "-xx", "-s", "100000000", "-e", f"trace={SYSCALLS}"]
    subprocess.run([*traced, "-o", str(log), *command], check=True, **options)  # type: ignore[call-overload]
    lines: list[tuple[float, int, re.Match[str]]] = []
    for number, file in enumerate(sorted(log.parent.glob(f"{log.name}.*"))):
        for line in file.read_text(encoding="ascii").splitlines():
            if match := _LINE.match(line):
                lines.append((float(match[1]), number, match))
    lines.sort(key=lambda x: x[:2])
    prefix = str(below)
    return [op for *_, match in lines for op in _operations(match, prefix)]


def _operations(match: re.Match[str], prefix: str) -> Iterator[Operation]:
    call, words, result, opened = match[2], match[3], int(match[4]), match[5]
    if result < 0:
        return
    fd = _FD.match(words)
    target = _text(fd[1]) if fd else ""
    if call in ("write", "pwrite64"):
        if words.startswith("1<"):
            yield Operation("said", data=_bytes(_PATH.findall(words)[0]))
        elif target.startswith(prefix):
            data = _bytes(_PATH.findall(words)[0])[:result]
            at = int(words.rsplit(",", 1)[1]) if call == "pwrite64" else -1
            yield Operation("write", target, data=data, at=at)
        return
    if call in ("fsync", "fdatasync"):
        if target.startswith(prefix):
            yield Operation("sync", target)
        return
    if call == "mmap":
        mapped = re.search(r", \d+<([^>]*)>, ", words)
        shared = "PROT_WRITE" in words and "MAP_SHARED" in words and mapped is not None
        if shared and mapped is not None and _text(mapped[1]).startswith(prefix):
            raise AssertionError(f"the model knows no shared writable mapping: {words}")
        return
    if call in ("openat", "open", "creat"):
        path = _text(opened) if opened else ""
        if path.startswith(prefix) and ("O_WRONLY" in words or "O_RDWR" in words):
            yield Operation("open", path, flags=words)
        return
    paths = [_text(m) for m in _PATH.findall(words)]
    if not any(p.startswith(prefix) for p in paths) and not target.startswith(prefix):
        return
    if call in _UNKNOWN:
        raise AssertionError(f"the model does not know {call}")
    if call.startswith("rename"):
        yield Operation("rename", paths[0], paths[1])
    elif call.startswith("unlink") or call == "rmdir":
        yield Operation("remove", paths[0])
    elif call.startswith("mkdir"):
        yield Operation("mkdir", paths[0])
    elif call == "ftruncate":
        yield Operation("truncate", target, at=int(words.rsplit(",", 1)[1]))


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


def _text(escaped: str) -> str:
    return _bytes(escaped).decode() if escaped.startswith("\\x") else escaped


@dataclass
class _File:
    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""


@dataclass
class _Folder:
    entries: dict[str, _File | _Folder] = field(default_factory=dict)
    #: every set of entries since the last sync, the synced one first
    history: list[dict[str, _File | _Folder]] = field(default_factory=lambda: [{}])

    def note(self) -> None:
        self.history.append(dict(self.entries))


class Disk:
    """A disk that follows operations and can lose power."""

    def __init__(self, root: Path) -> None:
        self._prefix = str(root)
        self._root = _Folder()
        self._positions: dict[int, int] = {}

    def _walk(self, path: str) -> tuple[_Folder, str]:
        parts = [p for p in path.removeprefix(self._prefix).split("/") if p]
        folder = self._root
        for part in parts[:-1]:
            found = folder.entries[part]
            assert isinstance(found, _Folder), path
            folder = found
        return folder, parts[-1] if parts else ""

    def follow(self, op: Operation) -> None:
        """Do one operation."""
        if op.what == "said":
            return
        folder, name = self._walk(op.path)
        entry: _File | _Folder | None = folder.entries.get(name) if name else self._root
        if op.what == "open":
            if entry is None:
                entry = folder.entries[name] = _File()
                folder.note()
            assert isinstance(entry, _File)
            if "O_TRUNC" in op.flags:
                entry.content.clear()
            self._positions[id(entry)] = len(entry.content) if "O_APPEND" in op.flags else 0
        elif op.what == "write":
            assert isinstance(entry, _File), op.path
            at = self._positions.get(id(entry), 0) if op.at < 0 else op.at
            entry.content[at : at + len(op.data)] = op.data
            if op.at < 0:
                self._positions[id(entry)] = at + len(op.data)
        elif op.what == "truncate":
            assert isinstance(entry, _File)
            del entry.content[op.at :]
            entry.content.extend(bytes(op.at - len(entry.content)))
        elif op.what == "sync":
            if isinstance(entry, _Folder):
                entry.history = [dict(entry.entries)]
            elif isinstance(entry, _File):
                entry.durable = bytes(entry.content)
        elif op.what == "mkdir":
            folder.entries[name] = _Folder()
            folder.note()
        elif op.what == "remove":
            folder.entries.pop(name)
            folder.note()
        elif op.what == "rename":
            target, new = self._walk(op.other)
            assert target is folder, "the model knows renames within a folder only"
            folder.entries[new] = folder.entries.pop(name)
            folder.note()

    def after_power_cut(self, out: Path, chance: Chance) -> None:
        """Write what may be left."""
        self._leave(self._root, out, chance)

    def _leave(self, folder: _Folder, out: Path, chance: Chance) -> None:
        out.mkdir()
        if isinstance(chance, random.Random):
            left = chance.choice(folder.history)
        else:
            left = folder.history[-1 if chance == "all" else 0]
        for name, entry in left.items():
            if isinstance(entry, _Folder):
                self._leave(entry, out / name, chance)
            else:
                (out / name).write_bytes(_left_of(entry, chance))


def _left_of(file: _File, chance: Chance) -> bytes:
    live = bytes(file.content)
    if not isinstance(chance, random.Random):
        return live if chance == "all" else file.durable
    if live == file.durable:
        return live
    torn = live[: chance.randrange(len(live) + 1)]
    return chance.choice([file.durable, live, torn, torn + bytes(len(live) - len(torn))])
