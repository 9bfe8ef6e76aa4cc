# `make demo`: search over the pictures in the box.  `make test`: everything a commit must pass.
# `make results`: docs/results.md, measured again on the sets of $BEHOLDER_DATA; cut off, the same command goes on.
VENV := $(or $(BEHOLDER_VENV),.venv)
BIN := $(VENV)/bin
PYTHON ?= python3
READY := $(VENV)/.beholder-ready

.PHONY: demo test test-all check results install
demo: install
	@$(BIN)/beholder demo

test: check
	@$(BIN)/python -m pytest

test-all: check
	@$(BIN)/python -m pytest -m ''

check: install
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

results: install
	@$(BIN)/beholder bench results --out docs/results --document docs/results.md

# The stamp holds what was installed from: another checkout or new requirements install again, else it costs nothing.
install:
	@stamp="$$(cat pyproject.toml constraints.txt | cksum) $$(pwd)"; \
	if [ "$$(cat $(READY) 2>/dev/null)" != "$$stamp" ]; then \
		echo "Installing into $(VENV): once, about 3.6 GB are downloaded and 7.5 GB kept on disk."; \
		[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV); \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,serve]' && \
		echo "$$stamp" > $(READY); \
	fi
