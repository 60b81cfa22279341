//! DNS as the guest sees it over UDP: any address, port 53.

use std::rc::Rc;

use super::Context;
use crate::dns::Transport;
use crate::net::Datagram;

/// Answers one datagram, or stays silent.
pub(super) async fn datagram(context: Rc<Context>, query: Datagram) {
    let answer = context.resolver.answer(query.payload(), Transport::Udp).await;
    if !answer.is_empty() {
        query.reply(&answer);
    }
}
