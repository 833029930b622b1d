#!/usr/bin/env bash
# The whole suite in stages, the cheap ones first; a stage that fails does not hide the next. Ends with a table, every failed test by name, and one
# verdict: the last lines of a log are what is left of it.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=$PWD
unset PYTHONDONTWRITEBYTECODE
python=.venv/bin/python
scripts/install-system-packages.sh || exit 1
$python -m coverage erase

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

stages=() failed=0
stage() { # NAME PYTEST-ARGUMENTS...
  local name=$1 start=$SECONDS code=0 output=$scratch/output named
  shift
  printf '\n== %s\n' "$name"
  $python -m pytest -q "$@" 2>&1 | tee "$output"
  code=${PIPESTATUS[0]}
  stages+=("$(printf '%-12s %4d s  %s' "$name" $((SECONDS - start)) "$([[ $code == 0 ]] && echo ok || echo "FAILED ($code)")")")
  [[ $code == 0 ]] && return
  failed=1
  # In CI pytest writes the whole reason after the name: its first line is enough here. A run that named nobody broke, and its end says how.
  named=$(grep -aE '^(FAILED|ERROR) ' "$output") || named=$(tail -n 5 "$output")
  printf '%s\n' "$named" | cut -c 1-500 | sed "s/^/$name: /" >>"$scratch/failures"
}
cover=(--cov --cov-append --cov-report=)

stage unit -n 2 --disable-socket --allow-unix-socket --allow-hosts=127.0.0.1,::1 "${cover[@]}" --ignore tests/unit/tools tests/unit tests/test_packaging.py tests/test_public_api.py
stage tools -n 2 "${cover[@]}" tests/unit/tools
stage contract -n 2 "${cover[@]}" tests/contract
stage integration -n 2 --dist loadscope "${cover[@]}" tests/integration
stage sandbox -n 2 "${cover[@]}" tests/sandbox
stage pages "${cover[@]}" tests/ui
stage live tests/live
stage docs tests/docs
stage end-to-end tests/e2e
stage chaos -n 2 --dist loadgroup tests/chaos

printf '\n== coverage of the first six stages\n'
$python -m coverage report --skip-covered --skip-empty --sort=cover --fail-under=90 | tail -n 40 || {
  failed=1
  echo 'coverage: the report failed, or less than 90 % is covered' >>"$scratch/failures"
}
printf '\n'
printf '%s\n' "${stages[@]}"
if [[ -s $scratch/failures ]]; then
  printf '\n== what failed\n'
  cat "$scratch/failures"
fi
exit $failed
