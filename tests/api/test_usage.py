"""Usage and costs: groups, filters, pages and prices; a tenant reads its own; fast with many attempts."""

import json
import time
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from tasks.catalog.usage_ledger import UsageKey, UsageSum, merge_day, write_part
from tasks.run.usage import PhaseUsage

DAY = date(2026, 11, 2)
BATCH = str(uuid4())
RANGE = {"from": "2026-11-01", "to": "2026-11-30"}


def used(cpu_s, device_s=0.0, stored=0, **attempts):
    phases = {"render": PhaseUsage(cpu_s, device_s)}
    return UsageSum(attempts or {"succeeded": 1}, 3.0, stored, phases)


@pytest.fixture
def ledger(environment):
    write_part(
        DAY,
        "one",
        {
            UsageKey("acme", None, "lip_sync", "viseme"): used(10, 4, 2_000_000, succeeded=2, lost=1),
            UsageKey("acme", BATCH, "lip_sync", "musetalk"): used(20, 8, succeeded=4),
            UsageKey("acme", BATCH, "batch", None): used(1),
            UsageKey(None, None, "janitor", None): used(0.5),
        },
    )
    write_part(DAY + timedelta(days=1), "two", {UsageKey("umbrella", None, "speech", "starter"): used(7)})
    return environment


def read(client, **query):
    answer = client.get("/v1/usage", params=RANGE | query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def rows(found, field="cpu_s"):
    return {tuple(row["group"].values()): row[field] for row in found["rows"]}


def test_groups_and_their_sums(ledger, client):
    assert rows(read(client)) == {(None,): 0.5, ("acme",): 31, ("umbrella",): 7}
    assert rows(read(client, group_by="day")) == {("2026-11-02",): 31.5, ("2026-11-03",): 7}
    assert rows(read(client, group_by="batch", tenant="acme")) == {(None,): 10, (BATCH,): 21}
    assert rows(read(client, group_by="type,engine", batch=BATCH)) == {
        ("batch", None): 1,
        ("lip_sync", "musetalk"): 20,
    }
    found = read(client, group_by="engine")
    assert rows(found, "attempts")["viseme",] == {"lost": 1, "succeeded": 2}
    assert found["total"]["cpu_s"] == 38.5 and found["total"]["device_s"] == 12
    assert found["total"]["phases"] == {"render": {"cpu_s": 38.5, "device_s": 12}}
    assert (found["from"], found["to"], found["total"]["cost"]) == ("2026-11-01", "2026-11-30", None)


def test_prices_give_costs(ledger, connect):
    for name, value in {"DEVICE_S": "0.5", "CPU_S": "0.1", "STORED_GB": "100"}.items():
        ledger.setenv(f"MUSETALK_USAGE__{name}_PRICE", value)
    ledger.setenv("MUSETALK_USAGE__CURRENCY", "EUR")
    found = read(connect(), group_by="engine")
    assert rows(found, "cost")["viseme",] == pytest.approx(4 * 0.5 + 10 * 0.1 + 0.002 * 100)
    assert found["currency"] == "EUR" and found["total"]["cost"] == pytest.approx(6 + 3.85 + 0.2)


def test_a_tenant_reads_its_own_usage_only(ledger, connect, issue):
    headers = {
        "acme": issue("a", tenant="acme", scopes=("read",)),
        "operator": issue("o", scopes=("read",)),
    }
    client = connect()
    own = client.get("/v1/usage", params=RANGE, headers=headers["acme"]).json()
    assert rows(own) == {("acme",): 31} and own["total"]["cpu_s"] == 31
    foreign = client.get("/v1/usage", params=RANGE | {"tenant": "umbrella"}, headers=headers["acme"]).json()
    assert foreign["rows"] == [] and foreign["total"]["cpu_s"] == 0
    assert len(client.get("/v1/usage", params=RANGE, headers=headers["operator"]).json()["rows"]) == 3
    assert client.get("/v1/usage", params=RANGE).status_code == 401


def test_pages_hold_every_row_once(ledger, client):
    whole, cursor, seen = read(client, group_by="tenant,batch,type"), None, []
    while True:
        page = read(client, group_by="tenant,batch,type", limit=2, **({"cursor": cursor} if cursor else {}))
        assert page["total"] == whole["total"] and len(page["rows"]) <= 2
        seen += page["rows"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == whole["rows"] and len(seen) == 5


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"from": "2026-11-30", "to": "2026-11-01"}, "from is after to"),
        ({"from": "2025-01-01", "to": "2026-11-01"}, "at most 400 days"),
        ({"group_by": "colour"}, "day"),
        ({"cursor": "WzFd"}, "Invalid cursor"),
        ({"cursor": "!"}, "Invalid cursor"),
        ({"limit": "1001"}, "1000"),
        ({"from": "yesterday"}, "date"),
    ],
)
def test_wrong_queries_are_refused(client, query, said):
    answer = client.get("/v1/usage", params=query)
    assert answer.status_code in {400, 422} and said in answer.text


def test_the_default_is_the_last_thirty_days(environment, client):
    today = datetime.now(UTC).date()
    for days, cpu_s in ((0, 1), (29, 2), (30, 4)):
        write_part(today - timedelta(days=days), "one", {UsageKey("a", None, "speech", None): used(cpu_s)})
    assert client.get("/v1/usage").json()["total"]["cpu_s"] == 3


@pytest.mark.parametrize("days", [2, pytest.param(30, marks=pytest.mark.slow)])
def test_many_attempts_are_read_in_a_fraction_of_a_second(environment, client, days):
    """
    Four workers with 1000 attempts a day each, of 900 tenants, every tenth in a batch of its own.

    With 30 days these are 120,000 attempts. The second reading finds the objects of ended days parsed.
    """
    for day in range(days):
        for writer in range(4):
            single = {UsageKey(f"tenant-{n}", None, "lip_sync", "viseme"): used(1.0) for n in range(900)}
            batch = {
                UsageKey(f"tenant-{n}", str(uuid4()), "lip_sync", "viseme"): used(1.0) for n in range(100)
            }
            write_part(DAY + timedelta(days=day), f"worker-{writer}", single | batch)
    query = {"from": "2026-11-02", "to": "2026-12-01"}
    first_s, again_s = (timed(client, query, 4000 * days) for _ in range(2))
    for day in range(days):
        merge_day(DAY + timedelta(days=day))
    timed(client, query, 4000 * days)
    assert again_s < first_s and again_s < 0.2 + 0.05 * days


def timed(client, query, count):
    start = time.process_time()
    found = client.get("/v1/usage", params=query | {"limit": 1000}).json()
    assert sum(found["total"]["attempts"].values()) == count and len(found["rows"]) == 900
    return time.process_time() - start


def test_the_command_prints_a_table_and_json(ledger, client, monkeypatch):
    from api.client import MusetalkClient
    from deployments.cli.main import app

    def request(_, method, path, **more):
        return client.request(method, path, **more).json()

    monkeypatch.setattr(MusetalkClient, "_request_json", request)
    words = ["usage", "--from", "2026-11-01", "--to", "2026-11-30", "--group-by", "tenant,engine"]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert "acme" in shown.output and "musetalk" in shown.output and "total" in shown.output
    assert len(shown.output.splitlines()) == 8
    printed = CliRunner().invoke(app, [*words, "--json"])
    assert json.loads(printed.output)["total"]["cpu_s"] == 38.5
    wrong = CliRunner().invoke(app, ["usage", "--group-by", "tenants"])
    assert wrong.exit_code == 2 and "tenant" in wrong.output
