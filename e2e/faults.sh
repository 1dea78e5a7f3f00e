#!/usr/bin/env bash
# A full disk, a second process on the same data, a polite stop: nothing is lost and everything is said.
source "$(dirname "${BASH_SOURCE[0]}")/kit.sh"

DATA=$HERE/small
mkdir "$DATA"
mount -t tmpfs -o size=96m tmpfs "$DATA" || exit 1
head -c 8000000 /dev/urandom >small.blob
head -c 40000000 /dev/urandom >large.blob
SMALL=sha256:$(sha256 small.blob)
printf '{}' >config

start_upstream
start_seawall
same "a blob is pushed while there is room" 201 "$(push_blob team/app small.blob)"
same "its configuration is pushed" 201 "$(push_blob team/app config)"
jq -nc --arg c "sha256:$(sha256 config)" --arg l "$SMALL" '{schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
  config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $c, size: 2},
  layers: [{mediaType: "application/vnd.oci.image.layer.v1.tar", digest: $l, size: 8000000}]}' >manifest
TYPE=(-H 'Content-Type: application/vnd.oci.image.manifest.v1+json')
same "its manifest is pushed" 201 "$(status PUT /v2/team/app/manifests/1 "${TYPE[@]}" --data-binary @manifest)"

# Ballast that is not ours leaves 20 MB.
fallocate -l "$(($(df --output=avail -B1 "$DATA" | tail -n 1) - 20000000))" "$DATA/ballast"
same "a push that does not fit is 507" 507 "$(push_blob team/app large.blob)"
check "the 507 carries the OCI error JSON" jq -e '.errors[0].code and .errors[0].message' body
refuse "the 507 names no path" grep -q "$HERE" body
same "reads go on: manifest" 200 "$(status GET /v2/team/app/manifests/1 "${ACCEPT[@]}")"
same "reads go on: blob" 200 "$(status GET "/v2/team/app/blobs/$SMALL")"
check "the blob read on a full disk is unchanged" cmp small.blob body

# Not a byte left: even the smallest write is refused, and reads do not notice.
dd if=/dev/zero of="$DATA/rest" bs=64k >/dev/null 2>&1
dd if=/dev/zero of="$DATA/crumbs" bs=1 >/dev/null 2>&1 &
CRUMBS=$!
until_true 20 is_ended "$CRUMBS" || kill "$CRUMBS"
wait "$CRUMBS"
same "with no byte left a push is 507" 507 "$(push_blob team/app large.blob)"
same "with no byte left reads go on" 200 "$(status GET "/v2/team/app/blobs/$SMALL")"
same "with no byte left the manifest is still there" 200 "$(status GET /v2/team/app/manifests/1 "${ACCEPT[@]}")"

rm -f "$DATA/ballast" "$DATA/rest" "$DATA/crumbs"
pushed() { [ "$(push_blob team/app large.blob)" = 201 ]; }
check "with space freed the same push succeeds without a restart" until_true 10 pushed
same "the pushed blob is pulled" 200 "$(status GET "/v2/team/app/blobs/sha256:$(sha256 large.blob)")"
check "the pushed blob is unchanged" cmp large.blob body
kill_seawall
start_seawall
same "what was pushed before the disk was full survives a kill -9" 200 "$(status GET "/v2/team/app/blobs/$SMALL")"

# A second process on the same data directory.
sed "s/addr: $REGISTRY/addr: 127.0.0.1:$(free_port)/" seawall.yml >second.yml
timeout 20 "$SEAWALL" serve second.yml >second.out 2>second.err </dev/null
same "a second process on the same data is refused" 1 "$?"
same "in one line" 1 "$(cat second.out second.err | wc -l)"
same "and the first goes on" 200 "$(status GET /v2/)"

# SIGTERM while a download runs, beside a connection that only idles.
exec 9<>"/dev/tcp/${REGISTRY%:*}/${REGISTRY#*:}"
printf 'GET /v2/ HTTP/1.1\r\nHost: %s\r\n\r\n' "$REGISTRY" >&9
curl -s -o part --limit-rate 12M "$(url "/v2/team/app/blobs/sha256:$(sha256 large.blob)")" &
CLIENT=$!
STARTED+=("$CLIENT")
part_read() { [ "$(stat -c %s part 2>/dev/null || echo 0)" -gt 1000000 ]; }
check "a download runs when the stop is asked for" until_true 10 part_read
BEFORE=$SECONDS
stop "$SEAWALL_PID"
same "SIGTERM ends with exit 0" 0 "$STATUS"
wait "$CLIENT"
same "the running download was finished" 0 "$?"
check "and is whole" cmp large.blob part
check "an idle connection did not delay the exit" test $((SECONDS - BEFORE)) -lt 9
exec 9>&-
start_seawall
BEFORE=$SECONDS
stop "$SEAWALL_PID"
same "an idle server ends with exit 0" 0 "$STATUS"
check "at once" test $((SECONDS - BEFORE)) -lt 3
finish
