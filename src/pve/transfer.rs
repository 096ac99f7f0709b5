//! Transfers files to and from the host in pieces, whatever their size.
//!
//! A transfer may last as long as it makes progress: each piece extends the deadline at [`LEAST_RATE`], and
//! none may take longer than a request without a file. So every transfer ends, whatever the other side does.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use crate::mcp::connection::Peer;
use crate::pve::connector::Seen;
use crate::request::Request;
use crate::text;

/// The lowest rate in the long run, in bytes per second.
const LEAST_RATE: u64 = 100_000;

/// How many bytes of a download are held in memory.
const PIECE: usize = 64 << 10;

/// The progress of a transfer.
pub(super) struct Course<'a> {
    seen: &'a Seen,
    peer: &'a Peer,
    /// How long a request without a file may take.
    timeout: Duration,
    began: Instant,
    moved: u64,
    /// The size, if it is known.
    total: Option<u64>,
    /// The verb for its text: `sent`.
    done: &'static str,
}

impl<'a> Course<'a> {
    pub(super) fn new(
        seen: &'a Seen,
        peer: &'a Peer,
        timeout: Duration,
        total: Option<u64>,
        done: &'static str,
    ) -> Self {
        Self {
            seen,
            peer,
            timeout,
            began: Instant::now(),
            moved: 0,
            total,
            done,
        }
    }

    /// Counts bytes that have moved, extends the deadline and reports progress to the client.
    fn advance(&mut self, bytes: usize) {
        self.moved += bytes as u64;
        let paid = Duration::from_secs(self.moved / LEAST_RATE);
        let deadline = (self.began + paid).min(Instant::now()) + self.timeout;
        self.seen.lock().extend(deadline);
        let percent = self
            .total
            .filter(|total| *total > 0)
            .map(|total| self.moved as f64 / total as f64 * 100.0);
        self.peer.report_progress(percent, &self.to_string());
    }
}

/// `12 MiB of 1.2 GiB sent`
impl fmt::Display for Course<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::bytes(self.moved as f64))?;
        if let Some(total) = self.total {
            write!(f, " of {}", text::bytes(total as f64))?;
        }
        write!(f, " {}", self.done)
    }
}

/// The body of an upload: the parameters in order, the last of which is the name of the file that follows.
/// pveproxy parses it with a pattern that only matches this order and spelling of the headers
/// (`file_upload_multipart` in `PVE/APIServer/AnyEvent.pm`).
pub(super) struct Multipart<'a> {
    boundary: String,
    parts: Box<dyn Read + 'a>,
    length: u64,
    course: Course<'a>,
}

impl<'a> Multipart<'a> {
    /// Starts at the beginning of the file.
    pub(super) fn new(
        request: &Request,
        mut file: &'a File,
        size: u64,
        course: Course<'a>,
    ) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        let random = || RandomState::new().build_hasher().finish();
        let boundary = format!("proxmox-mcp-{:016x}{:016x}", random(), random());
        let mut head = String::new();
        let mut form = request.form.iter().peekable();
        while let Some((name, value)) = form.next() {
            head.push_str(&format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\""
            ));
            head.push_str(&match form.peek() {
                Some(_) => format!("\r\n\r\n{value}\r\n"),
                None => format!(
                    "; filename=\"{value}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
                ),
            });
        }
        let tail = format!("\r\n--{boundary}--\r\n");
        let length = (head.len() + tail.len()) as u64 + size;
        let parts = Cursor::new(head.into_bytes())
            .chain(file.take(size))
            .chain(Cursor::new(tail.into_bytes()));
        Ok(Self {
            boundary,
            parts: Box::new(parts),
            length,
            course: Course {
                total: Some(length),
                ..course
            },
        })
    }

    pub(super) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Returns how much was sent, as text.
    pub(super) fn course(&self) -> String {
        self.course.to_string()
    }
}

impl Read for Multipart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length - self.course.moved;
        let read = match self.parts.read(buffer)? {
            0 if left > 0 && !buffer.is_empty() => {
                return Err(io::Error::other(
                    "the file has become shorter since it was opened",
                ));
            }
            read => read,
        };
        if read as u64 == left {
            self.course.seen.lock().is_whole = true;
        }
        self.course.advance(read);
        Ok(read)
    }
}

/// Why an answer was not saved.
pub(super) enum Unsaved {
    /// It did not arrive whole.
    Answer(ureq::Error),
    /// It could not be written to the file.
    File(io::Error),
}

/// Writes the body to `file`; returns its length.
pub(super) fn save(
    mut body: impl Read,
    mut file: &File,
    mut course: Course,
) -> Result<u64, Unsaved> {
    let mut piece = vec![0; PIECE];
    loop {
        let read = match body.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            Err(err) => return Err(Unsaved::Answer(err.into())),
        };
        file.write_all(&piece[..read]).map_err(Unsaved::File)?;
        course.advance(read);
    }
    file.sync_all().map_err(Unsaved::File)?;
    Ok(course.moved)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::{env, fs, process};

    use serde_json::json;

    use super::*;
    use crate::error::Failure;
    use crate::mcp::connection::Output;
    use crate::mcp::rpc::Id;
    use crate::pve::http::tests::failing::{client, host};
    use crate::pve::http::tests::{
        Host, Step, assert_holds, cancelled, connection, http, maybe_processed, ok, raw, request,
    };
    use crate::pve::http::{Http, Progress};
    use crate::request::{Method, Transfer};
    use crate::settings::Check;

    /// Creates a file with this content that is deleted when it is closed.
    fn file(content: &[u8]) -> File {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("proxmox-mcp-file-{}-{next}", process::id()));
        fs::write(&path, content).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        fs::remove_file(path).unwrap();
        file
    }

    fn upload(content: &[u8]) -> (Arc<File>, Request) {
        let file = Arc::new(file(content));
        let request = Request::new(Method::Post, "/nodes/pve1/storage/local/upload")
            .with("content", "iso")
            .with("checksum-algorithm", "sha256")
            .with("checksum", "00ff")
            .with("filename", "x.iso")
            .with_file(Transfer::Sends {
                file: file.clone(),
                size: content.len() as u64,
                path: String::new(),
            });
        (file, request)
    }

    fn to(at: std::net::SocketAddr, peer: Peer, timeout: Duration) -> Http {
        let mut connection = connection(false, at, Check::Strict, &[]);
        connection.timeout = timeout;
        http(&connection, peer, Vec::new(), 1 << 20)
    }

    const TIMEOUT: Duration = Duration::from_secs(20);

    #[test]
    fn sends_parts_in_the_order_and_spelling_that_pveproxy_reads() {
        let host = Host::plain(vec![vec![ok(r#"{"data":"UPID"}"#)]]);
        let http = to(host.at, Peer::none(), TIMEOUT);
        let (_file, request) = upload(b"PVELAB\r\n--");
        assert_eq!(
            http.exchange(&request).unwrap().body,
            json!({"data": "UPID"})
        );
        drop(http);
        let sent = host.requests().remove(0);
        let (head, body) = sent.split_once("\r\n\r\n").unwrap();
        let head = head.to_lowercase();
        let boundary = head.split_once("content-type: multipart/form-data; boundary=");
        let boundary = boundary.unwrap().1.lines().next().unwrap();
        let part = |name: &str, value: &str| {
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
        };
        let expected = [
            &*part("content", "iso"),
            &part("checksum-algorithm", "sha256"),
            &part("checksum", "00ff"),
            &format!("--{boundary}\r\n"),
            "Content-Disposition: form-data; name=\"filename\"; filename=\"x.iso\"\r\n",
            "Content-Type: application/octet-stream\r\n\r\n",
            "PVELAB\r\n--",
            &format!("\r\n--{boundary}--\r\n"),
        ]
        .concat();
        assert_eq!(body, expected);
        assert_holds(&head, &[&format!("content-length: {}", expected.len())]);
        assert!(!head.contains("transfer-encoding"), "{head}");
    }

    #[test]
    fn sends_a_file_from_its_start_on_a_new_connection_if_the_kept_one_was_closed() {
        let answer = || vec![ok(r#"{"data":null}"#)];
        let host = Host::plain(vec![answer(), answer()]);
        let http = to(host.at, Peer::none(), TIMEOUT);
        let (mut file, request) = upload(b"from its start");
        // Move the file's position, as if it had been read before.
        io::copy(&mut &*file, &mut io::sink()).unwrap();
        http.exchange(&Request::new(Method::Get, "/version"))
            .unwrap();
        host.closed.recv().unwrap();
        http.exchange(&request).unwrap();
        drop(http);
        assert_holds(&host.requests()[1], &["\r\n\r\nfrom its start\r\n--"]);
        assert!(Arc::get_mut(&mut file).is_none());
    }

    #[test]
    fn sends_a_growing_file_up_to_its_announced_length() {
        let host = Host::plain(vec![vec![ok(r#"{"data":null}"#)]]);
        let http = to(host.at, Peer::none(), TIMEOUT);
        let (file, request) = upload(b"announced");
        file.set_len(100).unwrap();
        http.exchange(&request).unwrap();
        drop(http);
        assert_holds(&host.requests()[0], &["\r\n\r\nannounced\r\n--"]);
    }

    #[test]
    fn a_file_that_shrinks_is_never_processed() {
        let host = Host::plain(vec![vec![Step::Hold]]);
        let http = to(host.at, Peer::none(), TIMEOUT);
        let (file, request) = upload(b"announced");
        file.set_len(3).unwrap();
        let text = maybe_processed(http.exchange(&request));
        assert_holds(
            &text,
            &[
                "was broken off: ",
                "has become shorter",
                "Nothing was uploaded",
            ],
        );
    }

    #[test]
    fn reports_why_a_host_refuses_an_upload_halfway() {
        let at = host(|mut socket| {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                socket.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            socket
                .write_all(b"HTTP/1.1 401 No ticket\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
        });
        let http = to(at, Peer::none(), TIMEOUT);
        let (_file, request) = upload(&vec![b'x'; 32 << 20]);
        let text = maybe_processed(http.exchange(&request));
        assert_holds(&text, &["the host answered HTTP/1.1 401 No ticket"]);
    }

    #[test]
    fn a_complete_upload_may_have_been_processed_and_is_not_sent_again() {
        let host = Host::plain(vec![vec![raw("")]]);
        let http = to(host.at, Peer::none(), TIMEOUT);
        let (_file, request) = upload(b"x");
        let text = maybe_processed(http.exchange(&request));
        assert_holds(&text, &["may have been processed"]);
        assert_eq!(http.progress(), Progress::Sent);
        drop(http);
        assert_eq!(host.requests().len(), 1);
    }

    #[test]
    fn cancelling_stops_an_incomplete_upload() {
        let (lines, peer, _) = client();
        let at = host(move |mut socket| {
            socket.read_exact(&mut [0]).unwrap();
            lines.send("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":1}}\n").unwrap();
            // Do not read: the file is larger than the buffers in between.
            let _ = lines;
            std::thread::sleep(TIMEOUT);
        });
        let http = to(at, peer, TIMEOUT);
        let (_file, request) = upload(&vec![b'x'; 32 << 20]);
        let failure = http.exchange(&request).err();
        assert!(
            matches!(failure, Some(Failure::GivenUp { sent: false })),
            "{failure:?}"
        );
    }

    #[test]
    fn awaits_the_answer_to_a_complete_upload_although_the_call_is_cancelled() {
        let (lines, peer, _) = client();
        let at = host(move |mut socket| {
            request(&mut socket).unwrap();
            lines.send("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":1}}\n").unwrap();
            std::thread::sleep(Duration::from_millis(300));
            socket
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                .unwrap();
        });
        let http = to(at, peer, TIMEOUT);
        let (_file, request) = upload(b"x");
        assert_eq!(http.exchange(&request).unwrap().body, json!({}));
    }

    #[test]
    fn reports_progress_to_a_client_that_asks_for_it() {
        let output = Output::default();
        let peer = Peer::new(Box::new(&b""[..]), output.clone());
        let params = json!({ "_meta": { "progressToken": "p" } });
        let id = Id::new(&json!(1)).unwrap();
        peer.begin_call(&id, params.as_object().unwrap());
        let seen = Seen::default();
        let mut course = Course::new(&seen, &peer, TIMEOUT, Some(4 << 20), "sent");
        // Progress is reported at most once a second.
        std::thread::sleep(Duration::from_millis(1_010));
        course.advance(1 << 20);
        course.advance(1 << 20);
        let told = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(
            told["params"],
            json!({ "progressToken": "p", "progress": 25.0, "total": 100, "message": "1 MiB of 4 MiB sent" })
        );
    }

    fn saving(file: &Arc<File>) -> Request {
        Request::new(Method::Get, "/file").with_file(Transfer::Saves {
            file: file.clone(),
            path: String::new(),
        })
    }

    fn content(mut file: &File) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn saves_a_file_larger_than_the_limit_on_answers() {
        // `to` reads answers of 1 MiB.
        let long = vec![b'x'; 3 << 20];
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
            long.len()
        );
        let host = Host::plain(vec![vec![Step::Answer(
            [head.as_bytes(), &long[..]].concat(),
        )]]);
        let http = to(host.at, Peer::none(), TIMEOUT);
        let file = Arc::new(file(b""));
        let answer = http.exchange(&saving(&file)).unwrap();
        assert_eq!(answer.body, json!({ "data": { "bytes": 3 << 20 } }));
        assert!(content(&file) == long);
    }

    #[test]
    fn does_not_save_an_answer_of_the_api() {
        let file = Arc::new(file(b""));
        for (answer, body) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"data\":null}",
                json!({ "data": null }),
            ),
            (
                "HTTP/1.1 500 no\r\nContent-Type: application/octet-stream\r\nContent-Length: 2\r\n\r\nno",
                json!(null),
            ),
        ] {
            let host = Host::plain(vec![vec![raw(answer)]]);
            let http = to(host.at, Peer::none(), TIMEOUT);
            assert_eq!(http.exchange(&saving(&file)).unwrap().body, body);
        }
        assert_eq!(content(&file), b"");
    }

    #[test]
    fn a_file_that_breaks_off_or_cannot_be_written_is_a_failure() {
        let cut = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 9\r\n\r\nhalf";
        let host = Host::plain(vec![vec![raw(cut)], vec![raw(cut)]]);
        let http = to(host.at, Peer::none(), TIMEOUT);
        let text = maybe_processed(http.exchange(&saving(&Arc::new(file(b"")))));
        assert_holds(&text, &["breaks off"]);
        let closed = Arc::new(File::open("/dev/null").unwrap());
        let text = maybe_processed(http.exchange(&saving(&closed)));
        assert_holds(&text, &["the file cannot be written"]);
    }

    #[test]
    fn gives_up_a_download_that_nobody_waits_for() {
        let host = Host::plain(vec![vec![Step::Hold]]);
        let http = to(host.at, cancelled(), TIMEOUT);
        let failure = http.exchange(&saving(&Arc::new(file(b"")))).err();
        assert!(matches!(failure, Some(Failure::GivenUp { .. })));
    }

    #[test]
    fn pieces_extend_the_deadline_but_pauses_do_not() {
        let (seen, peer) = (Seen::default(), Peer::none());
        let long_ago = Instant::now() - Duration::from_secs(1_000);
        let left_after = |bytes: usize| {
            let mut course = Course::new(&seen, &peer, TIMEOUT, None, "sent");
            course.began = long_ago;
            course.advance(bytes);
            seen.lock().left()
        };
        assert_eq!(left_after(1), Duration::ZERO);
        assert_eq!(left_after(90_000_000), Duration::ZERO);
        for bytes in [110_000_000, 4 << 30] {
            let left = left_after(bytes);
            assert!(left <= TIMEOUT && left > TIMEOUT / 2, "{left:?}");
        }
    }
}
