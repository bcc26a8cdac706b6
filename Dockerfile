# Three images from one wheel. Select one with --target; the last is the default:
#   docker build --target api    -t musetalk-flows-api .       REST API, Prefect server, `musetalk deploy`
#   docker build --target worker -t musetalk-flows-worker .    worker that renders
#   docker build                 -t musetalk-flows .           all services in one container, as `musetalk up`
# deployments/compose.yaml combines the first two with PostgreSQL and S3; see docs/how-to/docker.md.
# Listening on a public address requires MUSETALK_API__KEYS.

ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS wheel
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE THIRD_PARTY.md prefect.yaml ./
COPY api api
COPY flows flows
COPY tasks tasks
COPY musetalk_core musetalk_core
COPY deployments deployments
RUN pip install --no-cache-dir -c constraints.txt build hatchling \
    && python -m build --no-isolation --wheel --outdir /wheels


# lists the Python packages of the images with versions and licences; nothing else of this stage gets into one
FROM python:${PYTHON} AS sbom
RUN --mount=type=bind,source=constraints.txt,target=/tmp/constraints.txt \
    python -m venv /sbom && /sbom/bin/pip install --no-cache-dir -c /tmp/constraints.txt cyclonedx-bom


FROM python:${PYTHON} AS base
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="musetalk-flows" org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false \
    MUSETALK_HOME=/home/musetalk/data PREFECT_HOME=/home/musetalk/data/prefect \
    XDG_CACHE_HOME=/home/musetalk/data/.cache TMPDIR=/home/musetalk/data/tmp
# lowest precedence: API_PORT, API_HOST or MUSETALK_API__* in an env file override these
ARG PORT=8080
ENV API_HOST=0.0.0.0 PORT=${PORT} MUSETALK_WORKER__HEALTH_HOST=0.0.0.0
# all written files go into one folder, so that the rest can be read-only; it contains no importable modules
RUN useradd --create-home --uid 10001 musetalk \
    && mkdir -p /home/musetalk/data/tmp && chown -R musetalk /home/musetalk/data
# mounted, not copied, so that neither the wheel nor the constraints stay in a layer. The packages' bytecode stays:
# the file system is read-only at run time, and without it every process takes twice the CPU time to start.
RUN --mount=type=bind,source=constraints.txt,target=/tmp/constraints.txt \
    --mount=type=bind,from=sbom,source=/sbom,target=/sbom \
    --mount=type=bind,from=wheel,source=/wheels,target=/tmp/wheels \
    pip install -c /tmp/constraints.txt "musetalk-flows[redis] @ file://$(ls /tmp/wheels/*.whl)" \
    && find "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
       -type d -name tests -prune -exec rm -rf {} + \
    && /sbom/bin/cyclonedx-py environment --output-reproducible --no-validate \
       -o /usr/local/share/musetalk-flows.cdx.json /usr/local/bin/python
WORKDIR /home/musetalk/data
# a number: Kubernetes' runAsNonRoot cannot check a name
USER 10001


# Small image: no torch, no weights. `musetalk deploy` in this image updates a Prefect server.
FROM base AS api
# for `docker run -P` only; the environment sets the port that the API listens on
EXPOSE ${PORT}
HEALTHCHECK --interval=15s --timeout=8s --start-period=30m CMD ["python", "-m", "deployments.stack.healthcheck"]
CMD ["musetalk", "api"]


# Worker that renders, on GPUs if available. ffmpeg is part of the wheel's dependencies. TORCH_INDEX: package index of
# the torch build; https://download.pytorch.org/whl/cpu saves gigabytes without a GPU; empty: PyPI, with CUDA.
FROM base AS worker
ARG TORCH_INDEX=
USER 0
# openai-whisper requires triton, a compiler for GPUs of 1 GB, and works without it on a CPU.
RUN --mount=type=bind,source=constraints.txt,target=/tmp/constraints.txt \
    --mount=type=bind,from=sbom,source=/sbom,target=/sbom \
    --mount=type=bind,from=wheel,source=/wheels,target=/tmp/wheels \
    if [ -n "$TORCH_INDEX" ]; then \
      pip install --no-deps -c /tmp/constraints.txt --index-url "$TORCH_INDEX" torch; fi \
    && pip install -c /tmp/constraints.txt "musetalk-flows[neural] @ file://$(ls /tmp/wheels/*.whl)" \
    && if python -c "import sys, torch; sys.exit(torch.version.cuda is not None)"; then pip uninstall --yes triton; fi \
    && find "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
       -type d -name tests -prune -exec rm -rf {} + \
    && /sbom/bin/cyclonedx-py environment --output-reproducible --no-validate \
       -o /usr/local/share/musetalk-flows.cdx.json /usr/local/bin/python
USER 10001
HEALTHCHECK --interval=15s --timeout=8s --start-period=30m \
    CMD ["python", "-m", "deployments.stack.healthcheck", "http://127.0.0.1:8081/health"]
# exec form, so that signals reach the worker
CMD ["musetalk", "worker", "--pool", "gpu", "--health-port", "8081"]


# All services in one container, with SQLite and a folder as store: docker run -p 5000:5000 --env-file .env IMAGE
FROM worker AS all
EXPOSE ${PORT}
HEALTHCHECK --interval=15s --timeout=8s --start-period=30m CMD ["python", "-m", "deployments.stack.healthcheck"]
CMD ["musetalk", "up"]
