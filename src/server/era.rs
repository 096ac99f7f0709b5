//! The two eras of MCP: which one a request belongs to, and the form of its answers.
//!
//! Until 2025-11-25, `initialize` opens a session and negotiates its revision. Since 2026-07-28 there are no
//! sessions: each request names its revision and its client's capabilities. The era is determined for each
//! request, since clients probe one era and continue with the other in the same process.

use serde_json::{Map, Value, json};

use crate::error::Question;
use crate::mcp::connection::Peer;
use crate::mcp::rpc::{Fault, Id, PROTOCOL_VERSION, Request, names_revision};
use crate::safety;
use crate::safety::Caller;
use crate::safety::consent::{Approval, Returned, UserReply};
use crate::server::instructions::instructions;
use crate::server::views;
use crate::text;
use crate::tool::Context;

/// The only revision without sessions.
const STATELESS: &str = "2026-07-28";

// Keys of `_meta` (MCP 2026-07-28, Base protocol).
const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

/// The name of the Tasks extension among the capabilities.
const TASKS: &str = "io.modelcontextprotocol/tasks";

/// The name of the MCP Apps extension among the capabilities.
const APPS: &str = "io.modelcontextprotocol/ui";

/// The levels of syslog, RFC 5424.
const LOG_LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

/// How long clients may cache what does not change while the server runs.
const TIME_TO_LIVE_MS: u32 = 3_600_000;

/// A revision with sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Revision {
    V2024_11_05,
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
}

impl Revision {
    /// Returns the revision of a session: the one that the client requests, or the newest. An unknown
    /// revision is not an error (MCP 2025-11-25, Lifecycle, Version Negotiation).
    pub(super) fn negotiate(requested: &str) -> Self {
        [
            Revision::V2024_11_05,
            Revision::V2025_03_26,
            Revision::V2025_06_18,
        ]
        .into_iter()
        .find(|revision| revision.name() == requested)
        .unwrap_or(Revision::V2025_11_25)
    }

    fn name(self) -> &'static str {
        match self {
            Revision::V2024_11_05 => "2024-11-05",
            Revision::V2025_03_26 => "2025-03-26",
            Revision::V2025_06_18 => "2025-06-18",
            Revision::V2025_11_25 => "2025-11-25",
        }
    }

    /// Returns how the user can be asked within a session: since 2025-06-18 by a form (MCP, Elicitation).
    fn approval(self) -> Approval {
        match self {
            Revision::V2024_11_05 | Revision::V2025_03_26 => Approval::Unavailable,
            Revision::V2025_06_18 | Revision::V2025_11_25 => Approval::WithinCall(None),
        }
    }

    /// Returns whether a form must name its mode, since there are others.
    pub(super) fn has_modes(self) -> bool {
        self == Revision::V2025_11_25
    }

    /// Returns whether messages may come as an array: one revision introduced this, and the next removed it.
    pub(super) fn has_batches(self) -> bool {
        self == Revision::V2025_03_26
    }
}

/// What `initialize` negotiated.
pub(super) struct Session {
    pub(super) revision: Revision,
    /// The name and version of the client.
    client: String,
    /// Whether the client can show forms to its user.
    has_forms: bool,
    /// Whether the client shows views.
    shows_views: bool,
}

impl Session {
    pub(super) fn open(revision: Revision, params: &Map<String, Value>) -> Self {
        let field = |name: &str| params.get(name).unwrap_or(&Value::Null);
        Self {
            revision,
            client: client_name(field("clientInfo")),
            has_forms: has_forms(field("capabilities")),
            shows_views: declares_views(field("capabilities")),
        }
    }
}

/// Which rules apply to the answer to a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Era {
    /// Those of `initialize`, which opens or reopens a session.
    Handshake,
    /// Those of the open session.
    Session,
    /// Those of 2026-07-28.
    Stateless,
    /// No rules: there is no session, and the request does not name its revision.
    Unknown,
}

impl Era {
    /// Returns the era of a request. `_meta` alone does not make it stateless: in sessions, it carries
    /// progress tokens.
    pub(super) fn of(request: &Request, session: Option<Revision>) -> Self {
        let Request { method, params, .. } = request;
        let names_revision = names_revision(params);
        match &**method {
            "initialize" if !names_revision || params.contains_key("protocolVersion") => {
                Era::Handshake
            }
            "server/discover" | "subscriptions/listen" => Era::Stateless,
            _ if names_revision => Era::Stateless,
            _ if session.is_some() => Era::Session,
            _ => Era::Unknown,
        }
    }
}

/// Checks the fields that every stateless request must have.
pub(super) fn check(params: &Map<String, Value>) -> Result<(), Fault> {
    let Some(meta) = params.get("_meta").and_then(Value::as_object) else {
        return Err(missing(&[PROTOCOL_VERSION, CLIENT_CAPABILITIES]));
    };
    let absent: Vec<&str> = [PROTOCOL_VERSION, CLIENT_CAPABILITIES]
        .into_iter()
        .filter(|key| !meta.contains_key(*key))
        .collect();
    let revision = match meta.get(PROTOCOL_VERSION) {
        None => return Err(missing(&absent)),
        Some(Value::String(revision)) => revision,
        Some(_) => return Err(malformed(PROTOCOL_VERSION, "a string")),
    };
    if revision != STATELESS {
        return Err(unsupported(revision));
    }
    match meta.get(CLIENT_CAPABILITIES) {
        None => return Err(missing(&absent)),
        Some(Value::Object(_)) => (),
        Some(_) => return Err(malformed(CLIENT_CAPABILITIES, "an object")),
    }
    match meta.get(LOG_LEVEL) {
        None => Ok(()),
        Some(Value::String(level)) if LOG_LEVELS.contains(&&**level) => Ok(()),
        Some(_) => Err(malformed(
            LOG_LEVEL,
            &format!("one of {}", LOG_LEVELS.join(", ")),
        )),
    }
}

fn missing(keys: &[&str]) -> Fault {
    Fault::invalid_params(format!("Missing in params._meta: {}", keys.join(", ")))
}

fn malformed(key: &str, form: &str) -> Fault {
    Fault::invalid_params(format!("params._meta[\"{key}\"] must be {form}"))
}

/// Returns the fault for an unknown revision. It only names what `server/discover` lists: clients that do not
/// support that open a session on their own.
fn unsupported(requested: &str) -> Fault {
    Fault {
        code: -32022,
        message: "Unsupported protocol version".to_owned(),
        data: Some(json!({ "supported": [STATELESS], "requested": requested })),
    }
}

/// Returns the fault for a request without a session or a revision.
pub(super) fn not_initialized() -> Fault {
    Fault::invalid_params(format!(
        "Not initialized: send initialize, or name the revision in params._meta[\"{PROTOCOL_VERSION}\"]"
    ))
}

/// Returns who makes a call, with their answer to the question that ended it before; the answer is removed
/// from `params`. Clients follow tasks and repeat calls only in the stateless revision, where each request
/// names its client's capabilities.
pub(super) fn caller(
    era: &Era,
    session: Option<&Session>,
    peer: &Peer,
    params: &mut Map<String, Value>,
) -> Result<Caller, Fault> {
    if *era != Era::Stateless {
        let approval = match session {
            Some(session) if session.has_forms && peer.can_ask_user() => {
                session.revision.approval()
            }
            _ => Approval::Unavailable,
        };
        return Ok(Caller {
            name: session.map_or_else(String::new, |session| session.client.clone()),
            follows_tasks: false,
            approval,
        });
    }
    let returned = returned(params)?;
    let meta = params.get("_meta").unwrap_or(&Value::Null);
    Ok(Caller {
        name: client_name(&meta[CLIENT_INFO]),
        follows_tasks: follows_tasks(params),
        approval: match has_forms(&meta[CLIENT_CAPABILITIES]) {
            true => Approval::ByResult(returned),
            false => Approval::Unavailable,
        },
    })
}

/// The name of the only question in `inputRequests`.
const QUESTION: &str = "confirm";

/// Takes the answer to a question out of `params` (MCP 2026-07-28, Multi Round-Trip Requests). Answers
/// without their state are ignored.
fn returned(params: &mut Map<String, Value>) -> Result<Option<Returned>, Fault> {
    let state = match params.remove("requestState") {
        None | Some(Value::Null) => None,
        Some(Value::String(state)) => Some(state),
        Some(_) => return Err(Fault::invalid_params("requestState must be a string")),
    };
    let reply = match params.remove("inputResponses") {
        None | Some(Value::Null) => None,
        Some(Value::Object(mut responses)) => match responses.remove(QUESTION) {
            None => None,
            Some(response @ Value::Object(_)) => Some(safety::elicited_reply(&response)),
            Some(_) => {
                return Err(Fault::invalid_params(format!(
                    "inputResponses.{QUESTION} must be an object"
                )));
            }
        },
        Some(_) => return Err(Fault::invalid_params("inputResponses must be an object")),
    };
    Ok(state.map(|state| Returned { state, reply }))
}

/// Returns the approval with which to repeat a call after the response to the question within its session. An
/// error comes from a client that does not want to ask, or cannot although it claimed to.
pub(super) fn answered(state: String, outcome: Result<Value, Value>) -> Approval {
    let reply = match outcome {
        Ok(result) => safety::elicited_reply(&result),
        Err(error) if error["code"] == UNKNOWN_METHOD => return Approval::Unavailable,
        Err(_) => UserReply::Declined,
    };
    Approval::WithinCall(Some(Returned {
        state,
        reply: Some(reply),
    }))
}

/// The error code for an unknown method (JSON-RPC 2.0).
const UNKNOWN_METHOD: i64 = -32601;

/// Returns the result of a call that asks the user before it is repeated.
pub(super) fn asked(question: &Question) -> Value {
    let mut params = question.params();
    params["mode"] = "form".into();
    json!({
        "resultType": "input_required",
        "inputRequests": { QUESTION: { "method": "elicitation/create", "params": params } },
        "requestState": question.state,
    })
}

/// Returns the fault for a state that was not issued for this call, was used, or has expired.
pub(super) fn invalid_request_state() -> Fault {
    Fault {
        code: -32602,
        message: "requestState does not belong to this call, is used or has expired".to_owned(),
        data: Some(json!({ "reason": "invalid_request_state" })),
    }
}

/// Returns whether a client with these capabilities shows forms: it does if it names no mode, but not if it
/// only names `url`.
fn has_forms(capabilities: &Value) -> bool {
    let elicitation = capabilities.get("elicitation").and_then(Value::as_object);
    elicitation.is_some_and(|modes| {
        modes.get("form").is_some_and(Value::is_object) || !modes.contains_key("url")
    })
}

/// Returns true if the client of a request shows views.
pub(super) fn shows_views(
    era: &Era,
    session: Option<&Session>,
    params: &Map<String, Value>,
) -> bool {
    match era {
        Era::Stateless => {
            let meta = params.get("_meta").unwrap_or(&Value::Null);
            declares_views(&meta[CLIENT_CAPABILITIES])
        }
        Era::Session => session.is_some_and(|session| session.shows_views),
        Era::Handshake | Era::Unknown => false,
    }
}

/// Returns true if a client with these capabilities shows views in our format.
fn declares_views(capabilities: &Value) -> bool {
    let formats = capabilities["extensions"][APPS]["mimeTypes"].as_array();
    formats.is_some_and(|formats| formats.iter().any(|format| format == views::MEDIA_TYPE))
}

/// Returns the code of the fault for an unknown resource (MCP, Resources, Error Handling).
pub(super) fn unknown_resource(era: &Era) -> i64 {
    match era {
        Era::Stateless => -32602,
        Era::Handshake | Era::Session | Era::Unknown => -32002,
    }
}

fn client_name(info: &Value) -> String {
    let part = |key: &str| info.get(key).and_then(Value::as_str).unwrap_or_default();
    let name = format!("{} {}", part("name"), part("version"));
    text::cut(&text::inline(name.trim()), 100)
}

/// Refuses a stateless request about tasks if its client does not declare the extension.
pub(super) fn require_tasks(params: &Map<String, Value>) -> Result<(), Fault> {
    if follows_tasks(params) {
        return Ok(());
    }
    Err(Fault {
        code: -32021,
        message: format!("Missing in the capabilities of the client: the extension {TASKS}"),
        data: Some(json!({ "requiredCapabilities": extensions() })),
    })
}

fn follows_tasks(params: &Map<String, Value>) -> bool {
    let meta = params.get("_meta");
    let capabilities = meta.and_then(|meta| meta.get(CLIENT_CAPABILITIES));
    let extensions = capabilities.and_then(|capabilities| capabilities.get("extensions"));
    extensions.is_some_and(|extensions| extensions.get(TASKS).is_some_and(Value::is_object))
}

fn extensions() -> Value {
    json!({ "extensions": { TASKS: {} } })
}

/// Returns the result of `initialize`.
pub(super) fn initialized(context: &Context, session: &Session) -> Value {
    let mut capabilities = json!({ "tools": {} });
    if session.shows_views {
        capabilities["resources"] = json!({});
    }
    json!({
        "protocolVersion": session.revision.name(),
        "capabilities": capabilities,
        "serverInfo": server_info(),
        "instructions": instructions(context),
    })
}

/// Returns the result of `server/discover`.
pub(super) fn discovered(context: &Context, shows_views: bool) -> Value {
    let mut capabilities = extensions();
    capabilities["tools"] = json!({});
    if shows_views {
        capabilities["extensions"][APPS] = json!({});
        capabilities["resources"] = json!({});
    }
    json!({
        "supportedVersions": [STATELESS],
        "capabilities": capabilities,
        "instructions": instructions(context),
    })
}

/// Returns the parameters of the notification that opens the stream of `subscriptions/listen`. The stream
/// stays empty, since there is nothing to subscribe to.
pub(super) fn acknowledged(id: &Id) -> Value {
    json!({ "notifications": {}, "_meta": { SUBSCRIPTION_ID: Value::from(id) } })
}

/// Returns the result of `subscriptions/listen`, which is sent when the stream ends.
pub(super) fn listened(id: &Id) -> Value {
    json!({ "_meta": { SUBSCRIPTION_ID: Value::from(id) } })
}

/// Turns a session's result into a stateless one. Clients drop results that lack one of these fields. Results
/// that only exist without sessions already name their type.
pub(super) fn stateless(method: &str, mut result: Value) -> Value {
    if result.get("resultType").is_none() {
        result["resultType"] = "complete".into();
    }
    result["_meta"][SERVER_INFO] = server_info();
    if matches!(
        method,
        "resources/list"
            | "resources/read"
            | "resources/templates/list"
            | "server/discover"
            | "tools/list"
    ) {
        result["ttlMs"] = TIME_TO_LIVE_MS.into();
        // They depend on this user's settings.
        result["cacheScope"] = "private".into();
    }
    result
}

fn server_info() -> Value {
    json!({
        "name": "proxmox-mcp",
        "title": "Proxmox VE",
        "version": env!("CARGO_PKG_VERSION"),
    })
}
