# What runs detached: the gate, the command with its limit, the exit code. The words of the command follow in `set --`.
dir=$1
umask 077
export LC_ALL=C DEBIAN_FRONTEND=noninteractive HOME="${HOME:-/root}"
PATH="${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
boot=$(cat /proc/sys/kernel/random/boot_id)
start=$(sed 's/.*) //' /proc/$$/stat | cut -d ' ' -f 20)
printf '%s %s %s\n' "$$" "$start" "$boot" >"$dir/pid.$$"
ln "$dir/pid.$$" "$dir/pid" 2>/dev/null || { rm -f "$dir/pid.$$"; exit 0; }
rm -f "$dir/pid.$$"
cd / || exit 1
umask 022
begun=$(date +%s)
timeout -k 30 "$limit" "$@" <"$dir/in" >"$dir/out" 2>"$dir/err"
code=$?
if [ -n "$finally" ]; then
  timeout -k 30 300 /bin/sh -c "$finally" </dev/null >>"$dir/out" 2>>"$dir/err"
  last=$?
  [ "$code" != 0 ] || code=$last
fi
umask 077
printf '%s %s\n' "$code" "$(($(date +%s) - begun))" >"$dir/rc.new" && mv -f "$dir/rc.new" "$dir/rc"
