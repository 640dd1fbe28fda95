#!/bin/sh
# The system programs that the tests drive for real: OpenSSH servers as nodes, tmux as a terminal,
# git. As root on Debian and its kin they are installed; elsewhere the missing ones are named.
set -eu

missing=
need() { # need PACKAGE PROGRAM
    command -v "$2" >/dev/null 2>&1 || missing="$missing $1"
}
need openssh-server /usr/sbin/sshd
need openssh-client ssh-keygen
need git git
need make make
need tmux tmux
need procps ps

[ -n "$missing" ] || exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing:$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    apt-get install -y -qq --no-install-recommends $missing
else
    echo "error: the tests need the packages$missing (Debian's names); install them first" >&2
    exit 1
fi
