# The vocabulary of the project. A fresh machine needs Python 3.11 or newer and make; every
# target makes the environment that it needs, in the checkout.

SHELL := bash
.DELETE_ON_ERROR:
.NOTPARALLEL:

# Everything for developers, and the service alone.
VENV ?= .venv
DEMO_VENV ?= .venv-demo
CONFORMANCE_VENV ?= .venv-conformance
# How many processes run the tests.
WORKERS ?= 2
# What `image` makes: cpu or cuda.
VARIANT ?= cpu
# What `demo` and `serve` run.
BUNDLE ?= bundles/sst2-minilm

BIN := $(VENV)/bin
SOURCES := service training tests benchmarks docs

.PHONY: help
help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /:/' \
		| awk -F: '{ printf "  make %-12s %s\n", $$1, $$2 }'

.PHONY: demo
demo: demo-environment ## serve the bundle, explain a sentence through it, stop
	@.ci/demo $(DEMO_VENV) $(BUNDLE)

.PHONY: serve
serve: demo-environment ## serve the bundle on the default ports until Ctrl-C
	@exec $(DEMO_VENV)/bin/diffmask serve --bundle $(BUNDLE)

.PHONY: test
test: lint types imports unit package deployment ## every check and the whole test suite

.PHONY: install
install: ## make the developers' environment
	@.ci/environment $(VENV) dev

.PHONY: demo-environment
demo-environment:
	@.ci/environment $(DEMO_VENV) cpu

.PHONY: format
format: install ## rewrite the code in the project's format
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

.PHONY: lint
lint: install ## check format and style
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)

.PHONY: types
types: install ## check types
	$(BIN)/mypy

.PHONY: imports
imports: install ## check who may import whom
	$(BIN)/lint-imports

.PHONY: unit
unit: install debian-tools ## run the tests, without a network
	HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/pytest --no-skips \
		--numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder

.PHONY: conformance
conformance: ## run KServe's client against the server, in an environment of its own
	@.ci/environment $(CONFORMANCE_VENV) conformance
	$(CONFORMANCE_VENV)/bin/pytest --no-skips tests/conformance

.PHONY: debian-tools
debian-tools: install
	@.ci/debian-tools $(VENV)

.PHONY: package
package: install ## build the distributions and check what is in them
	@.ci/package $(VENV)

.PHONY: image
image: ## build the service's image with Docker; VARIANT=cuda for GPUs
	docker build --build-arg VARIANT=$(VARIANT) --tag diffmask-service:$(VARIANT) .

.PHONY: deployment
deployment: install ## take the image's steps without Docker, and check Envoy's settings
	$(BIN)/pytest --no-skips tests/deployment

.PHONY: lock
lock: install ## write the image's lock files anew where pyproject.toml asks for it
	@.ci/lock $(VENV)

.PHONY: build
build: install ## build the distributions into dist/
	$(BIN)/python -m build

.PHONY: protos
protos: install ## generate the code of the wire contract
	@.ci/protos $(VENV)

.PHONY: pictures
pictures: demo-environment ## draw the README's picture from the bundle
	$(DEMO_VENV)/bin/python docs/draw_picture.py --bundle $(BUNDLE) --to docs/explanation.svg

.PHONY: api
api: install ## write docs/api.md from the docstrings
	$(BIN)/python docs/write_api.py

.PHONY: bench
bench: install ## print how long a server with the bundle takes to start
	$(BIN)/python -m benchmarks.start --bundle $(BUNDLE)

.PHONY: results
results: install ## measure what benchmarks/RESULTS.md records; takes an hour
	$(BIN)/python -m benchmarks.campaign --bundle $(BUNDLE)

.PHONY: clean
clean: ## remove environments, caches and builds; keep runs/
	rm -rf .venv .venv-demo .venv-conformance .venv-ci .venv-ci-demo .venv-ci-conformance \
		dist build .coverage .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
