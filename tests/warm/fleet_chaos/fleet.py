"""Processes of a fleet on one machine: servers, APIs, workers and S3, with links between them."""

import os
import subprocess
import sys

import boto3
import durable_s3
from links import Link
from stage import HTTP, SUPPORT, eventually, free_port
from webhook_stage import SECRET

from api.auth.key_file import ApiKey, generate_key, hash_key, write_keys
from fleet_chaos.members import Member
from fleet_chaos.work import can_make_namespaces

MUSETALK = [sys.executable, "-m", "deployments.cli"]
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
POSTGRES_PORT, REDIS_PORT = 5432, 6379


class Fleet:
    """Two servers, two APIs, two workers that render, one light worker and S3, all reached by links."""

    def __init__(self, folder, database, redis_number, links, receiver, *, tenant, slots=2):
        self.folder, self.links, self.members, self._links = folder, {}, {}, links
        self.api_key, keys = generate_key(), folder / "keys.json"
        key = ApiKey(name="chaos", sha256=hash_key(self.api_key), tenant=tenant, scopes=["submit", "read"])
        write_keys(keys, (key,))
        database_name = database.rpartition("/")[2]
        self.server_ports = [free_port(), free_port()]
        self.s3_port = free_port()
        self._base = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            **KEYS,
            "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_COLORS": "false",
            "PREFECT_SERVER_UI_ENABLED": "false",
            "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "true",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(SUPPORT),
        }
        command = [sys.executable, durable_s3.__file__, str(self.s3_port), str(folder / "s3.jsonl")]
        self._add("s3", [*command, "media", "renders", "store"], self._base)
        redis = {"MUSETALK_REDIS__DB": str(redis_number), "MUSETALK_REDIS__HOST": "127.0.0.1"}
        for number, port in enumerate(self.server_ports, start=1):
            name = f"server-{number}"
            postgres = self._link(name, "postgres", POSTGRES_PORT)
            self._add(
                name,
                ["server", "--port", str(port)],
                self._base
                | redis
                | {
                    "MUSETALK_HOME": str(folder / name),
                    "MUSETALK_REDIS__PORT": self._link(name, "redis", REDIS_PORT),
                    "PREFECT_API_DATABASE_CONNECTION_URL": (
                        f"postgresql+asyncpg://postgres@127.0.0.1:{postgres}/{database_name}"
                    ),
                },
            )
        hook = Link(links, receiver.port)
        self.links["light>receiver"] = hook
        self.webhook = f"http://127.0.0.1:{hook.port}/hook"
        apart = can_make_namespaces()
        for name in ("api-1", "api-2", "gpu-1", "gpu-2", "light"):
            environment = self.client_environment(name) | redis
            environment |= {"MUSETALK_REDIS__PORT": self._link(name, "redis", REDIS_PORT)}
            environment |= {"MUSETALK_EGRESS__ALLOWED_HOSTS": f"127.0.0.1:{hook.port}"}
            if name.startswith("api"):
                environment["MUSETALK_API__KEYS_FILE"] = str(keys)
                environment["MUSETALK_API__PORT"] = str(free_port())
                self._add(name, [*MUSETALK, "api"], environment)
            else:
                pool = name.partition("-")[0]
                command = ["worker", "--pool", pool, "--jobs", str(slots)]
                # gpu-1: a container that keeps its name; gpu-2: one with another name at each start
                is_apart = apart and pool == "gpu"
                self._add(name, command, environment, own_namespace=is_apart, is_renamed=name != "gpu-1")

    def client_environment(self, name):
        """Return the variables of a process that uses the servers and S3."""
        servers = self._link(name, "servers", *self.server_ports)
        return self._base | {
            "MUSETALK_HOME": str(self.folder / name),
            "PREFECT_API_URL": f"http://127.0.0.1:{servers}/api",
            "MUSETALK_STORE__URL": "s3://store/main",
            "MUSETALK_STORE__MIN_FREE_BYTES": "0",
            "MUSETALK_S3__ENDPOINT_URL": f"http://127.0.0.1:{self._link(name, 's3', self.s3_port)}",
            "MUSETALK_RENDER__PREVIEW": "false",
            "MUSETALK_RENDER__PREVIEW_EVERY_S": "0",
            "MUSETALK_MARK__IMPERCEPTIBLE": "off",
            "MUSETALK_PROVENANCE__SIGN": "false",
            "MUSETALK_EGRESS__ALLOW_HTTP": "true",
            "MUSETALK_WEBHOOK__SECRETS": SECRET,
        }

    @property
    def api_urls(self):
        return [
            f"http://127.0.0.1:{self.members[name].environment['MUSETALK_API__PORT']}"
            for name in ("api-1", "api-2")
        ]

    @property
    def server_url(self):
        """Return the address of the servers by a link that no fault touches."""
        return f"http://127.0.0.1:{self._watch_port}/api"

    def s3(self):
        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.s3_port}",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name="us-east-1",
        )

    def start(self):
        """Start everything, deploy, and wait until the workers and the APIs are ready."""
        self.members["s3"].start()
        for number, port in enumerate(self.server_ports, start=1):  # the first migrates the database
            self.members[f"server-{number}"].start()
            eventually(lambda port=port: HTTP.get(f"http://127.0.0.1:{port}/api/ready").is_success, 600)
        self._watch_port = Link(self._links, *self.server_ports).port
        environment = self.client_environment("deploy")
        for name in [name for name in self.links if name.startswith("deploy>")]:
            del self.links[name]  # no fault touches them
        subprocess.run(
            [*MUSETALK, "deploy"], env=environment, cwd=self.folder, check=True, capture_output=True
        )
        for name in ("gpu-1", "gpu-2", "light", "api-1", "api-2"):
            self.members[name].start()
        for url in self.api_urls:
            eventually(lambda url=url: HTTP.get(f"{url}/readyz").is_success, 600)

    def watch(self):
        for member in self.members.values():
            member.watch()

    def end(self):
        for member in self.members.values():
            member.end()

    def _add(self, name, command, environment, **options):
        self.members[name] = Member(name, command, environment, self.folder / name, **options)

    def _link(self, name, target, *ports):
        link = Link(self._links, *ports)
        self.links[f"{name}>{target}"] = link
        return str(link.port)
