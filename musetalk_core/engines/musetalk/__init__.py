"""MuseTalk v1 and v1.5: what its published program computes, exactly, and with its mistakes mended."""
