#!/bin/sh
# Makes the test PKI anew, in this directory. Needs OpenSSL 3. The files are committed, so tests need no OpenSSL.
set -eu
cd "$(dirname "$0")"

from=20240101000000Z
until=20540101000000Z
names='DNS:api.example.com,DNS:localhost'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/ca.cnf" <<CNF
[ca]
default_ca = all
[all]
database = $work/index
new_certs_dir = $work
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
copy_extensions = none
[any]
commonName = supplied
[req]
distinguished_name = dn
[dn]
CNF
: >"$work/index"

key() { # key FILE
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null
}

# certificate OUT CN KEY FROM UNTIL EXTENSIONS SIGNER-OPTION...
certificate() {
    out=$1 cn=$2 key=$3 start=$4 end=$5 extensions=$6
    shift 6
    openssl req -new -config "$work/ca.cnf" -subj "/CN=$cn" -key "$key" -out "$work/request"
    printf '%b' "$extensions" >"$work/extensions"
    openssl ca -batch -notext -config "$work/ca.cnf" -extfile "$work/extensions" -startdate "$start" \
        -enddate "$end" -in "$work/request" -out "$out" "$@" 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
}

authority='basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n'
server() { # server SAN
    printf '%s' 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n' \
        'extendedKeyUsage=serverAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' \
        "subjectAltName=$1\\n"
}

key ca.key
key server.key
key "$work/untrusted.key"
certificate ca.pem 'Portcullis test CA' ca.key $from $until "$authority" -selfsign -keyfile ca.key
certificate "$work/untrusted-ca.pem" 'A CA nobody trusts' "$work/untrusted.key" $from $until "$authority" \
    -selfsign -keyfile "$work/untrusted.key"

ours="-cert ca.pem -keyfile ca.key"
# shellcheck disable=SC2086 # two options each
{
    certificate good.pem api.example.com server.key $from $until "$(server "$names")" $ours
    certificate other.pem other.example.com server.key $from $until "$(server DNS:other.example.com)" $ours
    certificate wrong-name.pem wrong.example.net server.key $from $until "$(server DNS:wrong.example.net)" $ours
    certificate expired.pem api.example.com server.key 20200101000000Z 20200201000000Z "$(server "$names")" $ours
    certificate not-yet.pem api.example.com server.key 20530101000000Z $until "$(server "$names")" $ours
    certificate untrusted.pem api.example.com server.key $from $until "$(server "$names")" \
        -cert "$work/untrusted-ca.pem" -keyfile "$work/untrusted.key"
}
certificate self-signed.pem api.example.com server.key $from $until "$(server "$names")" \
    -selfsign -keyfile server.key
certificate self-signed-ca.pem api.example.com server.key $from $until \
    "basicConstraints=critical,CA:TRUE\nsubjectKeyIdentifier=hash\nsubjectAltName=$names\n" \
    -selfsign -keyfile server.key
