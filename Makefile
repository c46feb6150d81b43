# Every command of this project; people and CI use the same ones. `make` lists them.

VENV := .venv
BIN := $(VENV)/bin
# Longest time, in seconds, that all tests together may take.
TEST_LIMIT := 780
# Also the lower bound in pyproject.toml.
OLDEST_BOTOCORE := 1.43.0

.DEFAULT_GOAL := help
.PHONY: help demo test check pytest oldest coverage conformance format docs bench clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## Install and do the main job: deploy a function, invoke it with boto3
	@$(BIN)/python examples/demo.py

test: check pytest oldest ## Install the development tools, lint, check types and run all tests

check: $(VENV)/.installed-dev ## Lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

pytest: $(VENV)/.installed-dev ## All tests, in two processes
	timeout --foreground --signal=INT --kill-after=30 $(TEST_LIMIT) $(BIN)/python -m pytest --numprocesses=2 --dist=loadfile --durations=20

oldest: $(VENV)/.installed-dev ## The codec's tests over the oldest botocore that Lambent works with
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --no-deps --target .oldest botocore==$(OLDEST_BOTOCORE)
	PYTHONPATH=.oldest $(BIN)/python -m pytest -q tests/unit/test_codec.py tests/unit/test_codec_validation.py tests/unit/test_routes.py tests/test_operations_doc.py

coverage: $(VENV)/.installed-dev ## All tests, and which lines they did not reach
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

conformance: $(VENV)/.installed-dev ## Run the clients of other languages against real servers (fifteen minutes)
	$(BIN)/python -m conformance

format: $(VENV)/.installed-dev ## Format the code and mend what the linter can mend
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

docs: $(VENV)/.installed ## Write the pages that are made from the code
	$(BIN)/python -c 'from lambent.config import render_settings_page as page; print(page(), end="")' > docs/settings.md

bench: $(VENV)/.installed-dev ## Measure against the yardsticks (five minutes)
	$(BIN)/python -m bench

clean: ## Remove the virtual environment and every cache
	rm -rf $(VENV) .oldest .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage* dist
	find . -name __pycache__ -prune -exec rm -rf {} +

# The first Python that is new enough; `make PYTHON=/path/to/python demo` names another.
$(BIN)/python:
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "creating $(VENV) with $$($$python --version)"; \
	    exec $$python -m venv --clear $(VENV); \
	  fi; \
	done; \
	echo "Lambent needs Python 3.11 or newer; the python3 on PATH is $$(python3 --version 2>&1)." >&2; \
	echo "Install one, or name it: make PYTHON=/path/to/python3.13 demo" >&2; \
	exit 1

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "installing Lambent into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "installing Lambent and its development tools into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.installed
