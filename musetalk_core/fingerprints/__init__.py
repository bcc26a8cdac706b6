"""Perceptual fingerprints of picture and sound: media is found again after it was encoded anew."""
