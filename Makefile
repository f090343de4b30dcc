# `make demo` and `make test` set everything up in .venv and run; a second call starts at once.
# Nothing outside this folder is changed: caches live in .cache.

SHELL := /bin/sh
PY := .venv/bin/python
READY := .venv/.ready
# nproc itself heeds OMP_NUM_THREADS, which tells threads a process and not cores.
CORES := $(shell env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc 2>/dev/null || echo 1)
RANKS ?= $(shell [ $(CORES) -lt 4 ] && echo $(CORES) || echo 4)
# Processes that share the test files; `make test WORKERS=0` runs them in one.
WORKERS ?= $(RANKS)
MPIEXEC = $$([ -x .venv/bin/mpiexec ] && echo .venv/bin/mpiexec || echo mpiexec)
OUT ?= demo-out

export XDG_CACHE_HOME := $(CURDIR)/.cache
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
# One thread a rank, and shared memory only: these runs stay on one machine.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export UCX_TLS ?= self,sm,tcp
# Open MPI alone reads these: containers run as root, and on a small machine ranks share a core (the tests take two;
# names of Open MPI 5 and 4, which later ones call deprecated).
export OMPI_ALLOW_RUN_AS_ROOT := 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM := 1
ifeq ($(shell [ $(CORES) -lt 2 ] || [ $(CORES) -lt $(RANKS) ] && echo shared),shared)
export PRTE_MCA_rmaps_default_mapping_policy := :oversubscribe
export OMPI_MCA_rmaps_base_oversubscribe := 1
endif

.PHONY: help setup demo test lint types docs check benchmarks lock clean
.DEFAULT_GOAL := help

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

setup: $(READY) ## Make .venv from the locked requirements

$(READY): pyproject.toml requirements/install.sh requirements/test.txt requirements/oracle.txt
	@sh requirements/install.sh
	@touch $@

demo: $(READY) ## Grow a synthetic patient, fit it on all cores, write demo-out/fit/report.html
	$(MPIEXEC) -n $(RANKS) $(PY) -m oncology demo --out $(OUT) --overwrite

test: $(READY) ## Run every test, then those marked mpi again on two ranks
	@status=0; \
	$(PY) -m pytest -n $(WORKERS) --dist loadfile || status=1; \
	$(MPIEXEC) -n 2 $(PY) -m pytest -p no:cacheprovider -p tests.mpi_plugin -m mpi || status=1; \
	exit $$status

lint: $(READY) ## Check style and formatting
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(READY) ## Check types
	$(PY) -m mypy $$([ ! -x .venv/types/bin/python ] || echo --python-executable .venv/types/bin/python)

docs: $(READY) ## Build the documentation into site/html, every warning an error
	$(PY) -m sphinx -q -W --keep-going -b html -c docs -d site/doctrees . site/html

check: lint types docs test ## Run lint, types, docs and test

benchmarks: $(READY) ## Print the ratios that the documentation quotes
	@for script in $$(ls benchmarks/[a-z]*.py | grep -v -e calibration -e independent -e peers); do echo "== $$script"; $(PY) $$script || exit 1; done

lock: $(READY) ## Lock the newest versions that pyproject.toml allows
	sh requirements/lock.sh

clean: ## Remove what the tools and the demo left, but not .venv
	rm -rf demo-out demo-out.tmp-* build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache/fenics
	find oncology tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
