"""Flows that make other jobs and wait for them."""
