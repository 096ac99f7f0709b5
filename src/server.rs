//! The MCP server: one message at a time, from the line to its answer.
//!
//! May import: `text`, `mcp`, `error`, `pve`, `answer`, `cluster`, `safety`, `tool`, `tools`.

mod era;
mod instructions;
mod tasks;

use std::io::{self, ErrorKind};
use std::mem;
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::mcp::connection::{Interruption, Peer};
use crate::mcp::rpc::{self, Fault, Frame, Id, Message, Notification, Request};
use crate::server::era::{Era, Revision, Session};
use crate::text::json;
use crate::text::nearest::nearest;
use crate::tool::{Context, End, Outcome};
use crate::tools;

/// Answers the messages of the client in order, each before the next is begun, until it sends no more
/// or nobody reads what it is answered.
pub(crate) fn serve(context: &Context) -> io::Result<()> {
    let mut server = Server {
        context,
        peer: context.peer(),
        session: None,
        streams: Vec::new(),
    };
    match server.run() {
        Err(err) if err.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// How many streams may be open, and how long the id of one may be: their ids are kept.
const MOST_STREAMS: usize = 100;
const LONGEST_STREAM_ID: usize = 1_000;

struct Server<'a> {
    context: &'a Context,
    peer: &'a Peer,
    /// What the last `initialize` settled.
    session: Option<Session>,
    /// The requests of `subscriptions/listen` whose result is due at the end.
    streams: Vec<Id>,
}

/// What a request is answered with.
enum Reply {
    /// Its result, at once.
    Result(Value),
    /// Not at all: the client cancelled it.
    Nothing,
    /// An acknowledgement, and the result when the server ends.
    Stream,
}

impl Server<'_> {
    /// The revision of the open session.
    fn revision(&self) -> Option<Revision> {
        self.session.as_ref().map(|session| session.revision)
    }

    fn run(&mut self) -> io::Result<()> {
        while let Some(frame) = self.peer.next()? {
            self.receive(frame)?;
        }
        for id in mem::take(&mut self.streams) {
            let result = era::stateless("subscriptions/listen", era::listened(&id));
            self.peer.write(&rpc::answer(Some(&id), Ok(result)))?;
        }
        Ok(())
    }

    /// Writes what is answered to one line.
    fn receive(&mut self, frame: Frame) -> io::Result<()> {
        let answer = match frame {
            Frame::Single(message) => self.answer(message)?,
            Frame::Batch(messages) => self.answer_batch(messages)?,
        };
        match answer {
            Some(answer) => self.peer.write(&answer),
            None => Ok(()),
        }
    }

    /// The array of answers (MCP 2025-03-26, Base protocol, Batching).
    fn answer_batch(&mut self, messages: Vec<Message>) -> io::Result<Option<Value>> {
        if !self.revision().is_some_and(Revision::has_batches) {
            let fault = Fault::invalid_request("This revision has no batches");
            return Ok(Some(rpc::answer(None, Err(fault))));
        }
        if messages.is_empty() {
            let fault = Fault::invalid_request("A batch must not be empty");
            return Ok(Some(rpc::answer(None, Err(fault))));
        }
        let mut answers = Vec::new();
        for message in messages {
            answers.extend(match message {
                Message::Request(request) if Era::of(&request, self.revision()) != Era::Session => {
                    let fault = Fault::invalid_request(
                        "A batch holds only requests of the session that is already open",
                    );
                    Some(rpc::answer(Some(&request.id), Err(fault)))
                }
                message => self.answer(message)?,
            });
        }
        Ok((!answers.is_empty()).then_some(Value::Array(answers)))
    }

    /// The answer to one message, if it gets one and it is not due later.
    fn answer(&mut self, message: Message) -> io::Result<Option<Value>> {
        let request = match message {
            Message::Invalid(id, fault) => {
                return Ok(Some(rpc::answer(id.as_ref(), Err(fault))));
            }
            Message::Notification(notification) => {
                self.take_note(&notification);
                return Ok(None);
            }
            Message::Response(..) => {
                log::warn!("dropped a response that nobody waits for");
                return Ok(None);
            }
            Message::Request(request) => request,
        };
        let id = request.id.clone();
        let can_be_cancelled = request.method != "initialize";
        if self.peer.begin(&id, &request.params) && can_be_cancelled {
            return Ok(None);
        }
        let subject = subject(&request);
        let start = Instant::now();
        let outcome = self.dispatch(request);
        log::debug!("{subject}: {} ms", start.elapsed().as_millis());
        // Not all that is done for a cancelled request breaks off, but nothing is sent for it.
        if can_be_cancelled && self.peer.interruption() == Some(Interruption::Cancelled) {
            for begun in self.peer.begun() {
                log::warn!("{subject} was cancelled; what it began goes on: {begun}");
            }
            return Ok(None);
        }
        match outcome {
            Ok(Reply::Result(result)) => Ok(Some(rpc::answer(Some(&id), Ok(result)))),
            Ok(Reply::Nothing) => Ok(None),
            Ok(Reply::Stream) if !self.has_room_for(&id) => {
                let fault = Fault::invalid_request(format!(
                    "At most {MOST_STREAMS} subscriptions may be open, with ids of at most \
                     {LONGEST_STREAM_ID} bytes: cancel one"
                ));
                Ok(Some(rpc::answer(Some(&id), Err(fault))))
            }
            Ok(Reply::Stream) => {
                let method = "notifications/subscriptions/acknowledged";
                self.peer
                    .write(&rpc::notification(method, era::acknowledged(&id)))?;
                if !self.streams.contains(&id) {
                    self.streams.push(id);
                }
                Ok(None)
            }
            Err(fault) => Ok(Some(rpc::answer(Some(&id), Err(fault)))),
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

    fn take_note(&mut self, notification: &Notification) {
        if notification.method == "notifications/cancelled" {
            let id = notification.params.get("requestId").and_then(Id::new);
            self.streams.retain(|stream| Some(stream) != id.as_ref());
        }
    }

    /// Every method of both eras.
    fn dispatch(&mut self, request: Request) -> Result<Reply, Fault> {
        let era = Era::of(&request, self.revision());
        let Request {
            method, mut params, ..
        } = request;
        if era == Era::Stateless {
            era::check(&params)?;
        }
        let result = match (&era, &*method) {
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
            (_, "tools/call") => self.call_tool(&era, params)?,
            (_, _) => return Err(Fault::unknown_method(&method)),
        };
        let Some(result) = result else {
            return Ok(Reply::Nothing);
        };
        Ok(Reply::Result(match era {
            Era::Stateless => era::stateless(&method, result),
            Era::Handshake | Era::Session | Era::Unknown => result,
        }))
    }

    fn initialize(&mut self, params: &Map<String, Value>) -> Result<Value, Fault> {
        let Some(requested) = params.get("protocolVersion").and_then(Value::as_str) else {
            return Err(Fault::invalid_params("protocolVersion must be a string"));
        };
        let revision = Revision::negotiate(requested);
        self.session = Some(Session::open(revision, params));
        Ok(era::initialized(self.context, revision))
    }

    /// The result of a call; `None` when it was cancelled.
    fn call_tool(&self, era: &Era, mut params: Map<String, Value>) -> Result<Option<Value>, Fault> {
        let caller = era::caller(era, self.session.as_ref(), self.peer, &mut params)?;
        let Some(Value::String(name)) = params.remove("name") else {
            return Err(Fault::invalid_params(
                "name must be a string, the tool to call",
            ));
        };
        let entry = tools::find(&name).ok_or_else(|| unknown_tool(&name))?;
        let arguments = arguments(params.remove("arguments").unwrap_or_default())?;
        Ok(match entry.call(self.context, &arguments, &caller) {
            End::Cancelled => None,
            End::Outcome(outcome) => Some(tool_result(outcome)),
            End::Question(question) => Some(era::asked(&question)),
            End::Task(task) => Some(tasks::created(self.context, &task)),
            End::Unbound => return Err(era::unbound()),
        })
    }
}

/// What the log calls a request: the method and the tool, never the arguments.
fn subject(request: &Request) -> String {
    match (&*request.method, request.params.get("name")) {
        ("tools/call", Some(Value::String(name))) => format!("tools/call {name:?}"),
        (method, _) => format!("{method:?}"),
    }
}

/// Accepts any filter: what it asks for and we do not have is left out of the acknowledgement.
fn listen(params: &Map<String, Value>) -> Result<Reply, Fault> {
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
    Ok(json!({ "tools": tools::definitions(context.safety()) }))
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
    let mut result = json!({ "content": [{ "type": "text", "text": outcome.text }] });
    if let Some(structured) = outcome.structured {
        result["structuredContent"] = structured;
    }
    if outcome.is_error {
        result["isError"] = true.into();
    }
    result
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
