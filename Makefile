# cpctl: two commands on a fresh machine, `make run` and `make test`. Each sets up what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= auto
# Where apt can give the real parts (pcscd, the virtual reader), a test that lacks one fails.
REAL ?= $(if $(shell command -v apt-get 2>/dev/null),required,)
CSMS ?=
ID ?= CP001

.PHONY: help run test system-test check conformance bench clean release deb deb-check

help:
	@echo "make run                      charge a simulated car against the embedded central system"
	@echo "make run STAY=1               the same, and stay up for commands from another shell"
	@echo "make run CSMS=ws://… ID=CP001 run the simulated station against your own central system"
	@echo "make test                     every check and every test"
	@echo "make system-test              the station in an emulated machine (SYSTEM=\"--short\", \"--list\" …; as root)"
	@echo "make conformance              docs/conformance-16.md from the marks of the tests"
	@echo "make bench                    the figures, each beside its goal"
	@echo "make release                  a signed bundle in dist/ (VERSION=, KEY=, CERTIFICATE=, MACHINE=aarch64)"
	@echo "make deb                      a Debian package in dist/ (VERSION=, ARCH=amd64 or arm64)"
	@echo "make deb-check                lintian, and install, upgrade, remove, purge in Debian 12 and 13 (as root)"
	@echo "make clean                    remove what the above made"

$(STAMP): pyproject.toml deploy/bootstrap
	sh deploy/bootstrap
	@$(PYTHON) deploy/find_python.py $(PYTHON) > /dev/null
	"$$($(PYTHON) deploy/find_python.py $(PYTHON))" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $(STAMP)

run: $(STAMP)
	@if [ -n "$(CSMS)" ]; then exec $(BIN)/cpctl demo --csms "$(CSMS)" --identity "$(ID)"; else exec $(BIN)/cpctl demo $(if $(STAY),--stay); fi

check: $(STAMP)
	$(BIN)/ruff check cpctl hal tests bench deploy
	$(BIN)/mypy

test: check
	CPCTL_REAL=$(REAL) $(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal
	@if [ "$$CI" = true ]; then $(BIN)/python -m tests.system --short --ci; fi

# docs/system-test.md; SYSTEM="--only kill", "--short", "--list" …
system-test: $(STAMP)
	$(BIN)/python -m tests.system $(SYSTEM)

conformance: $(STAMP)
	cd tests && ../$(BIN)/python -m support.conformance

bench: $(STAMP)
	$(BIN)/python -m bench

release: $(STAMP)
	$(BIN)/python deploy/make_release.py --out dist $(if $(VERSION),--version $(VERSION)) $(if $(KEY),--key $(KEY) --certificate $(CERTIFICATE)) $(if $(MACHINE),--machine $(MACHINE)) $(if $(ADD),--add $(ADD))

deb: $(STAMP)
	$(BIN)/python deploy/make_deb.py --out dist $(if $(VERSION),--version $(VERSION)) $(if $(ARCH),--arch $(ARCH))
	cp deploy/install dist/install

deb-check: $(STAMP)
	sh deploy/check_deb $(SUITES)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .bench .demo .system
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
