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

/// Why a call failed. Every variant says what failed, why, and what to do next.
#[derive(Debug)]
pub(crate) enum Error {
    /// The client must ask the user.
    Asked(Box<Question>),
    /// The arguments are invalid; each problem is a sentence. Nothing was sent.
    Arguments(Vec<String>),
    /// The client no longer wants an answer, so this is never shown.
    Cancelled,
    /// The user has not agreed: why, and what to do. Nothing was changed.
    Declined(String),
    /// The settings do not allow the call: what, and why. Nothing was changed.
    Denied { what: String, why: String },
    /// The tool is elevated and elevated tools are not allowed. Nothing was sent.
    Elevated,
    /// The call cannot succeed in the current state: what, and why, with what to do about it.
    Impossible { what: String, cause: String },
    /// The guest is a container and the tool is for VMs, or the reverse: the guest's row of
    /// `/cluster/resources`, and the error to report if the tool for the other kind does not take over.
    /// Nothing was done.
    OtherKind { guest: Value, refusal: Box<Error> },
    /// Proxmox answered with an error.
    Refused(Box<Refusal>),
    /// Settings are missing or invalid; each problem is a sentence. Nothing was sent.
    Settings(Vec<String>),
    /// The answer to a question that came with the call does not belong to it.
    Unbound,
    /// The request was not answered.
    Unanswered { request: String, failure: Failure },
    /// The model must ask the user: the question, and the token that confirms their agreement.
    Unconfirmed { question: String, token: String },
    /// A dry run reached the first change: what it would send. This is not a failure.
    Withheld(Box<Preview>),
}

/// What a dry run shows instead of sending it: a text, and the same as data.
#[derive(Debug)]
pub(crate) struct Preview {
    pub(crate) text: String,
    pub(crate) data: Map<String, Value>,
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
    /// The demonstration does not know the request.
    NotRecorded { cause: String, remedy: String },
    /// The request was sent and may have been processed; `what` is written to follow its name.
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
    /// The message of Proxmox: `message`, else the reason phrase, else empty.
    message: String,
    /// The errors of single parameters: name and text.
    errors: Vec<(String, String)>,
    /// How long the answer took.
    took: Duration,
    /// Whether the answer is a web page.
    is_page: bool,
    /// The token as `user@realm!name`, for the remedy.
    token_id: String,
    /// Advice that replaces the usual remedy, such as where the guest really is.
    pub(crate) hint: Option<String>,
}

impl Error {
    pub(crate) fn impossible(what: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::Impossible {
            what: what.into(),
            cause: cause.into(),
        }
    }

    /// Masks `secrets` in the error: hosts, and proxies in front of them, repeat what they were sent.
    pub(crate) fn without(mut self, secrets: &[&str]) -> Self {
        let texts: Vec<&mut String> = match &mut self {
            Error::Refused(refusal) => {
                let errors = refusal.errors.iter_mut();
                let errors = errors.flat_map(|(name, why)| [name, why]);
                [&mut refusal.message].into_iter().chain(errors).collect()
            }
            Error::Unanswered { failure, .. } => match failure {
                Failure::NotSent {
                    what,
                    cause,
                    remedy,
                } => vec![what, cause, remedy],
                Failure::MaybeProcessed { cause, remedy, .. } => vec![cause, remedy],
                Failure::NotRecorded { .. } | Failure::GivenUp { .. } => Vec::new(),
            },
            _ => Vec::new(),
        };
        for text in texts {
            *text = text::without(text, secrets);
        }
        self
    }

    /// Returns what failed and why on one line, to be part of another text.
    pub(crate) fn on_one_line(&self) -> String {
        let Words { what, cause } = self.words();
        format!("{what}: {cause}")
    }

    /// Returns only why, in one short line, for an error that is one of several.
    pub(crate) fn brief(&self) -> String {
        let Words { cause, .. } = self.words();
        text::cut(cause.lines().next().unwrap_or_default(), 200)
    }

    /// The same failure, and what else the call had to say: lines that begin with their line break.
    pub(crate) fn besides(self, lines: &str) -> Self {
        match self {
            Error::Impossible { what, cause } => Error::Impossible {
                what,
                cause: cause + lines,
            },
            other => other,
        }
    }

    /// Replaces the usual advice, where that would do harm.
    pub(crate) fn advising(self, advice: &str) -> Self {
        match self {
            Error::Refused(mut refusal) => {
                refusal.hint = Some(advice.to_owned());
                Error::Refused(refusal)
            }
            Error::Unanswered { request, failure } => Error::Unanswered {
                request,
                failure: match failure {
                    Failure::GivenUp { sent } => Failure::GivenUp { sent },
                    Failure::NotRecorded { cause, remedy } => {
                        Failure::NotRecorded { cause, remedy }
                    }
                    Failure::NotSent { what, cause, .. } => Failure::NotSent {
                        what,
                        cause,
                        remedy: advice.to_owned(),
                    },
                    Failure::MaybeProcessed { what, cause, .. } => Failure::MaybeProcessed {
                        what,
                        cause,
                        remedy: advice.to_owned(),
                    },
                },
            },
            other => other,
        }
    }
}

/// The parts of an error's text.
struct Words {
    what: String,
    /// Why, followed by what to do on further lines.
    cause: String,
}

impl Error {
    fn words(&self) -> Words {
        let (what, cause) = match self {
            Error::OtherKind { refusal, .. } => return refusal.words(),
            Error::Withheld(preview) => ("nothing was changed".to_owned(), preview.text.clone()),
            Error::Elevated => (
                "elevated permissions required".to_owned(),
                "Set PROXMOX_ALLOW_ELEVATED=true to allow this operation.".to_owned(),
            ),
            Error::Denied { what, why } => (what.clone(), why.clone()),
            Error::Asked(question) => ("not confirmed yet".to_owned(), question.message.clone()),
            Error::Declined(why) => ("not confirmed, nothing was changed".to_owned(), why.clone()),
            Error::Unbound => (
                "the answer does not belong to this call".to_owned(),
                "Call again without it.".to_owned(),
            ),
            Error::Unconfirmed { question, token } => (
                "not confirmed, nothing was changed".to_owned(),
                format!(
                    "{question}\nShow this to the user. If they agree, call again with the same arguments and confirm_token={token}"
                ),
            ),
            Error::Cancelled => ("cancelled".to_owned(), "the client asked for it".to_owned()),
            Error::Arguments(problems) => (
                "invalid arguments, nothing was sent".to_owned(),
                problems.join("\n"),
            ),
            Error::Impossible { what, cause } => (what.clone(), cause.clone()),
            Error::Refused(refusal) => (refusal.what(), refusal.cause()),
            Error::Settings(problems) => (
                "not configured, nothing was sent".to_owned(),
                format!(
                    "{}\nproxmox-mcp check tests the settings and shows what to set.",
                    problems.join("\n")
                ),
            ),
            Error::Unanswered { request, failure } => {
                let (what, cause, remedy) = match failure {
                    Failure::GivenUp { .. } => (format!("{request} was given up"), "", ""),
                    Failure::NotSent {
                        what,
                        cause,
                        remedy,
                    } => (
                        format!("{what}, {request} was not sent"),
                        &**cause,
                        &**remedy,
                    ),
                    Failure::NotRecorded { cause, remedy } => (
                        format!("the demonstration has no answer to {request}"),
                        &**cause,
                        &**remedy,
                    ),
                    Failure::MaybeProcessed {
                        what,
                        cause,
                        remedy,
                    } => (format!("{request} {what}"), &**cause, &**remedy),
                };
                (what, format!("{cause}\n{remedy}"))
            }
        };
        Words {
            what,
            cause: text::cut(cause.trim_end(), text::BUDGET / 2),
        }
    }
}

/// `❌ Error: <what failed>`, a blank line, `Cause: <details>`; if the settings do not allow the call,
/// `🚫 Permission Denied: <what>`, a blank line, `<details>`.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Words { what, cause } = self.words();
        match self {
            Error::Elevated | Error::Denied { .. } => {
                write!(f, "🚫 Permission Denied: {what}\n\n{cause}")
            }
            Error::OtherKind { refusal, .. } => refusal.fmt(f),
            Error::Withheld(preview) => f.write_str(&preview.text),
            _ => write!(f, "❌ Error: {what}\n\nCause: {cause}"),
        }
    }
}

impl Refusal {
    /// Reads an error response; before PVE 8.4, only its reason phrase says what is wrong.
    pub(crate) fn new(request: &Request, reply: &Response, token_id: &str) -> Self {
        let body = &reply.body;
        let message = body["message"]
            .as_str()
            .map(str::trim)
            .filter(|message| !message.is_empty());
        let errors = body["errors"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, why)| {
                let why = why.as_str().map_or_else(|| why.to_string(), str::to_owned);
                (name.clone(), octets::repaired(&why))
            });
        Self {
            method: request.method,
            path: request.path.clone(),
            form: request.form.clone(),
            status: reply.status,
            // Messages of the guest agent are encoded twice.
            message: octets::repaired(message.unwrap_or(reply.reason.trim())),
            errors: errors.collect(),
            took: reply.took,
            is_page: reply.is_page,
            token_id: token_id.to_owned(),
            hint: None,
        }
    }

    /// Returns the status of the answer.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Returns true if the message or an error of a parameter contains `part`.
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

    /// Returns true if the answer comes from a proxy in between, and the host may still be processing the
    /// request.
    pub(crate) fn may_go_on(&self) -> bool {
        self.transit().may_go_on()
    }

    /// Returns the failure in the form that remedies are looked up by.
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
        lines.extend(self.hint.clone().or_else(|| self.remedy()));
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
            501 => Some("This host's version of Proxmox VE does not have that endpoint, or PROXMOX_HOST is not a Proxmox VE host.".to_owned()),
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
        Error::Refused(Box::new(Refusal::new(&request, reply, "ai@pve!mcp")))
    }

    #[test]
    fn the_time_and_the_kind_of_an_answer_show_who_answered() {
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
    fn invalid_settings_point_to_the_check() {
        let text = Error::Settings(vec!["PROXMOX_HOST is missing".to_owned()]).to_string();
        assert_eq!(
            text,
            "❌ Error: not configured, nothing was sent\n\nCause: PROXMOX_HOST is missing\n\
             proxmox-mcp check tests the settings and shows what to set."
        );
    }

    #[test]
    fn shows_the_message_of_proxmox_and_what_to_do() {
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
        // A task ends with such words as well.
        let exit = "only root can set 'args' config";
        let remedy = Case::of_task("", exit, &[]).remedy();
        assert!(remedy.is_some_and(|remedy| remedy.starts_with(root)));
    }
}
