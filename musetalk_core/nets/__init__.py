"""Neural networks as plain torch modules, and how official weight files get into them. Imports torch."""
