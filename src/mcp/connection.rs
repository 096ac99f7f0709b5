//! The MCP client at the other end: what it sent, what it is told, and whether it still waits.
//!
//! While an answer of Proxmox is awaited, standard input is looked at without waiting: a ping is answered
//! at once, a cancellation is noticed, and everything else keeps its place in the line. That has its bounds: beyond them nothing more is read until there is room again,
//! so that the client has to wait, and cannot be heard.

use std::io::{self, ErrorKind, Write};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::mcp::lines::{Line, Lines, Source};
use crate::mcp::queue::Queue;
use crate::mcp::rpc::{self, Fault, Frame, Id, Message, names_revision};
use crate::text;

/// How long a wait goes on before the client is looked at again.
pub(crate) const GLANCE: Duration = Duration::from_millis(200);

/// How long nothing is done before the client is looked at again while calls wait: at first, so that one
/// that sends its next request at once is answered at once, and later.
const SHORTEST_NAP: Duration = Duration::from_millis(1);
const LONGEST_NAP: Duration = Duration::from_millis(25);

/// How long answers under way may take after the client has closed its end.
const GRACE: Duration = Duration::from_secs(2);

/// How much of the room for a line is kept for the next: `tools/list` takes half of it.
const LONGEST_KEPT: usize = 256 << 10;

/// The least time between two notifications of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// A client, or nobody: the command line runs tools without one.
#[derive(Clone)]
pub(crate) struct Peer(Option<Arc<Mutex<Desk>>>);

/// What is known of the client.
struct Desk {
    lines: Lines,
    output: Box<dyn Write + Send>,
    /// The line that is being written, and room for the next.
    line: Vec<u8>,
    /// What came while a call was under way.
    waiting: Queue,
    /// Whether there was no room for more.
    was_full: bool,
    /// The call under way.
    call: Option<Call>,
    /// When the client was seen to have closed its end.
    closed: Option<Instant>,
    /// Whether an answer has been given up since.
    is_over: bool,
    /// How many requests of ours there have been.
    asked: u64,
}

/// A request of the client, while it is worked on.
pub(crate) struct Call {
    pub(crate) id: Id,
    is_cancelled: bool,
    /// What it has begun and somebody must hear of, even if nobody wants its answer.
    pub(crate) begun: Vec<String>,
    /// Where the client wants to hear of progress.
    token: Option<Value>,
    /// What it was last told, and when.
    progress: f64,
    told: Instant,
}

/// Why a wait was not to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// The client no longer wants an answer.
    Cancelled,
    /// The client has closed its end: what is known now is the answer.
    Closed,
}

/// What there is to do next.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// To take in what has come.
    Frame(Frame),
    /// What was to be done by then.
    Due,
    /// Nothing: the client has closed its end, and all that it sent was taken in.
    End,
}

impl Peer {
    pub(crate) fn new(input: Box<dyn Source>, output: impl Write + Send + 'static) -> Self {
        Self(Some(Arc::new(Mutex::new(Desk {
            lines: Lines::new(input),
            output: Box::new(output),
            line: Vec::new(),
            waiting: Queue::default(),
            was_full: false,
            call: None,
            closed: None,
            is_over: false,
            asked: 0,
        }))))
    }

    pub(crate) fn nobody() -> Self {
        Self(None)
    }

    fn desk(&self) -> Option<MutexGuard<'_, Desk>> {
        let desk = self.0.as_ref()?;
        Some(desk.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next message, waiting for it if need be, but not beyond `until`.
    ///
    /// Where standard input cannot be looked at, as on Windows, nothing is read before `until`: while a
    /// call waits, its looks go on, but pings and cancellations are not seen, no other call is begun,
    /// and the end of input does not end the wait.
    pub(crate) fn next(&self, until: Option<Instant>) -> io::Result<Next> {
        let Some(mut desk) = self.desk() else {
            return Ok(Next::End);
        };
        desk.call = None;
        if let Some(frame) = desk.waiting.pop() {
            return Ok(Next::Frame(frame));
        }
        let Some(until) = until else {
            let line = desk.lines.next()?;
            return Ok(line.map_or(Next::End, |line| Next::Frame(frame(line).0)));
        };
        let mut nap = SHORTEST_NAP;
        loop {
            desk.look();
            if let Some(frame) = desk.waiting.pop() {
                return Ok(Next::Frame(frame));
            }
            if desk.closed.is_some() {
                return Ok(Next::End);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Next::Due);
            }
            thread::sleep(match desk.lines.can_be_looked_at() {
                true => left.min(nap),
                false => left,
            });
            nap = (nap * 2).min(LONGEST_NAP);
        }
    }

    /// Writes one message on a line of its own.
    pub(crate) fn write(&self, message: &Value) -> io::Result<()> {
        self.desk().map_or(Ok(()), |mut desk| desk.write(message))
    }

    /// A request is begun; tells whether the client has already cancelled it.
    pub(crate) fn begin(&self, id: &Id, params: &Map<String, Value>) -> bool {
        let Some(mut desk) = self.desk() else {
            return false;
        };
        let token = params
            .get("_meta")
            .and_then(|meta| meta.get("progressToken"));
        desk.call = Some(Call {
            id: id.clone(),
            is_cancelled: false,
            begun: Vec::new(),
            token: token
                .filter(|token| token.is_string() || token.is_i64() || token.is_u64())
                .cloned(),
            progress: 0.0,
            told: Instant::now(),
        });
        desk.look();
        // The requests of a batch leave the queue together: this one may have been cancelled while
        // one before it was under way.
        let is_cancelled = desk.waiting.cancels(id);
        if let Some(call) = &mut desk.call {
            call.is_cancelled |= is_cancelled;
        }
        desk.interruption() == Some(Interruption::Cancelled)
    }

    /// Puts the call under way aside: it waits, and others have their turn.
    pub(crate) fn put_aside(&self) -> Option<Call> {
        self.desk()?.call.take()
    }

    /// Goes on with a call that was put aside; tells whether the client has cancelled it.
    pub(crate) fn resume(&self, call: Call) -> bool {
        let Some(mut desk) = self.desk() else {
            return false;
        };
        let id = call.id.clone();
        desk.call = Some(call);
        desk.look();
        let is_cancelled = desk.waiting.cancels(&id);
        if let Some(call) = &mut desk.call {
            call.is_cancelled |= is_cancelled;
        }
        desk.interruption() == Some(Interruption::Cancelled)
    }

    /// Whether the client has cancelled a call that was put aside, as far as was read.
    pub(crate) fn has_cancelled(&self, call: &Call) -> bool {
        call.is_cancelled
            || self
                .desk()
                .is_some_and(|desk| desk.waiting.cancels(&call.id))
    }

    /// Whether the client was seen to have closed its end.
    pub(crate) fn has_closed(&self) -> bool {
        self.desk().is_some_and(|desk| desk.closed.is_some())
    }

    /// Remembers what the call under way has begun, and what it waits for: each task once.
    pub(crate) fn note_begun(&self, what: String) {
        if let Some(mut desk) = self.desk()
            && let Some(call) = &mut desk.call
            && !call.begun.iter().any(|begun| begun.contains(&what))
        {
            call.begun.push(what);
        }
    }

    /// What the call under way has begun.
    pub(crate) fn begun(&self) -> Vec<String> {
        let mut desk = self.desk();
        let call = desk.as_mut().and_then(|desk| desk.call.as_mut());
        call.map(|call| mem::take(&mut call.begun))
            .unwrap_or_default()
    }

    /// Looks at what has come, without waiting.
    pub(crate) fn interruption(&self) -> Option<Interruption> {
        let mut desk = self.desk()?;
        desk.look();
        desk.interruption()
    }

    /// Whether to give up the request to Proxmox that is under way. A cancelled request that changes
    /// something is waited for, since somebody has to know what came of it.
    pub(crate) fn gives_up(&self, only_reads: bool) -> bool {
        match self.interruption() {
            None => false,
            Some(Interruption::Cancelled) => only_reads,
            Some(Interruption::Closed) => self.note_late(),
        }
    }

    /// Whether the client has closed its end for so long that nothing more is waited for. From then
    /// on nothing is begun either: a change whose answer nobody awaits is better not sent.
    pub(crate) fn note_late(&self) -> bool {
        let Some(mut desk) = self.desk() else {
            return false;
        };
        desk.is_over |= desk.closed.is_some_and(|closed| closed.elapsed() >= GRACE);
        desk.is_over
    }

    /// Whether something has been found late.
    pub(crate) fn is_over(&self) -> bool {
        self.desk().is_some_and(|desk| desk.is_over)
    }

    /// Waits, looking at the client all the while.
    pub(crate) fn pause(&self, delay: Duration) -> Result<(), Interruption> {
        let end = Instant::now() + delay;
        loop {
            if let Some(interruption) = self.interruption() {
                return Err(interruption);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(GLANCE));
        }
    }

    /// Whether the client can be asked within a call: its answer must be seen before the call ends.
    pub(crate) fn can_be_asked(&self) -> bool {
        self.desk()
            .is_some_and(|desk| desk.lines.can_be_looked_at())
    }

    /// Sends a request of ours; its id, unless it could not be sent.
    pub(crate) fn ask(&self, method: &str, params: Value) -> Option<Id> {
        let mut desk = self.desk()?;
        desk.asked += 1;
        let id = Id::Text(format!("proxmox-mcp-{}", desk.asked));
        desk.write(&rpc::request(&id, method, params)).ok()?;
        Some(id)
    }

    /// Tells the client that the answer is no longer awaited.
    pub(crate) fn withdraw(&self, id: &Id) {
        let Some(mut desk) = self.desk() else {
            return;
        };
        let params = json!({ "requestId": Value::from(id) });
        let note = rpc::notification("notifications/cancelled", params);
        if let Err(err) = desk.write(&note) {
            log::debug!("a question could not be withdrawn: {err}");
        }
    }

    /// Whether the client wants to hear of progress.
    pub(crate) fn wants_progress(&self) -> bool {
        let desk = self.desk();
        desk.is_some_and(|desk| desk.call.as_ref().is_some_and(|call| call.token.is_some()))
    }

    /// Tells the client how far the call is, at most once a second: in per cent where that is known,
    /// and in words.
    pub(crate) fn tell(&self, percent: Option<f64>, message: &str) {
        let Some(mut desk) = self.desk() else {
            return;
        };
        let Some(call) = &mut desk.call else {
            return;
        };
        let Some(token) = call.token.clone() else {
            return;
        };
        if call.told.elapsed() < PROGRESS_INTERVAL {
            return;
        }
        call.told = Instant::now();
        // It must rise each time (MCP, Progress), also where nobody knows how far the task is.
        call.progress = percent.unwrap_or(0.0).max(call.progress + 0.01);
        let mut params = json!({
            "progressToken": token,
            "progress": call.progress,
            "message": text::cut(&text::inline(message), 200),
        });
        // The disks after the first start at 0 again.
        if percent.is_some() && call.progress <= 100.0 {
            params["total"] = 100.into();
        }
        let notification = rpc::notification("notifications/progress", params);
        if let Err(err) = desk.write(&notification) {
            log::debug!("progress could not be told: {err}");
        }
    }
}

impl Desk {
    fn write(&mut self, message: &Value) -> io::Result<()> {
        self.line.clear();
        self.line.shrink_to(LONGEST_KEPT);
        serde_json::to_writer(&mut self.line, message)?;
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

    /// Takes in what has come.
    fn look(&mut self) {
        let mut look = self.lines.look();
        while self.waiting.has_room() {
            match self.lines.next_now(&mut look) {
                Ok(Some(line)) => self.take_in(frame(line)),
                Ok(None) => break,
                Err(err) => {
                    log::debug!("standard input cannot be looked at: {err}");
                    break;
                }
            }
        }
        if !self.waiting.has_room() && !mem::replace(&mut self.was_full, true) {
            log::warn!(
                "the client has sent so much ahead that no more is read until some of it has been \
                 answered; until then it is not heard, pings and cancellations included"
            );
        }
        if self.lines.has_ended() && self.closed.is_none() {
            self.closed = Some(Instant::now());
        }
    }

    fn take_in(&mut self, (frame, bytes): (Frame, usize)) {
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
                _ => self.waiting.push(frame, bytes),
            },
        }
    }
}

/// A ping of a session; the stateless revision has none.
fn is_ping(request: &rpc::Request) -> bool {
    request.method == "ping" && !names_revision(&request.params)
}

/// What a line holds, and about how many bytes that takes in memory.
fn frame(line: Line) -> (Frame, usize) {
    match line {
        Line::Text(line) => rpc::read(&line),
        Line::TooLong => {
            let fault = Fault::parse("Parse error: the line is too long");
            (Frame::Single(Message::Invalid(None, fault)), 0)
        }
    }
}

/// An output that a test reads afterwards.
#[cfg(test)]
#[derive(Clone, Default)]
pub(crate) struct Output(pub(crate) Arc<Mutex<Vec<u8>>>);

#[cfg(test)]
impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics").write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that has sent these lines and closed its end, in a call `1`.
    fn calling(lines: &'static str) -> Peer {
        let peer = Peer::new(Box::new(lines.as_bytes()), io::sink());
        let id = Id::new(&json!(1)).expect("an integer is an id");
        peer.begin(&id, &Map::new());
        peer
    }

    const CANCEL: &str =
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;

    #[test]
    fn a_change_that_is_cancelled_is_still_waited_for() {
        let peer = calling(CANCEL);
        assert_eq!(peer.interruption(), Some(Interruption::Cancelled));
        assert!(peer.gives_up(true));
        assert!(!peer.gives_up(false));
    }

    #[test]
    fn a_client_that_has_gone_ends_waits_and_leaves_requests_some_time() {
        let peer = calling("");
        assert_eq!(
            peer.pause(Duration::from_secs(60)),
            Err(Interruption::Closed)
        );
        assert!(!peer.gives_up(true));
    }

    #[test]
    fn a_cancelled_request_in_the_queue_is_forgotten_unless_it_opens_a_session() {
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

    /// A client that sends the same line for ever.
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
    fn no_more_is_read_ahead_than_there_is_room_for() {
        let peer = Peer::new(Box::new(Flood), io::sink());
        let look = || peer.interruption();
        while peer.desk().expect("there is one").waiting.has_room() {
            assert_eq!(look(), None);
        }
        let left = |peer: &Peer| {
            let mut count = 0;
            while peer.desk().expect("there is one").waiting.pop().is_some() {
                count += 1;
            }
            count
        };
        look();
        assert_eq!(left(&peer), 10_000);
    }

    #[test]
    fn nobody_never_interrupts() {
        let peer = Peer::nobody();
        assert_eq!(peer.pause(Duration::from_millis(1)), Ok(()));
        assert!(!peer.gives_up(true) && !peer.wants_progress());
    }

    /// A client that is there and says nothing.
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
    fn what_is_due_is_not_held_up_by_a_client_that_is_silent_and_input_not_by_what_is_due_later() {
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
    fn a_call_that_was_put_aside_is_cancelled_by_what_is_still_in_the_queue() {
        let peer = calling(concat!(
            r#"{"jsonrpc":"2.0","id":"a","method":"tools/list"}"#,
            "\n",
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}"#,
        ));
        let first = peer.put_aside().expect("it is under way");
        peer.begin(
            &Id::new(&json!(2)).expect("an integer is an id"),
            &Map::new(),
        );
        let second = peer.put_aside().expect("it is under way");
        assert!(!peer.has_cancelled(&first) && peer.has_cancelled(&second));
        assert!(!peer.resume(first) && peer.resume(second));
    }
}
