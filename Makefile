# Huiju: everything a developer does. `make help` lists it.
SHELL := /bin/bash
.DELETE_ON_ERROR:
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST_ARGS ?=
CENTERS ?= 3
SEEDS ?= 1-3
CHAOS_ARGS ?=
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# The image: its name, its architecture, the Python of its base, and the base where it is not the
# one that the Dockerfile names.
IMAGE ?= huiju/huiju:$(VERSION)
ARCH ?= $(subst aarch64,arm64,$(subst x86_64,amd64,$(shell uname -m)))
IMAGE_PYTHON ?= 3.11
BASE ?=
WHEELS := dist/wheels/$(ARCH)
MACHINE := $(subst arm64,aarch64,$(subst amd64,x86_64,$(ARCH)))
PIP_DOWNLOAD = $(BIN)/python -m pip --disable-pip-version-check download --quiet --no-deps \
  --require-hashes --only-binary=:all: --python-version $(IMAGE_PYTHON) --implementation cp \
  $(foreach tag,manylinux_2_34 manylinux_2_31 manylinux_2_28 manylinux_2_17 manylinux2014,--platform $(tag)_$(MACHINE))

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: dev
dev: $(STAMP) ## Make the virtual environment with everything pinned

$(STAMP): pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Huiju needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: tools
tools: $(STAMP) ## Find, download or build the lab's programs (once; minutes if built)
	$(BIN)/python -m lab programs

.PHONY: format
format: $(STAMP) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: check
check: $(STAMP) ## Format, lint, types, layer contracts, generated files (under a minute)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m huiju.api.crd --check
	$(BIN)/python -m huiju.api.reference --check
	$(BIN)/python -m huiju.api.lint
	$(BIN)/python -m huiju.cli.reference --check
	$(BIN)/python -m huiju.telemetry.reference --check
	$(BIN)/python -m helm.generate --check

.PHONY: crds
crds: $(STAMP) ## Generate CRDs, reference pages and parts of the charts from the code
	$(BIN)/python -m huiju.api.crd --write
	$(BIN)/python -m huiju.api.reference --write
	$(BIN)/python -m huiju.cli.reference --write
	$(BIN)/python -m huiju.telemetry.reference --write
	$(BIN)/python -m helm.generate --write

.PHONY: test
test: $(STAMP) tools ## Set up everything and pass all tests
	@# Tests of the lab mostly wait for clusters: two lots of them and the pure tests share the time.
	@# 5: nothing was selected.
	@log=$$(mktemp -d); trap 'kill $$pure $$some 2>/dev/null; rm -rf "$$log"' EXIT; \
	nice $(BIN)/python -m pytest -m "not lab" $(PYTEST_ARGS) >"$$log/pure" 2>&1 & pure=$$!; \
	$(BIN)/python -m pytest -m "lab and not federation" $(PYTEST_ARGS) >"$$log/some" 2>&1 & some=$$!; \
	$(BIN)/python -m pytest -m federation $(PYTEST_ARGS); federation=$$?; \
	wait $$some; lab=$$?; cat "$$log/some"; \
	wait $$pure; rest=$$?; cat "$$log/pure"; \
	for code in $$federation $$lab $$rest; do [ $$code = 0 ] || [ $$code = 5 ] || exit $$code; done; \
	[ $$federation = 0 ] || [ $$lab = 0 ] || [ $$rest = 0 ] || exit 5

.PHONY: test-unit
test-unit: $(STAMP) ## Only the tests that need no control plane
	$(BIN)/python -m pytest -m "not lab" $(PYTEST_ARGS)

.PHONY: spec
spec: $(STAMP) ## Walk every state of the placement protocol's model (minutes)
	$(BIN)/python -m tests.spec $(SPEC_ARGS)

.PHONY: chaos
chaos: $(STAMP) tools ## Storms of faults over a real federation: SEEDS=1-20 CHAOS_ARGS="--seconds 60"
	$(BIN)/python -m tests.chaos --seeds "$(SEEDS)" $(CHAOS_ARGS)

.PHONY: demo
demo: $(STAMP) tools ## A hub, three centers, a recorded trace as real jobs, a report
	$(BIN)/python -m demo up

.PHONY: demo-down
demo-down: $(STAMP) ## End the demo; nothing is left behind
	$(BIN)/python -m demo down

.PHONY: bench
bench: bench-dispatch bench-recovery bench-data ## All benchmarks

.PHONY: bench-dispatch
bench-dispatch: $(STAMP) tools ## Jobs dispatched per second, latencies, cost per job
	$(BIN)/python -m tests.perf.bench_dispatch $(BENCH_ARGS)

.PHONY: bench-recovery
bench-recovery: $(STAMP) tools ## Seconds until jobs of a lost center run elsewhere, and until another hub leads
	$(BIN)/python -m tests.perf.bench_recovery $(BENCH_ARGS)

.PHONY: bench-data
bench-data: $(STAMP) ## How fast data sets move over long lines, against rclone; BENCH_ARGS="--only small"
	$(BIN)/python -m tests.perf.bench_data $(BENCH_ARGS)

.PHONY: wheels
wheels: $(STAMP) ## Collect what the image is made of into dist/wheels/ARCH (ARCH=arm64 for the other)
	rm -rf $(WHEELS)
	mkdir -p $(WHEELS)
	$(PIP_DOWNLOAD) -d $(WHEELS) -r requirements/base.txt
	$(PIP_DOWNLOAD) -d $(WHEELS) -r requirements/image.txt
	mv $(WHEELS)/pip-*.whl $(WHEELS)/pip.whl
	$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps --no-build-isolation -w $(WHEELS) .

.PHONY: image
image: ## Build the image from the collected wheels, without network (BASE, IMAGE, ARCH)
	@test -s $(WHEELS)/pip.whl || { echo "$(WHEELS) is empty; run \`make wheels ARCH=$(ARCH)\` where a package index is reached and bring the folder here"; exit 1; }
	docker build --network none --platform linux/$(ARCH) $(if $(BASE),--build-arg BASE=$(BASE)) \
	  --build-arg ARCH=$(ARCH) --build-arg VERSION=$(VERSION) -t $(IMAGE) .

# What the workers of the end-to-end tests are made of, besides Python itself.
E2E_PARTS := dist/e2e/$(ARCH)
E2E_ARGS ?= e2e

$(E2E_PARTS)/.collected: e2e/image/requirements.txt $(STAMP)
	rm -rf $(E2E_PARTS)
	mkdir -p $(E2E_PARTS)
	$(PIP_DOWNLOAD) -d $(E2E_PARTS) -r e2e/image/requirements.txt
	@touch $@

# The version that upgrades start from: its tree and its image. Empty leaves the upgrade out.
PREVIOUS ?= ad8d1e4
PREVIOUS_TREE := dist/previous
PREVIOUS_MADE := $(if $(PREVIOUS),$(PREVIOUS_TREE)/.made-$(PREVIOUS))

$(PREVIOUS_MADE): | $(STAMP)
	rm -rf $(PREVIOUS_TREE)
	mkdir -p $(PREVIOUS_TREE)
	git archive $(PREVIOUS) | tar -x -C $(PREVIOUS_TREE)
	$(MAKE) -C $(PREVIOUS_TREE) STAMP= BIN=$(abspath $(BIN)) BASE="$(or $(BASE),$(E2E_BASE))" \
	  IMAGE=huiju/huiju:$$(sed -n 's/^version = "\(.*\)"/\1/p' $(PREVIOUS_TREE)/pyproject.toml) wheels image
	@touch $@

.PHONY: image-previous
image-previous: $(PREVIOUS_MADE) ## Build the image of the version before, which the upgrade test starts from

.PHONY: e2e
e2e: $(STAMP) $(E2E_PARTS)/.collected $(PREVIOUS_MADE) ## The charts and the image on real clusters of kind (E2E_KEEP=1 leaves them)
	@docker image inspect $(IMAGE) >/dev/null || { echo "the engine has no image $(IMAGE); run \`make wheels image\`"; exit 1; }
	E2E_IMAGE=$(IMAGE) E2E_BASE="$(or $(BASE),$(E2E_BASE))" E2E_WHEELS=$(abspath $(E2E_PARTS)) \
	  E2E_PREVIOUS=$(if $(PREVIOUS),$(abspath $(PREVIOUS_TREE))) $(BIN)/python -m pytest -v $(E2E_ARGS)

.PHONY: bench-cycle
bench-cycle: $(STAMP) ## The scheduling core at scale: cold and steady cycle, memory, a whole trace
	$(BIN)/python -m tests.perf.bench_cycle $(BENCH_ARGS)

.PHONY: cover
cover: $(STAMP) ## Branch coverage of the scheduling core by its pure tests (at least 95 %)
	$(BIN)/python -m pytest tests/unit/scheduling tests/property/test_scheduling*.py -q \
	  --cov=huiju.scheduling --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=95

.PHONY: lock
lock: $(STAMP) ## Renew the pinned dependencies
	$(PYTHON) -m pip install --quiet uv
	uv pip compile -q --python-version 3.11 --universal --generate-hashes --no-header --no-annotate --no-emit-index-url pyproject.toml -o requirements/base.txt
	uv pip compile -q --python-version 3.11 --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --extra dev pyproject.toml -o requirements/dev.txt

.PHONY: clean
clean: ## Remove the virtual environment and caches (not the lab's programs)
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
