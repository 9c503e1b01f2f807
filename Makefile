# make demo: the signature ablation on bundled data, three seeds, on all cores.
# make screenshot: the picture of its report in the README (needs Chromium).
# make test: every test. Both install what they need, once.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PY := .venv/bin/python
RUNS := runs/demo

# Without compiled bytecode every process that a test starts compiles torch's modules again: seconds each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo screenshot test lint clean

.venv/.installed: pyproject.toml constraints.txt
	$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check uv
	.venv/bin/uv pip install --quiet --python $(PY) -e '.[dev,slurm,postgres]' -c constraints.txt
	touch $@

demo: .venv/.installed
	$(PY) -m sweeps.launch run quick seed=1,2,3 launch=parallel launch.threads=1 runs_dir=$(RUNS)
	@echo
	@$(PY) -m analysis.tables $(RUNS) --table components
	@echo
	@echo "Every table and figure of these runs, in one page:"
	@$(PY) -m analysis.report $(RUNS)
	@echo
	@echo "Every run is a folder in $(RUNS): config.yaml, metrics.csv, label_quality.csv, samples.npz, model.pt, result.json."
	@echo "Next: $(PY) -m sanm.run -m preset=demo components=none,full noise.rate=0.8 seed=4,5 runs_dir=$(RUNS)    more seeds"
	@echo "      $(PY) -m sanm.run -m preset=demo variant=paper,released noise.rate=0.8 runs_dir=$(RUNS)   the paper or its code"
	@echo "      $(PY) -m sanm.predict RUN IMAGES                                                       a run's model on your images"
	@echo "      $(PY) -m sanm.run --help                                                               everything else"

screenshot: .venv/.installed
	$(PY) -m analysis.report $(RUNS)
	$(PY) -m tests.chromium $(RUNS)/report.html docs/images/report.png

test: .venv/.installed
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: .venv/.installed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

clean:
	rm -rf .venv
