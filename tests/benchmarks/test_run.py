"""`./run bench NAME`: each benchmark runs as if it had been started alone."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
import run


def test_the_names_are_no_arguments_of_the_benchmarks(tmp_path, monkeypatch, capsys):
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text("import sys; print(__name__, sys.argv[1:])")
    monkeypatch.setattr(run, "__file__", str(tmp_path / "run.py"))
    monkeypatch.setattr(sys, "argv", ["run.py", "two", "one"])
    monkeypatch.setattr(sys, "path", list(sys.path))

    run.main()

    assert capsys.readouterr().out.split("\n")[:-1] == ["== two", "__main__ []", "== one", "__main__ []"]


def test_every_listed_benchmark_exists():
    assert [name for name in run.NAMES if not (Path(run.__file__).parent / f"{name}.py").exists()] == []
