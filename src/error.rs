//! Errors that tell a model why a call failed and what to do about it.
//!
//! May import: `text`, `request`.

pub(crate) mod grant;
pub(crate) mod question;
pub(crate) mod remedy;

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::grant::Checked;
pub(crate) use crate::error::question::Question;
use crate::error::remedy::{Case, Transit};
use crate::request::Response;
use crate::request::{Form, Method, Request};
use crate::text::{self, octets};

/// Why a call failed, and what to do about it.
#[derive(Debug)]
pub(crate) struct Error {
    pub(crate) kind: ErrorKind,
    /// What failed.
    pub(crate) what: String,
    /// Why it failed.
    pub(crate) cause: String,
    /// What to do first: the usual advice for such a failure, until a caller knows better.
    advice: Option<String>,
    is_advised: bool,
    /// More advice and facts, one per line, in the order in which they were added.
    hints: Vec<String>,
}

/// The kind of failure, with the data that callers act on.
#[derive(Debug)]
pub(crate) enum ErrorKind {
    /// The arguments are invalid. Nothing was sent.
    Arguments,
    /// The client must ask the user.
    Asked(Box<Question>),
    /// The client no longer wants an answer, so this is never shown.
    Cancelled,
    /// The user has not agreed. Nothing was changed.
    Declined,
    /// The settings do not allow the call. Nothing was changed.
    Denied,
    /// A dry run reached the first change: what would be sent. This is not a failure.
    DryRun(Box<Preview>),
    /// The call cannot succeed in the current state.
    Impossible,
    /// The answer to a question came back with a call that it does not belong to.
    InvalidRequestState,
    /// The demonstration has no answer to the request.
    NotRecorded,
    /// The guest, given as its row of `/cluster/resources`, is a container and the tool is for VMs, or the
    /// reverse. Nothing was done, and the tool for the other kind may take over.
    OtherKind(Box<Value>),
    /// Proxmox answered with an error.
    Refused(Box<Refusal>),
    /// The rehearsal of one of several calls reached its change. This is not a failure.
    Rehearsed(Box<Rehearsal>),
    /// Settings are missing or invalid. Nothing was sent.
    Settings,
    /// The request was not answered.
    Unanswered,
    /// The model must ask the user, and repeat the call with the token that confirms their agreement.
    Unconfirmed,
}

/// What a dry run shows instead of sending it, as text and as data.
#[derive(Debug)]
pub(crate) struct Preview {
    pub(crate) text: String,
    pub(crate) data: Map<String, Value>,
}

/// What one of several changes would do, determined before the first is sent.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    /// `POST /nodes/pve1/qemu/100/status/stop`
    pub(crate) request: String,
    /// Its effect in one line, if the user has to agree to it.
    pub(crate) sentence: Option<String>,
    /// Its other parameters: `with: purge=1`.
    pub(crate) options: Option<String>,
    /// A digest of what the user has to agree to.
    pub(crate) shown: Option<[u8; 32]>,
}

/// Why a request was not answered.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No part of the request was sent, or the host cannot have acted on it.
    NotSent {
        what: String,
        cause: String,
        remedy: String,
    },
    /// The demonstration has no answer to the request.
    NotRecorded { cause: String, remedy: String },
    /// The request was sent and may have been processed; `what` follows its name in the text.
    MaybeProcessed {
        what: &'static str,
        cause: String,
        remedy: String,
    },
    /// The client no longer wants the answer.
    GivenUp { sent: bool },
}

/// An error answer of Proxmox.
#[derive(Debug)]
pub(crate) struct Refusal {
    method: Method,
    /// The path as sent, percent-encoded.
    path: String,
    /// The parameters as sent.
    form: Form,
    status: u16,
    /// Proxmox's message: `message`, else the reason phrase, else empty.
    message: String,
    /// The errors of single parameters: name and text.
    errors: Vec<(String, String)>,
    /// How long the answer took.
    took: Duration,
    /// Whether the answer is a web page.
    is_page: bool,
    /// The token as `user@realm!name`, for the remedy.
    token_id: String,
}

impl Error {
    fn new(kind: ErrorKind, what: impl Into<String>, cause: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            cause: cause.into(),
            advice: None,
            is_advised: false,
            hints: Vec::new(),
        }
    }

    /// Creates the error for invalid arguments; each problem is a sentence.
    pub(crate) fn arguments(problems: Vec<String>) -> Self {
        let what = "invalid arguments, nothing was sent";
        Self::new(ErrorKind::Arguments, what, problems.join("\n"))
    }

    /// Creates the error for a question that the client must ask the user.
    pub(crate) fn asked(question: Question) -> Self {
        let message = question.message.clone();
        let kind = ErrorKind::Asked(Box::new(question));
        Self::new(kind, "not confirmed yet", message)
    }

    /// Creates the error for a call whose answer the client no longer wants.
    pub(crate) fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "cancelled", "the client asked for it")
    }

    /// Creates the error for a change that the user has not agreed to.
    pub(crate) fn declined(why: impl Into<String>) -> Self {
        Self::new(ErrorKind::Declined, NOT_CONFIRMED, why)
    }

    /// Creates the error for a call that the settings do not allow.
    pub(crate) fn denied(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(ErrorKind::Denied, what, why)
    }

    /// Creates the error for an elevated tool while elevated tools are not allowed.
    pub(crate) fn elevated() -> Self {
        Self::denied(
            "elevated permissions required",
            "Set PROXMOX_ALLOW_ELEVATED=true to allow this operation.",
        )
    }

    /// Creates the error for a call that cannot succeed in the current state.
    pub(crate) fn impossible(what: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::new(ErrorKind::Impossible, what, cause)
    }

    /// Creates the error for an error answer of Proxmox.
    pub(crate) fn refused(refusal: Refusal) -> Self {
        let (what, cause, remedy) = (refusal.what(), refusal.cause(), refusal.remedy());
        Self {
            advice: remedy,
            ..Self::new(ErrorKind::Refused(Box::new(refusal)), what, cause)
        }
    }

    /// Creates the error for missing or invalid settings; each problem is a sentence.
    pub(crate) fn settings(problems: impl IntoIterator<Item = impl fmt::Display>) -> Self {
        let problems = problems.into_iter().map(|problem| problem.to_string());
        let problems: Vec<String> = problems.collect();
        let what = "not configured, nothing was sent";
        Self::new(ErrorKind::Settings, what, problems.join("\n"))
            .hint("proxmox-mcp check tests the settings and shows what to set.")
    }

    /// Creates the error for a request that was not answered.
    pub(crate) fn unanswered(request: &Request, failure: Failure) -> Self {
        let (kind, what, cause, remedy) = match failure {
            Failure::GivenUp { .. } => (
                ErrorKind::Unanswered,
                format!("{request} was given up"),
                String::new(),
                String::new(),
            ),
            Failure::NotSent {
                what,
                cause,
                remedy,
            } => (
                ErrorKind::Unanswered,
                format!("{what}, {request} was not sent"),
                cause,
                remedy,
            ),
            Failure::NotRecorded { cause, remedy } => (
                ErrorKind::NotRecorded,
                format!("the demonstration has no answer to {request}"),
                cause,
                remedy,
            ),
            Failure::MaybeProcessed {
                what,
                cause,
                remedy,
            } => (
                ErrorKind::Unanswered,
                format!("{request} {what}"),
                cause,
                remedy,
            ),
        };
        Self {
            advice: Some(remedy).filter(|remedy| !remedy.is_empty()),
            ..Self::new(kind, what, cause)
        }
    }

    /// Creates the error for an answer to a question that does not belong to the call.
    pub(crate) fn invalid_request_state() -> Self {
        let what = "the answer does not belong to this call";
        Self::new(
            ErrorKind::InvalidRequestState,
            what,
            "Call again without it.",
        )
    }

    /// Creates the error for a question that the model must put to the user.
    pub(crate) fn unconfirmed(question: impl Into<String>, token: &str) -> Self {
        Self::new(ErrorKind::Unconfirmed, NOT_CONFIRMED, question).hint(format!(
            "Show this to the user. If they agree, call again with the same arguments and confirm_token={token}"
        ))
    }

    /// Creates the error that ends a dry run.
    pub(crate) fn dry_run(preview: Preview) -> Self {
        let text = preview.text.clone();
        let kind = ErrorKind::DryRun(Box::new(preview));
        Self::new(kind, "nothing was changed", text)
    }

    /// Creates the error that ends a rehearsal.
    pub(crate) fn rehearsed(rehearsal: Rehearsal) -> Self {
        let request = rehearsal.request.clone();
        let kind = ErrorKind::Rehearsed(Box::new(rehearsal));
        Self::new(kind, "nothing was changed", request)
    }

    /// Turns this into the error for a guest of the other kind.
    pub(crate) fn of_other_kind(self, guest: Value) -> Self {
        Self {
            kind: ErrorKind::OtherKind(Box::new(guest)),
            ..self
        }
    }

    /// Adds a line to the cause.
    pub(crate) fn because(mut self, line: impl fmt::Display) -> Self {
        self.cause = format!("{}\n{line}", self.cause);
        self
    }

    /// Replaces the advice by that of a caller who knows more.
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self.is_advised = true;
        self
    }

    /// Returns whether a caller replaced the usual advice.
    pub(crate) fn is_advised(&self) -> bool {
        self.is_advised
    }

    /// Adds a hint, unless it is empty or already there.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        if !hint.is_empty() && !self.hints().any(|known| known == hint) {
            self.hints.push(hint);
        }
        self
    }

    /// Returns what to do: the advice, then the hints.
    pub(crate) fn hints(&self) -> impl Iterator<Item = &str> {
        let advice = self.advice.as_deref().into_iter();
        advice.chain(self.hints.iter().map(String::as_str))
    }

    /// Returns the answer of Proxmox if it refused.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match &self.kind {
            ErrorKind::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Returns whether Proxmox refused.
    pub(crate) fn is_refused(&self) -> bool {
        self.refusal().is_some()
    }

    /// Returns whether Proxmox refused with a message that contains `part`.
    pub(crate) fn says(&self, part: &str) -> bool {
        self.refusal().is_some_and(|refusal| refusal.says(part))
    }

    /// Returns whether the client no longer wants an answer.
    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self.kind, ErrorKind::Cancelled)
    }

    /// Returns whether the user must be asked, by the client or by the model.
    pub(crate) fn asks_user(&self) -> bool {
        matches!(self.kind, ErrorKind::Asked(_) | ErrorKind::Unconfirmed)
    }

    /// Masks `secrets` in the error: hosts, and proxies in front of them, may repeat what they received.
    pub(crate) fn without(mut self, secrets: &[&str]) -> Self {
        let mut texts = vec![&mut self.what, &mut self.cause];
        texts.extend(&mut self.advice);
        texts.extend(&mut self.hints);
        if let ErrorKind::Refused(refusal) = &mut self.kind {
            texts.push(&mut refusal.message);
            let errors = refusal.errors.iter_mut();
            texts.extend(errors.flat_map(|(name, why)| [name, why]));
        }
        for text in texts {
            *text = text::without(text, secrets);
        }
        self
    }

    /// Returns what failed and why, for use in another text.
    pub(crate) fn summary(&self) -> String {
        format!("{}: {}", self.what, self.cause)
    }

    /// Returns what failed, why and what to do, for use in another text.
    pub(crate) fn details(&self) -> String {
        let lines = [self.summary()];
        let hints = self.hints().map(str::to_owned);
        lines
            .into_iter()
            .chain(hints)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Returns the cause in one short line, for a list of errors.
    pub(crate) fn brief(&self) -> String {
        text::cut(self.cause.lines().next().unwrap_or_default(), 200)
    }
}

/// The headline for a change that was not confirmed.
const NOT_CONFIRMED: &str = "not confirmed, nothing was changed";

/// Writes `❌ Error: <what failed>`, a blank line and `Cause: <details>`; if the settings do not allow the
/// call, `🚫 Permission Denied: <what>`, a blank line and `<details>`. The hints follow on lines of their own.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, cause) = (
            &self.what,
            text::cut(self.cause.trim_end(), text::BUDGET / 2),
        );
        match &self.kind {
            ErrorKind::Denied => write!(f, "🚫 Permission Denied: {what}\n\n{cause}")?,
            ErrorKind::DryRun(preview) => return f.write_str(&preview.text),
            _ => write!(f, "❌ Error: {what}\n\nCause: {cause}")?,
        }
        let hints: Vec<&str> = self.hints().collect();
        match hints.is_empty() {
            true => Ok(()),
            false => write!(f, "\n{}", text::cut(&hints.join("\n"), text::BUDGET / 2)),
        }
    }
}

/// Returns the name of the parameter that an error is about. If its schema depends on another parameter,
/// Proxmox calls it `oneOf[node-affinity].nodes`.
fn about(name: &str) -> String {
    let of_case = name
        .strip_prefix("oneOf[")
        .and_then(|rest| rest.split_once("]."));
    match of_case {
        Some((case, name)) => format!("{case}.{name}"),
        None => name.to_owned(),
    }
}

/// Splits a message that contains errors of parameters. Code that checks parameters itself reports them with
/// status 500: `create sdn vnet object failed: 400 Parameter verification failed.`, then a line for each.
fn embedded(message: &str) -> Option<(String, Vec<(String, String)>)> {
    let (first, rest) = message.split_once('\n')?;
    let (before, what) = match first.strip_prefix("400 ") {
        Some(what) => ("", what),
        None => {
            let at = first.find(": 400 ")? + ": ".len();
            (&first[..at], &first[at + "400 ".len()..])
        }
    };
    let errors = rest.lines().map(|line| {
        let (name, why) = line.split_once(": ")?;
        let is_name = !name.is_empty() && !name.contains(char::is_whitespace);
        is_name.then(|| (about(name), why.trim().to_owned()))
    });
    let errors = errors.collect::<Option<Vec<_>>>()?;
    Some((format!("{before}{what}"), errors))
}

impl Refusal {
    /// Reads an error response; before PVE 8.4, only the reason phrase says what is wrong.
    pub(crate) fn new(request: &Request, reply: &Response, token_id: &str) -> Self {
        let body = &reply.body;
        let message = body["message"]
            .as_str()
            .map(str::trim)
            .filter(|message| !message.is_empty());
        // Messages of the guest agent are encoded twice.
        let message = octets::repaired(message.unwrap_or(reply.reason.trim()));
        let errors = body["errors"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, why)| {
                let why = why.as_str().map_or_else(|| why.to_string(), str::to_owned);
                (about(name), octets::repaired(why.trim()))
            });
        let errors = errors.collect();
        let (message, errors) = embedded(&message).unwrap_or((message, errors));
        Self {
            method: request.method,
            path: request.path.clone(),
            form: request.form.clone(),
            status: reply.status,
            message,
            errors,
            took: reply.took,
            is_page: reply.is_page,
            token_id: token_id.to_owned(),
        }
    }

    /// Returns the status of the answer.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Returns whether the message or an error of a parameter contains `part`.
    pub(crate) fn says(&self, part: &str) -> bool {
        self.message.contains(part) || self.errors.iter().any(|(_, why)| why.contains(part))
    }

    /// Returns the check that failed, if Proxmox refused for lack of privileges.
    pub(crate) fn checked(&self) -> Option<Checked<'_>> {
        let errors = self.errors.iter().map(|(_, why)| &**why);
        let mut said = std::iter::once(&*self.message).chain(errors);
        said.find_map(Checked::of)
    }

    /// Returns the path of the request, percent-encoded.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Returns the parameters as sent.
    pub(crate) fn sent(&self) -> impl Iterator<Item = (&str, &str)> {
        self.form.iter()
    }

    /// Returns the token as `user@realm!name`.
    pub(crate) fn token_id(&self) -> &str {
        &self.token_id
    }

    /// Returns whether a proxy answered while the host may still be processing the request.
    pub(crate) fn may_be_running(&self) -> bool {
        self.transit().may_be_running()
    }

    /// Returns the failure in the form in which remedies are looked up.
    pub(crate) fn case(&self) -> Case {
        let errors = self
            .errors
            .iter()
            .map(|(name, why)| format!("{name}: {why}"));
        let said: Vec<String> = [self.message.clone()].into_iter().chain(errors).collect();
        Case::of_request(self.method, &self.path, said.join("\n"))
    }

    fn transit(&self) -> Transit<'_> {
        Transit {
            status: self.status,
            said: &self.message,
            is_page: self.is_page,
            took: self.took,
            method: self.method,
            path: &self.path,
        }
    }

    fn what(&self) -> String {
        format!(
            "{} {} failed with status {}",
            self.method.as_str(),
            self.path,
            self.status
        )
    }

    fn cause(&self) -> String {
        let mut lines = Vec::new();
        if !self.message.is_empty() {
            lines.push(text::inline(&self.message));
        }
        lines.extend(self.errors.iter().map(|(name, why)| {
            format!(
                "{}: {}",
                text::opening(&text::inline(name)),
                text::inline(why)
            )
        }));
        if lines.is_empty() {
            lines.push(format!(
                "Proxmox gave no reason other than the status {}",
                self.status
            ));
        }
        lines.join("\n")
    }

    /// Returns what to do, if the status or the message determines it.
    fn remedy(&self) -> Option<String> {
        if let Some(remedy) = self.transit().remedy() {
            return Some(remedy);
        }
        if let Some(checked) = self.checked() {
            return Some(remedy::of_permission(&checked).to_owned());
        }
        match self.status {
            400 if self.errors.is_empty() => None,
            400 if self.says("hotplug problem") => {
                Some("The running guest did not accept the change, which stays pending until it stops.".to_owned())
            }
            400 if self.says("not defined in schema") => {
                Some("This version of Proxmox VE does not know that parameter: leave it out.".to_owned())
            }
            401 => Some(format!(
                "Check PROXMOX_USER (with realm, such as root@pam), PROXMOX_TOKEN_NAME and PROXMOX_TOKEN_VALUE of {}; \
                 the token or its user may also be disabled or expired.",
                self.token_id
            )),
            400 | 500 => self.case().remedy(),
            501 => Some("This version of Proxmox VE does not have that endpoint: upgrade the node, or check that PROXMOX_HOST is a Proxmox VE node.".to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(method: Method, path: &str, status: u16, reason: &str, body: Value) -> Error {
        refused(method, path, &Response::at_once(status, reason, body))
    }

    fn refused(method: Method, path: &str, reply: &Response) -> Error {
        let request = Request::new(method, path);
        Error::refused(Refusal::new(&request, reply, "ai@pve!mcp"))
    }

    #[test]
    fn time_and_type_of_an_answer_show_who_answered() {
        let text = |reply: &Response| refused(Method::Get, "/nodes/pve2/status", reply).to_string();
        let broken = Response::at_once(596, "Connection timed out", Value::Null);
        assert!(text(&broken).contains("The connection to node pve2 broke"));
        let slow = Response {
            took: Duration::from_secs(30),
            ..broken
        };
        assert!(text(&slow).contains("Node pve2 took longer than 30 s"));
        let page = Response {
            is_page: true,
            ..Response::at_once(403, "Forbidden", Value::Null)
        };
        let text = text(&page);
        assert!(
            text.contains("is a web page") && !text.contains("pveum"),
            "{text}"
        );
    }

    #[test]
    fn advice_follows_the_request_and_the_whole_message() {
        let timeout =
            json!({ "message": "VM 100 qga command 'guest-exec' failed - got timeout\n" });
        let exec = "/nodes/pve1/qemu/100/agent/exec";
        let text = refusal(Method::Post, exec, 500, "x", timeout).to_string();
        assert!(text.contains("\nqemu-guest-agent did not answer"), "{text}");
        let linked =
            json!({ "errors": { "storage": "parameter 'storage' not allowed for linked clones" } });
        let clone = "/nodes/pve1/qemu/100/clone";
        let text = refusal(
            Method::Post,
            clone,
            400,
            "Parameter verification failed.",
            linked,
        )
        .to_string();
        assert!(
            text.ends_with("\nGive full=true, or leave that parameter out."),
            "{text}"
        );
    }

    #[test]
    fn hints_follow_the_cause_in_order_and_without_repetition() {
        let error = Error::impossible("it failed", "a")
            .hint("first")
            .hint("second")
            .hint("first")
            .hint("");
        let expected = "❌ Error: it failed\n\nCause: a\nfirst\nsecond";
        assert_eq!(error.to_string(), expected);
        let error = error.because("b").advise("first").advise("better");
        let expected = "❌ Error: it failed\n\nCause: a\nb\nbetter\nfirst\nsecond";
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.details(), "it failed: a\nb\nbetter\nfirst\nsecond");
    }

    #[test]
    fn advice_replaces_the_usual_advice_and_keeps_other_hints() {
        let error = || {
            let root = Response::at_once(401, "invalid token value!", Value::Null);
            refused(Method::Get, "/nodes", &root).hint("made up: x")
        };
        let text = error().to_string();
        assert!(
            text.contains("\nCheck PROXMOX_USER") && !error().is_advised(),
            "{text}"
        );
        let advised = error().advise("Look inside the VM.");
        assert!(advised.is_advised());
        assert_eq!(
            advised.to_string(),
            "❌ Error: GET /nodes failed with status 401\n\nCause: invalid token value!\n\
             Look inside the VM.\nmade up: x"
        );
    }

    #[test]
    fn a_long_cause_cuts_no_hint() {
        let long = "x".repeat(2 * text::BUDGET);
        let text = Error::unconfirmed(long, "1234").to_string();
        assert!(
            text.len() < text::BUDGET && text.ends_with("confirm_token=1234"),
            "{text}"
        );
    }

    #[test]
    fn secrets_are_masked_in_every_part() {
        let error = Error::impossible("a secret", "b secret")
            .advise("c secret")
            .hint("d secret");
        let text = error.without(&["secret"]).to_string();
        assert!(!text.contains("secret") && text.contains("\nd "), "{text}");
    }

    #[test]
    fn invalid_settings_point_to_the_check() {
        let text = Error::settings(["PROXMOX_HOST is missing"]).to_string();
        assert_eq!(
            text,
            "❌ Error: not configured, nothing was sent\n\nCause: PROXMOX_HOST is missing\n\
             proxmox-mcp check tests the settings and shows what to set."
        );
    }

    #[test]
    fn shows_the_message_of_proxmox_and_the_remedy() {
        let cases = [
            (
                refusal(
                    Method::Get,
                    "/nodes/pve1/status",
                    403,
                    "x",
                    json!({ "message": "Permission check failed (/nodes/pve1, Sys.Audit)\n" }),
                ),
                "❌ Error: GET /nodes/pve1/status failed with status 403\n\nCause: Permission check failed (/nodes/pve1, Sys.Audit)\n\
                 proxmox-mcp check shows what the token lacks, and the lines that grant it.",
            ),
            (
                refusal(
                    Method::Put,
                    "/nodes/pve1/disks/wipedisk",
                    403,
                    "Permission check failed (user != root@pam)",
                    json!(null),
                ),
                "❌ Error: PUT /nodes/pve1/disks/wipedisk failed with status 403\n\nCause: Permission check failed (user != root@pam)\n\
                 Proxmox reserves this for root@pam itself: no API token can do it, whatever its roles.",
            ),
            (
                refusal(
                    Method::Get,
                    "/nodes",
                    401,
                    "invalid token value!",
                    json!(null),
                ),
                "❌ Error: GET /nodes failed with status 401\n\nCause: invalid token value!\n\
                 Check PROXMOX_USER (with realm, such as root@pam), PROXMOX_TOKEN_NAME and PROXMOX_TOKEN_VALUE of ai@pve!mcp; \
                 the token or its user may also be disabled or expired.",
            ),
            (
                refusal(
                    Method::Put,
                    "/x",
                    400,
                    "Parameter verification failed.",
                    json!({ "errors": { "cores": "value must have a minimum value of 1" } }),
                ),
                "❌ Error: PUT /x failed with status 400\n\nCause: Parameter verification failed.\ncores: value must have a minimum value of 1",
            ),
            (
                refusal(
                    Method::Get,
                    "/nodes/pve3/status",
                    595,
                    "No route to host",
                    json!(null),
                ),
                "❌ Error: GET /nodes/pve3/status failed with status 595\n\nCause: No route to host\n\
                 Node pve3 is not answering the cluster; proxmox_get_nodes shows which nodes are online.",
            ),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn shows_which_parameter_an_error_is_about() {
        for (message, errors, shown) in [
            (
                "400 Parameter verification failed.\nvmid: property is missing\n",
                json!(null),
                "Parameter verification failed.\nvmid: property is missing",
            ),
            (
                "create ha rule failed: 400 Rule 'na2' is invalid.\nresources: resource 'vm:100' is already used\n",
                json!(null),
                "create ha rule failed: Rule 'na2' is invalid.\nresources: resource 'vm:100' is already used",
            ),
            (
                "Parameter verification failed.\n",
                json!({ "oneOf[node-affinity].nodes": "property is missing and it is not optional" }),
                "Parameter verification failed.\nnode-affinity.nodes: property is missing and it is not optional",
            ),
            (
                "create failed: 400 Rule\nthe second line of a text",
                json!(null),
                "create failed: 400 Rule\\nthe second line of a text",
            ),
        ] {
            let body = json!({ "message": message, "errors": errors });
            let text = refusal(Method::Post, "/x", 500, "400 ...", body).to_string();
            assert_eq!(
                text,
                format!("❌ Error: POST /x failed with status 500\n\nCause: {shown}")
            );
        }
    }

    #[test]
    fn suggests_no_grant_if_none_helps() {
        let root = "Proxmox reserves this for root@pam itself";
        for (status, body, advice) in [
            (
                403,
                json!({ "message": "Permission check failed (changing feature flags (except nesting) is only allowed for root@pam)\n" }),
                Some(root),
            ),
            (
                500,
                json!({ "message": "only root can set 'args' config\n" }),
                Some(root),
            ),
            (
                400,
                json!({ "errors": { "skiplock": "Only root may use this option." } }),
                Some(root),
            ),
            (
                403,
                json!({ "message": "Permission check failed (URI '/access/ticket' not available with API token, need proper ticket.\n)\n" }),
                Some("Proxmox does not let API tokens do this."),
            ),
            (
                403,
                json!({ "message": "Permission check failed (pool 'nopool' does not exist)\n" }),
                None,
            ),
            (
                403,
                json!({ "message": "Permission check failed (/x;reboot, Sys.Audit)\n✅ all good" }),
                None,
            ),
        ] {
            let text = refusal(Method::Post, "/nodes/pve1/qemu", status, "", body).to_string();
            let last = text.lines().last().unwrap_or_default();
            match advice {
                Some(said) => assert!(last.starts_with(said), "{text}"),
                None => assert!(last.starts_with("Cause: "), "{text}"),
            }
            assert!(!text.contains("pveum"), "{text}");
        }
        // A task can end with the same words.
        let exit = "only root can set 'args' config";
        let remedy = Case::of_task("", exit, &[]).remedy();
        assert!(remedy.is_some_and(|remedy| remedy.starts_with(root)));
    }
}
