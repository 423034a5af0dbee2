# make check is what CI runs; make test is the whole suite. Everything comes
# from the Go module proxy.

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-print-directory
.DEFAULT_GOAL := build

# The toolchain that go.mod names, or the one that is here where that one cannot
# be had.
WANTED := $(shell awk '$$1 == "toolchain" { print $$2 }' go.mod)
export GOTOOLCHAIN := $(shell GOTOOLCHAIN=$(WANTED) go version >/dev/null 2>&1 && echo $(WANTED) || echo local)

GOLANGCI_LINT := v2.15.0
# v1.9.0 requires a version of golang.org/x/telemetry that the proxy does not serve.
GOVULNCHECK   := v1.8.0
BENCHSTAT     := v0.0.0-20260908200009-22c9c6c9d4da
OLD_NATS      := v2.11.4
NATS           = $(shell go list -m -f '{{.Version}}' $(NATS_MODULE))
NATS_MODULE   := github.com/nats-io/nats-server/v2
PROMETHEUS     = $(shell go list -C deploy/tools -m -f '{{.Version}}' $(PROMETHEUS_MODULE))
PROMETHEUS_MODULE := github.com/prometheus/prometheus
include deploy/kafka/versions.env

CONFIG   ?= millrace.yaml
COUNT    ?= 3
FUZZTIME ?= 10s
# Of Apache Kafka; empty: the pinned version, and the port that goes with it.
VERSION  ?=
PORT     ?=

.PHONY: build test race fuzz lint docs bench run check tools servers watchers kafka-up kafka-down kafka-test

# Most tests wait for other processes: more of them run side by side than there are
# processors.
TEST := go test -race -shuffle=on -parallel 4

# Runs a command with Apache Kafka beside it, where it can be had.
WITH_KAFKA = deploy/kafka/with.sh $(or $(VERSION),$(KAFKA))

build: ## the program, static, into bin/
	CGO_ENABLED=0 go build -trimpath -o bin/millrace ./cmd/millrace

test: servers watchers ## the whole suite
	$(WITH_KAFKA) $(TEST) -timeout 30m ./...

race: servers ## the whole suite, COUNT times
	$(WITH_KAFKA) $(TEST) -timeout 90m -count=$(COUNT) ./...

fuzz: ## every fuzz target, for FUZZTIME each
	@grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed 's/:func / /' | while read -r file name; do \
	  echo "go test -run '^$$' -fuzz '^$$name$$' -fuzztime $(FUZZTIME) $$(dirname "$$file")"; \
	  go test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" </dev/null; \
	done

lint: tools ## vet, linters, known vulnerabilities
	go vet ./...
	bin/golangci-lint run --allow-parallel-runners ./...
	@echo govulncheck ./...; code=0; said=$$(bin/govulncheck ./... 2>&1) || code=$$?; echo "$$said"; \
	if [ $$code -ne 0 ] && [[ "$$said" == *"fetching vulnerabilities"* ]]; then \
	  echo "NOT CHECKED for known vulnerabilities: their database cannot be reached (GOVULNDB names another)."; \
	else exit $$code; fi

docs: ## the generated pages of docs/
	go test . -count=1 -run TestDocs -update

bench: tools ## every benchmark, five times, into bench.txt
	go test -run '^$$' -bench . -benchmem -count 5 ./... | tee bench.txt
	bin/benchstat bench.txt

run: build ## the service, with CONFIG
	bin/millrace run -c $(CONFIG)

kafka-up: ## Apache Kafka on loopback until kafka-down, of VERSION, on PORT; prints its address
	@deploy/kafka/up.sh "$(VERSION)" "$(PORT)"

kafka-down: ## stops it and removes its data
	@deploy/kafka/down.sh "$(VERSION)" "$(PORT)"

kafka-test: ## the tests of topics/kafka alone, those on a real Kafka, with VERSION
	MILLRACE_TEST_FAKE=off $(WITH_KAFKA) $(TEST) -timeout 15m ./topics/kafka/...

# A test fails on a page of docs/ that is not what the code says.
check: lint test ## what CI runs

tools: servers watchers ## what lint, bench and tests need, into bin/
	@$(call install,golangci-lint,github.com/golangci/golangci-lint/v2,$(GOLANGCI_LINT),/cmd/golangci-lint)
	@$(call install,govulncheck,golang.org/x/vuln,$(GOVULNCHECK),/cmd/govulncheck)
	@$(call install,benchstat,golang.org/x/perf,$(BENCHSTAT),/cmd/benchstat)

servers: # NATS servers that tests run beside the embedded one: ours, and one that is too old
	@$(call there,nats-server,$(NATS_MODULE),$(NATS)) || \
	  { echo "building nats-server $(NATS)"; go build -o bin/nats-server $(NATS_MODULE); }
	@$(call there,nats-server-2.11,$(NATS_MODULE),$(OLD_NATS)) || \
	  { echo "installing nats-server $(OLD_NATS)"; mkdir -p bin/old; \
	    GOBIN=$(CURDIR)/bin/old go install $(NATS_MODULE)@$(OLD_NATS); \
	    mv bin/old/nats-server bin/nats-server-2.11; rmdir bin/old; }

watchers: # Prometheus and promtool, which the files of deploy/ are tried with
	@$(call watcher,promtool)
	@$(call watcher,prometheus)

# watcher,NAME: at the version that deploy/tools pins, without the clouds that it could
# find services in.
watcher = $(call there,$(1),$(PROMETHEUS_MODULE),$(PROMETHEUS)) || \
	  { echo "building $(1) $(PROMETHEUS)"; go build -C deploy/tools -tags remove_all_sd -o ../../bin/$(1) $(PROMETHEUS_MODULE)/cmd/$(1); }

# there,NAME,MODULE,VERSION: bin/NAME is that version, built with our toolchain.
there = go version -m bin/$(1) 2>/dev/null | awk -v go="$$(go env GOVERSION)" \
	  'NR == 1 { same = $$2 == go } $$1 == "mod" && $$2 == "$(2)" && $$3 == "$(3)" { found = same } END { exit !found }'

# install,NAME,MODULE,VERSION,PACKAGE
install = $(call there,$(1),$(2),$(3)) || \
	  { echo "installing $(1) $(3)"; GOBIN=$(CURDIR)/bin go install $(2)$(4)@$(3); }
