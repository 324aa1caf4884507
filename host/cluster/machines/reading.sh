# A short command that changes nothing. Expects ID, LIMIT and KEPT; defines nothing that outlives it.
dir=$(mktemp -d "${TMPDIR:-/tmp}/lockgate.XXXXXXXX") || fault "there is no room for temporary files"
trap 'rm -rf "$dir"' EXIT
printf %s "$input" >"$dir/in"
begun=$(date +%s)
timeout -k 5 "$limit" "$@" <"$dir/in" >"$dir/out" 2>"$dir/err"
code=$?
say state ended
say code "$code"
say took "$(($(date +%s) - begun))"
outputs head
