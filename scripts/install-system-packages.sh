#!/usr/bin/env bash
# Installs what the tests need beyond Python, where it may: Debian packages, as root. Elsewhere it says what is missing and leaves it.
set -euo pipefail
need=()
command -v chromium >/dev/null || need+=(chromium)
fc-list :lang=zh 2>/dev/null | grep -q . || need+=(fontconfig fonts-wqy-zenhei)
{ command -v psql >/dev/null && compgen -G '/usr/lib/postgresql/*/bin/pg_ctl' >/dev/null; } || need+=(postgresql)
[[ ${#need[@]} -eq 0 ]] && exit 0
if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
  echo "installing ${need[*]}"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
else
  echo "not installed here: ${need[*]}; the tests that need them are skipped (they fail when CI is set)"
fi
