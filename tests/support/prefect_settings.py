"""Prefect settings for a part of a test."""

from prefect.context import SettingsContext, get_settings_context


def prefect_settings(**groups):
    """
    Return a context manager in which some settings differ (Prefect's own takes 0.1 s each time).

    Args:
        groups: the changed values of each group, not validated: `prefect_settings(api={"url": address})`.
    """
    current = get_settings_context()
    changed = {
        name: getattr(current.settings, name).model_copy(update=values) for name, values in groups.items()
    }
    return SettingsContext(profile=current.profile, settings=current.settings.model_copy(update=changed))
