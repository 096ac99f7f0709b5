//! Reads from the cluster: sends requests and returns data, or errors that a model can act on.
//!
//! Sending a change takes [`Changes`], which only the gate has.

use std::cell::Cell;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use serde_json::Value;

use crate::error::Failure;
use crate::error::{Error, Refusal};
use crate::mcp::connection::{Interruption, Peer, Started};
use crate::pve::demo::Demonstration;
use crate::pve::hosts::{AnsweredBy, Hosts};
use crate::pve::http::{self, MOST_MEMORY};
use crate::pve::login::Login;
use crate::request::{self, Method, Reply, Request, Response, is_secret};
use crate::settings::{Connection, Secret};
use crate::text;
use crate::text::json::Unread;
use crate::text::rows::Rows;
use crate::text::sort::gather;
use crate::text::upid::Upid;

/// The POSTs that change nothing: they ask the guest agent something.
const ASKS: &[&str] = &[
    "/nodes/{node}/qemu/{vmid}/agent/fsfreeze-status",
    "/nodes/{node}/qemu/{vmid}/agent/ping",
];

/// Returns whether requests of this method to a path change nothing; `path` may be a template.
pub(crate) fn only_reads(method: Method, path: &str) -> bool {
    method.only_reads() || (method == Method::Post && ASKS.iter().any(|ask| is_at(path, ask)))
}

/// Returns whether `path` is `template` itself, or the template with plain names in its `{…}` parts, none of
/// which Proxmox could decode to another path.
fn is_at(path: &str, template: &str) -> bool {
    let (parts, forms) = (path.split('/'), template.split('/'));
    let fits = |part: &str, form: &str| {
        part == form || (form.starts_with('{') && text::format::is_label(part))
    };
    parts.clone().count() == forms.clone().count()
        && parts.zip(forms).all(|(part, form)| fits(part, form))
}

/// The connection to the cluster, shared by all calls.
pub(crate) struct Cluster {
    answers: Answers,
    /// `user@realm!name`, for error texts.
    token_id: String,
    /// Never shown.
    token_secret: Option<Secret>,
    /// Sends what the API token cannot.
    pub(super) login: Option<Login>,
    /// See [`Reader::web_address`].
    web_host: Option<String>,
    /// See [`Reader::clock`].
    clock: Cell<Option<u64>>,
    /// See [`Reader::major_version`].
    major: Cell<Option<u32>>,
}

/// What answers requests: real hosts or the demonstration.
enum Answers {
    Demonstration(Demonstration),
    Hosts(Hosts),
}

impl Cluster {
    pub(crate) fn new(connection: &Connection, peer: Peer) -> Self {
        Self {
            login: Login::new(connection, peer.clone()),
            web_host: connection
                .hosts
                .first()
                .filter(|host| host.tls)
                .map(|host| format!("https://{host}")),
            answers: Answers::Hosts(Hosts::new(connection, peer)),
            token_id: connection.token_id.clone(),
            token_secret: Some(connection.token_secret.clone()),
            clock: Cell::new(None),
            major: Cell::new(None),
        }
    }

    pub(crate) fn demo(demonstration: Demonstration) -> Self {
        Self {
            answers: Answers::Demonstration(demonstration),
            token_id: "demo@pve!mcp".to_owned(),
            token_secret: None,
            login: None,
            web_host: None,
            clock: Cell::new(None),
            major: Cell::new(None),
        }
    }

    /// Forgets which host answered last.
    pub(crate) fn forget_host(&self) {
        if let Answers::Hosts(hosts) = &self.answers {
            hosts.forget();
        }
    }

    /// Returns the host that answered last, unless it is the first.
    pub(crate) fn answered_by(&self) -> Option<AnsweredBy> {
        match &self.answers {
            Answers::Demonstration(_) => None,
            Answers::Hosts(hosts) => hosts.answered_by(),
        }
    }
}

/// Reads from the cluster on behalf of one client.
pub(crate) struct Reader<'a> {
    cluster: &'a Cluster,
    /// The client that waits for the answers.
    peer: &'a Peer,
    /// Whether a request was already sent, so that the client should be polled before the next.
    has_exchanged: Cell<bool>,
}

impl<'a> Reader<'a> {
    /// Creates a reader for a client that was polled just now, as it is when a call starts or resumes.
    pub(crate) fn new(cluster: &'a Cluster, peer: &'a Peer) -> Self {
        Self {
            cluster,
            peer,
            has_exchanged: Cell::new(false),
        }
    }

    /// Announces a tool call, so that the demonstration replays that tool's recording.
    pub(crate) fn begin(&self, tool: &str) {
        if let Answers::Demonstration(demonstration) = &self.cluster.answers {
            demonstration.begin(tool);
        }
    }

    /// Reads something that is not part of the call, without advancing the demonstration's recording.
    pub(crate) fn without_advancing<T>(&self, read: impl FnOnce() -> T) -> T {
        match &self.cluster.answers {
            Answers::Demonstration(demonstration) => demonstration.without_advancing(read),
            Answers::Hosts(_) => read(),
        }
    }

    /// Returns the host that answered last, unless it is the first.
    pub(crate) fn answered_by(&self) -> Option<AnsweredBy> {
        self.cluster.answered_by()
    }

    /// Returns this machine's address on the connection to the host that answered last, and the host's own.
    pub(crate) fn own_addresses(&self) -> Option<(IpAddr, SocketAddr)> {
        match &self.cluster.answers {
            Answers::Demonstration(_) => None,
            Answers::Hosts(hosts) => hosts.ends(),
        }
    }

    /// Returns the host's time at its last answer, in seconds since 1970, if the answer had a date.
    pub(crate) fn clock(&self) -> Option<u64> {
        self.cluster.clock.get()
    }

    /// Returns the major version of Proxmox VE; only the first call requests it.
    pub(crate) fn major_version(&self) -> Result<u32, Error> {
        if let Some(major) = self.cluster.major.get() {
            return Ok(major);
        }
        let answer = self.without_advancing(|| self.get("/version"))?;
        let version = answer["version"].as_str().unwrap_or_default();
        let major = version.split('.').next().and_then(|part| part.parse().ok());
        let major = major.ok_or_else(|| {
            Error::impossible(
                "the version of Proxmox VE was not recognised, nothing was done",
                text::cut(&text::inline(version), 40),
            )
        })?;
        self.cluster.major.set(Some(major));
        Ok(major)
    }

    /// Sends a request that only reads, and returns the `data` of the answer.
    pub(crate) fn send(&self, request: &Request) -> Result<Value, Error> {
        Ok(self.answer(request)?["data"].take())
    }

    /// Returns the `data` at a path without placeholders.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Error> {
        self.send(&Request::new(Method::Get, path))
    }

    /// Returns the whole answer: `data`, and on a few endpoints `total` or `changes`.
    pub(crate) fn answer(&self, request: &Request) -> Result<Value, Error> {
        match only_reads(request.method, &request.path) {
            true => Ok(self.exchange_redacted(request)?.0),
            false => Err(cannot_change(request)),
        }
    }

    /// Returns the rows of `data`, parsed on demand; no rows if it is not a list.
    pub(crate) fn rows(&self, mut request: Request) -> Result<Rows, Error> {
        request.wants_rows = true;
        match self.exchange_redacted(&request)? {
            (_, Some(rows)) => Ok(rows),
            (mut answer, None) => Rows::of_value(answer["data"].take(), MOST_MEMORY)
                .map_err(|why| unread("the list", &why)),
        }
    }

    /// Sends a request and masks its secrets in the answer or the error.
    fn exchange_redacted(&self, request: &Request) -> Result<(Value, Option<Rows>), Error> {
        match self.exchange(request) {
            Ok(mut reply) => {
                if reply.may_repeat_secret {
                    let secrets = self.secrets();
                    let secrets: Vec<&str> = secrets.iter().map(Secret::expose).collect();
                    hide(&mut reply.body, &secrets);
                }
                Ok((reply.body, reply.rows))
            }
            Err(error) => {
                let secrets = self.secrets();
                let own = secrets.iter().map(Secret::expose);
                let secrets: Vec<&str> = request.secrets().chain(own).collect();
                Err(error.without(&secrets))
            }
        }
    }

    /// Returns the secrets that only Proxmox may see: the token's and the login's.
    fn secrets(&self) -> Vec<Secret> {
        let token = self.cluster.token_secret.iter().cloned();
        let login = self.cluster.login.iter().flat_map(Login::secrets);
        token.chain(login).collect()
    }

    fn exchange(&self, request: &Request) -> Result<Response, Error> {
        if self.has_exchanged.replace(true)
            && self.peer.interruption() == Some(Interruption::Cancelled)
        {
            return Err(Error::cancelled());
        }
        if self.peer.grace_expired() {
            return Err(self.unanswered(request, Failure::GivenUp { sent: false }));
        }
        self.check_login(request.login)?;
        let login = request.login.zip(self.cluster.login.as_ref());
        let reply = match (&self.cluster.answers, login) {
            (Answers::Demonstration(demonstration), _) => demonstration.exchange(request),
            (Answers::Hosts(_), Some((needed, login))) => login.exchange(self, request, needed)?,
            (Answers::Hosts(hosts), None) => hosts.exchange(request),
        };
        let reply = reply.map_err(|failure| self.unfinished(request, failure))?;
        self.cluster.clock.set(reply.date);
        if (200..300).contains(&reply.status) {
            if reply.rows.is_some() {
                return Ok(reply);
            }
            let body = &reply.body;
            // Some other web server answered. The sender of a change checks its answer itself.
            if body.get("data").is_none() && only_reads(request.method, &request.path) {
                let failure = Failure::MaybeProcessed {
                    what: http::NOT_THE_API,
                    cause: "the answer has no data, as every answer of the API does".to_owned(),
                    remedy:
                        "Check that PROXMOX_HOST and PROXMOX_PORT are those of a Proxmox VE node."
                            .to_owned(),
                };
                return Err(Error::unanswered(request, failure));
            }
            self.note_started(request, &body["data"]);
            return Ok(reply);
        }
        let Some((_, login)) = login else {
            let token_id = &self.cluster.token_id;
            return Err(Error::refused(Refusal::new(request, &reply, token_id)));
        };
        let error = Error::refused(Refusal::new(request, &reply, login.user()));
        Err(match reply.status {
            401 => {
                login.forget();
                error.advise("The login has ended: call again, which logs in again.")
            }
            403 => error.advise(format!(
                "It is {} who lacks the privilege, not the token: see PROXMOX_LOGIN_USER.",
                login.user()
            )),
            _ => error,
        })
    }

    /// Refuses a request that needs a login if none is set, or if the user who logs in can never send it.
    /// Sends nothing itself.
    pub(crate) fn check_login(&self, needed: Option<request::Login>) -> Result<(), Error> {
        let Some(needed) = needed else {
            return Ok(());
        };
        match (&self.cluster.answers, &self.cluster.login, needed) {
            (Answers::Demonstration(_), ..) => Ok(()),
            (Answers::Hosts(_), None, needed) => Err(Error::impossible(
                "no API token can do this, nothing was sent",
                match needed {
                    request::Login::Root => {
                        "Proxmox lets only root@pam do it, logged in: set PROXMOX_LOGIN_USER=root@pam and \
                         PROXMOX_PASSWORD_FILE to a file with its password, or do it on the node."
                    }
                    request::Login::Confirmed { .. } => {
                        "Proxmox lets only a user do it, logged in: set PROXMOX_PASSWORD_FILE to a file \
                         with the password of PROXMOX_USER or PROXMOX_LOGIN_USER, who needs User.Modify."
                    }
                },
            )),
            (Answers::Hosts(_), Some(login), request::Login::Root)
                if login.user() != "root@pam" =>
            {
                Err(Error::impossible(
                    "only root@pam can do this, nothing was sent",
                    format!(
                        "The login is that of {}: set PROXMOX_LOGIN_USER=root@pam and \
                         PROXMOX_PASSWORD_FILE to a file with its password.",
                        login.user()
                    ),
                ))
            }
            (Answers::Hosts(_), Some(_), _) => Ok(()),
        }
    }

    /// Returns the address of the web interface for a browser: the first host as configured, or the node's
    /// own if that host is reached by plain HTTP (the end of a tunnel) or there is none.
    pub(crate) fn web_address(&self, node: &str) -> String {
        let host = self.cluster.web_host.clone();
        host.unwrap_or_else(|| format!("https://{node}:8006"))
    }

    /// Returns the ID of the API token that sends the requests, `user@realm!name`.
    pub(crate) fn token_id(&self) -> &str {
        &self.cluster.token_id
    }

    /// Returns the user who logs in for what the token cannot do, if a login is set.
    pub(crate) fn login_user(&self) -> Option<&str> {
        self.cluster.login.as_ref().map(Login::user)
    }

    /// Tries to log in; returns `None` if no login is set.
    pub(crate) fn try_login(&self) -> Option<Result<(), Error>> {
        let login = self.cluster.login.as_ref()?;
        let wanted = Request::new(Method::Get, "/version");
        let outcome = login.credentials(self, &wanted);
        let secrets = login.secrets();
        let secrets: Vec<&str> = secrets.iter().map(Secret::expose).collect();
        Some(outcome.map(|_| ()).map_err(|error| error.without(&secrets)))
    }

    /// Returns the error for a request that got no answer, or for which no time was left.
    pub(super) fn unfinished(&self, request: &Request, failure: Failure) -> Error {
        match failure {
            Failure::GivenUp { .. }
                if self.peer.interruption() == Some(Interruption::Cancelled) =>
            {
                Error::cancelled()
            }
            failure => self.unanswered(request, failure),
        }
    }

    fn unanswered(&self, request: &Request, failure: Failure) -> Error {
        // If this host took too long, so would the next.
        self.peer.expire_grace();
        let failure = match failure {
            Failure::GivenUp { sent: false } => Failure::NotSent {
                what: "the client has closed its end".to_owned(),
                cause: "the host did not answer in time".to_owned(),
                remedy: "Keep standard input open until the answers have arrived.".to_owned(),
            },
            Failure::GivenUp { sent: true } => Failure::MaybeProcessed {
                what: http::NO_ANSWER,
                cause: "no answer arrived before the client closed its end, nor shortly after"
                    .to_owned(),
                remedy: match only_reads(request.method, &request.path) {
                    true => "Keep standard input open until the answers have arrived.",
                    false => {
                        "The request was sent and may have been processed: look at the object and the node's task list before repeating this."
                    }
                }
                .to_owned(),
            },
            failure => failure,
        };
        Error::unanswered(request, failure)
    }

    /// Records a change that was sent, to be logged if the client cancels its call.
    fn note_started(&self, request: &Request, data: &Value) {
        if only_reads(request.method, &request.path) {
            return;
        }
        let what = match data {
            Value::String(upid) if Upid::parse(upid).is_some() => upid.clone(),
            data => match data["pid"]
                .as_u64()
                .or_else(|| data["pid"].as_str()?.parse().ok())
            {
                Some(pid) => format!("pid {pid}"),
                None => "no task".to_owned(),
            },
        };
        self.peer.note_started(Started {
            request: Some(request.to_string()),
            what,
        });
    }

    /// Records a task that the call follows, to be logged if the client cancels the call.
    pub(crate) fn note_followed(&self, upid: &str) {
        self.peer.note_started(Started {
            request: None,
            what: upid.to_owned(),
        });
    }

    /// Returns the time in seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        now(matches!(self.cluster.answers, Answers::Demonstration(_)))
    }

    /// Returns the client that waits for the answers.
    pub(crate) fn peer(&self) -> &Peer {
        self.peer
    }
}

/// The right to send changes. It is created once and moved into the gate, so that every change passes the
/// gate.
pub(crate) struct Changes(());

impl Changes {
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// Sends a change; any answer that does not confirm it is an error.
    pub(crate) fn send(
        &self,
        reader: &Reader,
        request: &Request,
        reply: Reply,
    ) -> Result<Value, Error> {
        let (mut answer, _) = reader.exchange_redacted(request)?;
        match answer.get("data").is_some_and(|data| reply.is(data)) {
            true => Ok(answer),
            false => {
                let secrets: Vec<&str> = request.secrets().collect();
                hide(&mut answer, &secrets);
                Err(unexpected_answer(request, reply, &answer))
            }
        }
    }
}

/// Returns a copy of an object with its secret fields masked.
fn masked(data: &Value) -> Value {
    let Value::Object(fields) = data else {
        return data.clone();
    };
    let fields = fields.iter().map(|(name, value)| {
        let value = match is_secret(name) {
            true => text::MASK.into(),
            false => masked(value),
        };
        (name.clone(), value)
    });
    Value::Object(gather(fields))
}

fn cannot_change(request: &Request) -> Error {
    Error::impossible(
        format!("{request} was not sent"),
        "Only requests that read can be sent here.",
    )
}

/// Returns the error for a change whose answer does not confirm it.
fn unexpected_answer(request: &Request, reply: Reply, answer: &Value) -> Error {
    let received = match answer {
        Value::Null => "nothing".to_owned(),
        answer => {
            let data = answer.get("data").unwrap_or(answer);
            text::cut(&text::inline(&masked(data).to_string()), 200)
        }
    };
    Error::impossible(
        format!("{request} was sent, and may have been processed"),
        format!("The expected answer is {reply}; received: {received}."),
    )
    .hint("Look at the object and the node's task list before repeating this.")
}

/// Returns the error for an answer that could not be parsed.
pub(crate) fn unread(what: &str, why: &Unread) -> Error {
    let cause = match why {
        Unread::TooLarge => format!(
            "It would take more than {} MiB of memory, the limit.",
            MOST_MEMORY >> 20
        ),
        Unread::Invalid(err) => format!("What the host sent is not valid JSON: {err}"),
    };
    Error::impossible(format!("{what} cannot be read"), cause)
}

/// Masks `secrets` in all texts of an answer.
fn hide(answer: &mut Value, secrets: &[&str]) {
    match answer {
        Value::String(text) if secrets.iter().any(|secret| text.contains(secret)) => {
            *text = text::without(text, secrets);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, secrets)),
        Value::Object(fields) => {
            if fields
                .keys()
                .any(|key| secrets.iter().any(|secret| key.contains(secret)))
            {
                let cleaned = mem::take(fields).into_iter();
                *fields = cleaned
                    .map(|(key, value)| (text::without(&key, secrets), value))
                    .collect();
            }
            fields.values_mut().for_each(|value| hide(value, secrets));
        }
        _ => (),
    }
}

/// Returns the time in seconds since 1970; for the demonstration, when it was recorded.
pub(crate) fn now(is_demo: bool) -> u64 {
    match is_demo {
        true => Demonstration::RECORDED_AT,
        false => SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind, Read};

    use super::*;
    use crate::mcp::lines::Source;
    use crate::mcp::rpc::Id;
    use crate::pve::demo::recorded;

    #[test]
    fn only_listed_posts_count_as_reading() {
        let post = |path| only_reads(Method::Post, path);
        for path in [
            "/nodes/pve1/qemu/100/agent/ping",
            "/nodes/{node}/qemu/{vmid}/agent/fsfreeze-status",
        ] {
            assert!(post(path), "{path}");
            assert!(!only_reads(Method::Put, path) && !only_reads(Method::Delete, path));
        }
        for path in [
            "/nodes/pve1/qemu/100/agent/fsfreeze-freeze",
            "/nodes/pve1/qemu/100/agent",
            "/nodes/pve1/qemu/100/agent/ping/x",
            "/nodes/pve1/lxc/100/agent/ping",
            "/nodes/pve1/qemu/100%2Fstatus%2Fstop%3F/agent/ping",
            "/nodes/../qemu/100/agent/ping",
            "/nodes//qemu/100/agent/ping",
        ] {
            assert!(!post(path), "{path}");
        }
        assert!(only_reads(Method::Get, "/nodes"));
    }

    /// A client that sends one line each time it is polled.
    struct Client(Vec<&'static str>);

    impl Read for Client {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            unreachable!("it is only polled")
        }
    }

    impl Source for Client {
        fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.pop() {
                Some("") | None => Err(ErrorKind::WouldBlock.into()),
                Some(line) => line.as_bytes().read(buffer),
            }
        }
    }

    #[test]
    fn a_cancelled_call_sends_no_more_requests() {
        let cancel = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":1}}\n";
        let peer = Peer::new(Box::new(Client(vec![cancel, ""])), io::sink());
        let id = Id::new(&1.into()).expect("it is an integer");
        assert!(!peer.begin_call(&id, &serde_json::Map::new()));
        let cluster = Cluster::demo(Demonstration::new(recorded()));
        let reader = Reader::new(&cluster, &peer);
        reader.begin("proxmox_get_nodes");
        assert!(reader.get("/nodes").is_ok());
        let error = reader.get("/nodes").expect_err("it was cancelled");
        assert!(error.is_cancelled(), "{error}");
    }
}
