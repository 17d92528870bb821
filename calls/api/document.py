"""The OpenAPI document as it is committed in docs/openapi.json."""

import json

from calls.api.endpoints import api


def written() -> str:
    """One line for each of its entries, so that a change shows as one."""
    return json.dumps(api.get_openapi_schema(), indent=2) + "\n"
