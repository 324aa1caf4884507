# $0 is the folder of a machine; $1 and $2 are an SSH server and its configuration. Runs in a namespace of mounts of its own.
set -e
mkdir -p "$0/etc" "$0/var/lib"
# What was put there beforehand stays.
cp -an /etc/. "$0/etc/"
mount --bind "$0/etc" /etc
mount --bind "$0/var/lib" /var/lib
# The home of root is another one where one is given.
[ ! -d "$0/root" ] || mount --bind "$0/root" /root
mount -t tmpfs run /run
mkdir -p /run/sshd
exec "$1" -D -e -f "$2"
