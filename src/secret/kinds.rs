//! Kinds of secrets that are known by their public form.
//!
//! A client that looks at its token before it sends it finds in the placeholder what it looks for: the prefix, the
//! check sum, the alphabet. Invariant: nothing of a value is kept but text that every secret of its kind has.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::shape::{ALPHANUMERIC, BASE32, FREE_LENGTH, Part, Plan};

/// Public prefixes, which say the kind of a secret and nothing of its value; the longest that fits is kept.
///
/// No rule guesses a prefix from the value ("letters up to a dash"): a passphrase has that form too.
const PUBLIC_PREFIXES: &[&str] = &[
    "AIza",
    "AKIA",
    "ASIA",
    "ATATT3xFfGF0",
    "NRAK-",
    "PMAK-",
    "SG.",
    "dapi",
    "dckr_pat_",
    "doo_v1_",
    "dop_v1_",
    "dp.pt.",
    "eyJ",
    "figd_",
    "gho_",
    "ghp_",
    "ghr_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "glrt-",
    "glsa_",
    "gsk_",
    "hf_",
    "hvs.",
    "lin_api_",
    "npm_",
    "ntn_",
    "nvapi-",
    "phc_",
    "phx_",
    "pk_live_",
    "pk_test_",
    "pplx-",
    "pscale_pw_",
    "pscale_tkn_",
    "pul-",
    "pypi-",
    "r8_",
    "rk_live_",
    "rk_test_",
    "rubygems_",
    "sbp_",
    "shpat_",
    "shpss_",
    "sk-",
    "sk-admin-",
    "sk-ant-admin01-",
    "sk-ant-api03-",
    "sk-ant-oat01-",
    "sk-or-v1-",
    "sk-proj-",
    "sk-svcacct-",
    "sk_live_",
    "sk_test_",
    "sntrys_",
    "tskey-api-",
    "tskey-auth-",
    "tvly-",
    "whsec_",
    "xai-",
    "xapp-",
    "xoxa-",
    "xoxb-",
    "xoxp-",
    "ya29.",
];

/// `{"alg":"HS256","typ":"JWT"}`, and `{}` as two base64url texts of different lengths.
const JWT_HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
const JWT_CLAIMS: [&str; 2] = ["e30", "eyB9"];

/// What a placeholder for `value` may look like, the best first.
pub(super) fn plans(value: &[u8]) -> impl Iterator<Item = Plan> {
    let prefix = public_prefix(value);
    let matched = value.len().saturating_sub(prefix.len());
    let free = FREE_LENGTH.saturating_sub(prefix.len());
    let general = [
        prefixed(prefix, matched),
        prefixed("", value.len()),
        prefixed(prefix, free),
        prefixed("", FREE_LENGTH),
    ];
    let known = [checksummed(value), fine_grained(value), key_id(value), jwt(value)];
    let length = value.len();
    known.into_iter().flatten().chain(general).filter_map(move |plan| plan.if_enough_for(length))
}

fn prefixed(prefix: &str, random: usize) -> Plan {
    Plan(vec![Part::Text(prefix.to_owned()), Part::random(ALPHANUMERIC, random)])
}

fn public_prefix(value: &[u8]) -> &'static str {
    let fitting = PUBLIC_PREFIXES.iter().filter(|prefix| value.starts_with(prefix.as_bytes()));
    fitting.max_by_key(|prefix| prefix.len()).copied().unwrap_or_default()
}

/// Tokens of GitHub and npm: 30 characters, and six that are their check sum.
fn checksummed(value: &[u8]) -> Option<Plan> {
    let prefix = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "npm_"]
        .into_iter()
        .find(|prefix| value.starts_with(prefix.as_bytes()))?;
    let rest = value.get(prefix.len()..)?;
    let fits = rest.len() == 36 && rest.iter().all(u8::is_ascii_alphanumeric);
    fits.then(|| Plan(vec![Part::Text(prefix.to_owned()), Part::random(ALPHANUMERIC, 30), Part::Checksum]))
}

/// GitHub's fine-grained tokens: two random parts.
fn fine_grained(value: &[u8]) -> Option<Plan> {
    const PREFIX: &str = "github_pat_";
    let rest = value.strip_prefix(PREFIX.as_bytes())?;
    let (first, second) = (rest.get(..22)?, rest.get(22..)?.strip_prefix(b"_")?);
    let fits =
        second.len() == 59 && [first, second].iter().all(|part| part.iter().all(u8::is_ascii_alphanumeric));
    fits.then(|| {
        let [first, second] = [22, 59].map(|count| Part::random(ALPHANUMERIC, count));
        Plan(vec![Part::Text(PREFIX.to_owned()), first, Part::Text("_".to_owned()), second])
    })
}

/// Key ids of AWS: capitals and digits of base 32.
fn key_id(value: &[u8]) -> Option<Plan> {
    let prefix = ["AKIA", "ASIA"].into_iter().find(|prefix| value.starts_with(prefix.as_bytes()))?;
    let rest = value.get(prefix.len()..)?;
    let fits = rest.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    fits.then(|| Plan(vec![Part::Text(prefix.to_owned()), Part::random(BASE32, rest.len())]))
}

/// JSON Web Tokens ([RFC 7519 §3]): a header and claims that any client can decode, and say nothing; then all the
/// randomness in the signature.
///
/// [RFC 7519 §3]: https://www.rfc-editor.org/rfc/rfc7519#section-3
fn jwt(value: &[u8]) -> Option<Plan> {
    let mut parts = value.split(|byte| *byte == b'.');
    let (Some(header), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let is_base64 = |part: &[u8]| {
        !part.is_empty() && part.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
    };
    let decoded = Zeroizing::new(URL_SAFE_NO_PAD.decode(header).ok()?);
    let is_object = serde_json::from_slice::<serde_json::Map<_, _>>(&decoded).is_ok();
    if !is_object || !is_base64(claims) || !is_base64(signature) {
        return None;
    }
    let plan = |claims: &str| {
        let public = format!("{JWT_HEADER}.{claims}.");
        let signature = value.len().checked_sub(public.len())?;
        // So many characters are no base64; and the last one may have bits that belong to no octet.
        if signature % 4 == 1 {
            return None;
        }
        let random = Part::random(ALPHANUMERIC, signature.checked_sub(1)?);
        Some(Plan(vec![Part::Text(public), random, Part::Text("A".to_owned())]))
    };
    JWT_CLAIMS.into_iter().find_map(plan)
}

#[cfg(test)]
mod tests;
