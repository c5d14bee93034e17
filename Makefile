# Each target does the set-up that it needs. PYTHON chooses the interpreter that .venv is made of, CPython 3.10 to 3.13.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := robot,ros,ros-build,blake3,evm,model-signing,training,fleet,dev
# What a wheel build reads; an edit to any other file is live without one.
PACKAGE_INPUTS := setup.py pyproject.toml package.xml CMakeLists.txt tools/build_messages.py \
  $(wildcard config launch msg srv cmake/* config/* launch/* msg/*.msg srv/*.srv)

.PHONY: setup demo test lint bench launch-deps web-deps chain-deps clean

setup: $(VENV)/.installed

$(VENV)/bin/pip:
	tools/make_venv $(PYTHON) $(VENV)

# ROS comes first: setup.py builds og_ros.msg against it.
$(VENV)/.dependencies: requirements/constraints.txt pyproject.toml | $(VENV)/bin/pip
	$(BIN)/python tools/requirements.py $(EXTRAS) | $(BIN)/pip install --quiet --use-pep517 -c requirements/constraints.txt -r /dev/stdin
	touch $@

$(VENV)/.installed: $(VENV)/.dependencies $(PACKAGE_INPUTS)
	OG_ROS_WITH_MSGS=1 $(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup
	$(BIN)/og-ros demo

test: setup launch-deps web-deps chain-deps
	$(BIN)/python -m pytest -n 3 --dist loadgroup $(TESTARGS)

# Every parser of untrusted bytes, SECONDS each; FUZZ="mcap policy" chooses some. What breaks one is kept as a test.
SECONDS := 60
fuzz: setup
	$(BIN)/python test/fuzz/run.py $(FUZZ) --seconds $(SECONDS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python bench/run.py

# ROS launch for the launch tests; those tests skip themselves, with this reason, when it cannot be had.
launch-deps: setup
	-@$(BIN)/python tools/fetch_ros_launch.py .cache/ros_launch

# Chromium and axe-core for the tests of the report page; those tests skip themselves, with this reason, too.
web-deps: setup
	-@$(BIN)/python tools/fetch_web_tools.py .cache/axe

# anvil and Vyper for the settlement tests; those tests skip themselves, with this reason, too.
chain-deps: setup
	-@$(BIN)/python tools/fetch_chain_tools.py .cache/chain

clean:
	rm -rf $(VENV) build install log dist *.egg-info og_ros/msg og_ros/srv og_ros/*.so .pytest_cache .mypy_cache .ruff_cache
