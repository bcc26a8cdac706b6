"""Queries to the Prefect server that work on both of its databases, SQLite and PostgreSQL."""
