# Every target sets up .venv itself: Python 3.11 with venv, git and make are enough to begin with.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# An environment that is there keeps its Python, so another one that is asked for is not ignored in silence.
SHORT := -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
ifneq ($(filter command environment,$(origin PYTHON)),)
ifneq ($(filter-out clean help,$(MAKECMDGOALS)),)
THERE := $(shell $(BIN)/python $(SHORT))
ASKED := $(shell $(PYTHON) $(SHORT))
ifneq ($(and $(THERE),$(filter-out $(THERE),$(ASKED))),)
$(error $(VENV) has Python $(THERE), and $(PYTHON) is Python $(ASKED): make clean first, or add VENV=.venv-$(ASKED))
endif
endif
endif

# What cannot run here is left out by name and shown as deselected, not skipped in silence.
BROWSER := $(firstword $(foreach name,chromium chromium-browser google-chrome,$(shell command -v $(name))))
LEFT_OUT := $(strip $(if $(BIOCLIP_DATA),,shared_data) $(if $(BROWSER),,browser))
OR := $(subst _, ,_or_)
MARKERS := $(if $(LEFT_OUT),not ($(subst $() $(),$(OR),$(LEFT_OUT))))

# The tests pass for any user, time zone and locale; BIOCLIP_PRECISION=fp32 or bf16 forces the precision of those that do not choose one.
# Processes that run the tests; 0 runs them in pytest's own, for a debugger.
WORKERS ?= 2
# Threads of torch in each of them; more than there are cores for make the models of the tests half as fast.
THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test check fuzz bench bench-scale docs dist clean

help:
	@echo "make demo    see BioCLIP classify an invented camera trap into a database, without network"
	@echo "make test    run the tests"
	@echo "make check   lint, types, import rules and the tests: what CI runs"
	@echo "make fuzz    damage samples of everything that is read, for SECONDS=60 per reader"
	@echo "make docs    build the documentation site into build/site"
	@echo "make bench   measure speed beside pybioclip (about 20 minutes; BENCH_QUICK=1 for a first look)"
	@echo "make bench-scale  measure how cost grows with images, labels and regions, and the trainer (hours; continues where it stopped)"
	@echo "make dist    build the wheel and the source distribution into dist/ and check them"
	@echo "make clean   remove $(VENV)"

demo: $(VENV)/installed
	$(BIN)/bioclip-plugin demo

test: $(VENV)/installed-dev
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(if $(MARKERS),-m "$(MARKERS)") $(PYTEST_ARGS)

check: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory test

# Other cases in each run; what it finds is left in build/fuzz. `make test` has one round with the same cases everywhere.
SECONDS ?= 60
fuzz: $(VENV)/installed-dev
	BIOCLIP_FUZZ_SECONDS=$(SECONDS) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests/fuzz $(PYTEST_ARGS)

bench: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks

# ONLY="images labels" measures some series; every finished cell is kept.
bench-scale: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks.scale $(ONLY)

docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Open build/site/index.html"

# The same commit gives the same wheel: SOURCE_DATE_EPOCH is the time of the commit, outside of git a fixed one.
dist: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 1735689600)
dist: $(VENV)/installed-dev
	rm -rf dist
	umask 022; $(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

clean:
	rm -rf $(VENV)

# venv repairs a half-made environment, so an interrupted set-up is simply run again. An environment with the developer's
# tools serves the demo as well.
$(VENV)/installed: pyproject.toml
	$(call make_venv,.)
	@touch $@

$(VENV)/installed-dev: pyproject.toml
	$(call make_venv,.[dev])
	@touch $(VENV)/installed $@

$(VENV)/installed-docs: pyproject.toml
	$(call make_venv,.[docs])
	@touch $(VENV)/installed $@

define make_venv
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "Python 3.11 or later is needed, and $(PYTHON) is: $$($(PYTHON) --version 2>&1 | head -n 1); try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	echo "$(PYTHON) has no venv; on Debian: apt install python3-venv" >&2; exit 1; }
$(PYTHON) -m venv $(VENV)
$(BIN)/python -m pip install --disable-pip-version-check -e "$(1)"
endef
