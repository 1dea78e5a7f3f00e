#!/usr/bin/env bash
# Broken connections and a killed server: uploads go on at their byte, downloads at theirs, and nothing is sent twice.
source "$(dirname "${BASH_SOURCE[0]}")/kit.sh"

# next_byte prints the byte an open upload goes on at, from its Range header (`0-<last>`).
next_byte() {
  local range
  status GET "$LOCATION" >/dev/null
  range=$(header range)
  echo $((${range#*-} + 1))
}
begin() { status POST "/v2/team/app/blobs/uploads/" >/dev/null; LOCATION=$(header location); }
# patch FROM FILE sends the file as the chunk that begins at FROM.
patch() {
  local size; size=$(stat -c %s "$2")
  status PATCH "$LOCATION" -H 'Content-Type: application/octet-stream' -H "Content-Range: $1-$(($1 + size - 1))" --data-binary "@$2"
}
put() { case $LOCATION in *\?*) echo "$LOCATION&digest=$1" ;; *) echo "$LOCATION?digest=$1" ;; esac; }
rest_from() { tail -c +$(($1 + 1)) blob >rest; }
move_location() { local moved; moved=$(header location); [ -n "$moved" ] && LOCATION=$moved; }

head -c 20000000 /dev/urandom >blob
DIGEST=sha256:$(sha256 blob)
head -c 5000000 blob >first
start_upstream
start_seawall

begin
same "a first chunk is taken" 202 "$(patch 0 first)"; move_location
same "the upload's status tells its next byte" 5000000 "$(next_byte)"
kill_seawall
start_seawall
same "after a kill -9 the upload is still there" 204 "$(status GET "$LOCATION")"
same "after a kill -9 no acknowledged byte is lost" 5000000 "$(next_byte)"
same "a chunk at the wrong place is refused" 416 "$(patch 0 first)"
rest_from 5000000
same "the upload goes on at its byte" 202 "$(patch 5000000 rest)"; move_location
same "the upload is finished" 201 "$(status PUT "$(put "$DIGEST")")"
same "the resumed blob is pulled" 200 "$(status GET "/v2/team/app/blobs/$DIGEST")"
check "the resumed blob is unchanged" cmp blob body

# A client that vanishes in the middle of a streamed body.
head -c 20000000 /dev/urandom >blob
DIGEST=sha256:$(sha256 blob)
begin
BEFORE=$(du -sk "$DATA" | cut -f1)
curl -s -o output -X PATCH -H 'Content-Type: application/octet-stream' --limit-rate 4M --data-binary @blob "$(url "$LOCATION")" &
CLIENT=$!
STARTED+=("$CLIENT")
part_arrived() { [ "$(du -sk "$DATA" | cut -f1)" -gt $((BEFORE + 1000)) ]; }
check "the bytes of a running upload reach the disk" until_true 10 part_arrived
stop "$CLIENT" KILL
kept_bytes() { KEPT=$(next_byte); [ "$KEPT" -gt 1 ]; }
if until_true 10 kept_bytes; then
  KEPT=$(next_byte)
  ok "bytes that arrived before the connection broke are kept"
  rest_from "$KEPT"
  same "the broken upload goes on at its byte" 202 "$(patch "$KEPT" rest)"; move_location
  same "the broken upload is finished" 201 "$(status PUT "$(put "$DIGEST")")"
  status GET "/v2/team/app/blobs/$DIGEST" >/dev/null
  check "the blob of the broken upload is whole" cmp blob body
else
  fail "bytes that arrived before the connection broke are kept"
fi

begin
patch 0 first >/dev/null; move_location
same "a wrong digest at the end is refused" 400 "$(status PUT "$(put "sha256:$(printf '0%.0s' {1..64})")")"
same "and leaves the upload open" 204 "$(status GET "$LOCATION")"
same "an upload is cancelled" 204 "$(status DELETE "$LOCATION")"
same "a cancelled upload is gone" 404 "$(status GET "$LOCATION")"

# A download cut by a kill -9 of the server goes on with Range.
curl -s -o part --limit-rate 4M "$(url "/v2/team/app/blobs/$DIGEST")" &
CLIENT=$!
STARTED+=("$CLIENT")
part_read() { [ "$(stat -c %s part 2>/dev/null || echo 0)" -gt 1000000 ]; }
check "a download runs" until_true 10 part_read
kill_seawall
wait "$CLIENT"
refuse "a killed server does not look like a finished download" cmp -s blob part
start_seawall
check "the download goes on where it broke" curl -sf -C - -o part "$(url "/v2/team/app/blobs/$DIGEST")"
check "the resumed download is whole" cmp blob part

# The server dies while it fetches a layer from the upstream.
rm part
status GET "/v2/library/seawall-e2e/manifests/multi" "${ACCEPT[@]}" >/dev/null
curl -s -o part --limit-rate 2M "$(url "/v2/library/seawall-e2e/blobs/$LAYER_DIGEST")" &
CLIENT=$!
STARTED+=("$CLIENT")
check "a mirrored layer begins to arrive" until_true 10 part_read
kill_seawall
wait "$CLIENT"
start_seawall
same "after a kill -9 in the middle of a fetch the layer is fetched again" 200 "$(status GET "/v2/library/seawall-e2e/blobs/$LAYER_DIGEST")"
same "and is whole" "$LAYER_DIGEST" "sha256:$(sha256 body)"
finish
