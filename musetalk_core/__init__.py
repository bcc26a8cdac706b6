"""
Talking-head rendering as a plain Python library: media, face tracking, lip-sync engines, compositing.

Functions take and return arrays and local files. The package uses no Prefect, no S3, no web framework and no
environment variables.
"""

CORE_VERSION = "3"
"""Part of every cache key. Increase it when prepared avatars, features or rendered pixels change."""
