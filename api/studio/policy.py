"""Content-Security-Policy of the studio: the server's own files, and the bucket if the store is one."""

from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from tasks.errors import RenderError
from tasks.settings import S3Settings, get_settings
from tasks.storage.home_store import home_store

REPORT_PATH: Final = "/studio/csp-report"
"""Path to which browsers send violations of the policy."""
_LINK_LIFETIME_S: Final = 60


def content_security_policy(prefix: str) -> str:
    """
    Return the policy: no inline code, no eval, no HTML made from text, nothing from foreign hosts.

    Args:
        prefix: path below which the browser reaches the API.
    """
    bucket = bucket_source()
    store = f" {bucket}" if bucket else ""
    directives = [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        f"img-src 'self' blob: data:{store}",
        f"media-src 'self' blob:{store}",
        f"connect-src 'self'{store}",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
        f"report-uri {prefix}{REPORT_PATH}",
    ]
    return "; ".join(directives)


def bucket_source() -> str | None:
    """Return the source of the bucket to which browsers upload parts; None if the store is a folder."""
    settings = get_settings()
    return _source(settings.store_url, settings.s3)


@lru_cache(maxsize=4)
def _source(store_url: str, s3: S3Settings) -> str | None:
    del store_url, s3  # the store of the settings, which the cache distinguishes by them
    store = home_store()
    try:
        link = store.presigned_url("policy", _LINK_LIFETIME_S, "", "inline")  # sends nothing
    except RenderError:  # a wrong store is reported by /readyz, and by the request that uses it
        return None
    if link is None:
        return None
    parts, bucket = urlsplit(link), urlsplit(store.uri("policy")).netloc
    # an endpoint that serves several buckets is allowed for the path of this one only
    folder = f"/{bucket}/" if parts.path.startswith(f"/{bucket}/") else ""
    return f"{parts.scheme}://{parts.netloc}{folder}"
