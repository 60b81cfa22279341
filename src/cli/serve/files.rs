//! What the guest is given as files: its trust, and its variables.
//!
//! No value of a secret is among them. Invariant: a file is there whole or not at all, and its owner's alone.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::namespace::trust;
use crate::sandbox::{GuestEnv, Prepared};

/// Why the files are not there.
#[derive(Debug, thiserror::Error)]
#[error("--out {}: {cause}; name a directory that this user can write to", path.display())]
pub(super) struct FileError {
    path: PathBuf,
    cause: io::Error,
}

/// Writes `ca.pem`, `bundle.pem` and `guest.env` into `dir`, which is made if it is not there.
pub(super) fn write(dir: &Path, prepared: &Prepared) -> Result<(), FileError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause| FileError { path, cause }
    };
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(failed(dir))?,
    }
    let files = [
        ("ca.pem", prepared.ca_cert_pem().to_owned()),
        ("bundle.pem", prepared.bundle_pem()),
        ("guest.env", variables(prepared.guest_env())),
    ];
    for (name, text) in files {
        let path = dir.join(name);
        replace(&path, &dir.join(format!(".{name}.{}", std::process::id())), &text).map_err(failed(&path))?;
    }
    Ok(())
}

/// Puts a file in place of another, under a name of its own until it is whole.
fn replace(path: &Path, temporary: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| fs::rename(temporary, path));
    if written.is_err() {
        // It was made here, and is of no use.
        let _ = fs::remove_file(temporary);
    }
    written
}

/// The guest's variables, one `NAME=value` a line: placeholders, where its trust is, and its addresses.
fn variables(guest: &GuestEnv) -> String {
    let mut text = guest.to_env_file();
    let adding = trust::ADDING.iter().map(|name| (*name, trust::CA));
    for (name, path) in adding.chain(trust::REPLACING.iter().map(|name| (*name, trust::BUNDLE))) {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name}={path}");
    }
    for (name, value) in [
        ("MAC", mac(guest.mac)),
        ("MTU", guest.mtu.to_string()),
        ("IPV4", format!("{}/{}", guest.v4.0, guest.v4.1)),
        ("IPV4_GATEWAY", guest.gateway_v4.to_string()),
        ("IPV6", format!("{}/{}", guest.v6.0, guest.v6.1)),
        ("IPV6_GATEWAY", guest.gateway_v6.to_string()),
    ] {
        let _ = writeln!(text, "PORTCULLIS_{name}={value}");
    }
    text
}

/// A MAC address as everybody writes it.
pub(super) fn mac(octets: [u8; 6]) -> String {
    octets.map(|octet| format!("{octet:02x}")).join(":")
}
