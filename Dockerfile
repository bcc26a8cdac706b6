# One wheel, two images. Build one with --target:
#   docker build --target api    -t musetalk-flows-api .
#   docker build --target worker -t musetalk-flows-worker .
# Both need PREFECT_API_URL; the API also MUSETALK_API__KEYS. Files go to MUSETALK_STORE__URL, an s3://bucket/prefix
# that every container shares. Read, not built: no Docker was at hand when this was written.

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
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 DO_NOT_TRACK=1 \
    MUSETALK_HOME=/home/musetalk/data
RUN useradd --create-home --uid 10001 musetalk
COPY constraints.txt /tmp/constraints.txt
COPY --from=wheel /wheels /tmp/wheels
# ai-edge-litert asks for a backport that refuses Python 3.11, rapidocr for a second OpenCV: their real needs are
# among ours
RUN pip install -c /tmp/constraints.txt /tmp/wheels/*.whl \
    && pip install --no-deps -c /tmp/constraints.txt ai-edge-litert rapidocr-onnxruntime
# a neutral folder: nothing importable lies in it
WORKDIR /home/musetalk/data
RUN chown musetalk /home/musetalk/data
USER musetalk


# Small on purpose: no torch, no weights. `musetalk deploy` in this image brings a Prefect server up to date.
FROM base AS api
ENV MUSETALK_API__HOST=0.0.0.0 MUSETALK_API__PORT=8080
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
CMD ["musetalk", "api"]


# Renders. ffmpeg comes with the wheel's dependencies. The neural extra is left out while no neural engine is part of
# the package: ENGINE=neural adds torch and what goes with it.
FROM base AS worker
ARG ENGINE=viseme
USER root
RUN if [ "$ENGINE" = neural ]; then \
      pip install -c /tmp/constraints.txt "musetalk-flows[neural] @ file://$(ls /tmp/wheels/*.whl)" \
      && pip install --no-deps -c /tmp/constraints.txt silero-vad; fi
USER musetalk
# `exec` form: signals reach the worker itself
CMD ["musetalk", "worker", "--pool", "gpu", "--jobs", "1"]
