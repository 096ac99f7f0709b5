//! A request to the Proxmox API and its response, as plain data.
//!
//! May import: `text`.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::text::base64;
use crate::text::format;
use crate::text::octets;
use crate::text::percent::{decode, encode};
use crate::text::rows::Rows;
use crate::text::upid::Upid;
use crate::text::{self, MASK};

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

    /// Returns true if the parameters are sent in the URL: pveproxy answers 501 to a GET or DELETE with a
    /// body (`PVE/APIServer/AnyEvent.pm`).
    fn takes_query(self) -> bool {
        matches!(self, Method::Delete | Method::Get)
    }

    /// Returns true if requests of this method change nothing.
    pub(crate) fn only_reads(self) -> bool {
        self == Method::Get
    }
}

/// The answer of Proxmox to a change that it has accepted; any other answer leaves that open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// 1 or 0: whether there was anything to do.
    Flag,
    /// The MAC address that a magic packet was sent to.
    Mac,
    /// `null`: the change is done.
    Nothing,
    /// `null` or an empty text: the change is done.
    NothingOrEmpty,
    /// An object with this key.
    Object(&'static str),
    /// An object with this key, and `null` from older versions.
    ObjectOrNothing(&'static str),
    /// The UPID of the task that makes the change.
    Task,
    /// A UPID if the change takes long, and `null` if it is done.
    TaskOrNothing,
    /// A UPID, or `OK` if there was nothing to do.
    TaskOrOk,
}

impl Reply {
    /// Returns true if `data` is such an answer.
    pub(crate) fn is(self, data: &Value) -> bool {
        match (self, data) {
            (Reply::Nothing | Reply::ObjectOrNothing(_) | Reply::TaskOrNothing, Value::Null) => {
                true
            }
            (Reply::Mac, Value::String(mac)) => (format::MAC.parse)(mac).is_some(),
            (Reply::TaskOrOk, Value::String(ok)) if ok == "OK" => true,
            (Reply::NothingOrEmpty, Value::Null) => true,
            (Reply::NothingOrEmpty, Value::String(text)) => text.is_empty(),
            (Reply::Flag, flag) => {
                [0.into(), 1.into(), "".into(), "0".into(), "1".into()].contains(flag)
                    || flag.is_boolean()
            }
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
            Reply::Flag => f.write_str("0 or 1"),
            Reply::Mac => f.write_str("a MAC address"),
            Reply::Nothing => f.write_str("null"),
            Reply::NothingOrEmpty => f.write_str("null or an empty text"),
            Reply::Object(key) => write!(f, "an object with {key}"),
            Reply::ObjectOrNothing(key) => write!(f, "an object with {key} or null"),
            Reply::Task => f.write_str("a UPID"),
            Reply::TaskOrNothing => f.write_str("a UPID or null"),
            Reply::TaskOrOk => f.write_str("a UPID or OK"),
        }
    }
}

/// What no API token can do: a user has to ask for it, logged in with a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    /// root@pam alone.
    Root,
    /// Any user who has the privileges, and who repeats the password under this name from this major version
    /// on.
    Confirmed { by: &'static str, since: u32 },
}

/// One request: method, path below `/api2/json`, parameters.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Percent-encoded, beginning with `/`.
    pub(crate) path: String,
    pub(crate) form: Form,
    /// Whether an answer that is a list is wanted as [`Rows`].
    pub(crate) wants_rows: bool,
    /// Whether a user sends it, and not the API token.
    pub(crate) login: Option<Login>,
    /// A file that travels with it.
    pub(crate) file: Option<Transfer>,
}

/// A file on its way to or from the host. It is streamed, never held in memory.
#[derive(Clone)]
pub(crate) enum Transfer {
    /// So many bytes of it are sent under the name that is the last parameter, as `multipart/form-data`.
    Sends {
        file: Arc<File>,
        size: u64,
        path: String,
    },
    /// It gets the body of the answer, unless that is JSON; then the answer has the size as `bytes`.
    Saves { file: Arc<File>, path: String },
}

impl Transfer {
    /// Which file of this machine it is, for a person.
    fn readable(&self) -> String {
        match self {
            Transfer::Sends { size, path, .. } => {
                format!("{path} ({})", text::bytes(*size as f64))
            }
            Transfer::Saves { path, .. } => path.clone(),
        }
    }
}

impl Request {
    /// Creates a request; `path` is a template whose `{name}` parts [`Request::segment`] fills in.
    pub(crate) fn new(method: Method, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            form: Form::default(),
            wants_rows: false,
            login: None,
            file: None,
        }
    }

    /// Adds a file that travels with it.
    pub(crate) fn with_file(self, file: Transfer) -> Self {
        Self {
            file: Some(file),
            ..self
        }
    }

    /// Has a user send it, where no API token can.
    pub(crate) fn by(mut self, login: Option<Login>) -> Self {
        self.login = login;
        self
    }

    /// Replaces `{name}` with `value`, every reserved byte percent-encoded.
    ///
    /// Encoding protects the URL, not the API: Proxmox decodes the whole path before it splits it at `/`, so
    /// `value` must be an identifier that was checked (see `param.rs`).
    pub(crate) fn segment(mut self, name: &str, value: &str) -> Self {
        self.path = self.path.replace(&format!("{{{name}}}"), &encode(value));
        self
    }

    /// Adds a parameter; a repeated name makes an array.
    pub(crate) fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.form.push(name, value);
        self
    }

    /// Adds a parameter for the guest agent. Proxmox passes on each character as one byte, so each byte of
    /// the UTF-8 is sent as one character.
    pub(crate) fn with_octets(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.form.0.push(Parameter {
            name: name.into(),
            value: value.into(),
            wire: Wire::Octets,
        });
        self
    }

    /// Adds the content of a file in a guest, which is sent in base64 and shown as the text that it is.
    pub(crate) fn with_base64(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.form.0.push(Parameter {
            name: name.into(),
            value: value.into(),
            wire: Wire::Base64,
        });
        self
    }

    /// Returns the parameters in order, with secrets masked, and the file that travels with them.
    pub(crate) fn readable(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        let form = self.form.iter();
        let file = self.file.iter();
        form.map(|(name, value)| (name, readable(name, value)))
            .chain(file.map(|file| ("local file", file.readable().into())))
    }

    /// Returns [`Request::readable`] as an object, with an array for a repeated name.
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

    /// Returns the values of secret parameters.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.form
            .iter()
            .filter_map(|(name, value)| match is_secret(name) {
                true => Some(value),
                false => login_of_url(name, value),
            })
    }

    /// Returns the path and, for GET and DELETE, the query.
    pub(crate) fn target(&self) -> String {
        if self.method.takes_query() && !self.form.is_empty() {
            format!("{}?{}", self.path, self.form.encoded())
        } else {
            self.path.clone()
        }
    }

    /// Returns the form body of a POST or PUT, empty if it has no parameters; `None` for the other methods.
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
    wire: Wire,
}

/// How a value is sent.
#[derive(Clone, Copy)]
enum Wire {
    Text,
    /// See [`Request::with_octets`].
    Octets,
    /// See [`Request::with_base64`].
    Base64,
}

impl Parameter {
    fn sent(&self) -> Cow<'_, str> {
        match self.wire {
            Wire::Text => (&*self.value).into(),
            Wire::Octets => octets::of_text(&self.value).into(),
            Wire::Base64 => base64::STANDARD.encode(self.value.as_bytes()).into(),
        }
    }
}

/// Only the names, since the values may be secret.
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
            wire: Wire::Text,
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

    /// Returns the parameters as Proxmox receives them.
    pub(crate) fn sent(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        self.0
            .iter()
            .map(|parameter| (&*parameter.name, parameter.sent()))
    }

    /// Returns `application/x-www-form-urlencoded` with all but unreserved bytes encoded: pveproxy splits at
    /// `;` as well as at `&`, and cuts a value at a raw `=`.
    fn encoded(&self) -> String {
        let pairs = self
            .sent()
            .map(|(name, value)| format!("{}={}", encode(name), encode(&value)));
        pairs.collect::<Vec<_>>().join("&")
    }
}

/// Returns true if a parameter or option of this name holds a secret: a password, ticket, token secret or
/// private key. The input of a command in a guest is not a secret, but part of the command.
pub(crate) fn is_secret(name: &str) -> bool {
    const PARTS: &[&str] = &[
        "password",
        "secret",
        "ticket",
        "private",
        "encryption-key",
        "hmac-key",
    ];
    const WHOLE: &[&str] = &[
        "key",
        "client-key",
        "token",
        "confirm-token",
        "totp",
        "keyring",
    ];
    // This is asked of every key of every answer, so no copy of the name is made.
    let is = |found: &[u8], word: &str| {
        let mut pairs = found.iter().zip(word.bytes());
        found.len() == word.len()
            && pairs.all(|(byte, of_word)| match byte {
                b'_' => of_word == b'-',
                byte => byte.to_ascii_lowercase() == of_word,
            })
    };
    let name = name.as_bytes();
    let has = |part: &str| name.windows(part.len()).any(|found| is(found, part));
    WHOLE.iter().any(|word| is(name, word)) || PARTS.iter().any(|part| has(part))
}

/// Returns the value of a parameter or option of this name to show: a secret masked, also within the value, SSH
/// keys without the percent-encoding in which Proxmox stores those of VMs.
pub(crate) fn readable<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    match name {
        name if is_secret(name) => MASK.into(),
        "sshkeys" => decode(value).into(),
        // Some files hold the key with its certificate.
        "certificates" if value.contains("PRIVATE KEY-----") => MASK.into(),
        // Mount options, such as those of CIFS.
        "options" => {
            let parts = value.split(',').map(|part| match part.split_once('=') {
                Some((key, _)) if is_secret(key.trim()) => format!("{key}={MASK}"),
                _ => part.to_owned(),
            });
            parts.collect::<Vec<_>>().join(",").into()
        }
        _ => match login_of_url(name, value) {
            Some(login) => value.replacen(login, MASK, 1).into(),
            None => value.into(),
        },
    }
}

/// The user and the password that a URL contains, if that is what an option of this name holds.
fn login_of_url<'a>(name: &str, value: &'a str) -> Option<&'a str> {
    let (_, rest) = value.split_once("://")?;
    let authority = match name {
        "http_proxy" | "http-proxy" => rest,
        "url" | "directory" => rest.split(['/', '?', '#']).next()?,
        _ => return None,
    };
    let (login, _) = authority.rsplit_once('@')?;
    (!login.is_empty()).then_some(login)
}

/// The response to a request, of any status.
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The reason phrase of the status line: the only error text of hosts before PVE 8.4.
    pub(crate) reason: String,
    /// The body as JSON, or `Value::Null` if it is empty or, in an error response, not JSON.
    pub(crate) body: Value,
    /// The rows of the body if they were wanted; `body` is then null.
    pub(crate) rows: Option<Rows>,
    /// Whether the body may contain the API token's secret.
    pub(crate) may_repeat_secret: bool,
    /// Whether the body is a web page, which the API itself never sends.
    pub(crate) is_page: bool,
    /// The host's time when it answered, in seconds since 1970, if the response contains it.
    pub(crate) date: Option<u64>,
    /// How long the answer took.
    pub(crate) took: Duration,
}

#[cfg(test)]
impl Response {
    /// Returns a response that took no time.
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
    fn encodes_every_byte_at_which_the_api_would_split() {
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
    fn only_the_expected_answer_confirms_a_change() {
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
            (Reply::NothingOrEmpty, &[&null, &json!("")]),
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
    fn masks_secrets_and_shows_other_parameters() {
        let request = Request::new(Method::Post, "/nodes/pve1/lxc")
            .with("password", "hunter2")
            .with("hostname", "web01")
            .with("command", "a")
            .with("command", "b");
        assert_eq!(
            request.shown_parameters(),
            json!({ "password": "(hidden)", "hostname": "web01", "command": ["a", "b"] })
        );
        for name in [
            "cipassword",
            "PASSWORD",
            "token",
            "client-key",
            "secret",
            "eab-hmac-key",
            "totp",
        ] {
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
    fn masks_what_is_secret_within_a_value() {
        let shown = |value: &'static str| readable("http_proxy", value).into_owned();
        let open = "http://proxy.example:3128";
        assert_eq!(shown(open), open);
        assert_eq!(
            shown("http://me:hunter@2@proxy.example:3128"),
            "http://(hidden)@proxy.example:3128"
        );
        for (url, expected) in [
            (
                "https://me:hunter2@a.example/b@1.iso",
                "https://(hidden)@a.example/b@1.iso",
            ),
            ("https://a.example/b@1.iso", "https://a.example/b@1.iso"),
            ("https://@a.example", "https://@a.example"),
        ] {
            assert_eq!(readable("url", url), expected);
        }
        for (name, value, expected) in [
            (
                "options",
                "vers=3,password=hunter2,ro",
                "vers=3,password=(hidden),ro",
            ),
            ("options", "ro,noatime", "ro,noatime"),
            (
                "certificates",
                "-----BEGIN PRIVATE KEY-----\nMII",
                "(hidden)",
            ),
            (
                "certificates",
                "-----BEGIN CERTIFICATE-----\nMII",
                "-----BEGIN CERTIFICATE-----\nMII",
            ),
        ] {
            assert_eq!(readable(name, value), expected);
        }
        let request = Request::new(Method::Post, "/x").with("url", "https://me:hunter2@a.example/");
        assert_eq!(request.secrets().collect::<Vec<_>>(), ["me:hunter2"]);
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
    fn sends_each_byte_to_the_agent_as_a_character_and_shows_the_text() {
        let request = Request::new(Method::Post, "/nodes/pve1/qemu/100/agent/exec")
            .with_octets("input-data", "ä €");
        assert_eq!(
            request.body().as_deref(),
            Some("input-data=%C3%83%C2%A4%20%C3%A2%C2%82%C2%AC")
        );
        assert_eq!(request.shown_parameters(), json!({ "input-data": "ä €" }));
    }

    #[test]
    fn sends_the_content_of_a_file_in_base64_and_shows_the_text() {
        let request = Request::new(Method::Post, "/nodes/pve1/qemu/100/agent/file-write")
            .with_base64("content", "wörld 5 €");
        assert_eq!(request.body().as_deref(), Some("content=d8O2cmxkIDUg4oKs"));
        assert_eq!(
            request.shown_parameters(),
            json!({ "content": "wörld 5 €" })
        );
    }

    #[test]
    fn the_name_of_a_request_contains_no_parameters() {
        let request = Request::new(Method::Post, "/nodes/pve1/lxc").with("password", "hunter2");
        assert_eq!(request.to_string(), "POST /nodes/pve1/lxc");
    }
}
