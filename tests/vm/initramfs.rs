//! A guest's whole system in memory: busybox, curl with its libraries, the modules of a network card.
//!
//! The archive is cpio's "newc": <https://www.kernel.org/doc/html/latest/driver-api/early-userspace/buffer-format.html>.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// An archive under construction.
pub(crate) struct Archive {
    octets: Vec<u8>,
    directories: BTreeSet<PathBuf>,
}

impl Archive {
    pub(crate) fn new() -> Self {
        Self { octets: Vec::new(), directories: BTreeSet::new() }
    }

    /// Adds a file that may be executed, and the directories it is in.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) {
        let relative = Path::new(path.trim_start_matches('/'));
        let mut parents: Vec<&Path> = relative.ancestors().skip(1).collect();
        parents.reverse();
        for parent in parents.into_iter().filter(|parent| !parent.as_os_str().is_empty()) {
            if self.directories.insert(parent.to_owned()) {
                self.entry(parent.to_str().unwrap(), DIRECTORY, &[]);
            }
        }
        self.entry(relative.to_str().unwrap(), PROGRAM, content);
    }

    /// Adds a program of this machine and the libraries it is linked with, where they are.
    pub(crate) fn program(&mut self, path: &str) {
        let linked = Command::new("ldd").arg(path).output().unwrap();
        let linked = String::from_utf8(linked.stdout).unwrap();
        let libraries = linked.split_whitespace().filter(|word| word.starts_with('/'));
        for file in [path].into_iter().chain(libraries) {
            self.file(file, &std::fs::read(file).unwrap());
        }
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.octets
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        let links = 1;
        let (size, name_size) = (content.len() as u32, name.len() as u32 + 1);
        let number = self.octets.len() as u32;
        let fields = [number, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        let fields: String = fields.iter().map(|field| format!("{field:08x}")).collect();
        self.octets.extend_from_slice(format!("070701{fields}{name}\0").as_bytes());
        self.align();
        self.octets.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.octets.resize(self.octets.len().next_multiple_of(4), 0);
    }
}

/// A kernel of this machine: its file, and the modules that drive a virtio network card, each after those it needs.
pub(crate) fn kernel() -> Option<(PathBuf, Vec<PathBuf>)> {
    let boot = std::fs::read_dir("/boot").ok()?.map(|entry| entry.unwrap().path());
    let suffix = "-cloud-amd64";
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("vmlinuz-") && name.ends_with(suffix)
    };
    let image = boot.filter(is_ours).max()?;
    let release = image.file_name()?.to_str()?.strip_prefix("vmlinuz-")?.to_owned();
    let root = Path::new("/lib/modules").join(release);
    let dependencies = std::fs::read_to_string(root.join("modules.dep")).ok()?;
    let mut modules = Vec::new();
    for name in ["virtio_pci", "virtio_net"] {
        let ending = format!("/{name}.ko");
        let line = dependencies
            .lines()
            .find_map(|line| line.split_once(':').filter(|(path, _)| path.ends_with(&ending)));
        // Built in, if it is not there.
        let Some((module, needs)) = line else { continue };
        // The first of those needed is loaded last.
        for path in needs.split_whitespace().rev().chain([module]) {
            let path = root.join(path);
            if !modules.contains(&path) {
                modules.push(path);
            }
        }
    }
    Some((image, modules))
}
