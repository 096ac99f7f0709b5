//! The MCP server: the loop that reads messages, and how each is answered.
//!
//! Messages are answered one after another, except for calls that wait for a task or the user. These are
//! paused, and the loop continues with whatever comes first: the next message or the next poll of a paused
//! call.
//!
//! May import: `text`, `mcp`, `settings`, `error`, `pve`, `answer`, `cluster`, `safety`, `tool`, `tools`.

mod era;
mod instructions;
mod tasks;
mod views;

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::mem;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::error::{Error, Question};
use crate::mcp::connection::{self, Interruption, Next, Peer, Started};
use crate::mcp::rpc::{self, Fault, Frame, Id, Message, Notification, Request};
use crate::safety::Caller;
use crate::safety::consent::{self, Approval, Returned};
use crate::server::era::{Era, Revision, Session};
use crate::text::json;
use crate::text::nearest::nearest;
use crate::tool::{CallState, Context, End, ListedTool, Outcome, WaitingCall};
use crate::tools::{self, Definitions};

/// Answers the client's messages until its input ends or it closes the output. Each call starts before later
/// messages are read.
pub(crate) fn serve(context: &Context) -> io::Result<()> {
    let mut server = Server {
        context,
        peer: context.peer(),
        session: None,
        streams: Vec::new(),
        polling: Vec::new(),
        asking: Vec::new(),
    };
    match server.run() {
        Err(err) if err.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// The limits on open streams and on the length of their IDs, since the IDs are kept.
const MOST_STREAMS: usize = 100;
const LONGEST_STREAM_ID: usize = 1_000;

/// How many calls may be paused at once; beyond that, calls fail.
const MOST_PAUSED: usize = 250;

/// How long a user may take to answer a question: less than the question stays open.
const ANSWER_TIME: Duration = Duration::from_secs(consent::LIFETIME - 5);

/// How often a call may ask, since what it asks about can change in the meantime.
const MOST_QUESTIONS: u32 = 3;

// Why a question was not answered.
const CANCELLED: &str = "The client cancelled the call before it was confirmed.";
const CLOSED: &str = "The client disconnected before it was confirmed.";
const TIMED_OUT: &str = "The user did not answer within 5 minutes.";

struct Server<'a> {
    context: &'a Context,
    peer: &'a Peer,
    /// What the last `initialize` negotiated.
    session: Option<Session>,
    /// The requests of `subscriptions/listen`, whose results are due at the end.
    streams: Vec<Id>,
    /// The calls that wait for a task.
    polling: Vec<Paused<Box<WaitingCall<'a>>>>,
    /// The calls that wait for the user.
    asking: Vec<Paused<PendingQuestion>>,
}

/// A call that waits for `wait`.
struct Paused<W> {
    request: OpenRequest,
    call: connection::Call,
    wait: W,
}

/// A question that was sent to the user within a session.
struct PendingQuestion {
    /// The id of our request.
    id: Id,
    /// The state that belongs to the answer.
    state: String,
    deadline: Instant,
}

/// A request that is not answered yet, with everything that is needed to answer it.
struct OpenRequest {
    id: Id,
    era: Era,
    /// The name of the request in the log.
    log_name: String,
    received: Instant,
    can_be_cancelled: bool,
    destination: Destination,
    /// How to repeat the call once the user has answered; `None` if they cannot be asked within it.
    repeat: Option<Box<Repeat>>,
}

/// A call that may have to be repeated.
struct Repeat {
    entry: ListedTool,
    arguments: Map<String, Value>,
    caller: String,
    says_mode: bool,
    /// How often the user was asked.
    asked: u32,
}

/// Where an answer is written.
#[derive(Clone)]
enum Destination {
    Line,
    /// The array of a batch, at this index.
    Batch(Rc<RefCell<Batch>>, usize),
}

/// The answers to a batch, which are sent together.
struct Batch {
    answers: Vec<Option<Box<RawValue>>>,
    /// How many of its messages are still open.
    open: usize,
}

/// A result in the form in which it is written.
#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    /// The definitions of the tools, and what else the era requires.
    Tools {
        tools: Definitions<'a>,
        #[serde(flatten)]
        rest: Value,
    },
    Value(Value),
}

type Answer<'i, 'a> = rpc::Answer<'i, Body<'a>>;

/// The result of handling a request.
enum Handled<'a> {
    /// A complete result.
    Result(Body<'a>),
    /// No answer, since the client cancelled it.
    Cancelled,
    /// A stream: an acknowledgement now, and the result when the server ends.
    Stream,
    /// A call that waits for a task.
    Polling(Box<WaitingCall<'a>>),
    /// A call that waits for the user.
    Asking(PendingQuestion),
}

impl<'a> Server<'a> {
    /// Returns the revision of the open session.
    fn revision(&self) -> Option<Revision> {
        self.session.as_ref().map(|session| session.revision)
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            let polls = self.polling.iter().map(|call| call.wait.due());
            let deadlines = self.asking.iter().map(|call| call.wait.deadline);
            let due = polls.chain(deadlines).min();
            match self.peer.next(due)? {
                Next::Frame(frame) => self.receive(frame)?,
                Next::Due => (),
                Next::End if self.polling.is_empty() && self.asking.is_empty() => break,
                Next::End => (),
            }
            self.resume_due()?;
        }
        for id in mem::take(&mut self.streams) {
            let result = era::stateless("subscriptions/listen", era::listened(&id));
            self.peer.write(&rpc::answer(Some(&id), Ok(result)))?;
        }
        Ok(())
    }

    /// Continues the paused calls that are due, and ends those whose client cancelled them or disconnected.
    fn resume_due(&mut self) -> io::Result<()> {
        for paused in mem::take(&mut self.polling) {
            if self.peer.has_cancelled(&paused.call) {
                self.drop_polling(paused)?;
            } else if self.peer.has_closed() || paused.wait.due() <= Instant::now() {
                self.poll(paused)?;
            } else {
                self.polling.push(paused);
            }
        }
        for paused in mem::take(&mut self.asking) {
            if self.peer.has_cancelled(&paused.call) {
                self.drop_asking(paused)?;
            } else if self.peer.has_closed() || paused.wait.deadline <= Instant::now() {
                self.stop_asking(paused)?;
            } else {
                self.asking.push(paused);
            }
        }
        Ok(())
    }

    /// Polls the task of a call, or ends the call because its client has disconnected.
    fn poll(&mut self, paused: Paused<Box<WaitingCall<'a>>>) -> io::Result<()> {
        let Paused {
            mut request,
            call,
            wait,
        } = paused;
        let handled = match self.peer.resume(call) {
            true => Ok(Handled::Cancelled),
            false => {
                let state = match self.peer.has_closed() {
                    true => wait.leave(),
                    false => wait.poll(),
                };
                self.handle(&mut request, state)
            }
        };
        self.answer(request, handled)
    }

    /// Ends a call whose question was not answered.
    fn stop_asking(&mut self, paused: Paused<PendingQuestion>) -> io::Result<()> {
        let Paused {
            mut request,
            call,
            wait: question,
        } = paused;
        let is_cancelled = self.peer.resume(call);
        self.peer.withdraw(&question.id);
        let why = match self.peer.has_closed() {
            _ if is_cancelled => CANCELLED,
            true => CLOSED,
            false => TIMED_OUT,
        };
        let handled = self.repeat_call(&mut request, unanswered(question.state, why));
        self.answer(request, handled)
    }

    /// Drops a call that waits for a task, since the client cancelled it.
    fn drop_polling(&self, paused: Paused<Box<WaitingCall<'a>>>) -> io::Result<()> {
        let Paused {
            request,
            call,
            wait,
        } = paused;
        log_orphaned_changes(&request.log_name, &call.started);
        let rest = wait.not_started();
        if !rest.is_empty() {
            let (name, rest) = (&request.log_name, rest.join(", "));
            log::warn!("{name} was cancelled; not started: {rest}");
        }
        self.deliver(request.destination, None)
    }

    /// Drops a call that waits for the user, since the client cancelled it.
    fn drop_asking(&self, paused: Paused<PendingQuestion>) -> io::Result<()> {
        let Paused {
            mut request,
            call,
            wait: question,
        } = paused;
        log_orphaned_changes(&request.log_name, &call.started);
        self.peer.withdraw(&question.id);
        // Every call gets a line in the audit log.
        let _ = self.repeat_call(&mut request, unanswered(question.state, CANCELLED));
        self.deliver(request.destination, None)
    }

    /// Handles one line.
    fn receive(&mut self, frame: Frame) -> io::Result<()> {
        match frame {
            Frame::Single(message) => self.take(message, Destination::Line),
            Frame::Batch(messages) => self.take_batch(messages),
        }
    }

    /// Handles a batch, whose answers go into one array (MCP 2025-03-26, Base protocol, Batching).
    fn take_batch(&mut self, messages: Vec<Message>) -> io::Result<()> {
        let refuse = |why| Some(rpc::answer(None, Err(Fault::invalid_request(why))));
        if !self.revision().is_some_and(Revision::has_batches) {
            return self.deliver(Destination::Line, refuse("This revision has no batches"));
        }
        if messages.is_empty() {
            return self.deliver(Destination::Line, refuse("A batch must not be empty"));
        }
        let batch = Rc::new(RefCell::new(Batch {
            answers: messages.iter().map(|_| None).collect(),
            open: messages.len(),
        }));
        for (at, message) in messages.into_iter().enumerate() {
            let destination = Destination::Batch(Rc::clone(&batch), at);
            match message {
                Message::Request(request) if Era::of(&request, self.revision()) != Era::Session => {
                    let fault = Fault::invalid_request(
                        "A batch holds only requests of the session that is already open",
                    );
                    self.deliver(
                        destination,
                        Some(rpc::answer(Some(&request.id), Err(fault))),
                    )?;
                }
                message => self.take(message, destination)?,
            }
        }
        Ok(())
    }

    /// Handles one message.
    fn take(&mut self, message: Message, destination: Destination) -> io::Result<()> {
        let request = match message {
            Message::Invalid(id, fault) => {
                return self.deliver(destination, Some(rpc::answer(id.as_ref(), Err(fault))));
            }
            Message::Notification(notification) => {
                self.take_notification(&notification)?;
                return self.deliver(destination, None);
            }
            Message::Response(id, outcome) => {
                self.take_response(id, outcome)?;
                return self.deliver(destination, None);
            }
            Message::Request(request) => request,
        };
        let can_be_cancelled = request.method != "initialize";
        if self.peer.begin_call(&request.id, &request.params) && can_be_cancelled {
            return self.deliver(destination, None);
        }
        let mut open = OpenRequest {
            id: request.id.clone(),
            era: Era::of(&request, self.revision()),
            log_name: log_name(&request),
            received: Instant::now(),
            can_be_cancelled,
            destination,
            repeat: None,
        };
        let handled = self.dispatch(&mut open, request);
        self.answer(open, handled)
    }

    /// Answers a request, or pauses it if it waits.
    fn answer(
        &mut self,
        request: OpenRequest,
        handled: Result<Handled<'a>, Fault>,
    ) -> io::Result<()> {
        match handled {
            Ok(Handled::Result(result)) => self.finish(request, Ok(Some(result))),
            Ok(Handled::Cancelled) => self.finish(request, Ok(None)),
            Ok(Handled::Stream) => self.open_stream(request),
            Ok(Handled::Polling(wait)) => {
                if let Some(call) = self.peer.pause_call() {
                    self.polling.push(Paused {
                        request,
                        call,
                        wait,
                    });
                }
                Ok(())
            }
            Ok(Handled::Asking(wait)) => {
                if let Some(call) = self.peer.pause_call() {
                    self.asking.push(Paused {
                        request,
                        call,
                        wait,
                    });
                }
                Ok(())
            }
            Err(fault) => self.finish(request, Err(fault)),
        }
    }

    /// Acknowledges a stream, whose result is due when the server ends.
    fn open_stream(&mut self, request: OpenRequest) -> io::Result<()> {
        let id = &request.id;
        if !self.has_room_for(id) {
            let fault = Fault::invalid_request(format!(
                "At most {MOST_STREAMS} subscriptions may be open, with ids of at most \
                 {LONGEST_STREAM_ID} bytes: cancel one"
            ));
            return self.finish(request, Err(fault));
        }
        if self.is_cancelled(&request) {
            return self.finish(request, Ok(None));
        }
        let method = "notifications/subscriptions/acknowledged";
        let acknowledgement = rpc::notification(method, era::acknowledged(id));
        self.peer.write(&acknowledgement)?;
        if !self.streams.contains(id) {
            self.streams.push(id.clone());
        }
        // The input is not polled again here: a cancellation in it must find the open stream.
        self.deliver(request.destination, None)
    }

    /// Sends the answer to a request, unless the client has cancelled it: not everything that a cancelled
    /// request does can be interrupted.
    fn finish(
        &mut self,
        request: OpenRequest,
        outcome: Result<Option<Body>, Fault>,
    ) -> io::Result<()> {
        let log_name = &request.log_name;
        log::debug!("{log_name}: {} ms", request.received.elapsed().as_millis());
        if self.is_cancelled(&request) {
            log_orphaned_changes(log_name, &self.peer.take_started());
            return self.deliver(request.destination, None);
        }
        let outcome = outcome.transpose();
        let answer = outcome.map(|outcome| rpc::answer(Some(&request.id), outcome));
        self.deliver(request.destination, answer)
    }

    fn is_cancelled(&self, request: &OpenRequest) -> bool {
        request.can_be_cancelled && self.peer.interruption() == Some(Interruption::Cancelled)
    }

    /// Sends an answer, or keeps it until its batch is complete. `None` answers nothing.
    fn deliver(&self, destination: Destination, answer: Option<Answer>) -> io::Result<()> {
        let Destination::Batch(batch, at) = destination else {
            return answer.map_or(Ok(()), |answer| self.peer.write(&answer));
        };
        let mut batch = batch.borrow_mut();
        batch.answers[at] = answer.as_ref().map(to_raw_value).transpose()?;
        batch.open -= 1;
        if batch.open > 0 {
            return Ok(());
        }
        let answers = mem::take(&mut batch.answers).into_iter().flatten();
        let answers: Vec<Box<RawValue>> = answers.collect();
        match answers.is_empty() {
            true => Ok(()),
            false => self.peer.write(&answers),
        }
    }

    /// Returns whether a stream with this ID may be opened.
    fn has_room_for(&self, id: &Id) -> bool {
        let is_short = match id {
            Id::Integer(_) => true,
            Id::Text(text) => text.len() <= LONGEST_STREAM_ID,
        };
        is_short && (self.streams.len() < MOST_STREAMS || self.streams.contains(id))
    }

    fn take_notification(&mut self, notification: &Notification) -> io::Result<()> {
        if notification.method != "notifications/cancelled" {
            return Ok(());
        }
        let Some(id) = notification.params.get("requestId").and_then(Id::new) else {
            return Ok(());
        };
        self.streams.retain(|stream| *stream != id);
        while let Some(at) = self.polling.iter().position(|call| call.call.id == id) {
            let paused = self.polling.remove(at);
            self.drop_polling(paused)?;
        }
        while let Some(at) = self.asking.iter().position(|call| call.call.id == id) {
            let paused = self.asking.remove(at);
            self.drop_asking(paused)?;
        }
        Ok(())
    }

    /// Continues the call whose user has answered.
    fn take_response(&mut self, id: Option<Id>, outcome: Result<Value, Value>) -> io::Result<()> {
        let answered = id.and_then(|id| self.asking.iter().position(|call| call.wait.id == id));
        let Some(at) = answered else {
            log::warn!("dropped a response that belongs to no request");
            return Ok(());
        };
        let Paused {
            mut request,
            call,
            wait: question,
        } = self.asking.remove(at);
        let approval = match self.peer.resume(call) {
            true => unanswered(question.state, CANCELLED),
            false => era::answered(question.state, outcome),
        };
        let handled = self.repeat_call(&mut request, approval);
        self.answer(request, handled)
    }

    /// Handles a request: every method of both eras.
    fn dispatch(&mut self, open: &mut OpenRequest, request: Request) -> Result<Handled<'a>, Fault> {
        let Request {
            method, mut params, ..
        } = request;
        let era = &open.era;
        if *era == Era::Stateless {
            era::check(&params)?;
        }
        let shows_views = era::shows_views(era, self.session.as_ref(), &params);
        let result = match (era, &*method) {
            (Era::Handshake, _) => Some(self.initialize(&params)?),
            (Era::Session | Era::Unknown, "ping") => Some(json!({})),
            (Era::Unknown, _) => return Err(era::not_initialized()),
            (Era::Stateless, "server/discover") => Some(era::discovered(self.context, shows_views)),
            (Era::Stateless, "subscriptions/listen") => return listen(&params),
            (Era::Stateless, "tasks/cancel") => {
                tasks::cancel(self.context, self.peer, &mut params)?
            }
            (Era::Stateless, "tasks/get") => tasks::get(self.context, &params)?,
            (Era::Stateless, "tasks/update") => Some(tasks::update(self.context, &params)?),
            (_, "tools/list") => {
                check_cursor(&params)?;
                let safety = self.context.safety();
                return Ok(Handled::Result(Body::Tools {
                    tools: match shows_views {
                        true => Definitions::with_views(safety, views::of),
                        false => Definitions::new(safety),
                    },
                    rest: in_era(era, &method, json!({})),
                }));
            }
            (Era::Session | Era::Stateless, "resources/list") if shows_views => {
                check_cursor(&params)?;
                Some(views::list())
            }
            (Era::Session | Era::Stateless, "resources/read") if shows_views => Some(views::read(
                &params,
                self.context.safety(),
                era::unknown_resource(era),
            )?),
            (Era::Stateless, "resources/templates/list") if shows_views => {
                Some(empty_list(&params, "resourceTemplates")?)
            }
            // Clients request these even if they are not declared, and warn if they are unknown.
            (Era::Session, "prompts/list") => Some(empty_list(&params, "prompts")?),
            (Era::Session, "resources/list") => Some(empty_list(&params, "resources")?),
            (Era::Session, "resources/templates/list") => {
                Some(empty_list(&params, "resourceTemplates")?)
            }
            (_, "tools/call") => return self.call_tool(open, params),
            (_, _) => return Err(Fault::unknown_method(&method)),
        };
        Ok(match result {
            Some(result) => Handled::Result(Body::Value(in_era(era, &method, result))),
            None => Handled::Cancelled,
        })
    }

    fn initialize(&mut self, params: &Map<String, Value>) -> Result<Value, Fault> {
        let Some(requested) = params.get("protocolVersion").and_then(Value::as_str) else {
            return Err(Fault::invalid_params("protocolVersion must be a string"));
        };
        let session = Session::open(Revision::negotiate(requested), params);
        let result = era::initialized(self.context, &session);
        self.session = Some(session);
        Ok(result)
    }

    fn call_tool(
        &mut self,
        request: &mut OpenRequest,
        mut params: Map<String, Value>,
    ) -> Result<Handled<'a>, Fault> {
        let session = self.session.as_ref();
        let caller = era::caller(&request.era, session, self.peer, &mut params)?;
        let Some(Value::String(name)) = params.remove("name") else {
            return Err(Fault::invalid_params(
                "name must be a string, the tool to call",
            ));
        };
        let entry = tools::find(&name).ok_or_else(|| unknown_tool(&name))?;
        let arguments = arguments(params.remove("arguments").unwrap_or_default())?;
        if self.polling.len() + self.asking.len() >= MOST_PAUSED {
            let error = Error::impossible(
                format!("{} was not called", entry.name),
                format!("{MOST_PAUSED} calls are already waiting."),
            )
            .hint("Call again when some have ended.");
            return self.handle(request, CallState::Ended(End::Outcome(error.into())));
        }
        if matches!(caller.approval, Approval::WithinCall(_)) {
            request.repeat = Some(Box::new(Repeat {
                entry,
                arguments: arguments.clone(),
                caller: caller.name.clone(),
                says_mode: self.revision().is_some_and(Revision::has_modes),
                asked: 0,
            }));
        }
        let state = entry.call(self.context, &arguments, caller);
        self.handle(request, state)
    }

    /// Repeats a call after the user's answer, or without one.
    fn repeat_call(
        &self,
        request: &mut OpenRequest,
        approval: Approval,
    ) -> Result<Handled<'a>, Fault> {
        let Some(repeat) = &request.repeat else {
            return Err(Fault::internal("the call cannot be repeated".to_owned()));
        };
        let caller = Caller {
            name: repeat.caller.clone(),
            follows_tasks: false,
            approval,
        };
        let state = repeat.entry.call(self.context, &repeat.arguments, caller);
        self.handle(request, state)
    }

    /// Turns the state of a call into a result, a question or a wait.
    fn handle(
        &self,
        request: &mut OpenRequest,
        state: CallState<'a>,
    ) -> Result<Handled<'a>, Fault> {
        let end = match state {
            CallState::Waits(waiting) => return Ok(Handled::Polling(waiting)),
            CallState::Ended(end) => end,
        };
        let result = match end {
            End::Cancelled => return Ok(Handled::Cancelled),
            End::Outcome(outcome) => tool_result(outcome),
            End::Question(question) if request.repeat.is_some() => {
                return self.ask(request, question);
            }
            End::Question(question) => era::asked(&question),
            End::Task(task) => tasks::created(self.context, &task),
            End::InvalidRequestState => return Err(era::invalid_request_state()),
        };
        let result = in_era(&request.era, "tools/call", result);
        Ok(Handled::Result(Body::Value(result)))
    }

    /// Asks the user within the session.
    fn ask(&self, request: &mut OpenRequest, question: Question) -> Result<Handled<'a>, Fault> {
        let mut params = question.params();
        let Question { state, .. } = question;
        if let Some(repeat) = &mut request.repeat {
            if repeat.says_mode {
                params["mode"] = "form".into();
            }
            repeat.asked += 1;
            if repeat.asked > MOST_QUESTIONS {
                let why = "It changed each time while it was being confirmed.";
                return self.repeat_call(request, unanswered(state, why));
            }
        }
        match self.peer.send_request("elicitation/create", params) {
            Some(id) => Ok(Handled::Asking(PendingQuestion {
                id,
                state,
                deadline: Instant::now() + ANSWER_TIME,
            })),
            None => self.repeat_call(request, unanswered(state, CLOSED)),
        }
    }
}

/// Logs what a cancelled request has started, since no answer tells the client.
fn log_orphaned_changes(log_name: &str, started: &[Started]) {
    for started in started {
        log::warn!("{log_name} was cancelled; what it started continues: {started}");
    }
}

/// Puts a result into the form of its era.
fn in_era(era: &Era, method: &str, result: Value) -> Value {
    match era {
        Era::Stateless => era::stateless(method, result),
        Era::Handshake | Era::Session | Era::Unknown => result,
    }
}

/// Returns the approval with which to repeat a call whose question was not answered.
fn unanswered(state: String, why: &'static str) -> Approval {
    Approval::WithinCall(Some(Returned {
        state,
        reply: Some(consent::UserReply::Unanswered(why)),
    }))
}

/// Returns the name of a request in the log: the method and the tool, never the arguments.
fn log_name(request: &Request) -> String {
    match (&*request.method, request.params.get("name")) {
        ("tools/call", Some(Value::String(name))) => format!("tools/call {name:?}"),
        (method, _) => format!("{method:?}"),
    }
}

/// Accepts any filter; the acknowledgement omits what is not available.
fn listen<'a>(params: &Map<String, Value>) -> Result<Handled<'a>, Fault> {
    let Some(Value::Object(filter)) = params.get("notifications") else {
        return Err(Fault::invalid_params("notifications must be an object"));
    };
    if filter.get("taskIds").is_some_and(|ids| !ids.is_null()) {
        era::require_tasks(params)?;
    }
    Ok(Handled::Stream)
}

/// Refuses any cursor, since every list has one page.
fn check_cursor(params: &Map<String, Value>) -> Result<(), Fault> {
    match params.get("cursor") {
        None | Some(Value::Null) => Ok(()),
        Some(_) => Err(Fault::invalid_params(
            "Unknown cursor: there is only one page",
        )),
    }
}

/// Returns an empty list.
fn empty_list(params: &Map<String, Value>, name: &str) -> Result<Value, Fault> {
    check_cursor(params)?;
    Ok(json!({ name: [] }))
}

fn unknown_tool(name: &str) -> Fault {
    let known = tools::DOMAINS.iter().flat_map(|domain| domain.tools);
    let hint = match nearest(name, known.map(|(name, _)| *name)) {
        Some(near) => format!(". Did you mean {near}?"),
        None => String::new(),
    };
    let name: String = name.chars().take(100).collect();
    Fault::invalid_params(format!("Unknown tool: {name}{hint}"))
}

/// Returns the arguments of a call. Some clients send none, null, or the object as a string, which may be
/// empty.
fn arguments(value: Value) -> Result<Map<String, Value>, Fault> {
    let arguments = match value {
        Value::Null => Some(Map::new()),
        Value::Object(arguments) => Some(arguments),
        Value::String(text) if text.trim().is_empty() => Some(Map::new()),
        Value::String(text) => match json::from_text(&text) {
            Some(Value::Object(arguments)) => Some(arguments),
            _ => None,
        },
        _ => None,
    };
    arguments.ok_or_else(|| Fault::invalid_params("arguments must be an object"))
}

fn tool_result(outcome: Outcome) -> Value {
    // `json!` would copy the text.
    let mut content = json!({ "type": "text" });
    content["text"] = outcome.text.into();
    let mut result = Map::new();
    result.insert("content".to_owned(), vec![content].into());
    if let Some(structured) = outcome.structured {
        result.insert("structuredContent".to_owned(), structured);
    }
    if outcome.is_error {
        result.insert("isError".to_owned(), true.into());
    }
    result.into()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::mcp::connection::Output;
    use crate::settings::exposure::Exposure;
    use crate::settings::{Safety, Settings};

    fn context(peer: Peer) -> Context {
        let settings = Settings {
            connection: Err(Vec::new()),
            safety: Safety::default(),
        };
        Context::new(settings, tools::find, peer)
    }

    #[test]
    fn lists_every_tool_in_the_order_of_the_domains() {
        let line = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }}});
        let line: &'static str = line.to_string().leak();
        let output = Output::default();
        let peer = Peer::new(Box::new(line.as_bytes()), output.clone());
        serve(&context(peer)).expect("the vector accepts all output");
        let output = output.0.lock().expect("no test panics while holding it");
        let answer: Value = serde_json::from_slice(&output).expect("one message");
        let listed: Vec<&str> = answer["result"]["tools"]
            .as_array()
            .expect("a list of tools")
            .iter()
            .filter_map(|tool| tool["name"].as_str())
            .collect();
        let exposure = Exposure::default();
        let shown = tools::shown(&exposure);
        let declared: Vec<&str> = shown.map(|(name, _)| name).collect();
        assert_eq!(listed, declared);
    }

    #[test]
    fn limits_the_open_streams_and_their_ids() {
        let listen = |id: Value| {
            let line = json!({
                "jsonrpc": "2.0", "id": id, "method": "subscriptions/listen", "params": {
                    "notifications": {},
                    "_meta": {
                        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                        "io.modelcontextprotocol/clientCapabilities": {},
                    },
                },
            });
            format!("{line}\n")
        };
        let mut lines: String = (0..=MOST_STREAMS).map(|id| listen(id.into())).collect();
        lines += &listen("x".repeat(LONGEST_STREAM_ID + 1).into());
        let lines: &'static str = lines.leak();
        let output = Output::default();
        let peer = Peer::new(Box::new(lines.as_bytes()), output.clone());
        serve(&context(peer)).expect("the vector accepts all output");
        let output = output.0.lock().expect("no test panics while holding it");
        let messages = serde_json::Deserializer::from_slice(&output).into_iter::<Value>();
        let messages: Vec<Value> = messages.map(|message| message.expect("JSON")).collect();
        let refused: Vec<&Value> = messages
            .iter()
            .filter(|message| message["error"]["code"] == -32600)
            .collect();
        assert_eq!(refused.len(), 2, "{refused:?}");
        assert_eq!(refused[0]["id"], MOST_STREAMS);
        let ended = messages
            .iter()
            .filter(|message| message["result"].is_object());
        assert_eq!(ended.count(), MOST_STREAMS);
    }

    #[test]
    fn refuses_an_argument_string_that_would_take_too_much_memory() {
        let bomb = format!("{{\"a\":[{}0]}}", "{\"\":0},".repeat(150_000));
        assert_eq!(
            arguments(bomb.into()).map_err(|fault| fault.code),
            Err(-32602)
        );
    }

    #[test]
    fn ends_quietly_when_the_output_is_closed() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let peer = Peer::new(Box::new(&b"garbage\n"[..]), Closed);
        assert!(serve(&context(peer)).is_ok());
    }

    #[test]
    fn suggests_a_tool_with_a_similar_name() {
        assert_eq!(
            unknown_tool("proxmox_list_nodes").message,
            "Unknown tool: proxmox_list_nodes. Did you mean proxmox_get_nodes?"
        );
        assert_eq!(unknown_tool("foo").message, "Unknown tool: foo");
    }

    #[test]
    fn accepts_arguments_in_every_form_that_clients_send() {
        for form in [
            json!(null),
            json!({}),
            json!("{}"),
            json!(" { } "),
            json!(""),
            json!(" "),
        ] {
            assert_eq!(arguments(form), Ok(Map::new()));
        }
        let expected = Map::from_iter([("node".to_owned(), json!("pve1"))]);
        assert_eq!(arguments(json!(r#"{"node":"pve1"}"#)), Ok(expected));
        for form in [json!([]), json!(5), json!(true), json!("null"), json!("[]")] {
            assert_eq!(arguments(form).map_err(|fault| fault.code), Err(-32602));
        }
    }

    #[test]
    fn marks_only_errors_as_errors() {
        let result = tool_result(Outcome {
            text: "2 nodes".to_owned(),
            structured: Some(json!({ "count": 2 })),
            is_error: false,
        });
        let content = json!([{ "type": "text", "text": "2 nodes" }]);
        let expected = json!({ "content": content, "structuredContent": { "count": 2 } });
        assert_eq!(result, expected);
        let result = tool_result(Outcome {
            text: "no".to_owned(),
            structured: None,
            is_error: true,
        });
        let content = json!([{ "type": "text", "text": "no" }]);
        assert_eq!(result, json!({ "content": content, "isError": true }));
    }

    #[test]
    fn logs_the_tool_but_no_argument() {
        let params = json!({ "name": "a\nb", "arguments": { "password": "hunter2" } });
        let Value::Object(params) = params else {
            panic!("no object");
        };
        let request = Request {
            id: Id::Text("1".to_owned()),
            method: "tools/call".to_owned(),
            params,
        };
        assert_eq!(log_name(&request), r#"tools/call "a\nb""#);
    }
}
