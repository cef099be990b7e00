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

# "PASSED FAILED SKIPPED" of one test program, from its log's last summary line (Check's or
# pytest's); a program that fell over before it wrote one counts as one test.
count() { # LOG
	awk '
		/^[0-9]+%: Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+$/ {
			failed = $5 + $7
			passed = $3 - failed
			skipped = 0
			seen = 1
		}
		/^(=+ )?[0-9]+ [a-z]+.* in [0-9.]+s/ {
			passed = failed = skipped = 0
			seen = 1
			for (i = 2; $i != "in"; i++) {
				if ($i ~ /^passed/)
					passed += $(i - 1)
				if ($i ~ /^(failed|errors?)/)
					failed += $(i - 1)
				if ($i ~ /^skipped/)
					skipped += $(i - 1)
			}
		}
		FILENAME ~ /\.trs$/ && /^:test-result:/ {
			result = $2
		}
		END {
			if (result == "SKIP" && !seen)
				skipped = 1
			else if (result != "PASS" && !failed)
				failed = 1
			print passed + 0, failed + 0, skipped + 0
		}' "$1" "${1%.log}.trs"
}

# Sets $passed, $failed and $skipped to what all tests of a build have come to.
count_all() { # FOLDER
	local log p f s
	passed=0 failed=0 skipped=0
	for log in "$1"/tests/*/*.log; do
		[ -e "$log" ] || continue
		read -r p f s < <(count "$log")
		((passed += p, failed += f, skipped += s)) || true
	done
}

say_counts() {
	say "$passed passed, $failed failed$([ "$skipped" = 0 ] || printf ', %d skipped' "$skipped")"
}
