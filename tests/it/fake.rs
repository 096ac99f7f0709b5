//! A Proxmox host on loopback that plays exchanges in order and checks the requests.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::mem;
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{env, fs, process};

use serde_json::{Value, json};
use tiny_http::{Method, Request, Server};

use crate::fixture::Exchange;
use crate::session::Session;

/// The secret of `root@pam!mcp` and `mcp@pve!mcp`, the only tokens that it accepts.
pub(crate) const TOKEN: &str = "12345678-9abc-4def-8123-456789abcdef";

/// The password of every user.
pub(crate) const PASSWORD: &str = "correct-horse-battery";

/// Returns the settings that log `user` in, with a password file that is never removed.
pub(crate) fn login(user: &'static str) -> [(&'static str, String); 2] {
    static FILE: OnceLock<String> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let path = env::temp_dir().join(format!("proxmox-mcp-{}-password", process::id()));
        fs::write(&path, PASSWORD).expect("the file can be written");
        restrict(&path);
        path.to_str().expect("the path is UTF-8").to_owned()
    });
    [
        ("PROXMOX_PASSWORD_FILE", file.clone()),
        ("PROXMOX_LOGIN_USER", user.to_owned()),
    ]
}

/// Restricts a file to its owner.
pub(crate) fn restrict(file: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(file, mode).expect("it is ours");
    }
    #[cfg(not(unix))]
    let _ = file;
}

/// What a user gets on logging in, which is secret, too.
pub(crate) const TICKET: &str = "PVE:root@pam:6A55FD63::dGlja2V0LXNpZ25hdHVyZQ+/==";
pub(crate) const CSRF_TOKEN: &str = "6A55FD63:Y3NyZi10b2tlbi1zaWduYXR1cmU";

/// Returns whether the API description reserves a request for users who have logged in.
fn needs_login(method: &Method, path: &str) -> bool {
    let writes = !matches!(method, Method::Get);
    let is = |begin: &str, end: &str| path.starts_with(begin) && path.ends_with(end);
    path.starts_with("/cluster/acme/account/")
        || writes
            && (["/access/password", "/cluster/acme/account"].contains(&path)
                || path.starts_with("/access/tfa/")
                || is("/nodes/", "/disks/wipedisk")
                || is("/nodes/", "/ceph/osd")
                || *method == Method::Delete && path.contains("/ceph/osd/"))
}

/// Returns the privileges that the role PVEAuditor grants at the top.
pub(crate) fn auditor() -> Value {
    let all = json!({
        "Datastore.Audit": 1, "Mapping.Audit": 1, "Pool.Audit": 1, "SDN.Audit": 1, "Sys.Audit": 1,
        "VM.Audit": 1, "VM.GuestAgent.Audit": 1,
    });
    let paths = [
        "/", "/access", "/nodes", "/pool", "/sdn", "/storage", "/vms",
    ];
    paths.map(|path| (path, all.clone())).into_iter().collect()
}

pub(crate) struct Fake {
    server: Arc<Server>,
    script: Arc<Mutex<Script>>,
    thread: Option<JoinHandle<()>>,
}

/// The remaining exchanges, and the problems so far.
#[derive(Default)]
struct Script {
    expected: VecDeque<Exchange>,
    /// The exchanges that were played.
    played: Vec<Exchange>,
    problems: Vec<String>,
    /// How long each answer takes.
    delay: Duration,
    /// Whether privileges were lacking for a request. The requests that explain this need not be among the
    /// exchanges: the token has the role PVEAuditor at the top, and a new VMID is free.
    refused: bool,
    /// Returns the `data` for each request, if their order is not known.
    answers: Option<Answers>,
}

type Answers = Box<dyn FnMut(&str) -> Value + Send>;

impl Fake {
    /// Starts a host that expects no request yet.
    pub(crate) fn start() -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").expect("loopback has a free port"));
        let script = Arc::new(Mutex::new(Script::default()));
        let thread = thread::spawn({
            let (server, script) = (Arc::clone(&server), Arc::clone(&script));
            move || {
                for request in server.incoming_requests() {
                    answer(request, &script);
                }
            }
        });
        Self {
            server,
            script,
            thread: Some(thread),
        }
    }

    /// Starts a host that expects these exchanges, written as in a fixture.
    pub(crate) fn playing(exchanges: Value) -> Self {
        let fake = Self::start();
        fake.play(serde_json::from_value(exchanges).expect("exchanges as in a fixture"));
        fake
    }

    /// Starts a host that answers every request, such as `GET /nodes`, with this `data`.
    pub(crate) fn answering(answers: impl FnMut(&str) -> Value + Send + 'static) -> Self {
        let fake = Self::start();
        fake.script().answers = Some(Box::new(answers));
        fake
    }

    /// Returns the settings that connect the program to this host.
    pub(crate) fn environment(&self) -> [(&'static str, String); 3] {
        [
            (
                "PROXMOX_HOST",
                format!("http://{}", self.server.server_addr()),
            ),
            ("PROXMOX_TOKEN_NAME", "mcp".to_owned()),
            ("PROXMOX_TOKEN_VALUE", TOKEN.to_owned()),
        ]
    }

    /// Starts a server connected to it, with additional settings.
    pub(crate) fn connect(&self, more: &[(&str, &str)]) -> Session {
        self.connect_by(Session::start, more)
    }

    /// Does the same with another way of starting the server.
    pub(crate) fn connect_by(
        &self,
        start: impl Fn(&[&str], &[(&str, &str)]) -> Session,
        more: &[(&str, &str)],
    ) -> Session {
        let environment = self.environment();
        let own = environment.iter().map(|(name, value)| (*name, &**value));
        let variables: Vec<(&str, &str)> = own.chain(more.iter().copied()).collect();
        start(&[], &variables)
    }

    /// Sets the exchanges to expect, in this order.
    pub(crate) fn play(&self, exchanges: Vec<Exchange>) {
        let mut script = self.script();
        script.expected = exchanges.into();
        script.played.clear();
        script.refused = false;
    }

    /// Delays each answer.
    pub(crate) fn take(&self, delay: Duration) {
        self.script().delay = delay;
    }

    /// Returns the deviations from the exchanges since the last call: unexpected, malformed or missing
    /// requests.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut script = self.script();
        let mut problems = mem::take(&mut script.problems);
        let mut missing = mem::take(&mut script.expected);
        missing.retain(|exchange| !script.is_repeated_poll(exchange));
        problems.extend(
            missing
                .iter()
                .map(|exchange| format!("expected {}\n    seen nothing", shown(exchange))),
        );
        problems
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was already printed, and must not become one while dropping.
            let _ = thread.join();
        }
    }
}

impl Script {
    /// Returns whether an exchange repeats an earlier poll with the same outcome. How often that happens depends
    /// on how busy the machine is, so it may be left out.
    fn is_repeated_poll(&self, exchange: &Exchange) -> bool {
        let path = exchange.request.strip_prefix("GET ").unwrap_or_default();
        let is_poll = path.contains("/tasks")
            || path.ends_with("/status/current")
            || path.ends_with("/agent/exec-status");
        let mut played = self.played.iter();
        is_poll
            && played.any(|played| {
                played.request == exchange.request
                    && played.form == exchange.form
                    && played.answer == exchange.answer
            })
    }

    /// Returns the answer to `request`, whose `faults` are what the API would object to.
    fn meet(&mut self, request: Exchange, faults: &[String]) -> Exchange {
        if let Some(answers) = &mut self.answers {
            let answer = Some(json!({ "data": answers(&request.request) }));
            return Exchange { answer, ..request };
        }
        let is_next = |exchange: &Exchange| exchange.request == request.request;
        while let Some(next) = self.expected.front()
            && (!is_next(next) || next.form != request.form)
            && self.is_repeated_poll(next)
        {
            self.expected.pop_front();
        }
        let is_expected = self.expected.front().is_some_and(is_next);
        if request.request == "POST /access/ticket" && !is_expected && faults.is_empty() {
            return logged_in(request);
        }
        if self.refused && !is_expected {
            let data = match &*request.request {
                "GET /access/permissions" => Some(auditor()),
                "GET /cluster/nextid" => {
                    let wanted = request.form.first();
                    wanted.and_then(|form| Some(json!(form.strip_prefix("vmid=")?)))
                }
                _ => None,
            };
            if let Some(data) = data {
                let answer = Some(json!({ "data": data }));
                return Exchange { answer, ..request };
            }
        }
        let expected = self.expected.pop_front();
        self.refused |= expected
            .as_ref()
            .is_some_and(|exchange| exchange.status == 403);
        let seen = shown(&request);
        let problem = match expected {
            Some(exchange)
                if exchange.request != request.request || exchange.form != request.form =>
            {
                format!("expected {}\n    seen {seen}", shown(&exchange))
            }
            Some(_) if !faults.is_empty() => format!("{seen}: {}", faults.join("; ")),
            Some(exchange) => {
                self.played.push(exchange.clone());
                return exchange;
            }
            None => format!("expected nothing\n    seen {seen}"),
        };
        // Whatever follows a wrong request is a consequence of it.
        self.expected.clear();
        self.problems.push(problem);
        Exchange {
            status: 500,
            answer: Some(
                json!({ "data": null, "message": format!("unexpected request: {seen}\n") }),
            ),
            ..request
        }
    }
}

/// Returns the request with Proxmox's answer to a login.
fn logged_in(request: Exchange) -> Exchange {
    let is_right = request.form.get(1) == Some(&format!("password={PASSWORD}"))
        && request
            .form
            .last()
            .is_some_and(|last| last == "new-format=1");
    let (status, answer) = match is_right {
        true => (
            200,
            json!({ "data": {
                "username": "root@pam", "ticket": TICKET, "CSRFPreventionToken": CSRF_TOKEN,
                "clustername": "pvelab", "cap": {},
            } }),
        ),
        false => (
            401,
            json!({ "data": null, "message": "authentication failure\n" }),
        ),
    };
    Exchange {
        status,
        answer: Some(answer),
        ..request
    }
}

fn answer(mut request: Request, script: &Mutex<Script>) {
    let mut body = String::new();
    let read = request.as_reader().read_to_string(&mut body);
    let mut faults = faults(&request, &body);
    faults.extend(read.err().map(|error| format!("body: {error}")));
    let (exchange, delay) = {
        let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
        let exchange = script.meet(as_exchange(&request, &body), &faults);
        (exchange, script.delay)
    };
    thread::sleep(delay);
    let mut writer = request.into_writer();
    // A client that has disconnected needs no answer.
    let _ = writer
        .write_all(&response(&exchange))
        .and_then(|()| writer.flush());
}

/// Returns the request in the form of a fixture.
fn as_exchange(request: &Request, body: &str) -> Exchange {
    let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
    let path = path.strip_prefix("/api2/json").unwrap_or(path);
    Exchange {
        request: format!("{} {path}", request.method()),
        form: match parts(request, body) {
            Some(parts) => parts,
            None => pairs(query).chain(pairs(body)).map(decoded).collect(),
        },
        status: 200,
        reason: None,
        answer: None,
        file: None,
    }
}

/// Returns the parts of a `multipart/form-data` body; for a file, its name and, after a space, its content.
/// Parts after one that pveproxy would not read are left out.
fn parts(request: &Request, body: &str) -> Option<Vec<String>> {
    let mut headers = request.headers().iter();
    let kind = headers.find(|header| header.field.equiv("Content-Type"))?;
    let boundary = kind
        .value
        .as_str()
        .strip_prefix("multipart/form-data; boundary=")?;
    let body = body.strip_prefix(&format!("--{boundary}\r\n"));
    let body = body.and_then(|body| body.strip_suffix(&format!("\r\n--{boundary}--\r\n")));
    let between = format!("\r\n--{boundary}\r\n");
    let parts = body.unwrap_or_default().split(&between).map_while(part);
    Some(parts.collect())
}

fn part(part: &str) -> Option<String> {
    let (head, value) = part.split_once("\r\n\r\n")?;
    let head = head.strip_prefix("Content-Disposition: form-data; name=\"")?;
    let (name, rest) = head.split_once('"')?;
    match rest {
        "" => Some(format!("{name}={value}")),
        rest => {
            let file = rest.strip_prefix("; filename=\"")?;
            let file = file.strip_suffix("\"\r\nContent-Type: application/octet-stream")?;
            Some(format!("{name}={file} ({value})"))
        }
    }
}

/// Formats an exchange: `GET /nodes/pve1/tasks source=all limit=50`.
fn shown(exchange: &Exchange) -> String {
    let mut words = vec![&*exchange.request];
    words.extend(exchange.form.iter().map(String::as_str));
    words.join(" ")
}

/// Returns why pveproxy would reject or misread this request.
fn faults(request: &Request, body: &str) -> Vec<String> {
    let header = |name: &'static str| {
        let mut headers = request.headers().iter();
        headers
            .find(|header| header.field.equiv(name))
            .map(|header| header.value.as_str())
    };
    let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
    let writes = matches!(request.method(), Method::Post | Method::Put);
    let tokens = ["root@pam", "mcp@pve"].map(|user| format!("PVEAPIToken={user}!mcp={TOKEN}"));
    let below = path.strip_prefix("/api2/json").unwrap_or(path);
    let ticket = header("Cookie").and_then(|cookie| cookie.strip_prefix("PVEAuthCookie="));
    let csrf_token = header("CSRFPreventionToken");
    let mut faults = Vec::new();
    let mut check = |holds: bool, fault: &str| {
        if !holds {
            faults.push(fault.to_owned());
        }
    };
    check(path.starts_with("/api2/json/"), "not below /api2/json");
    // A user who has logged in may also send reads that a token could.
    let reads_by_ticket = *request.method() == Method::Get && ticket.is_some();
    if below == "/access/ticket" || needs_login(request.method(), below) || reads_by_ticket {
        check(header("Authorization").is_none(), "comes from the token");
    } else {
        check(
            tokens
                .iter()
                .any(|token| header("Authorization") == Some(token)),
            "not the header of the token",
        );
    }
    if needs_login(request.method(), below) || reads_by_ticket {
        check(
            ticket.map(decoded).as_deref() == Some(TICKET),
            "not the ticket",
        );
        check(csrf_token == Some(CSRF_TOKEN), "not the CSRF token");
    } else {
        check(
            ticket.is_none() && csrf_token.is_none(),
            "comes from who has logged in",
        );
    }
    check(
        header("Accept-Encoding").is_none(),
        "asks for a compressed answer",
    );
    check(
        header("Transfer-Encoding").is_none(),
        "a body without a length",
    );
    if writes {
        check(header("Content-Length").is_some(), "no Content-Length");
        check(query.is_empty(), "parameters in the URL");
        let kind = header("Content-Type");
        let is_upload = path.ends_with("/upload");
        check(
            match kind {
                None => body.is_empty(),
                Some("application/x-www-form-urlencoded") => !is_upload,
                Some(kind) => is_upload && kind.starts_with("multipart/form-data; boundary="),
            },
            "not the content type of a form",
        );
        if is_upload {
            return faults;
        }
    } else {
        check(body.is_empty(), "a body");
        check(
            header("Content-Length").is_none_or(|length| length == "0"),
            "the length of a body",
        );
    }
    for pair in pairs(query).chain(pairs(body)) {
        // AnyEvent.pm also splits at `;`, and keeps only what is between the first and the second `=`.
        check(
            !pair.contains(';') && pair.matches('=').count() == 1,
            &format!("{pair} is cut at a raw ; or ="),
        );
    }
    faults
}

fn pairs(form: &str) -> impl Iterator<Item = &str> {
    form.split('&').filter(|pair| !pair.is_empty())
}

/// Decodes percent-encoded text, in which `+` is a space.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => std::str::from_utf8(&[*high, *low])
                .ok()
                .and_then(|digits| u8::from_str_radix(digits, 16).ok()),
            _ => None,
        };
        rest = if escaped.is_some() {
            &after[2..]
        } else {
            after
        };
        bytes.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the bytes that pveproxy sends.
fn response(exchange: &Exchange) -> Vec<u8> {
    let message = exchange
        .answer
        .as_ref()
        .and_then(|answer| answer["message"].as_str());
    let reason = match (&exchange.reason, message, exchange.status) {
        (Some(reason), ..) => reason,
        // AnyEvent.pm sends only the first line.
        (None, Some(message), _) => message.lines().next().unwrap_or_default(),
        (None, None, 200) => "OK",
        (None, None, _) => "",
    };
    let mut body = exchange
        .answer
        .as_ref()
        .map_or(Vec::new(), |answer| answer.to_string().into());
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", exchange.status);
    head.push_str("Cache-Control: max-age=0\r\nPragma: no-cache\r\nServer: pve-api-daemon/3.0\r\n");
    // Errors close the connection. tiny_http leaves that to the client.
    head.push_str(if exchange.status == 200 {
        "Connection: Keep-Alive\r\n"
    } else {
        "Connection: close\r\n"
    });
    if let Some(file) = &exchange.file {
        body = file.clone().into_bytes();
        head.push_str("Content-Type: application/octet-stream\r\n");
    } else if !body.is_empty() {
        head.push_str("Content-Type: application/json;charset=UTF-8\r\n");
    }
    // The journal is always compressed. (It also comes without a length, and ends with the connection, which
    // tiny_http cannot do.)
    if exchange.status == 200 && exchange.request.ends_with("/journal") {
        head.push_str("Content-Encoding: gzip\r\n");
        body = gzip(&body);
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    [head.into_bytes(), body].concat()
}

/// Wraps `bytes` in gzip without compression (RFC 1951 and 1952).
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("one block holds a recorded answer");
    let mut checksum = u32::MAX;
    for byte in bytes {
        checksum ^= u32::from(*byte);
        for _ in 0..8 {
            checksum = (checksum >> 1) ^ (0xEDB8_8320 * (checksum & 1));
        }
    }
    let mut gzip = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF, 1];
    gzip.extend(length.to_le_bytes());
    gzip.extend((!length).to_le_bytes());
    gzip.extend(bytes);
    gzip.extend((!checksum).to_le_bytes());
    gzip.extend(u32::from(length).to_le_bytes());
    gzip
}

/// Returns the answer of `fake` to these bytes, which must ask it to close the connection.
fn ask(fake: &Fake, request: &str) -> String {
    let mut stream =
        TcpStream::connect(fake.server.server_addr().to_string()).expect("the fake listens");
    stream
        .write_all(request.as_bytes())
        .expect("the fake reads");
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .expect("the fake answers in text");
    response
}

#[test]
fn plays_an_exchange_like_pveproxy() {
    let fake = Fake::playing(json!([{
        "request": "POST /nodes/pve1/lxc/101/clone",
        "form": ["newid=200", "description=a;b=c d"],
        "status": 403,
        "answer": { "data": null, "message": "Permission check failed (/vms/101, VM.Clone)\n" },
    }]));
    let body = "newid=200&description=a%3Bb%3Dc%20d";
    let response = ask(
        &fake,
        &format!(
            "POST /api2/json/nodes/pve1/lxc/101/clone HTTP/1.1\r\nHost: pve1\r\n\
             Authorization: PVEAPIToken=root@pam!mcp={TOKEN}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    );
    assert_eq!(fake.problems(), Vec::<String>::new());
    assert!(
        response.starts_with("HTTP/1.1 403 Permission check failed (/vms/101, VM.Clone)\r\n"),
        "{response}"
    );
    assert!(response.contains("\r\nConnection: close\r\n"), "{response}");
}

#[test]
fn reports_every_fault_of_a_request() {
    let fake =
        Fake::playing(json!([{ "request": "DELETE /nodes/pve1/lxc/101", "form": ["purge=1"] }]));
    let response = ask(
        &fake,
        "DELETE /api2/json/nodes/pve1/lxc/101 HTTP/1.1\r\nHost: pve1\r\nConnection: close\r\n\
         Accept-Encoding: gzip\r\nContent-Length: 7\r\n\r\npurge=1",
    );
    assert!(
        response.starts_with("HTTP/1.1 500 unexpected request: DELETE"),
        "{response}"
    );
    assert_eq!(
        fake.problems(),
        [
            "DELETE /nodes/pve1/lxc/101 purge=1: not the header of the token; \
             asks for a compressed answer; a body; the length of a body"
        ]
    );
}

#[test]
fn reports_missing_requests() {
    let fake = Fake::playing(json!([{ "request": "GET /version" }]));
    assert_eq!(fake.problems(), ["expected GET /version\n    seen nothing"]);
}
