"""Hostile values for paths, shell arguments and options, and a record of what a process did."""

import json
import os
import random
import re
import sys
from pathlib import Path

WATCHED = Path(__file__).parent / "watched"
WORD = "zanzibar7"
"""Marker contained in every hostile value, to recognize it wherever it appears."""


def values(folder, count=24, seed=20251127):
    """
    Hostile texts, the fixed ones first, then mixtures of them.

    Args:
        folder: where a shell would leave its mark.
        count:  of the mixtures.
        seed:   of the mixtures.
    """
    mark = f"{folder}/{WORD}"
    fixed = [
        f"../../{WORD}",
        f"a/../../../{WORD}.mp4",
        f"..\\..\\{WORD}",
        f"%2e%2e/{WORD}",
        f"....//....//{WORD}",
        f"/etc/{WORD}",
        f"/{WORD}/bin",
        f"~/{WORD}",
        f"C:\\{WORD}",
        f"$(touch {mark})",
        f"`touch {mark}`",
        f"; touch {mark}",
        f"| touch {mark}",
        f"&& touch {mark} &&",
        f'"; touch {mark}; "',
        f"'; touch {mark}; '",
        f"x\ntouch {mark}\n",
        f"{WORD}\0.mp4",
        f"\0{WORD}",
        f"-f {WORD}",
        f"-{WORD}",
        f"--{WORD}=x",
        f"-i /etc/{WORD}",
        f"file:///etc/{WORD}",
        f"file:///etc/../{WORD}",
        f"http://127.0.0.1:9/{WORD}",
        f"https://{WORD}.test/a.mp4",
        f"https://user@{WORD}.test/",
        f"s3://media/../{WORD}",
        f"s3://media/{WORD}; touch {mark}",
        f"asset://../{WORD}",
        f"job://../../{WORD}",
        f"concat:/etc/{WORD}|/etc/hostname",
        f"pipe:{WORD}",
        f"subfile,,start,0,end,9,,:/etc/{WORD}",
        f"\\\\host\\{WORD}",
        WORD + "a" * 5000,
        "../" * 2000 + WORD,
        f"\uff0e\uff0e\uff0f{WORD}",
        f"{WORD}\u202e4pm.",
        f"..\u2215{WORD}",
        f"{WORD}\ud800",
        f"{WORD}\U0001f600\u0301",
        f"%s%n%{WORD}",
        f"{{0.__class__}}{WORD}",
        f"${{{WORD}}}",
    ]
    mix = random.Random(seed)
    pieces = [*fixed, "/", "\\", "..", "\0", "\n", " ", "'", '"', "%00", "-y", ".mp4", "\u2028", "*", "?"]
    mixed = ["".join(mix.choices(pieces, k=mix.randint(2, 4)))[:6000] for _ in range(count)]
    return fixed + [text if WORD in text else text + WORD for text in mixed]


class Watch:
    """Has processes write down what they do, and says what of it they should not have done."""

    def __init__(self, folder):
        """
        Make room.

        Args:
            folder: everything the processes may write to is below it: home, temporary files, the user's own.
        """
        self.folder, self.log = folder, folder / "watch.jsonl"
        for name in ("tmp", "user", "work", "marks"):
            (folder / name).mkdir()

    def environment(self):
        """Variables for the first of the processes; those that it starts inherit them."""
        paths = [str(WATCHED), os.environ.get("PYTHONPATH", "")]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "WATCH_LOG": str(self.log),
            "WATCH_WORD": WORD,
            "TMPDIR": str(self.folder / "tmp"),
            "HOME": str(self.folder / "user"),
            "MUSETALK_HOME": str(self.folder / "home"),
        }

    def events(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def faults(self, programs=(), names=()):
        """
        Describe the recorded events that are not allowed.

        Args:
            programs: that may be started, besides this Python.
            names:    of hosts that may be looked up: an address is judged by what its name resolves to.
        """
        allowed = {Path(name).name for name in (*programs, sys.executable, "python", "python3")}
        found = []
        for _, kind, *rest in self.events():
            match kind, rest:
                case "start", [event, [program, words]] if words and WORD not in json.dumps(rest):
                    named = Path(str(program or words[0])).name
                    found += [] if named in allowed else [f"{event} {named}"]
                case "start", [event, *_]:
                    found.append(f"{event} {rest}")
                case "read", [path]:
                    found.append(f"read {path}")
                case "write", paths:
                    odd = [path for path in paths if not self._is_inside(path) or WORD in path]
                    found += [f"write {path}" for path in odd if not self._is_result(path)]
                case "reach", ["socket.getaddrinfo", host] if host in names:
                    continue
                case "reach", [_, host]:
                    here = host in {None, "", "localhost", "::1"} or str(host).startswith("127.")
                    found += [] if here else [f"reach {host}"]
        names = [path for path in self.folder.rglob("*") if WORD in path.name and not self._is_result(path)]
        return sorted(set(found)) + [f"left {path}" for path in names]

    def _is_result(self, path):
        """A result has the name that its job gives it, directly in the job's own folder of the store."""
        folder = Path(os.path.normpath(path)).parent
        outputs = self.folder / "home" / "store" / "outputs"
        return folder.parent == outputs and re.fullmatch("[0-9a-f]{32}", folder.name) is not None

    def _is_inside(self, path):
        return path == "/dev/null" or Path(path).is_relative_to(self.folder)

    def starts(self):
        """Names of the programs that were started."""
        return {
            Path(str(rest[1][0] or rest[1][1][0])).name for _, kind, *rest in self.events() if kind == "start"
        }
