"""Limits of the webhook runs of a worker."""

from uuid import uuid4

from deployments.warm_worker.run.webhook_places import (
    MAX_PER_RECEIVER,
    MAX_PER_TENANT,
    MAX_WEBHOOK_RUNS,
    WebhookPlaces,
)


def taken(places, count, tags):
    """Ask for places until there are none; return the holders."""
    holders = [uuid4() for _ in range(count)]
    return [holder for holder in holders if places.take(holder, tags)]


def test_a_receiver_has_its_share_and_leaves_the_others():
    places = WebhookPlaces()
    slow = taken(places, 100, ["receiver:slow:443", "tenant:a"])
    assert len(slow) == MAX_PER_RECEIVER and places.has_refused

    assert len(taken(places, 100, ["receiver:other", "tenant:a"])) == MAX_PER_RECEIVER
    places.release(slow[0])
    places.release(slow[0])
    assert len(taken(places, 5, ["receiver:slow:443"])) == 1


def test_a_tenant_with_many_receivers_leaves_places_to_others():
    places = WebhookPlaces()
    own = [holder for n in range(20) for holder in taken(places, 20, [f"receiver:{n}", "tenant:a"])]
    assert len(own) == MAX_PER_TENANT
    rest = [holder for n in range(20) for holder in taken(places, 20, [f"receiver:{n}", "tenant:b"])]
    assert len(rest) == MAX_WEBHOOK_RUNS - MAX_PER_TENANT
    assert not places.take(uuid4(), []), "all places are taken"


def test_an_attempt_keeps_the_place_of_its_key():
    places = WebhookPlaces()
    run = uuid4()
    assert places.take("key", ["receiver:a"]) and not places.take("key", ["receiver:a"])
    places.rename("key", run)
    places.release("key")
    assert run in places and "key" not in places
    places.release(run)
    assert len(taken(places, 20, ["receiver:a"])) == MAX_PER_RECEIVER
