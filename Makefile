# Each target does the set-up that it needs. PYTHON chooses the interpreter that .venv is made of, CPython 3.10 to 3.13.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := robot,aggregator,ros,ros-build,blake3,evm,timestamps,http,x402,model-signing,training,fleet,dcap,pkcs11,docs,dev
# What a wheel build reads; an edit to any other file is live without one.
PACKAGE_INPUTS := setup.py pyproject.toml package.xml CMakeLists.txt tools/build_messages.py \
  $(wildcard config launch msg srv cmake/* include/og_ros/* include/og_ros/detail/* config/* config/*/* launch/* msg/*.msg srv/*.srv)

# The tests start some thousand processes: Python is to keep what it compiled, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test lint docs bench fuzz test-deps debian-deps tpm-deps launch-deps sdf-deps web-deps chain-deps log-deps
.PHONY: every-bit other-ros kilted clean

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

test: setup test-deps
	$(BIN)/python -m pytest -n 3 --dist loadgroup $(TESTARGS)

# What some tests need beside the package; it mostly waits for the network, so several at once. A test whose need cannot
# be had skips itself, with the reason.
test-deps: setup
	@$(MAKE) --no-print-directory --jobs=4 tpm-deps kilted other-ros launch-deps web-deps chain-deps sdf-deps log-deps

# Every parser of untrusted bytes, SECONDS each; FUZZ="mcap policy" chooses some. What breaks one is kept as a test.
SECONDS := 60
fuzz: setup
	$(BIN)/python test/fuzz/run.py $(FUZZ) --seconds $(SECONDS)

# Evidence with every single bit of it turned, each judged in full; `make test` does what a minute allows.
every-bit: setup
	OG_ROS_EVERY_BIT=1 $(BIN)/python -m pytest -n 2 test/evidence/test_every_bit.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy

# The documentation as a site, in build/docs; a warning is an error.
docs: setup
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs build/docs
	@echo "open build/docs/index.html"

bench: setup
	$(BIN)/python bench/run.py

# tpm2-pytss for the tests over swtpm, which come with the packages of Debian; those tests skip themselves, with the reason.
tpm-deps: debian-deps
	-@$(BIN)/python tools/fetch_tpm.py

# Chromium, OpenSSL's headers, SoftHSM for PKCS#11 keys, and swtpm with the TPM's libraries, by apt-get.
debian-deps: setup
	-@$(BIN)/python tools/fetch_debian.py

# ROS launch for the launch tests; those tests skip themselves, with this reason, when it cannot be had.
launch-deps: setup
	-@$(BIN)/python tools/fetch_ros_launch.py .cache/ros_launch

# Cyclone DDS and ROS 2 Humble for the wire tests, which skip themselves, with this reason, too.
other-ros: setup
	-@$(BIN)/python tools/fetch_other_ros.py .cache/other_ros

# ROS 2 Kilted and og_ros built for it, in an environment of its own (.cache/kilted/venv); its tests skip themselves, too.
kilted: setup
	-@$(BIN)/python tools/make_kilted.py .cache/kilted

# drake, whose SDF parser checks the world for Gazebo; those tests skip themselves, with this reason, too.
sdf-deps: setup
	-@$(BIN)/python tools/fetch_drake.py .cache/drake

# axe-core and the packages of web/ for the tests in a browser; those skip themselves, with this reason, too.
web-deps: setup
	-@$(BIN)/python tools/fetch_web_tools.py .cache/axe

# anvil and Vyper for the settlement tests; those tests skip themselves, with this reason, too.
chain-deps: setup
	-@$(BIN)/python tools/fetch_chain_tools.py .cache/chain

# torchwood and Sigsum, which check our log and witness; those tests skip themselves, with this reason, too.
log-deps: setup
	-@$(BIN)/python tools/fetch_log_tools.py .cache/log_tools

clean:
	rm -rf $(VENV) build install log dist *.egg-info og_ros/msg og_ros/srv og_ros/*.so .pytest_cache .mypy_cache .ruff_cache
