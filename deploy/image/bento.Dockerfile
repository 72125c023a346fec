# Trains, converts and packs a box where there is only Docker: no Python, no environment. `make up` uses it so:
#   docker build --file deploy/image/bento.Dockerfile --build-arg UV_TORCH_BACKEND=cpu --output build/bento-slim .
#   docker build --file build/bento-slim/env/docker/Dockerfile --tag ekiben:slim build/bento-slim
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS author
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action ignore uv==0.13.8 \
 && python -m venv --without-pip /app
WORKDIR /ekiben
COPY pyproject.toml requirements.lock ./
ARG UV_TORCH_BACKEND
ARG UV_EXTRA_INDEX_URL
ARG UV_FIND_LINKS
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --python /app/bin/python --no-build --link-mode copy --index-strategy unsafe-best-match \
    --requirement pyproject.toml --extra train --extra convert --constraint requirements.lock
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
RUN bentoml build --bentofile "$BENTOFILE" && bentoml export ekiben:latest /packed.bento \
 && python -m tarfile -e /packed.bento /bento

FROM scratch
COPY --from=author /bento /
