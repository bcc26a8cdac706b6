"""The system of deployments/compose.yaml from built images, in one network namespace with loopback only."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import image_files
from image_builder import podman
from whole_stack import free_port

RELAY = Path(__file__).with_name("relay.py")
NAMES = ("prefect", "postgres", "s3.localhost")
"""Host names of compose.yaml; in one namespace each is this computer."""
HARDENED = (
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    # the rights to open files and to start threads that a container runtime gives at least
    "--ulimit=nofile=4096:4096",
    "--ulimit=nproc=8192:8192",
)


class Namespace:
    """A network namespace with loopback only, and relays between its ports and those of this machine."""

    def __init__(self, folder):
        self.folder = folder
        self.name = f"musetalk-{uuid4().hex[:8]}"
        self._relays = []

    def __enter__(self):
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        subprocess.run(["ip", "-n", self.name, "link", "set", "lo", "up"], check=True)
        return self

    def __exit__(self, *_):
        for relay in self._relays:
            relay.kill()
            relay.wait()
        subprocess.run(["ip", "netns", "delete", self.name], check=True)

    @property
    def path(self):
        """The file of the namespace."""
        return f"/run/netns/{self.name}"

    def _relay(self, inside, listen, target):
        enter = ["nsenter", f"--net={self.path}"] if inside else []
        command = [*enter, sys.executable, str(RELAY), listen, target]
        relay = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._relays.append(relay)
        assert relay.stdout.readline() == "ready\n"

    def bring_in(self, port, outside):
        """Make a port of this machine a port of the namespace."""
        between = f"unix:{self.folder}/in-{port}"
        self._relay(False, between, f"tcp:{outside}")
        self._relay(True, f"tcp:{port}", between)

    def bring_out(self, port):
        """Return a port of this machine that leads to a port of the namespace."""
        between, outside = f"unix:{self.folder}/out-{port}", free_port()
        self._relay(True, between, f"tcp:{port}")
        self._relay(False, f"tcp:{outside}", between)
        return outside


class ImageSystem:
    """Services of compose.yaml as containers of built images."""

    def __init__(self, namespace, images, secrets, changed):
        """
        Read the services; none is started.

        Args:
            namespace: of all containers.
            images:    image by build target.
            secrets:   variables of compose.yaml.
            changed:   environment by service that replaces what compose.yaml says.
        """
        self.namespace, self._images, self._changed = namespace, images, changed
        services = image_files.compose(**secrets)["services"]
        self._services = {
            name: service
            for name, service in services.items()
            if service.get("build", {}).get("target") in images
        }
        # one namespace has each port once
        light = self._services["light"]
        for words in (light["command"], light["healthcheck"]["test"]):
            words[:] = [word.replace("8081", "8082") for word in words]
        self._prefix = namespace.name

    def container(self, service):
        """Return the name of a service's container."""
        return f"{self._prefix}-{service}"

    def run(self, service):
        """Start the container of a service, as hardened as compose.yaml says."""
        told = self._services[service]
        assert told["read_only"] and told["cap_drop"] == ["ALL"] and told["init"]
        environment = told["environment"] | self._changed.get(service, {})
        options = [f"--env={name}={value}" for name, value in environment.items()]
        options += [f"--add-host={name}:127.0.0.1" for name in NAMES]
        options += [f"--volume={self.container(volume)}" for volume in told["volumes"]]
        name = self.container(service)
        network = f"--network=ns:{self.namespace.path}"
        image = self._images[told["build"]["target"]]
        started = ("run", "--detach", "--init", "--name", name, network, *HARDENED, *options, image)
        podman(*started, *told["command"])

    def healthy(self, service, timeout=600):
        """Wait until the service's own health check succeeds."""
        check = self._services[service].get("healthcheck", {}).get("test")
        deadline = time.monotonic() + timeout
        name = self.container(service)
        while True:
            if check:
                done = podman("exec", name, *check[1:], check=False)
            else:  # the image's
                done = podman("healthcheck", "run", name, check=False)
            if done.returncode == 0:
                return
            assert time.monotonic() < deadline, f"{service}: {done.stdout}{done.stderr}{self.log(service)}"
            time.sleep(1)

    def wait(self, service, timeout=600):
        """Wait for the end of a service's container and return its exit status."""
        return int(podman("wait", self.container(service), timeout=timeout).stdout)

    def kill(self, service):
        """Kill the processes of a service's container at once."""
        podman("kill", "--signal=KILL", self.container(service))
        podman("wait", self.container(service))

    def start(self, service):
        """Start a container that has ended again, on its volume."""
        podman("start", self.container(service))

    def stop(self, service, seconds=60):
        """Stop a container by SIGTERM and return its exit status."""
        podman("stop", f"--time={seconds}", self.container(service), timeout=seconds + 60)
        state = podman("inspect", self.container(service), "--format={{.State.ExitCode}}")
        return int(state.stdout)

    def log(self, service):
        """Return the last lines of a container's output."""
        done = podman("logs", "--tail=40", self.container(service), check=False)
        return done.stdout + done.stderr

    def remove(self):
        """Remove all containers and their volumes."""
        for service in self._services:
            podman("rm", "--force", "--time=0", "--volumes", self.container(service), check=False)
            podman("volume", "rm", "--force", self.container(service), check=False)


@contextmanager
def image_system(folder, images, database, s3_port):
    """
    Give a system of built images with nothing started, and remove all of it at the end.

    Args:
        folder:   for the sockets of relays.
        images:   image by build target.
        database: of the Prefect server, as SQLAlchemy's URL on a port of this machine.
        s3_port:  of the S3 server, on this machine.
    """
    secrets = dict.fromkeys(("POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY", "API_KEYS"), "test")
    changed = {"prefect": {"PREFECT_API_DATABASE_CONNECTION_URL": database.replace("127.0.0.1", "postgres")}}
    with ExitStack() as stack:
        namespace = stack.enter_context(Namespace(folder))
        namespace.bring_in(5432, int(os.environ.get("PGPORT", "5432")))
        namespace.bring_in(7070, s3_port)
        system = ImageSystem(namespace, images, secrets, changed)
        stack.callback(system.remove)
        yield system
