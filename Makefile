# Every task of this project; `make` lists them. CI runs nothing else.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
# A process that may not keep what it compiles compiles all of MLflow and scikit-learn each time it starts.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
INSTALL := $(UV) pip install --quiet --python $(BIN)/python
COMPILE := $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url
CONFIG ?=
TESTS ?= tests/unit tests/integration tests/ui
PYTEST := $(BIN)/python -m pytest
PARALLEL := -n auto --dist loadgroup

# Every core has a test process already. Threads of OpenMP and OpenBLAS would spin while they wait for a core: small gradient
# boosting takes twenty times the processor time then.
test test-e2e test-k8s test-spark test-monitoring test-browser: export OMP_NUM_THREADS = 1

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z0-9 -]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

# --- environment ------------------------------------------------------------------------------------------------------

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with make PYTHON=/path/to/python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(shell sed -n 's/^uv==//p' requirements-dev.txt)

$(VENV)/.run: requirements.txt pyproject.toml | $(UV)
	$(INSTALL) -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt pyproject.toml | $(UV)
	$(INSTALL) -r requirements-dev.txt
	@touch $@ $(VENV)/.run

# Installing builds it, a change of its source does so here. Without a C compiler there is none, and ONNX Runtime does its work.
NATIVE := src/mlops_project/native
$(NATIVE)/trees.so: $(wildcard $(NATIVE)/*.c $(NATIVE)/*.h) $(NATIVE)/build.py | $(VENV)/.run
	$(BIN)/python -m mlops_project.native.build

.PHONY: native
native: $(NATIVE)/trees.so ## Compile the evaluation of tree ensembles, where there is a C compiler

.PHONY: install install-dev
install: $(VENV)/.run ## Create .venv with what it takes to run the product
install-dev: $(VENV)/.dev ## The same, with what tests and checks need

# --- use --------------------------------------------------------------------------------------------------------------

.PHONY: up demo train
up: $(VENV)/.run ## Train if there is no model, then run the whole stack here; Ctrl-C stops it
	@exec $(BIN)/mlops up $(CONFIG)

demo: $(VENV)/.run ## Watch the loop: drift, alert, retraining, promotion, recovery; in build/demo, a few minutes
	@exec $(BIN)/python examples/demo/demo.py

train: $(VENV)/.run ## Train the default model, or CONFIG=model.yaml
	@$(BIN)/mlops train $(CONFIG)

# --- in CI ------------------------------------------------------------------------------------------------------------

# .github/workflows/model.yml and drift.yml call these; CONFIG names the model, MLFLOW_TRACKING_URI the registry.
VERSION_FILE := build/model/version
VERSION ?= $(shell cat $(VERSION_FILE) 2>/dev/null)
SIGNED := $(if $(SIGNING_KEY),--set trust.signing_key=env:SIGNING_KEY)
.PHONY: model-train model-gate model-approve model-promote model-drift
model-train: $(VENV)/.run ## Train and register CONFIG without asking the gate; the version goes to build/model
	mkdir -p build/model
	$(BIN)/mlops train $(CONFIG) $(SIGNED) --set gates.promote_after_training=false --json >build/model/training.json
	$(BIN)/python -c 'import json, sys; told = json.load(open("build/model/training.json")); sys.exit("not registered: %s" % told["not_logged"]) if told["model_version"] is None else print(told["model_version"])' >$(VERSION_FILE)
	@echo "registered version $$(cat $(VERSION_FILE)); its metrics are in build/model/training.json"

model-gate model-approve model-promote: named-version
.PHONY: named-version
named-version:
	@test -n "$(VERSION)" || { echo "which version? make model-train writes it to $(VERSION_FILE); or name one: VERSION=3" >&2; exit 2; }

model-gate: $(VENV)/.run ## Ask the gate about VERSION of CONFIG's model, and move nothing; Error 3: it refuses
	@$(BIN)/mlops promote $(CONFIG) --version $(VERSION) --dry-run

model-approve: $(VENV)/.run ## Approve VERSION of CONFIG's model as this environment's MLflow user; Error 2: it registered the version itself
	@$(BIN)/mlops approve $(VERSION) $(CONFIG) $(if $(APPROVAL_KEY),--key env:APPROVAL_KEY) --reason "reviewed$(if $(GITHUB_RUN_ID), in run $(GITHUB_RUN_ID))"

model-promote: $(VENV)/.run ## Ask the gate again, and make VERSION of CONFIG's model the champion; Error 3: it refuses
	@$(BIN)/mlops promote $(CONFIG) $(SIGNED) --version $(VERSION)

model-drift: $(VENV)/.run ## Compare the last 24 hours of CONFIG's prediction log (SEGMENTS: where it is); Error 3: drift, 4: lost performance
	@$(if $(SEGMENTS),$(BIN)/mlops monitor $(CONFIG) --once --since 24h --json --segments '$(SEGMENTS)',echo "SEGMENTS names no prediction log, so there is nothing to compare")

# --- check ------------------------------------------------------------------------------------------------------------

.PHONY: licences stubs stubs-check site test test-spark test-pipelines test-e2e test-containers test-k8s test-monitoring test-browser screenshots recordings manifests check format lint types imports spelling secrets docs docs-check workflows compose lock lock-check
test: $(VENV)/.dev native ## Run the tests that need nothing but Python; TESTS=tests/unit runs some
	$(PYTEST) $(PARALLEL) $(TESTS)

test-e2e: $(VENV)/.dev native ## Whole processes: the guides line by line, faults, kills, load, MLflow on PostgreSQL
	$(PYTEST) $(PARALLEL) tests/e2e tests/walkthrough

test-containers: $(VENV)/.dev ## Build the images and run them in a real Docker engine, Compose too
	$(PYTEST) --timeout 1800 tests/containers

test-pipelines: export OMP_NUM_THREADS = 1
test-pipelines: $(VENV)/.dev ## Export 1,000 random pipelines and compare each; PIPELINES=100 SEED=1 tries other ones
	MLOPS_PIPELINES=$(or $(PIPELINES),1000) MLOPS_PIPELINES_SEED=$(or $(SEED),0) $(PYTEST) -p no:randomly -s --timeout 0 tests/unit/modeling/export/test_random_pipelines.py

# The validators want older libraries than the product: they live in an environment of their own.
build/spark-tools/.installed: tests/spark/requirements.txt | $(UV)
	$(UV) venv --quiet --clear --python $(BIN)/python build/spark-tools
	$(UV) pip install --quiet --python build/spark-tools/bin/python -r tests/spark/requirements.txt
	@touch $@

build/k8s-tools/.installed: tests/k8s/requirements.txt | $(UV)
	$(UV) venv --quiet --clear --python $(BIN)/python build/k8s-tools
	$(UV) pip install --quiet --python build/k8s-tools/bin/python -r tests/k8s/requirements.txt
	@touch $@

test-k8s: $(VENV)/.dev build/k8s-tools/.installed ## Validate the Kubernetes manifests; needs kubectl, no cluster
	$(PYTEST) $(PARALLEL) tests/k8s

test-spark: $(VENV)/.dev build/spark-tools/.installed ## The registered model in Spark on this machine; needs Java 17
	$(PYTEST) tests/spark

test-monitoring: $(VENV)/.dev native ## Prometheus, Alertmanager, rules and dashboards against the running servers
	$(PYTEST) tests/monitoring

# Each process has servers and a browser of its own, so a file's tests stay in one.
test-browser: $(VENV)/.dev native ## The application in a real Chromium
	$(PYTEST) -n auto --maxprocesses 2 --dist loadfile tests/browser

screenshots: $(VENV)/.dev ## Take a picture of every page, light and dark, desktop and phone
	$(BIN)/python -m tests.browser.screenshots

recordings: $(VENV)/.run ## Run make up and make demo, and draw what they print for the README
	$(BIN)/python docs/recordings/record.py $(NAMES)

manifests: ## Write the single-file manifests from k8s/base
	k8s/render

check: lint types imports spelling secrets licences stubs-check docs-check site lock-check workflows compose ## Everything that is checked without running the product

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint src/mlops_project/Dockerfile k8s/base/score-ray/Dockerfile

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

spelling: $(VENV)/.dev
	$(BIN)/typos

secrets: $(VENV)/.dev
	git ls-files -co --exclude-standard -z | xargs -0 $(BIN)/detect-secrets-hook --exclude-lines 'hun.?ter2|development-only|replace-me|admin123456789|ZGV2ZWxvcG1lbnQtb25seQ|YWRtaW4xMjM0NTY3ODk|user:password@' --exclude-files 'tests/monitoring/exporters/'

# Messages of gRPC: names and numbers are the Open Inference Protocol's.
PROTO := src/mlops_project/wire
stubs: $(VENV)/.dev ## Write the messages of gRPC from wire/open_inference.proto
	$(BIN)/python -m grpc_tools.protoc -I $(PROTO) --python_out=$(PROTO) --pyi_out=$(PROTO) open_inference.proto

stubs-check: $(VENV)/.dev
	mkdir -p build/stubs
	$(BIN)/python -m grpc_tools.protoc -I $(PROTO) --python_out=build/stubs --pyi_out=build/stubs open_inference.proto
	for name in py pyi; do diff -u {$(PROTO),build/stubs}/open_inference_pb2.$$name; done || { echo "open_inference_pb2.py does not fit its .proto; run make stubs" >&2; exit 1; }

docs: $(VENV)/.dev ## Write the generated documentation pages
	$(BIN)/python docs/generate.py

docs-check: $(VENV)/.dev
	$(BIN)/python docs/generate.py --check

site: $(VENV)/.dev ## Build the documentation site into build/site; a dead link is an error
	$(BIN)/zensical build --clean --strict

# Copyleft, and licences that nobody stated. File-level ones (MPL) bind nobody who leaves the file as it is.
COPYLEFT := GPL;SSPL;EUPL;CDDL;CC-BY-NC;Commons Clause;UNKNOWN
licences: $(VENV)/.dev ## List the licences of what the model server's image holds; copyleft is an error
	$(BIN)/pip-licenses --from=mixed --fail-on "$(COPYLEFT)" --partial-match --packages $$(sed -n 's/^\([A-Za-z0-9_.-]*\)==.*/\1/p' requirements-serve.txt)

workflows: $(VENV)/.dev ## Check the GitHub workflows: syntax, expressions, security
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/zizmor --offline --quiet .github/workflows
	.ci/actionlint .github/workflows/*.yml

compose: $(VENV)/.dev
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec src/mlops_project/docker-compose.mlflow.yml

# --- pinned requirements ----------------------------------------------------------------------------------------------

# $(1) is the directory to write into, where older versions of the files keep their pins. The development set comes first; the
# others take their versions from it. Two of them also install the project itself.
define compile
	sed -i.bak '/^-e /d' $(1)/requirements*.txt
	$(COMPILE) --extra dev $(UPGRADE) -o $(1)/requirements-dev.txt
	$(COMPILE) --extra train --extra tune --extra tracking --extra serve --extra grpc --extra ui --extra monitor --extra postgres --extra s3 -c $(1)/requirements-dev.txt -o $(1)/requirements.txt
	$(COMPILE) --extra serve -c $(1)/requirements-dev.txt -o $(1)/requirements-serve.txt
	for name in requirements requirements-dev; do printf '%s\n' '-e .' "$$(cat $(1)/$$name.txt)" >$(1)/$$name.txt; done
	rm -f $(1)/*.bak
endef

lock: | $(UV) ## Compile the pinned requirements from pyproject.toml; UPGRADE=--upgrade takes newer versions
	$(call compile,.)

lock-check: $(VENV)/.dev
	mkdir -p build/lock && cp requirements*.txt build/lock
	$(call compile,build/lock)
	for file in requirements*.txt; do diff -u $$file build/lock/$$file || { echo "$$file does not fit pyproject.toml; run make lock" >&2; exit 1; }; done

# --- release ----------------------------------------------------------------------------------------------------------

.PHONY: dist sbom audit release-notes
dist: | $(UV) ## Build wheel and source distribution into build/dist; tests/e2e/test_wheel.py tries the wheel
	$(UV) build --clear --out-dir build/dist

sbom: | $(UV) ## List what the model server and the whole product are installed with, as CycloneDX in build/dist
	mkdir -p build/dist
	for name in requirements requirements-serve; do sed '/^-e /d' $$name.txt | $(UV) tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --output-format JSON -o build/dist/$$name.cdx.json - 2>/dev/null || exit 1; done

# The advisories come from PyPI and OSV; a machine without a way there cannot ask.
audit: | $(UV) ## Look for known vulnerabilities in what the pinned requirements name
	mkdir -p build
	for name in requirements requirements-dev requirements-serve; do sed '/^-e /d' $$name.txt >build/audit.txt && $(UV) tool run --quiet --from pip-audit==2.9.0 pip-audit --disable-pip --no-deps -r build/audit.txt; done

release-notes: ## Print the changelog's section of VERSION
	@awk '/^## \[$(VERSION)\]/ {on = 1; next} /^## \[/ {on = 0} on' CHANGELOG.md | grep . || { echo "CHANGELOG.md has no section [$(VERSION)]" >&2; exit 1; }

# --- measure ----------------------------------------------------------------------------------------------------------

.PHONY: bench-train
bench-train: $(VENV)/.dev ## Start-up, default training against the same by hand, memory at 1,000,000 × 30
	$(BIN)/python benchmarks/train.py

.PHONY: bench-defaults
bench-defaults: $(VENV)/.dev ## The first model of mlops init against trivial and hand-made ones, on real tables of packages; BENCH='--only OJ,Wage'
	$(BIN)/python -m benchmarks.defaults $(BENCH)

.PHONY: bench-decisions
bench-decisions: export OMP_NUM_THREADS = 1
bench-decisions: $(VENV)/.dev ## Thresholds, sets and intervals, reasons, counterfactuals, alarms and checks on real tables, beside scikit-learn, MAPIE and SHAP; BENCH='--stages coverage'
	$(BIN)/python -m benchmarks.decisions $(BENCH)

.PHONY: bench-serve
bench-estimators: $(VENV)/.dev ## Size and microseconds per row of every estimator; writes docs/estimators.json
	$(BIN)/python benchmarks/estimators.py
	$(BIN)/python docs/generate.py

bench-serve: $(VENV)/.dev ## Requests per second, latency, start and memory against other servers
	$(BIN)/python benchmarks/serve.py $(BENCH)

.PHONY: bench-grpc
bench-grpc: $(VENV)/.dev ## Single rows over gRPC: ours, MLServer's, KServe's
	$(BIN)/python benchmarks/rpc.py $(BENCH)

.PHONY: bench-trees
bench-trees: $(VENV)/.dev native ## Tree ensembles on one thread: ours, ONNX Runtime, treelite, TL2cgen, lleaves, oneDAL; BENCH='--only lightgbm'
	$(BIN)/python -m benchmarks.trees $(BENCH)

.PHONY: bench-rollouts
bench-rollouts: export OMP_NUM_THREADS = 1
bench-rollouts: $(VENV)/.dev ## How often healthy challengers go back, and after how many requests others do; BENCH='--roll-outs 100'
	$(BIN)/python benchmarks/rollouts.py $(BENCH)

.PHONY: bench-overload
bench-overload: $(VENV)/.dev ## What is answered, and how late, with more clients than the model server can answer
	$(BIN)/python benchmarks/overload.py $(BENCH)

.PHONY: bench-models
bench-models: $(VENV)/.dev native ## Hundreds of models in one server: start, memory, latency while others load; BENCH='--small 20 --large 2'
	$(BIN)/python benchmarks/many.py $(BENCH)

.PHONY: bench-bombs
bench-bombs: $(VENV)/.dev ## What requests that are made to be expensive cost the model server; BENCH='--only Parquet'
	$(BIN)/python -m benchmarks.bombs $(BENCH)

.PHONY: bench-ui
bench-ui: $(VENV)/.dev ## How long people wait for the application
	$(BIN)/python -m benchmarks.ui

.PHONY: bench-monitor
bench-monitor: $(VENV)/.dev ## False alarms, detection and speed of monitoring against other tools; BENCH=--quick
	$(BIN)/python -m benchmarks.monitor $(BENCH)

.PHONY: bench-loop
bench-loop: $(VENV)/.dev ## Attacks and accidents on the loop, and healthy retrainings, on real tables; BENCH='--worlds affairs --only poison'
	$(BIN)/python -m benchmarks.loop $(BENCH)

.PHONY: bench-scale
bench-scale: $(VENV)/.dev ## Scoring millions of rows from file to file against predict_proba in memory, Ray and MLflow; BENCH='--rows 10000000'
	$(BIN)/python benchmarks/scale.py $(BENCH)

.PHONY: image-ray
image-ray: ## Build my-mlflow-app-ray:latest, the image of k8s/score-rayjob.yaml: the application's with Ray
	docker build -t my-mlflow-app:latest -f src/mlops_project/Dockerfile .
	docker build -t my-mlflow-app-ray:latest k8s/base/score-ray

.PHONY: bench-tune
bench-tune: export OMP_NUM_THREADS = 1
bench-tune: $(VENV)/.dev ## The best score of a search in a given time, against Optuna by hand and RandomizedSearchCV; BENCH='--seconds 60'
	$(BIN)/python benchmarks/tune.py $(BENCH)

.PHONY: clean
clean: ## Remove the environment and everything built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
