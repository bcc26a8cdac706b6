"""`python -m api.describe > docs/api/openapi.json`: the API's description as a file."""

import json
import sys

from api.main import create_app


def main() -> None:
    """Print it."""
    json.dump(create_app().openapi(), sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
