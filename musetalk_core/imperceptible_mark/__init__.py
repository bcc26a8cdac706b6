"""Imperceptible mark (watermark): a keyed signal in picture and sound, and its detection."""
