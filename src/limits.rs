//! Every bound of a sandbox, with its unit and its reason.
//!
//! No buffer, queue, table, cache or wait is bounded by a literal elsewhere. A field is public so that an
//! embedder can set it, and a key of `[limits]` in a configuration; [`Limits::default`] is what `portcullis run`
//! uses where there is none.

mod keys;
mod order;
mod standard;

use std::time::Duration;

use keys::bounds;
pub(crate) use keys::time;
pub use keys::{Amount, LimitError};

/// The least and the most a ring may hold, octets: some segments of the usual size, and all that RFC 7323 §2.3 can
/// offer.
const RING: std::ops::RangeInclusive<usize> = 16 << 10..=1 << 30;
/// Entries of a table, all of whose room is made at once.
const ENTRIES: usize = 1 << 24;
/// Entries of a queue, all of whose room is made at once.
const QUEUED: usize = 1 << 20;
/// The largest window that HTTP/2 knows (RFC 9113 §6.9.1).
const WINDOW: u32 = (1 << 31) - 1;
/// A certificate's longest life, by which a leaf that leaks is soon worth nothing.
const DAY: Duration = Duration::from_secs(24 * 3600);
const NONE: Duration = Duration::ZERO;

bounds! {
/// The bounds of one sandbox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// TCP flows at once. Over it a SYN is answered with RST and counted.
    pub flows: usize where ..=ENTRIES,
    /// SYNs held for a verdict or a dial at once. Over it: RST, counted.
    pub half_open: usize where ..=ENTRIES,
    /// Closed flows remembered in TIME-WAIT; the oldest is dropped first.
    pub tombstones: usize where 0..=ENTRIES,
    /// How long a closed flow is remembered: as long as smoltcp's own TIME-WAIT.
    pub time_wait: Duration where NONE..,
    /// Receive ring of a flow, bytes; virtual until touched. Also the window the guest is offered.
    pub receive_ring: usize where RING,
    /// Transmit ring of a flow, bytes; virtual until touched.
    pub transmit_ring: usize where RING,
    /// Closed flows' rings kept for the next flow, so that no connection pays for fresh pages.
    pub spare_rings: usize where 0..=ENTRIES,
    /// Bytes of rings that were ever touched, all flows and spare rings together: what they cost in memory. From
    /// half of it on new flows get small rings; over it new flows are refused, and one that would touch more is
    /// reset. Each is counted.
    pub ring_memory: usize,
    /// Frames read from the link in one turn, so that egress and flows get theirs.
    pub frames_per_turn: usize where ..=65_536,
    /// Bytes a relay moves for one flow in one turn, for fairness between flows.
    pub bytes_per_turn: usize,
    /// A flow whose guest accepts no byte for so long while data is queued is reset.
    pub drain: Duration,
    /// Datagrams queued at once toward the DNS service, and replies toward the guest.
    pub datagrams: usize where ..=65_536,
    /// TCP connections into the guest at once, through all published ports together, so that the host's side cannot
    /// take every flow from the guest. Over it the peer is reset, and counted.
    pub published_connections: usize where 0..=ENTRIES,
    /// Peers of one published UDP port that have an association at once; the least recently heard of ends for the
    /// next. Also how many refused peers of it are remembered, so that each is recorded once.
    pub published_peers: usize where ..=ENTRIES,
    /// UDP and echo associations accepted at once; the least recently used one is ended for the next, counted.
    pub associations: usize where ..=ENTRIES,
    /// New associations that wait for a verdict. Over it their datagrams are dropped, counted.
    pub associations_held: usize where ..=ENTRIES,
    /// Datagrams of one association queued toward the proxy; one more is dropped, counted.
    pub udp_queue: usize where ..=QUEUED,
    /// Octets of the packets in that queue.
    pub udp_queue_bytes: usize,
    /// Octets of buffers in the queues of all associations together.
    pub udp_memory: usize,
    /// Emptied buffers kept for the next datagrams of each direction, so that those cost no allocation.
    pub spare_datagrams: usize where 0..=QUEUED,
    /// IP packets of the guest of which not all fragments are there, of up to 64 KiB each; the oldest is dropped for
    /// the next.
    pub fragment_sets: usize where ..=QUEUED,
    /// Fragments of one packet; one more spoils it.
    pub fragments_per_set: usize,
    /// How long the fragments of a packet are waited for, from the first that came.
    pub fragment_life: Duration,
    /// ICMP errors sent to the guest in a second, and at once; more are dropped, counted.
    pub icmp_errors: u32,
    /// Frames of datagrams and ICMP errors queued toward the guest, which a link takes in one turn or is busy.
    pub egress_frames: usize where ..=QUEUED,
    /// Octets of those frames.
    pub egress_bytes: usize,
    /// A UDP or echo association ends when for so long nothing has passed either way.
    pub udp_idle: Duration,
    /// Refused flows and denied questions that have a record of their own within [`Limits::refusals_window`]; the
    /// others are counted in one, so that a scan does not fill the audit queue. Those whose guest is told an id are
    /// none of them.
    pub refusals_told: usize where 0..,
    /// The stretch of time that [`Limits::refusals_told`] is for.
    pub refusals_window: Duration,
    /// How long the guest's DHCP lease lasts; it is the same address for ever, so only as often as that is the guest
    /// heard of. Whole seconds.
    pub dhcp_lease: Duration where Duration::from_secs(60)..,
    /// How often a guest that configures IPv6 itself hears of its router unasked; between 4 s and 1,800 s. It believes
    /// in the router for three times as long.
    pub router_interval: Duration where Duration::from_secs(4)..=Duration::from_secs(1_800),

    /// Bytes looked at to tell a protocol; a ClientHello may be split and large.
    pub sniff_bytes: usize,
    /// How long a guest may take to show its protocol.
    pub sniff: Duration,
    /// TLS handshake, either leg.
    pub handshake: Duration,
    /// TCP connect to one upstream, all addresses together; where a proxy leads there, until its tunnel is open.
    pub dial: Duration,
    /// A request's head, from its first byte.
    pub request_head: Duration,
    /// A guest that for so long neither sends what it announced (Content-Length) nor takes what is there for it loses
    /// the exchange. An upstream may be silent for ever.
    pub stalled_body: Duration,

    /// Leaves kept, by host name.
    pub leaves: usize where ..=ENTRIES,
    /// Life of a leaf; at most 24 h.
    pub leaf_life: Duration where Duration::from_secs(60)..=DAY,
    /// TLS 1.3 and 1.2 sessions remembered toward upstreams.
    pub upstream_sessions: usize where 0..=ENTRIES,

    /// Header fields of a request or response.
    pub header_fields: usize where ..=16_384,
    /// Octets of a header list, names, values and 32 a field as RFC 9113 counts them.
    pub header_bytes: usize where 1_024..=16 << 20,
    /// Concurrent h2 streams of one guest connection.
    pub h2_streams: u32,
    /// h2 flow-control window of a stream, octets.
    pub h2_stream_window: u32 where ..=WINDOW,
    /// h2 flow-control window of a connection, octets.
    pub h2_connection_window: u32 where 65_535..=WINDOW,
    /// Read and write buffer of an h1 connection, octets, each; also the largest piece of a body moved at once.
    pub h1_buffer: usize where 8_192..=1 << 30,
    /// Octets of DATA queued on one h2 stream while its peer's window is closed.
    pub h2_send_buffer: usize where ..=1 << 30,
    /// h2 streams reset by a peer before we looked at them; over it the connection ends (rapid reset).
    pub h2_pending_resets: usize where 0..,
    /// h2 streams we had to reset for a peer's faults; over it the connection ends.
    pub h2_error_resets: usize where 0..,
    /// Octets of a request's body collected to tell its new length, where secrets change it; a longer one is sent
    /// in chunks.
    pub collected_body: usize where 0..=1 << 30,
    /// Arrays and objects within one another that are walked through to a string of a JSON body; deeper ones are
    /// passed on with nothing injected from there on.
    pub json_depth: usize where ..=65_536,
    /// Octets of the fields of one part of a multipart body; from a longer head on nothing is injected.
    pub part_head: usize where ..=1 << 20,
    /// How long an answer is silent before the beginning of what may be a secret goes on to the guest, where it is
    /// no longer than `released_octets`: a peer may wait for the end of a message that ends as a secret begins.
    pub scrub_silence: Duration where NONE..,
    /// Octets of a secret's beginning that a silence may let go; the rest of the secret is scrubbed all the same.
    pub released_octets: usize where 0..=3,
    /// Values that a secret had and that are scrubbed still; beyond it the oldest is forgotten. Each one slows the
    /// search in every answer.
    pub retired_values: usize where ..=1_024,
    /// How long a secret's command may take.
    pub source_timeout: Duration where ..=Duration::from_secs(3600),
    /// Octets that a secret's command may print; what goes beyond is no secret.
    pub source_output: usize where 1_024..=1 << 20,
    /// Octets of the end of what a secret's command complains of that go to its error and to the log.
    pub source_complaint: usize where 0..=64 << 10,
    /// How long before its value expires a secret's command is run again; half the value's life where that is less.
    pub source_margin: Duration where NONE..,
    /// Wait before a source that failed is tried again; it doubles with each failure, up to `source_rest`.
    pub source_retry: Duration where ..=Duration::from_secs(3600),
    /// The longest wait between two tries.
    pub source_rest: Duration,
    /// How often a secret's file is looked at. A change counts once it is there unchanged twice in a row, so that no
    /// half of it is read. Longer than the grain of a file's time.
    pub source_poll: Duration where Duration::from_millis(20)..,
    /// The longest that a value's end is slept toward at once, since a machine may sleep too and its clock be set.
    pub source_recheck: Duration where ..=Duration::from_secs(3600),
    /// Octets decoded of a body in a content coding at once, and so the most that waits of it between the one who
    /// sends it and the one who takes it.
    pub decoded_step: usize where 1_024..=16 << 20,
    /// Octets that one octet of a coded body may become, over the whole of it so far. Text becomes 3 to 30; gzip
    /// can do 1,000, and the others far more.
    pub decoded_ratio: u64,
    /// Octets that a coded body may become whatever its ratio: a page of blanks is no bomb.
    pub decoded_floor: u64,
    /// Window of a zstd frame, octets, in powers of two: what RFC 9659 has every sender keep to. That of br is 16 MiB
    /// at most, of gzip and deflate 32 KiB, by their formats.
    pub decoded_window: usize where 1 << 10..=128 << 20,
    /// Octets of a WebSocket frame that are kept until all of it is there, where a change may make it longer or
    /// shorter; of a longer one each piece goes on as a fragment.
    pub websocket_frame: usize where 0..=16 << 20,
    /// How long both ends of a WebSocket that broke the protocol, or has a secret that cannot be recorded, are
    /// given to hear why it is closed.
    pub websocket_close: Duration,
    /// Octets that decoders and encoders of bodies hold, all bodies together, windows and tables. One body more is
    /// refused.
    pub decoder_memory: usize where 1 << 20..,
    /// Octets of a guest's own text quoted in a refusal or an event.
    pub quoted_text: usize where ..=65_536,

    /// Address → name bindings held from DNS answers.
    pub dns_bindings: usize,
    /// Bindings of one name.
    pub dns_bindings_per_name: usize,
    /// Names bound to one address; each of them is judged when a flow is opened to it.
    pub dns_names_per_address: usize,
    /// Names with an address of the sandbox's own range.
    pub dns_mapped_names: usize where ..=ENTRIES,
    /// Questions that wait for a nameserver's answer at once.
    pub dns_in_flight: usize,
    /// Wait for one nameserver before the next is asked, where resolv.conf names no other.
    pub dns_timeout: Duration,
    /// Wait for the last nameserver there is to ask, the last time, where resolv.conf names none: a zone may be slow,
    /// and there is nobody to go on to. As long as other resolvers of one machine wait.
    pub dns_last_timeout: Duration,
    /// Wait for all nameservers together: about as long as a guest's own resolver waits.
    pub dns_patience: Duration,
    /// Least time a binding lives, whatever the TTL said.
    pub dns_ttl_floor: Duration where NONE..,
    /// Idle time of a DNS connection over TCP.
    pub dns_tcp_idle: Duration,
    /// Longest time a binding or an answer lives, whatever the TTL said.
    pub dns_ttl_ceiling: Duration,
    /// TTL of answers this program makes up itself: mapped names, the host alias, the hosts file.
    pub dns_local_ttl: Duration where NONE..,
    /// Least and longest time that "there is none" is believed, whatever the SOA said (RFC 2308 §5).
    pub dns_negative_ttl_floor: Duration where NONE..,
    /// See [`Limits::dns_negative_ttl_floor`].
    pub dns_negative_ttl_ceiling: Duration where NONE..,
    /// Answers kept, one a name and record type.
    pub dns_cached_answers: usize where ..=ENTRIES,
    /// Octets that those cost in memory; the least recently used go first, and one that alone would take a large part
    /// of it is not kept. What a server sends in 16 KiB may cost twenty times that.
    pub dns_cache_memory: usize where 0..,
    /// Records kept of one answer.
    pub dns_answer_records: usize,
    /// Octets of a nameserver's message over TCP; also how much waits for a guest that does not read before the next
    /// of its questions is taken.
    pub dns_message: usize where 512..=65_535,
    /// Octets of a guest's message over TCP or TLS; a longer one ends its connection. One question has 271 at most, and
    /// what EDNS adds is padding (RFC 8467 §4.1) and a few options.
    pub dns_query: usize where 512..=65_535,
    /// Octets of questions that are not whole yet and of answers that the guest does not read, on all its DNS
    /// connections together; one that needs more then ends, counted.
    pub dns_stream_memory: usize,
    /// Questions of one connection that are in flight at once; the guest's window holds back the others.
    pub dns_pipelined: usize where ..=1_024,
    /// CNAMEs followed in one answer.
    pub dns_aliases: usize where 0..=1_024,
    /// Octets of an answer over UDP, whatever the guest offers: what no path has to fragment.
    pub dns_udp_payload: u16 where 512..,
    /// How long a nameserver that failed is asked last.
    pub dns_nameserver_rest: Duration where NONE..,
    /// How long it is remembered that a nameserver knows no EDNS, or does not keep the case of letters.
    pub dns_nameserver_memory: Duration where NONE..,
    /// Once one family has answered, how long a dial waits for the other (RFC 8305 §3).
    pub dns_second_family: Duration where NONE..,
    /// Octets read of the host's hosts file and of its resolv.conf; the rest is not looked at.
    pub dns_host_file: u64,
    /// How often those files are looked at, where there are questions: sooner than who changes one can ask, and not for
    /// each of ten thousand questions a second.
    pub dns_host_file_rest: Duration where NONE..,
    /// Sockets kept for the next questions to nameservers. A question that finds none makes one.
    pub dns_spare_sockets: usize where 0..=ENTRIES,

    /// The last denials of a running sandbox that `portcullis explain` can ask for; an older one is in the audit file.
    pub denials_kept: usize where 0..=QUEUED,
    /// Octets of a line of an audit file that is read back; a longer one is left out.
    pub audit_line: usize where 1_024..=1 << 20,
    /// Distinct hosts, and distinct requests of each, that `portcullis learn` makes rules of.
    pub learned: usize where ..=QUEUED,
    /// Audit records queued for the sink.
    pub audit_queue: usize where ..=QUEUED,
    /// Events queued for one subscriber; a slow one misses the oldest.
    pub event_queue: usize where ..=QUEUED,
    /// `shutdown()` waits so long for flows to end by themselves.
    pub shutdown: Duration where NONE..,

    /// Octets of the path and query of a request under way that are kept, to judge it again when the policy changes; a
    /// request with a longer one ends then where any rule is about requests to its host.
    pub path_kept: usize where 16..=1 << 20,
    /// Rules put before the others while the sandbox runs; over it a new one is refused.
    pub live_rules: usize where ..=ENTRIES,
    /// Connections to the control socket served at once; the next ones wait.
    pub control_connections: usize where ..=1_024,
    /// Octets of one request on the control socket.
    pub control_request: usize where 64..=1 << 20,
    /// Octets of an answer on the control socket that a client reads.
    pub control_answer: usize where 1_024..=1 << 30,
    /// How long one request on the control socket may take, answer included.
    pub control_wait: Duration where ..=Duration::from_secs(3600),
}
}

#[cfg(test)]
mod tests;
