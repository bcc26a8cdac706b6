"""Maintenance tasks of the janitor: pure functions select the items, a generator removes them."""
