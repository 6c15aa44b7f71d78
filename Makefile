# `make demo` and `make test` set up what they need; everything they make is in .venv, .venvs and .cache.
DEMO_PORT ?= 8045

.PHONY: help demo test test-agents check docs lock bench clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

demo: ## the gateway on http://localhost:8045 with made-up answers; DEMO_PORT=9000 moves it
	@scripts/env .venv requirements.txt
	@exec env HOST= ANTIGRAVITY2API_HOST= ANTIGRAVITY2API_API_KEY_FILE= ANTIGRAVITY2API_API_KEY=sk-text PYTHONPATH=src \
		.venv/bin/python -m antigravity2api serve --sandbox --demo --port $(DEMO_PORT) --data-dir .cache/demo

test: ## all checks and all tests, on Python 3.11 and on the newest Python of this machine
	@scripts/test

test-agents: ## real agents against the gateway, which takes minutes to bring them; AGENTS="loops ai-sdk" takes only these
	@scripts/env .venv requirements-dev.txt
	@.venv/bin/python scripts/agent-envs $(AGENTS)
	@.venv/bin/python -m pytest -m agents -q tests/real_agents

check: ## what can be said without running the code: style, types, import direction, the wheel
	@scripts/env .venv requirements-dev.txt
	@scripts/check

docs: ## writes the tables in docs/ that come from the code
	@scripts/env .venv requirements-dev.txt
	@.venv/bin/python scripts/tables.py

lock: ## newer versions into the lock files
	@scripts/lock --upgrade

bench: ## CPU time of the gateway on this machine, beside nginx where that is there
	@scripts/env .venv requirements-dev.txt
	@.venv/bin/python benchmarks/run.py

clean: ## removes everything that was made here
	rm -rf .venv .venvs .cache build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
