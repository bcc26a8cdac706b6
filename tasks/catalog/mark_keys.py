"""
Keys of the imperceptible mark: from the settings, else a random key that is created at first use.

Only ids of keys travel between tasks and become parts of cache keys.
"""

from musetalk_core.errors import InputError
from musetalk_core.imperceptible_mark.key import MarkKey
from tasks.settings import get_settings
from tasks.storage.secret_file import SecretFileDamaged, read_secret_file


def mark_keys() -> list[MarkKey]:
    """
    Return all keys; the first one marks, all of them are searched for.

    Raises:
        InputError: the key file is damaged.
    """
    settings = get_settings()
    configured = [MarkKey(secret.get_secret_value().encode()) for secret in settings.mark.secrets]
    if configured:
        return configured
    try:
        return [MarkKey(read_secret_file(settings.mark_key_file))]
    except SecretFileDamaged as error:
        raise InputError(str(error)) from error


def mark_key(key_id: str) -> MarkKey:
    """
    Return the key with this id.

    Raises:
        InputError: this machine does not have the key.
    """
    for key in mark_keys():
        if key.id == key_id:
            return key
    raise InputError(
        "This worker does not have the key of the imperceptible mark that the job started with. Set"
        " MUSETALK_MARK__SECRETS to the same value on all workers."
    )
