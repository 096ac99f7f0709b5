//! What a tool is, and how its calls run.
//!
//! May import: `text`, `request`, `mcp`, `settings`, `error`, `pve`, `param`, `answer`, `row`, `cluster`, `safety`.

mod call;
mod choice;
mod host;
pub(crate) mod privileges;
mod stand_in;

use std::cell::OnceCell;
use std::fmt;
use std::slice;

use serde::Serialize;

use crate::answer::{self, Answer};
use crate::cluster::guests::Twins;
use crate::error::Error;
use crate::mcp::connection::Peer;
use crate::param::{Args, InputSchema, Param};
use crate::pve;
use crate::pve::demo::{Demonstration, recorded};
use crate::pve::reader::{Cluster, Reader};
use crate::request::{Reply, Request};
#[cfg(test)]
use crate::row::Harm;
use crate::row::requests::Requests;
use crate::row::{Choice, Declared, Step};
use crate::safety::{CONFIRM_TOKEN, Client, DRY_RUN, GateState};
use crate::settings::exposure::Hidden;
use crate::settings::{Confirm, Safety, Secret, Settings};

pub(crate) use crate::row::Show;
use crate::tool::call::several;
pub(crate) use crate::tool::call::several::{PARALLEL, USUAL_PARALLEL};
pub(crate) use crate::tool::call::{CallState, End, Outcome, WaitingCall};
pub(crate) use crate::tool::choice::check_version;

/// An MCP tool: everything the server knows about it except its name, which is in `tools.rs`.
///
/// Struct literals name every field, so a tool without a permission does not compile.
pub(crate) struct Tool {
    /// Its name for people.
    pub(crate) title: &'static str,
    /// What it does, in sentences that let a model choose it.
    pub(crate) summary: &'static str,
    pub(crate) permission: Permission,
    pub(crate) effect: Effect,
    pub(crate) params: &'static [&'static Param],
    pub(crate) call: Call,
}

/// A tool with its entry in the list.
#[derive(Clone, Copy)]
pub(crate) struct ListedTool {
    pub(crate) name: &'static str,
    pub(crate) toolset: &'static str,
    pub(crate) tool: &'static Tool,
    /// For a tool for one kind of guest: that kind, and the tool for the other kind.
    pub(crate) twins: Option<Twins>,
}

/// Finds a tool by its current or a former name.
pub(crate) type Find = fn(&str) -> Option<ListedTool>;

/// Who may call a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Any client.
    Basic,
    /// No client unless `PROXMOX_ALLOW_ELEVATED=true`.
    Elevated,
}

/// What a call does to the cluster: the combinations of the four MCP annotations that occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Creates something.
    Adds,
    /// Can destroy data.
    Destroys,
    /// Can interrupt a service, or lose something other than data.
    Disrupts,
    /// Runs a given command inside a guest.
    Executes,
    /// Changes nothing.
    Reads,
    /// Replaces settings; repeating it changes nothing.
    Rewrites,
    /// Brings about a state; repeating it changes nothing.
    Starts,
}

impl Effect {
    fn annotations(self) -> Annotations {
        let (read_only, destructive, idempotent, open_world) = match self {
            Effect::Adds => (false, false, false, false),
            Effect::Destroys | Effect::Disrupts => (false, true, false, false),
            Effect::Executes => (false, true, false, true),
            Effect::Reads => (true, false, true, false),
            Effect::Rewrites => (false, true, true, false),
            Effect::Starts => (false, false, true, false),
        };
        Annotations {
            read_only,
            destructive,
            idempotent,
            open_world,
        }
    }
}

/// An entry of `tools/list`, written straight from the declaration of its tool.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Definition {
    name: &'static str,
    title: &'static str,
    description: &'static str,
    input_schema: InputSchema,
    annotations: Annotations,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<Meta>,
}

/// What the MCP Apps extension adds to a definition.
#[derive(Serialize)]
struct Meta {
    ui: UiMeta,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UiMeta {
    resource_uri: &'static str,
}

impl Definition {
    /// Names the view that shows the answers of the tool.
    pub(crate) fn with_view(self, view: Option<&'static str>) -> Self {
        let meta = view.map(|resource_uri| Meta {
            ui: UiMeta { resource_uri },
        });
        Self { meta, ..self }
    }
}

/// What a call does to the cluster, in the terms of MCP.
#[derive(Serialize)]
struct Annotations {
    #[serde(rename = "readOnlyHint")]
    read_only: bool,
    #[serde(rename = "destructiveHint")]
    destructive: bool,
    #[serde(rename = "idempotentHint")]
    idempotent: bool,
    #[serde(rename = "openWorldHint")]
    open_world: bool,
}

/// What a tool requests from the Proxmox API.
pub(crate) enum Call {
    /// One of several requests.
    Choice(&'static Choice),
    /// One request: arguments fill in its path, and the rest are its parameters.
    Plain(Step, Show),
    /// Several requests, or one that code builds: those that it may send, for the documentation, the doctor
    /// and hints on privileges, and the function that sends them.
    Steps(&'static [Step], fn(&Client, &Args) -> Result<Answer, Error>),
}

/// What all calls share: the settings and the connection, once one is needed.
pub(crate) struct Context {
    settings: Settings,
    is_demo: bool,
    peer: Peer,
    cluster: OnceCell<Cluster>,
    gate_state: GateState,
    /// Finds the twin of a tool.
    find: Find,
}

impl Context {
    pub(crate) fn new(settings: Settings, find: Find, peer: Peer) -> Self {
        Self {
            find,
            gate_state: GateState::new(&settings.safety),
            settings,
            is_demo: false,
            peer,
            cluster: OnceCell::new(),
        }
    }

    /// Creates the context for `--demo`: the sample cluster answers, whatever host is configured.
    pub(crate) fn demo(settings: Settings, find: Find, peer: Peer) -> Self {
        Self {
            is_demo: true,
            ..Self::new(settings, find, peer)
        }
    }

    /// Returns the client at the other end.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Returns the secret of the API token, if configured.
    pub(crate) fn token_secret(&self) -> Option<&Secret> {
        self.settings
            .connection
            .as_ref()
            .ok()
            .map(|connection| &connection.token_secret)
    }

    /// Returns whether the sample cluster answers.
    pub(crate) fn is_demo(&self) -> bool {
        self.is_demo
    }

    /// Returns what the user allows models to do.
    pub(crate) fn safety(&self) -> &Safety {
        &self.settings.safety
    }

    /// Returns a client that can only read.
    pub(crate) fn reader(&self) -> Result<Reader<'_>, Error> {
        Ok(Reader::new(self.cluster()?, &self.peer))
    }

    /// Returns the time in seconds since 1970.
    fn now(&self) -> u64 {
        pve::reader::now(self.is_demo)
    }

    /// Returns the connection, which the first call that needs it creates.
    fn cluster(&self) -> Result<&Cluster, Error> {
        match &self.settings.connection {
            Err(problems) if self.is_demo && problems.is_empty() => {
                let demo = || Cluster::demo(Demonstration::new(recorded()));
                Ok(self.cluster.get_or_init(demo))
            }
            Ok(connection) => {
                let cluster = || Cluster::new(connection, self.peer.clone());
                Ok(self.cluster.get_or_init(cluster))
            }
            Err(problems) => Err(Error::settings(problems)),
        }
    }
}

impl Tool {
    /// Returns its entry in `tools/list`.
    pub(crate) fn definition(&self, name: &'static str, safety: &Safety) -> Definition {
        let listed = self.listed_params(safety).filter(|param| param.is_listed());
        Definition {
            name,
            title: self.title,
            description: self.summary,
            input_schema: InputSchema(listed.collect()),
            annotations: self.effect.annotations(),
            meta: None,
        }
    }

    /// Returns its own parameters, and those that all changes share.
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
        let several: &[&Param] = match self.takes_several() {
            true => &several::PARAMS,
            false => &[],
        };
        let common = [
            (self.effect != Effect::Reads).then_some(&DRY_RUN),
            takes_token.then_some(&CONFIRM_TOKEN),
        ];
        let common = common.into_iter().flatten();
        self.params().chain(several.iter().copied()).chain(common)
    }

    /// Returns whether a call of it can concern several guests.
    pub(crate) fn takes_several(&self) -> bool {
        self.params.iter().any(|param| param.takes_several())
    }

    /// Returns its own parameters and those of the requests that it chooses from, without duplicates.
    pub(crate) fn params(&self) -> impl Iterator<Item = &'static Param> + Clone {
        let mut params = self.params.to_vec();
        if let Call::Choice(choice) = self.call {
            for param in choice.takes() {
                if !params.iter().any(|known| known.name == param.name) {
                    params.push(param);
                }
            }
        }
        params.into_iter()
    }

    /// Returns the requests that it chooses from.
    #[cfg(test)]
    pub(crate) fn declared(&self) -> Vec<Declared> {
        match self.call {
            Call::Choice(choice) => choice.declared().collect(),
            Call::Plain(..) | Call::Steps(..) => Vec::new(),
        }
    }

    /// Returns the requests that it may send, as declared.
    pub(crate) fn declared_requests(&'static self) -> Requests {
        match &self.call {
            Call::Choice(choice) => Requests::Rows(choice),
            Call::Plain(step, _) => Requests::Steps(slice::from_ref(step)),
            Call::Steps(steps, _) => Requests::Steps(steps),
        }
    }

    /// Whether it can interrupt, replace or destroy something by a request of which only its code knows how much.
    /// A row says itself that it is harmless.
    pub(crate) fn disrupts(&self) -> bool {
        let is_known = matches!(self.call, Call::Choice(_));
        let adds = matches!(self.effect, Effect::Adds | Effect::Reads | Effect::Starts);
        !is_known && !adds
    }

    /// Returns the harm that each of its requests may do, with the value that picks the request.
    #[cfg(test)]
    pub(crate) fn harms(&'static self) -> impl Iterator<Item = (&'static str, Harm)> {
        let (rows, steps) = match self.declared_requests() {
            Requests::Rows(choice) => (choice.rows, &[][..]),
            Requests::Steps(steps) => (&[][..], steps),
        };
        let rows = rows.iter().map(|row| (row.when, row.harm));
        rows.chain(steps.iter().map(|step| ("", step.harm)))
    }

    /// Returns the request that the arguments ask for, if the tool picks one and no version decides.
    fn pick(&self, args: &Args) -> Result<Option<Declared>, Error> {
        match self.call {
            Call::Choice(choice) => choice.pick(args, None).map_err(Error::arguments),
            Call::Plain(..) | Call::Steps(..) => Ok(None),
        }
    }

    /// Returns whether it changes nothing.
    pub(crate) fn only_reads(&self) -> bool {
        self.effect == Effect::Reads
    }

    /// Returns the requests that a call may send: `GET /nodes/{node}/status`.
    pub(crate) fn requests(&self) -> Vec<String> {
        match self.call {
            Call::Choice(choice) => {
                let mut requests: Vec<String> = Vec::new();
                let declared: Vec<Declared> = choice.declared().collect();
                for (method, path, _) in declared.iter().flat_map(Declared::requests) {
                    let request = format!("{} {path}", method.as_str());
                    if !requests.contains(&request) {
                        requests.push(request);
                    }
                }
                requests
            }
            Call::Plain(step, _) => vec![step.to_string()],
            Call::Steps(steps, _) => steps.iter().map(Step::to_string).collect(),
        }
    }
}

impl ListedTool {
    /// Returns the setting that hides it, if one does.
    pub(crate) fn hidden(&self, safety: &Safety) -> Option<Hidden> {
        let Self { toolset, name, .. } = *self;
        safety.exposure.hides(toolset, name, self.tool.only_reads())
    }
}

/// Sends a change that may start a task; `what` describes it.
pub(crate) fn start_task(
    client: &Client,
    request: &Request,
    reply: Reply,
    what: &str,
) -> Result<Answer, Error> {
    let data = client.change(request, reply)?;
    let mut answer = Answer::from_reply(what, &data);
    if let Some(task) = &mut answer.task {
        task.starts = Some(request.form.iter().any(|pair| pair == ("start", "1")));
    }
    Ok(answer)
}

/// Does the work of a tool as a part of the call of another, with arguments of its own.
pub(crate) fn act(client: &Client, tool: &'static Tool, args: &Args) -> Result<Answer, Error> {
    match &tool.call {
        Call::Choice(choice) => {
            let picked = choice::pick(client, args, choice)?;
            choice::choose(client, args, picked)
        }
        Call::Plain(step, show) => send_single(client, args, step, show),
        Call::Steps(_, steps) => steps(client, args),
    }
}

fn send_single(client: &Client, args: &Args, step: &Step, show: &Show) -> Result<Answer, Error> {
    let request = args.whole_request(step.method, step.path);
    if let Show::Action(what) = show {
        return start_task(client, &request, Reply::Task, &args.fill(what));
    }
    let mut reply = client.answer(&request)?;
    let data = answer::take(&mut reply, "data");
    Ok(show.answer("", args, data, &reply).with_reply_fields(reply))
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Permission::Basic => "basic",
            Permission::Elevated => "elevated",
        })
    }
}
