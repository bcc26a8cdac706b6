"""Talking people as a library: arrays in, arrays out. No Prefect, no S3, no web, no environment."""

CORE_VERSION = "2"
"""Part of every cache key: bump it when prepared avatars, features or rendered pixels change."""
