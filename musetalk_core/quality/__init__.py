"""Measurements of rendered video against its source and speech; no weights but the face mesh."""
