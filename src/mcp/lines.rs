//! Lines from the client, buffered here.
//!
//! It does not use `io::stdin()`, whose private buffer may hold data that polling its descriptor would not
//! show.

use std::io::{self, ErrorKind, Read};
use std::mem;

/// The longest line accepted as a message.
const LIMIT: usize = 16 * 1024 * 1024;

/// How much is read from the source at once.
const CHUNK: usize = 64 * 1024;

/// How often one poll reads the source: up to 4 MiB, so that a client that never stops sending does not
/// delay everything else.
const READS_PER_POLL: usize = 64;

/// A source of lines.
pub(crate) trait Source: Read + Send {
    /// Returns whether [`Source::read_now`] can read anything.
    fn can_be_polled(&self) -> bool {
        true
    }

    /// Reads what is available; fails with [`ErrorKind::WouldBlock`] if nothing is.
    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
}

/// Returns standard input without the buffer of [`io::stdin`].
pub(crate) fn standard() -> io::Result<Box<dyn Source>> {
    #[cfg(unix)]
    return Ok(Box::new(unix::Standard::new()?));
    #[cfg(not(unix))]
    Ok(Box::new(Blocking(io::stdin())))
}

/// A source that can only be read by waiting: standard input on Windows, where std cannot look ahead without a
/// thread, which this program does not start.
///
/// What is lost there: while a call waits for a task, the task is polled and the input is read only after the
/// wait. A ping, a cancellation, another call or the end of the input that comes meanwhile is noticed late, and so
/// a wait for a task is short (see `Patience`) and can be repeated. And the user cannot be asked within a call,
/// since the answer could not be read: the question comes with the result, and the call is repeated.
#[cfg(not(unix))]
struct Blocking<R>(R);

#[cfg(not(unix))]
impl<R: Read> Read for Blocking<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

#[cfg(not(unix))]
impl<R: Read + Send> Source for Blocking<R> {
    fn can_be_polled(&self) -> bool {
        false
    }

    fn read_now(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
}

#[cfg(unix)]
mod unix {
    use std::fs::{File, OpenOptions};
    use std::io::{self, ErrorKind, Read};
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
    use std::os::unix::net::UnixStream;

    use super::Source;

    /// Standard input, which can be a pipe, a socket, a terminal or a file.
    pub(super) struct Standard {
        file: File,
        /// The same pipe, reopened in non-blocking mode: a poll takes one system call, and setting the flag
        /// would take two more. Only on Linux, and not for sockets.
        nonblocking: Option<File>,
        /// The same descriptor, usually not a socket: the type provides `set_nonblocking`, an
        /// `ioctl(FIONBIO)` that Unix accepts for any descriptor and that std lacks for `File`.
        mode: UnixStream,
    }

    impl Standard {
        pub(super) fn new() -> io::Result<Self> {
            let descriptor = io::stdin().as_fd().try_clone_to_owned()?;
            let mode = UnixStream::from(descriptor.try_clone()?);
            let file = File::from(descriptor);
            Ok(Self {
                nonblocking: reopened(&file),
                mode,
                file,
            })
        }
    }

    /// Reopens standard input if it is a pipe. Any other file would be read from its beginning.
    fn reopened(file: &File) -> Option<File> {
        /// Its value on Linux, except on MIPS, SPARC and PA-RISC.
        const O_NONBLOCK: i32 = 0o4000;
        let is_usual = cfg!(all(
            target_os = "linux",
            any(target_arch = "x86_64", target_arch = "aarch64")
        ));
        let is_pipe = file.metadata().ok()?.file_type().is_fifo();
        if !is_usual || !is_pipe {
            return None;
        }
        let mut options = OpenOptions::new();
        let options = options.read(true).custom_flags(O_NONBLOCK);
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        options.open(path).ok()
    }

    impl Read for Standard {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.file.read(buffer) {
                // Another process that shares the open file has set the flag, perhaps before this one
                // started.
                Err(err) if err.kind() == ErrorKind::WouldBlock => {
                    self.mode.set_nonblocking(false)?;
                    self.file.read(buffer)
                }
                outcome => outcome,
            }
        }
    }

    impl Source for Standard {
        fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if let Some(file) = &mut self.nonblocking {
                return file.read(buffer);
            }
            // The flag belongs to the open file, which other processes may share, so it is only set for this
            // read.
            self.mode.set_nonblocking(true)?;
            let outcome = self.file.read(buffer);
            self.mode.set_nonblocking(false)?;
            outcome
        }
    }

    #[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
    mod tests {
        use std::io::Write;
        use std::os::fd::OwnedFd;

        use super::*;

        #[test]
        fn a_pipe_is_reopened_and_still_blocks_for_others() {
            let (reader, mut writer) = io::pipe().expect("there are pipes");
            let mut file = File::from(OwnedFd::from(reader));
            let mut nonblocking = reopened(&file).expect("it is a pipe");
            let mut buffer = [0; 8];
            let empty = nonblocking.read(&mut buffer).expect_err("nothing is there");
            assert_eq!(empty.kind(), ErrorKind::WouldBlock);
            writer.write_all(b"one").expect("it has room");
            assert_eq!(nonblocking.read(&mut buffer).expect("it is there"), 3);
            // A non-blocking read would fail here.
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    writer.write_all(b"more").expect("it has room");
                    drop(writer);
                });
                assert_eq!(file.read(&mut buffer).expect("it waits"), 4);
            });
            assert_eq!(nonblocking.read(&mut buffer).expect("it has ended"), 0);
        }

        #[test]
        fn only_a_pipe_is_reopened() {
            let own = File::open("Cargo.toml").expect("tests run in the package");
            assert!(reopened(&own).is_none());
            let (socket, _other) = UnixStream::pair().expect("there are sockets");
            assert!(reopened(&File::from(OwnedFd::from(socket))).is_none());
        }
    }
}

/// A line that is not blank.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The bytes without byte order mark, carriage return and newline.
    Text(Vec<u8>),
    /// The line was longer than the limit and has been discarded.
    TooLong,
}

/// One poll of the source.
pub(crate) struct Poll {
    reads_left: usize,
}

/// The lines of a source.
pub(crate) struct Lines {
    source: Box<dyn Source>,
    limit: usize,
    /// The buffer for one read.
    chunk: Box<[u8]>,
    /// The bytes read and not yet returned.
    buffer: Vec<u8>,
    /// How much of the buffer was returned.
    start: usize,
    /// Where to continue the search for a newline.
    scanned: usize,
    /// Whether the last read returned all that was available.
    is_drained: bool,
    /// Whether the rest of an overlong line is being discarded.
    discarding: bool,
    ended: bool,
}

impl Lines {
    pub(crate) fn new(source: Box<dyn Source>) -> Self {
        Self::limited(source, LIMIT)
    }

    fn limited(source: Box<dyn Source>, limit: usize) -> Self {
        Self {
            source,
            limit,
            chunk: vec![0; CHUNK].into(),
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            is_drained: false,
            discarding: false,
            ended: false,
        }
    }

    /// Waits for the next line that is not blank and returns it; `None` at the end of the source. The last
    /// line needs no newline.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(None);
            }
            self.fill(|source, buffer| source.read(buffer))?;
        }
    }

    /// Begins a poll, for [`Lines::next_now`].
    pub(crate) fn poll(&self) -> Poll {
        Poll {
            reads_left: READS_PER_POLL,
        }
    }

    /// Returns the next line that is not blank, if one is available; never waits.
    pub(crate) fn next_now(&mut self, poll: &mut Poll) -> io::Result<Option<Line>> {
        loop {
            let line = self.take();
            let is_drained = line.is_none() && mem::take(&mut self.is_drained);
            if line.is_some() || is_drained || self.ended || poll.reads_left == 0 {
                return Ok(line);
            }
            poll.reads_left -= 1;
            match self.fill(|source, buffer| source.read_now(buffer)) {
                Err(err) if err.kind() == ErrorKind::WouldBlock => return Ok(None),
                outcome => outcome?,
            }
        }
    }

    /// Returns whether the source can be read without waiting.
    pub(crate) fn can_be_polled(&self) -> bool {
        self.source.can_be_polled()
    }

    /// Returns whether the source has ended; [`Lines::next`] may still return lines from the buffer.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Returns the next line that is not blank, if the buffer holds the whole line.
    fn take(&mut self) -> Option<Line> {
        loop {
            let end = self.end()?;
            let start = self.start;
            self.start = usize::min(end + 1, self.buffer.len());
            self.scanned = self.start;
            if mem::take(&mut self.discarding) || end - start > self.limit {
                return Some(Line::TooLong);
            }
            let text = trim(&self.buffer[start..end]);
            if !text.trim_ascii().is_empty() {
                return Some(Line::Text(text.to_vec()));
            }
        }
    }

    /// Returns where the first line in the buffer ends, if it was read completely.
    fn end(&mut self) -> Option<usize> {
        let unscanned = &self.buffer[self.scanned..];
        if let Some(offset) = unscanned.iter().position(|byte| *byte == b'\n') {
            return Some(self.scanned + offset);
        }
        if self.ended && (self.discarding || self.start < self.buffer.len()) {
            return Some(self.buffer.len());
        }
        self.scanned = self.buffer.len();
        if self.discarding || self.scanned - self.start > self.limit {
            self.discarding = true;
            self.start = self.scanned;
        }
        None
    }

    /// Reads once from the source with `read`.
    fn fill(
        &mut self,
        read: impl Fn(&mut dyn Source, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.forget();
        self.is_drained = false;
        match read(&mut *self.source, &mut self.chunk) {
            // A socket reports this if the other end closed it while data was unread.
            Err(err) if err.kind() == ErrorKind::ConnectionReset => self.ended = true,
            Err(err) if err.kind() == ErrorKind::Interrupted => (),
            Ok(0) => self.ended = true,
            Ok(length) => {
                self.buffer.extend_from_slice(&self.chunk[..length]);
                self.is_drained = length < self.chunk.len();
            }
            Err(err) => return Err(err),
        }
        Ok(())
    }

    /// Drops what was returned, and frees the memory of a long line.
    fn forget(&mut self) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
        }
        self.scanned -= self.start;
        self.start = 0;
        if self.buffer.is_empty() {
            self.buffer.shrink_to(CHUNK);
        }
    }
}

/// Removes a byte order mark and a carriage return, which some clients send.
fn trim(line: &[u8]) -> &[u8] {
    let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// A source that is complete from the start.
#[cfg(test)]
impl Source for &'static [u8] {
    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the lines of `bytes`, which arrive `chunk` bytes at a time.
    fn lines(bytes: &[u8], chunk: usize) -> Vec<Line> {
        /// Returns a few bytes per read.
        struct Slow(io::Cursor<Vec<u8>>, usize);
        impl Read for Slow {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let length = self.1.min(buffer.len());
                self.0.read(&mut buffer[..length])
            }
        }
        impl Source for Slow {
            fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.read(buffer)
            }
        }
        let slow = Slow(io::Cursor::new(bytes.to_vec()), chunk);
        let mut lines = Lines::limited(Box::new(slow), 8);
        std::iter::from_fn(|| lines.next().expect("bytes can be read")).collect()
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: &[&str]) {
        for chunk in [1, 2, 3, 1_000] {
            let expected: Vec<Line> = expected
                .iter()
                .map(|text| match *text {
                    "(too long)" => Line::TooLong,
                    text => Line::Text(text.into()),
                })
                .collect();
            assert_eq!(lines(bytes, chunk), expected, "in chunks of {chunk}");
        }
    }

    #[test]
    fn returns_each_line_without_its_end() {
        check(b"one\ntwo\r\n", &["one", "two"]);
    }

    #[test]
    fn removes_only_one_carriage_return() {
        check(b"one\r\r\n", &["one\r"]);
    }

    #[test]
    fn removes_a_byte_order_mark() {
        check(b"\xEF\xBB\xBFone\ntwo\n", &["one", "two"]);
    }

    #[test]
    fn skips_blank_lines() {
        check(b"\n\r\n \t\none\n\xEF\xBB\xBF\n\n", &["one"]);
    }

    #[test]
    fn needs_no_newline_at_the_end() {
        check(b"one\ntwo", &["one", "two"]);
        check(b"", &[]);
    }

    #[test]
    fn discards_a_line_that_is_too_long_up_to_the_next_newline() {
        check(b"12345678\nx\n", &["12345678", "x"]);
        check(b"123456789\nx\n", &["(too long)", "x"]);
        check(b"12345678901234567890\n\nx\n", &["(too long)", "x"]);
        check(b"12345678901234567890", &["(too long)"]);
        check(b"123456789\n123456789\n", &["(too long)", "(too long)"]);
    }

    #[test]
    fn a_poll_of_an_endless_source_ends() {
        struct Endless(usize);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                assert!(self.0 <= READS_PER_POLL);
                Ok(buffer.len())
            }
        }
        impl Source for Endless {
            fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.read(buffer)
            }
        }
        let mut lines = Lines::new(Box::new(Endless(0)));
        let mut poll = lines.poll();
        assert_eq!(lines.next_now(&mut poll).expect("it can be read"), None);
    }

    #[test]
    fn a_source_that_was_just_drained_is_not_read_again() {
        /// Has one more line each time.
        struct Growing(Vec<&'static str>);
        impl Read for Growing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.pop().unwrap_or_default().as_bytes().read(buffer)
            }
        }
        impl Source for Growing {
            fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.read(buffer)
            }
        }
        let mut lines = Lines::new(Box::new(Growing(vec!["3\n", "1\n2\n"])));
        let line = |text: &str| Some(Line::Text(text.into()));
        assert_eq!(lines.next().expect("bytes can be read"), line("1"));
        for expected in [line("2"), None, line("3"), None] {
            let mut poll = lines.poll();
            let found = lines.next_now(&mut poll).expect("bytes can be read");
            assert_eq!(found, expected);
        }
        assert!(!lines.has_ended());
    }

    #[test]
    fn frees_the_memory_of_a_long_line() {
        for line in [
            [&[b'x'; LIMIT], b"\n1\n".as_slice()].concat(),
            [&[b'x'; LIMIT + 1], b"\n1\n".as_slice()].concat(),
        ] {
            let line: &'static [u8] = line.leak();
            let mut lines = Lines::new(Box::new(line));
            lines.next().expect("bytes can be read");
            let one = lines.next().expect("bytes can be read");
            assert_eq!(one, Some(Line::Text(b"1".to_vec())));
            assert_eq!(lines.next().expect("bytes can be read"), None);
            assert!(lines.buffer.capacity() <= CHUNK);
        }
    }

    #[test]
    fn keeps_bytes_that_are_not_text() {
        assert_eq!(lines(b"\xFF\n", 1), [Line::Text(vec![0xFF])]);
    }
}
