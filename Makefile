# Needs Go, gcc, make and git, and nothing else. Whatever is missing is built from Go
# modules into a cached folder: $CLAVIGER_CACHE, else $XDG_CACHE_HOME/claviger, else
# ~/.cache/claviger.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# Static, without paths of this machine, and the same for the same sources.
BUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)"
# How long each fuzz target runs in `make fuzz`.
FUZZTIME ?= 30s
# More arguments for `go test`, such as -run or -v.
TESTFLAGS ?=
PACKAGES ?= ./...
# CRASH=apart leaves ./test/crash out of `make test`, for who runs `make test-crash` as well.
CRASH ?=
# Of the mutants of `make mutate`, one in how many is tried.
EVERY ?= 1

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: controlplane ## Watch credentials rotate on a real API server, while the operator is killed (DEMO_ROTATIONS=3, KEEP=1)
	@go run -buildvcs=false ./hack/demo

.PHONY: test
test: controlplane ## Run all tests with the race detector, on a real API server where one matters
	@TESTFLAGS='$(TESTFLAGS)' hack/test.sh $(if $(filter apart,$(CRASH)),-crash) $(PACKAGES)

.PHONY: test-crash
test-crash: controlplane ## Kill the operator at every boundary of an effect (minutes; `make test` has the worst ones)
	go test -race -tags crashall -timeout 30m -v ./test/crash

.PHONY: mutate
mutate: ## Break the planner in every small way and see that the tests notice (EVERY=16 tries one in sixteen, which takes a minute or two)
	go run ./hack/mutate -every $(EVERY) internal/rotation

.PHONY: stories
stories: ## Write the golden stories and docs/states.md anew, after the planner was changed on purpose
	go test ./internal/rotation/rotationtest -run 'Stories|States' -update

.PHONY: verify
verify: controlplane ## Check generated files, formatting, linters, import directions, modules, manifests and the binary
	hack/verify.sh

.PHONY: bench
bench: controlplane ## Measure writes, calls and reads per rotation with 500 credentials
	go test -run '^$$' -bench . -benchtime 1x -timeout 60m ./test/scale/...

.PHONY: fuzz
fuzz: ## Search for new failures with each fuzz target (FUZZTIME=30s)
	@hack/fuzz.sh $(FUZZTIME)

.PHONY: generate
generate: ## Write deep copies, CustomResourceDefinitions and the operator's role from Go
	hack/generate.sh

.PHONY: fmt
fmt: ## Format all Go files
	"$$(hack/tools/build.sh golangci-lint)" fmt ./...

.PHONY: build
build: $(patsubst cmd/%/main.go,bin/%,$(wildcard cmd/*/main.go)) bin/claviger ## Build the operator and its companions into bin/

.PHONY: controlplane
controlplane: ## Build kube-apiserver, etcd, kube-controller-manager and kubectl (minutes, once)
	@hack/controlplane/build.sh >/dev/null

.PHONY: clean
clean: ## Remove what was built here; the cached folders stay
	rm -rf bin

# The compiler knows better than make what is up to date.
.PHONY: FORCE
FORCE:

bin/claviger: FORCE
	@$(BUILD) -o $@ .

bin/%: FORCE
	@$(BUILD) -o $@ ./cmd/$*
