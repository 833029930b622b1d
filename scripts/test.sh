#!/usr/bin/env bash
# The whole suite in stages, the cheap ones first; a stage that fails does not hide the next. Ends with a table and one verdict.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=$PWD
unset PYTHONDONTWRITEBYTECODE
python=.venv/bin/python
scripts/install-system-packages.sh || exit 1
$python -m coverage erase

stages=() failed=0
stage() { # NAME PYTEST-ARGUMENTS...
  local name=$1 start=$SECONDS code=0
  shift
  printf '\n== %s\n' "$name"
  $python -m pytest -q "$@" || code=$?
  stages+=("$(printf '%-12s %4d s  %s' "$name" $((SECONDS - start)) "$([[ $code == 0 ]] && echo ok || echo "FAILED ($code)")")")
  [[ $code == 0 ]] || failed=1
}
cover=(--cov --cov-append --cov-report=)

stage unit -n 2 --disable-socket --allow-unix-socket --allow-hosts=127.0.0.1,::1 "${cover[@]}" tests/unit tests/test_packaging.py tests/test_public_api.py
stage contract -n 2 "${cover[@]}" tests/contract
stage integration "${cover[@]}" tests/integration
stage pages "${cover[@]}" tests/ui
stage live tests/live
stage docs tests/docs
stage end-to-end tests/e2e
stage chaos -n 2 --dist loadgroup tests/chaos

printf '\n== coverage of the first four stages\n'
$python -m coverage report --skip-covered --skip-empty --sort=cover --fail-under=90 | tail -n 40 || failed=1
printf '\n'
printf '%s\n' "${stages[@]}"
exit $failed
