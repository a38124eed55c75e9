# One command for each intent. `make help` lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
UV_VERSION := 0.13.9
# A uv that is there already serves as well; else one is put into .uv/, and nowhere else.
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
BIN := .venv/bin
TEST_ARGS ?=
BENCH_ARGS ?=
# kind on Docker or Podman; or the node of ordinary processes that the cluster tests have in CI.
ifeq ($(MAILTOPIC_CLUSTER_MODE),node)
CLUSTER := PYTHONPATH=tests/cluster $(BIN)/python -m localcluster
else
CLUSTER := $(BIN)/mailtopic cluster
endif

export UV_PYTHON_DOWNLOADS := never
export UV_PYTHON := $(PYTHON)
export UV_PROJECT_ENVIRONMENT := .venv
unexport VIRTUAL_ENV

##@ Use

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(UV) ## Run the whole pipeline on this machine: Kafka, signup, senders, an inbox
	@$(UV) sync --frozen --all-packages --no-dev --inexact --quiet
	@MAILTOPIC_OPTIONS_BY='make demo DEMO_ARGS' $(BIN)/mailtopic up $(DEMO_ARGS)

##@ Kubernetes

.PHONY: cluster
cluster: setup ## Bring up a local Kubernetes by kind, on Docker or Podman
	@$(CLUSTER) up

.PHONY: cluster-down
cluster-down: setup ## Take the local Kubernetes down; nothing of it stays
	@$(CLUSTER) down

.PHONY: images
images: setup ## Build the images and load them into the local cluster
	@$(CLUSTER) images $(IMAGES)

.PHONY: kind
kind: cluster images ## Cluster, images, helm install, a sample, port-forwards: all of it
	@$(CLUSTER) install $(KIND_ARGS)

##@ Develop

.PHONY: setup
setup: $(UV) ## Install everything into .venv, the console scripts among it
	@$(UV) sync --frozen --all-packages --quiet
	@echo "Ready: $(BIN)/mailtopic, $(BIN)/mailtopic-signup, $(BIN)/mailtopic-sender"

.PHONY: check
check: setup ## Format, lint, types, import contracts, lock, what is generated
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(UV) lock --check --quiet
	$(BIN)/python -m mailtopic_operator.model.crd --check
	$(BIN)/python -m mailtopic_observability --check

.PHONY: fmt
fmt: setup ## Format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: test
test: setup ## Run every tier of tests that this machine can run
ifeq ($(TEST_ARGS),)
	@echo "Runs units, browser, faults and integration, then the cluster. The units alone: make test TEST_ARGS=tests/unit"
endif
	$(BIN)/python -m pytest -m "not guarantees and not cluster" $(TEST_ARGS)
ifeq ($(TEST_ARGS),)
	@$(MAKE) --no-print-directory test-cluster
endif

.PHONY: mail-servers
mail-servers: setup ## Fetch Debian's mail servers for their tests; nothing is installed
	PYTHONPATH=tests $(BIN)/python -m support.mail_servers

# By itself, after the others: a whole cluster beside them would take the time that they measure.
.PHONY: test-cluster
test-cluster: setup ## Try images, charts and operator on a Kubernetes (20 minutes)
	$(BIN)/python -m pytest -m "cluster and not guarantees and not kind" $(or $(TEST_ARGS),tests/cluster)

.PHONY: test-kind
test-kind: setup ## Try kind itself, where Docker or Podman runs (ten minutes)
	$(BIN)/python -m pytest -m kind $(or $(TEST_ARGS),tests/cluster)

.PHONY: bench
bench: setup ## Measure ours beside others (an hour; BENCH_ARGS=--quick: minutes)
	PYTHONPATH=tests $(BIN)/python -m benchmarks.pace $(filter --quick,$(BENCH_ARGS))
	PYTHONPATH=tests $(BIN)/python -m benchmarks.limits $(filter --quick,$(BENCH_ARGS))
	PYTHONPATH=tests $(BIN)/python -m benchmarks.sender_throughput
	PYTHONPATH=tests $(BIN)/python -m benchmarks.tracing_cost
	PYTHONPATH=tests $(BIN)/python -m benchmarks.side_by_side $(filter-out --million,$(BENCH_ARGS))
	PYTHONPATH=tests $(BIN)/python -m benchmarks.side_by_side.curves $(filter --quick --million,$(BENCH_ARGS))

.PHONY: guarantees
guarantees: setup ## Repeat the large runs that the docs' figures come from (two hours)
	$(BIN)/python -m pytest -m guarantees $(or $(TEST_ARGS),tests)

.PHONY: hostile
hostile: setup ## Print what becomes of each hostile record in Kafka, by topic and consumer
	PYTHONPATH=tests $(BIN)/python -m support.hostile_bench

##@ Release

.PHONY: version
version: setup ## Give everything another version: make version VERSION=0.2.0
	@PYTHONPATH=tests $(BIN)/python -m support.release.version "$(VERSION)"

.PHONY: release
release: setup ## Make the files of a release, without the network: make release VERSION=0.2.0
	@PYTHONPATH=tests $(BIN)/python -m support.release "$(VERSION)"

# docs/releasing.md has the order. Each may run again.
RELEASE := artefacts/release/$(VERSION)

.PHONY: publish-images
publish-images: ## Build and push the images for amd64 and arm64, by Docker: REGISTRY=registry.example.com/mail
	@while IFS=/: read -r owner name tag; do \
	  image=$(REGISTRY)/$$owner/$$name:$$tag; file=services/$$name/Dockerfile; \
	  [ -f $$file ] || file=$$name/Dockerfile; \
	  if [ $$owner = mailtopic ]; then \
	    docker buildx build --platform linux/amd64,linux/arm64 --provenance=mode=max --sbom=true --push \
	      --build-arg VERSION=$$tag --build-arg REVISION=$$(git rev-parse HEAD) \
	      --metadata-file $(RELEASE)/$$name.image.json --tag $$image --file $$file . || exit 1; \
	  else docker buildx imagetools create --tag $$image $$owner/$$name:$$tag || exit 1; fi; \
	done <$(RELEASE)/images.txt

.PHONY: publish-charts
publish-charts: ## Push the packaged charts: REGISTRY=registry.example.com/mail
	@for chart in $(RELEASE)/*.tgz; do helm push $$chart oci://$(REGISTRY)/charts $(HELM_ARGS) || exit 1; done

.PHONY: publish-packages
publish-packages: ## Upload the Python packages, as the platform's own identity
	@$(UV) publish --trusted-publishing always $(RELEASE)/mailtopic_*

##@ Clean

.PHONY: clean
clean: ## Drop what was built here; the demo's data stays
	rm -rf .venv .uv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis artefacts .cluster .mailservers

.uv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "MailTopic needs Python 3.11 or newer; name one with: make PYTHON=python3.12 …" >&2; exit 2; }
	@echo "Installing uv $(UV_VERSION) into .uv/ …"
	@$(PYTHON) -m venv .uv || \
	  { echo "python3 can't make virtual environments; on Debian: apt install python3-venv" >&2; exit 2; }
	@.uv/bin/pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
