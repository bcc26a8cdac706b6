"""Orchestration: flows that create child jobs and wait for them."""
