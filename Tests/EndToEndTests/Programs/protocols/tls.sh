# A TLS server that says who it is: tls.sh FOLDER NAME. Its key is made anew.
set -e
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$2.example" \
  -keyout "$1/key.pem" -out "$1/cert.pem" 2>/dev/null
exec openssl s_server -accept '*:9110' -key "$1/key.pem" -cert "$1/cert.pem" -rev -quiet
