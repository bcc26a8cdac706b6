"""The warm worker: a Prefect worker type whose runs share long-lived processes with loaded models."""
