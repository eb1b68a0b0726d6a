# make table   set up, then the capacity table on all cores        make test   set up, then the tests
# make help    everything else

PYTHON ?= python3
CORES ?= all
# Another package index, for example a mirror; and one that serves CPU builds of torch (the ordinary Linux wheel brings
# 3 GB of CUDA).
PIP_INDEX ?=
TORCH_INDEX ?=
# What `make size` is asked.
FACTS ?= 1e6
EXPOSURES ?= 1000
# Studies to build instead of those that config.yaml names, separated by commas.
STUDY ?=
# A scale other than the laptop's: workstation or paper.
SCALE ?=

VENV := .venv
CRATE := .venv-crate
CROSSCHECK := .venv-crosscheck
HARNESS := .venv-harness
BIN := $(VENV)/bin
CONFIGFILE := $(if $(SCALE),--configfile scales/$(SCALE).yaml)
export PATH := $(CURDIR)/$(BIN):$(PATH)
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: crosscheck harness task help env table audit release lineage report compare size law reference plan export preview runs orphans prune
.PHONY: test test-long test-report test-slurm check docs lock format

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

env: $(VENV)/requirements.txt ## the Python environment in .venv, from envs/requirements.txt

$(VENV)/requirements.txt: envs/requirements.txt envs/install
	@PYTHON="$(PYTHON)" PIP_INDEX="$(PIP_INDEX)" TORCH_INDEX="$(TORCH_INDEX)" envs/install $(VENV)

table: env ## the capacity table of config.yaml (STUDY=name, SCALE=workstation, CORES=n)
	@snakemake --cores $(CORES) --quiet rules $(CONFIGFILE) $(if $(STUDY),--config study=$(STUDY))
	@capacity table

$(CRATE)/requirements.txt: envs/crate.txt
	@echo "Setting up $(CRATE), which checks releases (some seconds)"
	@$(PYTHON) -m venv $(CRATE)
	@$(CRATE)/bin/pip install --quiet --disable-pip-version-check $(if $(PIP_INDEX),--index-url $(PIP_INDEX)) -r envs/crate.txt
	@cp envs/crate.txt $@

$(CROSSCHECK)/requirements.txt: envs/crosscheck.txt
	@echo "Setting up $(CROSSCHECK) with torchao and llm-compressor (a few minutes)"
	@$(PYTHON) -m venv $(CROSSCHECK)
	@$(if $(TORCH_INDEX),$(CROSSCHECK)/bin/pip install --quiet --index-url $(TORCH_INDEX) $$(grep '^torch==' envs/crosscheck.txt))
	@$(CROSSCHECK)/bin/pip install --quiet --disable-pip-version-check $(if $(PIP_INDEX),--index-url $(PIP_INDEX)) \
	  -r envs/crosscheck.txt
	@cp envs/crosscheck.txt $@

crosscheck: $(CROSSCHECK)/requirements.txt ## torchao and llm-compressor again, against the numbers that the tests use
	@HF_HUB_OFFLINE=1 $(CROSSCHECK)/bin/python tests/crosscheck/references.py 2> $(CROSSCHECK)/log | tail -n 1

$(HARNESS)/requirements.txt: envs/harness.txt
	@echo "Setting up $(HARNESS) with lm-evaluation-harness (a few minutes)"
	@$(PYTHON) -m venv $(HARNESS)
	@$(if $(TORCH_INDEX),$(HARNESS)/bin/pip install --quiet --index-url $(TORCH_INDEX) $$(grep '^torch==' envs/harness.txt))
	@$(HARNESS)/bin/pip install --quiet --disable-pip-version-check $(if $(PIP_INDEX),--index-url $(PIP_INDEX)) \
	  -r envs/harness.txt
	@cp envs/harness.txt $@

harness: env $(HARNESS)/requirements.txt ## lm-evaluation-harness on a tiny model of ours, against our own probe
	@python -m pytest -q tests/test_harness.py

task: env ## a task folder for lm-evaluation-harness (DATASET=biographies EXTRACTION=questions TASK=folder)
	@capacity task $(DATASET) --extraction $(EXTRACTION) --output $(TASK) $(ARGS)

test: env $(CRATE)/requirements.txt ## the tests, under ten minutes on two cores
	@python -m pytest -n 2 tests

test-long: env ## every row of the table of edits, and the kill test
	@rm -f results/edit_outcomes.jsonl; mkdir -p results
	@EDIT_OUTCOMES=$(CURDIR)/results/edit_outcomes.jsonl python -m pytest -n 2 tests/long
	@python tests/workflow/outcomes.py results/edit_outcomes.jsonl

test-report: env ## the HTML report in Chromium (Debian, as root; installs what is missing)
	@PIP_INDEX="$(PIP_INDEX)" tests/report/install $(BIN)/python
	@python -m pytest tests/report

test-slurm: env ## the SLURM profile on a real cluster on this machine (Debian, as root; installs what is missing)
	@tests/slurm/cluster install --accounting
	@trap 'tests/slurm/cluster down' EXIT INT TERM; python -m pytest tests/slurm

report: env ## results/report.html, one file that works offline: claims, figures, tables down to the manifests
	@snakemake report_pages --cores $(CORES) --quiet rules --forcerun write_report_pages $(CONFIGFILE) $(if $(STUDY),--config study=$(STUDY))
	@snakemake report_pages --quiet all --report results/report.html $(CONFIGFILE) $(if $(STUDY),--config study=$(STUDY))
	@echo "results/report.html is ready to open"

compare: env ## your results/capacity_table.csv against the reference: cells with intervals, verdicts
	@capacity compare $(ARGS)

size: env ## parameters that FACTS (bits, or a dataset) need after EXPOSURES=n (ARGS="--scheme int8 --share 0.99")
	@capacity size --facts $(FACTS) --exposures $(EXPOSURES) $(ARGS)

law: env ## fit R(exposures, R_max, scheme) to the reference tables
	@capacity law $(ARGS)

reference: env ## claims, Figure 1 and the README's table from the committed tables
	@capacity reference --readme README.md $(ARGS)

plan: env ## what would run, why, and its cost (STUDY=name, SCALE=paper, AGAINST=other.yaml)
	@capacity plan $(CONFIGFILE) $(if $(AGAINST),--against $(AGAINST)) $(if $(STUDY),--study $(STUDY)) $(ARGS)

audit: env ## can this table be trusted? (LEVELS=1-3 SAMPLE=10% SEED=1 TARGET=place JOBS=n RESULTS=folder ARCHIVE=file SIGNERS=file)
	@capacity audit $(if $(STUDY),--study $(STUDY)) $(if $(LEVELS),--levels $(LEVELS)) $(if $(SAMPLE),--sample $(SAMPLE)) \
	    $(if $(SEED),--seed $(SEED)) $(if $(TARGET),--target $(TARGET)) $(if $(JOBS),--jobs $(JOBS)) \
	    $(if $(RESULTS),--results $(RESULTS)) $(if $(ARCHIVE),--archive $(ARCHIVE)) $(if $(SIGNERS),--signers $(SIGNERS)) $(ARGS)

release: env ## one archive to be audited elsewhere (WITH=probes,datasets or all; KEY=ssh-key OUTPUT=file)
	@capacity release $(if $(STUDY),--study $(STUDY)) $(if $(WITH),--with $(WITH)) $(if $(KEY),--key $(KEY)) \
	    $(if $(OUTPUT),--output $(OUTPUT))

lineage: env ## where a cell of the table comes from (CELL=12:R, or CELL=study=base-law,N=400,...:R)
	@capacity lineage $(if $(STUDY),--study $(STUDY)) $(if $(RESULTS),--results $(RESULTS)) "$(CELL)"

export: env ## a quantised variant with packed weights, for inference tools (VARIANT=results/variants/... OUTPUT=folder)
	@capacity export $(if $(VARIANT),"$(VARIANT)") $(if $(OUTPUT),"$(OUTPUT)")

preview: env ## a dataset's texts with what is scored, and its bits, tokens and sizes (DATASET=name)
	@capacity preview $(DATASET) $(ARGS)

runs: env ## one row a run: state, R, seconds, when (ARGS="--format csv")
	@capacity runs $(CONFIGFILE) $(if $(STUDY),--study $(STUDY)) $(ARGS)

orphans: env ## artefacts that the present configuration does not reach, with sizes
	@capacity prune --list $(ARGS)

prune: env ## remove them (asks; ARGS=--yes does not)
	@capacity prune $(if $(DAMAGED),--damaged) $(ARGS)

check: env ## lint, format, types
	@ruff check . && ruff format --check . && snakefmt --check Snakefile rules && mypy scripts
	@snakemake --lint

format: env ## put code and rules into the project's format
	@ruff check --fix . ; ruff format . ; snakefmt Snakefile rules

docs: env ## docs/config.md and the editor schema, from the configuration's models
	@capacity docs

lock: ## pin what envs/direct.txt asks for into envs/requirements.txt, in a clean environment
	@PYTHON="$(PYTHON)" PIP_INDEX="$(PIP_INDEX)" envs/lock
