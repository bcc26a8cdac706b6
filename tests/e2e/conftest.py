"""A whole stack that the tests in a browser share."""

import pytest
from whole_stack import running_stack


@pytest.fixture(scope="session")
def browsed_stack(tmp_path_factory):
    with running_stack(tmp_path_factory.mktemp("browsed")) as stack:
        yield stack
