#!/bin/sh
# Makes the keys, passwords and certificates that an overlay needs, as Secrets in the cluster. What is
# there already stays as it is, so it may run again. Nothing is left on this machine.
set -eu

usage() {
  cat <<'TEXT'
Usage: k8s/secrets.sh one-node|production [--namespace NAME] [--print]

  --namespace NAME  where; made if it is missing. Default: the namespace of kubectl's context
  --print           write the Secrets to standard output instead, such as for kubeseal

Needs openssl and kubectl (another one: KUBECTL=path).
TEXT
}

fail() { echo "k8s/secrets.sh: $1" >&2; exit 2; }

kubectl=${KUBECTL:-kubectl}
overlay='' namespace='' print=''
while [ $# -gt 0 ]; do
  case $1 in
    one-node | production) overlay=$1 ;;
    --namespace | -n) [ $# -gt 1 ] || fail "$1 needs a name"; namespace=$2; shift ;;
    --namespace=*) namespace=${1#*=} ;;
    --print) print=yes ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; fail "what is $1?" ;;
  esac
  shift
done
[ -n "$overlay" ] || { usage >&2; fail "name an overlay: one-node or production"; }
command -v openssl >/dev/null || fail "openssl is needed"
command -v "$kubectl" >/dev/null || fail "kubectl is needed (another one: KUBECTL=path)"
if [ -z "$namespace" ]; then
  namespace=$("$kubectl" config view --minify --output 'jsonpath={..namespace}' 2>/dev/null || :)
fi
namespace=${namespace:-default}

umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

# secret NAME TYPE FILE…: a Secret with a key for each file; its label lets MailTopics use it.
secret() {
  name=$1 type=$2 made=$work/secret.yaml
  shift 2
  for file; do
    set -- "$@" "--from-file=$file"
    shift
  done
  "$kubectl" create secret generic "$name" --namespace "$namespace" --type "$type" "$@" \
    --dry-run=client --output=yaml >"$made"
  case $name in
    *-sealing-keys) use=sealing ;;
    *-inbox-tls) use=ca ;;
    *) use= ;;
  esac
  if [ -n "$use" ]; then
    "$kubectl" label --local --filename "$made" "mailtopic.dev/use=$use" --output=yaml >"$made.new"
    mv "$made.new" "$made"
  fi
  if [ -n "$print" ]; then
    echo "---"
    cat "$made"
  else
    "$kubectl" create --namespace "$namespace" --filename "$made"
  fi
}

# missing NAME: whether the Secret is to be made; starts an empty folder for it.
missing() {
  if [ -z "$print" ] && "$kubectl" get secret "$1" --namespace "$namespace" >/dev/null 2>&1; then
    echo "secret/$1 is there" >&2
    return 1
  fi
  rm -rf "$work/new"
  mkdir "$work/new"
  cd "$work/new"
}

# keys NAME ID: a key of 32 bytes, as the services read it.
keys() {
  if missing "$1"; then
    key=$(openssl rand -base64 32)
    printf '{"active": "%s", "keys": {"%s": "%s"}}\n' "$2" "$2" "$key" >keys.json
    secret "$1" Opaque keys.json
  fi
}

password() {
  if missing "$1"; then
    word=$(openssl rand -hex 24)
    printf %s "$word" >password
    secret "$1" Opaque password
  fi
}

# certificate COMMON-NAME DNS-NAME…: tls.key, tls.crt and ca.crt, and ca.key, which signed it.
certificate() {
  common_name=$1 names=DNS:localhost,IP:127.0.0.1
  shift
  for each; do names="$names,DNS:$each"; done
  ssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=$common_name authority" \
    -addext keyUsage=critical,keyCertSign,cRLSign -keyout ca.key -out ca.crt
  ssl req -newkey rsa:2048 -nodes -subj "/CN=$common_name" -keyout tls.key -out tls.csr
  printf '%s\n' "subjectAltName=$names" "extendedKeyUsage=serverAuth,clientAuth" \
    "basicConstraints=critical,CA:false" >extensions
  ssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -set_serial 1 -days 3650 \
    -extfile extensions -out tls.crt
}

# ssl ARGUMENT…: openssl, which says something only if it failed.
ssl() {
  openssl "$@" 2>"$work/said" || { cat "$work/said" >&2; exit 1; }
}

# service NAME: the names by which a Service is reached.
service() { echo "$1 $1.$namespace $1.$namespace.svc $1.$namespace.svc.cluster.local"; }

if [ -z "$print" ] && ! "$kubectl" get namespace "$namespace" >/dev/null 2>&1; then
  "$kubectl" create namespace "$namespace"
fi

keys mailtopic-sealing-keys k1
keys mailtopic-signup-pepper p1
case $overlay in
  one-node)
    if missing mailtopic-inbox-tls; then
      # shellcheck disable=SC2046 # several names
      certificate mailtopic-inbox $(service mailtopic-inbox)
      secret mailtopic-inbox-tls kubernetes.io/tls tls.crt tls.key ca.crt
    fi
    ;;
  production)
    for user in signup sender operator; do
      password "mailtopic-kafka-user-$user"
    done
    if missing mailtopic-kafka-ca; then
      nodes=mailtopic-kafka-headless
      # shellcheck disable=SC2046
      certificate mailtopic-kafka $(service mailtopic-kafka) $(service $nodes) \
        "*.$nodes" "*.$nodes.$namespace.svc.cluster.local"
      secret mailtopic-kafka-ca kubernetes.io/tls tls.crt tls.key ca.crt
      # Signs the next certificate; no pod mounts it.
      secret mailtopic-kafka-ca-key Opaque ca.key
    fi
    for name in mailtopic-signup-database mailtopic-relay; do
      [ -n "$print" ] || "$kubectl" get secret $name --namespace "$namespace" >/dev/null 2>&1 ||
        echo "secret/$name is yours to make: docs/guides/kubernetes.md" >&2
    done
    ;;
esac
