#!/usr/bin/env bash
# The protocol by hand: a mirrored pull byte for byte, from the cache with the upstream stopped, a push beside it, deletes.
source "$(dirname "${BASH_SOURCE[0]}")/kit.sh"
MULTI=/v2/library/seawall-e2e/manifests/multi

pull_by_tag() { status GET "$1" "${ACCEPT[@]}"; }
body_digest() { echo "sha256:$(sha256 "$HERE/body")"; }

start_upstream
start_seawall
same "the version check answers 200" 200 "$(status GET /v2/)"
same "a mirrored index is pulled by its tag" 200 "$(pull_by_tag "$MULTI")"
same "its bytes are the upstream's" "$MULTI_DIGEST" "$(body_digest)"
same "its digest is told in Docker-Content-Digest" "$MULTI_DIGEST" "$(header docker-content-digest)"
for name in docker.io/library/seawall-e2e seawall-e2e; do
  same "the same index is found under $name" 200 "$(pull_by_tag "/v2/$name/manifests/multi")"
done
same "the same index is found with ns=docker.io" 200 "$(pull_by_tag "$MULTI?ns=docker.io")"
same "the answer to ns= carries OCI-Namespace" docker.io "$(header oci-namespace)"
for shape in NATIVE OTHER SCHEMA2 ZSTD; do
  digest=${shape}_DIGEST
  same "the $shape manifest is pulled by digest" 200 "$(pull_by_tag "/v2/library/seawall-e2e/manifests/${!digest}")"
  same "the $shape manifest is unchanged" "${!digest}" "$(body_digest)"
done
pull_by_tag /v2/library/seawall-e2e/manifests/schema2 >/dev/null
same "a schema 2 manifest keeps its type" application/vnd.docker.distribution.manifest.v2+json "$(header content-type)"
same "a layer is pulled through" 200 "$(status GET "/v2/library/seawall-e2e/blobs/$LAYER_DIGEST")"
same "the layer's bytes have the digest asked for" "$LAYER_DIGEST" "$(body_digest)"
same "a layer answers HEAD" 200 "$(status HEAD "/v2/library/seawall-e2e/blobs/$LAYER_DIGEST")"
same "HEAD tells the layer's size" "$LAYER_SIZE" "$(header content-length)"
same "a tag the upstream does not have is 404" 404 "$(pull_by_tag /v2/library/seawall-e2e/manifests/none)"

# docker and containerd ask for the tag with HEAD and then for its digest, never for the tag itself.
same "a tag is resolved by HEAD alone" "$NATIVE_DIGEST" "$(digest_of library/seawall-e2e:native)"

stop_upstream
sleep 1.2 # longer than the freshness of the configuration: from here on the tag is stale
same "with the upstream stopped the tag is served from the cache" 200 "$(pull_by_tag "$MULTI")"
same "the cached index is unchanged" "$MULTI_DIGEST" "$(body_digest)"
check "a stale answer says so in Warning" grep -qi '^warning: *299' "$HERE/headers"
same "HEAD of the stale tag is answered from the cache too" 200 "$(status HEAD "$MULTI" "${ACCEPT[@]}")"
same "also with ns=docker.io" 200 "$(status HEAD "$MULTI?ns=docker.io" "${ACCEPT[@]}")"
same "a tag that was only ever asked for with HEAD is known too" "$NATIVE_DIGEST" "$(digest_of library/seawall-e2e:native)"
status HEAD "$MULTI" "${ACCEPT[@]}" >/dev/null
same "HEAD tells the cached digest" "$MULTI_DIGEST" "$(header docker-content-digest)"
same "the cached layer is served" 200 "$(status GET "/v2/library/seawall-e2e/blobs/$LAYER_DIGEST")"
kill_seawall
start_seawall
same "after a kill -9 the cached index is served with the upstream still stopped" 200 "$(pull_by_tag "$MULTI")"
same "after a kill -9 the cached layer is served" 200 "$(status GET "/v2/library/seawall-e2e/blobs/$LAYER_DIGEST")"
same "after a kill -9 the layer's bytes are whole" "$LAYER_DIGEST" "$(body_digest)"
same "what was never pulled cannot be served, and is no false 404" 5 "$(pull_by_tag /v2/library/other/manifests/x | cut -c1)"

head -c 3000000 /dev/urandom >blob
printf '{}' >config
same "a blob is pushed to a local name beside the mirror" 201 "$(push_blob team/app blob)"
same "a configuration is pushed" 201 "$(push_blob team/app config)"
jq -nc --arg c "sha256:$(sha256 config)" --arg l "sha256:$(sha256 blob)" '{schemaVersion: 2,
  mediaType: "application/vnd.oci.image.manifest.v1+json",
  config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $c, size: 2},
  layers: [{mediaType: "application/vnd.oci.image.layer.v1.tar", digest: $l, size: 3000000}]}' >manifest
TYPE=(-H 'Content-Type: application/vnd.oci.image.manifest.v1+json')
same "a manifest is pushed by tag" 201 "$(status PUT /v2/team/app/manifests/1 "${TYPE[@]}" --data-binary @manifest)"
same "the pushed manifest is pulled" 200 "$(pull_by_tag /v2/team/app/manifests/1)"
check "the pushed manifest is unchanged" cmp manifest body
same "a push to a mirrored name is refused" 405 "$(status PUT /v2/docker.io/library/seawall-e2e/manifests/own "${TYPE[@]}" --data-binary @manifest)"
kill_seawall
start_seawall
same "a pushed manifest survives a kill -9" 200 "$(pull_by_tag /v2/team/app/manifests/1)"
same "a pushed blob survives a kill -9" 200 "$(status GET "/v2/team/app/blobs/sha256:$(sha256 blob)")"
check "the pushed blob is unchanged" cmp blob body
same "a range of it is answered with 206" 206 "$(status GET "/v2/team/app/blobs/sha256:$(sha256 blob)" -H 'Range: bytes=1000000-1999999')"
check "the range holds the bytes asked for" cmp body <(tail -c +1000001 blob | head -c 1000000)
same "the blob is mounted into another repository" 201 "$(status POST "/v2/team/web/blobs/uploads/?mount=sha256:$(sha256 blob)&from=team/app")"
same "tags are listed" '["1"]' "$(status GET /v2/team/app/tags/list >/dev/null; jq -c .tags body)"
same "a tag is deleted" 202 "$(status DELETE /v2/team/app/manifests/1)"
same "a deleted tag is gone" 404 "$(status GET /v2/team/app/manifests/1 "${ACCEPT[@]}")"
same "its manifest is deleted by digest" 202 "$(status DELETE "/v2/team/app/manifests/sha256:$(sha256 manifest)")"
same "a blob is deleted" 202 "$(status DELETE "/v2/team/app/blobs/sha256:$(sha256 blob)")"
same "a deleted blob is gone from its repository" 404 "$(status GET "/v2/team/app/blobs/sha256:$(sha256 blob)")"
same "the mounted copy stays" 200 "$(status GET "/v2/team/web/blobs/sha256:$(sha256 blob)")"
start_upstream
same "with the upstream back, new content is pulled again" 200 "$(pull_by_tag "$MULTI")"
finish
