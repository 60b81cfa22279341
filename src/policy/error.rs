//! Why a text is no rule.
//!
//! Invariant: every text here says what to write instead.

use super::service::Reserved;
use super::subnet::SubnetError;
use crate::name::{HOST_ALIAS, NameError};

/// Why a text is no rule, and what to write instead.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RuleError {
    /// The host or the port is none.
    #[error("{0}; write HOST, HOST:PORT or *.SUFFIX")]
    Host(NameError),
    /// An address, or a text that some resolver reads as one.
    #[error(
        "is an address, where a name is needed; name the host, with --connect-to for its address if need be"
    )]
    Address,
    /// `*` alone.
    #[error("'*' would be any host; name the host, or all below one as *.SUFFIX")]
    AnyHost,
    /// `scheme://` before the host.
    #[error("is a URL; write its host alone, as HOST or HOST:PORT")]
    Url,
    /// The host alias without a port.
    #[error("needs a port: {HOST_ALIAS}:PORT")]
    AliasPort,
    /// The host alias in `--connect-to`.
    #[error("{HOST_ALIAS} is always this machine's loopback; use another name")]
    AliasRedirected,
    /// `localhost`, which a guest's resolver keeps to itself.
    #[error("localhost is the sandbox itself; this machine's loopback is {HOST_ALIAS}:PORT")]
    Localhost,
    /// Port 53 or 853.
    #[error(
        "ports 53 and 853 are answered by the sandbox's own DNS; set [net] nameservers to choose who is asked"
    )]
    Dns,
    /// Another word than a protocol behind a slash.
    #[error("has a '/' that is followed by no protocol; write HOST, HOST:PORT, HOST:PORT/udp or HOST/icmp")]
    Protocol,
    /// UDP without a port.
    #[error("UDP needs a port; write HOST:PORT/udp")]
    UdpPort,
    /// A UDP port that no rule opens.
    #[error("that UDP port is refused to every guest: {0}; {advice}", advice = udp_advice(*.0))]
    UdpReserved(Reserved),
    /// ICMP with a port.
    #[error("ICMP has no ports; write HOST/icmp")]
    IcmpPort,
    /// An echo of the host alias.
    #[error("the gateway answers echo requests by itself; leave the rule out")]
    AliasEcho,
    /// A word that stands where a port, a range of them or a list of those should.
    #[error("has no ports that can be; write 443, 8000-8999, or several with commas between")]
    Ports,
    /// A word that is no group.
    #[error("is no group; write one of public, private, loopback, link-local, metadata, multicast and host")]
    Group,
    /// Neither allow nor deny.
    #[error("is no action; write allow or deny")]
    Action,
    /// What is kept for later.
    #[error("ask is reserved for later versions; write allow or deny")]
    Ask,
    /// No direction.
    #[error("is no direction; write egress, ingress or any")]
    Direction,
    /// No method.
    #[error("is no method; write it in capitals, as in GET")]
    Method,
    /// CONNECT or TRACE.
    #[error("CONNECT and TRACE are never let by; leave them out")]
    MethodNeverPassed,
    /// No glob over paths.
    #[error("is no path; write one that starts with '/', where * is any text without '/' and ** any text")]
    Path,
    /// A path that no request can have in its one form.
    #[error(
        "is no canonical path; write it without //, /./, /../, '\\', ';', '?', '#' and needless %-escapes, a space as %20"
    )]
    PathNotCanonical,
    /// An empty list.
    #[error("is empty, and would mean nothing; leave it out for any")]
    Empty,
    /// Methods or paths for what is not read.
    #[error("methods and paths are for TCP of a host, of any or of @public; leave them out, or name a host")]
    RequestsUnread,
    /// Methods or paths for what comes in.
    #[error("what comes in is not read; leave methods and paths out")]
    RequestsInward,
    /// A name for a peer.
    #[error("peers have addresses and no names; write an address, a subnet, @GROUP or any")]
    PeerByName,
    /// Ports for ICMP alone.
    #[error("ICMP has no ports; leave them out")]
    PortsOfIcmp,
    /// The group of metadata services, to be allowed.
    #[error("a metadata service is opened by its very address and by nothing else; write that")]
    MetadataByGroup,
    /// A word that stands where none like it may.
    #[error(
        "has '{0}' where it may not be; write ACTION [DIRECTION] [METHOD,METHOD] DESTINATION[:PORTS][/PROTOCOL] [PATH]..."
    )]
    Word(String),
    /// An IPv6 address that may end in a port.
    #[error("has an IPv6 address without brackets; write it as in [2001:db8::1]:443")]
    Brackets,
    /// Leave for addresses in one word, without a port.
    #[error(
        "needs a port, as in 10.0.0.1:5432; a rule without ports opens all of them: --rule 'allow ADDRESS'"
    )]
    AddressPort,
    /// More than one destination, or a text that has none.
    #[error("needs one destination: a host, an address, a subnet, @GROUP or any")]
    Destination,
    /// A port where only a host belongs.
    #[error("has a port; write the host alone, and its ports under ports")]
    HostPort,
    /// A subnet that is none.
    #[error("{0}")]
    Subnet(SubnetError),
    /// Not `HOST:PORT:ADDR:PORT`.
    #[error("write HOST:PORT:ADDR:PORT with an address, an IPv6 one in brackets")]
    ConnectTo,
}

impl RuleError {
    /// A word that stands where none like it may.
    pub(super) fn word(word: &str) -> Self {
        Self::Word(word.chars().take(WORD).flat_map(char::escape_debug).collect())
    }
}

/// Characters of a wrong word that are repeated.
const WORD: usize = 64;

fn udp_advice(reserved: Reserved) -> &'static str {
    match reserved {
        Reserved::Dns | Reserved::OtherDns => "set [net] nameservers to choose who is asked",
        Reserved::Quic => "write HOST alone, and clients use TCP",
    }
}
