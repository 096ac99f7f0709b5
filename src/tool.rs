//! What a tool is, and how a call of one runs.
//!
//! May import: `text`, `request`, `mcp`, `settings`, `error`, `pve`, `param`, `answer`, `cluster`, `safety`.

mod host;
pub(crate) mod privileges;
mod stand_in;

use std::cell::OnceCell;
use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::answer::{self, Answer, Fields, Table};
use crate::cluster::diagnosis;
use crate::cluster::guests::{self, Twins};
use crate::cluster::tasks::{self, Patience, State, Task};
use crate::error::{Error, Question};
use crate::mcp::connection::Peer;
use crate::param::{self, Args, Param};
use crate::pve;
use crate::pve::demo::{Demonstration, RECORDED};
use crate::pve::reader::{Cluster, Reader};
use crate::request::{Method, Reply, Request};
use crate::safety::nodes::refuse_alias;
use crate::safety::{CONFIRM_TOKEN, Caller, Client, DRY_RUN, Gate, Keeper};
use crate::settings::{Confirm, Safety, Secret, Settings};
use crate::text;

/// One MCP tool: everything the server knows about it but its name, which stands in `tools.rs`.
///
/// A literal names every field, so a tool without a permission does not compile.
pub(crate) struct Tool {
    /// Its name for people.
    pub(crate) title: &'static str,
    /// What it does, as sentences that a model chooses by.
    pub(crate) summary: &'static str,
    pub(crate) permission: Permission,
    pub(crate) effect: Effect,
    pub(crate) params: &'static [Param],
    pub(crate) call: Call,
}

/// A tool as the list has it.
#[derive(Clone, Copy)]
pub(crate) struct ListedTool {
    pub(crate) name: &'static str,
    pub(crate) toolset: &'static str,
    pub(crate) tool: &'static Tool,
    /// Where it is for one kind of guest alone, what does the same for the other.
    pub(crate) twins: Option<Twins>,
}

/// Finds a tool by its name, or by an older one.
pub(crate) type Find = fn(&str) -> Option<ListedTool>;

/// Who may call a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Everybody.
    Basic,
    /// Nobody unless `PROXMOX_ALLOW_ELEVATED=true`.
    Elevated,
}

/// What a call does to the cluster: the four annotations of MCP, in the combinations that occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Makes something new.
    Adds,
    /// Can destroy data.
    Destroys,
    /// Can interrupt a service or lose something else.
    Disrupts,
    /// Runs what the caller says inside a guest.
    Executes,
    /// Changes nothing.
    Reads,
    /// Replaces settings; the same again changes nothing more.
    Rewrites,
    /// Brings about a state; the same again changes nothing more.
    Starts,
}

impl Effect {
    fn annotations(self) -> Value {
        let (read_only, destructive, idempotent, open_world) = match self {
            Effect::Adds => (false, false, false, false),
            Effect::Destroys | Effect::Disrupts => (false, true, false, false),
            Effect::Executes => (false, true, false, true),
            Effect::Reads => (true, false, true, false),
            Effect::Rewrites => (false, true, true, false),
            Effect::Starts => (false, false, true, false),
        };
        json!({
            "readOnlyHint": read_only,
            "destructiveHint": destructive,
            "idempotentHint": idempotent,
            "openWorldHint": open_world,
        })
    }
}

/// What a tool asks of the Proxmox API.
pub(crate) enum Call {
    /// One request: arguments fill in the path, and the rest are sent under their wire names.
    Plain(Method, &'static str, Show),
    /// More than one request, or one that is made from the arguments: all that it may send, for the
    /// documentation, and the function that does it.
    Steps(
        &'static [&'static str],
        fn(&Client, &Args) -> Result<Answer, Error>,
    ),
}

/// How the answer to a plain request is shown.
pub(crate) enum Show {
    /// As the start of a task: what it does, a template like `Start VM {vmid}`.
    Action(&'static str),
    Fields(&'static Fields),
    Table(&'static Table),
}

/// How a call ends.
pub(crate) enum End {
    /// Nobody wants to know any more.
    Cancelled,
    Outcome(Outcome),
    /// With a question, which the client puts to its user before it calls again.
    Question(Question),
    /// With a task that goes on, for a client that follows it itself.
    Task(Task),
    /// What came back with the call does not belong to it.
    Unbound,
}

/// How long a call waits for its task before it is handed to a client that follows tasks itself.
const HAND_OVER: Duration = Duration::from_secs(2);

/// What a call gives back, be it an error or not.
pub(crate) struct Outcome {
    pub(crate) text: String,
    /// An object; absent for errors.
    pub(crate) structured: Option<Value>,
    pub(crate) is_error: bool,
}

/// What all calls share: the settings and, once one was needed, the connection.
pub(crate) struct Context {
    settings: Settings,
    is_demo: bool,
    peer: Peer,
    cluster: OnceCell<Cluster>,
    keeper: Keeper,
    /// For the twin of a tool.
    find: Find,
}

impl Context {
    pub(crate) fn new(settings: Settings, find: Find, peer: Peer) -> Self {
        Self {
            find,
            keeper: Keeper::new(&settings.safety),
            settings,
            is_demo: false,
            peer,
            cluster: OnceCell::new(),
        }
    }

    /// For `--demo`: the recorded cluster answers, whatever host is set.
    pub(crate) fn demo(settings: Settings, find: Find, peer: Peer) -> Self {
        Self {
            is_demo: true,
            ..Self::new(settings, find, peer)
        }
    }

    /// Who calls.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The secret of the API token, when it is known.
    pub(crate) fn token_secret(&self) -> Option<&Secret> {
        self.settings
            .connection
            .as_ref()
            .ok()
            .map(|connection| &connection.token_secret)
    }

    /// Whether the recorded cluster answers.
    pub(crate) fn is_demo(&self) -> bool {
        self.is_demo
    }

    /// What the user lets a model do.
    pub(crate) fn safety(&self) -> &Safety {
        &self.settings.safety
    }

    /// The cluster for somebody who changes nothing.
    pub(crate) fn client(&self) -> Result<Reader<'_>, Error> {
        Ok(Reader::new(self.cluster()?, &self.peer))
    }

    /// Seconds since 1970.
    fn now(&self) -> u64 {
        pve::reader::now(self.is_demo)
    }

    /// The connection, made at the first call that needs it.
    fn cluster(&self) -> Result<&Cluster, Error> {
        match &self.settings.connection {
            Err(problems) if self.is_demo && problems.is_empty() => {
                let demo = || Cluster::demo(Demonstration::new(RECORDED));
                Ok(self.cluster.get_or_init(demo))
            }
            Ok(connection) => {
                let cluster = || Cluster::new(connection, self.peer.clone());
                Ok(self.cluster.get_or_init(cluster))
            }
            Err(problems) => Err(Error::Settings(problems.clone())),
        }
    }
}

impl Tool {
    /// Its entry in `tools/list`.
    pub(crate) fn definition(&self, name: &str, safety: &Safety) -> Value {
        json!({
            "name": name,
            "title": self.title,
            "description": self.summary,
            "inputSchema": param::schema(self.listed_params(safety)),
            "annotations": self.effect.annotations(),
        })
    }

    /// What it takes: its own parameters, and what goes with changes.
    pub(crate) fn listed_params(
        &self,
        safety: &Safety,
    ) -> impl Iterator<Item = &'static Param> + Clone {
        let takes_token = match self.effect {
            Effect::Destroys => safety.confirm != Confirm::Never,
            Effect::Disrupts | Effect::Executes | Effect::Rewrites => {
                safety.confirm == Confirm::Always
            }
            Effect::Adds | Effect::Reads | Effect::Starts => false,
        };
        let common = [
            (self.effect != Effect::Reads).then_some(&DRY_RUN),
            takes_token.then_some(&CONFIRM_TOKEN),
        ];
        self.params.iter().chain(common.into_iter().flatten())
    }

    /// Whether it changes nothing.
    pub(crate) fn only_reads(&self) -> bool {
        self.effect == Effect::Reads
    }

    /// The requests that a call can send: `GET /nodes/{node}/status`.
    pub(crate) fn requests(&self) -> Vec<String> {
        match self.call {
            Call::Plain(method, path, _) => vec![format!("{} {path}", method.as_str())],
            Call::Steps(requests, _) => requests
                .iter()
                .map(|request| (*request).to_owned())
                .collect(),
        }
    }
}

impl ListedTool {
    /// Why it is hidden: the setting that hides it; `None` where it is shown.
    pub(crate) fn hidden(&self, safety: &Safety) -> Option<String> {
        let Self { toolset, name, .. } = *self;
        safety.exposure.hides(toolset, name, self.tool.only_reads())
    }

    /// Gate, arguments, requests, text: never fails, since every failure is for the model to read.
    pub(crate) fn call(
        &self,
        context: &Context,
        arguments: &Map<String, Value>,
        caller: &Caller,
    ) -> End {
        host::naming(context, || match self.admit(context, arguments, caller) {
            Ok(end) => end,
            Err(Error::Cancelled) => End::Cancelled,
            Err(Error::Unbound) => End::Unbound,
            Err(Error::Asked(question)) => End::Question(*question),
            Err(Error::Withheld(preview)) => End::Outcome(Answer::from(*preview).into()),
            Err(error) => End::Outcome(error.into()),
        })
    }

    /// All that a call must be before it runs, and the record that it was.
    fn admit(
        &self,
        context: &Context,
        arguments: &Map<String, Value>,
        caller: &Caller,
    ) -> Result<End, Error> {
        let safety = context.safety();
        let mut gate = Gate::new(
            safety,
            &context.keeper,
            (self.name, self.tool.summary),
            caller,
        );
        let denial = match self.hidden(safety) {
            Some(why) => Some(Error::Denied {
                what: format!("{} is hidden", self.name),
                why: format!("{why}; only the user can change that."),
            }),
            None if self.tool.permission == Permission::Elevated && !safety.allow_elevated => {
                Some(Error::Elevated)
            }
            None => None,
        };
        let parsed = match denial {
            Some(denial) => Err(denial),
            None => {
                Args::parse(self.tool.listed_params(safety), arguments).map_err(Error::Arguments)
            }
        };
        let outcome = parsed.and_then(|mut args| {
            gate.take_in(&args, context.now())?;
            let client = Client::new(context.client()?, &gate);
            refuse_alias(&client, &args)?;
            let called = guests::look_up(&client, self.twins, &mut args)
                .and_then(|()| self.run_admitted(&client, &gate, &mut args, caller));
            let Err(Error::OtherKind { guest, refusal }) = called else {
                return called;
            };
            let twin = stand_in::stand_in(context, self, &args, arguments, guest, *refusal)?;
            gate.hand_to(twin.entry.tool.summary, twin.refusal);
            let (mut args, note) = (twin.args, Some(&*twin.note));
            twin.entry.run(&client, &mut args, caller, note)
        });
        match self.tool.permission {
            Permission::Basic => outcome,
            Permission::Elevated => gate.record(context.now(), context.peer(), outcome),
        }
    }

    /// Runs once the gate has let a call begin that only reads; what changes something passes it on its
    /// way out.
    fn run_admitted(
        &self,
        client: &Client,
        gate: &Gate,
        args: &mut Args,
        caller: &Caller,
    ) -> Result<End, Error> {
        if self.tool.permission == Permission::Basic || self.tool.effect != Effect::Reads {
            return self.run(client, args, caller, None);
        }
        let pass = gate.admit_reading(client, args)?;
        let outcome = self.run(client, args, caller, None);
        gate.end_reading(pass, outcome.as_ref().err());
        outcome
    }

    /// Does what was asked for; `note` is what there is to say about who does it.
    fn run(
        &self,
        client: &Client,
        args: &mut Args,
        caller: &Caller,
        note: Option<&str>,
    ) -> Result<End, Error> {
        client.begin(self.name);
        let answer = guests::with_free_id(client, args, |args| match &self.tool.call {
            Call::Plain(method, path, show) => plain(client, args, *method, path, show),
            Call::Steps(_, steps) => steps(client, args),
        });
        let noted = |answer: Answer| match note {
            Some(note) => answer.line(note).with("tool", self.name),
            None => answer,
        };
        let mut answer = match answer {
            Ok(answer) => noted(answer),
            Err(Error::Withheld(preview)) => {
                return Err(Error::Withheld(Box::new(noted((*preview).into()).into())));
            }
            Err(error) => {
                let error = guests::find_guest(client, self.twins, args, error);
                let lines = privileges::lines(self.name, self.tool);
                let error = privileges::explained(client, lines, args, error);
                return Err(diagnosis::explain(client, error));
            }
        };
        let defaults = args.defaults();
        if self.tool.effect != Effect::Reads && !defaults.is_empty() {
            answer = answer.remark(&format!("by default {defaults}"));
        }
        let then = answer.then.take();
        let with_rest = |answer: Answer| match then {
            Some(then) => then(client, args, answer),
            None => answer,
        };
        let Some(task) = answer.task.take() else {
            return Ok(End::Outcome(with_rest(answer).into()));
        };
        let asked = Patience::asked(client, args);
        // What the call has to say besides must be said now, and not be left to whoever follows the
        // task: a password that was made up is known to nobody else. A task that only files a request
        // ends before anything is done.
        let hands_over = caller.follows_tasks
            && args.get(&tasks::WAIT).is_none()
            && asked.is_none()
            && answer.text.is_empty()
            && answer.data.is_empty()
            && answer.made_up.is_none()
            && !task.only_files_a_request();
        let patience = if hands_over {
            Some(Patience::exactly(HAND_OVER))
        } else {
            asked
        };
        let state = match patience.map(|patience| task.wait(client, patience)) {
            None => State::Started,
            Some(Ok(state)) => state,
            Some(Err(error)) => {
                let answer = answer.with_made_up("shown this once, valid if the task succeeded");
                return Err(error.besides(&answer.text));
            }
        };
        if hands_over && state.is_open() {
            return Ok(End::Task(task));
        }
        let has_ended = matches!(state, State::Ended { .. });
        let mut answer = task.report(client, state, patience, answer)?;
        if has_ended {
            answer = with_rest(answer);
        }
        Ok(End::Outcome(answer.into()))
    }
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        Self {
            text: answer.text,
            structured: Some(visible(Value::Object(answer.data))),
            is_error: false,
        }
    }
}

/// The same data with all text visible: some clients show a model only this.
fn visible(data: Value) -> Value {
    match data {
        Value::String(text) => text::visible(&text).into(),
        Value::Array(items) => items.into_iter().map(visible).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter();
            let fields = fields.map(|(key, value)| (text::visible(&key), visible(value)));
            Value::Object(fields.collect())
        }
        other => other,
    }
}

impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        Self {
            text: error.to_string(),
            structured: None,
            is_error: true,
        }
    }
}

/// Sends a request that `reply` says may start a task, and tells what it does.
pub(crate) fn begun(
    client: &Client,
    request: &Request,
    reply: Reply,
    what: &str,
) -> Result<Answer, Error> {
    let data = client.change(request, reply)?;
    let mut answer = Answer::of_action(what, &data);
    if let Some(task) = &mut answer.task {
        task.starts = Some(request.form.iter().any(|pair| pair == ("start", "1")));
    }
    Ok(answer)
}

fn plain(
    client: &Client,
    args: &Args,
    method: Method,
    path: &str,
    show: &Show,
) -> Result<Answer, Error> {
    let request = args.whole_request(method, path);
    match show {
        Show::Action(what) => begun(client, &request, Reply::Task, &args.fill(what)),
        Show::Fields(fields) => {
            let mut reply = client.answer(&request)?;
            let answer = fields.answer(answer::take(&mut reply, "data"), args, &[]);
            Ok(answer.beside(reply))
        }
        Show::Table(table) => {
            let mut reply = client.answer(&request)?;
            let rows = answer::rows(answer::take(&mut reply, "data"));
            Ok(table.answer(rows, args, &[]).beside(reply))
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Permission::Basic => "basic",
            Permission::Elevated => "elevated",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_host_are_escaped_like_values() {
        let answer = Answer::of(
            "x".to_owned(),
            json!({ "a\u{202e}b": { "\u{1b}[2J": ["\u{200b}"] } }),
        );
        assert_eq!(
            Outcome::from(answer).structured,
            Some(json!({ "a\\u{202e}b": { "\\u{1b}[2J": ["\\u{200b}"] } }))
        );
    }
}
