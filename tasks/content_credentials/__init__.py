"""Signing keys of outputs: local ones, PEM files, and external signers."""
