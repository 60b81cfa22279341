//! Reading the files of a running sandbox again.
//!
//! The command of `run` has this user's files before it. At its start the configuration cannot be written or moved by
//! it; a file that took its place since can. Invariant: nothing is read for `run` that its command could have written.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};

use crate::config::{ConfigError, Place, Problem};

/// The files as they were at the start; open, so that no later one gets the number of one that is gone.
pub(super) struct Originals(Vec<(PathBuf, File)>);

impl Originals {
    /// Those that can be opened: one that cannot is told by whoever reads it.
    pub(super) fn of<'a>(paths: impl Iterator<Item = &'a Path>) -> Self {
        Self(paths.filter_map(|path| Some((path.to_owned(), File::open(path).ok()?))).collect())
    }

    /// Reads the file of this path as it is now.
    ///
    /// # Errors
    /// It cannot be read, or is another file than at the start and one that this user could write, as the command is.
    pub(super) fn read(&self, path: &Path) -> Result<String, ConfigError> {
        let fault = |problem| ConfigError { place: Place::File(path.to_owned()), problem };
        let unreadable = |error: io::Error| fault(Problem::Unreadable(error.kind()));
        let mut file = File::open(path).map_err(unreadable)?;
        if !self.has(path, &file).map_err(unreadable)? && is_ours_to_write(path) {
            return Err(fault(Problem::FileReplaced));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(unreadable)?;
        Ok(text)
    }

    fn has(&self, path: &Path, file: &File) -> io::Result<bool> {
        let Some((_, original)) = self.0.iter().find(|(own, _)| own == path) else { return Ok(false) };
        let (original, file) = (original.metadata()?, file.metadata()?);
        Ok((original.dev(), original.ino()) == (file.dev(), file.ino()))
    }
}

/// Whether this user may write the file, or put another in its place.
fn is_ours_to_write(path: &Path) -> bool {
    // A link is followed to where the file is.
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let writable = |path: &Path| rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    [path, &real]
        .into_iter()
        .flat_map(Path::ancestors)
        .filter(|path| !path.as_os_str().is_empty())
        .any(writable)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_read_again_as_it_is_now_and_not_one_that_took_its_place() {
        let dir = std::env::temp_dir().join(format!("portcullis-reload-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let (path, next) = (dir.join("p.toml"), dir.join("next"));
        fs::write(&path, "first").unwrap();
        let originals = Originals::of([path.as_path()].into_iter());
        assert_eq!(originals.read(&path).unwrap(), "first");
        fs::write(&path, "second").unwrap();
        assert_eq!(originals.read(&path).unwrap(), "second");
        fs::write(&next, "third").unwrap();
        fs::rename(&next, &path).unwrap();
        let error = originals.read(&path).unwrap_err().to_string();
        assert!(error.contains("another file") && !error.contains("third"), "{error}");
        fs::remove_file(&path).unwrap();
        // Its number is not given to another while the first is open.
        fs::write(&path, "fourth").unwrap();
        assert!(originals.read(&path).is_err());
        fs::remove_dir_all(dir).unwrap();
    }
}
