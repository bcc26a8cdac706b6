"""CSM, a voice that speaks in context: text and sound of earlier turns in, sound of the next one out."""
