# syntax=docker/dockerfile:1
# One image for every Tandem process; docker-compose.yml gives the command. The model servers have images of their own.
ARG PYTHON_VERSION=3.12

FROM python:${PYTHON_VERSION}-slim-bookworm AS build
ARG UV_VERSION=0.13.9
RUN pip install --no-cache-dir "uv==${UV_VERSION}" && uv venv /opt/venv
ENV UV_LINK_MODE=copy
WORKDIR /app
# First what changes rarely: exactly the locked wheels, each checked against its hash.
COPY requirements.lock ./
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --python /opt/venv/bin/python --compile-bytecode --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY tandem tandem
COPY gateway gateway
COPY router router
COPY fast_model fast_model
COPY slow_worker slow_worker
COPY tools tools
COPY ui ui
# Editable: the name and version of the distribution, while the code stays where PYTHONPATH finds it first.
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --python /opt/venv/bin/python --no-deps --editable . && python -m compileall -q /app
# The packages of the tool python_full, 270 MB. Its sandbox makes namespaces, which Docker forbids by default: without a runtime that allows them the
# tool is not offered, and the packages would lie idle. Build with SANDBOX=true for one that does.
ARG SANDBOX=false
COPY requirements-sandbox.lock ./
RUN --mount=type=cache,target=/root/.cache/uv if [ "$SANDBOX" = true ]; then \
      uv pip install --python /opt/venv/bin/python --compile-bytecode --require-hashes --target /opt/venv/sandbox -r requirements-sandbox.lock \
      && PYTHONPATH=/app /opt/venv/bin/python -m tools.sandbox.prepare /opt/venv/sandbox; \
    fi

FROM python:${PYTHON_VERSION}-slim-bookworm
RUN groupadd --gid 10001 tandem && useradd --uid 10001 --gid tandem --home-dir /var/lib/tandem --no-create-home --shell /usr/sbin/nologin tandem \
    && install -d -o tandem -g tandem -m 0750 /var/lib/tandem /var/lib/tandem/run /models
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
# The flat package names are common ones: PYTHONPATH puts ours before any other distribution's.
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 TANDEM_HOME=/var/lib/tandem
WORKDIR /app
USER tandem
VOLUME /var/lib/tandem
CMD ["python", "-m", "gateway"]
