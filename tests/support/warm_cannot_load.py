"""A flow whose module cannot be imported."""

from prefect import flow

raise RuntimeError("a library of it is not installed")


@flow
def never():  # pyright: ignore[reportUnreachable]
    return None
