//! One request to the Proxmox API, as plain data.
//!
//! May import: `text`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::text::MASK;
use crate::text::octets;
use crate::text::percent::{decode, encode};
use crate::text::rows::Rows;
use crate::text::upid::Upid;

/// The methods that the API knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Delete,
    Get,
    Post,
    Put,
}

impl Method {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Method::Delete => "DELETE",
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
        }
    }

    /// Whether the parameters travel in the URL. pveproxy answers 501 to a GET or DELETE with a body
    /// (`PVE/APIServer/AnyEvent.pm`).
    fn takes_query(self) -> bool {
        matches!(self, Method::Delete | Method::Get)
    }

    /// Whether a request of this method leaves everything as it was.
    pub(crate) fn only_reads(self) -> bool {
        self == Method::Get
    }
}

/// What Proxmox answers to a change that it has taken. Nothing else is a sign that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `null`: it is done.
    Nothing,
    /// An object with this key.
    Object(&'static str),
    /// An object with this key, and `null` from older versions.
    ObjectOrNothing(&'static str),
    /// The id of the task that does it.
    Task,
    /// The id of a task where it takes long, and `null` where it is done.
    TaskOrNothing,
    /// The id of a task, and `OK` where there was nothing to do.
    TaskOrOk,
}

impl Reply {
    /// Whether `data` is such an answer.
    pub(crate) fn is(self, data: &Value) -> bool {
        match (self, data) {
            (Reply::Nothing | Reply::ObjectOrNothing(_) | Reply::TaskOrNothing, Value::Null) => {
                true
            }
            (Reply::TaskOrOk, Value::String(ok)) if ok == "OK" => true,
            (Reply::Task | Reply::TaskOrNothing | Reply::TaskOrOk, Value::String(upid)) => {
                Upid::parse(upid).is_some()
            }
            (Reply::Object(key) | Reply::ObjectOrNothing(key), Value::Object(fields)) => {
                fields.get(key).is_some_and(|value| !value.is_null())
            }
            _ => false,
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Nothing => f.write_str("null"),
            Reply::Object(key) => write!(f, "an object with {key}"),
            Reply::ObjectOrNothing(key) => write!(f, "an object with {key} or null"),
            Reply::Task => f.write_str("a UPID"),
            Reply::TaskOrNothing => f.write_str("a UPID or null"),
            Reply::TaskOrOk => f.write_str("a UPID or OK"),
        }
    }
}

/// One request: method, path below `/api2/json`, parameters.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Percent-encoded, beginning with `/`.
    pub(crate) path: String,
    pub(crate) form: Form,
    /// Whether the answer is wanted as [`Rows`], where that is a list.
    pub(crate) wants_rows: bool,
}

impl Request {
    /// `path` is a template whose `{name}` parts [`Request::segment`] fills in.
    pub(crate) fn new(method: Method, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            form: Form::default(),
            wants_rows: false,
        }
    }

    /// Puts `value` in the place of `{name}`, every reserved byte percent-encoded.
    ///
    /// Encoding protects the URL, not the API: Proxmox decodes the whole path before it splits it at
    /// `/`, so `value` must be an identifier that was checked (see `param.rs`).
    pub(crate) fn segment(mut self, name: &str, value: &str) -> Self {
        self.path = self.path.replace(&format!("{{{name}}}"), &encode(value));
        self
    }

    /// Adds a parameter; a repeated name is an array.
    pub(crate) fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.form.push(name, value);
        self
    }

    /// Adds a parameter for the guest agent, to which each character goes as one byte; so each byte of
    /// the UTF-8 is sent as one character.
    pub(crate) fn with_octets(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.form.0.push(Parameter {
            name: name.into(),
            value: value.into(),
            goes_as_octets: true,
        });
        self
    }

    /// Its parameters in order, as they may be seen.
    pub(crate) fn readable(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        self.form
            .iter()
            .map(|(name, value)| (name, readable(name, value)))
    }

    /// The same as data, with an array for a name that is repeated.
    pub(crate) fn shown_parameters(&self) -> Value {
        let mut shown = Map::new();
        for (name, value) in self.readable() {
            let value = Value::from(&*value);
            match shown.get_mut(name) {
                None => {
                    shown.insert(name.to_owned(), value);
                }
                Some(Value::Array(values)) => values.push(value),
                Some(first) => *first = Value::Array(vec![first.take(), value]),
            }
        }
        Value::Object(shown)
    }

    /// Those of its values that nobody may see.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        let secret = self.form.iter().filter(|(name, _)| is_secret(name));
        secret.map(|(_, value)| value)
    }

    /// Path and, for GET and DELETE, query.
    pub(crate) fn target(&self) -> String {
        if self.method.takes_query() && !self.form.is_empty() {
            format!("{}?{}", self.path, self.form.encoded())
        } else {
            self.path.clone()
        }
    }

    /// The form body of a POST or PUT, empty when it has no parameters; `None` for the other methods.
    pub(crate) fn body(&self) -> Option<String> {
        (!self.method.takes_query()).then(|| self.form.encoded())
    }
}

/// `POST /nodes/pve1/qemu/100/status/start`: no parameters, since they can hold secrets.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.as_str(), self.path)
    }
}

/// Parameters in the order they were added.
#[derive(Clone, Default)]
pub(crate) struct Form(Vec<Parameter>);

#[derive(Clone)]
struct Parameter {
    name: String,
    value: String,
    /// See [`Request::with_octets`].
    goes_as_octets: bool,
}

/// Its names: what they are set to can be secret.
impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(name, _)| name))
            .finish()
    }
}

impl Form {
    pub(crate) fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push(Parameter {
            name: name.into(),
            value: value.into(),
            goes_as_octets: false,
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|parameter| (&*parameter.name, &*parameter.value))
    }

    /// `application/x-www-form-urlencoded`, with every byte encoded that is not unreserved: pveproxy
    /// splits at `;` as well as at `&`, and cuts a value at a raw `=`.
    fn encoded(&self) -> String {
        let pairs = self.0.iter().map(|parameter| {
            let value = match parameter.goes_as_octets {
                true => encode(&octets::of_text(&parameter.value)),
                false => encode(&parameter.value),
            };
            format!("{}={value}", encode(&parameter.name))
        });
        pairs.collect::<Vec<_>>().join("&")
    }
}

/// Whether the value of a parameter or option of this name is nobody's to see: passwords, tickets,
/// token secrets, private keys. What a command in a guest reads is no secret, but part of the command.
pub(crate) fn is_secret(name: &str) -> bool {
    const PARTS: &[&str] = &["password", "secret", "ticket", "private", "encryption-key"];
    const WHOLE: &[&str] = &["key", "client-key", "token", "confirm-token"];
    let name = name.to_ascii_lowercase().replace('_', "-");
    WHOLE.contains(&&*name) || PARTS.iter().any(|part| name.contains(part))
}

/// The value of a parameter or option of this name as it may be seen: hidden where it is a secret, SSH
/// keys without the percent-encoding in which Proxmox keeps those of VMs.
pub(crate) fn readable<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    match name {
        name if is_secret(name) => MASK.into(),
        "sshkeys" => decode(value).into(),
        _ => value.into(),
    }
}

/// What came back, whatever its status.
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The reason phrase of the status line: the only error text of hosts before PVE 8.4.
    pub(crate) reason: String,
    /// The body as JSON, or `Value::Null` where it is empty or, in an error answer, no JSON.
    pub(crate) body: Value,
    /// The rows of the body, which is null then, if they were wanted.
    pub(crate) rows: Option<Rows>,
    /// Whether the API token's secret can be part of the body.
    pub(crate) may_repeat_secret: bool,
    /// Whether the body is a web page, which nothing of the API sends.
    pub(crate) is_page: bool,
    /// The host's clock when it answered, in seconds since 1970, where it tells.
    pub(crate) date: Option<u64>,
    /// How long the answer took.
    pub(crate) took: Duration,
}

#[cfg(test)]
impl Response {
    /// One that came at once.
    pub(crate) fn at_once(status: u16, reason: &str, body: Value) -> Self {
        Self {
            status,
            reason: reason.to_owned(),
            body,
            rows: None,
            may_repeat_secret: true,
            is_page: false,
            date: None,
            took: Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn encodes_every_byte_that_the_api_would_split_at() {
        let request = Request::new(Method::Put, "/nodes/{node}/qemu/{vmid}/config")
            .segment("node", "pve1")
            .segment("vmid", "100")
            .with("boot", "order=scsi0;net0")
            .with("name", "a b+c&d é");
        assert_eq!(request.target(), "/nodes/pve1/qemu/100/config");
        assert_eq!(
            request.body().as_deref(),
            Some("boot=order%3Dscsi0%3Bnet0&name=a%20b%2Bc%26d%20%C3%A9")
        );
    }

    #[test]
    fn sends_the_parameters_of_a_delete_in_the_url() {
        let request = Request::new(Method::Delete, "/nodes/pve1/lxc/101").with("force", "1");
        assert_eq!(request.target(), "/nodes/pve1/lxc/101?force=1");
        assert_eq!(request.body(), None);
    }

    #[test]
    fn encodes_a_volume_and_a_upid_as_one_segment() {
        let request = Request::new(Method::Get, "/tasks/{upid}/{volume}")
            .segment("upid", "UPID:pve1:0:root@pam!mcp:")
            .segment("volume", "local:backup/a.zst");
        assert_eq!(
            request.path,
            "/tasks/UPID%3Apve1%3A0%3Aroot%40pam%21mcp%3A/local%3Abackup%2Fa.zst"
        );
    }

    #[test]
    fn takes_no_other_answer_for_a_sign_that_a_change_was_made() {
        let upid = json!("UPID:pve1:0012A4F3:03B6C2D1:6A55FD63:qmstart:100:root@pam!mcp:");
        let (null, ok, pid) = (Value::Null, json!("OK"), json!({ "pid": "330" }));
        let answers = [
            &upid,
            &null,
            &ok,
            &pid,
            &json!(""),
            &json!({}),
            &json!({ "pid": null }),
            &json!({ "error": "x" }),
            &json!([]),
            &json!(0),
            &json!(true),
            &json!("UPID:pve1"),
        ];
        for (reply, fitting) in [
            (Reply::Nothing, &[&null] as &[&Value]),
            (Reply::Object("pid"), &[&pid]),
            (Reply::Task, &[&upid]),
            (Reply::TaskOrNothing, &[&upid, &null]),
            (Reply::TaskOrOk, &[&upid, &ok]),
        ] {
            for answer in answers {
                assert_eq!(
                    reply.is(answer),
                    fitting.contains(&answer),
                    "{reply}: {answer}"
                );
            }
        }
    }

    #[test]
    fn masks_what_is_secret_and_shows_the_rest() {
        let request = Request::new(Method::Post, "/nodes/pve1/lxc")
            .with("password", "hunter2")
            .with("hostname", "web01")
            .with("command", "a")
            .with("command", "b");
        assert_eq!(
            request.shown_parameters(),
            json!({ "password": "(hidden)", "hostname": "web01", "command": ["a", "b"] })
        );
        for name in ["cipassword", "PASSWORD", "token", "client-key", "secret"] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "ssh-public-keys",
            "sshkeys",
            "tokenid",
            "command",
            "keyboard",
            "notes",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn shows_ssh_keys_decoded() {
        let request = Request::new(Method::Put, "/nodes/pve1/qemu/100/config")
            .with("sshkeys", encode("ssh-ed25519 AAAA+/= a@b\n"));
        assert_eq!(
            request.shown_parameters(),
            json!({ "sshkeys": "ssh-ed25519 AAAA+/= a@b\n" })
        );
    }

    #[test]
    fn sends_the_agent_each_byte_as_a_character_and_shows_the_text() {
        let request = Request::new(Method::Post, "/nodes/pve1/qemu/100/agent/exec")
            .with_octets("input-data", "ä €");
        assert_eq!(
            request.body().as_deref(),
            Some("input-data=%C3%83%C2%A4%20%C3%A2%C2%82%C2%AC")
        );
        assert_eq!(request.shown_parameters(), json!({ "input-data": "ä €" }));
    }

    #[test]
    fn shows_no_parameter() {
        let request = Request::new(Method::Post, "/nodes/pve1/lxc").with("password", "hunter2");
        assert_eq!(request.to_string(), "POST /nodes/pve1/lxc");
    }
}
