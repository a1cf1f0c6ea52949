# Weft. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# One debug folder (tests) and one release folder (demo, bench): each is built once.
DEBUG := .build
RELEASE := .build-release
BIN ?= $(CURDIR)/$(RELEASE)/release
SWIFT_RELEASE := swift build -c release --static-swift-stdlib --scratch-path $(RELEASE)
SOURCES := Sources Tests Package.swift
# Of `fuzz`, for each parser.
SECONDS ?= 60

PACKAGES := libbpf-dev libelf-dev zlib1g-dev pkg-config clang-14 clang-format-14 llvm-14 bpftool \
  make iproute2 procps util-linux tcpdump curl nginx-light haproxy wrk hey nghttp2-client nghttp2-server iperf3 \
  openssl python3 python3-pip python3-yaml dnsutils netcat-openbsd libstdc++-12-dev libssl-dev libnghttp2-dev nftables iptables

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## install what building, testing and measuring need (Debian packages, as root)
	@if [ "$$(id -u)" -ne 0 ]; then \
	  echo "make deps installs Debian packages and so has to run as root: sudo make deps" >&2; exit 1; fi
	@command -v swift >/dev/null || { echo "Swift 6.1 or newer is not installed: see https://swift.org/install" >&2; exit 1; }
	@missing=$$(for p in $(PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  echo "installing $$missing"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

bpf: ## compile the eBPF programs into bpf/build/weft.bpf.o
	@$(MAKE) --no-print-directory -C bpf

build: bpf ## build all programs, optimised, into .build-release/release
	@$(SWIFT_RELEASE)

demo: deps build ## two nodes, eight pods, and what the mesh does for them: every line checked
	@BIN=$(BIN) python3 demo/demo.py

demo-kubernetes: deps deps-kubernetes build ## install, enrol, canary, stub, rollout and uninstall on a real API server with two lab nodes
	@BIN=$(BIN) python3 demo/kubernetes.py

test: deps deps-kubernetes bpf ## all tests, and 5 s of fuzzing each parser; under CI=true one that would skip is a failure
	@python3 Tests/run.py

deps-kubernetes: ## build a real Kubernetes control plane from Debian's sources, once, into /var/cache/weft-kubernetes
	@Tests/Kubernetes/build.sh

images: deps deps-kubernetes build ## OCI images of all programs, from scratch, into .build-release/images, tested: by crun, and a cluster that runs from them
	@command -v buildah >/dev/null && command -v crun >/dev/null || { apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends buildah crun >/dev/null; }
	@deploy/images.sh $(BIN) $(RELEASE)/images
	@python3 Tests/Kubernetes/images.py $(BIN)

manifests: ## render deploy/ into the CLI's sources
	@deploy/embed.py

test-kubernetes: deps deps-kubernetes bpf ## of `make test` only what runs against a real API server
	@python3 Tests/run.py Kubernetes

test-newest: deps deps-kubernetes ## the tests of definitions, sources, statuses, installing and the CLI with the API server of CRDs and the kubectl of Kubernetes 1.36, from Debian sid
	@Tests/Kubernetes/newest.sh
	@swift build --build-tests
	@python3 Tests/EndToEndTests/Programs/packages.py
	@for test in "" schemas source status outage inject install cli; do \
	  BIN=.build/debug python3 Tests/Kubernetes/newest.py .build/debug/weft-control $${test:+Tests/Kubernetes/test_$$test.py} || exit 1; done

fuzz: deps ## fuzz the parsers: SECONDS=60 each
	@python3 Tests/Fuzz/run.py $(SECONDS)

bench-stub: deps build ## of `make bench-scale` only the tunnel stub against Envoy as a sidecar
	@BIN=$(BIN) python3 benchmarks/stub.py

bench: deps build ## measure against Envoy, HAProxy and direct connections; writes benchmarks/results.json
	@BIN=$(BIN) python3 benchmarks/bench.py

bench-scale: deps deps-kubernetes build ## weft-control with 100,000 Pods and 100 agents, 50 pods at once, rollouts under load, stubs of both kinds and Envoy; writes benchmarks/scale.json
	@python3 -c 'import grpc' 2>/dev/null || pip install --quiet grpcio
	@BIN=$(BIN) python3 benchmarks/scale/scale.py
	@BIN=$(BIN) python3 benchmarks/scale/enrolment.py
	@BIN=$(BIN) python3 benchmarks/scale/rollouts.py
	@BIN=$(BIN) python3 benchmarks/scale/stubs.py
	@BIN=$(BIN) python3 benchmarks/stub.py

fmt: ## format Swift and C
	@swift format --in-place --recursive --parallel $(SOURCES)
	@clang-format-14 -i bpf/*.c bpf/include/weft*.h Sources/C*/*.c Sources/C*/include/*.h

lint: ## check the formatting
	@swift format lint --strict --recursive --parallel $(SOURCES)
	@clang-format-14 --dry-run --Werror bpf/*.c bpf/include/weft*.h Sources/C*/*.c Sources/C*/include/*.h

clean: ## remove what was built
	@rm -rf $(DEBUG) $(RELEASE) benchmarks/work
	@$(MAKE) --no-print-directory -C bpf clean

.PHONY: help deps deps-kubernetes images manifests bpf build demo demo-kubernetes bench-scale test test-kubernetes test-newest fuzz bench bench-stub fmt lint clean
