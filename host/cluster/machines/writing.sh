# Writes a file at once and whole, and keeps what was there.
trap '' HUP PIPE
if [ -L "$path" ]; then
  path=$(readlink -f "$path") || fault "$path is a link to nowhere"
fi
[ ! -d "$path" ] || fault "$path is a folder"
mkdir -p "$dir" || fault "$dir cannot be made"
if [ -e "$path" ] && [ ! -e "$dir/former" ] && [ ! -e "$dir/new" ]; then
  cp -p -- "$path" "$dir/former.$$" && mv -f "$dir/former.$$" "$dir/former" || fault "$path cannot be kept in $dir"
elif [ ! -e "$dir/former" ]; then
  : >"$dir/new" || fault "$dir cannot be written"
fi
new=$path.lockgate.$$
trap 'rm -f "$new"' EXIT
printf %s "$input" >"$new" 2>"$dir/why" || fault "$path cannot be written: $(cat "$dir/why")"
if [ -e "$path" ]; then
  chown --reference="$path" "$new" && chmod --reference="$path" "$new" || fault "the owner of $path cannot be kept"
elif [ -z "$mode" ]; then
  mode=644
fi
if [ -n "$mode" ]; then
  chmod "$mode" "$new" || fault "$path cannot get the mode $mode"
fi
mv -f -- "$new" "$path" || fault "$path cannot be replaced"
say state written
[ ! -e "$dir/former" ] || say former "$dir/former"
