"""Run the `musetalk` command as `python -m deployments.cli`."""

from deployments.cli.main import main

main()
