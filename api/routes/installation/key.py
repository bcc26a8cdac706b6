"""Route that describes the API key of a request."""

from datetime import datetime

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from api.auth.api_keys import READ
from api.auth.key_file import ApiKey, Scope

router = APIRouter(tags=["API keys"])


class KeyView(BaseModel):
    """The API key of the request, or everybody if the server requires none."""

    name: str
    tenant: str | None = Field(description="Tenant whose jobs the key may use; null: jobs of all tenants.")
    scopes: list[Scope] = Field(description="Scopes of the key, sorted.")
    expires_at: datetime | None


@router.get("/v1/key", name="read_key", dependencies=[READ])
async def read_key(request: Request) -> KeyView:
    """Return name, tenant, scopes and expiry of the API key that the request sends."""
    caller: ApiKey = request.state.caller
    return KeyView(
        name=caller.name, tenant=caller.tenant, scopes=sorted(caller.scopes), expires_at=caller.expires
    )
