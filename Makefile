# Verbs of the project. `make help` lists them; each is a line or two that calls Python.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
ENV ?= distracting_memory_16
BACKBONE ?= s4wm
EPISODES ?= default
SEEDS ?= 0 1 2

.PHONY: help setup setup-3d dataset datasets-2d doctor run quickstart smoke report test test-slow bench check fix clean

help:  ## list the verbs
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 16

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 12) else "Python %d.%d found; 3.11 or 3.12 is needed: make PYTHON=python3.11" % v)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

READY3D := .venv/.ready-3d
$(READY3D): $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[mujoco]"
	touch $@

setup: $(READY)  ## make .venv with everything installed (all other verbs do it by themselves)

setup-3d: $(READY3D)  ## add MuJoCo and what the 3D rooms need

dataset: $(if $(filter two_rooms% four_rooms% ten_rooms% memory_maze%,$(ENV)),$(READY3D),$(READY))  ## make a dataset: make dataset ENV=distracting_memory_100 EPISODES=paper
	$(BIN)/python -m benchmark.collect --env $(ENV) --episodes $(EPISODES)

DATASETS_2D := distracting_memory_100 distracting_memory_200 distracting_memory_400 multi_doors_keys_3 multi_doors_keys_5 multi_doors_keys_7
datasets-2d: $(READY)  ## all six 2D datasets at their published sizes
	for env in $(DATASETS_2D); do $(BIN)/python -m benchmark.collect --env $$env --episodes paper || exit; done

doctor: $(READY)  ## what works on this machine
	$(BIN)/python -m benchmark.doctor

run: $(READY)  ## train and score one backbone: make run BACKBONE=s4wm ENV=distracting_memory_16
	$(BIN)/python -m benchmark.run --backbone $(BACKBONE) --env $(ENV)

quickstart: $(READY)  ## all main backbones on a small task, in minutes on two CPU cores
	$(BIN)/python -m benchmark.compare --seeds $(SEEDS) --results runs/quickstart

smoke: $(READY)  ## every main backbone for a few updates, in under a minute or two
	$(BIN)/python -m benchmark.compare --preset debug --seeds 0 --results runs/smoke

report: $(READY)  ## rewrite leaderboards and figures from the records
	$(BIN)/python -m benchmark.report

test: $(READY3D)  ## the tests
	$(BIN)/python -m pytest -q -n 2 -m "not slow"

test-slow: $(READY3D)  ## hundreds of episodes and thousands of poses: half an hour
	$(BIN)/python -m pytest -q -n 2 -m slow

READYPEERS := .venv/.ready-peers
$(READYPEERS): $(READY3D)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[peers]"
	touch $@

bench: $(READYPEERS)  ## fast forms against slow twins and PyPI's packages: ten minutes, wants a quiet machine
	mkdir -p runs
	LP_NUM_THREADS=0 $(BIN)/python -m pytest tests/bench/bench_speed.py -q -rs -p no:xdist -o addopts=--import-mode=importlib -o python_files=bench_speed.py --benchmark-disable-gc --benchmark-min-rounds=7 --benchmark-max-time=2 --benchmark-quiet --benchmark-json=runs/bench.json
	$(BIN)/python -m benchmark.speed_table runs/bench.json

check: $(READY3D)  ## format, lint, types, layers, leaderboards up to date
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m benchmark.report --check

fix: $(READY)  ## format and lint with fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## delete the environment, data and unfinished runs
	rm -rf .venv data runs
