"""Errors of the outside world survive process borders and have the codes the core lists."""

import json
import pickle

import pytest

import musetalk_core.errors
from musetalk_core.errors import RenderError
from tasks import errors
from tasks.errors import InputBlocked, InputUnreachable

FAMILY = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RenderError)]


@pytest.mark.parametrize("kind", FAMILY)
def test_an_error_crosses_a_process_border_whole(kind):
    error = pickle.loads(pickle.dumps(kind("what to do.", bucket="b", n=3)))

    assert type(error) is kind
    assert str(error) == "what to do."
    assert json.loads(json.dumps(error.details)) == {"bucket": "b", "n": 3}


@pytest.mark.parametrize("kind", FAMILY)
def test_every_code_is_in_the_published_tree(kind):
    assert kind.code in (musetalk_core.errors.__doc__ or "")


def test_blocked_and_unreachable_look_alike():
    assert (InputBlocked.code, InputBlocked.retryable) == (InputUnreachable.code, InputUnreachable.retryable)
