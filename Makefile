# retinal_lib: `make` lists what there is
SHELL := /bin/sh
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATASET ?= ODIR
TORCH ?= yes
export UV_COMPILE_BYTECODE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test infer train lint lab docs bench clean
.DEFAULT_GOAL := help

help: ## this list
	@echo "retinal_lib: annotations of retinal images in, checked conversations out"
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r name caption; do printf '%-14s %s\n' "$$name" "$$caption"; done

# one stamp for each set of extras: a set is installed anew only when pyproject.toml or the tested versions change
$(VENV)/.%: pyproject.toml constraints.txt
	@echo "setting up $(VENV) for $* (once; about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one: make $* PYTHON=python3.12"; exit 2; }
	@if command -v uv >/dev/null 2>&1; then \
	  [ -x $(BIN)/python ] || uv venv --quiet --python "$$(command -v $(PYTHON))" $(VENV); \
	  uv pip install --quiet --python $(BIN)/python -c constraints.txt -e "$(SPEC)" \
	  && { [ -x $(BIN)/pip ] || uv pip install --quiet --python $(BIN)/python pip; }; \
	else \
	  [ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV); \
	  $(BIN)/python -m pip install --quiet -c constraints.txt -e "$(SPEC)"; \
	fi
	@touch $@

# by pip even where uv is there: uv does not heed pip's settings, which may name a smaller build of torch
$(VENV)/.inference: $(VENV)/.run
	@echo "installing torch and transformers into $(VENV) (once; some hundred MB, several GB with a GPU's libraries)"
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[inference]"
	@touch $@

$(VENV)/.run: SPEC = .
$(VENV)/.test: SPEC = .[test]
$(VENV)/.lab: SPEC = .[lab]
$(VENV)/.docs: SPEC = .[docs]

demo: $(VENV)/.run ## set up, make conversations from drawn eyes, show one (DATASET=IDRiD for another dataset)
	@$(BIN)/papermill notebooks/generate.ipynb -p dataset $(DATASET)
	@$(BIN)/python -m retinal_lib $(DATASET)

ifeq ($(TORCH),no)
WITHOUT := $(addprefix --ignore=,$(wildcard tests/test_model_*.py) notebooks/infer.ipynb notebooks/train.ipynb notebooks/learn/6_train_small_evaluate_blind.ipynb)
endif

infer: $(VENV)/.inference ## set up what infer.ipynb needs to run a model on this machine: torch and transformers

train: $(VENV)/.inference ## the trial of train.ipynb: draw eyes, train a tiny model on them, examine it
	@$(BIN)/papermill notebooks/train.ipynb

test: $(VENV)/.test $(if $(WITHOUT),,$(VENV)/.inference) ## everything that must hold: unit, property, server, notebook tests and ruff (TORCH=no: without the model's, no torch)
	@$(BIN)/ruff check .
	@$(if $(WITHOUT),echo "TORCH=no: left out are $(patsubst --ignore=%,%,$(WITHOUT))",true)
	@$(BIN)/python -m compileall -q retinal_lib # once, where PYTHONDONTWRITEBYTECODE lets no process keep it
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(WITHOUT)
	@$(BIN)/python -m pytest -p nbval_rules --nbval --nbval-current-env $(filter %.ipynb,$(WITHOUT)) notebooks

lint: $(VENV)/.test ## ruff alone
	@$(BIN)/ruff check .

lab: $(VENV)/.lab ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab notebooks

docs: $(VENV)/.docs ## the site, docs/_build/html/index.html, without network; a warning is an error
	@$(BIN)/python docs/collect.py
	@$(BIN)/python -m sphinx -q -W --keep-going -c docs docs/_build/source docs/_build/html
	@echo "the site is docs/_build/html/index.html"

bench: $(VENV)/.test ## speed and memory, as ratios measured in one run (SHORT=yes: so little that it only shows that it runs)
	@$(BIN)/python tests/bench.py
	@$(BIN)/python tests/bench_boxes.py
	@if $(BIN)/python -c 'import torch' 2>/dev/null; then $(BIN)/python tests/bench_model.py$(if $(filter yes,$(SHORT)),, && $(BIN)/python tests/bench_trainers.py); else echo "no torch here: the model is not measured, and no trainer tried"; fi

clean: ## remove the environment, the drawn samples and caches; runs under artifacts/ stay
	rm -rf $(VENV) artifacts/sample docs/_build build dist .pytest_cache .ruff_cache .hypothesis retinal_lib.egg-info
	find retinal_lib tests -name __pycache__ -type d -prune -exec rm -rf {} +
