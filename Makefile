# The development tasks of fingerd; `make` alone lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COVERAGE ?= 0
# The releases of Debian that `make test-deb` boots.
DIST ?= bookworm trixie
# Tests wait more than they compute: two workers for each processor, each with one file at a time, whose tests share servers.
WORKERS ?= $(shell n=$$(nproc); echo $$((n < 8 ? n * 2 : 16)))
MINIMUM ?= 1
PARALLEL := -n $(WORKERS) --dist loadfile -m 'not serial'
WITH_LIBRARIES := $(addprefix tests/,daemon/test_detach.py daemon/test_privileges.py backends/cache/test_cache.py backends/ldap backends/sql backends/web daemon/test_settings.py \
    backends/system/test_sessions.py plans/web/test_changes.py plans/web/test_requests.py unit/ruip/test_report.py fuzz unit/metrics \
    $(addprefix metrics/test_,counts.py health.py start.py) \
    $(addprefix http/test_,feeds.py json.py pages.py requests.py routes.py start.py webfinger.py))
# Debian's own tools, whatever is first on the PATH here; and what a package is not made of.
SYSTEM := env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u PYTHONPATH -u PYTHONHOME PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1 \
    LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin
NOT_IN_SOURCE := ./.venv ./.*_cache ./.hypothesis build ./dist ./people.db ./pages *.egg-info __pycache__
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' fingerd/__init__.py)
# What builds images, and its further options.
ENGINE ?= podman
FORMAT = $(if $(filter podman,$(notdir $(firstword $(ENGINE)))),--format docker)# OCI's own format has no health check
BUILD ?=
ASK := $(BIN)/pyfinger moshez@localhost:1079
PAGES := http://localhost:8079/

.DEFAULT_GOAL := help
.PHONY: help run test test-pythons check bench conformance fuzz soak mutants format lint types deb test-deb test-piuparts test-fresh container \
    test-container dist clean python

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/run  ## Serve the people of examples/demo.yaml by Finger on port 1079 and by HTTP on port 8079, in the foreground
	@# The pid file has the pid once the daemon listens, on both.
	@(while [ "$$(cat $(VENV)/run.pid 2>/dev/null)" != $$$$ ]; do sleep 0.1; kill -0 $$$$ 2>/dev/null || exit 0; done; \
	    echo "fingerd answers on port 1079 until you press Ctrl-C. To ask it, type in another terminal, in this folder:"; \
	    echo; echo "    $(ASK)"; echo; echo "To see the same people in a browser, open"; echo; echo "    $(PAGES)"; echo) & \
	exec $(BIN)/fingerd --nodaemon --pidfile $(VENV)/run.pid --config examples/demo.yaml

test: $(VENV)/test  ## Run every test that can run here, and say which cannot and why (COVERAGE=95 measures what they cover)
	@set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	chmod 1777 "$$folder"; export COVERAGE_FILE="$$folder/coverage"  `# daemons write there too, whoever they become`; \
	unset PYTHONDONTWRITEBYTECODE  `# else each process compiles the program again`; \
	run=$(BIN)/python; [ $(COVERAGE) = 0 ] || run="$(BIN)/coverage run"; \
	$$run -m pytest $(PARALLEL); \
	echo "One after the other, what measures time or memory:"  `# so nothing traces these`; \
	$(BIN)/python -m pytest -m serial; \
	if [ -e $(VENV)/oldest ]; then \
	    echo "Once more with the oldest libraries that setup.cfg allows, those of Debian 12:"; \
	    PYTHONPATH=$(VENV)/oldest $(BIN)/python -m pytest $(PARALLEL) $(WITH_LIBRARIES); fi; \
	if [ $(COVERAGE) != 0 ]; then \
	    $(BIN)/coverage combine --quiet; \
	    $(BIN)/coverage report --fail-under=$(COVERAGE); \
	    $(BIN)/coverage report --fail-under=100 \
	        --include='fingerd/protocol/*.py,fingerd/text.py,fingerd/config/schema.py,fingerd/ruip/ruip.py'; fi

test-pythons: $(VENV)/test  ## Run the fast tests, without root and servers, with each Python that is here (MINIMUM=2 fails if there are fewer, OTHERS=1 leaves out the one of make test)
	@$(BIN)/python -m tests.pythons --environments $(VENV)/pythons --minimum $(MINIMUM) --workers $(WORKERS) $(if $(OTHERS),--others)

check: $(VENV)/check lint types  ## Everything that must pass before a commit: format, lint, types, tests with coverage
	@$(MAKE) --no-print-directory test COVERAGE=95

bench: $(VENV)/test  ## Measure fingerd beside other servers, and backends beside libraries (twenty minutes), and write the results
	$(BIN)/python -m bench --write
	$(BIN)/python -m bench --accounts --write
	$(BIN)/python -m bench --backends --write
	$(BIN)/python -m bench --http --write
	$(BIN)/python -m bench --proxy --write
	$(BIN)/python -m bench --metrics --write
	$(BIN)/python -m bench --reload --write

conformance: $(VENV)/run  ## Judge fingerd and other servers by RFC 1288 (root; two minutes), and write docs/conformance.md
	$(BIN)/python -m bench.conformance --write

fuzz: $(VENV)/fuzz  ## Look for inputs that break the parser, the encoder or the configuration loader (SECONDS=600)
	$(BIN)/python -m pytest -q tests/fuzz --hypothesis-profile=fuzz
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),600)

soak: $(VENV)/test  ## Five minutes of mixed load, good and hostile, and two of attacks: nothing may be lost (SECONDS=300, ATTACKS=NAME for one alone)
	@$(BIN)/python -m tests.soak --seconds $(or $(SECONDS),300) $(if $(ATTACKS),--attacks $(ATTACKS))

mutants: $(VENV)/test  ## Mutation testing of the pure modules by their unit tests (SAMPLE=100)
	@$(BIN)/python -m tests.mutants --sample $(or $(SAMPLE),100)

format: $(VENV)/check  ## Put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/check  ## Check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/check  ## Check types
	$(BIN)/mypy fingerd tests bench

deb:  ## Build the Debian package with the system's Python, in a copy of the tree; it is in dist/ then
	@rm -rf build/deb dist/fingerd_*; mkdir -p build/deb/fingerd dist
	@tar -c --exclude-vcs $(NOT_IN_SOURCE:%=--exclude=%) . | tar -x -C build/deb/fingerd
	@cd build/deb/fingerd && $(SYSTEM) dpkg-buildpackage --no-sign >../log 2>&1 || { cat ../log; exit 1; }
	@mv build/deb/fingerd_* dist/ && ls dist/fingerd_*

test-deb: deb  ## Check the package: with lintian, and in a machine of each Debian that is booted for it (root; some four minutes; DIST="bookworm trixie")
	@echo "lintian, which must say nothing:"; \
	said=$$($(SYSTEM) lintian --pedantic -I -E --profile debian --allow-root dist/fingerd_*.changes 2>&1) && [ -z "$$said" ] || { \
	    echo "$$said"; exit 1; }
	@$(SYSTEM) python3 -m tests.deb $(DIST)

test-piuparts: deb  ## Have piuparts install, upgrade, remove and purge the package (root; needs the network)
	@$(SYSTEM) python3 -m tests.deb.piuparts

container: deb  ## Build the image of Containerfile from the Debian package (ENGINE=docker, BUILD="more options")
	$(ENGINE) build --file Containerfile $(FORMAT) $(BUILD) --tag localhost/fingerd:$(VERSION) --tag localhost/fingerd:latest .

dist: $(VENV)/release  ## Build sdist and wheel, with manual pages, into dist/, and check what an index would refuse (needs scdoc)
	@command -v scdoc >/dev/null || { echo "make dist needs scdoc. On Debian: apt install scdoc" >&2; exit 1; }
	@rm -rf build/dist dist/fingerd-*; mkdir -p build/dist/fingerd dist
	@tar -c $(NOT_IN_SOURCE:%=--exclude=%) --exclude=./.git . | tar -x -C build/dist/fingerd
	@cd build/dist/fingerd && for page in man/*.scd; do scdoc <$$page >$${page%.scd} || exit 1; done
	@# The wheel is built from the sdist, as a distributor would build it.
	@$(BIN)/python -m build --outdir dist build/dist/fingerd >build/dist/log 2>&1 || { cat build/dist/log; exit 1; }
	@$(BIN)/python -m twine check --strict dist/fingerd-*

test-container: deb  ## Build the image from a Debian that mmdebstrap makes, and run it by podman (root; about two minutes)
	@$(SYSTEM) python3 -m pytest -c tests/container/pytest.ini tests/container

test-fresh:  ## Run the tests in a minimal Debian, as root, as a user, and as root of a container (root; WAYS="root user container")
	@mkdir -p build; tar -c --exclude-vcs $(NOT_IN_SOURCE:%=--exclude=%) . >build/source.tar
	@$(SYSTEM) python3 -m tests.deb.fresh build/source.tar $(WAYS)

clean:  ## Remove everything that was made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What the targets above need, made once, and again when setup.cfg changes.

python:
	@$(PYTHON) -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "fingerd needs Python 3.11 or newer with venv. On Debian: apt install python3 python3-venv" >&2; exit 1; }

$(BIN)/pip: | python
	$(PYTHON) -m venv $(VENV)

$(VENV)/run: setup.cfg setup.py pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[http]'
	@touch $@

$(VENV)/release: $(VENV)/run
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[release]'
	@touch $@

$(VENV)/test: $(VENV)/run tests/oldest.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[release,test]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps axe-playwright-python  `# for axe.min.js: no Playwright`
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then \
	    rm -rf $(VENV)/oldest; \
	    $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target $(VENV)/oldest -r tests/oldest.txt; fi
	@touch $@

$(VENV)/fuzz: $(VENV)/test
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[fuzz,test]'
	@touch $@

$(VENV)/check: $(VENV)/test
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[check,test]'
	@touch $@
