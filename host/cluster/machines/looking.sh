# How far an operation is.
is_ended() {
  [ -f "$dir/rc" ] || return 1
  read -r code took <"$dir/rc"
  say state ended
  say code "$code"
  say took "$took"
  outputs tail
}
# The process that was begun, and not another one of its number; one that only waits to be buried is dead.
lives() {
  set -- $(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null)
  [ "${20:-}" = "$start" ] && [ "$1" != Z ]
}
if is_ended; then
  return
fi
if [ ! -f "$dir/pid" ]; then
  say state absent
  return
fi
read -r pid start boot <"$dir/pid"
if [ "$(cat /proc/sys/kernel/random/boot_id)" != "$boot" ]; then
  say state booted
elif lives; then
  say state running
elif ! is_ended; then
  say state gone
fi
