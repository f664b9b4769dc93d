# The commands of CONTRIBUTING.md. Everything lands in .venv; a second call is quick (stamps inside .venv).
# Another interpreter: make test PYTHON=python3.13 (make clean first).

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?=
IMAGE ?= auth-sidecar
EXTRAS ?= redis
TESTS ?=
WORKERS ?= auto
MODES ?= small,idle
SECONDS ?= 60
BIN := .venv/bin
PACKAGE := pyproject.toml README.md LICENSE $(shell find proxy -type f ! -name '*.pyc')
LOCKS := $(wildcard requirements/extra-*.lock) requirements/run.lock requirements/build.lock
PEERS := $(shell find tests -name '*.py' 2>/dev/null) $(wildcard tests/support/*/package-lock.json)

# The tests import the installed wheel, never the work tree: not even where the current directory holds a `proxy`.
export PYTHONSAFEPATH := 1

.PHONY: help run test lint bench image soak chaos fuzz lock clean

help:
	@echo 'make run     start the sidecar against its sandbox; prints a curl line to paste'
	@echo 'make test    install what the tests need, run them all (TESTS="tests/auth -k nonce" for some; WORKERS=0: one process)'
	@echo 'make lint    ruff and mypy'
	@echo 'make bench   CPU, latency and memory beside nginx, Envoy and aiohttp (MODES=small,idle,64k,…)'
	@echo 'make image   build the container image'
	@echo 'make soak    five minutes of 200 mixed callers on a bad day (30 s of it are part of make test)'
	@echo 'make chaos   Redis, Sentinel and replicas killed and stopped under load: half an hour (a minute of it is part of make test)'
	@echo 'make fuzz    fuzz the grammar of HTTP/1.1 for a minute (SECONDS=60; Linux)'
	@echo 'make lock    write requirements/*.lock anew'
	@echo 'make clean   remove everything that these made'

run: .venv/.package
	@exec $(BIN)/auth-sidecar sandbox --serve config.yaml

test: .venv/.package .venv/.dev .venv/.peers
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(TESTS)

lint: .venv/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy $(LOOSE) tests bench

# Fixtures and tests may go without annotations and take for granted that a token is there: a test says so by failing.
# What stands in their bodies is checked all the same.
LOOSE := --allow-untyped-defs --allow-incomplete-defs --allow-untyped-calls --allow-untyped-decorators \
	--allow-any-generics --no-warn-return-any --no-strict-optional --no-warn-unused-ignores --no-warn-redundant-casts

bench: .venv/.package
	@env -u PYTHONSAFEPATH $(BIN)/python bench --modes $(MODES) $(BENCH)

image:
	@engine=$$(command -v docker || command -v podman) || { echo 'make image: neither docker nor podman here'; exit 1; }; \
	case $$engine in */podman) set -- --format docker ;; *) set -- ;; esac; \
	exec "$$engine" build "$$@" --tag $(IMAGE) --build-arg EXTRAS="$(EXTRAS)" \
		--build-arg VERSION="$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' proxy/__init__.py)" \
		--build-arg REVISION="$$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
		--build-arg CREATED="$$(date -u +%Y-%m-%dT%H:%M:%SZ)" .

soak: .venv/.package .venv/.dev
	SOAK_SECONDS=300 SOAK_CLIENTS=200 $(BIN)/python -m pytest tests/soak

chaos: .venv/.package .venv/.dev .venv/.peers
	CHAOS_SECONDS=$${CHAOS_SECONDS:-300} $(BIN)/python -m pytest tests/chaos

fuzz: .venv/.package .venv/.dev
	$(BIN)/python -m pip install --quiet 'atheris>=3,<4'
	@mkdir -p .venv/corpus
	$(BIN)/python tests/fuzz/http1.py -max_total_time=$(SECONDS) .venv/corpus

lock:
	.ci/lock

clean:
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage bench/.venv-* bench/results
	find tests/support -name node_modules -prune -exec rm -rf {} +

# ---- what the commands need ------------------------------------------------------------------------------------------

.venv/.run: $(LOCKS) .ci/venv
	@.ci/venv .venv '$(PYTHON)' $(LOCKS)
	@touch $@

.venv/.dev: requirements/dev.lock .venv/.run
	@.ci/venv .venv '$(PYTHON)' requirements/dev.lock
	@touch $@

.venv/.package: $(PACKAGE) .venv/.run
	@echo '== the package: building and installing the wheel'
	@rm -rf dist
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@$(BIN)/python -m pip install --quiet --no-deps --force-reinstall dist/*.whl
	@touch $@

.venv/.peers: $(PEERS) .ci/peers .venv/.run
	@if .ci/peers tests; then touch $@; fi
