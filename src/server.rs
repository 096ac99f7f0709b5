//! The MCP server: from the line to its answer.
//!
//! One message is answered after the other, but for calls that wait: for a task, or for an answer of the
//! user. They are put aside, and whichever comes first has its turn, the next line or the next look.
//!
//! May import: `text`, `mcp`, `error`, `pve`, `answer`, `cluster`, `safety`, `tool`, `tools`.

mod era;
mod instructions;
mod tasks;

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::mem;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::error::{Error, Question};
use crate::mcp::connection::{self, Interruption, Next, Peer};
use crate::mcp::rpc::{self, Fault, Frame, Id, Message, Notification, Request};
use crate::safety::Caller;
use crate::safety::consent::{self, Approval, Returned};
use crate::server::era::{Era, Revision, Session};
use crate::text::json;
use crate::text::nearest::nearest;
use crate::tool::{CallState, Context, End, ListedTool, Outcome, WaitingCall};
use crate::tools;

/// Answers the messages of the client, until it sends no more or nobody reads what it is answered. A call
/// is begun before what comes after it is looked at.
pub(crate) fn serve(context: &Context) -> io::Result<()> {
    let mut server = Server {
        context,
        peer: context.peer(),
        session: None,
        streams: Vec::new(),
        aside: Vec::new(),
    };
    match server.run() {
        Err(err) if err.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// How many streams may be open, and how long the id of one may be: their ids are kept.
const MOST_STREAMS: usize = 100;
const LONGEST_STREAM_ID: usize = 1_000;

/// How many calls may wait. While so many do, no other is begun.
const MOST_ASIDE: usize = 250;

/// How long a person may think about a question: not so long that their answer comes too late to count.
const THINKING_TIME: Duration = Duration::from_secs(consent::LIFETIME - 5);

/// How often a question is put again because its object has changed meanwhile.
const MOST_QUESTIONS: u32 = 3;

// Why a question was not answered.
const CANCELLED: &str = "The client cancelled the call before it was confirmed.";
const CLOSED: &str = "The client closed its end before it was confirmed.";

struct Server<'a> {
    context: &'a Context,
    peer: &'a Peer,
    /// What the last `initialize` settled.
    session: Option<Session>,
    /// The requests of `subscriptions/listen` whose result is due at the end.
    streams: Vec<Id>,
    /// The calls that wait.
    aside: Vec<Aside<'a>>,
}

/// A call that waits.
struct Aside<'a> {
    answering: Answering,
    call: connection::Call,
    awaits: Awaits<'a>,
}

/// What a call waits for.
enum Awaits<'a> {
    Look(Box<WaitingCall<'a>>),
    User(Asked),
}

/// A question that was put to the user within a session.
struct Asked {
    /// The id of our request.
    id: Id,
    /// What belongs to the answer.
    state: String,
    deadline: Instant,
}

/// A request that is worked on, and all that is needed to answer it.
struct Answering {
    id: Id,
    era: Era,
    /// What the log calls it.
    subject: String,
    start: Instant,
    can_be_cancelled: bool,
    place: Place,
    /// What it is made again from when the user has answered, where they can be asked within it.
    again: Option<Box<Again>>,
}

/// A call that may have to be made again.
struct Again {
    entry: ListedTool,
    arguments: Map<String, Value>,
    caller: String,
    says_mode: bool,
    /// How often the user was asked.
    asked: u32,
}

/// Where an answer goes.
#[derive(Clone)]
enum Place {
    Line,
    /// Into an array, in this place.
    Batch(Rc<RefCell<Batch>>, usize),
}

/// The answers to a batch, which are sent together.
struct Batch {
    answers: Vec<Option<Value>>,
    /// How many of its messages have not been dealt with.
    open: usize,
}

/// What a request is answered with.
enum Reply<'a> {
    /// Its result, at once.
    Result(Value),
    /// Not at all: the client cancelled it.
    Nothing,
    /// An acknowledgement, and the result when the server ends.
    Stream,
    /// Later.
    Waits(Awaits<'a>),
}

impl Aside<'_> {
    /// When it has its turn, whatever the client does.
    fn due(&self) -> Instant {
        match &self.awaits {
            Awaits::Look(waiting) => waiting.due(),
            Awaits::User(asked) => asked.deadline,
        }
    }

    fn is_asked(&self, question: &Id) -> bool {
        matches!(&self.awaits, Awaits::User(asked) if asked.id == *question)
    }
}

impl<'a> Server<'a> {
    /// The revision of the open session.
    fn revision(&self) -> Option<Revision> {
        self.session.as_ref().map(|session| session.revision)
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            let due = self.aside.iter().map(Aside::due).min();
            match self.peer.next(due)? {
                Next::Frame(frame) => self.receive(frame)?,
                Next::Due => (),
                Next::End if self.aside.is_empty() => break,
                Next::End => (),
            }
            self.look_after()?;
        }
        for id in mem::take(&mut self.streams) {
            let result = era::stateless("subscriptions/listen", era::listened(&id));
            self.peer.write(&rpc::answer(Some(&id), Ok(result)))?;
        }
        Ok(())
    }

    /// Gives each call that waits its turn, where that has come.
    fn look_after(&mut self) -> io::Result<()> {
        for aside in mem::take(&mut self.aside) {
            if self.peer.has_cancelled(&aside.call) {
                self.drop_cancelled(aside)?;
            } else if self.peer.has_closed() || aside.due() <= Instant::now() {
                self.resume(aside)?;
            } else {
                self.aside.push(aside);
            }
        }
        Ok(())
    }

    /// Goes on with a call whose turn has come, or ends it because its client has closed its end.
    fn resume(&mut self, aside: Aside<'a>) -> io::Result<()> {
        let Aside {
            mut answering,
            call,
            awaits,
        } = aside;
        let is_cancelled = self.peer.resume(call);
        let is_closed = self.peer.has_closed();
        let outcome = match awaits {
            Awaits::User(asked) => {
                self.peer.withdraw(&asked.id);
                let why = match is_closed {
                    _ if is_cancelled => CANCELLED,
                    true => CLOSED,
                    false => "Nobody answered the question within 5 minutes.",
                };
                self.call_again(&mut answering, unanswered(asked.state, why))
            }
            Awaits::Look(_) if is_cancelled => Ok(Reply::Nothing),
            Awaits::Look(waiting) => {
                let turn = match is_closed {
                    true => waiting.leave(),
                    false => waiting.look(),
                };
                self.reply(&mut answering, turn)
            }
        };
        self.answer(answering, outcome)
    }

    /// Lets go of a call that the client has cancelled.
    fn drop_cancelled(&mut self, aside: Aside<'a>) -> io::Result<()> {
        let Aside {
            mut answering,
            call,
            awaits,
        } = aside;
        log_begun(&answering.subject, call.begun);
        if let Awaits::User(asked) = awaits {
            self.peer.withdraw(&asked.id);
            // The audit log has a line of every call.
            let _ = self.call_again(&mut answering, unanswered(asked.state, CANCELLED));
        }
        self.deliver(answering.place, None)
    }

    /// Works on one line.
    fn receive(&mut self, frame: Frame) -> io::Result<()> {
        match frame {
            Frame::Single(message) => self.take(message, Place::Line),
            Frame::Batch(messages) => self.take_batch(messages),
        }
    }

    /// Works on a batch, whose answers go into one array (MCP 2025-03-26, Base protocol, Batching).
    fn take_batch(&mut self, messages: Vec<Message>) -> io::Result<()> {
        let refuse = |why| Some(rpc::answer(None, Err(Fault::invalid_request(why))));
        if !self.revision().is_some_and(Revision::has_batches) {
            return self.deliver(Place::Line, refuse("This revision has no batches"));
        }
        if messages.is_empty() {
            return self.deliver(Place::Line, refuse("A batch must not be empty"));
        }
        let batch = Rc::new(RefCell::new(Batch {
            answers: messages.iter().map(|_| None).collect(),
            open: messages.len(),
        }));
        for (at, message) in messages.into_iter().enumerate() {
            let place = Place::Batch(Rc::clone(&batch), at);
            match message {
                Message::Request(request) if Era::of(&request, self.revision()) != Era::Session => {
                    let fault = Fault::invalid_request(
                        "A batch holds only requests of the session that is already open",
                    );
                    self.deliver(place, Some(rpc::answer(Some(&request.id), Err(fault))))?;
                }
                message => self.take(message, place)?,
            }
        }
        Ok(())
    }

    /// Works on one message.
    fn take(&mut self, message: Message, place: Place) -> io::Result<()> {
        let request = match message {
            Message::Invalid(id, fault) => {
                return self.deliver(place, Some(rpc::answer(id.as_ref(), Err(fault))));
            }
            Message::Notification(notification) => {
                self.take_note(&notification)?;
                return self.deliver(place, None);
            }
            Message::Response(id, outcome) => {
                self.take_response(id, outcome)?;
                return self.deliver(place, None);
            }
            Message::Request(request) => request,
        };
        let can_be_cancelled = request.method != "initialize";
        if self.peer.begin(&request.id, &request.params) && can_be_cancelled {
            return self.deliver(place, None);
        }
        let mut answering = Answering {
            id: request.id.clone(),
            era: Era::of(&request, self.revision()),
            subject: subject(&request),
            start: Instant::now(),
            can_be_cancelled,
            place,
            again: None,
        };
        let outcome = self.dispatch(&mut answering, request);
        self.answer(answering, outcome)
    }

    /// Answers the request that was worked on, unless it waits or nobody wants the answer.
    fn answer(
        &mut self,
        answering: Answering,
        outcome: Result<Reply<'a>, Fault>,
    ) -> io::Result<()> {
        let outcome = match outcome {
            Ok(Reply::Waits(awaits)) => {
                if let Some(call) = self.peer.put_aside() {
                    self.aside.push(Aside {
                        answering,
                        call,
                        awaits,
                    });
                }
                return Ok(());
            }
            outcome => outcome,
        };
        let Answering {
            id,
            subject,
            start,
            can_be_cancelled,
            place,
            ..
        } = answering;
        log::debug!("{subject}: {} ms", start.elapsed().as_millis());
        // Not all that is done for a cancelled request breaks off, but nothing is sent for it.
        if can_be_cancelled && self.peer.interruption() == Some(Interruption::Cancelled) {
            log_begun(&subject, self.peer.begun());
            return self.deliver(place, None);
        }
        let answer = match outcome {
            Ok(Reply::Result(result)) => Some(rpc::answer(Some(&id), Ok(result))),
            Ok(Reply::Nothing | Reply::Waits(_)) => None,
            Ok(Reply::Stream) if !self.has_room_for(&id) => {
                let fault = Fault::invalid_request(format!(
                    "At most {MOST_STREAMS} subscriptions may be open, with ids of at most \
                     {LONGEST_STREAM_ID} bytes: cancel one"
                ));
                Some(rpc::answer(Some(&id), Err(fault)))
            }
            Ok(Reply::Stream) => {
                let method = "notifications/subscriptions/acknowledged";
                self.peer
                    .write(&rpc::notification(method, era::acknowledged(&id)))?;
                if !self.streams.contains(&id) {
                    self.streams.push(id);
                }
                None
            }
            Err(fault) => Some(rpc::answer(Some(&id), Err(fault))),
        };
        self.deliver(place, answer)
    }

    /// Sends an answer, or keeps it until its batch is complete; `None` where there is none.
    fn deliver(&self, place: Place, answer: Option<Value>) -> io::Result<()> {
        let answer = match place {
            Place::Line => answer,
            Place::Batch(batch, at) => {
                let mut batch = batch.borrow_mut();
                batch.answers[at] = answer;
                batch.open -= 1;
                if batch.open > 0 {
                    return Ok(());
                }
                let answers: Vec<Value> = mem::take(&mut batch.answers)
                    .into_iter()
                    .flatten()
                    .collect();
                (!answers.is_empty()).then_some(Value::Array(answers))
            }
        };
        match answer {
            Some(answer) => self.peer.write(&answer),
            None => Ok(()),
        }
    }

    /// Whether a stream with this id may be open.
    fn has_room_for(&self, id: &Id) -> bool {
        let is_short = match id {
            Id::Integer(_) => true,
            Id::Text(text) => text.len() <= LONGEST_STREAM_ID,
        };
        is_short && (self.streams.len() < MOST_STREAMS || self.streams.contains(id))
    }

    fn take_note(&mut self, notification: &Notification) -> io::Result<()> {
        if notification.method != "notifications/cancelled" {
            return Ok(());
        }
        let Some(id) = notification.params.get("requestId").and_then(Id::new) else {
            return Ok(());
        };
        self.streams.retain(|stream| *stream != id);
        let is_it = |aside: &mut Aside| aside.call.id == id;
        let cancelled: Vec<Aside> = self.aside.extract_if(.., is_it).collect();
        for aside in cancelled {
            self.drop_cancelled(aside)?;
        }
        Ok(())
    }

    /// Goes on with the call whose user has answered.
    fn take_response(&mut self, id: Option<Id>, outcome: Result<Value, Value>) -> io::Result<()> {
        let place = id.and_then(|id| self.aside.iter().position(|aside| aside.is_asked(&id)));
        let Some(place) = place else {
            log::warn!("dropped a response that nobody waits for");
            return Ok(());
        };
        let Aside {
            mut answering,
            call,
            awaits,
        } = self.aside.remove(place);
        let outcome = match awaits {
            Awaits::User(asked) => {
                let approval = match self.peer.resume(call) {
                    true => unanswered(asked.state, CANCELLED),
                    false => era::answered(asked.state, outcome),
                };
                self.call_again(&mut answering, approval)
            }
            Awaits::Look(_) => Ok(Reply::Nothing),
        };
        self.answer(answering, outcome)
    }

    /// Every method of both eras.
    fn dispatch(
        &mut self,
        answering: &mut Answering,
        request: Request,
    ) -> Result<Reply<'a>, Fault> {
        let Request {
            method, mut params, ..
        } = request;
        let era = &answering.era;
        if *era == Era::Stateless {
            era::check(&params)?;
        }
        let result = match (era, &*method) {
            (Era::Handshake, _) => Some(self.initialize(&params)?),
            (Era::Session | Era::Unknown, "ping") => Some(json!({})),
            (Era::Unknown, _) => return Err(era::not_initialized()),
            (Era::Stateless, "server/discover") => Some(era::discovered(self.context)),
            (Era::Stateless, "subscriptions/listen") => return listen(&params),
            (Era::Stateless, "tasks/cancel") => {
                tasks::cancel(self.context, self.peer, &mut params)?
            }
            (Era::Stateless, "tasks/get") => tasks::get(self.context, &params)?,
            (Era::Stateless, "tasks/update") => Some(tasks::update(self.context, &params)?),
            (_, "tools/list") => Some(list_tools(self.context, &params)?),
            // Clients ask for these whether they are declared or not, and warn where they are unknown.
            (Era::Session, "prompts/list") => Some(none(&params, "prompts")?),
            (Era::Session, "resources/list") => Some(none(&params, "resources")?),
            (Era::Session, "resources/templates/list") => Some(none(&params, "resourceTemplates")?),
            (_, "tools/call") => return self.call_tool(answering, params),
            (_, _) => return Err(Fault::unknown_method(&method)),
        };
        Ok(match result {
            Some(result) => Reply::Result(formed(era, &method, result)),
            None => Reply::Nothing,
        })
    }

    fn initialize(&mut self, params: &Map<String, Value>) -> Result<Value, Fault> {
        let Some(requested) = params.get("protocolVersion").and_then(Value::as_str) else {
            return Err(Fault::invalid_params("protocolVersion must be a string"));
        };
        let revision = Revision::negotiate(requested);
        self.session = Some(Session::open(revision, params));
        Ok(era::initialized(self.context, revision))
    }

    fn call_tool(
        &mut self,
        answering: &mut Answering,
        mut params: Map<String, Value>,
    ) -> Result<Reply<'a>, Fault> {
        let session = self.session.as_ref();
        let caller = era::caller(&answering.era, session, self.peer, &mut params)?;
        let Some(Value::String(name)) = params.remove("name") else {
            return Err(Fault::invalid_params(
                "name must be a string, the tool to call",
            ));
        };
        let entry = tools::find(&name).ok_or_else(|| unknown_tool(&name))?;
        let arguments = arguments(params.remove("arguments").unwrap_or_default())?;
        if self.aside.len() >= MOST_ASIDE {
            let error = Error::impossible(
                format!("{} was not called", entry.name),
                format!("{MOST_ASIDE} calls wait already: call again when some have ended."),
            );
            return self.reply(answering, CallState::Ended(End::Outcome(error.into())));
        }
        if matches!(caller.approval, Approval::WithinCall(_)) {
            answering.again = Some(Box::new(Again {
                entry,
                arguments: arguments.clone(),
                caller: caller.name.clone(),
                says_mode: self.revision().is_some_and(Revision::has_modes),
                asked: 0,
            }));
        }
        let turn = entry.call(self.context, &arguments, caller);
        self.reply(answering, turn)
    }

    /// Makes a call again whose user has answered, or will not.
    fn call_again(
        &self,
        answering: &mut Answering,
        approval: Approval,
    ) -> Result<Reply<'a>, Fault> {
        let Some(again) = &answering.again else {
            return Err(Fault::internal("the call cannot be made again".to_owned()));
        };
        let caller = Caller {
            name: again.caller.clone(),
            follows_tasks: false,
            approval,
        };
        let turn = again.entry.call(self.context, &again.arguments, caller);
        self.reply(answering, turn)
    }

    /// What a call is answered that has come so far.
    fn reply(&self, answering: &mut Answering, state: CallState<'a>) -> Result<Reply<'a>, Fault> {
        let end = match state {
            CallState::Waits(waiting) => return Ok(Reply::Waits(Awaits::Look(waiting))),
            CallState::Ended(end) => end,
        };
        let result = match end {
            End::Cancelled => return Ok(Reply::Nothing),
            End::Outcome(outcome) => tool_result(outcome),
            End::Question(question) if answering.again.is_some() => {
                return self.ask(answering, question);
            }
            End::Question(question) => era::asked(&question),
            End::Task(task) => tasks::created(self.context, &task),
            End::InvalidRequestState => return Err(era::invalid_request_state()),
        };
        Ok(Reply::Result(formed(&answering.era, "tools/call", result)))
    }

    /// Asks the user within the session.
    fn ask(&self, answering: &mut Answering, question: Question) -> Result<Reply<'a>, Fault> {
        let mut params = question.params();
        let Question { state, .. } = question;
        if let Some(again) = &mut answering.again {
            if again.says_mode {
                params["mode"] = "form".into();
            }
            again.asked += 1;
            if again.asked > MOST_QUESTIONS {
                let why = "It changed each time while it was being confirmed.";
                let approval = unanswered(state, why);
                return self.call_again(answering, approval);
            }
        }
        match self.peer.ask("elicitation/create", params) {
            Some(id) => Ok(Reply::Waits(Awaits::User(Asked {
                id,
                state,
                deadline: Instant::now() + THINKING_TIME,
            }))),
            None => self.call_again(answering, unanswered(state, CLOSED)),
        }
    }
}

/// Says what a cancelled request has begun, which nobody hears of otherwise.
fn log_begun(subject: &str, begun: Vec<String>) {
    for begun in begun {
        log::warn!("{subject} was cancelled; what it began goes on: {begun}");
    }
}

/// A result as its era has it.
fn formed(era: &Era, method: &str, result: Value) -> Value {
    match era {
        Era::Stateless => era::stateless(method, result),
        Era::Handshake | Era::Session | Era::Unknown => result,
    }
}

/// How a call is made again whose question was not answered.
fn unanswered(state: String, why: &'static str) -> Approval {
    Approval::WithinCall(Some(Returned {
        state,
        reply: Some(consent::UserReply::Unanswered(why)),
    }))
}

/// What the log calls a request: the method and the tool, never the arguments.
fn subject(request: &Request) -> String {
    match (&*request.method, request.params.get("name")) {
        ("tools/call", Some(Value::String(name))) => format!("tools/call {name:?}"),
        (method, _) => format!("{method:?}"),
    }
}

/// Accepts any filter: what it asks for and we do not have is left out of the acknowledgement.
fn listen<'a>(params: &Map<String, Value>) -> Result<Reply<'a>, Fault> {
    let Some(Value::Object(filter)) = params.get("notifications") else {
        return Err(Fault::invalid_params("notifications must be an object"));
    };
    if filter.get("taskIds").is_some_and(|ids| !ids.is_null()) {
        era::require_tasks(params)?;
    }
    Ok(Reply::Stream)
}

/// Every list has one page, so no cursor can be one of ours.
fn check_cursor(params: &Map<String, Value>) -> Result<(), Fault> {
    match params.get("cursor") {
        None | Some(Value::Null) => Ok(()),
        Some(_) => Err(Fault::invalid_params(
            "Unknown cursor: there is only one page",
        )),
    }
}

/// A list of what we have none of.
fn none(params: &Map<String, Value>, name: &str) -> Result<Value, Fault> {
    check_cursor(params)?;
    Ok(json!({ name: [] }))
}

fn list_tools(context: &Context, params: &Map<String, Value>) -> Result<Value, Fault> {
    check_cursor(params)?;
    let definitions = tools::definitions(context.safety());
    Ok(Map::from_iter([("tools".to_owned(), definitions.into())]).into())
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

/// The arguments of a call. Some clients send none, null, or the object as a string, which may be empty.
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
    let mut result = Map::from_iter([("content".to_owned(), vec![content].into())]);
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
        serve(&context(peer)).expect("a vector takes all");
        let output = output.0.lock().expect("nobody panics");
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
    fn keeps_so_many_streams_open_and_no_more() {
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
        serve(&context(peer)).expect("a vector takes all");
        let output = output.0.lock().expect("nobody panics");
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
    fn refuses_arguments_in_a_text_whose_values_take_too_much_memory() {
        let bomb = format!("{{\"a\":[{}0]}}", "{\"\":0},".repeat(150_000));
        assert_eq!(
            arguments(bomb.into()).map_err(|fault| fault.code),
            Err(-32602)
        );
    }

    #[test]
    fn ends_quietly_when_nobody_reads_the_output() {
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
    fn names_the_tool_that_was_probably_meant() {
        assert_eq!(
            unknown_tool("proxmox_list_nodes").message,
            "Unknown tool: proxmox_list_nodes. Did you mean proxmox_get_nodes?"
        );
        assert_eq!(unknown_tool("foo").message, "Unknown tool: foo");
    }

    #[test]
    fn takes_arguments_in_every_form_that_clients_send() {
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
    fn logs_the_tool_and_no_argument() {
        let params = json!({ "name": "a\nb", "arguments": { "password": "hunter2" } });
        let Value::Object(params) = params else {
            panic!("no object");
        };
        let request = Request {
            id: Id::Text("1".to_owned()),
            method: "tools/call".to_owned(),
            params,
        };
        assert_eq!(subject(&request), r#"tools/call "a\nb""#);
    }
}
