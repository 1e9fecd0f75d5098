# Every target works from a clean clone with Python >= 3.11 and a package registry; nothing is installed outside .venv*.
PYTHON ?= python3
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
EXTRAS = torch,onnx,dask,search,parquet,notebook,dev
BIN = .venv/bin
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo)

.PHONY: demo test test-slow lint chromium clean

# The main job on the shipped hardware and trace, and its page, with the plain package as a user would install it.
demo: .venv-demo/installed
	.venv-demo/bin/ceesim run --hw edge_npu.yaml --trace vgg_c10.npz --out demo
	.venv-demo/bin/ceesim report demo --out report.html

test: lint
	$(BIN)/python -m pytest -m "not slow"

test-slow: .venv/installed .venv-scalesim/installed .venv-cacti/installed chromium
	$(BIN)/python -m pytest -m slow

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The report is opened in a real browser; this is the only Debian package that the tests need.
chromium:
	command -v chromium >/dev/null || { $(SUDO) apt-get update --quiet && \
	$(SUDO) apt-get install --yes --quiet --no-install-recommends chromium; }

clean:
	rm -rf .venv .venv-demo .venv-scalesim .venv-cacti demo report.html

# torch goes first and alone, so that the pinned CPU build is in place before anything could ask for another.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python $(PIP_INSTALL) torch
	$(BIN)/python $(PIP_INSTALL) --editable '.[$(EXTRAS)]'
	touch $@

.venv-demo/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python $(PIP_INSTALL) --editable .
	touch $@

# SCALE-Sim needs an older numpy than ours; tests/oracle compares with it across the two environments.
.venv-scalesim/installed: tests/oracle/scalesim_requirements.txt
	$(PYTHON) -m venv .venv-scalesim
	.venv-scalesim/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# One wheel carries a CACTI 7 executable (x86-64 Linux); tests/hardware asks it whether the shipped SRAM table is still
# what it says. Nothing else of the wheel is used, so its dependencies stay out.
.venv-cacti/installed:
	$(PYTHON) -m venv .venv-cacti
	.venv-cacti/bin/python -m pip install --quiet --disable-pip-version-check --no-deps zigzag-dse==3.9.1
	touch $@
