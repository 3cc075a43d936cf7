#!/bin/sh
# Tries a server as its users' programs do: the published `openai` package, the curl lines of docs/serving.md as they
# stand, and schemathesis against the server's own description. Needs python3 with venv, curl, and the package index once.
#
#   tools/e2e/serve/run.sh target/release/deem [PRESET]     default: tiny
#
# VENV names a folder that is kept for the packages; default: a new one, removed at the end.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
deem=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
preset=${2:-tiny}
work=$(mktemp -d)
server=
finish() {
    status=$?
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ "$status" -eq 0 ] || tail -n 40 "$work/log" 2>/dev/null || true
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT INT TERM

venv=${VENV:-$work/venv}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"

# Starts a server with further options, and waits until it is ready; $url is where it listens.
start() {
    : >"$work/log"
    (cd "$root" && exec "$deem" --preset "$preset" serve --port 0 "$@" 2>>"$work/log") &
    server=$!
    for _ in $(seq 300); do
        url=$(sed -n 's/.* at \(http:\/\/[0-9.:]*\) (the page).*/\1/p' "$work/log" | head -n 1)
        [ -z "$url" ] || return 0
        kill -0 "$server" || return 1
        sleep 0.2
    done
    return 1
}
stop() {
    kill "$server"
    wait "$server"
    server=
}

start
"$venv/bin/python" "$here/client.py" "$url"
"$venv/bin/python" "$here/curl.py" "$root/docs/serving.md" "$url"
"$venv/bin/schemathesis" run "$url/openapi.json" --url "$url" --max-examples "${EXAMPLES:-15}" --seed 1 \
    --request-timeout 60 --suppress-health-check all --phases examples,coverage,fuzzing \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance
stop

printf 'secret\n' >"$work/keys"
start --keys "$work/keys" --rate 6
"$venv/bin/python" "$here/client.py" "$url" --key secret
stop
echo "all clients were served"
