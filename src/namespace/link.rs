//! The guest's end of the cable: a TAP device, its addresses and its routes.
//!
//! Runs as pid 1 in the new network namespace. Invariant: loopback and this device are all there is, and
//! every route but the device's own prefixes leads to the gateway.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use crate::link::tap;
use crate::namespace::error::NamespaceError;
use crate::namespace::netlink::{LinkSettings, Netlink};

/// Name of the device in the guest.
const DEVICE: &str = "eth0";
/// Packets the guest's kernel queues before it drops one; long, because a drop costs a whole second here.
const QUEUE: u32 = 10_000;

/// Who is who on the guest's cable.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The guest's hardware address.
    pub mac: [u8; 6],
    /// Octets of the longest IP packet; segments of 64 KiB cross by offload, whatever it is.
    pub mtu: u16,
    /// IPv4, the guest's own and the gateway's.
    pub v4: Assignment<Ipv4Addr>,
    /// IPv6, the guest's own and the gateway's.
    pub v6: Assignment<Ipv6Addr>,
}

/// One family's addresses.
#[derive(Clone, Copy, Debug)]
pub struct Assignment<A> {
    /// The guest's own.
    pub guest: A,
    /// Bits of the prefix on the link.
    pub prefix: u8,
    /// Where everything else goes.
    pub gateway: A,
}

/// Makes the device, settles it and gives its descriptor.
pub(super) fn raise(addresses: &Addresses) -> Result<OwnedFd, NamespaceError> {
    let tap = tap::open(DEVICE).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => NamespaceError::NoTun,
        Some(libc::EACCES) => NamespaceError::TunDenied(error.into()),
        _ => NamespaceError::Tap(error.into()),
    })?;
    let mut netlink = Netlink::open().map_err(network("open rtnetlink"))?;
    let loopback = netlink.index("lo").map_err(network("find lo"))?;
    netlink.up(loopback).map_err(network("bring lo up"))?;

    let device = netlink.index(DEVICE).map_err(network("find the TAP device"))?;
    let settings = LinkSettings { mac: addresses.mac, mtu: addresses.mtu.into(), queue: QUEUE };
    netlink.set(device, &settings).map_err(network("set the TAP's MAC, MTU and queue"))?;
    let has_v6 = kernel_has_v6();
    if has_v6 {
        netlink.no_link_local(device).map_err(network("turn link-local addresses off"))?;
    }
    netlink.up(device).map_err(network("bring the TAP up"))?;
    assign(&mut netlink, device, &addresses.v4)?;
    if has_v6 {
        assign(&mut netlink, device, &addresses.v6)?;
    }
    Ok(tap)
}

fn assign<A: Copy + Into<IpAddr>>(
    netlink: &mut Netlink,
    device: u32,
    assignment: &Assignment<A>,
) -> Result<(), NamespaceError> {
    let (guest, gateway) = (assignment.guest.into(), assignment.gateway.into());
    netlink.add_address(device, guest, assignment.prefix).map_err(network("add the guest's address"))?;
    netlink.add_default_route(device, gateway).map_err(network("add the default route"))
}

/// A kernel built or started without IPv6, or a host that turns it off in every network, gives a guest
/// without it.
fn kernel_has_v6() -> bool {
    let switch = format!("/proc/sys/net/ipv6/conf/{DEVICE}/disable_ipv6");
    // A container may mount these settings read-only; then they stay as they are.
    let _ = fs::write(&switch, "0");
    fs::read_to_string(&switch).is_ok_and(|disabled| disabled.trim() == "0")
}

fn network(step: &'static str) -> impl FnOnce(rustix::io::Errno) -> NamespaceError {
    move |errno| NamespaceError::Network { step: step.to_owned(), errno: errno.into() }
}
