//! HTTP to one Proxmox host.
//!
//! Nothing here starts a thread, no request is sent twice, and the client is polled during each wait. The
//! connection applies all time limits itself, except the one on connecting: ureq's would not end an answer
//! that arrives a byte at a time. Each piece of a file that is transferred extends the deadline: see
//! `transfer.rs`.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, DATE, HeaderName};
use ureq::http::request::Builder;
use ureq::http::{self, HeaderValue};
use ureq::{Agent, Body, SendBody, Timeout};

use crate::error::Failure;
use crate::mcp::connection::Peer;
use crate::pve::connector::{HostConnector, NoConnection, NoResolver, Seen};
use crate::pve::reader::only_reads;
use crate::pve::transfer::{self, Course, Multipart, Unsaved};
use crate::request::{Request, Response, Transfer};
use crate::settings::{Connection, Host, Secret};
use crate::text;
use crate::text::json::{self, Unread};
use crate::text::percent::encode;
use crate::text::rows::Rows;

#[cfg(test)]
pub(crate) mod tests;

/// The longest answer that is accepted, decompressed.
const LARGEST_ANSWER: u64 = 64 << 20;

/// How much memory the values of an answer may take: enough for some 50,000 guests.
pub(super) const MOST_MEMORY: usize = 256 << 20;

/// pveproxy closes an idle connection after 5 s (`PVE/APIServer/AnyEvent.pm`).
const LONGEST_IDLE: Duration = Duration::from_secs(3);

const BUFFER: usize = 32 << 10;

/// The longest header of an answer, status line included.
const LONGEST_HEADER: usize = BUFFER - 1;

/// The connection to one host.
pub(crate) struct Http {
    agent: Agent,
    /// `https://pve1:8006/api2/json`
    base: String,
    /// `None` if a header cannot hold the token.
    token: Option<Credentials>,
    timeout: Duration,
    largest_answer: u64,
    most_memory: usize,
    /// The buffer for bodies, reused for each answer.
    body: RefCell<Vec<u8>>,
    seen: Seen,
    peer: Peer,
    /// Whether the host has ever answered in HTTP.
    speaks_http: Cell<bool>,
}

/// How far an exchange got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// No byte of the request was sent.
    NotSent,
    /// Some of the request was sent, and no answer arrived.
    Sent,
    /// At least the first line of an answer arrived.
    Answered,
}

/// Returns where a redirection leads: only scheme and host, since the rest may repeat secrets that were sent.
fn site(location: Option<&HeaderValue>) -> String {
    let location = location.map(HeaderValue::as_bytes).unwrap_or_default();
    let location = String::from_utf8_lossy(location);
    let site = location.split_once("://").map(|(scheme, rest)| {
        let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        format!(" to {scheme}://{host}").escape_debug().to_string()
    });
    site.map_or_else(String::new, |site| text::cut(&site, 100))
}

/// No complete answer arrived.
pub(super) const NO_ANSWER: &str = "got no answer";
/// Something else answered.
pub(super) const NOT_THE_API: &str = "was answered, but not by the Proxmox VE API";
/// Only a part of the file was sent.
const BROKEN_OFF: &str = "was broken off";
/// The answer is too large, or could not be read or saved.
const UNREADABLE: &str = "got an answer that cannot be used";

/// The values of an answer would take too much memory.
#[derive(Debug)]
struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = MOST_MEMORY >> 20;
        write!(
            f,
            "the values of the answer take more than {most} MiB of memory, the limit"
        )
    }
}

impl std::error::Error for TooLarge {}

impl Http {
    /// Creates the client without connecting. Connecting may take as long as `connect`; the system's
    /// certificates are those in the first of `bundles` that has any.
    pub(super) fn new(
        connection: &Connection,
        host: &Host,
        connect: Duration,
        peer: Peer,
        bundles: Vec<PathBuf>,
    ) -> Self {
        let timeout = &connection.timeout;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Following a redirection would show the token to another host.
            .max_redirects(0)
            .proxy(None)
            .timeout_connect(Some(connect.min(*timeout)))
            .max_idle_age(LONGEST_IDLE)
            .max_idle_connections(1)
            .input_buffer_size(BUFFER)
            // If a header fills the buffer, ureq mistakes that for the end of the connection.
            .max_response_header_size(LONGEST_HEADER)
            .output_buffer_size(BUFFER)
            .user_agent(concat!("proxmox-mcp/", env!("CARGO_PKG_VERSION")))
            // Compression costs both sides more than it saves on a local network.
            .accept_encoding("")
            .build();
        let seen = Seen::default();
        let connector = HostConnector::new(host, peer.clone(), bundles, seen.clone());
        let scheme = if host.tls { "https" } else { "http" };
        Self {
            agent: Agent::with_parts(config, connector, NoResolver),
            base: format!("{scheme}://{host}/api2/json"),
            token: Credentials::of_token(connection),
            timeout: *timeout,
            largest_answer: LARGEST_ANSWER,
            most_memory: MOST_MEMORY,
            body: RefCell::default(),
            seen,
            peer,
            speaks_http: Cell::new(false),
        }
    }

    /// Returns the addresses of both ends of the last connection.
    pub(super) fn ends(&self) -> Option<(IpAddr, SocketAddr)> {
        self.seen.lock().ends
    }

    /// Returns how far the last exchange got.
    pub(super) fn progress(&self) -> Progress {
        let exchange = self.seen.lock();
        match (exchange.sent, exchange.status_line.is_empty()) {
            (false, _) => Progress::NotSent,
            (true, true) => Progress::Sent,
            (true, false) => Progress::Answered,
        }
    }

    /// Sends a request as the API token, or as `other`. Only if none of it was sent, because the connection
    /// that was kept turned out to be closed, is it sent again.
    pub(super) fn exchange_as(
        &self,
        request: &Request,
        other: Option<&Credentials>,
    ) -> Result<Response, Failure> {
        let deadline = Instant::now() + self.timeout;
        let outcome = self.attempt(request, other, deadline);
        if outcome.is_err() && self.seen.lock().was_stale {
            return self.attempt(request, other, deadline);
        }
        outcome
    }

    fn attempt(
        &self,
        request: &Request,
        other: Option<&Credentials>,
        deadline: Instant,
    ) -> Result<Response, Failure> {
        self.seen
            .begin(only_reads(request.method, &request.path), deadline);
        let Some(credentials) = other.or(self.token.as_ref()) else {
            return Err(Failure::NotSent {
                what: "the API token is not usable".to_owned(),
                cause: "it has a character that is not allowed in an HTTP header".to_owned(),
                remedy: "Check PROXMOX_USER, PROXMOX_TOKEN_NAME and the token's secret.".to_owned(),
            });
        };
        let began = Instant::now();
        let draft = http::Request::builder()
            .method(request.method.as_str())
            .uri(format!("{}{}", self.base, request.target()));
        let headers = credentials.headers.iter();
        let draft = headers.fold(draft, |draft, (name, value)| draft.header(name, value));
        let answer = self.send(request, draft)?;
        self.speaks_http.set(true);
        let status = answer.status().as_u16();
        let content_type = answer.headers().get(CONTENT_TYPE);
        let (is_page, is_file) = (is_page(content_type), is_file(content_type));
        if answer.status().is_success() && is_page {
            return Err(maybe_processed(
                request,
                NOT_THE_API,
                format!("{} sends a web page with status {status}", self.base),
                "Another web server, a proxy or a router answers at that address: check PROXMOX_HOST and PROXMOX_PORT.",
            ));
        }
        if answer.status().is_redirection() {
            return Err(Failure::MaybeProcessed {
                what: NOT_THE_API,
                cause: format!(
                    "{} is not the API: it answers {status}, a redirection{}, which the API never sends",
                    self.base,
                    site(answer.headers().get("location"))
                ),
                remedy: "Check PROXMOX_HOST and PROXMOX_PORT: pveproxy needs https://, and \
                         no proxy that asks for a login may sit in front of it."
                    .to_owned(),
            });
        }
        let date = answer
            .headers()
            .get(DATE)
            .and_then(|date| date.to_str().ok());
        let date = date.and_then(text::epoch);
        let is_success = answer.status().is_success();
        if let Some(Transfer::Saves { file, .. }) = &request.file
            && is_success
            && is_file
        {
            let bytes = self.save(request, answer.into_body(), file)?;
            return Ok(Response {
                status,
                reason: String::new(),
                body: json!({ "data": { "bytes": bytes } }),
                rows: None,
                may_repeat_secret: false,
                is_page,
                date,
                took: began.elapsed(),
            });
        }
        let read = self.read(answer.into_body());
        let may_repeat_secret = self.may_repeat(&credentials.secrets);
        let rows = match &read {
            Ok(()) if request.wants_rows && is_success && !may_repeat_secret => self.rows(),
            _ => None,
        };
        let body = match read.and_then(|()| self.value()) {
            Err(_) if status >= 400 => Value::Null,
            body => body.map_err(|err| self.failure(request, err))?,
        };
        let reason = reason(&self.seen.lock().status_line, status);
        // The log leaves out the reason, which may repeat what was sent.
        log::debug!("{request}: {status} after {:?}", began.elapsed());
        Ok(Response {
            status,
            reason,
            body,
            rows,
            may_repeat_secret,
            is_page,
            date,
            took: began.elapsed(),
        })
    }

    /// Sends the request, and returns as soon as the head of the answer has arrived.
    fn send(&self, request: &Request, draft: Builder) -> Result<http::Response<Body>, Failure> {
        let outcome = match (&request.file, request.body()) {
            (Some(Transfer::Sends { file, size, .. }), _) => {
                return self.upload(request, draft, file, *size);
            }
            (_, Some(form)) => draft
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form)
                .map(|draft| self.agent.run(draft)),
            (_, None) => draft.body(()).map(|draft| self.agent.run(draft)),
        };
        outcome
            .map_err(ureq::Error::from)
            .and_then(|outcome| outcome)
            .map_err(|err| self.failure(request, err))
    }

    /// Sends a request with its file, and returns as soon as the head of the answer has arrived.
    fn upload(
        &self,
        request: &Request,
        draft: Builder,
        file: &File,
        size: u64,
    ) -> Result<http::Response<Body>, Failure> {
        self.seen.lock().is_whole = false;
        let course = Course::new(&self.seen, &self.peer, self.timeout, None, "sent");
        let body = Multipart::new(request, file, size, course);
        let mut body = body.map_err(|err| Failure::NotSent {
            what: "the file cannot be read".to_owned(),
            cause: err.to_string(),
            remedy: "Nothing was sent.".to_owned(),
        })?;
        let draft = draft
            .header(CONTENT_TYPE, body.content_type())
            .header(CONTENT_LENGTH, body.length())
            .body(SendBody::from_reader(&mut body));
        let outcome = draft
            .map_err(ureq::Error::from)
            .and_then(|draft| self.agent.run(draft));
        outcome.map_err(|err| {
            let exchange = self.seen.lock();
            if exchange.given_up || !exchange.sent || exchange.is_whole {
                drop(exchange);
                return self.failure(request, err);
            }
            let said = String::from_utf8_lossy(&exchange.status_line);
            let cause = match said.trim() {
                "" => err.to_string(),
                said => format!("the host answered {}", text::cut(said, 300)),
            };
            Failure::MaybeProcessed {
                what: BROKEN_OFF,
                cause: format!("{}: {cause}", body.course()),
                remedy: "Nothing was uploaded: Proxmox discards a file that arrives incomplete."
                    .to_owned(),
            }
        })
    }

    /// Writes the body to a file and returns its length.
    fn save(&self, request: &Request, body: Body, file: &File) -> Result<u64, Failure> {
        let length = body.content_length();
        let course = Course::new(&self.seen, &self.peer, self.timeout, length, "received");
        transfer::save(body.into_reader(), file, course).map_err(|unsaved| match unsaved {
            Unsaved::Answer(err) => self.failure(request, err),
            Unsaved::File(err) => maybe_processed(
                request,
                UNREADABLE,
                format!("the file cannot be written ({err})"),
                "Make room on this machine, or name another directory.",
            ),
        })
    }

    /// Reads the whole body: parsing it in pieces is several times slower.
    fn read(&self, body: Body) -> Result<(), ureq::Error> {
        let mut text = self.body.borrow_mut();
        text.clear();
        text.shrink_to(BUFFER);
        // ureq's own limit counts compressed bytes. One more byte than the limit is read, to tell an answer
        // that just fits from one that is longer.
        let mut body = body.into_reader().take(self.largest_answer + 1);
        let read = body.read_to_end(&mut text);
        if body.limit() == 0 {
            return Err(ureq::Error::BodyExceedsLimit(self.largest_answer));
        }
        read?;
        Ok(())
    }

    /// Takes the rows out of the buffer if the body is a list of them.
    fn rows(&self) -> Option<Rows> {
        let mut body = self.body.borrow_mut();
        let text = String::from_utf8(mem::take(&mut *body)).ok()?;
        match Rows::of_data(text, self.most_memory) {
            Ok(rows) => Some(rows),
            Err(text) => {
                *body = text.into_bytes();
                None
            }
        }
    }

    /// Parses the body as JSON.
    fn value(&self) -> Result<Value, ureq::Error> {
        let text = self.body.borrow();
        if text.is_empty() {
            return Ok(Value::Null);
        }
        match json::from_slice(&text, self.most_memory) {
            Ok(read) => Ok(read.value),
            Err(Unread::TooLarge) => Err(ureq::Error::Other(Box::new(TooLarge))),
            Err(Unread::Invalid(err)) => Err(io::Error::from(err).into()),
        }
    }

    /// Returns whether the last body may repeat a secret. Without a backslash there are no escapes, so
    /// searching the text finds what its values hold.
    fn may_repeat(&self, secrets: &[Secret]) -> bool {
        let body = self.body.borrow();
        let repeats = |text: &str| secrets.iter().any(|secret| text.contains(secret.expose()));
        match str::from_utf8(&body) {
            Ok(text) => text.contains('\\') || repeats(text),
            Err(_) => true,
        }
    }

    fn failure(&self, request: &Request, err: ureq::Error) -> Failure {
        let exchange = self.seen.lock();
        if exchange.given_up {
            return Failure::GivenUp {
                sent: exchange.may_be_processed(),
            };
        }
        let err = match err {
            ureq::Error::Other(err) => match err.downcast::<NoConnection>() {
                Ok(none) => {
                    let NoConnection {
                        what,
                        cause,
                        remedy,
                    } = *none;
                    return Failure::NotSent {
                        what,
                        cause,
                        remedy,
                    };
                }
                Err(err) => ureq::Error::Other(err),
            },
            err => err,
        };
        if !exchange.sent {
            return Failure::NotSent {
                what: format!("the connection to {} failed", self.base),
                cause: err.to_string(),
                remedy: match err {
                    ureq::Error::Http(_) | ureq::Error::BadUri(_) => "Check PROXMOX_HOST.",
                    _ => "Nothing was sent: call again.",
                }
                .to_owned(),
            };
        }
        let within = format!("within {} s (PROXMOX_TIMEOUT)", self.timeout.as_secs_f32());
        let answered = !exchange.status_line.is_empty();
        // A host that expects TLS closes the connection or answers with an alert, unless it has answered in
        // HTTP before.
        let in_clear = self.base.starts_with("http:")
            && !exchange.status_line.starts_with(b"HTTP")
            && !self.speaks_http.get();
        let (what, cause, hint) = match err {
            ureq::Error::Protocol(_) | ureq::Error::Io(_) if in_clear => (
                NO_ANSWER,
                "the host closed the connection or answered something that is not HTTP".to_owned(),
                "PROXMOX_HOST says http://, but pveproxy speaks HTTPS: try https://.",
            ),
            ureq::Error::Timeout(_) if answered => (
                NO_ANSWER,
                format!("the answer was not complete {within}"),
                "Narrow the request or raise PROXMOX_TIMEOUT.",
            ),
            ureq::Error::Timeout(Timeout::RecvResponse) => (
                NO_ANSWER,
                format!("no answer {within}"),
                "Narrow the request or raise PROXMOX_TIMEOUT if it goes on.",
            ),
            ureq::Error::Timeout(_) => (
                NO_ANSWER,
                format!("the host did not take the request {within}"),
                "",
            ),
            ureq::Error::BodyExceedsLimit(limit) => (
                UNREADABLE,
                format!("the answer is longer than {limit} bytes, the limit"),
                "Narrow the request: a filter, a lower limit, a shorter time.",
            ),
            ureq::Error::Other(err) if err.is::<TooLarge>() => (
                UNREADABLE,
                err.to_string(),
                "Narrow the request: a filter, a lower limit, a shorter time.",
            ),
            ureq::Error::LargeResponseHeader(_, limit) => (
                UNREADABLE,
                format!("its header is longer than {limit} bytes, the limit"),
                "Proxmox VE never sends so much: check PROXMOX_HOST, PROXMOX_PORT and any proxy in front of them.",
            ),
            ureq::Error::Protocol(err) => (
                NOT_THE_API,
                format!("the answer is not HTTP ({err})"),
                "Check PROXMOX_HOST and PROXMOX_PORT.",
            ),
            ureq::Error::Io(err) if answered && err.kind() == io::ErrorKind::InvalidData => (
                NOT_THE_API,
                format!("the answer is not the JSON of the Proxmox API ({err})"),
                "Check that PROXMOX_HOST and PROXMOX_PORT are those of a Proxmox VE node.",
            ),
            ureq::Error::Io(err) if answered => {
                (NO_ANSWER, format!("the answer breaks off ({err})"), "")
            }
            ureq::Error::Io(err) => (
                NO_ANSWER,
                format!("the connection broke before an answer came ({err})"),
                "",
            ),
            err => (UNREADABLE, format!("the answer cannot be read ({err})"), ""),
        };
        maybe_processed(request, what, cause, hint)
    }
}

/// Returns the failure of a request that was sent. `what` follows the request's name in the text; `hint` may
/// be empty.
fn maybe_processed(
    request: &Request,
    what: &'static str,
    cause: String,
    hint: &'static str,
) -> Failure {
    if only_reads(request.method, &request.path) {
        let remedy = if hint.is_empty() { "Call again." } else { hint }.to_owned();
        return Failure::MaybeProcessed {
            what,
            cause,
            remedy,
        };
    }
    let look = "Look at the object and the node's task list before repeating this.";
    Failure::MaybeProcessed {
        what,
        cause: format!("{cause}. The request was sent and may have been processed"),
        remedy: format!("{look} {hint}").trim_end().to_owned(),
    }
}

/// Returns whether a body of this type is a web page, made for browsers.
fn is_page(content_type: Option<&HeaderValue>) -> bool {
    let text = content_type.and_then(|text| text.to_str().ok());
    text.is_some_and(|text| text.trim().to_ascii_lowercase().starts_with("text/html"))
}

/// Returns whether a body of this type is a file rather than an answer of the API, which is JSON.
fn is_file(content_type: Option<&HeaderValue>) -> bool {
    content_type.is_some_and(|text| text.as_bytes().starts_with(b"application/octet-stream"))
}

/// Who sends a request: the API token, a user with a ticket, or nobody. Logs never show these headers.
#[derive(Default)]
pub(super) struct Credentials {
    headers: Vec<(HeaderName, HeaderValue)>,
    secrets: Vec<Secret>,
}

impl Credentials {
    fn of_token(connection: &Connection) -> Option<Self> {
        let Connection {
            token_id,
            token_secret,
            ..
        } = connection;
        let token = format!("PVEAPIToken={token_id}={}", token_secret.expose());
        Self::new(&[(AUTHORIZATION, token)], &[token_secret.expose()])
    }

    /// Reads only need the ticket; changes need the CSRF token too.
    pub(super) fn of_ticket(ticket: &str, csrf_token: &str) -> Option<Self> {
        const CSRF: HeaderName = HeaderName::from_static("csrfpreventiontoken");
        let cookie = format!("PVEAuthCookie={}", encode(ticket));
        let headers = [(COOKIE, cookie), (CSRF, csrf_token.to_owned())];
        Self::new(&headers, &[ticket, csrf_token])
    }

    /// Returns `None` if a value is not allowed in a header.
    fn new(headers: &[(HeaderName, String)], secrets: &[&str]) -> Option<Self> {
        let headers = headers.iter().map(|(name, value)| {
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(true);
            Some((name.clone(), value))
        });
        let secrets = secrets
            .iter()
            .map(|secret| Secret::new((*secret).to_owned()));
        Some(Self {
            headers: headers.collect::<Option<_>>()?,
            secrets: secrets.collect(),
        })
    }

    /// Returns the secrets that no answer or error may show.
    pub(super) fn secrets(&self) -> &[Secret] {
        &self.secrets
    }
}

/// Returns the phrase of a line like `HTTP/1.1 500 no such VM`, if it has this status.
fn reason(status_line: &[u8], status: u16) -> String {
    let line = String::from_utf8_lossy(status_line);
    let mut parts = line.trim_end().splitn(3, ' ');
    match (parts.next(), parts.next(), parts.next()) {
        (_, Some(code), Some(phrase)) if code == status.to_string() => phrase.trim().to_owned(),
        _ => String::new(),
    }
}
