#!/usr/bin/env bash
# containerd of our own with hosts.toml naming Seawall for docker.io: pull (with its `ns=`), unpack, push, pull again.
source "$(dirname "${BASH_SOURCE[0]}")/kit.sh"
# shellcheck source=/dev/null
source "$E2E/engines.sh"
IMAGE=docker.io/library/seawall-e2e
LOCAL=$REGISTRY/team/containerd

start_upstream
start_seawall
start_containerd
check "an index is pulled through hosts.toml" "${CTR_PULL[@]}" "$IMAGE:multi"
same "its digest is the upstream's" "$MULTI_DIGEST" "$(ctr_digest "$IMAGE:multi")"
check "the files of the image are there" ctr_marker_inside "$IMAGE:multi"
check "all platforms are pulled" "${CTR_PULL[@]}" --all-platforms "$IMAGE:multi"
check "a zstd image is pulled and unpacked" "${CTR_PULL[@]}" "$IMAGE:zstd"
check "a schema 2 image is pulled and unpacked" "${CTR_PULL[@]}" "$IMAGE:schema2"
check "an index is pulled directly" "${CTR_PULL[@]}" "$REGISTRY/docker.io/library/seawall-e2e:multi"
check "an index is pushed with all platforms" "${CTR[@]}" images push --plain-http "$LOCAL:multi" "$IMAGE:multi"
same "the pushed index has the upstream's digest" "$MULTI_DIGEST" "$(digest_of team/containerd:multi)"
check "a zstd image is pushed" "${CTR[@]}" images push --plain-http "$LOCAL:zstd" "$IMAGE:zstd"
check "a schema 2 image is pushed" "${CTR[@]}" images push --plain-http "$LOCAL:schema2" "$IMAGE:schema2"

stop_upstream
check "the images are removed" ctr_forget
check "with the upstream stopped the index is pulled through hosts.toml" "${CTR_PULL[@]}" "$IMAGE:multi"
kill_seawall
start_seawall
check "the images are removed again" ctr_forget
check "after a kill -9 the index is pulled with the upstream still stopped" "${CTR_PULL[@]}" "$IMAGE:multi"
check "after a kill -9 the pushed index is pulled" "${CTR_PULL[@]}" "$LOCAL:multi"
check "after a kill -9 the pushed zstd image is pulled" "${CTR_PULL[@]}" "$LOCAL:zstd"
check "the files of the pushed image are there" ctr_marker_inside "$LOCAL:zstd"
same "the pushed index is deleted" 202 "$(status DELETE "/v2/team/containerd/manifests/$MULTI_DIGEST")"
refuse "a deleted image is gone" "${CTR_PULL[@]}" "$LOCAL:multi"
check "its neighbour stays" "${CTR_PULL[@]}" "$LOCAL:schema2"
finish
