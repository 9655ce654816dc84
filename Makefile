# sendlog needs Go and make. `make` alone says what there is to do.

GO        ?= go
FUZZTIME  ?= 10s
BENCHTIME ?= 3s
EVENTS    ?= 1000000
VERSION   ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),dev)

# Where the time of a busy house goes, for the compiler (docs/benchmarks.md).
PROFILE := $(CURDIR)/deploy/sendlog.pgo

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# Modules of their own inside this one. They hold test stand-ins whose
# dependencies must not reach the product.
NESTED := $(patsubst %/go.mod,%,$(wildcard internal/*/go.mod))

# Packages in which goroutines meet. The race detector needs a C compiler.
CONCURRENT := ./api/... ./cmd/... ./dispatch/... ./domain/... ./internal/... ./projections/... ./streams/...

.DEFAULT_GOAL := help
.PHONY: help run test fidelity race lint fuzz storm fair bench bench-send bench-peer hotlog cover build image clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## start the whole system, nothing to install: log, store, pretend Meta, demo tenant
	@exec bin/sendlog dev

test: ## run every test; no outside service, under 5 minutes on two cores
	$(GO) test -timeout 5m ./...

fidelity: internal/cloudclient/node_modules ## let a public client of the Cloud API talk to the pretend Meta and to sendlog (needs npm)
	@$(GO) build -o bin/sendlog-fidelity ./cmd/sendlog
	cd internal/cloudclient && SENDLOG=$(CURDIR)/bin/sendlog-fidelity node --test --test-reporter=spec

internal/cloudclient/node_modules: internal/cloudclient/package-lock.json
	@cd internal/cloudclient && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

race: ## run the concurrent packages under the race detector
	$(GO) test -race -timeout 10m $(CONCURRENT)

lint: ## gofmt, go vet and staticcheck
	@echo "gofmt -l"
	@unformatted=$$(find . -name '*.go' -not -path '*/testdata/*' -exec "$$($(GO) env GOROOT)/bin/gofmt" -l {} +); \
		if [ -n "$$unformatted" ]; then echo "not formatted (run gofmt -w):"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	@set -e; for module in $(NESTED); do echo "go vet in $$module"; (cd $$module && $(GO) vet ./...); done
	$(GO) run $(STATICCHECK) ./...

fuzz: ## fuzz every target for FUZZTIME (10s)
	@set -e; grep -r --include='*_test.go' -o '^func Fuzz[A-Za-z0-9_]*' . | sort | \
	while IFS=: read -r file func; do \
		target=$${func#func }; echo "== $$target in $$(dirname $$file), $(FUZZTIME)"; \
		$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) "$$(dirname $$file)" </dev/null; \
	done

storm: ## kill -9 a process KILLS times (50), in good weather, with every fault of Meta, and under REQUESTS (10000) keyed requests; account for each
	SENDLOG_KILLS=$(or $(KILLS),50) SENDLOG_REQUESTS=$(or $(REQUESTS),10000) \
		$(GO) test -timeout 30m -count=1 -v -run '^(TestKillNine|TestFaultStorm|TestKeysUnderKills|TestStoppedOwner)$$' ./cmd/sendlog

bench-send: ## measure request to recorded outcome, house, pretend Meta and load in processes of their own
	$(GO) test -pgo=$(PROFILE) -run '^$$' -bench '^BenchmarkSend$$' -benchtime 1x -count $(or $(COUNT),1) -timeout 30m ./cmd/sendlog

bench-peer: ## the same beside the usual design (Express, BullMQ, Redis) in one run; needs redis-server and node
	@for need in redis-server node npm; do command -v $$need >/dev/null || missing="$$missing $$need"; done; \
		if [ -n "$$missing" ]; then echo "bench-peer needs$$missing: install Redis 6.2 or newer and Node.js 20 or newer"; exit 1; fi
	npm install --prefix bench/peer --no-package-lock --no-audit --no-fund --silent
	SENDLOG_PEER=$(CURDIR)/bench/peer $(MAKE) bench-send

fair: ## measure a quiet tenant beside QUEUED (100000) messages on one number, with a kill -9 between
	SENDLOG_FAIR=$(or $(QUEUED),100000) $(GO) test -timeout 120m -count=1 -v -run '^TestQuietTenant$$' ./cmd/sendlog

bench: ## run the benchmarks, each for BENCHTIME (3s)
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) \
		$$(grep -r --include='*_test.go' -l '^func Benchmark' . | xargs -n1 dirname | sort -u)

hotlog: ## measure archiving, and a restart after a kill with EVENTS (1000000) hot and with a tenth of them
	SENDLOG_HOTLOG=$(EVENTS) $(GO) test -run '^TestRestartCostsTheHotWindow$$' -v -timeout 30m ./streams

cover: ## show how much of each function the tests reach; coverage.out for the browser view
	$(GO) test -timeout 10m -coverprofile coverage.out ./...
	$(GO) tool cover -func coverage.out

build: ## build bin/sendlog: static, reproducible, knows its version
	CGO_ENABLED=0 $(GO) build -trimpath -pgo=$(PROFILE) -ldflags "-s -w -X main.version=$(VERSION)" -o bin/sendlog ./cmd/sendlog

image: ## build the container image sendlog:VERSION (needs Docker)
	docker build --build-arg VERSION=$(VERSION) --tag sendlog:$(VERSION) .

clean: ## remove what was built; ./data, the log of `make run`, stays
	rm -rf bin tmp coverage.out internal/cloudclient/node_modules
