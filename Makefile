# make repro    the whole pipeline on the real data        make test    lint, types and tests
# Both make what they need first, and only that: a virtual environment with the pinned packages.

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)

repro: .venv/pipeline.done .dvc/vega.js
	dvc repro
	@echo "The results are in reports/index.html; dvc plots show writes a page that compares."

test: .venv/tests.done
	ruff check .
	ruff format --check .
	mypy
	pytest -n auto

# other inputs than the same few of `make test`, for an hour or MINUTES, until one fails
fuzz: .venv/tests.done
	end=$$(($$(date +%s) + 60 * $(or $(MINUTES),60))); while [ $$(date +%s) -lt $$end ]; do \
	  MLP_FUZZ=1 pytest -q -n auto -m hypothesis || exit; done

# the tests again, with every branch of mlp/ and stages/ that they take, in whichever process; fails
# under 95 %
coverage: .venv/tests.done
	coverage erase
	coverage run -m pytest -n auto
	coverage combine --quiet
	coverage report

# small faults are put, one at a time, into a copy of what computes; fails if the tests of it do not
# find 95 % of them, or if docs/testing.md does not name one that is left
mutants: .venv/mutants.done
	rm -rf mutants
	MLP_COMPILED=0 mutmut run
	python .ci/mutants.py

# every console block of README and docs/ is run again; a page whose commands print something else
# is written anew
docs: .venv/tests.done
	python .ci/docs.py

# all six stages from nothing, the search too, to the committed bytes; prints a line for
# docs/reproducible.md
verify: .venv/pipeline.done
	@git diff --quiet HEAD -- || (echo "make verify: commit first, or stash" >&2; exit 2)
	rm -rf data/trials
	start=$$(date +%s); dvc repro --force && git diff HEAD --stat --exit-code \
	  && . /etc/os-release \
	  && echo "| $$(sed -n '/^model name/{s/.*: //p;q}' /proc/cpuinfo) | $$(nproc) | $$PRETTY_NAME" \
	  "| $$((($$(date +%s) - start + 30) / 60)) | \`$$(md5sum <dvc.lock | cut -c-12)\` |"

# whether dvc.lock is that of the sources, params and reports in Git; needs no data
check-lock: .venv/pipeline.done
	python .ci/check_lock.py

# Take over a branch, or an experiment after `dvc exp branch`: what is generated is made anew
merge: .venv/pipeline.done
	git merge --quiet --no-ff --no-commit $(or $(WITH),$(error make merge WITH=branch)) \
	  || git rev-parse --quiet --verify MERGE_HEAD >/dev/null
	@test -z "$$(git diff --name-only --diff-filter=U -- . ':!dvc.lock' ':!reports')" \
	  || (echo "Mend what conflicts besides dvc.lock and reports/, git add it, then:" \
	    "dvc repro && git add dvc.lock reports && git commit" >&2; exit 2)
	dvc repro
	git add dvc.lock reports
	@! git rev-parse --quiet --verify MERGE_HEAD >/dev/null || git commit --no-edit

# Vega for the page of `dvc plots show`, which so needs no network
.dvc/vega.js: .venv/pipeline.done
	python -X utf8 -c "import vl_convert; \
	  print(vl_convert.javascript_bundle('window.vegaEmbed = vegaEmbed'))" >$@.tmp
	mv $@.tmp $@

.venv/pipeline.done: requirements.txt | .venv/bin/python
	@echo "Installing the pinned packages into .venv, once; it takes a minute or two …"
	python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

.venv/tests.done: requirements-dev.txt $(wildcard requirements*.txt) | .venv/bin/python
	python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

.venv/mutants.done: requirements-mutants.txt requirements-dev.txt requirements.txt | .venv/bin/python
	python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

.venv/bin/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" \
	  || (echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …" >&2; exit 2)
	@$(PYTHON) -m venv .venv \
	  || (rm -rf .venv; echo "On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2)

# PyTorch, JAX and scikit-learn to compare with, away from what the pipeline runs on
bench: .venv-bench/done
	.venv-bench/bin/python -m benchmarks

# whether layers, losses, optimizers, networks and metrics are theirs, to 1e-12
test-peers: .venv-bench/done
	.venv-bench/bin/python -m pytest --noconftest tests/peers.py

.venv-bench/done: requirements-bench.txt requirements.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

.PHONY: repro test fuzz coverage mutants docs verify check-lock merge bench test-peers
