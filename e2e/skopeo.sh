#!/usr/bin/env bash
# skopeo: copies of every shape out of the mirror, into Seawall and back, and a delete.
source "$(dirname "${BASH_SOURCE[0]}")/kit.sh"
SKOPEO=(skopeo --insecure-policy)
COPY=("${SKOPEO[@]}" copy --src-tls-verify=false --dest-tls-verify=false)
FROM=docker://$REGISTRY/library/seawall-e2e
raw_digest() { "${SKOPEO[@]}" inspect --raw --tls-verify=false "$1" | sha256sum | cut -d' ' -f1; }

start_upstream
start_seawall
check "copy --all takes the whole index out of the mirror" "${COPY[@]}" --all "$FROM:multi" "oci:$HERE/multi:multi"
same "with both platforms" "$NATIVE $OTHER" "$("${SKOPEO[@]}" inspect --raw "oci:$HERE/multi:multi" | jq -r '[.manifests[].platform.architecture] | join(" ")')"
check "a zstd image is copied out of the mirror" "${COPY[@]}" "$FROM:zstd" "oci:$HERE/zstd:zstd"
check "a schema 2 image is copied out of the mirror" "${COPY[@]}" "$FROM:schema2" "dir:$HERE/schema2"
stop_upstream
check "with the upstream stopped the index is copied again" "${COPY[@]}" --all "$FROM:multi" "dir:$HERE/again"
kill_seawall
start_seawall
check "and again after a kill -9" "${COPY[@]}" --all "$FROM:multi" "dir:$HERE/third"

TO=docker://$REGISTRY/team/skopeo
check "the index is pushed with copy --all" "${COPY[@]}" --all "oci:$HERE/multi:multi" "$TO:multi"
same "the pushed index has the upstream's digest" "$MULTI_DIGEST" "sha256:$(raw_digest "$TO:multi")"
check "the zstd image is pushed" "${COPY[@]}" "oci:$HERE/zstd:zstd" "$TO:zstd"
same "the pushed zstd image has the upstream's digest" "$ZSTD_DIGEST" "sha256:$(raw_digest "$TO:zstd")"
check "the schema 2 image is pushed" "${COPY[@]}" "dir:$HERE/schema2" "$TO:schema2"
same "the pushed schema 2 image has the upstream's digest" "$SCHEMA2_DIGEST" "sha256:$(raw_digest "$TO:schema2")"
check "a cached image is copied from the mirror to a local name" "${COPY[@]}" "$FROM@$NATIVE_DIGEST" "docker://$REGISTRY/team/copy:1"
check "a copy between two local names mounts its blobs" "${COPY[@]}" --all "$TO:multi" "docker://$REGISTRY/team/second:multi"
kill_seawall
start_seawall
check "after a kill -9 the pushed index is pulled whole" "${COPY[@]}" --all "$TO:multi" "oci:$HERE/back:multi"
same "tags are listed" '["multi","schema2","zstd"]' "$("${SKOPEO[@]}" list-tags --tls-verify=false "$TO" | jq -c .Tags)"
check "an image is deleted" "${SKOPEO[@]}" delete --tls-verify=false "$TO:zstd"
refuse "a deleted image is gone" "${COPY[@]}" "$TO:zstd" "dir:$HERE/none"
start_upstream
check "with the upstream back the mirror goes on" "${COPY[@]}" "$FROM@$OTHER_DIGEST" "dir:$HERE/other"
finish
