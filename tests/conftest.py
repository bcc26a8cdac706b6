"""Fixtures every tier may use."""

import gc
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from process_environment import set_environment

set_environment()

# A shell that starts the suite in the background has it ignore Ctrl-C; tests of Ctrl-C need it back.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_collection_finish() -> None:
    """
    Keep what the imports made out of later garbage collections.

    Those are millions of objects: a full collection, of which each release of a network makes one, takes most
    of a second with them and some milliseconds without.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real sample clips that may lie beside a checkout; tests that need it skip without."""
    folder = REPOSITORY.parent / "shared" / "samples"
    if not folder.is_dir():
        pytest.skip("no sample media beside the checkout")
    return folder


@pytest.fixture(scope="session")
def golden_models() -> Iterator[Callable[..., Path]]:
    """`golden_models("bisenet", "vae")`: the models folder with these stand-in weights, each written once."""
    import golden_data

    with tempfile.TemporaryDirectory(prefix="golden-models-") as name:
        root, written = Path(name), set()

        def models(*nets: str) -> Path:
            for net in set(nets) - written:
                golden_data.write_models(root, net)
                written.add(net)
            return root

        yield models


@pytest.fixture(scope="session")
def tiny_csm() -> Iterator[Path]:
    """A models folder with a made-up CSM of the real classes."""
    import tiny_csm

    with tempfile.TemporaryDirectory(prefix="tiny-csm-") as name:
        tiny_csm.write_csm(Path(name))
        yield Path(name)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A real S3 server on loopback."""
    from moto_s3 import moto_s3

    with moto_s3() as client:
        yield client.meta.endpoint_url
