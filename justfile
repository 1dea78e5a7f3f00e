# The ten commands people type. `just` alone lists them; each is one line that also works without just.

set positional-arguments

_list:
    @just --list --unsorted

# Start the server from the source tree: `just run config.yml`
run *arguments:
    cargo run --bin seawall -- serve "$@"

# Every test of the workspace; `just test referrers` runs those with that word in the name
test *arguments:
    cargo test --workspace "$@"

# Clippy for everything, warnings are errors
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# The house rules: arrows between rooms, sizes, module docs, imports
tidy:
    cargo xtask tidy

# Real clients against a real server (root, Debian 12): all suites, or those named: `just e2e docker podman`
e2e *suites:
    cargo build --bin seawall
    e2e/run "$@"

# Benchmarks beside other servers (docker-registry, nginx): all, or those named: `just bench mirror`
bench *arguments:
    cargo bench --workspace "$@"

# Format every file
fmt:
    cargo fmt --all

# Licences, advisories and banned crates (needs cargo-deny)
deny:
    cargo deny --workspace check

# The code's documentation, private parts included
docs:
    cargo doc --workspace --no-deps --document-private-items

# What must be green before a change is merged
ci:
    .ci/run
