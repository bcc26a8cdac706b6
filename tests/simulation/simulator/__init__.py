"""Deterministic simulation: the product on a simulated clock, network, server and store."""
