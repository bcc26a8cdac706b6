"""Neural networks as plain torch modules, and loaders for their official weight files. Imports torch."""
