"""Settings of Redis, the message broker between several Prefect servers."""

from pydantic import Field, SecretStr

from tasks.settings.field_types import SettingsGroup


class RedisSettings(SettingsGroup, frozen=True):
    """
    Redis as message broker of Prefect's servers, and for limits that several API processes share.

    Without it messages stay in the server's memory, and each API process counts for itself.
    """

    host: str | None = Field(
        default=None, description="Host; also REDIS_HOST. Empty: no Redis. Needs the extra `redis`."
    )
    port: int = Field(default=6379, ge=1, le=65535, description="Port; also REDIS_PORT.")
    username: str = Field(default="default", description="User name; also REDIS_USERNAME.")
    password: SecretStr | None = Field(default=None, description="Password; also REDIS_PASSWORD.")
    db: int = Field(default=0, ge=0, description="Database number; also REDIS_DB.")
    ssl: bool = Field(default=False, description="Use TLS.")
