# shellcheck shell=bash
# Sourced, after the kit, by suites that mirror several upstreams: three real registries, each with images of its own.
#   hub   nothing in front, with the store that e2e/run filled
#   quay  takes a username and password
#   ghcr  takes tokens of a token server, which takes the username and password, and sends 1 MiB a second per connection
# hub.log, quay.log and ghcr.log below $HERE tell what they were asked for.

HUB=127.0.0.1:$(free_port) QUAY=127.0.0.1:$(free_port) GHCR=127.0.0.1:$(free_port)
GHCR_REGISTRY=127.0.0.1:$(free_port) TOKEN_SERVER=127.0.0.1:$(free_port)
PASSWORD=pull-$RANDOM-$RANDOM
UPSTREAM_PIDS=()
COPY=(skopeo --insecure-policy copy -q --src-tls-verify=false --dest-tls-verify=false)
# Every image has its configuration and two layers, the herd's eight, and no image has a blob of another.
QUAY_IMAGES=(team/containerd team/podman team/docker team/chain team/cold)
GHCR_IMAGES=(org/containerd org/podman org/docker org/chain org/cold org/herd)

start_upstreams() {
  if ! { fill quay "${QUAY_IMAGES[@]}" && fill ghcr "${GHCR_IMAGES[@]}" && make_htpasswd && make_token && make_nginx; }; then
    echo "the upstreams cannot be made"; tail "$HERE/make.log"; exit 1
  fi
  start_registry hub "$HUB" "$E2E_STORE/registry"; UPSTREAM_PIDS+=("$PID")
  start_registry quay "$QUAY" "$HERE/quay" "auth: {htpasswd: {realm: quay, path: $HERE/htpasswd}}"; UPSTREAM_PIDS+=("$PID")
  start_registry ghcr "$GHCR_REGISTRY" "$HERE/ghcr" \
    "auth: {token: {realm: 'http://$TOKEN_SERVER/token', service: ghcr, issuer: e2e, rootcertbundle: $HERE/token.crt}}"; UPSTREAM_PIDS+=("$PID")
  nginx -c "$HERE/nginx.conf" >>"$HERE/nginx.log" 2>&1 &
  STARTED+=($!) UPSTREAM_PIDS+=($!)
  until_true 15 answers "$GHCR" || { echo "nginx does not start"; tail "$HERE/nginx.log"; exit 1; }
}
stop_upstreams() { local pid; for pid in "${UPSTREAM_PIDS[@]}"; do stop "$pid" KILL; done; }

# fill NAME REPOSITORY… makes an image for each repository and pushes it to a registry on the folder NAME.
fill() {
  local name=$1 address repository; shift
  address=127.0.0.1:$(free_port)
  READONLY=false start_registry "fill-$name" "$address" "$HERE/$name"
  for repository in "$@"; do
    { make_image "$repository" && "${COPY[@]}" "oci:$HERE/layout:1" "docker://$address/$repository:1"; } >>"$HERE/make.log" 2>&1 || return 1
  done
  stop "$PID"
}
make_image() {
  local layer layers=1 layout=$HERE/layout files=$HERE/files
  case $1 in */herd) layers=7 ;; esac
  rm -rf "$layout" && mkdir -p "$files/etc" && echo "$MARKER" >"$files/etc/seawall-e2e" && echo "$1" >"$files/etc/name" &&
  umoci init --layout "$layout" && umoci new --image "$layout:1" && umoci insert --image "$layout:1" "$files" / &&
  umoci config --image "$layout:1" --os linux --architecture "$NATIVE" --config.cmd /none || return 1
  for layer in $(seq $layers); do
    head -c 1000000 /dev/urandom >"$HERE/random" && umoci insert --image "$layout:1" "$HERE/random" "/random-$layer" || return 1
  done
}

# bcrypt is all that docker-registry takes; the salt need not be a secret here.
make_htpasswd() {
  PASSWORD=$PASSWORD perl -e 'print "mirror:", crypt($ENV{PASSWORD}, "\$2y\$05\$seawallendtoendseawalle"), "\n"' >"$HERE/htpasswd"
  echo "$PASSWORD" >"$HERE/password"
  grep -q '^mirror:\$2y\$' "$HERE/htpasswd"
}

# make_token signs the one token that the token server gives to whoever knows the password.
make_token() {
  local now certificate head claims signature access
  now=$(date +%s)
  openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=e2e -days 2 -keyout "$HERE/token.key" -out "$HERE/token.crt" >>"$HERE/make.log" 2>&1 || return 1
  certificate=$(openssl x509 -in "$HERE/token.crt" -outform DER | openssl base64 -A)
  head=$(jq -njc --arg certificate "$certificate" '{typ: "JWT", alg: "RS256", x5c: [$certificate]}' | base64url)
  access=$(printf '%s\n' "${GHCR_IMAGES[@]}" org/none | jq -Rn '[inputs | {type: "repository", name: ., actions: ["pull"]}]')
  claims=$(jq -njc --argjson now "$now" --argjson access "$access" '{iss: "e2e", sub: "mirror", aud: "ghcr", jti: "1",
    iat: $now, nbf: ($now - 60), exp: ($now + 7200), access: $access}' | base64url)
  signature=$(printf '%s.%s' "$head" "$claims" | openssl dgst -sha256 -sign "$HERE/token.key" -binary | base64url)
  jq -n --arg token "$head.$claims.$signature" '{token: $token, expires_in: 7200}' >"$HERE/token.json"
}
base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

# One nginx: the token server, and what slows the registry down, so that a herd meets while the blobs are still arriving;
# NGINX_MORE may be further servers.
make_nginx() {
  mkdir -p "$HERE/nginx"
  cat >"$HERE/nginx.conf" <<NGINX
daemon off; master_process off; user root; pid $HERE/nginx/pid; error_log $HERE/nginx/error.log;
events { }
http {
  access_log off; client_body_temp_path $HERE/nginx/body; proxy_temp_path $HERE/nginx/proxy; fastcgi_temp_path $HERE/nginx/fastcgi;
  uwsgi_temp_path $HERE/nginx/uwsgi; scgi_temp_path $HERE/nginx/scgi;
  server { listen $GHCR; location / { proxy_pass http://$GHCR_REGISTRY; proxy_set_header Host \$http_host; limit_rate 1m; } }
  server {
    listen $TOKEN_SERVER;
    location = /token { auth_basic tokens; auth_basic_user_file $HERE/htpasswd; default_type application/json; alias $HERE/token.json; }
  }
  ${NGINX_MORE:-}
}
NGINX
}

# digest_at NAME REPOSITORY prints the digest of an image's manifest, from the upstream's own folder.
digest_at() { cat "$HERE/$1/docker/registry/v2/repositories/$2/_manifests/tags/1/current/link"; }
# answered NAME PATTERN prints the paths below /v2/ that fit the pattern and were answered with content, one for every GET.
answered() { sed -n 's|.*"GET /v2/\([^ ]*\) HTTP/1\.[01]" 20[06] .*|\1|p' "$HERE/$1.log" | grep -E "^($2)\$"; }
# gets NAME PATTERN prints how many GETs there were for how many different paths.
gets() { answered "$@" | sort | uniq -c | awk '{ gets += $1 } END { print gets + 0 " for " NR }'; }
