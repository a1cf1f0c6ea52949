#!/bin/sh
# Builds a real Kubernetes control plane from Debian's source package, once, into a cache folder outside the tree:
# kube-apiserver, kube-controller-manager and kube-scheduler 1.20.2, and Debian's etcd. Tests run against these programs.
# Usage: build.sh [CACHE]; CACHE is /var/cache/weft-kubernetes unless said otherwise. As root.
set -eu
cache=${1:-/var/cache/weft-kubernetes}
missing=""
# Grows with what is changed of the sources below: the API server of an older cache is built anew.
edition=2
[ "$(cat "$cache/edition" 2>/dev/null)" = $edition ] || rm -f "$cache/bin/kube-apiserver"
for program in kube-apiserver kube-controller-manager kube-scheduler; do
  [ -x "$cache/bin/$program" ] || missing="$missing $program"
done
# What the lab needs beside: `weft-lab up --kubernetes`. Any kubectl will do; for `kubectl exec` one of 1.31 or newer.
tools=""
command -v kubectl >/dev/null || tools="$tools kubernetes-client"
command -v nft >/dev/null || tools="$tools nftables"
command -v dnsmasq >/dev/null || tools="$tools dnsmasq-base"
[ -n "$missing$tools" ] || { [ -x /usr/bin/etcd ] && exit 0; }

# deb-src in a file of its own, with the keys that the binary sources name.
sources=/etc/apt/sources.list.d/weft-kubernetes.sources
[ -e $sources ] || printf '%s\n' 'Types: deb-src' 'URIs: http://deb.debian.org/debian' 'Suites: bookworm' \
  'Components: main' 'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg' > $sources
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends golang-go rsync jq etcd-server dpkg-dev make $tools \
  golang-github-modern-go-reflect2-dev
[ -n "$missing" ] || exit 0

mkdir -p "$cache/bin"
work=$(mktemp -d "$cache/build.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"
apt-get source -qq --download-only kubernetes
mkdir source
tar -xzf kubernetes_*.orig.tar.gz -C source --strip-components=1
cd source
# The vendored reflect2 1.0.1 reads Go's maps as they were before 1.18: the API server dies by the first object of a
# CustomResourceDefinition that it encodes. Debian's own is of Go 1.19.
rm -rf vendor/github.com/modern-go/reflect2
cp -r /usr/share/gocode/src/github.com/modern-go/reflect2 vendor/github.com/modern-go/reflect2
# go-openapi compares with reflect.Zero as Go did before 1.17, when each zero value lay in memory of its own: now an empty
# text counts as null, and a route whose parent is of the group "" is refused.
grep -q 'if data == nil || reflect.DeepEqual(reflect.Zero' vendor/github.com/go-openapi/validate/type.go
sed -i 's/if data == nil || reflect.DeepEqual(reflect.Zero.*/if data == nil {/' vendor/github.com/go-openapi/validate/type.go
mkdir -p .go/src/k8s.io
ln -s "$PWD" .go/src/k8s.io/kubernetes
what=""
for program in $missing; do what="$what cmd/$program"; done
GOPATH=$PWD/.go GOCACHE=$work/gocache CGO_ENABLED=0 KUBE_GIT_VERSION=v1.20.2 \
  KUBE_GIT_COMMIT=0 KUBE_GIT_TREE_STATE=clean make WHAT="$what"
for program in $missing; do
  cp "$(find _output/local/bin .go/src/k8s.io/kubernetes/_output -name $program -type f 2>/dev/null | head -1)" "$cache/bin/$program.new"
  mv "$cache/bin/$program.new" "$cache/bin/$program"
done
echo $edition > "$cache/edition"
