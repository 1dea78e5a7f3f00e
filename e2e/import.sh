#!/usr/bin/env bash
# One root, two registries in turn: docker-registry fills it, Seawall adopts it and goes on, gives the link files back, and
# docker-registry serves it again; then once more. Nothing is copied, and nothing comes back that was deleted.
source "$(dirname "${BASH_SOURCE[0]}")/kit.sh"
ROOT=$HERE/root
REGISTRY=127.0.0.1:$(free_port)
COPY=(skopeo --insecure-policy copy -q --src-tls-verify=false --dest-tls-verify=false)
BLOBS=$ROOT/docker/registry/v2/blobs

cat >seawall.yml <<YAML
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $ROOT}, delete: {enabled: true}}
http: {addr: $REGISTRY}
mirrors: []
YAML

# Debian's docker-registry on the root, with deletes allowed, at the address that Seawall has too.
cat >distribution.yml <<YAML
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: $ROOT}, delete: {enabled: true}}
http: {addr: $REGISTRY}
YAML
start_distribution() {
  docker-registry serve "$HERE/distribution.yml" >>"$HERE/distribution.log" 2>&1 &
  DISTRIBUTION_PID=$!
  STARTED+=("$DISTRIBUTION_PID")
  until_true 15 answers "$REGISTRY" || { echo "docker-registry does not start"; tail "$HERE/distribution.log"; exit 1; }
}
start_seawall_ready() { start_seawall; check "Seawall is ready" until_true 60 curl -sf "http://$REGISTRY/readyz"; }

# make_image NAME [LAYERS] makes a small image of its own with a layer that all have in common.
make_image() {
  local layer layout=$HERE/$1
  umoci init --layout "$layout" && umoci new --image "$layout:1" && umoci insert --image "$layout:1" "$HERE/common" /common &&
  umoci config --image "$layout:1" --os linux --architecture "$NATIVE" --author "$1" || return 1
  for layer in $(seq "${2:-1}"); do
    head -c 200000 /dev/urandom >"$HERE/random" && umoci insert --image "$layout:1" "$HERE/random" "/random-$layer" || return 1
  done
}
raw_digest() { skopeo --insecure-policy inspect --raw --tls-verify=false "docker://$REGISTRY/$1" | sha256sum | cut -d' ' -f1; }
# pulled REPOSITORY:TAG prints the digest under which a whole image is pulled, blobs and all.
pulled() {
  rm -rf "$HERE/pulled"
  "${COPY[@]}" --all "docker://$REGISTRY/$1" "dir:$HERE/pulled" >"$HERE/output" 2>&1 || { echo "not pulled"; return; }
  raw_digest "$1"
}
remember() { local image; for image in "$@"; do DIGESTS[$image]=$(raw_digest "$image"); done; }
# all_pulled WHO IMAGE… compares what is pulled with what is remembered.
all_pulled() {
  local who=$1 image; shift
  for image in "$@"; do same "$who gives $image as it was" "${DIGESTS[$image]}" "$(pulled "$image")"; done
}
none_pulled() {
  local who=$1 image; shift
  for image in "$@"; do same "$who has no $image" 404 "$(status GET "/v2/${image%:*}/manifests/${image##*:}" "${ACCEPT[@]}")"; done
}
blob_files() { find "$BLOBS" -name data | sort; }
inodes() { find "$BLOBS" -name data -printf '%i %p\n' | sort; }
link_files() { find "$ROOT/docker/registry/v2/repositories" -name link -printf '%p ' -exec cat {} \; -printf '\n' | sort; }
seawall_on_root() { "$SEAWALL" "$@" --config "$HERE/seawall.yml"; }
declare -A DIGESTS

echo common >common
{ make_image one 2 && make_image two && make_image three && make_image four && make_image five; } >make.log 2>&1 || { tail make.log; exit 1; }

start_distribution
check "docker-registry takes an image" "${COPY[@]}" "oci:$HERE/one:1" "docker://$REGISTRY/team/one:1"
check "and a second tag of it" "${COPY[@]}" "oci:$HERE/one:1" "docker://$REGISTRY/team/one:also"
check "and an image in a repository below another" "${COPY[@]}" "oci:$HERE/two:1" "docker://$REGISTRY/team/one/below:1"
check "and the same image elsewhere, whose blobs are mounted" "${COPY[@]}" "docker://$REGISTRY/team/one:1" "docker://$REGISTRY/team/mounted:1"
check "and an image of docker's types" "${COPY[@]}" --format v2s2 "oci:$HERE/three:1" "docker://$REGISTRY/team/docker:1"
check "and an image for several platforms" "${COPY[@]}" --all "docker://$REGISTRY/team/one:1" "docker://$REGISTRY/team/multi:native"
check "and its second platform" "${COPY[@]}" "oci:$HERE/four:1" "docker://$REGISTRY/team/multi:other"
child() { jq -n --arg d "sha256:$(raw_digest "$1")" --argjson s "$(skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/$1" | wc -c)" --arg a "$2" \
  '{mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $d, size: $s, platform: {os: "linux", architecture: $a}}'; }
jq -n --argjson a "$(child team/multi:native "$NATIVE")" --argjson b "$(child team/multi:other "$OTHER")" \
  '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: [$a, $b]}' >index.json
same "and the index of both" 201 "$(status PUT /v2/team/multi/manifests/all -H 'Content-Type: application/vnd.oci.image.index.v1+json' --data-binary @index.json)"
check "and an image that is deleted again" "${COPY[@]}" "oci:$HERE/five:1" "docker://$REGISTRY/team/one:deleted"
GONE=$(raw_digest team/one:deleted)
same "which is deleted" 202 "$(status DELETE "/v2/team/one/manifests/sha256:$GONE")"
printf 'pushed by another digest' >other
OTHER_DIGEST512=sha512:$(sha512sum other | cut -d' ' -f1)
status POST /v2/team/other/blobs/uploads/ >/dev/null
same "and a blob by its sha512" 201 "$(status PUT "$(header location)&digest=$OTHER_DIGEST512" -H 'Content-Type: application/octet-stream' --data-binary @other)"
FIRST=(team/one:1 team/one:also team/one/below:1 team/mounted:1 team/docker:1 team/multi:all team/multi:native)
remember "${FIRST[@]}"
stop "$DISTRIBUTION_PID"
BEFORE=$(inodes)

"$SEAWALL" import "$ROOT" --dry-run -o json >dry.json 2>dry.err
same "a dry run finds all tags" 8 "$(jq .tags dry.json)"
same "and nothing that cannot be used" 0 "$(jq '.unusable | length' dry.json)"
same "and makes no file" "docker" "$(ls "$ROOT")"

start_seawall_ready
all_pulled Seawall "${FIRST[@]}"
none_pulled Seawall team/one:deleted
same "the blob is there by its sha512" 200 "$(status GET "/v2/team/other/blobs/$OTHER_DIGEST512")"
same "with its bytes" "$(sha256 other)" "$(sha256 body)"
same "no blob was copied or moved" "$BEFORE" "$(inodes | grep -v /sha512/)"
same "the catalog is the same" '["team/docker","team/mounted","team/multi","team/one","team/one/below"]' \
  "$(curl -s "http://$REGISTRY/v2/_catalog" | jq -c .repositories)"
kill_seawall
start_seawall_ready
all_pulled "after a kill Seawall" team/multi:all

check "Seawall takes a new image" "${COPY[@]}" "oci:$HERE/five:1" "docker://$REGISTRY/team/new:1"
check "and moves a tag" "${COPY[@]}" "oci:$HERE/four:1" "docker://$REGISTRY/team/one:also"
check "and an image by tag and mount" "${COPY[@]}" "docker://$REGISTRY/team/docker:1" "docker://$REGISTRY/team/mounted:docker"
DELETED=$(raw_digest team/one/below:1)
same "an image is deleted through Seawall" 202 "$(status DELETE "/v2/team/one/below/manifests/sha256:$DELETED")"
same "and a tag" 202 "$(status DELETE /v2/team/multi/manifests/native)"
SECOND=(team/one:1 team/one:also team/mounted:1 team/mounted:docker team/docker:1 team/multi:all team/new:1)
remember "${SECOND[@]}"
check "the links are exported beside the server" seawall_on_root export-links
LINKS=$(link_files)
seawall_on_root export-links -o json >again.json 2>again.err
same "a second time there is nothing to do" "0 0" "$(jq -r '"\(.written) \(.removed)"' again.json)"
same "and the links are the same" "$LINKS" "$(link_files)"
stop "$SEAWALL_PID"

start_distribution
all_pulled "docker-registry again" "${SECOND[@]}"
none_pulled "docker-registry again" team/one/below:1 team/multi:native team/one:deleted
check "docker-registry takes another image" "${COPY[@]}" "oci:$HERE/two:1" "docker://$REGISTRY/team/later:1"
check "and moves a tag" "${COPY[@]}" "oci:$HERE/three:1" "docker://$REGISTRY/team/new:1"
SECOND+=(team/later:1)
remember "${SECOND[@]}"
stop "$DISTRIBUTION_PID"

"$SEAWALL" import "$ROOT" -o json >third.json 2>third.err
check "what docker-registry wrote since is imported" jq -e '.changed > 0 and (.unusable | length) == 0' third.json
"$SEAWALL" import "$ROOT" -o json >fourth.json 2>fourth.err
same "and a second time nothing is new" 0 "$(jq .changed fourth.json)"
start_seawall_ready
all_pulled "Seawall again" "${SECOND[@]}"
none_pulled "Seawall again" team/one/below:1 team/multi:native team/one:deleted
refuse "an import beside the running server is refused" "$SEAWALL" import "$ROOT"
stop "$SEAWALL_PID"
check "the links are exported where no server runs" seawall_on_root export-links
start_distribution
all_pulled "docker-registry for the last time" "${SECOND[@]}"
stop "$DISTRIBUTION_PID"
check "docker-registry's own collector finds its root in order" docker-registry garbage-collect "$HERE/distribution.yml"
start_distribution
all_pulled "after it docker-registry" "${SECOND[@]}"
finish
