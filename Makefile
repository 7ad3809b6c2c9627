# The door: make demo | test | check | bench. A newcomer needs nothing else.
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	2>/dev/null && echo $$p && break; done)

.PHONY: demo test coverage check bench docs recording faults screenshots clean help

help:
	@echo "make demo    set up and run the whole loop on this machine, with a picture at the end"
	@echo "make test    set up what the tests need and run them all"
	@echo "make coverage  branches of the rooms that keep money and state, taken by their own tests;"
	@echo "               of one room: make coverage ROOM=state"
	@echo "make check   ruff, strict types, layers"
	@echo "make bench   the benchmark table"
	@echo "make docs    the docs as a site in build/site, its links checked"
	@echo "make screenshots  docs/images/dashboard-*.svg, of real local boxes"
	@echo "make recording    docs/images/demo.svg, a terminal with the demo in it"
	@echo "make faults  devbox killed and answered wrongly at every provider call (20-30 minutes)"

demo: $(VENV)/.demo
	@tools/need.sh ssh:openssh-client rsync:rsync
	$(BIN)/devbox demo

test: $(VENV)/.dev
	@tools/need.sh ssh:openssh-client /usr/sbin/sshd:openssh-server rsync:rsync tmux:tmux \
		"gcc:gcc libc6-dev" \
		chromium:chromium chromedriver:chromium-driver \
		dockerd:docker.io debootstrap:debootstrap docker-registry:docker-registry
	# Half of the tests' time is waiting for real processes, so that two cores feed four workers.
	# -r R shows the tests marked real_time that were tried a second time.
	$(BIN)/python -m pytest -n 4 --dist loadgroup -r R --timeout 400

coverage: $(VENV)/.dev
	@tools/need.sh ssh:openssh-client /usr/sbin/sshd:openssh-server rsync:rsync \
		"gcc:gcc libc6-dev"
	$(BIN)/python -m tools.branches $(ROOM)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	@tools/need.sh ssh:openssh-client /usr/sbin/sshd:openssh-server rsync:rsync \
		dockerd:docker.io debootstrap:debootstrap docker-registry:docker-registry
	$(BIN)/python -m tests.bench

faults: $(VENV)/.dev
	@tools/need.sh ssh:openssh-client /usr/sbin/sshd:openssh-server rsync:rsync \
		dockerd:docker.io debootstrap:debootstrap
	$(BIN)/python -m tests.faults

screenshots: $(VENV)/.dev
	@tools/need.sh ssh:openssh-client rsync:rsync
	$(BIN)/python tools/screenshots.py

recording: $(VENV)/.demo
	@tools/need.sh ssh:openssh-client rsync:rsync
	$(BIN)/python -m tools.recording

docs: $(VENV)/.dev
	$(BIN)/python -m tools.docs_site

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# A constraints file pins every version; it names no index, so a mirror works too.
$(VENV)/.demo: pyproject.toml constraints.txt
	@tools/venv.sh "$(PYTHON)" $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[track]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	@tools/venv.sh "$(PYTHON)" $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.demo
