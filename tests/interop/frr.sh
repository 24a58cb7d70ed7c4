#!/bin/sh
# FRR's vrrpd as a daemon that takes keepalived's options. The file after -f is in FRR's own words; the macvlan
# interfaces that FRR wants to find are made from it. Ends when it is told to, or when vrrpd does.
set -u
while [ $# -gt 0 ]; do
    [ "$1" = -f ] && config=$2
    shift
done
export PATH=/usr/lib/frr:$PATH
echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore
make_link() { # name, MAC, addresses
    link=$1 mac=$2
    shift 2
    ip link show "$link" >/dev/null 2>&1 && ip link del "$link"
    ip link add "$link" link eth0 type macvlan mode bridge
    ip link set "$link" address "$mac"
    for address; do ip addr add "$address" dev "$link" nodad 2>/dev/null || ip addr add "$address" dev "$link"; done
    ip link set "$link" up
}
words() { awk -v family="$1" -v prefix="$2" '$1 == "vrrp" && $3 == family { print $4 prefix }' "$config"; }
vrid=$(awk '$1 == "vrrp" { printf "%02x", $2; exit }' "$config")
v4=$(words ip /24) v6=$(words ipv6 /64)
[ -n "$v4" ] && make_link "vrrp4-2-$vrid" "00:00:5e:00:01:$vrid" $v4
[ -n "$v6" ] && make_link "vrrp6-2-$vrid" "00:00:5e:00:02:$vrid" $v6
# Its crash logs; the mounts of a lab's process are its own.
mount -t tmpfs tmpfs /var/tmp
mkdir -p /run/frr && chown frr:frr /run/frr
rm -f /run/frr/*
common="-A 127.0.0.1 --log stdout"
# shellcheck disable=SC2086
zebra $common -i /run/frr/zebra.pid -f /dev/null &
zebra=$!
while [ ! -S /run/frr/zserv.api ]; do kill -0 $zebra || exit 1; sleep 0.05; done
# shellcheck disable=SC2086
vrrpd $common -i /run/frr/vrrpd.pid -f "$config" &
vrrpd=$!
trap 'kill $vrrpd' TERM
wait $vrrpd
wait $vrrpd
kill $zebra
wait $zebra
