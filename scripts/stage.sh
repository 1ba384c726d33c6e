# Sourced by the scripts beside it: timed stages, and the place of interpreters.
# `stage NAME COMMAND...` runs, prints the time and goes on; `finish` ends non-zero if one failed.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
failed=()

# Only as a plain command: inside `if`, `||` or `&&` bash would ignore a failure half-way.
stage() {
    local name=$1 start=$SECONDS status
    shift
    set +e
    (
        set -e
        "$@"
    )
    status=$?
    set -e
    if ((status == 0)); then
        echo "== stage $name: $((SECONDS - start)) s"
    else
        echo "== stage $name: FAILED with exit code $status, $((SECONDS - start)) s"
        failed+=("$name")
    fi
}

finish() {
    if ((${#failed[@]})); then
        echo "== failed: ${failed[*]}" >&2
        exit 1
    fi
    echo "== all stages passed: $SECONDS s"
}

# Prints "VERSION PATH" of the CPython behind a command; nothing if it does not run.
describe() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2] + sys.abiflags, sys.executable)' \
        2>/dev/null || true
}

# Prints the path of a CPython of version $1: what PATH has, else what pyenv has; or nothing.
interpreter() {
    local candidate version path
    for candidate in python3 "python$1" \
        $(printf '%s\n' "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python | sort -rV); do
        read -r version path <<<"$(describe "$candidate")"
        if [[ $version == "$1" ]]; then
            echo "$path"
            return
        fi
    done
}
