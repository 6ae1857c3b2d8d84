# Two commands on a fresh machine: `make demo` and `make test`. Each sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
QUANTIZED := $(VENV)/quantized
OFFLINE := HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TOKENIZERS_PARALLELISM=false

.PHONY: demo study test peft-conformance lint docs browser pretrain clean

# The comparison on the bundled model and tasks, offline; the report is demo/report.html.
demo: $(VENV)/installed
	$(OFFLINE) $(BIN)/amplitune compare --demo -o demo

# The protocol in full on the same model and tasks: tuned, with controls, from five seeds; the report is bundled/report.html.
study: $(VENV)/installed
	$(PIP) -e '.[tuning]'
	$(OFFLINE) $(BIN)/amplitune compare --bundled -o bundled

# Everything that CI runs: format, lint, types, import contracts, tests, docstring examples. Three workers, because many tests
# wait for processes that they start; tests/conftest.py puts the files in their order.
test: $(VENV)/developed $(QUANTIZED)/installed browser lint
	$(OFFLINE) $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -q -rs --ignore=tests/adapters/layers/quantized
	$(OFFLINE) PYTHONPATH=$(QUANTIZED) $(BIN)/python -m pytest -q -rs tests/adapters/layers/quantized

# peft's own test suites, where they are parametrised by the config, on QAA's, SoRA's and CONTROL's: some five minutes.
# They come with peft's source distribution, which is fetched into build/.
peft-conformance: $(VENV)/developed
	$(PIP) -e '.[conformance]'
	$(OFFLINE) $(BIN)/python -m conformance -n 2

lint: $(VENV)/developed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/developed
	$(BIN)/mkdocs build --strict

# Pretrain the bundled model again (see recipes/README.md).
pretrain: $(VENV)/installed
	$(BIN)/python recipes/pretrain.py

# The report's tests need a Chromium; install Debian's where that is possible, otherwise they are skipped with that reason.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null 2>&1 \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 \
	       && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
	  || echo "No Chromium found and none could be installed: the browser tests will be skipped."

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e .
	touch $@

$(VENV)/developed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[bertscore,quantum,triton,tuning,ray,dev]'
	touch $@ $(VENV)/installed

# What quantises base models lies in a folder of its own: peft imports whichever of it there is, which takes every process
# a second, and some of it writes to stderr. gptqmodel asks for a later torch than the pinned one, but its layers run.
$(QUANTIZED)/installed: $(VENV)/developed
	rm -rf $(QUANTIZED)
	$(PIP) --no-deps --target $(QUANTIZED) bitsandbytes torchao hqq einops
	$(PIP) --no-deps --target $(QUANTIZED) gptqmodel optimum logbar tokenicer device-smi pypcre defuser \
	  || echo "gptqmodel could not be installed: the tests of GPTQ and AWQ will be skipped."
	touch $@

clean:
	rm -rf $(VENV) build/peft-conformance demo bundled site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
