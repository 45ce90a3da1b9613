# make demo and make test need nothing but Python >= 3.11 and git: each makes .venv, installs and runs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Settings for one demo run, e.g. make demo DEMO_SET="data.corpus.clips=8 train.max_epochs=3"
DEMO_SET ?=
# Comparison and robustness are left to `dvc repro compare` and `dvc repro robustness`.
DEMO_STAGES := results report plot_page

export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test test-browser lint bench soak clean install

demo: $(STAMP)
ifeq ($(strip $(DEMO_SET)),)
	dvc repro $(DEMO_STAGES)
else
	dvc exp run $(addprefix --set-param ,$(DEMO_SET)) $(DEMO_STAGES)
endif
	@dvc plots show > /dev/null
	@echo; cat runs/results.md; echo
	@echo "Report: runs/tagf/report.html, one page with the videos beside the traces (no network needed)"
	@echo "Plots: dvc_plots/index.html (no network needed)   Runs: runs/   Store: data/features.zarr"
	@echo "Next: dvc repro compare    dvc exp run -S train.lr=0.0005    dvc metrics show    tagf --help"

test: $(STAMP)
	OMP_NUM_THREADS=1 python -m pytest -m "not gpu and not browser" -q -n 2 --dist worksteal

# In the system's Chromium (Debian: apt-get install chromium), which no test skips for.
test-browser: $(STAMP)
	OMP_NUM_THREADS=1 python -m pytest tests/browser -m browser -q

lint: $(STAMP)
	ruff check .
	ruff format --check .
	mypy
	lint-imports

bench: $(STAMP)
	python benchmarks/extraction.py
	python benchmarks/faces.py
	python benchmarks/many_clips.py
	python benchmarks/memory.py
	python benchmarks/predict.py
	python benchmarks/live.py
	python benchmarks/help.py
	OMP_NUM_THREADS=1 python benchmarks/store.py
	python benchmarks/head.py
	python benchmarks/training.py
	python benchmarks/table.py
	dvc repro extract
	tagf compare --features data/features.zarr --annotations data/corpus/annotations --params params.yaml \
		--heads all --seeds 0,1,2,3,4 --out runs/all_heads

soak: $(STAMP)
	python tests/soak/media_campaign.py
	python tests/soak/crash_campaign.py
	python tests/soak/corruption_campaign.py
	python tests/soak/onnx_campaign.py

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is %s" % sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (torch and its libraries: about 5 GB, a few minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $(STAMP)

clean:
	rm -rf $(VENV) data runs dvc_plots .dvc/tmp .dvc/cache dvc.lock build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
