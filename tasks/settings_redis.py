"""Where Redis is, for what Prefect's servers tell each other."""

from pydantic import Field, SecretStr

from tasks.settings_types import Group


class RedisSettings(Group, frozen=True):
    """A Redis for the messages of Prefect's servers; without one they stay in the server's memory."""

    host: str | None = Field(
        default=None, description="REDIS_HOST is read too. Empty: no Redis. Needs the extra `redis`."
    )
    port: int = Field(default=6379, ge=1, le=65535, description="REDIS_PORT is read too.")
    username: str = Field(default="default", description="REDIS_USERNAME is read too.")
    password: SecretStr | None = Field(default=None, description="REDIS_PASSWORD is read too.")
    db: int = Field(default=0, ge=0, description="REDIS_DB is read too.")
    ssl: bool = Field(default=False, description="Whether to speak TLS with it.")
