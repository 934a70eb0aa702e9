# make demo: the main job on phantoms.  make test: all tests.  make check: style and types.
# make test-quick: those of them that take seconds.
# make test-slurm: the workflow on a SLURM that it starts and stops on this machine.
# make test-relion: RELION's reconstruction from what civa export writes.
# Each sets up its own virtual environment in .venv first; make setup does only that.

PYTHON ?= python3
BIN := .venv/bin
SNAKEMAKE := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake

.PHONY: demo test test-quick test-slurm test-relion check format setup clean

demo: .venv/ready
	$(SNAKEMAKE) --profile profiles/local
	@cat results/tables/summary.md
	@echo "masks    results/<data set>/seed<seed>/civa-net/masks/*.mrcs"
	@echo "figures  results/<data set>/seed<seed>/civa-net/figures/*.png"
	@echo "tables   results/tables/"
	@echo "report   results/report.html"

# Two files of tests at a time; idle threads of the one must not keep the other waiting.
PYTEST := PATH="$(CURDIR)/$(BIN):$$PATH" OMP_WAIT_POLICY=PASSIVE \
	  $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test: .venv/ready
	$(PYTEST)

test-quick: .venv/ready
	$(PYTEST) -m "not slow and not workflow and not relion and not slurm"

# The packages are Debian's; a SLURM that is there already is left alone, and its programs are used.
test-slurm: .venv/ready
	@PATH="$$PATH:/usr/sbin" command -v slurmctld >/dev/null && command -v munged >/dev/null \
	|| { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	  slurm-wlm munge slurmdbd mariadb-server; } \
	|| { echo "these tests need slurmctld, slurmd and munged: install SLURM, or be root on Debian"; \
	  exit 1; }
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m slurm -rs --durations=0

# Debian's package; a RELION that is there already is used. In make test, these tests run or say
# that RELION is missing.
test-relion: .venv/ready
	@command -v relion_reconstruct >/dev/null \
	|| { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	  --no-install-recommends relion; } \
	|| { echo "these tests need relion_reconstruct: install RELION, or be root on Debian"; exit 1; }
	$(BIN)/python -m pytest -m relion -rsP

check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check workflow rules
	$(SNAKEMAKE) --lint --configfile config.yaml

format: .venv/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/snakefmt workflow rules

setup: .venv/ready

# A CPU build of torch is enough for the demo and the tests; constraints.txt pins everything.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'CIVA needs Python 3.11')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf results logs benchmarks resources .snakemake .venv
