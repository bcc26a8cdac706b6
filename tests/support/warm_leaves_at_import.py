"""A flow whose module ends the process that imports it."""

import sys

sys.exit("configuration is missing")
