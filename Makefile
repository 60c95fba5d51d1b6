# What people do with this checkout. Everything is kept in .venv and .local; `make` alone lists the targets.
# Variables: PYTHON3 (the Python to build .venv with), SIZE (of the demo), NAME and FOLLOW (logs), CLOCK (up), ARGS (test),
# STACK=containers (test on servers in containers).

export SIZE ?= small
CLOCK ?= steered
PYTHON := .venv/bin/python
INSTALLED := .venv/installed

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

demo: up ## Start everything and play the programme: SIZE=small (default) or SIZE=ntb
	@$(PYTHON) -m deploy.demo

test: $(INSTALLED) ## Run every test on a throw-away PostgreSQL and Kafka: ARGS="-k relay" for some
	@$(PYTHON) -m pytest -n 3 --no-loadscope-reorder $(ARGS)

test-faults: $(INSTALLED) ## Let everything that can go wrong go wrong while commands flow: MINUTES=10 SEED=n
	@$(PYTHON) -m tests.faults.long --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) $(ARGS)

test-containers: $(INSTALLED) ## Run the journey and a fault test on servers in containers: by Docker, or else by Podman
	@$(PYTHON) -m tests.in_containers $(ARGS)

up: $(INSTALLED) ## Start PostgreSQL, Kafka, the token issuer and the services, and leave them running
	@$(PYTHON) -m deploy.local up --clock $(CLOCK)

down: $(INSTALLED) ## Stop all of that; the data stays
	@$(PYTHON) -m deploy.local down

status: $(INSTALLED) ## Show what runs, on which port, in how much memory
	@$(PYTHON) -m deploy.local status

logs: $(INSTALLED) ## Show the last log lines: NAME=registry-api for one process, FOLLOW=1 to go on
	@$(PYTHON) -m deploy.local logs $(NAME) $(if $(FOLLOW),--follow)

clean: $(INSTALLED) ## Stop everything and delete data, logs and secrets; packages and jars are kept
	@$(PYTHON) -m deploy.local clean

check: $(INSTALLED) ## Check format, lint, types, import rules, schemas and the README's commands
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'
	$(PYTHON) -m contracts.generate --check
	$(PYTHON) -m pytest -q $(wildcard tests/deploy/test_readme.py) tests/deploy/test_local_locks.py

bench: $(INSTALLED) ## Measure against the raw limit and against the usual way
	@$(PYTHON) -m benchmarks

schemas: $(INSTALLED) ## Write the JSON Schemas and AsyncAPI documents of the contracts anew
	@$(PYTHON) -m contracts.generate

saboteur: $(INSTALLED) ## Plant faults in a copy of the code: each must turn a named test red
	@$(PYTHON) -m tests.saboteur

audit: $(INSTALLED) ## Verify the sample archive, tamper with a copy, and see the event named
	@$(PYTHON) -m services.audit sample

locks: $(INSTALLED) ## Write requirements*.txt anew from requirements*.in; UPGRADE=1 for newer versions
	@for name in requirements requirements-dev; do \
	  $(PYTHON) -m uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	    --no-annotate --python-version 3.11 $(if $(UPGRADE),--upgrade) $$name.in -o $$name.txt || exit; \
	done

# A Python that is new enough and can make environments; the first one found.
FIND_PYTHON = for python in $(PYTHON3) python3 python3.14 python3.13 python3.12 python3.11; do \
	  $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; python=; \
	done

$(INSTALLED): export PIP_CACHE_DIR := $(CURDIR)/.local/cache/pip
$(INSTALLED): export PIP_DISABLE_PIP_VERSION_CHECK := 1
$(INSTALLED): requirements.txt requirements-dev.txt deploy/local/kafka.lock
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || { $(FIND_PYTHON); \
	  if [ -z "$$python" ]; then \
	    echo "Entas needs Python 3.11 or newer with venv (Debian: apt-get install python3-venv); found: $$(python3 --version 2>&1)."; \
	    echo "If it has another name: make PYTHON3=/path/to/python3.12"; exit 1; \
	  fi; \
	  echo "Making .venv with $$($$python --version)"; rm -rf .venv && $$python -m venv .venv; }
	@echo "Installing the locked packages into .venv (only when a lock has changed)"
	@$(PYTHON) -m pip install --quiet --require-hashes -r requirements-dev.txt
	@echo "Fetching Apache Kafka into .local/cache and rehearsing its start"
	@$(PYTHON) -m deploy.local prepare
	@touch $@

.PHONY: help demo test test-faults test-containers up down status logs clean check bench schemas saboteur audit locks
