"""Imports of the command line, and help and completion of commands that it has not imported."""

import json
import os
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from deployments.cli.main import app

_HEAVY = {"boto3", "cv2", "fastapi", "httpx", "numpy", "prefect", "rich", "torch", "uvicorn", "yaml"}
_PROGRAM = """
import json, sys
from deployments.cli.main import main
sys.argv[0] = "musetalk"
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def imported(*words, status=0, **variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MUSETALK_")}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *words],
        capture_output=True,
        text=True,
        env=environment | variables,
    )
    assert done.returncode == status, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("words", ["--help", "--version", "", "jbos", "jobs --help", "weights --help"])
def test_help_and_mistakes_import_nothing_large(words):
    modules = imported(*words.split(), status=2 if words in {"", "jbos"} else 0)

    assert not _HEAVY & modules
    # typer converts the values of options with pydantic, those of the program's options before any command
    assert ("pydantic" in modules) == (words not in {"--help", "--version", ""})
    of_commands = {name for name in modules if name.startswith("deployments.cli.")}
    if words.partition(" ")[0] not in {"jobs", "weights"}:
        assert of_commands == {"deployments.cli.main", "deployments.cli.errors", "deployments.cli.lazy_group"}


def test_completion_imports_only_the_command_that_is_completed():
    modules = imported(_MUSETALK_COMPLETE="complete_bash", COMP_WORDS="musetalk jobs --li", COMP_CWORD="2")

    assert "deployments.cli.jobs" in modules and "deployments.cli.services" not in modules
    assert not _HEAVY & modules


def test_a_list_of_jobs_imports_neither_schemas_nor_prefect(server, tmp_path):
    modules = imported("jobs", "--server", server, MUSETALK_HOME=str(tmp_path))

    assert "httpx" in modules
    assert modules & (_HEAVY | {"flows.registry"}) <= {"httpx", "rich"}


def test_the_help_of_the_program_says_what_the_commands_say():
    group = typer.main.get_command(app)
    entries = {entry.name: entry.summary for entry in group.entries}

    assert list(group.commands) == list(entries)
    for name, command in group.commands.items():
        assert command.name == name
        assert entries[name] == " ".join(command.help.partition("\n\n")[0].split()), name


@pytest.mark.parametrize("words", [(), ("weights",), ("keys",), ("provenance",), ("provenance", "keys")])
def test_the_help_of_a_group_has_whole_sentences(words):
    done = CliRunner().invoke(app, [*words, "--help"])
    listed = done.stdout.partition("Commands:")[2]

    assert done.exit_code == 0 and "..." not in listed
    group = typer.main.get_command(app)
    for word in words:
        group = group.commands[word]
    assert group.commands
    for command in group.commands.values():
        assert " ".join(command.help.partition("\n\n")[0].split()) in " ".join(listed.split())


def test_names_of_commands_are_completed():
    words = {"_MUSETALK_COMPLETE": "complete_bash", "COMP_WORDS": "musetalk p", "COMP_CWORD": "1"}
    done = CliRunner().invoke(app, [], env=words, prog_name="musetalk", complete_var="_MUSETALK_COMPLETE")

    assert done.stdout.split() == ["pipeline", "provenance"]
