# make table   set up, then the capacity table on all cores        make test   set up, then the tests
# make help    everything else

# The Python that environments are made from, and the cores of this machine that a run takes.
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
# A scale other than the laptop's: a file of scales/.
SCALE ?=
# A file of your own, laid over config.yaml and the scale's file.
CONFIG ?=
# Further words for the command behind a target, quoted as for a shell.
ARGS ?=
# 0: `make table` prints what the engine prints, in place of the live view.
LIVE ?= 1

# All that a person may give. A recipe names it as a variable of its shell, "$$STUDY", never as $(STUDY): no value becomes
# the text of a command, whatever stands in it, nor does make expand it.
GIVEN := PYTHON CORES PIP_INDEX TORCH_INDEX FACTS EXPOSURES STUDY SCALE CONFIG ARGS LIVE AGAINST LEVELS SAMPLE SEED TARGET \
  JOBS RESULTS ARCHIVE SIGNERS TRUST WITH KEY OUTPUT CELL VARIANT DATASET EXTRACTION TASK DAMAGED TURN
$(foreach name,$(GIVEN),$(eval override $(name) := $$(value $(name))))
OMP_NUM_THREADS := 1
export $(foreach name,$(GIVEN),$(if $($(name)),$(name))) OMP_NUM_THREADS

override VENV := .venv
override CRATE := .venv-crate
override CROISSANT := .venv-croissant
override CROSSCHECK := .venv-crosscheck
override HARNESS := .venv-harness
override SITE := .venv-docs
export PATH := $(CURDIR)/$(VENV)/bin:$(value PATH)

# $(call option,KEY,key): --key and the value of KEY, where there is one.
option = $${$(1):+--$(2) "$$$(1)"}
# $(call needed,CELL,12:R): ends in one line where neither CELL nor ARGS is given.
needed = [ -n "$${$(1)}$$ARGS" ] || { echo "error: $(1): missing; for example $(1)=$(2)" >&2; exit 2; }
# Options that take several words stand before those that take one, so that no target is taken for a word of theirs.
LAID_OVER = $(if $(SCALE)$(CONFIG),--configfile) $${SCALE:+"scales/$$SCALE.yaml"} $${CONFIG:+"$$CONFIG"}
CHOSEN = $(LAID_OVER) $(call option,STUDY,study)
# The words of ARGS follow the command.
WITH_ARGS := python scripts/capacity/cli/with_args.py
ENGINE = $(WITH_ARGS) snakemake $(LAID_OVER) $${STUDY:+--config "study=$$STUDY"}
WATCHED = $$([ "$${LIVE:-0}" = 0 ] || echo --logger capacity)

.DEFAULT_GOAL := help
.PHONY: crosscheck harness task help env table audit release lineage report compare size law reference plan export preview runs curves orphans prune
.PHONY: gpu site quick test test-all durations test-long test-report test-slurm check docs lock format

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

env: $(VENV)/requirements.txt ## the Python environment in .venv, from envs/requirements.txt

$(VENV)/requirements.txt: envs/requirements.txt envs/install
	@envs/install $(VENV)

table: env ## the capacity table of config.yaml (STUDY=name, SCALE=workstation, CONFIG=my.yaml, CORES=n, LIVE=0, ARGS=...)
	@$(ENGINE) $(WATCHED) --quiet rules host --cores "$$CORES"
	@[ ! -f results/capacity_table.csv ] || capacity table

$(CRATE)/requirements.txt: envs/crate.txt envs/install
	@envs/install $(CRATE) crate.txt

$(SITE)/requirements.txt: envs/docs.txt envs/install
	@envs/install $(SITE) docs.txt

$(CROISSANT)/requirements.txt: envs/croissant.txt envs/install
	@envs/install $(CROISSANT) croissant.txt

$(CROSSCHECK)/requirements.txt: envs/crosscheck.txt envs/install
	@envs/install $(CROSSCHECK) crosscheck.txt

crosscheck: $(CROSSCHECK)/requirements.txt ## torchao and llm-compressor again, against the numbers that the tests use
	@HF_HUB_OFFLINE=1 $(CROSSCHECK)/bin/python tests/crosscheck/references.py 2> $(CROSSCHECK)/log | tail -n 1

$(HARNESS)/requirements.txt: envs/harness.txt envs/install
	@envs/install $(HARNESS) harness.txt

harness: env $(HARNESS)/requirements.txt ## lm-evaluation-harness on a tiny model of ours, against our own probe
	@python -m pytest -q tests/extraction/test_harness.py

task: env ## a task folder for lm-evaluation-harness (DATASET=biographies EXTRACTION=questions TASK=folder)
	@$(call needed,DATASET,biographies)
	@$(call needed,EXTRACTION,questions)
	@$(call needed,TASK,folder)
	@$(WITH_ARGS) capacity task $${DATASET:+"$$DATASET"} $(call option,EXTRACTION,extraction) \
	  $(call option,TASK,output) $(CHOSEN)

quick: env ## under a minute: tests of what this working tree changes, none that starts the engine
	@$(WITH_ARGS) python tests/quick.py

test: env $(CRATE)/requirements.txt $(CROISSANT)/requirements.txt $(SITE)/requirements.txt ## the tests, under ten minutes on two cores
	@$(WITH_ARGS) python -m pytest -n 3 --dist worksteal tests

test-long: env ## every row of the table of edits, the matrix of options, and the kill test (TURN=n: one third of them)
	@rm -f results/edit_outcomes.jsonl; mkdir -p results
	@EDIT_OUTCOMES="$$PWD/results/edit_outcomes.jsonl" $(WITH_ARGS) python -m pytest -n 2 --dist worksteal -m long \
	  $(call option,TURN,turn) tests
	@python tests/workflow/outcomes.py results/edit_outcomes.jsonl

test-all: check test test-long test-slurm test-report ## everything that a change to main has to hold, and all of the long tests

durations: env ## seconds of each test file, the longest first (make test ARGS=--renew-durations measures again)
	@python tests/durations.py

gpu: env ## all that needs a GPU, in turn: its speed, memory and bits, then three points of the paper's Figure 1
	@python benchmarks/gpu.py
	@python benchmarks/gpu.py --models gpt2-2-2 --processes 1 2 4 8
	@$(MAKE) table SCALE=workstation CONFIG=examples/published-points.yaml STUDY=published-points

test-report: env ## the HTML report in Chromium (Debian, as root; installs what is missing)
	@tests/report/install $(VENV)/bin/python
	@$(WITH_ARGS) python -m pytest tests/report

test-slurm: env ## the SLURM profile on a real cluster on this machine (Debian, as root; installs what is missing)
	@tests/slurm/cluster install --accounting
	@trap 'tests/slurm/cluster down' EXIT INT TERM; $(WITH_ARGS) python -m pytest tests/slurm

report: env ## results/report.html, one file that works offline: claims, figures, curves, the table down to the manifests
	@$(ENGINE) --quiet rules --forcerun write_report --cores "$$CORES" results/report.html
	@echo "results/report.html is ready to open"

compare: env ## your results/capacity_table.csv against the reference: cells with intervals, verdicts (SCALE=a folder of results/reference)
	@$(WITH_ARGS) capacity compare $(call option,SCALE,scale)

size: env ## parameters that FACTS (bits, or a dataset) need after EXPOSURES=n (ARGS="--scheme int8 --share 0.99")
	@$(WITH_ARGS) capacity size --facts "$$FACTS" --exposures "$$EXPOSURES" $(CHOSEN)

law: env ## fit R(exposures, P, R_max, scheme) to the reference tables
	@$(WITH_ARGS) capacity law

reference: env ## claims at each scale, figures and the README's table from the committed tables
	@$(WITH_ARGS) capacity reference --readme README.md

plan: env ## what would run, why, and its cost (STUDY=name, SCALE=paper, CONFIG=my.yaml, AGAINST=other.yaml)
	@$(WITH_ARGS) capacity plan $(CHOSEN) $(call option,AGAINST,against)

audit: env ## can this table be trusted? (LEVELS=1-3 SAMPLE=10% SEED=1 TARGET=place JOBS=n RESULTS=folder ARCHIVE=file SIGNERS=file TRUST=module:factory)
	@$(WITH_ARGS) capacity audit $(CHOSEN) $(call option,LEVELS,levels) $(call option,SAMPLE,sample) \
	  $(call option,SEED,seed) $(call option,TARGET,target) $(call option,JOBS,jobs) $(call option,RESULTS,results) \
	  $(call option,ARCHIVE,archive) $(call option,SIGNERS,signers) $(call option,TRUST,trust)

release: env ## one archive to be audited elsewhere (WITH=probes,datasets,variants or all; KEY=ssh-key OUTPUT=file)
	@$(WITH_ARGS) capacity release $(CHOSEN) $(call option,RESULTS,results) $(call option,WITH,with) \
	  $(call option,KEY,key) $(call option,OUTPUT,output)

lineage: env ## where a cell of the table comes from (CELL=12:R, or CELL=study=base-law,N=400,...:R)
	@$(call needed,CELL,12:R)
	@$(WITH_ARGS) capacity lineage $${CELL:+"$$CELL"} $(CHOSEN) $(call option,RESULTS,results)

export: env ## a quantised variant with packed weights, for inference tools (VARIANT=results/variants/... OUTPUT=folder)
	@$(call needed,VARIANT,results/variants/<id>)
	@$(call needed,OUTPUT,packed)
	@$(WITH_ARGS) capacity export $${VARIANT:+"$$VARIANT"} $${OUTPUT:+"$$OUTPUT"}

preview: env ## a dataset's texts with what is scored, and its bits, tokens and sizes (DATASET=name)
	@$(call needed,DATASET,atomic)
	@$(WITH_ARGS) capacity preview $${DATASET:+"$$DATASET"} $(CHOSEN)

runs: env ## one row a run: state, R, seconds, when (ARGS="--format csv")
	@$(WITH_ARGS) capacity runs $(CHOSEN)

curves: env ## loss and learning rate over exposures, of trainings under way too (STUDY=name)
	@$(WITH_ARGS) capacity curves $(CHOSEN)

orphans: env ## artefacts that no study at any scale of the configuration reaches, with sizes, and what is kept for which
	@$(WITH_ARGS) capacity prune $(CHOSEN) --list

prune: env ## remove them (asks; ARGS=--yes does not; DAMAGED=1: what is damaged instead, of STUDY, SCALE and CONFIG)
	@$(WITH_ARGS) capacity prune $(CHOSEN) $${DAMAGED:+--damaged}

check: env ## lint, format, types
	@ruff check . && ruff format --check . && snakefmt --check Snakefile rules && mypy scripts
	@said=$$(snakemake --lint 2>&1); echo "$$said" | grep -q '^Lints for' \
		&& ! echo "$$said" | grep '^    \* ' | grep -qv 'Specify a conda environment' \
		|| { echo "$$said"; false; } # one environment serves all rules, whose jobs need not be told

format: env ## put code and rules into the project's format
	@ruff check --fix . ; ruff format . ; snakefmt Snakefile rules

docs: env ## docs/config.md and the editor schema, from the configuration's models
	@capacity docs

site: $(SITE)/requirements.txt ## the pages as a website in site/
	@NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs build > $(SITE)/log 2>&1 || { cat $(SITE)/log; exit 1; }
	@echo "site/index.html is ready to open"

lock: ## pin what envs/direct.txt asks for into envs/requirements.txt, in a clean environment
	@envs/lock
