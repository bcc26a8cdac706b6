"""moto looks whether an object is there and then stores: S3 decides a conditional write in one step."""

import threading
from contextlib import contextmanager


@contextmanager
def atomic_writes(monkeypatch):
    """Make every PUT and every completion of an upload in parts one step, as they are on S3."""
    from moto.s3.responses import S3Response

    lock = threading.Lock()
    put, post = S3Response.put_object, S3Response._key_response_post

    def one_put(self):
        with lock:
            return put(self)

    def one_post(self, *args, **more):
        with lock:
            return post(self, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(S3Response, "put_object", one_put)
        patch.setattr(S3Response, "_key_response_post", one_post)
        yield


@contextmanager
def without_conditions(monkeypatch):
    """Answer 501 to conditional writes, as some S3-compatible stores do."""
    from moto.s3.exceptions import S3ClientError
    from moto.s3.responses import S3Response

    class NotImplementedHere(S3ClientError):
        code = 501

        def __init__(self):
            super().__init__("NotImplemented", "A header you provided implies functionality not implemented.")

    put, post = S3Response.put_object, S3Response._key_response_post

    def refuse(self):
        if self.headers.get("If-None-Match"):
            raise NotImplementedHere

    def no_put(self):
        refuse(self)
        return put(self)

    def no_post(self, *args, **more):
        refuse(self)
        return post(self, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(S3Response, "put_object", no_put)
        patch.setattr(S3Response, "_key_response_post", no_post)
        yield
