# Needs make and Python 3.11 or newer; everything else goes into $(VENV).
PYTHON ?= python3
VENV ?= .venv
OUT ?= out/demo
REAL ?= ../shared/data/real
BIN = $(VENV)/bin
TASKS = derain deblur denoise

.PHONY: demo gallery test clean

# Restore the sample pictures of all three tasks and lay them side by side.
demo: $(VENV)/.installed
	@set -e; for task in $(TASKS); do \
	  $(BIN)/mprnet restore --task $$task samples/$$task/input -o $(OUT)/$$task --overwrite; \
	done
	@$(BIN)/mprnet compare $(foreach task,$(TASKS),samples/$(task)/input $(OUT)/$(task)) -o $(OUT)/before-after.png --overwrite

# Restore photographs without a known truth, and build a page of them: REAL holds rain/, blur/ and noise/.
gallery: $(VENV)/.installed
	$(BIN)/python tests/checks/gallery.py $(REAL) -o out/gallery

# Lint, types, and every test, as many processes as cores, a thread each.
test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[train,evaluate,heif,video,openvino,onnx,int8,web]" --group dev
	touch $@

clean:
	rm -rf $(VENV) out
