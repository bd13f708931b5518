# convoview: `make help` lists what there is to do.
SHELL := /bin/sh
.DEFAULT_GOAL := help

GO ?= go
TOOL := $(GO) tool -modfile=tools/go.mod
ENGINE := node_modules/.package-lock.json
KAFKA := tools/kafka/jars/.complete
ASYNCAPI := tools/asyncapi/node_modules/.package-lock.json
COMMANDS := projector query sandbox chatload
FUZZTIME ?= 30s
SEED ?= 1
RUNS ?= 10000
ENGINE_RUNS ?= 20
COUNT ?= 1
VULNDB ?= https://vuln.go.dev

# Those whose tests read or write Kafka.
KAFKA_PACKAGES := internal/sandbox internal/sandbox/sandboxtest internal/sandbox/apachekafka \
	internal/ingest internal/rebuild internal/e2e cmd/sandbox cmd/projector cmd/chatload

.PHONY: help demo up test test-kafka test-full chaos kafka bench fuzz lint check vuln generate generate-check build clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## a minute of generated chat, live in the terminal; leaves nothing running
	@bin/chatload demo

up: build ## the whole stack on the usual ports, in the foreground until Ctrl-C
	@bin/chatload up

test: $(ENGINE) ## every test, on the real engines
	$(GO) test -timeout 20m ./...
	cd client && $(GO) test -timeout 10m ./...
	cd deploy/grafana && $(GO) test -timeout 10m ./...
	cd deploy && $(GO) test ./...

test-kafka: $(ENGINE) $(KAFKA) ## the tests that need Kafka, on Apache Kafka
	$(GO) test -tags kafka -timeout 15m $(addprefix ./,$(KAFKA_PACKAGES))

test-full: $(ENGINE) ## what takes long: a chat of 400,000 events, a group of 100,000 members
	$(GO) test -timeout 3h -v -run '^Test(Chat|Size)_' ./internal/e2e -events 400000 -full

chaos: $(ENGINE) ## crash tests: RUNS=10000 runs, ENGINE_RUNS=20 more on the real engines, drawn from SEED=1 on
	$(GO) test -count=$(COUNT) -failfast -timeout 3h -v -run '^TestChaos(_RealEngines)?$$' ./internal/chaos \
		-seed $(SEED) -runs $(RUNS) -engine-runs $(ENGINE_RUNS)

# Standard output has the figures alone: make bench | tee results.jsonl
bench: ## measures the built commands; GOALS="list_hot sync" only some of it
	@$(MAKE) -s build >&2
	@$(GO) run ./bench $(if $(GOALS),--goals "$(GOALS)")

fuzz: ## every fuzz target in turn, FUZZTIME=30s each
	@grep -r --include=fuzz_test.go '^func Fuzz' internal cmd | sed 's|/[^/]*:func \(Fuzz[A-Za-z]*\).*| \1|' | \
	while read -r package target; do \
		echo "$$package $$target"; \
		$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s ./$$package </dev/null || exit 1; \
	done

lint: $(ASYNCAPI) ## golangci-lint, buf lint and buf breaking, and AsyncAPI's own parser
	$(TOOL) golangci-lint run ./...
	cd client && $(GO) tool -modfile=../tools/go.mod golangci-lint run ./...
	cd deploy && $(GO) tool -modfile=../tools/go.mod golangci-lint run ./...
	cd deploy/grafana && $(GO) tool -modfile=../../tools/go.mod golangci-lint run ./...
	$(TOOL) buf lint
	$(TOOL) buf breaking --against schemas/chat/v1/released.binpb
	cd tools/asyncapi && node validate.mjs ../../schemas/asyncapi.yaml

check: lint generate-check vuln ## all that needs no test of the code: lint, vuln, generate-check, and that the docs are true
	$(GO) test ./docs

vuln: ## known vulnerabilities in code that is called, by VULNDB=https://vuln.go.dev if that can be reached
	@if ! curl -fsSL --max-time 20 -o /dev/null $(VULNDB)/index/db.json; then \
		echo 'NOT CHECKED for vulnerabilities: there is no database at $(VULNDB)' >&2; exit; fi; \
	set -ex; for module in . client deploy deploy/grafana; do $(TOOL) govulncheck -db $(VULNDB) -C $$module ./...; done

generate: ## write again what is generated: Go code of the schemas, JSON Schema of events
	$(TOOL) buf generate
	$(GO) test ./internal/events -run '^TestJSONSchema$$' -update

generate-check: generate ## fail when what is generated differs from what is committed
	git diff --exit-code -- schemas

kafka: $(KAFKA) ## bring Apache Kafka, for test-kafka and bin/sandbox --kafka=apache

build: $(ENGINE) ## the commands, into bin/
	$(GO) build -o bin/ $(addprefix ./cmd/,$(COMMANDS))

clean: ## remove what was built and installed here
	rm -rf bin node_modules tools/asyncapi/node_modules tools/kafka/jars

# libchdb, the ClickHouse engine of sandbox and tests, comes as an npm package.
$(ENGINE): package.json package-lock.json
	npm ci
	@touch $@

# So does AsyncAPI's parser.
$(ASYNCAPI): tools/asyncapi/package.json tools/asyncapi/package-lock.json
	cd tools/asyncapi && npm ci
	@touch $@

# Apache Kafka comes as jars, from Maven.
$(KAFKA): tools/kafka/pom.xml
	rm -rf $(@D)
	mvn -B -q -f $< dependency:copy-dependencies
	@touch $@
