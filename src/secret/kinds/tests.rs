//! The form of the placeholder for each known kind of secret, and of those that are none.

use super::*;
use crate::secret::placeholder::Placeholder;
use crate::secret::shape::checksum;
use crate::secret::value::SecretValue;

fn draw(value: &str) -> String {
    let value = SecretValue::new(value.as_bytes().to_vec()).unwrap();
    Placeholder::for_value(&value, None, |_| false).unwrap().to_string()
}

#[test]
fn a_placeholder_has_its_secrets_length_and_public_prefix() {
    for (value, prefix) in [
        ("sk-proj-0123456789abcdefghij0123456789abcdefghij", "sk-proj-"),
        ("sk-svcacct-0123456789abcdefghij", "sk-svcacct-"),
        ("sk-ant-api03-0123456789abcdefghij", "sk-ant-api03-"),
        ("sk-0123456789abcdefghij", "sk-"),
        ("ghp_0123456789abcdefghij0123456789abcdef", "ghp_"),
        ("github_pat_0123456789abcdefghij", "github_pat_"),
        ("glpat-0123456789abcdefghij", "glpat-"),
        ("xoxb-0123456789-abcdefghij", "xoxb-"),
        ("xoxp-0123456789-abcdefghij", "xoxp-"),
        ("xapp-1-A0123456789-abcdefghij", "xapp-"),
        ("sk_live_0123456789abcdefghij", "sk_live_"),
        ("sk_test_0123456789abcdefghij", "sk_test_"),
        ("rk_live_0123456789abcdefghij", "rk_live_"),
        ("whsec_0123456789abcdefghij", "whsec_"),
        ("npm_0123456789abcdefghij", "npm_"),
        ("pypi-AgEIcHlwaS5vcmcCJDAwMDAw", "pypi-"),
        ("AKIA0123456789ABCDEF", "AKIA"),
    ] {
        let placeholder = draw(value);
        assert_eq!(placeholder.len(), value.len());
        assert!(placeholder.starts_with(prefix), "{placeholder}");
        assert!(placeholder.bytes().skip(prefix.len()).all(|b| b.is_ascii_alphanumeric()));
    }
}

#[test]
fn a_token_with_a_checksum_has_a_placeholder_with_a_valid_one() {
    for prefix in ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "npm_"] {
        let value = format!("{prefix}zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17");
        for _ in 0..100 {
            let placeholder = draw(&value);
            assert!(placeholder.starts_with(prefix) && placeholder.len() == value.len(), "{placeholder}");
            let (random, sum) = placeholder[4..].split_at(30);
            assert_eq!(checksum(random.as_bytes()), sum, "{placeholder}");
        }
    }
}

#[test]
fn a_fine_grained_token_keeps_its_parts() {
    let value = format!("github_pat_{}_{}", "a".repeat(22), "b".repeat(59));
    let placeholder = draw(&value);
    assert_eq!(placeholder.len(), 93);
    assert_eq!(placeholder.match_indices('_').map(|(at, _)| at).collect::<Vec<_>>(), [6, 10, 33]);
}

#[test]
fn a_key_id_is_of_base_32() {
    for value in ["AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"] {
        let placeholder = draw(value);
        assert!(placeholder.len() == 20 && placeholder.starts_with(&value[..4]), "{placeholder}");
        assert!(placeholder.bytes().skip(4).all(|byte| BASE32.contains(&byte)), "{placeholder}");
    }
    // An id of another length is none that is known, and is drawn where there is room.
    assert!(draw("AKIA0123").len() == FREE_LENGTH);
}

#[test]
fn a_json_web_token_can_be_decoded_and_says_nothing() {
    let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"RS256","kid":"of-the-canary"}"#);
    let claims = URL_SAFE_NO_PAD.encode(br#"{"sub":"canary","exp":4102444800}"#);
    for signature in 43..60 {
        let value = format!("{header}.{claims}.{}", "s".repeat(signature));
        let placeholder = draw(&value);
        assert_eq!(placeholder.len(), value.len());
        let parts: Vec<&str> = placeholder.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else { panic!("{placeholder}") };
        for (part, keys) in [(header, 2), (claims, 0)] {
            let decoded = URL_SAFE_NO_PAD.decode(part).unwrap();
            let object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_slice(&decoded).unwrap();
            assert_eq!(object.len(), keys);
        }
        assert!(URL_SAFE_NO_PAD.decode(signature).is_ok(), "{signature}");
        assert!(!placeholder.contains("sssss"));
    }
    for other in ["eyJhbGciOiJub25lIn0.e30", "eyJhbGciOiJub25lIn0.e30.sig.more", "a.b.canarycanarycanary"] {
        assert!(!draw(other).contains("."), "{other}");
    }
}

#[test]
fn nothing_is_kept_of_a_value_without_a_public_prefix() {
    let placeholder = draw("correct-horse-battery-staple");
    assert_eq!(placeholder.len(), 28);
    assert!(placeholder.bytes().all(|b| b.is_ascii_alphanumeric()));
}

#[test]
fn a_prefix_gives_way_to_randomness_and_a_length_to_safety() {
    assert_eq!(draw("sk-proj-012").len(), 11);
    assert!(!draw("sk-proj-012").contains('-'), "11 characters have no room for a prefix");
    let short = draw("ghp_0123");
    assert_eq!(short.len(), FREE_LENGTH);
    assert!(short.starts_with("ghp_"));
}

#[test]
fn public_prefixes_are_unreserved_characters_and_leave_room_for_randomness() {
    for prefix in PUBLIC_PREFIXES {
        assert!(prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)), "{prefix}");
        assert!(prefixed(prefix, FREE_LENGTH - prefix.len()).if_enough_for(8).is_some(), "{prefix}");
    }
}
