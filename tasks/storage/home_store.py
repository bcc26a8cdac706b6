"""The system's own store: the S3 bucket or local folder that `MUSETALK_STORE__URL` names."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from tasks.errors import BucketNotAllowed
from tasks.settings import get_settings
from tasks.storage import s3_clients
from tasks.storage.folder_store import FolderStore
from tasks.storage.object_store import ObjectStore
from tasks.storage.protected_paths import is_bucket_alias
from tasks.storage.s3_store import S3Store


def home_store() -> ObjectStore:
    """Return the system's own store: uploads in `assets/`, results in `outputs/`, shared cache entries."""
    return _open_store(get_settings().store_url)


def store_is_remote() -> bool:
    """Return whether the system's own store is in S3 and not in a local folder."""
    return get_settings().store_url.startswith(("s3://", "s3-bucket/"))


@lru_cache(maxsize=4)
def _open_store(url: str) -> ObjectStore:
    if url.startswith("s3://"):
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        return S3Store(_require_bucket_name(bucket), prefix)
    if url.startswith("s3-bucket/"):
        block: Any = s3_clients.load_block(url)
        folder = str(block.bucket_folder or "")
        return S3Store(_require_bucket_name(str(block.bucket_name)), folder, credentials=block.credentials)
    root = Path(url.removeprefix("file://")).expanduser()
    root.mkdir(parents=True, exist_ok=True)
    return FolderStore(root)


def _require_bucket_name(bucket: str) -> str:
    if is_bucket_alias(bucket):
        raise BucketNotAllowed(
            f"MUSETALK_STORE__URL names the access point {bucket}. Name the bucket itself: otherwise jobs"
            " could access the store by the bucket's own name.",
            bucket=bucket,
        )
    return bucket
