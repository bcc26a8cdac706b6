"""GET /v1/key: what the key of a request may do."""

from datetime import UTC, datetime, timedelta


def test_a_key_reads_its_own_scopes_and_tenant(issue, connect):
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    headers = issue("reader", tenant="acme", scopes=frozenset({"read", "cancel"}), expires=expires)
    client = connect()
    found = client.get("/v1/key", headers=headers).json()

    assert datetime.fromisoformat(found.pop("expires_at")) == expires
    assert found == {"name": "reader", "tenant": "acme", "scopes": ["cancel", "read"]}
    assert client.get("/v1/key").status_code == 401


def test_without_keys_everybody_may_do_everything(client):
    found = client.get("/v1/key").json()
    assert found["scopes"] == ["admin", "cancel", "read", "submit"] and found["tenant"] is None


def test_a_key_that_may_not_read_is_refused(issue, connect):
    headers = issue("sender", scopes=frozenset({"submit"}))
    assert connect().get("/v1/key", headers=headers).json()["code"] == "forbidden"
