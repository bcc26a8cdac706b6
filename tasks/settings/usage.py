"""Settings of costs: prices of what jobs use."""

from pydantic import Field

from tasks.settings.field_types import SettingsGroup


class UsageSettings(SettingsGroup, frozen=True):
    """Prices for `GET /v1/usage`. Without any price, no costs are shown. See docs/how-to/costs.md."""

    device_s_price: float = Field(default=0.0, ge=0, description="Price of a second on a GPU.")
    cpu_s_price: float = Field(default=0.0, ge=0, description="Price of a second of CPU time.")
    stored_gb_price: float = Field(
        default=0.0, ge=0, description="Price of storing 10^9 bytes of outputs, once per output."
    )
    currency: str = Field(default="", max_length=20, description="Currency of the prices, such as EUR.")

    def cost(self, device_s: float, cpu_s: float, stored_bytes: int) -> float | None:
        """Return the costs of what was used; None if the settings have no price."""
        if not (self.device_s_price or self.cpu_s_price or self.stored_gb_price):
            return None
        stored_gb = stored_bytes / 1e9
        return device_s * self.device_s_price + cpu_s * self.cpu_s_price + stored_gb * self.stored_gb_price
