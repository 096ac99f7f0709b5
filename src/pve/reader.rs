//! The cluster as it is read: requests go out, data or errors a model can act on come back.
//!
//! Whatever changes something needs [`Changes`], which the gate alone has.

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
use crate::text::upid::Upid;

/// The POSTs that change nothing: they ask something of the guest agent.
const ASKS: &[&str] = &[
    "/nodes/{node}/qemu/{vmid}/agent/fsfreeze-status",
    "/nodes/{node}/qemu/{vmid}/agent/ping",
];

/// Whether requests of this method to a path change nothing; `path` may be a template.
pub(crate) fn only_reads(method: Method, path: &str) -> bool {
    method.only_reads() || (method == Method::Post && ASKS.iter().any(|ask| is_at(path, ask)))
}

/// Whether `path` is of the form of `template`: itself, or with plain names in its `{…}` parts, none of
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
    /// For what the token cannot do.
    pub(super) login: Option<Login>,
    /// See [`Reader::web_address`].
    web_host: Option<String>,
    /// See [`Reader::clock`].
    clock: Cell<Option<u64>>,
    /// See [`Reader::major_version`].
    major: Cell<Option<u32>>,
}

/// What answers requests.
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

    /// Forgets who answered last.
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
    /// Whether a request was made, so that the client may have sent something meanwhile.
    has_exchanged: Cell<bool>,
}

impl<'a> Reader<'a> {
    /// Starts with a client that was just polled, as a call does when it starts or resumes.
    pub(crate) fn new(cluster: &'a Cluster, peer: &'a Peer) -> Self {
        Self {
            cluster,
            peer,
            has_exchanged: Cell::new(false),
        }
    }

    /// Announces a call of a tool, whose recording the demonstration then replays.
    pub(crate) fn begin(&self, tool: &str) {
        if let Answers::Demonstration(demonstration) = &self.cluster.answers {
            demonstration.begin(tool);
        }
    }

    /// Reads what is not part of the call, without advancing the recording in the demonstration.
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

    /// Returns the address from which this program is connected to the host that answered last, and that
    /// of the host.
    pub(crate) fn own_addresses(&self) -> Option<(IpAddr, SocketAddr)> {
        match &self.cluster.answers {
            Answers::Demonstration(_) => None,
            Answers::Hosts(hosts) => hosts.ends(),
        }
    }

    /// Returns the time of the host when it last answered, in seconds since 1970, if its answer had it.
    pub(crate) fn clock(&self) -> Option<u64> {
        self.cluster.clock.get()
    }

    /// Returns the major version of Proxmox VE, which is requested once.
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

    /// Returns the `data` of the answer.
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

    /// Returns the rows of `data`, none if it is not a list; they are parsed on demand.
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

    /// Returns the secrets that only Proxmox may see.
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
            // A web server that is none of Proxmox. Whoever sends a change looks at its answer.
            if body.get("data").is_none() && only_reads(request.method, &request.path) {
                let failure = Failure::MaybeProcessed {
                    what: http::NOT_THE_API,
                    cause: "the answer has no data, which each answer of the API has".to_owned(),
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

    /// Refuses what needs a login where none is set, or one of somebody who can never do it. Nothing is
    /// sent for this.
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

    /// Returns where a browser finds the web interface: the host as it is set, or the node where that is
    /// the other end of a tunnel, or there is none.
    pub(crate) fn web_address(&self, node: &str) -> String {
        let host = self.cluster.web_host.clone();
        host.unwrap_or_else(|| format!("https://{node}:8006"))
    }

    /// Returns the API token with which requests are sent, `user@realm!name`.
    pub(crate) fn token_id(&self) -> &str {
        &self.cluster.token_id
    }

    /// Returns who logs in where no token will do, if a login is set.
    pub(crate) fn login_user(&self) -> Option<&str> {
        self.cluster.login.as_ref().map(Login::user)
    }

    /// Logs in, to see whether that works; `None` if no login is set.
    pub(crate) fn try_login(&self) -> Option<Result<(), Error>> {
        let login = self.cluster.login.as_ref()?;
        let wanted = Request::new(Method::Get, "/version");
        let outcome = login.credentials(self, &wanted);
        let secrets = login.secrets();
        let secrets: Vec<&str> = secrets.iter().map(Secret::expose).collect();
        Some(outcome.map(|_| ()).map_err(|error| error.without(&secrets)))
    }

    /// The error for a request that got no answer, or for which there was no time.
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
        // Where it took too long to fail, the next would as well.
        self.peer.expire_grace();
        let failure = match failure {
            Failure::GivenUp { sent: false } => Failure::NotSent {
                what: "the client has closed its end".to_owned(),
                cause: "the host did not answer in time".to_owned(),
                remedy: "Keep standard input open until the answers have come.".to_owned(),
            },
            Failure::GivenUp { sent: true } => Failure::MaybeProcessed {
                what: http::NO_ANSWER,
                cause: "no answer came before the client closed its end, nor shortly after"
                    .to_owned(),
                remedy: match only_reads(request.method, &request.path) {
                    true => "Keep standard input open until the answers have come.",
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

    /// Records a change, which is logged if the client cancels the call that made it.
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

    /// Records a task that the call follows, which is logged if the client cancels the call.
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

    /// Returns the client that waits.
    pub(crate) fn peer(&self) -> &Peer {
        self.peer
    }
}

/// The right to send changes. It is created once and moved into the gate, so every change passes the gate.
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

/// An object as it came, without what is secret in it.
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
    Value::Object(fields.collect())
}

fn cannot_change(request: &Request) -> Error {
    Error::impossible(
        format!("{request} was not sent"),
        "Nothing is changed here.",
    )
}

/// Returns the error for a change whose answer does not confirm it.
fn unexpected_answer(request: &Request, reply: Reply, answer: &Value) -> Error {
    let came = match answer {
        Value::Null => "nothing".to_owned(),
        answer => {
            let data = answer.get("data").unwrap_or(answer);
            text::cut(&text::inline(&masked(data).to_string()), 200)
        }
    };
    Error::impossible(
        format!("{request} was sent, and may have been processed"),
        format!("Proxmox answers it with {reply}; what came is {came}."),
    )
    .hint("Look at the object and the node's task list before repeating this.")
}

/// Returns the error for an answer that could not be parsed.
pub(crate) fn unread(what: &str, why: &Unread) -> Error {
    let cause = match why {
        Unread::TooLarge => format!(
            "It would take more than {} MiB of memory, the most that is held.",
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

/// Returns the time in seconds since 1970; in the demonstration, that of its recording.
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
    use crate::pve::demo::RECORDED;

    #[test]
    fn of_all_posts_only_those_of_the_list_count_as_reading() {
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

    /// A client that sends its lines one by one, when it is polled.
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
    fn a_call_that_was_cancelled_makes_no_further_request() {
        let cancel = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":1}}\n";
        let peer = Peer::new(Box::new(Client(vec![cancel, ""])), io::sink());
        let id = Id::new(&1.into()).expect("it is an integer");
        assert!(!peer.begin_call(&id, &serde_json::Map::new()));
        let cluster = Cluster::demo(Demonstration::new(RECORDED));
        let reader = Reader::new(&cluster, &peer);
        reader.begin("proxmox_get_nodes");
        assert!(reader.get("/nodes").is_ok());
        let error = reader.get("/nodes").expect_err("it was cancelled");
        assert!(error.is_cancelled(), "{error}");
    }
}
