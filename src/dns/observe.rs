//! Names that are answered for only because the sandbox observes.
//!
//! It tells, and changes no answer. Invariant: a name is told of before any of its addresses is known here.

use super::question::{Kind, Question};
use super::resolver::Resolver;
use crate::name::HostName;
use crate::policy::Policy;

/// Tells of a question that would be denied; what has an address known is asked again and again, and was told of.
pub(super) fn watch(resolver: &Resolver, policy: &Policy, (question, host): (&Question, &HostName)) {
    let is_known = {
        let names = resolver.names().borrow();
        names.is_bound(host) || names.is_mapped(host)
    };
    if is_known || !matches!(question.kind(), Kind::Address(_)) {
        return;
    }
    if let Some(denial) = policy.would_deny_question(host) {
        resolver.report(&denial);
    }
}
