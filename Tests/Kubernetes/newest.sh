#!/bin/sh
# Builds what Debian has of today's Kubernetes, once, into the cache folder of build.sh: the API server of CustomResourceDefinitions
# (k8s.io/apiextensions-apiserver, of Debian sid; the rest of kube-apiserver isn't packaged) and kubectl. See newest.py.
# What was built stays: remove $cache/newest to have today's.
# Usage: newest.sh [CACHE]; CACHE is /var/cache/weft-kubernetes unless said otherwise. As root; takes some five minutes.
set -eu
cache=${1:-/var/cache/weft-kubernetes}
server=$cache/bin/apiextensions-apiserver
[ -x "$server" ] && [ -x "$cache/newest/kubectl" ] && exit 0
command -v debootstrap >/dev/null || { apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap; }
mkdir -p "$cache/bin" "$cache/newest"
work=$(mktemp -d "$cache/sid.XXXXXX")
root=$work/root
# Never across a mount; a step that fails doesn't keep the next from being made.
cleanup() {
  for mount in proc sys; do
    while mountpoint -q "$root/$mount"; do umount "$root/$mount" || umount -l "$root/$mount" || break; done
  done
  rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP
debootstrap --variant=minbase --include=ca-certificates sid "$root" http://deb.debian.org/debian >"$work/log" || { tail -5 "$work/log"; exit 1; }
# Go asks /proc where it stands itself.
mount -t proc proc "$root/proc"
DEBIAN_FRONTEND=noninteractive chroot "$root" sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends golang-go golang-k8s-apiextensions-apiserver-dev kubectl' >>"$work/log" 2>&1 \
  || { tail -20 "$work/log"; exit 1; }
chroot "$root" env HOME=/tmp GO111MODULE=off GOPATH=/usr/share/gocode CGO_ENABLED=0 go build -trimpath -o /tmp/server k8s.io/apiextensions-apiserver
# Of a newer libc: it has to run here too.
"$root/usr/bin/kubectl" version --client >/dev/null
mv "$root/usr/bin/kubectl" "$cache/newest/kubectl"
mv "$root/tmp/server" "$server"
