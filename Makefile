# The fast loop; see CONTRIBUTING.md. VENV names another environment than .venv.
VENV ?= .venv
BIN := $(if $(wildcard $(VENV)/bin/python),$(VENV)/bin/,)
ROOM ?= hamming
# Where it is set, each process compiles PyTorch, Ray and MLflow for itself.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: check test-fast test docs format

check:
	$(BIN)ruff check .
	$(BIN)ruff format --check .
	$(BIN)mypy texthash pipelines deploy
	$(BIN)lint-imports

test-fast:
	$(BIN)python -m pytest -q -m "not slow and not ray and not browser" tests/$(ROOM)

test:
	bash tests/run.sh

docs:
	$(BIN)python pipelines/readme.py
	$(BIN)mkdocs build --strict

format:
	$(BIN)ruff check --fix .
	$(BIN)ruff format .
