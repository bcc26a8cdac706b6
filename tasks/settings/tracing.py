"""Settings of OpenTelemetry traces."""

from pydantic import Field, SecretStr

from tasks.settings.field_types import BaseUrl, SettingsGroup


class TracingSettings(SettingsGroup, frozen=True):
    """Traces by OTLP over HTTP. Without an endpoint nothing is traced. See docs/how-to/tracing.md."""

    endpoint: BaseUrl | None = Field(
        default=None,
        description="URL of an OpenTelemetry collector, such as http://127.0.0.1:4318, without /v1/traces."
        " Empty: no traces.",
    )
    headers: SecretStr | None = Field(
        default=None, description="Headers of the requests to it: name=value, several with commas."
    )
    sample_ratio: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of the jobs that are traced. A request with a traceparent header decides for its"
        " own jobs.",
    )

    @property
    def header_items(self) -> dict[str, str]:
        """The headers by name."""
        text = self.headers.get_secret_value() if self.headers else ""
        pairs = (item.partition("=") for item in text.split(",") if item.strip())
        return {name.strip(): value.strip() for name, _, value in pairs}
