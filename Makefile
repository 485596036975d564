# make app      set up and serve the app on http://127.0.0.1:8501
# make test     set up and run everything: style, types, imports, unit and browser tests
# make check    the same without slow and browser tests, under two minutes
# make samples  make the shipped episodes and checkpoints again from nothing
# make bench    measure capture, player and opening times
# Another Python: make PYTHON=python3.12 app. More arguments for the app: make app ARGS="--port 8600".

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
ARGS ?=
# A file of tests stays in one process, so that what its tests share is made once.
PARALLEL ?= -n 2 --dist loadfile

# With more than one thread libgomp's idle threads spin and slow a busy machine down tenfold; set before torch starts.
export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Containers often forbid Python to keep what it compiled: each process would compile everything anew.
export PYTHONDONTWRITEBYTECODE :=

APP_FILES := requirements.txt constraints.txt
DEV_FILES := $(APP_FILES) requirements-samples.txt requirements-dev.txt
APP_STAMP := $(VENV)/.installed-app
DEV_STAMP := $(VENV)/.installed-dev

.PHONY: app test tests browser-tests check lint style types imports samples bench system

app: $(APP_STAMP)
	$(PY) -m app $(ARGS)

# Style and types need one core and little memory: they run beside the tests. All of it runs, whatever fails.
test:
	@$(MAKE) --no-print-directory -j 2 $(DEV_STAMP) system
	@failed=""; $(MAKE) --no-print-directory --keep-going -j 2 lint tests || failed="style, types, imports or tests"; \
	$(MAKE) --no-print-directory browser-tests || failed="$${failed:+$$failed and }browser tests"; \
	[ -z "$$failed" ] || { echo "failed: $$failed" >&2; exit 1; }

tests: $(DEV_STAMP)
	$(PY) -m pytest -m "not browser" $(PARALLEL) $(ARGS) || [ $$? = 5 ]

# On two cores Streamlit and Chromium may be slower than a test allows for: what fails is tried once more, and its first
# failure is printed.
browser-tests: $(DEV_STAMP) system
	$(PY) -m pytest -m browser --reruns 1 $(PARALLEL) $(or $(ARGS),tests/browser) || [ $$? = 5 ]

# Without checks of array shapes: make test has them.
check: $(DEV_STAMP) lint
	$(PY) -m pytest -m "not slow and not browser" --jaxtyping-packages= $(PARALLEL) $(ARGS)

lint: style types imports

style: $(DEV_STAMP)
	$(PY) -m ruff check --output-format concise .
	$(PY) -m ruff format --check --output-format concise .

types: $(DEV_STAMP)
	$(PY) -m mypy

imports: $(DEV_STAMP)
	$(VENV)/bin/lint-imports --no-logo

# Without these, half of the training time goes into handing memory back to the system and asking for it again.
samples: export MALLOC_MMAP_THRESHOLD_ := 2147483648
samples: export MALLOC_TRIM_THRESHOLD_ := 17179869184
samples: $(DEV_STAMP) system
	$(PY) -m sample_data.make $(ARGS)

bench: $(DEV_STAMP) system
	for file in benchmarks/[a-z]*.py; do $(PY) -m benchmarks.$$(basename $$file .py) $(ARGS) || exit 1; done

system:
	@sh .ci/system-packages

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "VLA Lens needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed; on Debian install python3-venv" >&2; exit 1; }

# Compiling every module of every package would take longer than the modules that are used, when they are.
$(APP_STAMP): $(APP_FILES) | $(PY)
	@echo "Installing the app's packages into $(VENV) (about 1.7 GB on disk, some minutes the first time)"
	$(PY) -m pip install --no-compile -r requirements.txt -c constraints.txt
	@touch $@

$(DEV_STAMP): $(DEV_FILES) | $(PY)
	@echo "Installing the app's and the tests' packages into $(VENV) (about 2 GB on disk, some minutes the first time)"
	$(PY) -m pip install --no-compile -r requirements.txt -r requirements-samples.txt -r requirements-dev.txt -c constraints.txt
	$(PY) -m pip install --no-compile --no-deps trossen-arm-sim==0.2.3 gym-aloha==0.1.5
	@touch $(APP_STAMP) $@
