//! What flows stand on, so that those that a new policy no longer allows end at once, and no other notices.
//!
//! A flow says what it was allowed as; when the policy is exchanged, each is judged again as that. It ends nothing by
//! itself: whoever serves a flow holds it by [`Stand::hold`], which gives way. Invariant: nothing passes on a flow
//! after a policy that does not allow it was put in place, and a flow that is still allowed is not even woken.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as Task, Poll, Waker};

use ::http::Method;
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::Context;
use super::ground::Ground;
use super::refusals;
use crate::policy::{Denial, Reason};

/// The flows of one sandbox that stand on something.
#[derive(Default)]
pub(crate) struct Standings(RefCell<HashMap<u64, Rc<Standing>>>);

/// One flow.
#[derive(Default)]
struct Standing {
    ground: RefCell<Option<Ground>>,
    requests: RefCell<Vec<InFlight>>,
    next_request: Cell<u64>,
    fallen: Cell<Option<Fall>>,
    waker: RefCell<Option<Waker>>,
}

/// A request under way.
struct InFlight {
    number: u64,
    method: Method,
    /// With its query; none where it is too long to be kept.
    path: Option<Box<str>>,
}

/// Why a flow has to end.
#[derive(Debug)]
pub(super) enum Fall {
    /// It is no longer allowed.
    Denied(Box<Denial>),
    /// It was refused and would be no longer: the guest is to try again.
    Welcome,
}

impl Context {
    /// Judges everything that lives by the policy that counts now; how many flows it has to end. They are not served
    /// any further.
    pub(crate) fn policy_changed(&self) -> usize {
        self.resolver.policy_changed();
        let (policy, now) = (self.policy.current(), Instant::now().into_std());
        let names = self.resolver.names().borrow();
        let mut ended = 0;
        for standing in self.standings.0.borrow().values() {
            let Some(ground) = &*standing.ground.borrow() else { continue };
            let requests = standing.requests.borrow();
            let requests = requests.iter().map(|request| (&request.method, request.path.as_deref()));
            if let Err(fall) = ground.stands(requests, &policy, (&names, now)) {
                ended += usize::from(matches!(fall, Fall::Denied(_)));
                standing.fall(fall);
            }
        }
        ended
    }
}

impl Standing {
    fn fall(&self, fall: Fall) {
        self.fallen.set(Some(fall));
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn has_fallen(&self) -> bool {
        let fallen = self.fallen.take();
        let has_fallen = fallen.is_some();
        self.fallen.set(fallen);
        has_fallen
    }
}

/// A flow's place among those that are judged again; it is given up with this.
pub(super) struct Stand {
    context: Rc<Context>,
    flow: u64,
    standing: Rc<Standing>,
}

impl Stand {
    /// The place of a flow that stands on nothing yet.
    pub(super) fn new(context: Rc<Context>, flow: u64) -> Self {
        Self { context, flow, standing: Rc::default() }
    }

    /// Says what the flow is allowed as from now on, and judges that: the policy may be another than the one by which
    /// it was allowed.
    pub(super) fn on(&self, ground: Ground) -> Result<(), Denial> {
        let judged = {
            let names = self.context.resolver.names().borrow();
            let now = Instant::now().into_std();
            ground.stands([], &self.context.policy.current(), (&names, now))
        };
        let (ground, denied) = match judged {
            Ok(()) => (Some(ground), Ok(())),
            Err(Fall::Denied(denial)) => (None, Err(*denial)),
            // What it was refused for is nothing that a policy could change.
            Err(Fall::Welcome) => (None, Ok(())),
        };
        self.standing.ground.replace(ground);
        let mut all = self.context.standings.0.borrow_mut();
        all.entry(self.flow).or_insert_with(|| Rc::clone(&self.standing));
        denied
    }

    /// Whether it has to end.
    pub(super) fn has_fallen(&self) -> bool {
        self.standing.has_fallen()
    }

    /// Serves the flow until it has to end; then it is served no further, and why is recorded.
    pub(super) async fn hold<F: Future>(&self, serving: F) -> Option<F::Output> {
        match (Held { serving, standing: &self.standing }).await {
            Ok(served) => Some(served),
            Err(Fall::Welcome) => None,
            Err(Fall::Denied(denial)) => {
                let Denial { reason, .. } = *denial;
                let denial = Denial { reason: Reason::NoLonger(Box::new(reason)), ..*denial };
                refusals::record(&self.context, Some(self.flow), &denial);
                None
            }
        }
    }

    /// Counts requests as under way, each until what it gives is dropped.
    pub(super) fn requests(&self) -> impl Fn(&Method, &str) -> UnderWay + use<> {
        let (standing, most) = (Rc::clone(&self.standing), self.context.limits.path_kept);
        move |method, path| {
            let number = standing.next_request.get();
            standing.next_request.set(number.wrapping_add(1));
            let path = (path.len() <= most).then(|| path.into());
            let request = InFlight { number, method: method.clone(), path };
            standing.requests.borrow_mut().push(request);
            UnderWay { standing: Rc::clone(&standing), number }
        }
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.context.standings.0.borrow_mut().remove(&self.flow);
    }
}

/// A request that is under way as long as this lives.
pub(super) struct UnderWay {
    standing: Rc<Standing>,
    number: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.standing.requests.borrow_mut().retain(|request| request.number != self.number);
    }
}

pin_project! {
    /// A flow being served, until it falls.
    struct Held<'a, F> {
        #[pin]
        serving: F,
        standing: &'a Standing,
    }
}

impl<F: Future> Future for Held<'_, F> {
    type Output = Result<F::Output, Fall>;

    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(fall) = this.standing.fallen.take() {
            return Poll::Ready(Err(fall));
        }
        {
            let mut waker = this.standing.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        this.serving.poll(cx).map(Ok)
    }
}
