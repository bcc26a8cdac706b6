"""MuseTalk v1 and v1.5: the same results as the published program, with its known bugs fixed."""
