"""CSM (Conversational Speech Model): text to speech in the context of earlier sentences and their sound."""
