# make demo           builds everything and runs the main job against the embedded sandbox
# make test           runs every test, and the lints that take no time
# make quick T=name   builds this crate unoptimized, and runs the Rust tests with that in their name
# make quick-python T=name   the same for Python tests
# make soak           reads moving collections by 10,000 random schedules; all operations beside all faults; kills
# make test-spark     runs the tests beside real Spark; needs Java 17
# make test-lazy      runs the tests of lazy frames in Rust, which take much more of Polars
# make lint           runs all lints, clippy included
# make test-floor     runs the Python tests with the oldest Polars that is supported
# make docs           builds the documentation site into site/, runs what is on it, checks its links
# make wheel          builds a wheel for all of Linux, checks it, and runs the demo with it alone
# make bench          measures side by side with what people use today
# Each sets up what it needs in .venv and works from a fresh checkout.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FEATURES := python,examples
FLOOR := 2.0.0
# The same features everywhere, so that extension, tests and examples share one set of artefacts.
CARGO_BUILD = cargo build --locked --features $(FEATURES)
EXTENSION := python/polars_edfi/_native.abi3.so

ifeq ($(shell uname -s),Darwin)
LIBRARY := libpolars_edfi.dylib
else
LIBRARY := libpolars_edfi.so
endif
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

.PHONY: demo test test-rust test-python soak quick quick-python test-floor test-lazy test-spark fmt-check lint lint-rust lint-python \
	build check-java check-tools wheel fmt bench docs

demo: build
	$(BIN)/python examples/quickstart.py

test: fmt-check test-rust test-python lint-python

# Doc tests need by hand what build.rs does for the other tests.
test-rust: build
	$(CC) -c tests/link/no_python.c -o $(TARGET_DIR)/no_python.o
	RUSTDOCFLAGS="-Clink-arg=$(abspath $(TARGET_DIR))/no_python.o" \
		cargo test --locked --features $(FEATURES)
	cargo run --quiet --locked --features $(FEATURES) --example quickstart

# What runs beside a silent server or a full disk can fail where the machine is busy: what failed is
# tried once more, and both runs stand in the output.
pytest_twice = $(BIN)/python -m pytest $(1) \
	|| $(BIN)/python -m pytest $(1) --last-failed --last-failed-no-failures none

test-python: build
	$(call pytest_twice)

soak: build
	SOAK=1 cargo test --locked --features $(FEATURES) --test it reads::moving
	$(foreach n,0 1 2 3,SOAK=1 SHARD=$n/4 $(BIN)/python -m pytest tests/python/faults/test_matrix.py --timeout 3600 & \
		of="$$of $$!"; ) for one in $$of; do wait $$one || failed=1; done; test -z "$$failed"
	SOAK=1 $(BIN)/python -m pytest tests/python/faults tests/python/journal --timeout 3600 \
		--deselect tests/python/faults/test_matrix.py

# While editing. Dependencies stay as they are; only this crate is built anew.
quick quick-python: export CARGO_PROFILE_DEV_OPT_LEVEL := 0

quick: check-tools
	cargo test --locked --features $(FEATURES) --test it -- $(T)

quick-python: build
	$(BIN)/python -m pytest -x -q -k "$(T)"

# The same extension beside the oldest Polars: what pyproject.toml says must be true.
test-floor: build $(VENV)-floor/ready
	$(VENV)-floor/bin/python -m pytest

$(VENV)-floor/ready: pyproject.toml Makefile
	test -x $(VENV)-floor/bin/python || $(PYTHON) -m venv $(VENV)-floor
	$(VENV)-floor/bin/python -m pip install --quiet --disable-pip-version-check \
		"polars==$(FLOOR)" "tqdm>=4.60" "cloudpickle>=3" "deltalake>=1.6" "pytest>=8" "pytest-timeout>=2.3"
	echo "$(CURDIR)/python" > "$$($(VENV)-floor/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/polars_edfi.pth"
	touch $@

# Beside real Spark, in threads and as a cluster of two executors. Its own start warns of things of its own.
test-spark: check-java build $(VENV)/spark
	$(call pytest_twice,tests/spark --timeout 900 -o filterwarnings=default)

# With a profile of its own, and so with artefacts of its own: what all others share stays small.
test-lazy: LAZY = cargo test --locked --profile lazy --features lazy,sandbox
test-lazy: check-tools
	$(LAZY) --test lazy
	$(LAZY) --doc lazy

check-java:
	@java -version >/dev/null 2>&1 || test -x "$$JAVA_HOME/bin/java" || { echo "error: Java is missing, which Spark runs on; install OpenJDK 17 (Debian: apt-get install openjdk-17-jre-headless)" >&2; exit 1; }

$(VENV)/spark: pyproject.toml $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pyspark[connect]>=4.0" "pyarrow>=15" "pandas>=2.2,<3"
	touch $@

lint: lint-rust lint-python

fmt-check: check-tools
	cargo fmt --check

lint-rust: fmt-check
	cargo clippy --locked --all-targets --features $(FEATURES),bench -- -D warnings
	cargo clippy --locked -- -D warnings

lint-python: build
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	MYPYPATH=python $(BIN)/stubtest polars_edfi._native --mypy-config-file pyproject.toml
	$(BIN)/python tests/typing/check.py

build: check-tools $(VENV)/ready
	$(CARGO_BUILD)
	@cmp -s $(TARGET_DIR)/debug/$(LIBRARY) $(EXTENSION) \
		|| { cp $(TARGET_DIR)/debug/$(LIBRARY) $(EXTENSION).new && mv $(EXTENSION).new $(EXTENSION); }

# An editable install without a build: the package is found in python/.
$(VENV)/ready: pyproject.toml Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		"polars>=2.0" "tqdm>=4.60" "cloudpickle>=3" \
		"deltalake>=1.6" "ipykernel>=7" "ipywidgets>=8" "pytest>=8" "pytest-timeout>=2.3" "mypy>=1.15" "pyright>=1.1.400" "ruff>=0.12" \
		types-tqdm
	echo "$(CURDIR)/python" > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/polars_edfi.pth"
	touch $@

check-tools:
	@command -v cargo >/dev/null || { echo "error: cargo is missing; install a Rust toolchain (1.89 or newer): https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "error: cc is missing; install a C compiler (Debian: apt-get install build-essential)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "error: Python 3.11 or newer is missing (found: $$($(PYTHON) --version 2>&1)); name one by PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "error: $(PYTHON) has no venv (Debian: apt-get install python3-venv)" >&2; exit 1; }

# What stands on the pages runs, what it shows is put below it, and every link is followed.
docs: build $(VENV)-docs/ready
	$(VENV)-docs/bin/python docs/tools/build.py

$(VENV)-docs/ready: docs/requirements.txt Makefile
	test -x $(VENV)-docs/bin/python || $(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip install --quiet --disable-pip-version-check -r docs/requirements.txt
	echo "$(CURDIR)/python" > "$$($(VENV)-docs/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/polars_edfi.pth"
	touch $@

# A wheel for the oldest glibc that pip asks for (zig brings it), or for this machine's own system;
# with the licences of what is in it, audited, and tried where nothing else is installed.
ifeq ($(shell uname -s),Linux)
WHEEL_FOR := --zig --compatibility manylinux2014
endif

wheel: export PATH := $(CURDIR)/$(VENV)-wheel/bin:$(PATH)
wheel: check-tools $(VENV)-wheel/ready
	$(PYTHON) release/licenses.py THIRD_PARTY_LICENSES
	rm -f dist/*.whl
	maturin build --release --locked --out dist $(WHEEL_FOR)
	$(VENV)-wheel/bin/python release/check_wheel.py dist/*.whl

$(VENV)-wheel/ready: release/requirements.txt
	test -x $(VENV)-wheel/bin/python || $(PYTHON) -m venv $(VENV)-wheel
	$(VENV)-wheel/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

fmt: $(VENV)/ready
	cargo fmt
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# Side by side with what people use today; see benches/README.md. BENCH=--quick: what matters most.
bench: FEATURES := $(FEATURES),bench
bench: build $(VENV)/bench
	$(CARGO_BUILD) --example bench
	$(BIN)/python benches/run.py $(TARGET_DIR)/debug/examples/bench $(BENCH)
	$(BIN)/python benches/journal.py $(TARGET_DIR)/debug/examples/bench
	$(BIN)/python benches/copies.py $(findstring --quick,$(BENCH))
	$(BIN)/python benches/windows.py $(findstring --quick,$(BENCH))
	$(BIN)/python benches/growth.py
	@if java -version >/dev/null 2>&1; then \
		$(MAKE) --no-print-directory $(VENV)/spark && $(BIN)/python benches/spark.py $(TARGET_DIR)/debug/examples/bench $(findstring --quick,$(BENCH)); \
	else echo "Spark is not measured: there is no Java"; fi

$(VENV)/bench: benches/requirements.txt $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r benches/requirements.txt
	touch $@
