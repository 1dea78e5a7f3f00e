#!/usr/bin/env bash
# podman with Seawall as docker.io's mirror in registries.conf, and directly: pull, look inside, push, pull again.
source "$(dirname "${BASH_SOURCE[0]}")/kit.sh"
# shellcheck source=/dev/null
source "$E2E/engines.sh"
write_config
configure_podman
IMAGE=docker.io/library/seawall-e2e

start_upstream
start_seawall
check "an index is pulled through the mirror of registries.conf" "${PODMAN[@]}" pull -q "$IMAGE:multi"
check "the files of the image are there" podman_marker_inside "$IMAGE:multi"
check "a schema 2 image is pulled" "${PODMAN[@]}" pull -q "$IMAGE:schema2"
check "a zstd image is pulled" "${PODMAN[@]}" pull -q "$IMAGE:zstd"
check "the other platform is pulled" "${PODMAN[@]}" pull -q --arch "$OTHER" "$REGISTRY/library/seawall-e2e:multi"
check "the images are removed" podman_forget
check "an image is pulled directly" "${PODMAN[@]}" pull -q "$REGISTRY/docker.io/library/seawall-e2e:multi"
check "an image is tagged" "${PODMAN[@]}" tag "$REGISTRY/docker.io/library/seawall-e2e:multi" "$REGISTRY/team/podman:1"
check "an image is pushed beside the mirror" "${PODMAN[@]}" push -q "$REGISTRY/team/podman:1"
check "an image is pushed as schema 2" "${PODMAN[@]}" push -q --format v2s2 "$REGISTRY/team/podman:1" "$REGISTRY/team/podman:schema2"
check "an image is pushed with zstd layers" "${PODMAN[@]}" push -q --compression-format zstd "$REGISTRY/team/podman:1" "$REGISTRY/team/podman-zstd:1"

stop_upstream
kill_seawall
start_seawall
check "the images are removed again" podman_forget
check "with the upstream stopped and after a kill -9 the mirrored image is pulled" "${PODMAN[@]}" pull -q "$IMAGE:multi"
check "the files of the cached image are there" podman_marker_inside "$IMAGE:multi"
check "the pushed image is pulled" "${PODMAN[@]}" pull -q "$REGISTRY/team/podman:1"
check "the files of the pushed image are there" podman_marker_inside "$REGISTRY/team/podman:1"
check "the pushed schema 2 image is pulled" "${PODMAN[@]}" pull -q "$REGISTRY/team/podman:schema2"
check "the pushed zstd image is pulled" "${PODMAN[@]}" pull -q "$REGISTRY/team/podman-zstd:1"
refuse "an image that nobody has is not pulled" "${PODMAN[@]}" pull -q "$REGISTRY/team/none:1"
same "the pushed image is deleted" 202 "$(status DELETE "/v2/team/podman/manifests/$(digest_of team/podman:1)")"
podman_forget >/dev/null 2>&1
refuse "a deleted image is gone" "${PODMAN[@]}" pull -q "$REGISTRY/team/podman:1"
finish
