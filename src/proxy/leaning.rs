//! A flow's hold on the DNS binding by which it was allowed.
//!
//! Invariant: a binding that was pinned is unpinned exactly once, when its flow ends in whatever way.

use std::net::IpAddr;
use std::rc::Rc;

use super::Context;
use crate::name::HostName;

/// A flow that lives by a DNS binding, which stays live as long as the flow does.
pub(super) struct Leaning {
    context: Rc<Context>,
    addr: IpAddr,
    host: HostName,
    pinned: bool,
}

impl Leaning {
    /// The host alias and mapped names have no binding to lean on, and need none.
    pub(super) fn on(context: &Rc<Context>, addr: IpAddr, host: HostName) -> Self {
        let pinned = context.resolver.names().borrow_mut().pin(addr, &host);
        Self { context: Rc::clone(context), addr, host, pinned }
    }
}

impl Drop for Leaning {
    fn drop(&mut self) {
        if self.pinned {
            self.context.resolver.names().borrow_mut().unpin(self.addr, &self.host);
        }
    }
}
