# nghttpd with the folder's small files and a large one; what is posted to it comes back: nghttpd.sh LAB-FOLDER POD-FOLDER
set -e
mkdir -p "$2/www"
cp "$1"/www/* "$2/www"
truncate -s 128M "$2/www/large"
exec nghttpd --no-tls -m 1000 -d "$2/www" --echo-upload --trailer "x-end: yes" 9106
