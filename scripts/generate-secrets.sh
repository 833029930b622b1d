#!/usr/bin/env bash
# Writes .env (or the file named) from .env.example with a random value for each required secret. Never overwrites: that would lock everybody out.
set -euo pipefail
umask 077
example=$(cd "$(dirname "$0")/.." && pwd)/.env.example
target=${1:-$(dirname "$example")/.env}

if [[ -e $target ]]; then
  echo "$target exists and is left as it is; remove it yourself to make other secrets (every API key then becomes invalid)" >&2
  exit 1
fi

random() { head -c 32 /dev/urandom | base64 | tr -d '\n'; }          # standard base64
plain() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }  # letters and digits, for URLs

draft=$(mktemp "$target.XXXXXX")
trap 'rm -f "$draft"' EXIT
while IFS= read -r line || [[ -n $line ]]; do
  case $line in
    TANDEM_WEBHOOK_SECRET=) printf '%swhsec_%s\n' "$line" "$(random)" ;;
    [A-Z]*=) printf '%s%s\n' "$line" "$(plain)" ;;
    *) printf '%s\n' "$line" ;;
  esac
done <"$example" >"$draft"
ln "$draft" "$target" # fails, unlike mv, when another run was first
echo "wrote $target; keep a copy where backups of secrets belong"
