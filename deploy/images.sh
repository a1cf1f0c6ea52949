#!/bin/bash
# Builds the OCI images of weft-agent (with weft-proxy), weft-control, weft-stub, weft and weft-lab from scratch, with buildah, and writes
# each as an OCI folder. The same programs give the same digests.
# Usage: images.sh FOLDER-OF-PROGRAMS OUTPUT-FOLDER [PROGRAM…]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
programs=$(cd "$1" && pwd); out=$2; shift 2
images=("$@")
[ ${#images[@]} -gt 0 ] || images=(weft-agent weft-control weft-stub weft weft-lab)
version=$(sed -n 's/.*current = "\(.*\)"/\1/p' "$here/../Sources/MeshModel/Version.swift")
registry=${REGISTRY:-ghcr.io/weft-mesh}
# Of the last commit, for every file and for the image.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct)}
limit=$((50 * 1000 * 1000))
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
buildah() { command buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run" "$@"; }

# What the loader would load for a program.
libraries() {
  local program=$1 root=$2 library
  while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    # What a link points to, under the name that is asked for.
    cp --dereference "$library" "$root$library"
  done < <(ldd "$program" 2>/dev/null | grep -oE '/[^ ]+' | sort -u)
}

# A program without symbols.
add() {
  local program=$1 root=$2
  [ -f "$programs/$program" ] || { echo "images.sh: $programs/$program is missing: make build" >&2; exit 1; }
  strip --strip-all -o "$root/$program" "$programs/$program"
  libraries "$programs/$program" "$root"
}

for image in "${images[@]}"; do
  root="$work/$image"
  mkdir -p "$root"
  add "$image" "$root"
  if [ "$image" = weft-agent ]; then
    add weft-proxy "$root"
    object=${BPF_OBJECT:-$here/../bpf/build/weft.bpf.o}
    [ -f "$object" ] || { echo "images.sh: $object is missing: make bpf" >&2; exit 1; }
    cp "$object" "$root/weft.bpf.o"
  fi
  if [ "$image" = weft-stub ]; then
    # For kernels without nf_tables: iptables' program, under the names that it acts by, and what our rules need of its parts.
    multi=$(command -v xtables-legacy-multi || true)
    [ -n "$multi" ] || { echo "images.sh: xtables-legacy-multi is missing: apt-get install iptables" >&2; exit 1; }
    install -m 755 "$multi" "$root/xtables-legacy-multi"
    libraries "$multi" "$root"
    for name in iptables-legacy ip6tables-legacy; do
      ln -s xtables-legacy-multi "$root/$name"
      ln -s xtables-legacy-multi "$root/$name-restore"
    done
    # Where Dockerfile.stub says that they are.
    mkdir "$root/xtables"
    cp --dereference "$(dirname "$(ldconfig -p | sed -n 's/.*libxtables.so.* => //p' | head -1)")"/xtables/libxt_{REDIRECT,owner,standard,tcp}.so \
      "$root/xtables"
  fi
  # Mount points, for a root that is read-only; and names for code that asks who it is.
  mkdir -p "$root"/{etc,proc,sys,dev,run/weft,tmp,var/lib/weft,var/run/secrets}
  printf 'root:x:0:0:root:/:\nweft:x:65532:65532:weft:/:\n' > "$root/etc/passwd"
  printf 'hosts: files dns\n' > "$root/etc/nsswitch.conf"
  # The loader's libraries for names, which glibc opens by itself.
  for library in /lib/x86_64-linux-gnu/libnss_dns.so.2 /lib/x86_64-linux-gnu/libnss_files.so.2 /lib/x86_64-linux-gnu/libresolv.so.2; do
    [ ! -e "$library" ] || { mkdir -p "$root$(dirname "$library")"; cp --dereference "$library" "$root$library"; }
  done
  chmod -R u=rwX,go=rX "$root"
  chmod 1777 "$root/tmp"
  name="$registry/$image:$version"
  buildah --log-level error bud --isolation chroot --timestamp "$SOURCE_DATE_EPOCH" --layers=false --quiet \
    --file "$here/Dockerfile.${image#weft-}" --tag "$name" "$root" > /dev/null
  archive="$out/$image.oci.tar"
  rm -rf "$out/$image.oci" "$archive"
  buildah push --quiet --compression-format gzip --compression-level 9 "$name" "oci:$out/$image.oci:$version" > /dev/null
  digest=$(sed -n 's/.*"digest":"\(sha256:[0-9a-f]*\)".*/\1/p' "$out/$image.oci/index.json" | head -1)
  size=$(du -sb "$out/$image.oci/blobs" | cut -f1)
  printf '%s  %s  %s MB compressed, %s MB unpacked\n' "$name" "$digest" $((size / 1000000)) \
    $(($(du -sb "$root" | cut -f1) / 1000000))
  [ "$size" -le "$limit" ] || { echo "images.sh: $image has $size bytes; at most $limit" >&2; exit 1; }
done
