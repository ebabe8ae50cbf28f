# Thin targets: what they do is in CMakeLists.txt, CMakePresets.json and tools/. `make help` lists them.
PREFIX ?= /usr/local
DESTDIR ?=
IMAGE ?=
COMMAND ?=
FUZZ_SECONDS ?= 60
# Which tests run under a sanitizer: unit, suite, integration, crash.
LABELS ?= unit suite
# Compiler processes at a time.
export JOBS ?= $(shell nproc)
LABEL_REGEX = ^($(subst $(subst ,, ),|,$(strip $(LABELS))))$$
CTEST = ctest --output-on-failure --no-tests=error -j2

.DEFAULT_GOAL := build
.PHONY: help setup build test crash demo bench asan tsan fuzz format lint install clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build everything into build/release, programs in build/release/bin
	tools/build release

test: ## all packages, build, then every test (as root)
	tools/setup build test
	tools/build release
	tools/make-images --set small
	$(CTEST) --test-dir build/release -E '^crash$$'

crash: ## kill the daemon at every crash point (as root, some minutes); to join make test once it is proven
	tools/setup build test
	tools/build release
	tools/make-images --set small
	$(CTEST) --test-dir build/release -R '^crash$$'

demo: ## pull redis and golang and run commands in them (as root); IMAGE=... for any other
	tools/setup build test
	tools/build release skiffd skiff skiff-shim
	tools/demo $(IMAGE) $(COMMAND)

bench: ## measure skiff beside its peers (as root); docs/benchmarks.md tells how
	tools/setup build test bench
	tools/build release
	tools/make-images
	tools/with-registry bench/run.py

asan: ## LABELS (unit suite) of the tests under AddressSanitizer and UBSan
	tools/setup build test
	tools/build asan $(LABELS:%=%_tests)
	$(CTEST) --test-dir build/asan -L '$(LABEL_REGEX)'

tsan: ## the same under ThreadSanitizer
	tools/setup build test
	tools/build tsan $(LABELS:%=%_tests)
	$(CTEST) --test-dir build/tsan -L '$(LABEL_REGEX)'

fuzz: ## each fuzz target for FUZZ_SECONDS (60)
	tools/setup build test lint
	tools/build fuzz fuzz_targets
	tools/run-fuzzers build/fuzz $(FUZZ_SECONDS)

format: ## format the sources
	tools/check-format --fix

lint: ## layers, format, crash points, clang-tidy on what differs from main
	tools/setup build lint
	tools/check-layers
	tools/check-crash-points
	tools/check-format
	tools/lint

install: ## programs and the systemd unit, stripped, below DESTDIR and PREFIX
	tools/install "$(DESTDIR)" "$(PREFIX)"

clean: ## remove build/, but keep build/images
	find build -mindepth 1 -maxdepth 1 ! -name images -exec rm -rf {} + 2>/dev/null || true
