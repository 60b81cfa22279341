#!/bin/busybox sh
# What udhcpc calls with what it was told.
case "$1" in
bound | renew)
  ip addr flush dev "$interface" scope global
  ip addr add "$ip/$mask" dev "$interface"
  for gateway in $router; do ip route add default via "$gateway" dev "$interface"; done
  : >/etc/resolv.conf
  for server in $dns; do echo "nameserver $server" >>/etc/resolv.conf; done
  echo "bound to $ip/$mask via $router, MTU $mtu"
  ;;
esac
