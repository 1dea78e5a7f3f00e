#!/usr/bin/env bash
# Random walks of 10,000 operations with 20 seeds, on the server and on a model of it: nothing may differ.
# What is done and checked is in tests/model. MODEL_SEED chooses the first seed: the same ones without it, so that a change
# fails for what it changed; `MODEL_SEED=$RANDOM e2e/run model` walks where nobody walked before.
source "$(dirname "${BASH_SOURCE[0]}")/kit.sh"

# The walks are bound by the disk, and what they check is not.
TMPDIR=$(mktemp -d /dev/shm/model.XXXXXX 2>/dev/null || mktemp -d)
export TMPDIR MODEL_SEED=${MODEL_SEED:-1} MODEL_SEEDS=${MODEL_SEEDS:-20} MODEL_OPERATIONS=${MODEL_OPERATIONS:-10000}
echo "seeds from $MODEL_SEED on"
walked() {
  cargo test --quiet --manifest-path "$E2E/../Cargo.toml" --test stories -- --exact model::random_walks_end_where_the_model_says --nocapture 2>&1 | tee "$HERE/model.log"
  return "${PIPESTATUS[0]}"
}
check "$MODEL_SEEDS walks of $MODEL_OPERATIONS operations end where the model says" walked
check "and the walks were walked" grep -q "$MODEL_SEEDS seeds with $MODEL_OPERATIONS operations each, no difference" "$HERE/model.log"
rm -rf "$TMPDIR"
finish
