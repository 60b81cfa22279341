//! The command's environment: the caller's, without the ways round the sandbox and with its trust.
//!
//! A pure function of what it is given. Invariant: no value that the rewriter knows to hold a secret comes
//! through.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::namespace::trust;

/// Variables that name a proxy, an agent or a daemon of the host; none can be reached. Compared in upper
/// case, because the proxies are spelled in both.
const REMOVED: &[&str] = &[
    "ALL_PROXY",
    "CONTAINERD_ADDRESS",
    "CONTAINER_HOST",
    "DOCKER_HOST",
    "FTP_PROXY",
    "GPG_AGENT_INFO",
    "GNOME_KEYRING_CONTROL",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "NO_PROXY",
    "NPM_CONFIG_HTTPS_PROXY",
    "NPM_CONFIG_HTTP_PROXY",
    "NPM_CONFIG_NOPROXY",
    "NPM_CONFIG_PROXY",
    "RSYNC_PROXY",
    "SSH_AGENT_PID",
    "SSH_AUTH_SOCK",
    "VSCODE_GIT_IPC_HANDLE",
    "VSCODE_IPC_HOOK_CLI",
];

/// Prefixes of variables that name a daemon of the host.
const REMOVED_PREFIXES: &[&str] = &["DBUS_"];

/// Gives the new value of a variable whose value holds a secret, none where it holds none.
pub type Rewrite<'a> = &'a dyn Fn(&[u8]) -> Option<Vec<u8>>;

/// What the command gets of the environment `host`; `rewrite` turns secrets into placeholders.
///
/// Placeholders under names of their own are the caller's to add.
pub fn guest(
    host: impl IntoIterator<Item = (OsString, OsString)>,
    rewrite: Rewrite<'_>,
) -> Vec<(OsString, OsString)> {
    let kept =
        host.into_iter().filter(|(name, _)| !is_removed(name.as_bytes()) && !is_trust(name.as_bytes()));
    let rewritten = kept.map(|(name, value)| match rewrite(value.as_bytes()) {
        Some(clean) => (name, OsString::from_vec(clean)),
        None => (name, value),
    });
    let adding = trust::ADDING.iter().map(|name| (OsString::from(name), OsString::from(trust::CA)));
    let replacing = trust::REPLACING.iter().map(|name| (OsString::from(name), OsString::from(trust::BUNDLE)));
    rewritten.chain(adding).chain(replacing).collect()
}

fn is_removed(name: &[u8]) -> bool {
    let name = name.to_ascii_uppercase();
    REMOVED.iter().any(|removed| removed.as_bytes() == name)
        || REMOVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}

fn is_trust(name: &[u8]) -> bool {
    trust::ADDING.iter().chain(trust::REPLACING).any(|trust| trust.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest_of(host: &[(&str, &str)], rewrite: Rewrite<'_>) -> Vec<(String, String)> {
        let host = host.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let text = |s: OsString| s.into_string().unwrap();
        guest(host, rewrite).into_iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    fn value<'a>(env: &'a [(String, String)], name: &str) -> Vec<&'a str> {
        env.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }

    #[test]
    fn proxies_go_in_both_cases_and_agents_go() {
        let host = [
            ("HTTP_PROXY", "http://p:1"),
            ("https_proxy", "http://p:1"),
            ("All_Proxy", "socks5://p:1"),
            ("no_proxy", "*"),
            ("npm_config_proxy", "http://p:1"),
            ("SSH_AUTH_SOCK", "/tmp/a"),
            ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/x"),
            ("DOCKER_HOST", "unix:///x"),
        ];
        let env = guest_of(&host, &|_| None);
        for (name, _) in host {
            assert!(value(&env, name).is_empty(), "{name} came through");
        }
    }

    #[test]
    fn other_variables_stay_as_they_are() {
        let env = guest_of(&[("PATH", "/bin"), ("EMPTY", ""), ("MY_HTTP_PROXY", "x")], &|_| None);
        assert_eq!(value(&env, "PATH"), ["/bin"]);
        assert_eq!(value(&env, "EMPTY"), [""]);
        assert_eq!(value(&env, "MY_HTTP_PROXY"), ["x"]);
    }

    #[test]
    fn the_callers_trust_is_replaced_and_not_doubled() {
        let env =
            guest_of(&[("SSL_CERT_FILE", "/corp.pem"), ("NODE_EXTRA_CA_CERTS", "/corp.pem")], &|_| None);
        assert_eq!(value(&env, "SSL_CERT_FILE"), [trust::BUNDLE]);
        assert_eq!(value(&env, "NODE_EXTRA_CA_CERTS"), [trust::CA]);
        assert_eq!(value(&env, "npm_config_cafile"), [trust::BUNDLE]);
    }

    #[test]
    fn a_secret_in_any_variable_is_rewritten() {
        let rewrite = |value: &[u8]| {
            let text = String::from_utf8(value.to_vec()).ok()?;
            text.contains("s3cr3t-value").then(|| text.replace("s3cr3t-value", "placeholder!").into_bytes())
        };
        let env = guest_of(&[("TOKEN", "s3cr3t-value"), ("URL", "https://u:s3cr3t-value@h/")], &rewrite);
        assert_eq!(value(&env, "TOKEN"), ["placeholder!"]);
        assert_eq!(value(&env, "URL"), ["https://u:placeholder!@h/"]);
    }
}
