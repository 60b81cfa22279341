//! DNS messages of a guest to a sandbox that allows nothing: whatever is answered is a message, and for that question.
#![no_main]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType};
use libfuzzer_sys::fuzz_target;
use portcullis::dns::{Gateways, Resolver, Setup, Transport};
use portcullis::limits::Limits;
use portcullis::policy::{Live, Policy};

fuzz_target!(|octets: &[u8]| {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("a runtime");
    for transport in [Transport::Udp, Transport::Tcp] {
        let answer = runtime.block_on(async {
            let gateways = Gateways { v4: Ipv4Addr::new(172, 16, 0, 1), v6: Ipv6Addr::LOCALHOST };
            let policy = Arc::new(Live::new(Policy::builder().build()));
            let resolver = Resolver::new(Setup::new(policy, Arc::new(Limits::default()), gateways));
            resolver.expect("a resolver").answer(octets, transport).await
        });
        if answer.is_empty() {
            continue;
        }
        let answer = Message::from_vec(&answer).expect("a message");
        assert_eq!(answer.metadata.message_type, MessageType::Response);
        assert_eq!(octets.get(..2), Some(&answer.metadata.id.to_be_bytes()[..]));
    }
});
