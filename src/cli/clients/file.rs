//! The file of a client: read as a whole, copied beside itself, and replaced at once.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process;

use crate::error::Error;

/// More than any configuration has; a larger file is something else.
const MOST_BYTES: u64 = 4 << 20;

/// A file that is there, or may be made.
pub(super) struct Found {
    /// The path as the client knows it.
    shown: PathBuf,
    /// The file that a symbolic link leads to, which stays one.
    real: PathBuf,
    content: Option<Vec<u8>>,
}

/// A file with what is to be in it.
pub(crate) struct Change {
    found: Found,
    content: String,
    has_secret: bool,
}

/// Reads a file; the error says why it is to be left alone.
pub(super) fn find(path: &Path) -> Result<Found, String> {
    let content = read(path)?;
    let real = match &content {
        Some(_) if path.is_symlink() => fs::canonicalize(path).map_err(|err| err.to_string())?,
        Some(_) => path.to_owned(),
        None => {
            let folder = path.parent().unwrap_or(path);
            if !folder.is_dir() {
                return Err(format!(
                    "There is no folder {}: start the client once, which makes it.",
                    folder.display()
                ));
            }
            path.to_owned()
        }
    };
    Ok(Found {
        shown: path.to_owned(),
        real,
        content,
    })
}

/// Returns what a file contains, `None` if it is not there.
fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let metadata = match fs::metadata(path) {
        Err(err) if err.kind() == ErrorKind::NotFound => {
            return match fs::symlink_metadata(path) {
                Ok(_) => Err("It is a link to a file that is not there.".to_owned()),
                Err(_) => Ok(None),
            };
        }
        metadata => metadata.map_err(|err| err.to_string())?,
    };
    if !metadata.is_file() {
        return Err("It is not a file.".to_owned());
    }
    if metadata.permissions().readonly() {
        return Err("It may only be read.".to_owned());
    }
    if metadata.len() > MOST_BYTES {
        return Err(format!("It has more than {MOST_BYTES} bytes."));
    }
    fs::read(path).map(Some).map_err(|err| err.to_string())
}

impl Found {
    /// Returns the text of the file, empty if there is none.
    pub(super) fn text(&self) -> Result<&str, String> {
        let content = self.content.as_deref().unwrap_or_default();
        str::from_utf8(content).map_err(|_| "It is not UTF-8.".to_owned())
    }

    pub(super) fn is_new(&self) -> bool {
        self.content.is_none()
    }

    pub(super) fn with(self, content: String, has_secret: bool) -> Change {
        Change {
            found: self,
            content,
            has_secret,
        }
    }
}

impl Change {
    /// Returns true if other users of the machine can read it.
    pub(super) fn is_open(&self) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let metadata = fs::metadata(&self.found.real);
            metadata.is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
        }
        // Elsewhere the folder of a user is theirs alone.
        #[cfg(not(unix))]
        false
    }

    /// Writes the file; returns what to tell the user.
    pub(crate) fn write(self) -> Result<String, Error> {
        let shown = self.found.shown.display();
        let written = self.replace().map_err(|err| {
            Error::impossible(
                format!("cannot write {shown}"),
                format!(
                    "{err}\nNothing is changed; the entry without `--write` can be added by hand."
                ),
            )
        })?;
        Ok(match written {
            Some(copy) => format!("\nWritten. {} is the file as it was.\n", copy.display()),
            None => "\nWritten.\n".to_owned(),
        })
    }

    /// Replaces the file; returns the path of the copy of the old one.
    fn replace(&self) -> io::Result<Option<PathBuf>> {
        let Found {
            shown,
            real,
            content,
        } = &self.found;
        if read(shown).map_err(io::Error::other)? != *content {
            return Err(io::Error::other(
                "It has changed in the meantime. Call this command again.",
            ));
        }
        let old = match content {
            Some(content) => Some((fs::metadata(real)?, content)),
            None => None,
        };
        let mut name = real.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", process::id()));
        let temporary = real.with_file_name(name);
        let file = new_file(&temporary, self.has_secret || old.is_some())?;
        let mut kept = None;
        let written = self
            .fill(file, old.as_ref().map(|(old, _)| old))
            .and_then(|()| {
                if let Some((metadata, content)) = &old {
                    kept = Some(copy(real, content, metadata)?);
                }
                fs::rename(&temporary, real)
            });
        if written.is_err() {
            // What failed before says more than what fails now.
            let _ = fs::remove_file(&temporary);
            let _ = kept.as_ref().map(fs::remove_file);
        }
        written.map(|()| kept)
    }

    /// Writes the new content, with the owner and the permissions of the old file.
    fn fill(&self, mut file: File, old: Option<&Metadata>) -> io::Result<()> {
        file.write_all(self.content.as_bytes())?;
        if let Some(old) = old {
            take_over(&file, old)?;
        }
        file.sync_all()
    }
}

/// Copies a file beside itself, under a name that no file has.
fn copy(path: &Path, content: &[u8], metadata: &Metadata) -> io::Result<PathBuf> {
    const MOST: usize = 100;
    for number in 1..=MOST {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(match number {
            1 => ".bak".to_owned(),
            _ => format!(".bak-{number}"),
        });
        let copy = path.with_file_name(name);
        match new_file(&copy, true) {
            Err(err) if err.kind() == ErrorKind::AlreadyExists => (),
            file => {
                let mut file = file?;
                file.write_all(content)?;
                take_over(&file, metadata)?;
                file.sync_all()?;
                return Ok(copy);
            }
        }
    }
    Err(io::Error::other(format!(
        "There are {MOST} copies of it already, {}.bak and so on. Remove some.",
        path.display()
    )))
}

/// Makes a file, at first for its owner alone if it may hold a secret.
fn new_file(path: &Path, is_private: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if is_private {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = is_private;
    options.open(path)
}

/// Gives a file the owner and the permissions of another.
fn take_over(file: &File, other: &Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (other.uid(), other.gid()) {
            fchown(file, Some(other.uid()), Some(other.gid()))?;
        }
    }
    file.set_permissions(other.permissions())
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    #[test]
    fn does_not_overwrite_what_another_program_wrote_in_the_meantime() {
        let name = format!("proxmox-mcp-{}-changed", process::id());
        let folder = env::temp_dir().join(name);
        fs::create_dir(&folder).expect("it can be made");
        let path = folder.join("mcp.json");
        let change = || {
            find(&path)
                .expect("it can be read")
                .with("new".to_owned(), false)
        };
        for old in [None, Some("old")] {
            let change = change();
            fs::write(&path, "theirs").expect("it can be written");
            let err = change.write().expect_err("it has changed").to_string();
            assert!(err.contains("It has changed in the meantime"), "{err}");
            assert_eq!(fs::read_to_string(&path).expect("it is there"), "theirs");
            match old {
                Some(old) => fs::write(&path, old).expect("it can be written"),
                None => fs::remove_file(&path).expect("it is there"),
            }
        }
        assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 1);
        let message = change().write().expect("it can be written");
        assert!(
            message.contains("mcp.json.bak is the file as it was"),
            "{message}"
        );
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "new");
        let copy = folder.join("mcp.json.bak");
        assert_eq!(fs::read_to_string(copy).expect("it is there"), "old");
        fs::remove_dir_all(&folder).expect("it is there");
    }
}
