# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034
#
# What the scripts share; sourced by them. Goes to the top of the tree.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C
library=$PWD/src/.libs/libtruepeer.so
build_packages=(build-essential autoconf automake libtool pkg-config check)

say() {
	printf '%s\n' "$*"
}

die() {
	say "${0##*/}: $*" >&2
	exit 1
}

# Ends what this script has started in the background.
stop_all() {
	local pids
	mapfile -t pids < <(jobs -pr)
	[ ${#pids[@]} = 0 ] || kill "${pids[@]}" || true
	wait
}

# A folder for everything temporary; it goes when the script does, however that ends.
tmp=$(mktemp -d)
chmod 755 "$tmp"
trap 'stop_all; rm -rf "$tmp"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs a command under a title and shows its output only if it fails.
quietly() {
	local title=$1 out
	shift
	out=$(mktemp "$tmp/out.XXXX")
	say "$title ..."
	"$@" >"$out" 2>&1 && return
	cat "$out"
	return 1
}

installed() {
	[[ $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) == *' ok installed' ]]
}

# Installs packages; no service is started.
apt_install() (
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		trap 'rm -f $policy' EXIT
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
	fi
	export DEBIAN_FRONTEND=noninteractive
	dpkg --configure -a # in case an earlier run was interrupted
	apt-get -q update
	apt-get -q -y -o DPkg::Lock::Timeout=120 --no-remove --no-install-recommends install "$@"
)

# Sees to it that packages are there, or says which to install; never fails.
need() {
	local package missing=()
	for package; do
		installed "$package" || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	if [ -n "$(command -v apt-get)" ] && [ "$EUID" = 0 ]; then
		quietly "Installing ${missing[*]}" apt_install "${missing[@]}" && return
	fi
	say "Please install what is missing of: ${missing[*]} (going on with what is there)"
}

# Builds in place.
build() {
	if [ ! configure -nt configure.ac ]; then
		autoreconf -fi || return
	fi
	if [ ! -e config.status ]; then
		./configure || return
	elif [ ! config.status -nt /var/lib/dpkg/status ]; then # packages came since
		{ ./config.status --recheck && ./config.status; } || return
	fi
	make -j"$(nproc)"
}
