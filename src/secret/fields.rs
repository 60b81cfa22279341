//! Which header fields a secret may not stand in, and which only where they are named.
//!
//! Lists and no more. Invariant: a field that frames or routes a message is never admitted.

/// Fields that say where a message goes and how it is read (RFC 9110 §7, RFC 9112, RFC 9113 §8.2.2), and
/// those Portcullis itself writes or drops.
pub(super) fn frames_or_routes(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "accept-encoding",
        "alt-used",
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "if-range",
        "keep-alive",
        "max-forwards",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-version",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    NAMES.contains(&name)
}

/// Fields whose value tends to come back or to be kept in the clear, and that no API authenticates by.
///
/// * Identity and path of the client, written to access logs and echoed by diagnostic pages: `user-agent`,
///   `referer`, `from`, `forwarded`, `via`, everything `x-forwarded-…`.
/// * Identifiers of a request or a trace, echoed in the response and stored by telemetry: `x-request-id`,
///   `idempotency-key`, `traceparent`, `baggage` and the vendors' own.
/// * What negotiates, and is answered with itself: CORS (`origin`, `access-control-…`), `accept…`, `prefer`,
///   `sec-…` (a server repeats `sec-websocket-protocol`), preconditions (`if-…`, with entity tags).
/// * What describes the body, and is stored and served again with it: `content-…`, `digest`, `link`, `slug`.
/// * Cookies, which servers set again; and targets in disguise (`destination`, `x-original-url`).
pub(super) fn is_reflective(name: &str) -> bool {
    const PREFIXES: &[&str] = &[
        "accept-",
        "access-control-",
        "content-",
        "if-",
        "proxy-",
        "sec-",
        "x-amzn-trace-",
        "x-b3-",
        "x-datadog-",
        "x-envoy-",
        "x-forwarded-",
    ];
    const NAMES: &[&str] = &[
        "accept",
        "b3",
        "baggage",
        "cache-control",
        "cf-connecting-ip",
        "cf-ray",
        "client-ip",
        "cookie",
        "correlation-id",
        "date",
        "depth",
        "destination",
        "digest",
        "dnt",
        "early-data",
        "forwarded",
        "from",
        "idempotency-key",
        "last-event-id",
        "link",
        "location",
        "origin",
        "pragma",
        "prefer",
        "priority",
        "referer",
        "repr-digest",
        "request-id",
        "save-data",
        "sentry-trace",
        "slug",
        "traceparent",
        "tracestate",
        "true-client-ip",
        "upgrade-insecure-requests",
        "user-agent",
        "via",
        "want-content-digest",
        "want-digest",
        "want-repr-digest",
        "warning",
        "x-client-ip",
        "x-client-request-id",
        "x-cloud-trace-context",
        "x-correlation-id",
        "x-forwarded",
        "x-http-method",
        "x-http-method-override",
        "x-idempotency-key",
        "x-method-override",
        "x-original-host",
        "x-original-url",
        "x-real-ip",
        "x-request-id",
        "x-requested-with",
        "x-rewrite-url",
        "x-trace-id",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
