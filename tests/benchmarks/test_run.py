"""`./run bench [--json FILE] NAME`: benchmarks run as if started alone; their figures are kept and shown."""

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
import figures
import performance_page
import run
from page import fill


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Return a function that runs benchmarks of the test with arguments."""
    monkeypatch.setattr(run, "__file__", str(tmp_path / "run.py"))
    monkeypatch.setattr(sys, "path", list(sys.path))

    def call(*arguments, **scripts):
        for name, text in scripts.items():
            (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setattr(sys, "argv", ["run.py", *map(str, arguments)])
        run.main()

    return call


def test_the_names_are_no_arguments_of_the_benchmarks(bench, capsys):
    script = "import sys; print(__name__, sys.argv[1:])"

    bench("two", "one", one=script, two=script)

    assert capsys.readouterr().out.split("\n")[:-1] == ["== two", "__main__ []", "== one", "__main__ []"]


def test_figures_are_kept_with_machine_and_versions_and_replace_only_their_own(bench, tmp_path):
    path = tmp_path / "figures.json"
    first = "from figures import record\nrecord(job_s=1.23456, ratio=2)"
    peer = "from figures import record, record_peer\nrecord(job_s=7)\nrecord_peer('other', '1.2')"

    bench("--json", path, "one", "two", "none", one=first, two=peer, none="")
    bench("--json", path, "one", one=first.replace("2)", "3)"))

    found = json.loads(path.read_text())
    assert found["format"] == 1
    assert {name: entry["figures"] for name, entry in found["benchmarks"].items()} == {
        "one": {"job_s": 1.235, "ratio": 3.0},
        "two": {"job_s": 7.0},
    }
    two = found["benchmarks"]["two"]
    assert two["versions"]["other"] == "1.2" and "other" not in found["benchmarks"]["one"]["versions"]
    assert two["versions"]["prefect"][0].isdigit() and two["versions"]["ffmpeg"]
    assert two["machine"]["cores"] >= 1 and two["machine"]["processor"]


def test_what_cannot_be_measured_or_written_is_refused_before_the_first_benchmark(bench, tmp_path, capsys):
    other = tmp_path / "other.json"
    other.write_text('{"format": 9}')

    for arguments, words in (
        (("on",), "no benchmark is called on; there are speed"),
        (("--json", tmp_path / "away" / "figures.json", "one"), "there is no folder"),
        (("--json", other, "one"), "another format"),
    ):
        with pytest.raises(SystemExit):
            bench(*arguments, one="print('ran')")
        captured = capsys.readouterr()
        assert words in captured.err and "ran" not in captured.out
    assert other.read_text() == '{"format": 9}'


def test_every_listed_benchmark_exists():
    assert [name for name in run.NAMES if not (Path(run.__file__).parent / f"{name}.py").exists()] == []


def test_the_page_shows_the_figures_of_the_file():
    page, known = performance_page.PAGE.read_text(), json.loads(performance_page.FIGURES.read_text())

    assert known["format"] == figures.FORMAT
    assert fill(page, performance_page.sections(known)) == page, (
        "tests/benchmarks/performance_page.py --write"
    )
