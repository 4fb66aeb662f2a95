# `make` alone lists the verbs. Each does the set-up it needs; the second call skips it.
.DEFAULT_GOAL := help
.PHONY: help demo test bench soak lint format up down stack unstack clean

READY := .venv/.ready
STRATA := .venv/bin/strata
PYTEST := .venv/bin/python -m pytest

$(READY): pyproject.toml constraints.txt infra/setup.sh
	@infra/setup.sh python
	@touch $@

help: ## list the verbs
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(READY) ## set up, start the servers, take real text through every stage, print the table
	@infra/setup.sh system
	$(STRATA) up
	$(STRATA) run toy
	@echo "The servers stay up for you to look around; 'make down' ends them."

test: $(READY) ## set up and run all tests (ARGS="-k name" narrows them)
	@infra/setup.sh system tests
	$(PYTEST) $(ARGS)

bench: $(READY) ## measure what benchmarks/ promises (minutes; the machine should be idle)
	@for file in benchmarks/*.py; do echo "$$file"; .venv/bin/python $$file || exit 1; done

soak: $(READY) ## measure the reliability goals in full, for hours (ARGS="--rows R2,R9 --seed 1")
	@infra/setup.sh system tests
	.venv/bin/python -m tests.faults.soak $(ARGS)

lint: $(READY) ## check style, types and the rules of the house
	$(PYTEST) tests/test_architecture.py

format: $(READY) ## rewrite the sources in the house's format
	.venv/bin/ruff check --fix-only -q .
	.venv/bin/ruff format -q .

up: $(READY) ## start Prefect, MLflow and the dashboard on this machine
	$(STRATA) up

down: $(READY) ## stop them
	$(STRATA) down

stack: $(READY) ## start the servers for a team in containers, on this machine; print the URLs
	@infra/compose/stack.sh up

unstack: ## end those containers; their data stays
	@infra/compose/stack.sh down

clean: ## remove the virtual environment and caches; runs under .strata stay
	rm -rf .venv .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
