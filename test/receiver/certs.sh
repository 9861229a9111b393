#!/usr/bin/env bash
# Certificates for the test receiver: certs.sh DIR
#
# Makes in DIR, each with its key beside it (NAME.pem, NAME.key):
#   ca           the authority that the sender is told to trust
#   server       localhost, 127.0.0.1 and ::1, signed by it
#   expired      the same names, signed by it, ran out years ago
#   wronghost    another name, signed by it
#   many         the same names and *.many.localhost, signed by it
#   selfsigned   the right names, signed by nobody
# Everything is thrown away with the test, so keys are unencrypted and lie open.
set -euo pipefail

dir=${1:?usage: certs.sh DIR}
mkdir -p "$dir"
cd "$dir"

names='DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1'
log=openssl.log
trap 'status=$?; [ "$status" = 0 ] || cat "$log" >&2; rm -rf "$log" ca.conf ca.index* ca.new' EXIT

key() {
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" >>"$log" 2>&1
}

# request NAME SUBJECT-ALTERNATIVE-NAMES
request() {
  key "$1"
  openssl req -new -key "$1.key" -subj "/CN=pgwebhook test $1" -addext "subjectAltName=$2" -out "$1.csr" >>"$log" 2>&1
}

# sign NAME START END (YYYYMMDDHHMMSSZ); `openssl ca` because it alone takes dates in the past
sign() {
  openssl ca -batch -config ca.conf -in "$1.csr" -out "$1.pem" -startdate "$2" -enddate "$3" -notext >>"$log" 2>&1
  rm "$1.csr"
}

key ca
openssl req -x509 -new -key ca.key -days 3650 -subj '/CN=pgwebhook test CA' \
  -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign,cRLSign' -out ca.pem >>"$log" 2>&1

mkdir -p ca.new
: >ca.index
cat >ca.conf <<CONF
[ca]
default_ca = test
[test]
database = ca.index
new_certs_dir = ca.new
certificate = ca.pem
private_key = ca.key
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
x509_extensions = leaf
[any]
commonName = supplied
[leaf]
basicConstraints = CA:FALSE
extendedKeyUsage = serverAuth
CONF

long_ago=20200101000000Z
ran_out=20200201000000Z
far_off=20491231000000Z

request server "$names"
sign server "$long_ago" "$far_off"
request many "$names,DNS:*.many.localhost"
sign many "$long_ago" "$far_off"
request expired "$names"
sign expired "$long_ago" "$ran_out"
request wronghost 'DNS:elsewhere.example'
sign wronghost "$long_ago" "$far_off"

key selfsigned
openssl req -x509 -new -key selfsigned.key -days 3650 -subj '/CN=pgwebhook test selfsigned' \
  -addext "subjectAltName=$names" -out selfsigned.pem >>"$log" 2>&1
