# Trains, converts and packs a box where there is only Docker: no Python, no environment. `make up` uses it so:
#   docker build --file deploy/image/bento.Dockerfile --build-arg UV_TORCH_BACKEND=cpu --output build/bento-slim .
#   docker build --file build/bento-slim/env/docker/Dockerfile --tag ekiben:slim build/bento-slim
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS author
WORKDIR /ekiben
COPY requirements.lock ./
RUN sed -n '/^pip==/,/[^\\]$/p; /^uv==/,/[^\\]$/p' requirements.lock > tools.txt \
 && pip install --no-cache-dir --disable-pip-version-check --root-user-action ignore --require-hashes --requirement tools.txt \
 && python -m venv --without-pip /app
COPY pyproject.toml ./
# As in Dockerfile.j2, and what training and converting need.
ARG UV_TORCH_BACKEND
ARG UV_EXTRA_INDEX_URL
ARG UV_FIND_LINKS
RUN --mount=type=cache,target=/root/.cache/uv \
    if [ -n "$UV_TORCH_BACKEND$UV_EXTRA_INDEX_URL$UV_FIND_LINKS" ]; then \
      uv pip install --python /app/bin/python --no-deps --no-build --link-mode copy --index-strategy unsafe-best-match \
        "$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements.lock)"; \
    fi
RUN --mount=type=cache,target=/root/.cache/pip \
    python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
more = p["optional-dependencies"]; print(*p["dependencies"], *more["train"], *more["convert"], sep="\n")' > direct.txt \
 && pip --python /app/bin/python install --quiet --disable-pip-version-check --root-user-action ignore --only-binary :all: \
    --require-hashes --constraint requirements.lock --requirement direct.txt
ENV PATH=/app/bin:$PATH BENTOML_HOME=/store BENTOML_DO_NOT_TRACK=True ORT_DISABLE_TELEMETRY=1
COPY bentos ./bentos
COPY train ./train
COPY convert ./convert
COPY serving ./serving
RUN python -m train && python -m convert
COPY service.py bentofile*.yaml ./
COPY deploy/image ./deploy/image
# BOX=full: EKIBEN_FORMS= and BENTOFILE=bentofile.yaml
ARG BENTOFILE=bentofile.slim.yaml
ARG EKIBEN_FORMS=optimized,onnx,int8
ARG EKIBEN_MODELS
ARG VERSION=unversioned
RUN bentoml build --bentofile "$BENTOFILE" --version "$VERSION" && bentoml export "ekiben:$VERSION" /packed.bento \
 && python -m tarfile -e /packed.bento /bento

FROM scratch
COPY --from=author /bento /
