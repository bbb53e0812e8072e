# The whole study from a shell. Needs python3 (3.11 or newer) and make; everything else goes into .venv.
PYTHON ?= python3
SCALE ?= sample
PARAMS ?=
TORCH ?=
BENCH ?= step whole data scaling surroundings
VENV := .venv
PY := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help train reports paper test test-all bench lab docs lint format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  e.g. make train SCALE=imagenette PARAMS="-p spec paper -p epochs 10"'
	@echo '  The first one installs; make TORCH=cpu train leaves the GPU packages out (README.md)'

train: $(VENV)/.stamp ## train AlexNet through notebook 04 and write its report (SCALE=sample)
	$(PY) -m alexlib report 04_train --scale $(SCALE) $(PARAMS)

reports: $(VENV)/.stamp ## run every notebook and write its report (SCALE=sample)
	$(PY) -m alexlib report all --scale $(SCALE) $(PARAMS)

paper: $(VENV)/.stamp ## the report of the whole study: reports/report.md, .html and, with a Chromium, .pdf
	@rm -f reports/figures/report_*.png
	$(PY) -c "from alexlib import report; print(report.paper(report.reports_root()))"
	@for browser in "$$CHROME" chromium chromium-browser google-chrome google-chrome-stable; do \
	  if command -v "$$browser" >/dev/null; then "$$browser" --headless --disable-gpu --no-pdf-header-footer \
	    $$([ "$$(id -u)" = 0 ] && echo --no-sandbox) --print-to-pdf=reports/report.pdf \
	    "file://$(CURDIR)/reports/report.html" 2>/dev/null && echo reports/report.pdf; exit; fi; done; \
	echo "No PDF: install chromium (Debian, Ubuntu: apt-get install chromium), name another one, as in"; \
	echo "  make paper CHROME=/path/to/chrome, or print reports/report.html from a browser"

test: $(VENV)/.stamp ## the tests, and every notebook cell by cell, in two processes
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --nbval-lax --durations=10

test-all: $(VENV)/.stamp ## the same with the slow and the browser tests
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --nbval-lax --durations=10 -m ""

bench: $(VENV)/.stamp ## measure speed, side by side, and renew docs/performance.md (half an hour)
	@for name in $(BENCH); do $(PY) benchmarks/$$name.py || echo "$$name failed"; done
	$(PY) docs/refresh.py

lab: $(VENV)/.stamp ## open the notebooks in JupyterLab, at the welcome page
	$(PY) -m jupyterlab --LabApp.default_url=/lab/tree/notebooks/welcome.ipynb

docs: $(VENV)/.stamp ## renew the generated parts of README.md, docs/ and reports/README.md
	$(PY) docs/refresh.py

lint: $(VENV)/.stamp ## check the style, change nothing
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(VENV)/bin/lint-imports --no-cache

format: $(VENV)/.stamp ## fix the style, bring notebook pairs in step, strip notebook outputs
	$(PY) -m jupytext --quiet --sync notebooks/*.ipynb notebooks/*/*.ipynb
	$(PY) -m ruff check --fix-only --quiet
	$(PY) -m ruff format
	$(PY) -m jupytext --quiet --sync notebooks/*.ipynb notebooks/*/*.ipynb
	$(PY) -m nbstripout --keep-id notebooks/*.ipynb notebooks/*/*.ipynb

clean: ## remove .venv and caches; data, runs and reports stay
	rm -rf $(VENV) *.egg-info .pytest_cache .ruff_cache
	find alexlib tests notebooks benchmarks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

# TORCH=cpu (cu126, rocm7.1, xpu, ...) names a build of torch; empty: that of PyPI, for CUDA on Linux.
# The stamp is written last: an interrupted installation is taken up again by the next make.
$(VENV)/.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or newer is needed, but '$(PYTHON)' is not: name one, as in make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "'$(PYTHON)' cannot make environments: install its venv package (Debian, Ubuntu: python3-venv)" >&2; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@if command -v uv >/dev/null; then set -x; \
	    uv pip install --python $(PY) $(TORCH:%=--torch-backend %) -c constraints.txt -e '.[lab,test]'; \
	  else set -x; $(PY) -m pip install --disable-pip-version-check \
	    $(TORCH:%=--extra-index-url https://download.pytorch.org/whl/%) -c constraints.txt -e '.[lab,test]'; fi
	@touch $@
