# make table   set up, then the capacity table on all cores        make test   set up, then the tests
# make help    everything else

PYTHON ?= python3
CORES ?= all
# Another package index, for example a mirror; and one that serves CPU builds of torch (the ordinary Linux wheel brings
# 3 GB of CUDA).
PIP_INDEX ?=
TORCH_INDEX ?=
# Studies to build instead of those that config.yaml names, separated by commas.
STUDY ?=

VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help env table test test-long test-slurm plan runs orphans prune check docs lock format

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

env: $(VENV)/requirements.txt ## the Python environment in .venv, from envs/requirements.txt

$(VENV)/requirements.txt: envs/requirements.txt envs/install
	@PYTHON="$(PYTHON)" PIP_INDEX="$(PIP_INDEX)" TORCH_INDEX="$(TORCH_INDEX)" envs/install $(VENV)

table: env ## the capacity table of config.yaml (STUDY=name for another study, CORES=n)
	@snakemake --cores $(CORES) --quiet rules $(if $(STUDY),--config study=$(STUDY))
	@python scripts/show_table.py

test: env ## the tests, under ten minutes on two cores
	@python -m pytest -n 2 tests

test-long: env ## every row of the table of edits, and the kill test
	@rm -f results/edit_outcomes.jsonl; mkdir -p results
	@EDIT_OUTCOMES=$(CURDIR)/results/edit_outcomes.jsonl python -m pytest -n 2 tests/long
	@python tests/workflow/outcomes.py results/edit_outcomes.jsonl

test-slurm: env ## the SLURM profile on a real cluster on this machine (Debian, as root; installs what is missing)
	@tests/slurm/cluster install --accounting
	@trap 'tests/slurm/cluster down' EXIT INT TERM; python -m pytest tests/slurm

plan: env ## what would run and why (AGAINST=other.yaml)
	@python scripts/plan.py $(if $(AGAINST),--against $(AGAINST)) $(if $(STUDY),--study $(STUDY)) $(ARGS)

runs: env ## one row a run: state, R, seconds, when (ARGS="--format csv")
	@python scripts/runs.py $(if $(STUDY),--study $(STUDY)) $(ARGS)

orphans: env ## artefacts that the present configuration does not reach, with sizes
	@python scripts/prune.py --list $(ARGS)

prune: env ## remove them (asks; ARGS=--yes does not)
	@python scripts/prune.py $(if $(DAMAGED),--damaged) $(ARGS)

check: env ## lint, format, types
	@ruff check . && ruff format --check . && snakefmt --check Snakefile rules && mypy scripts
	@snakemake --lint

format: env ## put code and rules into the project's format
	@ruff check --fix . ; ruff format . ; snakefmt Snakefile rules

docs: env ## docs/config.md and the editor schema, from the configuration's models
	@python scripts/document_config.py

lock: ## pin what envs/direct.txt asks for into envs/requirements.txt, in a clean environment
	@PYTHON="$(PYTHON)" PIP_INDEX="$(PIP_INDEX)" envs/lock
