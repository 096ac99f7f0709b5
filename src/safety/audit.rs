//! The audit log: what elevated tools were asked to do, what was decided, and the outcome.
//!
//! A line's first part is on disk before the request is sent; the rest follows with the answer. A line
//! without an end is a request whose outcome is unknown.

#[cfg(unix)]
use std::fs::Permissions;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::Error;
use crate::mcp::connection::{Interruption, Peer};
use crate::text;

/// How long to wait for another process to finish its line, which it holds during its request.
const PATIENCE: Duration = Duration::from_secs(45);

const DELAY: Duration = Duration::from_millis(100);

/// The file, reopened for each line so that it can be rotated.
pub(crate) struct Audit {
    path: PathBuf,
}

/// A line that is not finished yet.
pub(crate) struct Line {
    file: File,
}

impl Audit {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Begins a line with these fields, which are on disk when this returns. If it fails, nothing may be
    /// sent.
    pub(crate) fn begin(&self, peer: &Peer, fields: &Map<String, Value>) -> Result<Line, Error> {
        let refused = |err: io::Error| {
            Error::impossible(
                "the audit log cannot be written, nothing was sent",
                format!("PROXMOX_AUDIT_LOG ({}): {err}", self.path.display()),
            )
            .hint("The user must fix it: no elevated tool works without a record.")
        };
        let mut file = open(&self.path).map_err(refused)?;
        lock(&file, peer).map_err(|problem| match problem {
            Some(err) => refused(err),
            None => Error::cancelled(),
        })?;
        let line = json(fields);
        let start = line.strip_suffix('}').unwrap_or(&line);
        let begin = |file: &mut File| {
            // A process that was killed may have left its line unfinished.
            let gap = if is_unfinished(file)? { "\n" } else { "" };
            file.write_all(format!("{gap}{start}").as_bytes())?;
            file.sync_data()
        };
        begin(&mut file).map_err(refused)?;
        Ok(Line { file })
    }
}

impl Line {
    /// Finishes the line with these fields.
    pub(crate) fn end(mut self, fields: &Map<String, Value>) {
        let fields = json(fields);
        let rest = fields.strip_prefix('{').unwrap_or(&fields);
        let ended = self.file.write_all(format!(",{rest}\n").as_bytes());
        if let Err(err) = ended.and_then(|()| self.file.sync_data()) {
            log::error!("a line of the audit log could not be finished: {err}");
        }
    }
}

/// Returns `fields` as JSON, escaping characters that hide, reorder or break the text for someone who reads
/// it without a JSON parser.
fn json(fields: &Map<String, Value>) -> String {
    let mut line = String::new();
    for c in Value::Object(fields.clone()).to_string().chars() {
        if text::is_hidden(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                line.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            line.push(c);
        }
    }
    line
}

fn open(path: &Path) -> io::Result<File> {
    refuse_link(path)?;
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let file = options.open(path)?;
    // It may have become a link in between.
    refuse_link(path)?;
    // A terminal could be the one that shows messages.
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(not_a_file());
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if found.permissions().mode() & 0o077 != 0 {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
    }
    Ok(file)
}

/// Checks that a line could be written, without changing anything.
pub(crate) fn can_be_written(path: &Path) -> io::Result<()> {
    refuse_link(path)?;
    match fs::metadata(path) {
        // Opening a pipe would wait for its other end.
        Ok(found) if !found.is_file() => Err(not_a_file()),
        Ok(found) => {
            let file = OpenOptions::new().read(true).append(true).open(path)?;
            // `open` may have to restrict the mode, which only the owner can.
            file.set_permissions(found.permissions())
        }
        Err(err) if err.kind() == ErrorKind::NotFound => {
            // The file itself could get its first line in between, and would be removed with it.
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".check-{}", process::id()));
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&name)?;
            fs::remove_file(&name)
        }
        Err(err) => Err(err),
    }
}

/// Refuses a symbolic link: the file that it points to may belong to another program.
fn refuse_link(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "it is a symbolic link; name the file itself",
        )),
        _ => Ok(()),
    }
}

fn not_a_file() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "it is not a file")
}

/// Waits until no other process is writing. The error is `None` if the client has cancelled its call.
fn lock(file: &File, peer: &Peer) -> Result<(), Option<io::Error>> {
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if waited < PATIENCE => {
                match peer.sleep(DELAY) {
                    Err(Interruption::Cancelled) => return Err(None),
                    Ok(()) | Err(Interruption::Closed) => (),
                }
                waited += DELAY;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Some(io::Error::new(
                    ErrorKind::WouldBlock,
                    "another process has been writing to it for 45 s",
                )));
            }
            // Not all file systems have locks.
            Err(TryLockError::Error(err)) if err.kind() == ErrorKind::Unsupported => return Ok(()),
            Err(TryLockError::Error(err)) => return Err(Some(err)),
        }
    }
}

/// Returns whether the last line is unfinished.
fn is_unfinished(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use serde_json::json;

    use super::*;

    /// Returns a path of its own for each test.
    fn path(name: &str) -> PathBuf {
        let path = env::temp_dir().join(format!("proxmox-mcp-audit-{name}-{}", process::id()));
        let _ = fs::remove_file(&path);
        path
    }

    fn fields(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn a_line_is_on_disk_before_it_is_finished_and_is_json_when_it_is() {
        let path = path("line");
        let audit = Audit::new(path.clone());
        let line = audit.begin(
            &Peer::none(),
            &fields(json!({ "tool": "a\nb\u{9b}\u{2028}\u{e0041}ü", "n": {} })),
        );
        let line = line.unwrap_or_else(|error| panic!("{error}"));
        let start = fs::read_to_string(&path).expect("it is there");
        assert_eq!(start, r#"{"n":{},"tool":"a\nb\u009b\u2028\udb40\udc41ü""#);
        line.end(&fields(json!({ "outcome": "ok" })));
        let ended = fs::read_to_string(&path).expect("it is there");
        assert_eq!(ended, format!("{start},\"outcome\":\"ok\"}}\n"));
        assert!(serde_json::from_str::<Value>(&ended).is_ok());
        fs::remove_file(path).expect("it is ours");
    }

    #[test]
    fn an_unfinished_line_is_left_as_it_is() {
        let path = path("cut");
        fs::write(&path, "{\"tool\":\"a\"").expect("it can be written");
        let audit = Audit::new(path.clone());
        for _ in 0..2 {
            let line = audit.begin(&Peer::none(), &fields(json!({ "tool": "b" })));
            line.unwrap_or_else(|error| panic!("{error}"))
                .end(&fields(json!({ "outcome": "ok" })));
        }
        let text = fs::read_to_string(&path).expect("it is there");
        let line = "{\"tool\":\"b\",\"outcome\":\"ok\"}\n";
        assert_eq!(text, format!("{{\"tool\":\"a\"\n{line}{line}"));
        fs::remove_file(path).expect("it is ours");
    }

    #[cfg(unix)]
    #[test]
    fn only_accepts_a_file_and_keeps_others_from_reading_it() {
        use std::os::unix::fs::PermissionsExt;

        let path = path("mode");
        fs::write(&path, "").expect("it can be written");
        let open = Permissions::from_mode(0o644);
        fs::set_permissions(&path, open).expect("it is ours");
        let line = Audit::new(path.clone()).begin(&Peer::none(), &Map::new());
        assert!(line.is_ok());
        let mode = fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_file(path).expect("it is ours");
        for refused in ["/dev/null", "/", "/nonexistent/audit"] {
            let audit = Audit::new(PathBuf::from(refused));
            assert!(
                audit.begin(&Peer::none(), &Map::new()).is_err(),
                "{refused}"
            );
        }
    }
    #[cfg(unix)]
    #[test]
    fn refuses_a_symbolic_link_and_leaves_its_target_alone() {
        use std::os::unix::fs::{PermissionsExt, symlink};

        let link = path("link");
        let other = path("link-target");
        symlink(&other, &link).expect("it can be made");
        let refused = || {
            let audit = Audit::new(link.clone());
            let error = audit.begin(&Peer::none(), &Map::new()).err();
            let error = error.expect("it is refused").to_string();
            assert!(error.contains("it is a symbolic link"), "{error}");
            assert!(can_be_written(&link).is_err());
        };
        refused();
        assert!(!other.exists());

        fs::write(&other, "").expect("it can be written");
        fs::set_permissions(&other, Permissions::from_mode(0o644)).expect("it is ours");
        refused();
        let found = fs::metadata(&other).expect("it is there");
        assert_eq!(
            (found.len(), found.permissions().mode() & 0o777),
            (0, 0o644)
        );
        fs::remove_file(link).expect("it is ours");
        fs::remove_file(other).expect("it is ours");
    }
}
