# One wheel, three images. Build one with --target; the last is the default:
#   docker build --target api    -t musetalk-flows-api .       the REST API, Prefect's server, `musetalk deploy`
#   docker build --target worker -t musetalk-flows-worker .    what renders
#   docker build                 -t musetalk-flows .           everything in one container, as `musetalk up`
# deployments/compose.yaml puts the first two together with PostgreSQL and S3; docs/how-to/docker.md says more.
# A public address asks for MUSETALK_API__KEYS. Read and tested by its parts where no Docker was at hand.

ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE prefect.yaml ./
COPY api api
COPY flows flows
COPY tasks tasks
COPY musetalk_core musetalk_core
COPY deployments deployments
RUN pip install --no-cache-dir build && python -m build --wheel --outdir /wheels


FROM python:${PYTHON} AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false \
    MUSETALK_HOME=/home/musetalk/data PREFECT_HOME=/home/musetalk/data/prefect \
    XDG_CACHE_HOME=/home/musetalk/data/.cache TMPDIR=/home/musetalk/data/tmp
# the names with the lowest precedence: API_PORT, API_HOST or MUSETALK_API__* of an env file win over them
ARG PORT=8080
ENV API_HOST=0.0.0.0 PORT=${PORT}
# all that is written lies in one folder, so that the rest can be read-only; nothing importable lies in it
RUN useradd --create-home --uid 10001 musetalk \
    && mkdir -p /home/musetalk/data/tmp && chown -R musetalk /home/musetalk/data
COPY constraints.txt /tmp/constraints.txt
COPY --from=wheel /wheels /tmp/wheels
RUN pip install -c /tmp/constraints.txt "musetalk-flows[redis] @ file://$(ls /tmp/wheels/*.whl)"
# ai-edge-litert asks for a backport that refuses Python 3.11, rapidocr for a second OpenCV: their real needs are
# among ours
RUN pip install --no-deps -c /tmp/constraints.txt ai-edge-litert rapidocr-onnxruntime
WORKDIR /home/musetalk/data
USER musetalk


# Small on purpose: no torch, no weights. `musetalk deploy` in this image brings a Prefect server up to date.
FROM base AS api
# tells which port is published by -P; the port in force is that of the environment
EXPOSE ${PORT}
HEALTHCHECK --interval=15s --timeout=8s --start-period=30m CMD ["python", "-m", "deployments.healthy"]
CMD ["musetalk", "api"]


# Renders, on cards if there are any. ffmpeg comes with the wheel's dependencies. TORCH_INDEX names the package index
# of a torch build: https://download.pytorch.org/whl/cpu saves gigabytes where there is no card; empty: PyPI's, for CUDA.
FROM base AS worker
ARG TORCH_INDEX=
USER root
RUN if [ -n "$TORCH_INDEX" ]; then \
      pip install --no-deps -c /tmp/constraints.txt --index-url "$TORCH_INDEX" torch; fi
RUN pip install -c /tmp/constraints.txt "musetalk-flows[neural] @ file://$(ls /tmp/wheels/*.whl)"
# silero-vad asks for torchaudio where its weights are all that is used
RUN pip install --no-deps -c /tmp/constraints.txt silero-vad
USER musetalk
HEALTHCHECK --interval=15s --timeout=8s --start-period=30m \
    CMD ["python", "-m", "deployments.healthy", "http://127.0.0.1:8081/health"]
# `exec` form: signals reach the worker itself
CMD ["musetalk", "worker", "--pool", "gpu", "--health-port", "8081"]


# The whole system in one container, on SQLite and a folder: docker run -p 5000:5000 --env-file .env IMAGE
FROM worker AS all
EXPOSE ${PORT}
HEALTHCHECK --interval=15s --timeout=8s --start-period=30m CMD ["python", "-m", "deployments.healthy"]
CMD ["musetalk", "up"]
