#!/usr/bin/env bash
# Memory does not depend on the size of a blob: a layer of 2 GiB is pushed, pulled, and pulled through a mirror of the
# registry, and neither process grows by more than 64 MiB.
source "$(dirname "${BASH_SOURCE[0]}")/kit.sh"

LAYER=$((2 << 30))
ALLOWED_KB=$((64 << 10))
peak_kb() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status"; }
grew_little() { # PID KB-BEFORE
  local now; now=$(peak_kb "$1")
  echo "from $2 kB to $now kB"
  [ $((now - $2)) -le $ALLOWED_KB ]
}
layer() { head -c $LAYER /dev/zero; }
pulled_digest() { curl -sf "http://$1" | sha256sum | cut -d' ' -f1; }

DIGEST=$(layer | sha256sum | cut -d' ' -f1)
start_seawall
ORIGIN=$SEAWALL_PID ORIGIN_ADDRESS=$REGISTRY
status GET /v2/ >/dev/null
BEFORE=$(peak_kb "$ORIGIN")
status POST /v2/team/big/blobs/uploads/ >/dev/null
same "a streamed layer of 2 GiB is taken" 202 "$(layer | status PATCH "$(header location)" -H 'Content-Type: application/octet-stream' -T -)"
same "it is finished" 201 "$(status PUT "$(header location)?digest=sha256:$DIGEST")"
check "the push does not show in memory" grew_little "$ORIGIN" "$BEFORE"
same "it is pulled unchanged" "$DIGEST" "$(pulled_digest "$ORIGIN_ADDRESS/v2/team/big/blobs/sha256:$DIGEST")"
check "the pull does not show in memory" grew_little "$ORIGIN" "$BEFORE"

# A second Seawall mirrors the first.
UPSTREAM=$ORIGIN_ADDRESS REGISTRY=127.0.0.1:$(free_port) DATA=$HERE/mirror
rm -f "$HERE/seawall.yml"
start_seawall
status GET /v2/ >/dev/null
BEFORE=$(peak_kb "$SEAWALL_PID")
same "it is pulled through a mirror unchanged" "$DIGEST" "$(pulled_digest "$REGISTRY/v2/docker.io/team/big/blobs/sha256:$DIGEST")"
check "the mirror's fetch does not show in its memory" grew_little "$SEAWALL_PID" "$BEFORE"
finish
