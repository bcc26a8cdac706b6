"""Restoration of rendered faces: detail from the source, or a restoration network."""
