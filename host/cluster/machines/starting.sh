# Begins an operation. The gate is in what runs: of two that run, one makes the link `pid`, the other ends.
trap '' HUP PIPE
mkdir -p "$dir" || fault "$dir cannot be made"
if [ -e "$dir/pid" ]; then
  [ "$(cat "$dir/words")" = "$words" ] || fault "another command was begun under this name"
  say state begun
  return
fi
printf %s "$input" >"$dir/in.$$" && mv -f "$dir/in.$$" "$dir/in" &&
  printf '%s\n' "$words" >"$dir/words.$$" && mv -f "$dir/words.$$" "$dir/words" &&
  printf '%s\n' "$runner" >"$dir/run.$$" && mv -f "$dir/run.$$" "$dir/run" || fault "$dir cannot be written"
how=setsid
if [ "$(id -u)" = 0 ] && [ -d /run/systemd/system ] && command -v systemd-run >/dev/null 2>&1; then
  systemd-run --quiet --unit="$unit" --description="lockgate $unit" /bin/sh "$dir/run" "$dir" </dev/null >"$dir/launched" 2>&1 && how=systemd
fi
if [ "$how" = setsid ]; then
  command -v setsid >/dev/null 2>&1 || fault "there is neither systemd-run nor setsid"
  setsid /bin/sh "$dir/run" "$dir" </dev/null >/dev/null 2>&1 &
fi
say state begun
say how "$how"
