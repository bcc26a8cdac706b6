"""
Put this folder on PYTHONPATH, and a Python process and all Python ones it starts write down what they do.

One JSON list a line goes to the file `WATCH_LOG`: process, event, arguments. Reads are written down only
where a path holds the word `WATCH_WORD`, all else always. What would leave this machine is also refused.
"""

import json
import os
import socket
import sys

_log = os.open(os.environ["WATCH_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
_word = os.environ["WATCH_WORD"]
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_STARTS = {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.spawn", "pty.spawn"}
_CHANGES = {
    "os.mkdir",
    "os.rename",
    "os.link",
    "os.symlink",
    "os.remove",
    "os.rmdir",
    "os.truncate",
    "os.chmod",
}
_LOOKS = {"os.listdir", "os.scandir", "os.chdir", "glob.glob", "import"}


def _text(value: object) -> object:
    match value:
        case bytes():
            return os.fsdecode(value)
        case list() | tuple():
            return [_text(part) for part in value]
        case None | str() | int():
            return value
        case os.PathLike():
            return _text(os.fspath(value))
        case _:
            return repr(value)


def _told(event: str, arguments: list) -> None:
    os.write(_log, (json.dumps([os.getpid(), event, *arguments]) + "\n").encode())


def _absolute(path: str) -> str:
    return os.path.abspath(path)  # noqa: PTH100  a Path would open folders to follow links


def _is_here(host: object) -> bool:
    return host in {None, "", "localhost", "::1", "::"} or str(host).startswith("127.")


def _watch(event: str, given: tuple) -> None:
    if event == "open":
        path, mode, flags = given
        if isinstance(path, int):
            return
        writes = bool((flags or 0) & _WRITES) or any(letter in (mode or "") for letter in "wax+")
        path = _absolute(_text(path)) if writes else _text(path)
        if writes or _word in str(path):
            _told("write" if writes else "read", [path])
    elif event in _STARTS:
        _told("start", [event, _text(given[:2])])
    elif event in _CHANGES:
        paths = [_absolute(part) for part in _text(given[:2]) if isinstance(part, str)]
        _told("write", paths)
    elif event in _LOOKS and _word in str(_text(given[:1])):
        _told("read", [str(_text(given[:1]))])
    elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        _reached(event, given[0])
    elif event in {"socket.connect", "socket.sendto"} and given[0].family != socket.AF_UNIX:
        _reached(event, given[1][0])


def _reached(event: str, host: object) -> None:
    _told("reach", [event, _text(host)])
    if not _is_here(_text(host)):
        raise OSError("a test does not leave this machine")


sys.addaudithook(_watch)
