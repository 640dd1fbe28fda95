# `make demo` and `make test` need Python >= 3.10, make and PyPI; they set up .venv by themselves.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NODE_CODE := cockpit/node cockpit/protocol cockpit/__init__.py
ARGS ?=
# Most tests wait for real processes, so a few more than there are cores pay off.
WORKERS ?= 3

# Hundreds of Pythons are started by the tests; each would compile cockpit anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-slow lint format types docs screenshots contracts floor check wheel bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP) ## set up .venv with everything that is needed

# Made anew only when what shall be installed has changed.
$(STAMP): pyproject.toml constraints.txt scripts/install-nvrx.sh
	@PYTHON='$(PYTHON)' sh scripts/make-venv.sh $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet -c constraints.txt --group dev -e '.[torch]'
	@sh scripts/install-nvrx.sh $(BIN)/python
	@touch $@

demo: $(STAMP) ## two virtual nodes on this machine, a real distributed training, the screen
	$(BIN)/cockpit demo $(ARGS)

test: $(STAMP) ## the test suite; ARGS="-k name" picks some
	@sh scripts/system-packages.sh
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-slow: $(STAMP) ## the part that takes longer
	@sh scripts/system-packages.sh
	$(BIN)/python -m pytest -m slow -n $(WORKERS) --dist loadfile $(ARGS)

lint: $(STAMP) ## ruff: rules and format
	$(BIN)/ruff check --output-format concise .
	$(BIN)/ruff format --check .

format: $(STAMP) ## let ruff repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP) ## mypy --strict
	$(BIN)/mypy

docs: $(STAMP) ## write docs/keys.md from the registry of actions
	$(BIN)/python scripts/write_keys.py

screenshots: $(STAMP) ## draw docs/images/ from a real training on two virtual nodes
	$(BIN)/python scripts/screenshots.py

contracts: $(STAMP) ## which room may import which
	$(BIN)/lint-imports

floor: $(STAMP) ## what runs on a node is Python 3.9
	$(BIN)/vermin -t=3.9- --no-tips --violations $(NODE_CODE)

check: lint types contracts floor test ## all of the above that guards a commit

wheel: $(STAMP) ## build dist/*.whl and look inside
	rm -rf dist
	$(BIN)/python -m build --wheel --outdir dist .
	$(BIN)/python scripts/check_wheel.py dist/*.whl

bench: $(STAMP) ## the benchmarks, each a ratio to a yardstick of the same run
	@set -e; for file in benchmarks/bench_*.py; do \
		echo "== $$file"; $(BIN)/python "$$file" $(ARGS); \
	done

clean: ## remove what was built, .venv included
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
