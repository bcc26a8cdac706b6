"""Configuration comes from the environment, once, and typing errors are noticed."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from tasks.settings import MediaSettings, Settings, get_settings, unknown_variables
from tasks.settings.env_example import env_example

REPOSITORY = Path(__file__).resolve().parents[4]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    import os

    for name in list(os.environ):
        if name.startswith(("MUSETALK_", "REDIS_")) or name in {"API_HOST", "API_PORT", "PORT"}:
            monkeypatch.delenv(name)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def test_defaults_need_no_environment():
    settings = Settings()

    assert settings.home == Path.home() / ".musetalk"
    assert settings.store_url == str(settings.home / "store")
    assert settings.cache_folder == settings.home / "cache"
    assert settings.s3.read_buckets is None
    assert settings.render.engine == "auto"


def test_a_variable_sets_a_nested_field(monkeypatch):
    monkeypatch.setenv("MUSETALK_RENDER__THREADS", "21")
    monkeypatch.setenv("MUSETALK_STORE__CACHE_FOLDER", "~/fast")

    assert Settings().render.threads == 21
    assert Settings().cache_folder == Path.home() / "fast"


@pytest.mark.parametrize("text", ["media, outputs/team", '["media", "outputs/team"]'])
def test_lists_are_written_with_commas_or_as_json(monkeypatch, text):
    monkeypatch.setenv("MUSETALK_S3__READ_BUCKETS", text)

    assert Settings().s3.read_buckets == ("media", "outputs/team")


def test_an_empty_variable_is_as_good_as_none(monkeypatch):
    monkeypatch.setenv("MUSETALK_S3__ENDPOINT_URL", "")

    assert Settings().s3.endpoint_url is None


def test_an_unknown_nested_name_is_refused(monkeypatch):
    monkeypatch.setenv("MUSETALK_S3__ENDPOINT", "http://localhost")

    with pytest.raises(ValidationError, match="endpoint"):
        Settings()


def test_a_misspelled_group_is_reported(monkeypatch):
    monkeypatch.setenv("MUSETALK_STOER__URL", "/data")
    monkeypatch.setenv("MUSETALK_STORE__URL", "/data")

    assert unknown_variables() == ("MUSETALK_STOER__URL",)


@pytest.mark.parametrize(
    ("variables", "port"),
    [
        ({"PORT": "5000"}, 5000),
        ({"API_PORT": "5001", "PORT": "5000"}, 5001),
        ({"MUSETALK_API__PORT": "7", "API_PORT": "5001", "PORT": "5000"}, 7),
        ({}, 8080),
    ],
)
def test_the_older_names_of_the_port_count_but_ours_wins(monkeypatch, variables, port):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert Settings().api.port == port


def test_the_older_names_of_redis_are_read(monkeypatch):
    assert Settings().redis.host is None

    for name, value in {"HOST": "r", "PORT": "6380", "USERNAME": "u", "PASSWORD": "p", "DB": "2"}.items():
        monkeypatch.setenv(f"REDIS_{name}", value)
    redis = Settings().redis

    assert (redis.host, redis.port, redis.username, redis.db) == ("r", 6380, "u", 2)
    assert redis.password is not None and redis.password.get_secret_value() == "p"
    monkeypatch.setenv("MUSETALK_REDIS__HOST", "mine")
    assert Settings().redis.host == "mine"


def test_a_port_that_kubernetes_sets_for_a_service_is_none_of_ours(monkeypatch):
    monkeypatch.setenv("REDIS_PORT", "tcp://10.0.0.7:6379")
    monkeypatch.setenv("PORT", "5000")

    assert (Settings().redis.port, Settings().api.port) == (6379, 5000)
    assert Settings().api.host == "127.0.0.1"


def test_the_older_name_of_the_host_counts(monkeypatch):
    monkeypatch.setenv("API_HOST", "0.0.0.0")

    assert Settings().api.host == "0.0.0.0"


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError):
        Settings().render.threads = 3  # type: ignore[misc]


def test_keys_do_not_show_when_settings_are_printed(monkeypatch):
    monkeypatch.setenv("MUSETALK_API__KEYS", "hunter2")

    assert "hunter2" not in repr(Settings())


def test_settings_are_read_once(monkeypatch):
    before = get_settings()
    monkeypatch.setenv("MUSETALK_RENDER__THREADS", "30")

    assert get_settings() is before


def test_nothing_is_read_at_import():
    code = "import os; os.environ['MUSETALK_NONSENSE__X']='1'; os.environ['MUSETALK_RENDER__THREADS']='bad'\n"
    code += (
        "import tasks.settings, tasks.cache.artefacts, tasks.storage.home_store, sys\n"
        "import tasks.storage.s3_store, tasks.inputs.origins, tasks.inputs.sources\n"
    )
    code += "assert not {'boto3', 'botocore', 'prefect'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


def test_media_limits_are_those_of_the_core():
    limits = pytest.importorskip("musetalk_core.media.source.limits").MediaLimits
    ours = MediaSettings().model_dump(exclude={"ffmpeg"})

    assert ours == dataclasses.asdict(limits())


def test_the_committed_example_lists_every_setting():
    committed = (REPOSITORY / "deployments" / "env.example").read_text()

    assert committed == env_example(), "run: python -m tasks.settings.env_example > deployments/env.example"


def test_every_line_of_the_example_can_be_used(monkeypatch):
    for line in env_example().splitlines():
        if line.startswith("#MUSETALK_"):
            name, _, value = line[1:].partition("=")
            monkeypatch.setenv(name, value)

    assert Settings() == Settings.model_construct(**dict(Settings()))
    assert Settings().egress.ports == (80, 443, 8443)
