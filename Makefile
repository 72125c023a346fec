# Ekiben. `make` lists what there is; every target needs only Python 3.11+ and make.
PYTHON ?= python3
PORT ?= 3000
HOST ?= 127.0.0.1
TORCH_INDEX ?=
PYTEST ?=

BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock \
       $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
export BENTOML_DO_NOT_TRACK := True

.DEFAULT_GOAL := help
.PHONY: help serve models test lint format lock clean bench

help: ## list the targets and the variables
	@awk 'BEGIN {FS = ":.*## "; print "make TARGET [VARIABLE=value]\n"} /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' Makefile
	@printf '\nVariables:\n'
	@printf '  %-16s %s\n' 'PYTHON' 'the Python that makes .venv (python3); 3.11 to 3.13' \
	  'PORT, HOST' 'where make serve listens (3000, 127.0.0.1)' \
	  'TORCH_INDEX' 'index URL of the PyTorch CPU wheels: on Linux PyPI sends the CUDA build of several GB' \
	  'BENTOML_HOME' 'where models are stored (~/bentoml)' \
	  'EKIBEN_…' 'settings of the service: serving/settings.py'

serve: models ## train and convert what is missing, then serve on :3000
	@printf '\nTry, once it says "initialized":\n'
	@printf '  %s\n' 'open http://localhost:$(PORT)/ui          draw a digit, price a flat' \
	  'open http://localhost:$(PORT)/            Swagger' \
	  'curl -F image=@bentos/digits/examples/seven.png localhost:$(PORT)/digits/classify' \
	  'curl localhost:$(PORT)/homes/random' \
	  'curl localhost:$(PORT)/v2/models/iris' '' | sed 's/^  $$//'
	$(BIN)/bentoml serve service:Ekiben --host $(HOST) --port $(PORT)

models: .venv/serving ## train, convert, certify and store every model; nothing is done twice
	$(BIN)/python -m train --if-changed
	$(BIN)/python -m convert

test: .venv/testing lint ## lint, types, unit and end-to-end tests
	$(BIN)/python -m pytest -m "not container" $(PYTEST)

lint: .venv/testing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/testing ## format and sort imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: models .venv/testing ## measure this service against its peers; takes about half an hour
	$(BIN)/python -m loadtest.peers

lock: .venv/testing ## write requirements.lock anew from pyproject.toml
	$(BIN)/pip install --quiet uv
	{ echo '# Every dependency, for all extras and platforms: a constraint file for pip. Made by `make lock`.'; \
	  $(BIN)/uv pip compile --quiet --universal --all-extras --python-version 3.11 --no-header --no-annotate pyproject.toml; \
	} > requirements.lock.new && mv requirements.lock.new requirements.lock

clean: ## remove environments, trained artifacts and build output; the BentoML store stays
	rm -rf .venv .venvs artifacts build .pytest_cache .mypy_cache .ruff_cache

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, $(PYTHON) is {v.major}.{v.minor}; say make PYTHON=python3.12")'
	@echo 'making .venv …'
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --upgrade 'pip>=24'

.venv/serving: pyproject.toml requirements.lock | .venv/bin/pip
	@echo 'installing what serving, training and converting need …'
	@$(PIP) '.[train,convert]'
	@touch $@

.venv/testing: pyproject.toml requirements.lock | .venv/serving
	@echo 'installing what tests and load tests need …'
	@$(PIP) '.[train,convert,loadtest,dev]'
	@touch $@
