//! Interfaces of this host, by name.
//!
//! Shell. Invariant: no name leads out of the kernel's own list of interfaces.

use std::fs;
use std::path::Path;

/// Where the kernel lists them.
const INTERFACES: &str = "/sys/class/net";

/// The number of an interface.
pub(super) fn number_of(name: &str) -> Option<u32> {
    if name.contains('/') || name.starts_with('.') {
        return None;
    }
    fs::read_to_string(Path::new(INTERFACES).join(name).join("ifindex")).ok()?.trim().parse().ok()
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_found_by_name_alone() {
        assert_eq!(number_of("lo"), Some(1));
        for name in ["", ".", "..", "../net/lo", "./lo", "lo/", "nosuch0"] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }
}
