#!/usr/bin/env bash
# buildah: builds on a mirrored base, pushes the image and a manifest list, and finds both again.
source "$(dirname "${BASH_SOURCE[0]}")/kit.sh"
BUILDAH=(buildah --root "$HERE/root" --runroot "$HERE/runroot" --storage-driver vfs)
BASE=$REGISTRY/docker.io/library/seawall-e2e
TO=$REGISTRY/team/buildah
forget() { "${BUILDAH[@]}" rm --all; "${BUILDAH[@]}" rmi --all --force; }
# build FROM TAG commits the image FROM with one more file.
build() {
  local container; container=$("${BUILDAH[@]}" from -q --pull-always --tls-verify=false "$1") || return 1
  "${BUILDAH[@]}" copy -q "$container" "$HERE/file" /etc/built && "${BUILDAH[@]}" commit -q "$container" "$2" && "${BUILDAH[@]}" rm "$container"
}
built_inside() {
  local container at; container=$("${BUILDAH[@]}" from -q --pull-always --tls-verify=false "$1") && at=$("${BUILDAH[@]}" mount "$container") &&
  cmp "$at/etc/built" "$HERE/file" && grep -qx "$MARKER" "$at/etc/seawall-e2e"
}

head -c 100000 /dev/urandom >file
start_upstream
start_seawall
check "an image is built on a mirrored index" build "$BASE:multi" built
check "it is pushed" "${BUILDAH[@]}" push -q --tls-verify=false built "docker://$TO:1"
check "it is pushed as schema 2" "${BUILDAH[@]}" push -q --tls-verify=false --format v2s2 built "docker://$TO:schema2"
check "a zstd base is pulled" "${BUILDAH[@]}" pull -q --tls-verify=false "$BASE:zstd"
check "a manifest list is made" "${BUILDAH[@]}" manifest create list
check "a pushed image is added to it" "${BUILDAH[@]}" manifest add --tls-verify=false list "docker://$TO:1"
check "a mirrored image of the other platform is added to it" "${BUILDAH[@]}" manifest add --tls-verify=false --arch "$OTHER" list "docker://$BASE@$OTHER_DIGEST"
check "the list is pushed with all its images" "${BUILDAH[@]}" manifest push -q --all --tls-verify=false list "docker://$TO:list"
same "the pushed list is an index" 200 "$(status GET /v2/team/buildah/manifests/list "${ACCEPT[@]}")"
same "with two images" 2 "$(jq '.manifests | length' body)"

stop_upstream
kill_seawall
start_seawall
forget >/dev/null 2>&1
check "after a kill -9 the pushed image is pulled with its files" built_inside "$TO:1"
forget >/dev/null 2>&1
check "and the list too" built_inside "$TO:list"
forget >/dev/null 2>&1
check "with the upstream stopped an image is built on the cached base" build "$BASE:multi" again
same "the pushed image is deleted" 202 "$(status DELETE "/v2/team/buildah/manifests/$(digest_of team/buildah:schema2)")"
refuse "a deleted image is gone" "${BUILDAH[@]}" pull -q --tls-verify=false "$TO:schema2"
finish
