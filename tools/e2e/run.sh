#!/bin/sh
# Tries the built program as people's browsers and programs do: tools/e2e/serve (the openai package, curl, schemathesis)
# and tools/e2e/page (Chromium, against the mock and against the program itself).
#
#   tools/e2e/run.sh target/release/deem
#
# Needs python3, curl, Node 20.15 or later and a Chromium; as root on Debian it installs what is missing. VENV names a folder
# that is kept for Python's packages.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
deem=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")

missing=
for program in python3 curl node npm ${CHROMIUM:-chromium}; do
    command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "end-to-end tests need:$missing" >&2
        exit 1
    fi
    apt-get update -qq
    # Names of Debian's packages.
    packages=$(printf '%s' "$missing" | sed 's/\bnode\b/nodejs/; s/\bpython3\b/python3 python3-venv/')
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages
fi

"$here/serve/run.sh" "$deem"

(cd "$here/page" && npm ci --silent --no-audit --no-fund && node run.mjs)

log=$(mktemp)
"$deem" serve --port 0 2>"$log" &
server=$!
trap 'kill $server 2>/dev/null || true; rm -f "$log"' EXIT INT TERM
url=
for _ in $(seq 300); do
    url=$(sed -n 's/.* at \(http:\/\/[0-9.:]*\) (the page).*/\1/p' "$log" | head -n 1)
    [ -z "$url" ] || break
    kill -0 "$server"
    sleep 0.2
done
(cd "$here/page" && node run.mjs --url "$url")
