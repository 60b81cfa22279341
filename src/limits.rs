//! Every bound of a sandbox, with its unit and its reason.
//!
//! No buffer, queue, table, cache or wait is bounded by a literal elsewhere. A field is public so that an
//! embedder can set it; [`Limits::default`] is what `portcullis run` uses.

use std::time::Duration;

/// The bounds of one sandbox.
#[derive(Clone, Debug)]
pub struct Limits {
    /// TCP flows at once. Over it a SYN is answered with RST and counted.
    pub flows: usize,
    /// SYNs held for a verdict or a dial at once. Over it: RST, counted.
    pub half_open: usize,
    /// Closed flows remembered in TIME-WAIT; the oldest is dropped first.
    pub tombstones: usize,
    /// How long a closed flow is remembered: as long as smoltcp's own TIME-WAIT.
    pub time_wait: Duration,
    /// Receive ring of a flow, bytes; virtual until touched. Also the window the guest is offered.
    pub receive_ring: usize,
    /// Transmit ring of a flow, bytes; virtual until touched.
    pub transmit_ring: usize,
    /// Closed flows' rings kept for the next flow, so that no connection pays for fresh pages.
    pub spare_rings: usize,
    /// Bytes of rings that were ever touched, all flows and spare rings together: what they cost in memory. From
    /// half of it on new flows get small rings; over it new flows are refused, and one that would touch more is
    /// reset. Each is counted.
    pub ring_memory: usize,
    /// Frames read from the link in one turn, so that egress and flows get theirs.
    pub frames_per_turn: usize,
    /// Bytes a relay moves for one flow in one turn, for fairness between flows.
    pub bytes_per_turn: usize,
    /// A flow whose guest accepts no byte for so long while data is queued is reset.
    pub drain: Duration,
    /// Datagrams queued at once toward the DNS service, and replies toward the guest.
    pub datagrams: usize,
    /// How long the guest's DHCP lease lasts; it is the same address for ever, so only as often as that is the guest
    /// heard of. Whole seconds.
    pub dhcp_lease: Duration,
    /// How often a guest that configures IPv6 itself hears of its router unasked; between 4 s and 1,800 s. It believes
    /// in the router for three times as long.
    pub router_interval: Duration,

    /// Bytes looked at to tell a protocol; a ClientHello may be split and large.
    pub sniff_bytes: usize,
    /// How long a guest may take to show its protocol.
    pub sniff: Duration,
    /// TLS handshake, either leg.
    pub handshake: Duration,
    /// TCP connect to one upstream, all addresses together.
    pub dial: Duration,
    /// A request's head, from its first byte.
    pub request_head: Duration,
    /// A guest that for so long neither sends what it announced (Content-Length) nor takes what is there for it loses
    /// the exchange. An upstream may be silent for ever.
    pub stalled_body: Duration,

    /// Leaves kept, by host name.
    pub leaves: usize,
    /// Life of a leaf; at most 24 h.
    pub leaf_life: Duration,
    /// TLS 1.3 and 1.2 sessions remembered toward upstreams.
    pub upstream_sessions: usize,

    /// Header fields of a request or response.
    pub header_fields: usize,
    /// Octets of a header list, names, values and 32 a field as RFC 9113 counts them.
    pub header_bytes: usize,
    /// Concurrent h2 streams of one guest connection.
    pub h2_streams: u32,
    /// h2 flow-control window of a stream, octets.
    pub h2_stream_window: u32,
    /// h2 flow-control window of a connection, octets.
    pub h2_connection_window: u32,
    /// Read and write buffer of an h1 connection, octets, each; also the largest piece of a body moved at once.
    pub h1_buffer: usize,
    /// Octets of DATA queued on one h2 stream while its peer's window is closed.
    pub h2_send_buffer: usize,
    /// h2 streams reset by a peer before we looked at them; over it the connection ends (rapid reset).
    pub h2_pending_resets: usize,
    /// h2 streams we had to reset for a peer's faults; over it the connection ends.
    pub h2_error_resets: usize,
    /// Octets of a guest's own text quoted in a refusal or an event.
    pub quoted_text: usize,

    /// Address → name bindings held from DNS answers.
    pub dns_bindings: usize,
    /// Bindings of one name.
    pub dns_bindings_per_name: usize,
    /// Names bound to one address; each of them is judged when a flow is opened to it.
    pub dns_names_per_address: usize,
    /// Names with an address of the sandbox's own range.
    pub dns_mapped_names: usize,
    /// Questions being forwarded at once.
    pub dns_in_flight: usize,
    /// Wait for one nameserver before the next is asked.
    pub dns_timeout: Duration,
    /// Least time a binding lives, whatever the TTL said.
    pub dns_ttl_floor: Duration,
    /// Idle time of a DNS connection over TCP.
    pub dns_tcp_idle: Duration,
    /// Longest time a binding or an answer lives, whatever the TTL said.
    pub dns_ttl_ceiling: Duration,
    /// TTL of answers this program makes up itself: mapped names, the host alias, the hosts file.
    pub dns_local_ttl: Duration,
    /// How long "there is none" is believed, since a nameserver's own word for it is not read.
    pub dns_negative_ttl: Duration,
    /// Answers kept, one a name and family.
    pub dns_cached_answers: usize,
    /// Addresses kept of one answer.
    pub dns_answer_addresses: usize,
    /// CNAMEs followed in one answer.
    pub dns_aliases: usize,
    /// Octets of an answer over UDP, whatever the guest offers: what no path has to fragment.
    pub dns_udp_payload: u16,
    /// How long a nameserver that failed is asked last.
    pub dns_nameserver_rest: Duration,
    /// Once one family has answered, how long a dial waits for the other (RFC 8305 §3).
    pub dns_second_family: Duration,
    /// Octets read of the host's hosts file and of its resolv.conf; the rest is not looked at.
    pub dns_host_file: u64,

    /// Audit records queued for the sink.
    pub audit_queue: usize,
    /// Events queued for one subscriber; a slow one misses the oldest.
    pub event_queue: usize,
    /// `shutdown()` waits so long for flows to end by themselves.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: 16_384,
            half_open: 256,
            tombstones: 32_768,
            time_wait: Duration::from_secs(10),
            receive_ring: 512 << 10,
            transmit_ring: 1 << 20,
            spare_rings: 64,
            ring_memory: 256 << 20,
            frames_per_turn: 64,
            bytes_per_turn: 256 << 10,
            drain: Duration::from_secs(30),
            datagrams: 64,
            dhcp_lease: Duration::from_secs(24 * 3600),
            router_interval: Duration::from_secs(600),

            sniff_bytes: 16 << 10,
            sniff: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            dial: Duration::from_secs(10),
            request_head: Duration::from_secs(30),
            stalled_body: Duration::from_secs(60),

            leaves: 1_024,
            leaf_life: Duration::from_secs(24 * 3600),
            upstream_sessions: 256,

            header_fields: 100,
            header_bytes: 64 << 10,
            h2_streams: 128,
            h2_stream_window: 1 << 20,
            h2_connection_window: 4 << 20,
            h1_buffer: 128 << 10,
            h2_send_buffer: 256 << 10,
            h2_pending_resets: 32,
            h2_error_resets: 128,
            quoted_text: 256,

            dns_bindings: 16_384,
            dns_bindings_per_name: 1_024,
            dns_names_per_address: 256,
            dns_mapped_names: 16_384,
            dns_in_flight: 256,
            dns_timeout: Duration::from_secs(2),
            dns_ttl_floor: Duration::from_secs(60),
            dns_tcp_idle: Duration::from_secs(30),
            dns_ttl_ceiling: Duration::from_secs(24 * 3600),
            dns_local_ttl: Duration::from_secs(5),
            dns_negative_ttl: Duration::from_secs(30),
            dns_cached_answers: 2_048,
            dns_answer_addresses: 64,
            dns_aliases: 16,
            dns_udp_payload: 1_232,
            dns_nameserver_rest: Duration::from_secs(30),
            dns_second_family: Duration::from_millis(50),
            dns_host_file: 1 << 20,

            audit_queue: 4_096,
            event_queue: 1_024,
            shutdown: Duration::from_secs(5),
        }
    }
}
