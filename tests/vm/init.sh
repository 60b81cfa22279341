#!/bin/busybox sh
# The first process of the test's machine: a network card, an address by DHCP, and requests over TLS.
/bin/busybox mkdir -p /proc /sys /dev /etc /tmp /run
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
for module in $(cat /modules/order); do insmod "/modules/$module"; done
ip link set lo up
ip link set eth0 up
udhcpc -i eth0 -n -q -t 10 -s /udhcpc.sh || echo "DHCP FAILED"
echo "resolv.conf: $(cat /etc/resolv.conf)"
set -a
. /guest.env
set +a

get() {
  echo "== $1"
  shift
  curl -sS --max-time 20 --cacert /run/portcullis/ca.pem "$@" 2>&1
  echo "== exit $?"
}
echo "the guest has $TOKEN"
get echo -H "Authorization: Bearer $TOKEN" https://api.example.com/echo
get bundle --cacert "$CURL_CA_BUNDLE" -o /dev/null -w '%{http_code} over HTTP/%{http_version}\n' https://api.example.com/echo
get untrusted --cacert /upstream.pem https://api.example.com/echo
get denied https://elsewhere.example.com/
get large -o /tmp/large -w '%{size_download}\n' https://api.example.com/big/300000
# An address made from an advertisement is not used before it is known to be nobody else's.
six() { ip -6 addr show dev eth0 scope global | grep inet6; }
tries=0
until six | grep -qv tentative || [ $((tries += 1)) -gt 100 ]; do sleep 0.1; done
get six -6 -o /dev/null -w 'from %{local_ip}\n' https://api.example.com/echo
# This one has no end: it is cut off with the machine.
curl -sS -N --cacert /run/portcullis/ca.pem https://api.example.com/sse >/tmp/events &
tries=0
until grep -q first /tmp/events || [ $((tries += 1)) -gt 100 ]; do sleep 0.1; done
cat /tmp/events
echo "== all done"
reboot -f
