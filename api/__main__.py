"""Print the OpenAPI document: `python -m api.__main__ > docs/api/openapi.json`."""

import json
import sys

from api.main import create_app


def main() -> None:
    """Write the OpenAPI document to stdout."""
    json.dump(create_app().openapi(), sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
