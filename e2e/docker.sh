#!/usr/bin/env bash
# A docker daemon of our own, with Seawall in `registry-mirrors`, and directly: pull, look inside, push, pull again.
source "$(dirname "${BASH_SOURCE[0]}")/kit.sh"
# shellcheck source=/dev/null
source "$E2E/engines.sh"
IMAGE=seawall-e2e
LOCAL=$REGISTRY/team/docker
id_of() { docker image inspect -f '{{.Id}}' "$1"; }

start_upstream
start_seawall
start_dockerd
check "an index is pulled through registry-mirrors" docker pull -q "$IMAGE:multi"
same "the image is the one of this platform" "$CONFIG_DIGEST" "$(id_of "$IMAGE:multi")"
same "the repository digest is the upstream's" "$MULTI_DIGEST" "$(docker_digest "$IMAGE:multi")"
check "the files of the image are there" docker_marker_inside "$IMAGE:multi"
check "a schema 2 image is pulled through registry-mirrors" docker pull -q "$IMAGE:schema2"
check "an image is pulled by digest" docker pull -q "$IMAGE@$NATIVE_DIGEST"
check "the images are removed" docker_forget
check "an index is pulled directly" docker pull -q "$REGISTRY/docker.io/library/$IMAGE:multi"
check "a short name of the default upstream is pulled directly" docker pull -q "$REGISTRY/$IMAGE:schema2"
# The daemon unpacks zstd since version 23; before that it can only carry it.
if [ "$(docker version -f '{{.Server.Version}}' | cut -d. -f1)" -ge 23 ]; then
  check "a zstd image is pulled directly" docker pull -q "$REGISTRY/library/$IMAGE:zstd"
fi
check "an image is tagged" docker tag "$REGISTRY/docker.io/library/$IMAGE:multi" "$LOCAL:1"
check "an image is pushed beside the mirror" docker push -q "$LOCAL:1"
check "a second push finds its layers there" docker push -q "$LOCAL:1"
check "an image is committed" docker commit "$(docker create -e E2E=1 "$LOCAL:1")" "$LOCAL:2"
check "a second tag is pushed" docker push -q "$LOCAL:2"
refuse "a push to a mirrored name is refused" docker push -q "$REGISTRY/docker.io/library/$IMAGE:multi"

stop_upstream
check "the images are removed again" docker_forget
check "with the upstream stopped the index is pulled through registry-mirrors" docker pull -q "$IMAGE:multi"
kill_seawall
start_seawall
check "the images are removed once more" docker_forget
check "after a kill -9 the index is pulled with the upstream still stopped" docker pull -q "$IMAGE:multi"
check "the files of the cached image are there" docker_marker_inside "$IMAGE:multi"
check "after a kill -9 the pushed image is pulled" docker pull -q "$LOCAL:1"
same "it is the image that was pushed" "$CONFIG_DIGEST" "$(id_of "$LOCAL:1")"
check "the files of the pushed image are there" docker_marker_inside "$LOCAL:1"
same "the pushed image is deleted" 202 "$(status DELETE "/v2/team/docker/manifests/$(digest_of team/docker:1)")"
refuse "a deleted image is gone" docker pull -q "$LOCAL:1"
check "its neighbour stays" docker pull -q "$LOCAL:2"
finish
