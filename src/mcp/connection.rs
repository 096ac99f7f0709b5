//! The connection to the MCP client: messages in both directions, cancellation, progress.
//!
//! While a request to Proxmox is in flight, standard input is polled: pings are answered at once,
//! cancellations take effect, and everything else is queued. The queue is bounded: while it is full, nothing
//! is read, so pings and cancellations have to wait, too.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::mcp::lines::{Line, Lines, Source};
use crate::mcp::queue::Queue;
use crate::mcp::rpc::{self, Fault, Frame, Id, Message, names_revision};
use crate::text;

/// How often the client's input is polled during a wait.
pub(crate) const INPUT_INTERVAL: Duration = Duration::from_millis(200);

/// How long to sleep between two polls of the input while calls wait: short at first, so that a client that
/// sends its next request immediately gets its answer immediately.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);
const LONGEST_SLEEP: Duration = Duration::from_millis(25);

/// How long requests in flight may take after the client has disconnected.
const GRACE: Duration = Duration::from_secs(2);

/// How much of the output buffer is kept for the next line: `tools/list` takes half of it.
const LONGEST_KEPT: usize = 256 << 10;

/// The minimum time between two progress notifications.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// The client, if there is one: the command line runs tools without a client.
#[derive(Clone)]
pub(crate) struct Peer(Option<Arc<Mutex<PeerState>>>);

/// The state of the connection.
struct PeerState {
    lines: Lines,
    output: Box<dyn Write + Send>,
    /// The buffer for the line being written, reused for the next.
    line: Vec<u8>,
    /// What was received during the current call.
    queue: Queue,
    /// Whether the warning about a full queue was logged.
    was_full: bool,
    /// The current call.
    call: Option<Call>,
    /// When the end of input was noticed.
    closed: Option<Instant>,
    /// Whether the grace period has expired.
    grace_expired: bool,
    /// How many requests were sent to the client.
    requests_sent: u64,
}

/// A request of the client that is not answered yet.
pub(crate) struct Call {
    pub(crate) id: Id,
    is_cancelled: bool,
    /// What it started, which is logged if the client cancels the call.
    pub(crate) started: Vec<Started>,
    /// The token for progress notifications, if the client wants them.
    progress_token: Option<Value>,
    /// The last progress reported, and when.
    progress: f64,
    reported: Instant,
}

/// Something that a call has started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Started {
    /// The request that started it; `None` for a task that the call follows.
    pub(crate) request: Option<String>,
    /// A UPID, or what else is running.
    pub(crate) what: String,
}

impl fmt::Display for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.request {
            Some(request) => write!(f, "{request}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// Why a wait ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// The client no longer wants an answer.
    Cancelled,
    /// The client has disconnected: the answer is what is known now.
    Closed,
}

/// What the server does next.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Handle this line.
    Frame(Frame),
    /// Resume what is due.
    Due,
    /// Stop: the client has disconnected, and everything that it sent was handled.
    End,
}

impl Peer {
    pub(crate) fn new(input: Box<dyn Source>, output: impl Write + Send + 'static) -> Self {
        Self(Some(Arc::new(Mutex::new(PeerState {
            lines: Lines::new(input),
            output: Box::new(output),
            line: Vec::new(),
            queue: Queue::default(),
            was_full: false,
            call: None,
            closed: None,
            grace_expired: false,
            requests_sent: 0,
        }))))
    }

    /// Returns a peer without a client.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    fn state(&self) -> Option<MutexGuard<'_, PeerState>> {
        let state = self.0.as_ref()?;
        Some(state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the next message, waiting until `until` at the latest.
    ///
    /// If standard input cannot be polled, as on Windows, nothing is read before `until`.
    pub(crate) fn next(&self, until: Option<Instant>) -> io::Result<Next> {
        let Some(mut state) = self.state() else {
            return Ok(Next::End);
        };
        state.call = None;
        if let Some(frame) = state.queue.pop() {
            return Ok(Next::Frame(frame));
        }
        let Some(until) = until else {
            let line = state.lines.next()?;
            return Ok(line.map_or(Next::End, |line| Next::Frame(frame(line).0)));
        };
        let mut sleep = SHORTEST_SLEEP;
        loop {
            state.poll();
            if let Some(frame) = state.queue.pop() {
                return Ok(Next::Frame(frame));
            }
            if state.closed.is_some() {
                return Ok(Next::End);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Next::Due);
            }
            thread::sleep(match state.lines.can_be_polled() {
                true => left.min(sleep),
                false => left,
            });
            sleep = (sleep * 2).min(LONGEST_SLEEP);
        }
    }

    /// Writes one message on a line of its own.
    pub(crate) fn write(&self, message: &impl Serialize) -> io::Result<()> {
        self.state()
            .map_or(Ok(()), |mut state| state.write(message))
    }

    /// Makes a request the current call; returns whether the client has already cancelled it.
    pub(crate) fn begin_call(&self, id: &Id, params: &Map<String, Value>) -> bool {
        let Some(mut state) = self.state() else {
            return false;
        };
        let token = params
            .get("_meta")
            .and_then(|meta| meta.get("progressToken"));
        state.call = Some(Call {
            id: id.clone(),
            is_cancelled: false,
            started: Vec::new(),
            progress_token: token
                .filter(|token| token.is_string() || token.is_i64() || token.is_u64())
                .cloned(),
            progress: 0.0,
            reported: Instant::now(),
        });
        state.poll();
        // The requests of a batch leave the queue together, so this one may have been cancelled during an
        // earlier one.
        let is_cancelled = state.queue.cancels(id);
        if let Some(call) = &mut state.call {
            call.is_cancelled |= is_cancelled;
        }
        state.interruption() == Some(Interruption::Cancelled)
    }

    /// Pauses the current call, so that others can be handled while it waits.
    pub(crate) fn pause_call(&self) -> Option<Call> {
        self.state()?.call.take()
    }

    /// Makes a paused call the current one; returns whether the client has cancelled it.
    pub(crate) fn resume(&self, call: Call) -> bool {
        let Some(mut state) = self.state() else {
            return false;
        };
        let id = call.id.clone();
        state.call = Some(call);
        state.poll();
        let is_cancelled = state.queue.cancels(&id);
        if let Some(call) = &mut state.call {
            call.is_cancelled |= is_cancelled;
        }
        state.interruption() == Some(Interruption::Cancelled)
    }

    /// Returns whether the client has cancelled a paused call, as far as its input was read.
    pub(crate) fn has_cancelled(&self, call: &Call) -> bool {
        call.is_cancelled
            || self
                .state()
                .is_some_and(|state| state.queue.cancels(&call.id))
    }

    /// Returns whether the end of input was noticed.
    pub(crate) fn has_closed(&self) -> bool {
        self.state().is_some_and(|state| state.closed.is_some())
    }

    /// Records what the current call started, or a task that it follows, unless already recorded.
    pub(crate) fn note_started(&self, started: Started) {
        if let Some(mut state) = self.state()
            && let Some(call) = &mut state.call
        {
            let is_known = call.started.iter().any(|known| {
                let is_same = started.request.is_none() || known.request == started.request;
                known.what == started.what && is_same
            });
            if !is_known {
                call.started.push(started);
            }
        }
    }

    /// Takes the records of what the current call started.
    pub(crate) fn take_started(&self) -> Vec<Started> {
        let mut state = self.state();
        let call = state.as_mut().and_then(|state| state.call.as_mut());
        call.map(|call| mem::take(&mut call.started))
            .unwrap_or_default()
    }

    /// Polls the input, and returns why the current call should stop.
    pub(crate) fn interruption(&self) -> Option<Interruption> {
        let mut state = self.state()?;
        state.poll();
        state.interruption()
    }

    /// Returns whether to abandon the request to Proxmox that is in flight. A change is not abandoned if it
    /// is cancelled, since its result is logged.
    pub(crate) fn abandons_request(&self, only_reads: bool) -> bool {
        match self.interruption() {
            None => false,
            Some(Interruption::Cancelled) => only_reads,
            Some(Interruption::Closed) => self.expire_grace(),
        }
    }

    /// Returns whether the grace period after the end of input has expired. From then on no request is sent
    /// either, since the result of a change would be lost.
    pub(crate) fn expire_grace(&self) -> bool {
        let Some(mut state) = self.state() else {
            return false;
        };
        state.grace_expired |= state.closed.is_some_and(|closed| closed.elapsed() >= GRACE);
        state.grace_expired
    }

    /// Returns whether [`Peer::expire_grace`] found the grace period expired.
    pub(crate) fn grace_expired(&self) -> bool {
        self.state().is_some_and(|state| state.grace_expired)
    }

    /// Sleeps while polling the input.
    pub(crate) fn sleep(&self, delay: Duration) -> Result<(), Interruption> {
        let end = Instant::now() + delay;
        loop {
            if let Some(interruption) = self.interruption() {
                return Err(interruption);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(INPUT_INTERVAL));
        }
    }

    /// Returns true if the input is polled during a wait; without a client there is none.
    pub(crate) fn hears_while_waiting(&self) -> bool {
        self.state().is_none_or(|state| state.lines.can_be_polled())
    }

    /// Returns whether the user can be asked within a call, which requires polling the input.
    pub(crate) fn can_ask_user(&self) -> bool {
        self.state()
            .is_some_and(|state| state.lines.can_be_polled())
    }

    /// Sends a request to the client and returns its ID; `None` if it could not be sent.
    pub(crate) fn send_request(&self, method: &str, params: Value) -> Option<Id> {
        let mut state = self.state()?;
        state.requests_sent += 1;
        let id = Id::Text(format!("proxmox-mcp-{}", state.requests_sent));
        state.write(&rpc::request(&id, method, params)).ok()?;
        Some(id)
    }

    /// Cancels a request that was sent to the client.
    pub(crate) fn withdraw(&self, id: &Id) {
        let Some(mut state) = self.state() else {
            return;
        };
        let params = json!({ "requestId": Value::from(id) });
        let note = rpc::notification("notifications/cancelled", params);
        if let Err(err) = state.write(&note) {
            log::debug!("a request could not be withdrawn: {err}");
        }
    }

    /// Returns whether the client wants progress notifications for the current call.
    pub(crate) fn wants_progress(&self) -> bool {
        let state = self.state();
        state.is_some_and(|state| {
            state
                .call
                .as_ref()
                .is_some_and(|call| call.progress_token.is_some())
        })
    }

    /// Reports the progress of the current call in words, and in per cent if known; at most once a second.
    pub(crate) fn report_progress(&self, percent: Option<f64>, message: &str) {
        let Some(mut state) = self.state() else {
            return;
        };
        let Some(call) = &mut state.call else {
            return;
        };
        let Some(token) = call.progress_token.clone() else {
            return;
        };
        if call.reported.elapsed() < PROGRESS_INTERVAL {
            return;
        }
        call.reported = Instant::now();
        // It must rise each time (MCP, Progress), even if the progress of the task is unknown.
        call.progress = percent.unwrap_or(0.0).max(call.progress + 0.01);
        let mut params = json!({
            "progressToken": token,
            "progress": call.progress,
            "message": text::cut(&text::inline(message), 200),
        });
        // A task that copies several disks starts each at 0.
        if percent.is_some() && call.progress <= 100.0 {
            params["total"] = 100.into();
        }
        let notification = rpc::notification("notifications/progress", params);
        if let Err(err) = state.write(&notification) {
            log::debug!("progress could not be reported: {err}");
        }
    }
}

/// A buffer for writing JSON. Most pieces are a single byte, for which musl's `memcpy` takes as long as for a
/// hundred.
struct Pieces<'a>(&'a mut Vec<u8>);

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match bytes {
            [byte] => self.0.push(*byte),
            bytes => self.0.extend_from_slice(bytes),
        }
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes).map(drop)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PeerState {
    fn write(&mut self, message: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        self.line.shrink_to(LONGEST_KEPT);
        serde_json::to_writer(Pieces(&mut self.line), message)?;
        self.line.push(b'\n');
        self.output.write_all(&self.line)?;
        self.output.flush()
    }

    fn interruption(&self) -> Option<Interruption> {
        match &self.call {
            Some(call) if call.is_cancelled => Some(Interruption::Cancelled),
            _ => self.closed.map(|_| Interruption::Closed),
        }
    }

    /// Reads what is available, without waiting.
    fn poll(&mut self) {
        let mut poll = self.lines.poll();
        while self.queue.has_room() {
            match self.lines.next_now(&mut poll) {
                Ok(Some(line)) => self.receive(frame(line)),
                Ok(None) => break,
                Err(err) => {
                    log::debug!("standard input cannot be polled: {err}");
                    break;
                }
            }
        }
        if !self.queue.has_room() && !mem::replace(&mut self.was_full, true) {
            log::warn!(
                "the client has sent so many messages that no more are read until some are answered; \
                 pings and cancellations have to wait, too"
            );
        }
        if self.lines.has_ended() && self.closed.is_none() {
            self.closed = Some(Instant::now());
        }
    }

    fn receive(&mut self, (frame, bytes): (Frame, usize)) {
        match &frame {
            Frame::Single(Message::Request(request)) if is_ping(request) => {
                let answer = rpc::answer(Some(&request.id), Ok(json!({})));
                if let Err(err) = self.write(&answer)
                    && err.kind() != ErrorKind::BrokenPipe
                {
                    log::debug!("a ping could not be answered: {err}");
                }
            }
            _ => match (&mut self.call, crate::mcp::queue::cancelled(&frame)) {
                (Some(call), Some(id)) if call.id == id => call.is_cancelled = true,
                _ => self.queue.push(frame, bytes),
            },
        }
    }
}

/// Returns whether a request is a session's ping; the stateless revision has none.
fn is_ping(request: &rpc::Request) -> bool {
    request.method == "ping" && !names_revision(&request.params)
}

/// Parses a line, and returns roughly how many bytes of memory the result takes.
fn frame(line: Line) -> (Frame, usize) {
    match line {
        Line::Text(line) => rpc::read(&line),
        Line::TooLong => {
            let fault = Fault::parse("Parse error: the line is too long");
            (Frame::Single(Message::Invalid(None, fault)), 0)
        }
    }
}

/// An output that tests can read.
#[cfg(test)]
#[derive(Clone, Default)]
pub(crate) struct Output(pub(crate) Arc<Mutex<Vec<u8>>>);

#[cfg(test)]
impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("no test panics while holding it")
            .write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a client that has sent these lines and disconnected, in a call `1`.
    fn calling(lines: &'static str) -> Peer {
        let peer = Peer::new(Box::new(lines.as_bytes()), io::sink());
        let id = Id::new(&json!(1)).expect("an integer is an id");
        peer.begin_call(&id, &Map::new());
        peer
    }

    const CANCEL: &str =
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;

    #[test]
    fn a_cancelled_change_is_not_abandoned() {
        let peer = calling(CANCEL);
        assert_eq!(peer.interruption(), Some(Interruption::Cancelled));
        assert!(peer.abandons_request(true));
        assert!(!peer.abandons_request(false));
    }

    #[test]
    fn a_disconnected_client_ends_waits_but_grants_requests_a_grace_period() {
        let peer = calling("");
        assert_eq!(
            peer.sleep(Duration::from_secs(60)),
            Err(Interruption::Closed)
        );
        assert!(!peer.abandons_request(true));
    }

    #[test]
    fn a_cancelled_request_is_dropped_from_the_queue_unless_it_opens_a_session() {
        let peer = calling(concat!(
            r#"{"jsonrpc":"2.0","id":"a","method":"tools/list"}"#,
            "\n",
            r#"{"jsonrpc":"2.0","id":"b","method":"initialize"}"#,
            "\n",
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a"}}"#,
            "\n",
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"b"}}"#,
            "\n",
        ));
        let mut ids = Vec::new();
        while let Ok(Next::Frame(frame)) = peer.next(None) {
            if let Frame::Single(Message::Request(request)) = frame {
                ids.push(Value::from(&request.id));
            }
        }
        assert_eq!(ids, ["b"]);
    }

    /// A client that sends the same line forever.
    struct Flood;

    impl io::Read for Flood {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let line = b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tools/list\"}\n";
            buffer[..line.len()].copy_from_slice(line);
            Ok(line.len())
        }
    }

    impl Source for Flood {
        fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            io::Read::read(self, buffer)
        }
    }

    #[test]
    fn a_full_queue_stops_reading() {
        let peer = Peer::new(Box::new(Flood), io::sink());
        let poll = || peer.interruption();
        while peer.state().expect("there is a client").queue.has_room() {
            assert_eq!(poll(), None);
        }
        let left = |peer: &Peer| {
            let mut count = 0;
            while peer
                .state()
                .expect("there is a client")
                .queue
                .pop()
                .is_some()
            {
                count += 1;
            }
            count
        };
        poll();
        assert_eq!(left(&peer), 10_000);
    }

    #[test]
    fn records_what_a_call_has_started_only_once() {
        let peer = calling("");
        let started = |request: Option<&str>, what: &str| Started {
            request: request.map(str::to_owned),
            what: what.to_owned(),
        };
        for (request, what) in [
            (Some("POST /a"), "UPID:a"),
            (None, "UPID:a"),
            (None, "UPID:b"),
            (Some("PUT /a"), "no task"),
            (Some("PUT /b"), "no task"),
            (Some("PUT /b"), "no task"),
        ] {
            peer.note_started(started(request, what));
        }
        let found = peer.take_started();
        let found: Vec<String> = found.iter().map(Started::to_string).collect();
        let expected = [
            "POST /a: UPID:a",
            "UPID:b",
            "PUT /a: no task",
            "PUT /b: no task",
        ];
        assert_eq!(found, expected);
        assert!(peer.take_started().is_empty());
    }

    #[test]
    fn nothing_is_interrupted_without_a_client() {
        let peer = Peer::none();
        assert_eq!(peer.sleep(Duration::from_millis(1)), Ok(()));
        assert!(!peer.abandons_request(true) && !peer.wants_progress());
    }

    /// A client that is connected and sends nothing.
    struct Silent;

    impl io::Read for Silent {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::WouldBlock.into())
        }
    }

    impl Source for Silent {
        fn read_now(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::WouldBlock.into())
        }
    }

    #[test]
    fn a_client_whose_input_cannot_be_polled_is_not_heard_while_waiting() {
        struct Deaf;
        impl io::Read for Deaf {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Ok(0)
            }
        }
        impl Source for Deaf {
            fn can_be_polled(&self) -> bool {
                false
            }
            fn read_now(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(ErrorKind::WouldBlock.into())
            }
        }
        let deaf = Peer::new(Box::new(Deaf), io::sink());
        assert!(!deaf.hears_while_waiting() && !deaf.can_ask_user());
        // The command line has no client to hear.
        assert!(Peer::none().hears_while_waiting() && !Peer::none().can_ask_user());
        assert!(calling("").hears_while_waiting());
    }

    #[test]
    fn the_first_of_message_deadline_and_end_is_returned_without_delay() {
        let now = Instant::now();
        let peer = Peer::new(Box::new(Silent), io::sink());
        assert_eq!(peer.next(Some(now)).expect("it is read"), Next::Due);
        let line = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        let later = Some(now + Duration::from_secs(600));
        let peer = Peer::new(Box::new(line.as_bytes()), io::sink());
        let next = || peer.next(later).expect("it is read");
        assert!(matches!(next(), Next::Frame(_)));
        assert_eq!(next(), Next::End);
    }

    #[test]
    fn a_queued_cancellation_counts_for_a_paused_call() {
        let peer = calling(concat!(
            r#"{"jsonrpc":"2.0","id":"a","method":"tools/list"}"#,
            "\n",
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}"#,
        ));
        let first = peer.pause_call().expect("it is the current call");
        peer.begin_call(
            &Id::new(&json!(2)).expect("an integer is an id"),
            &Map::new(),
        );
        let second = peer.pause_call().expect("it is the current call");
        assert!(!peer.has_cancelled(&first) && peer.has_cancelled(&second));
        assert!(!peer.resume(first) && peer.resume(second));
    }
}
