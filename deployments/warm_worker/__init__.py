"""Warm worker: a Prefect worker type that executes runs in long-lived child processes with loaded models."""
