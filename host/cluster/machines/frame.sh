# What every script has: where operations are kept, and how it answers. All of it is one function, so that half of it does nothing.
for tool in base64 timeout; do
  command -v "$tool" >/dev/null 2>&1 || missing=$tool
done
say() {
  printf '%s %s\n' "$1" "$2"
}
fault() {
  say fault "$1"
  say end "$id"
  exit 0
}
outputs() {
  for part in out err; do
    [ -f "$dir/$part" ] || : >"$dir/$part"
    say "size-$part" "$(($(wc -c <"$dir/$part")))"
    printf '%s ' "$part"
    "$1" -c "$kept" "$dir/$part" | base64 | tr -d '\n'
    echo
  done
}
