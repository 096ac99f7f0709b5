//! The files of this machine that tools may send or create: those below the directories in the user's
//! `PROXMOX_UPLOAD_DIRS`, after symbolic links are resolved.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

use crate::error::Error;
use crate::request::Transfer;
use crate::text;

/// The directories as the user wrote them.
pub(crate) struct Files<'a>(pub(super) &'a [PathBuf]);

/// A file to send.
#[derive(Debug)]
pub(crate) struct Source {
    file: Arc<File>,
    size: u64,
    /// The path without symbolic links.
    path: PathBuf,
}

/// A new file, which is removed again unless it is kept.
#[derive(Debug)]
pub(crate) struct Target {
    file: Arc<File>,
    path: PathBuf,
    is_kept: bool,
}

impl Files<'_> {
    /// Opens the file at `given`, an absolute path or one relative to any of the directories.
    ///
    /// It does not reveal whether a file exists elsewhere.
    pub(crate) fn open(&self, given: &str) -> Result<Source, Error> {
        let roots = self.roots()?;
        let real = places(&roots, given)
            .filter_map(|place| fs::canonicalize(place).ok())
            .find(|real| is_below(real, &roots));
        // Anything but a regular file, such as a pipe, could keep its reader waiting forever.
        let is_file = |real: &PathBuf| fs::metadata(real).is_ok_and(|real| real.is_file());
        let Some(path) = real.filter(is_file) else {
            return Err(self.refusal(&format!("there is no file {}", text::inline(given))));
        };
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (size, file) = opened.map_err(|err| {
            Error::impossible(
                format!("{} cannot be read", shown(&path)),
                format!("{err}\nThe user that proxmox-mcp runs as needs permission."),
            )
        })?;
        Ok(Source {
            file: Arc::new(file),
            size,
            path,
        })
    }

    /// Creates a file at `given`, an absolute path or one relative to the first of the directories.
    pub(crate) fn create(&self, given: &str) -> Result<Target, Error> {
        let roots = self.roots()?;
        let place = places(&roots, given).next().unwrap_or_default();
        let folder = place.parent().and_then(|at| fs::canonicalize(at).ok());
        let folder = folder.filter(|at| roots.contains(at) || is_below(at, &roots));
        let (Some(folder), Some(name)) = (folder, place.file_name()) else {
            let place = text::inline(given);
            return Err(self.refusal(&format!("{place} cannot be created")));
        };
        let path = folder.join(name);
        // This does not follow symbolic links, and fails if anything has that name.
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => Ok(Target {
                file: Arc::new(file),
                path,
                is_kept: false,
            }),
            Err(err) if err.kind() == ErrorKind::AlreadyExists => Err(Error::impossible(
                format!("{} exists already, nothing was written", shown(&path)),
                "Existing files are never overwritten: name another file.",
            )),
            Err(err) => Err(Error::impossible(
                format!("{} cannot be written", shown(&path)),
                format!("{err}\nThe user that proxmox-mcp runs as needs permission."),
            )),
        }
    }

    /// Returns the directories that exist, without symbolic links.
    fn roots(&self) -> Result<Vec<PathBuf>, Error> {
        if self.0.is_empty() {
            return Err(Error::denied(
                "files of this machine are out of reach, nothing was sent",
                "PROXMOX_UPLOAD_DIRS is not set: it names the directories that files are uploaded from and restored to.",
            ));
        }
        let roots = self.0.iter().filter_map(|root| fs::canonicalize(root).ok());
        let roots: Vec<PathBuf> = roots.collect();
        match roots.is_empty() {
            true => Err(self.refusal("none of the directories can be found")),
            false => Ok(roots),
        }
    }

    fn refusal(&self, what: &str) -> Error {
        let roots: Vec<String> = self.0.iter().map(|root| shown(root)).collect();
        Error::impossible(
            format!("{what}, nothing was sent"),
            format!(
                "It must be in a directory of PROXMOX_UPLOAD_DIRS after resolving symbolic links: {}",
                text::cut(&roots.join(", "), 1_000)
            ),
        )
    }
}

impl Source {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Returns the file's name without directories.
    pub(crate) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Returns the file for a request that sends it.
    pub(crate) fn sent(self) -> Transfer {
        Transfer::Sends {
            file: self.file,
            size: self.size,
            path: shown(&self.path),
        }
    }
}

impl Target {
    /// Returns the file for a request that saves to it.
    pub(crate) fn saved(&self) -> Transfer {
        Transfer::Saves {
            file: self.file.clone(),
            path: shown(&self.path),
        }
    }

    /// Keeps the file and returns its path.
    pub(crate) fn keep(mut self) -> String {
        self.is_kept = true;
        shown(&self.path)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(err) = fs::remove_file(&self.path)
        {
            log::warn!("{} could not be removed: {err}", shown(&self.path));
        }
    }
}

/// What may be done with a directory.
pub(crate) enum Access {
    Full,
    /// Files can be uploaded from it, but not restored to it.
    ReadOnly,
    /// Nothing, for this reason.
    None(io::Error),
}

impl Access {
    /// Tries it out, and leaves the directory unchanged.
    pub(crate) fn of(dir: &Path) -> Self {
        if let Err(err) = fs::read_dir(dir) {
            return Access::None(err);
        }
        let trial = dir.join(format!(".proxmox-mcp-check-{}", process::id()));
        let made = OpenOptions::new().write(true).create_new(true).open(&trial);
        match made.and_then(|_| fs::remove_file(&trial)) {
            Ok(()) => Access::Full,
            Err(_) => Access::ReadOnly,
        }
    }
}

/// Returns the paths that `given` may mean.
fn places<'a>(roots: &'a [PathBuf], given: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
    // Joining an absolute path discards the directory.
    roots.iter().map(move |root| root.join(given))
}

fn is_below(path: &Path, roots: &[PathBuf]) -> bool {
    roots
        .iter()
        .any(|root| path.starts_with(root) && path != root)
}

/// Returns a path as text, without the prefix that Windows puts before one whose links are resolved.
pub(crate) fn shown(path: &Path) -> String {
    let path = path.to_string_lossy();
    text::inline(path.strip_prefix(r"\\?\").unwrap_or(&path))
}

#[cfg(all(test, unix))]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::env;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A directory with `inside/x.iso`, `inside/below/y.iso`, `outside/secret`, and links between them.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("proxmox-mcp-files-{name}-{}", process::id()));
            fs::create_dir_all(path.join("inside/below")).unwrap();
            fs::create_dir_all(path.join("outside")).unwrap();
            fs::write(path.join("inside/x.iso"), "x").unwrap();
            fs::write(path.join("inside/below/y.iso"), "y").unwrap();
            fs::write(path.join("outside/secret"), "secret").unwrap();
            symlink("x.iso", path.join("inside/link.iso")).unwrap();
            symlink("../outside/secret", path.join("inside/escape.iso")).unwrap();
            symlink("../outside", path.join("inside/way-out")).unwrap();
            symlink("inside", path.join("alias")).unwrap();
            Self(path)
        }

        fn dirs(&self, names: &[&str]) -> Vec<PathBuf> {
            names.iter().map(|name| self.0.join(name)).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn only_opens_files_below_a_directory() {
        let folder = Folder::new("open");
        let inside = folder.dirs(&["inside"]);
        let alias = folder.dirs(&["nowhere", "alias"]);
        let absolute = |name: &str| folder.0.join(name).to_str().unwrap().to_owned();
        for dirs in [&inside, &alias] {
            let files = Files(dirs);
            for (given, name) in [
                ("x.iso", "x.iso"),
                ("below/y.iso", "below/y.iso"),
                ("below/../x.iso", "x.iso"),
                ("link.iso", "x.iso"),
                (&absolute("inside/x.iso"), "x.iso"),
                (&absolute("alias/below/y.iso"), "below/y.iso"),
            ] {
                let source = files.open(given).unwrap();
                assert!(source.path.ends_with(format!("inside/{name}")), "{given}");
                assert_eq!(source.size(), 1);
            }
            for given in [
                "",
                ".",
                "below",
                "missing.iso",
                "escape.iso",
                "way-out/secret",
                "../outside/secret",
                &absolute("outside/secret"),
                &absolute("inside/../outside/secret"),
                "/etc/passwd",
                "/nonexistent",
                "/dev/zero",
            ] {
                let refused = files.open(given).unwrap_err().to_string();
                assert!(
                    refused.contains("there is no file") && refused.contains("PROXMOX_UPLOAD_DIRS"),
                    "{given}: {refused}"
                );
            }
        }
    }

    #[test]
    fn creates_files_below_a_directory_and_never_overwrites() {
        let folder = Folder::new("create");
        let dirs = folder.dirs(&["inside"]);
        let files = Files(&dirs);
        symlink("../outside/new", folder.0.join("inside/dangling")).unwrap();
        for given in ["x.iso", "escape.iso", "dangling", "below"] {
            let refused = files.create(given).unwrap_err().to_string();
            assert!(refused.contains("exists already"), "{given}: {refused}");
        }
        let absolute = folder.0.join("outside/new");
        for given in [
            "",
            "..",
            "../new",
            "way-out/new",
            "missing/new",
            "/etc/new",
            absolute.to_str().unwrap(),
        ] {
            let refused = files.create(given).unwrap_err().to_string();
            assert!(
                refused.contains("PROXMOX_UPLOAD_DIRS"),
                "{given}: {refused}"
            );
        }
        assert!(!absolute.exists());
        let new = folder.0.join("inside/below/new");
        drop(files.create("below/new").unwrap());
        assert!(!new.exists(), "it is removed unless it is kept");
        let kept = files.create("below/new").unwrap().keep();
        assert!(kept.ends_with("inside/below/new") && new.exists());
        assert_eq!(fs::read(folder.0.join("inside/x.iso")).unwrap(), b"x");
    }

    #[test]
    fn names_the_setting_if_there_are_no_directories() {
        for refused in [
            Files(&[]).open("x.iso").unwrap_err(),
            Files(&[]).create("x.iso").unwrap_err(),
        ] {
            let refused = refused.to_string();
            assert!(
                refused.contains("PROXMOX_UPLOAD_DIRS is not set"),
                "{refused}"
            );
        }
    }
}
