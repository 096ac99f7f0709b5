//! What happens on the wire while a call waits for its task.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fake::{Fake, TOKEN};
use crate::session::Session;

const UPID: &str = "UPID:pve1:0012A4F3:03B6C2D1:6A55FD63:qmstop:100:root@pam!mcp:";
const TASK: &str = "/nodes/pve1/tasks/UPID%3Apve1%3A0012A4F3%3A03B6C2D1%3A6A55FD63%3Aqmstop%3A100%3Aroot%40pam%21mcp%3A";

/// Starts a host that stops a VM in a task, which is running for this many polls before it ends; its log has
/// lines for progress.
fn host(looks: usize, with_log: bool) -> Fake {
    let mut exchanges = vec![json!({
        "request": "POST /nodes/pve1/qemu/100/status/stop", "answer": { "data": UPID },
    })];
    for look in 0..looks {
        exchanges.push(json!({
            "request": format!("GET {TASK}/status"), "answer": { "data": { "status": "running" } },
        }));
        if with_log {
            exchanges.push(json!({
                "request": format!("GET {TASK}/log"),
                "form": [format!("start={look}"), "limit=100"],
                "answer": { "data": [{ "n": look + 1, "t": format!("done {}%", look * 10) }] },
            }));
        }
    }
    exchanges.push(json!({
        "request": format!("GET {TASK}/status"),
        "answer": { "data": { "status": "stopped", "exitstatus": "OK" } },
    }));
    Fake::playing(exchanges.into())
}

fn start(fake: &Fake, how: impl Fn(&[&str], &[(&str, &str)]) -> Session) -> Session {
    let mut session = fake.connect_by(how, &[("PROXMOX_ALLOW_ELEVATED", "true")]);
    hello(&mut session);
    session
}

fn hello(session: &mut Session) {
    session.send(
        &json!({ "jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        } })
        .to_string(),
    );
    assert_eq!(session.receive()["id"], "hello");
}

/// Returns a call that waits for its task.
fn stop(id: &str) -> String {
    request(
        id,
        "tools/call",
        json!({
            "name": "proxmox_stop_vm",
            "arguments": { "node": "pve1", "vmid": 100, "wait": true },
            "_meta": { "progressToken": id },
        }),
    )
}

fn list(id: &str) -> String {
    request(id, "tools/list", json!({}))
}

fn ping(id: &str) -> String {
    request(id, "ping", json!({}))
}

fn request(id: &str, method: &str, params: Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
}

fn cancel(id: &str) -> String {
    let params = json!({ "requestId": id, "reason": "test" });
    json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }).to_string()
}

/// Returns the next message that is not about progress.
fn answer(session: &mut Session) -> Value {
    loop {
        let message = session.receive();
        if message["method"] != "notifications/progress" {
            return message;
        }
    }
}

/// Waits until the call is known to be waiting.
fn progress(session: &mut Session) -> Value {
    let message = session.receive();
    assert_eq!(message["method"], "notifications/progress", "{message}");
    message["params"].clone()
}

#[test]
fn answers_other_requests_while_a_call_waits() {
    for how in [Session::start, Session::start_on_socket] {
        let fake = host(2, true);
        let mut session = start(&fake, how);
        session.send(&stop("call"));
        session.send(&list("list"));
        session.send(&ping("ping"));
        let mut order: Vec<Value> = (0..3).map(|_| answer(&mut session)["id"].clone()).collect();
        assert_eq!(order.pop(), Some(json!("call")));
        order.sort_by_key(Value::to_string);
        assert_eq!(order, ["list", "ping"]);
        assert_eq!(fake.problems(), Vec::<String>::new());
        session.finish();
    }
}

#[test]
fn follows_a_task_that_someone_else_started() {
    let user = r"o#1%2F?\x;ü@ldap!a";
    let upid = UPID.replace("root@pam!mcp", user);
    let encoded = "o%231%252F%3F%5Cx%3B%C3%BC%40ldap%21a";
    let task = TASK.replace("root%40pam%21mcp", encoded);
    let fake = Fake::playing(json!([
        { "request": "POST /nodes/pve1/qemu/100/status/stop", "answer": { "data": upid } },
        {
            "request": format!("GET {task}/status"),
            "answer": { "data": { "status": "stopped", "exitstatus": "OK" } },
        },
    ]));
    let mut session = start(&fake, Session::start);
    session.send(&stop("call"));
    let result = &answer(&mut session)["result"]["structuredContent"];
    assert_eq!(result["status"], "done", "{result}");
    assert_eq!(result["upid"], upid, "{result}");
    assert_eq!(fake.problems(), Vec::<String>::new());
    session.finish();
}

#[test]
fn progress_rises_and_shows_the_last_log_line() {
    let fake = host(5, true);
    let mut session = start(&fake, Session::start);
    session.send(&stop("call"));
    let mut told = Vec::new();
    let result = loop {
        let message = session.receive();
        if message["method"] != "notifications/progress" {
            break message;
        }
        assert_eq!(message["params"]["progressToken"], "call");
        told.push(message["params"].clone());
    };
    assert_eq!(result["id"], "call");
    assert!(told.len() >= 2, "{told:?}");
    let values: Vec<f64> = told
        .iter()
        .filter_map(|told| told["progress"].as_f64())
        .collect();
    assert!(values.windows(2).all(|pair| pair[0] < pair[1]), "{told:?}");
    assert!(told.iter().all(|told| told["total"] == 100), "{told:?}");
    assert!(
        told[0]["message"]
            .as_str()
            .is_some_and(|line| line.starts_with("Stop VM 100: done ")),
        "{told:?}"
    );
    session.finish();
}

#[test]
fn progress_reads_only_the_end_of_a_long_log() {
    let looks = [(0, 0), (1_100, 5), (1_190, 50)].map(|(start, percent)| {
        [
            json!({
                "request": format!("GET {TASK}/status"), "answer": { "data": { "status": "running" } },
            }),
            json!({
                "request": format!("GET {TASK}/log"),
                "form": [format!("start={start}"), "limit=100"],
                "answer": {
                    "data": vec![json!({ "n": 1, "t": format!("done {percent}%") }); 90],
                    "total": 1_200,
                },
            }),
        ]
    });
    let mut exchanges = vec![json!({
        "request": "POST /nodes/pve1/qemu/100/status/stop", "answer": { "data": UPID },
    })];
    exchanges.extend(looks.into_iter().flatten());
    exchanges.push(json!({
        "request": format!("GET {TASK}/status"),
        "answer": { "data": { "status": "stopped", "exitstatus": "OK" } },
    }));
    let fake = Fake::playing(exchanges.into());
    let mut session = start(&fake, Session::start);
    session.send(&stop("call"));
    assert_eq!(progress(&mut session)["progress"], 50.0);
    assert_eq!(answer(&mut session)["id"], "call");
    assert_eq!(fake.problems(), Vec::<String>::new());
    session.finish();
}

#[test]
fn a_slow_host_does_not_prolong_the_wait() {
    let mut exchanges = vec![json!({
        "request": "POST /nodes/pve1/qemu/100/status/stop", "answer": { "data": UPID },
    })];
    exchanges.extend([(); 3].map(|()| {
        json!({
            "request": format!("GET {TASK}/status"), "answer": { "data": { "status": "running" } },
        })
    }));
    let fake = Fake::playing(exchanges.into());
    fake.take(Duration::from_millis(700));
    let mut session = start(&fake, Session::start);
    let arguments = json!({ "node": "pve1", "vmid": 100, "wait_timeout": 2 });
    let call = json!({ "name": "proxmox_stop_vm", "arguments": arguments });
    session.send(&request("call", "tools/call", call));
    assert_eq!(answer(&mut session)["id"], "call");
    assert_eq!(fake.problems(), Vec::<String>::new());
    session.finish();
}

#[test]
fn a_cancelled_wait_is_not_answered_and_sends_nothing_more() {
    for how in [Session::start, Session::start_on_socket] {
        let fake = host(50, true);
        let mut session = start(&fake, how);
        session.send(&stop("call"));
        progress(&mut session);
        session.send(&cancel("call"));
        session.send(&ping("ping"));
        assert_eq!(answer(&mut session)["id"], "ping");
        // Another poll would not be the next expected request.
        fake.problems();
        fake.play(
            serde_json::from_value(json!([
                { "request": "GET /nodes", "answer": { "data": [] } },
            ]))
            .expect("an exchange"),
        );
        session.send(&request(
            "nodes",
            "tools/call",
            json!({ "name": "proxmox_get_nodes" }),
        ));
        assert_eq!(answer(&mut session)["id"], "nodes");
        assert_eq!(fake.problems(), Vec::<String>::new());
        let remains = session.finish();
        assert_eq!(remains.messages, Vec::<Value>::new());
        assert_eq!(remains.log.matches(UPID).count(), 1, "{}", remains.log);
    }
}

#[test]
fn cancelling_a_wait_for_the_task_of_another_call_also_logs_its_id() {
    let fake = Fake::start();
    let mut exchanges = Vec::new();
    for look in 0..50 {
        exchanges.push(json!({
            "request": format!("GET {TASK}/status"), "answer": { "data": { "status": "running" } },
        }));
        exchanges.push(json!({
            "request": format!("GET {TASK}/log"),
            "form": [format!("start={look}"), "limit=100"],
            "answer": { "data": [{ "n": look + 1, "t": "done" }] },
        }));
    }
    fake.play(serde_json::from_value(exchanges.into()).expect("exchanges as in a fixture"));
    let mut session = start(&fake, Session::start);
    let call = json!({
        "name": "proxmox_wait_task",
        "arguments": { "upid": UPID },
        "_meta": { "progressToken": "call" },
    });
    session.send(&request("call", "tools/call", call));
    progress(&mut session);
    session.send(&cancel("call"));
    session.send(&ping("ping"));
    assert_eq!(answer(&mut session)["id"], "ping");
    let remains = session.finish();
    assert_eq!(remains.messages, Vec::<Value>::new());
    assert_eq!(remains.log.matches(UPID).count(), 1, "{}", remains.log);
}

/// A host that sends exactly the bytes of the test.
struct Host {
    listener: TcpListener,
    scheme: &'static str,
}

impl Host {
    fn new(scheme: &'static str) -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").expect("loopback has a free port"),
            scheme,
        }
    }

    /// Starts a server that connects to it, and waits for answers longer than this test may take.
    fn connect(&self) -> Session {
        let address = self.listener.local_addr().expect("it is bound");
        let variables = [
            ("PROXMOX_HOST", &*format!("{}://{address}", self.scheme)),
            ("PROXMOX_TOKEN_NAME", "mcp"),
            ("PROXMOX_TOKEN_VALUE", TOKEN),
            ("PROXMOX_ALLOW_ELEVATED", "true"),
            ("PROXMOX_TIMEOUT", "600"),
        ];
        let mut session = Session::start(&[], &variables);
        hello(&mut session);
        session
    }

    fn accept(&self) -> TcpStream {
        self.listener.accept().expect("the server connects").0
    }

    /// Returns the connection, once the head of this request has arrived.
    fn take(&self, method: &str) -> TcpStream {
        let mut stream = BufReader::new(self.accept());
        let mut line = String::new();
        stream.read_line(&mut line).expect("the server asks");
        assert!(line.starts_with(method), "{line}");
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).expect("the server asks");
        }
        stream.into_inner()
    }
}

/// Sends the same bytes again and again, with pauses too short for polling the client, until it is stopped or
/// the other side closes.
struct Drip {
    stop: Sender<()>,
    thread: JoinHandle<TcpStream>,
}

impl Drip {
    fn start(mut stream: TcpStream, bytes: &'static [u8]) -> Self {
        let (stop, stopped) = channel();
        let thread = thread::spawn(move || {
            while stopped.try_recv() == Err(TryRecvError::Empty) && stream.write_all(bytes).is_ok()
            {
                thread::sleep(Duration::from_millis(10));
            }
            stream
        });
        Self { stop, thread }
    }

    /// Stops, and returns the connection for further use.
    fn stop(self) -> TcpStream {
        self.stop.send(()).expect("the connection is still open");
        self.thread.join().expect("it does not panic")
    }

    /// Waits until the other side closes.
    fn expect_end(self) {
        self.thread.join().expect("it does not panic");
        drop(self.stop);
    }
}

/// The beginning of the answer of a dripping host, and what it then repeats.
const DRIPS: [(&str, &[u8]); 2] = [
    ("HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
    ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" "),
];

fn nodes() -> String {
    request("call", "tools/call", json!({ "name": "proxmox_get_nodes" }))
}

/// Starts a call whose answer has begun, and drips.
fn dripping(begun: &str, bytes: &'static [u8]) -> (Host, Session, Drip) {
    let host = Host::new("http");
    let mut session = host.connect();
    session.send(&nodes());
    let mut stream = host.take("GET ");
    let sent = stream.write_all(begun.as_bytes());
    sent.expect("the server reads");
    let drip = Drip::start(stream, bytes);
    (host, session, drip)
}

#[test]
fn serves_the_client_while_a_reply_trickles_in() {
    for (begun, bytes) in DRIPS {
        let (_host, mut session, drip) = dripping(begun, bytes);

        session.send(&list("list"));
        session.send(&ping("ping"));
        assert_eq!(session.receive()["id"], "ping");
        let mut stream = drip.stop();
        if bytes == b"x" {
            let rest = stream.write_all(b"\r\nConnection: close\r\n\r\n");
            rest.expect("the server reads");
        }
        let sent = stream.write_all(br#"{"data":[]}"#);
        sent.expect("the server reads");
        drop(stream);
        let answer = session.receive();
        assert_eq!(answer["id"], "call");
        assert_eq!(answer["result"]["isError"], Value::Null, "{answer}");
        assert_eq!(session.receive()["id"], "list");
        session.finish();
    }
}

#[test]
fn a_cancelled_read_is_aborted_while_its_reply_trickles_in() {
    for (begun, bytes) in DRIPS {
        let (_host, mut session, drip) = dripping(begun, bytes);
        session.send(&cancel("call"));
        drip.expect_end();
        assert_eq!(session.finish().messages, Vec::<Value>::new());
    }
}

#[test]
fn the_end_of_input_aborts_a_reply_that_trickles_in() {
    let [_, (begun, bytes)] = DRIPS;
    let (_host, mut session, drip) = dripping(begun, bytes);
    session.close();
    drip.expect_end();
    let answer = session.receive()["result"]["content"][0]["text"].to_string();
    assert!(
        answer.contains("before the client closed its end"),
        "{answer}"
    );
    session.finish();
}

#[test]
fn serves_the_client_during_a_tls_handshake() {
    let host = Host::new("https");
    let mut session = host.connect();
    session.send(&nodes());
    let silent = host.accept();
    session.send(&ping("ping"));
    assert_eq!(session.receive()["id"], "ping");
    drop(silent);
    let answer = answer(&mut session);
    assert_eq!(answer["id"], "call");
    let text = answer["result"]["content"][0]["text"].to_string();
    assert!(text.contains("was not sent"), "{text}");
    session.finish();
}

#[test]
fn a_change_cancelled_during_the_tls_handshake_is_never_sent() {
    for closes in [false, true] {
        let host = Host::new("https");
        let mut session = host.connect();
        session.send(&stop("call"));
        let mut silent = host.accept();
        let mut first = [0];
        let came = silent.read_exact(&mut first);
        came.expect("the server begins the handshake");
        assert_eq!(first, [22]);
        if closes {
            session.close();
        } else {
            session.send(&cancel("call"));
        }
        let end = silent.read_to_end(&mut Vec::new());
        end.expect("the server closes");
        if closes {
            let answer = answer(&mut session)["result"]["content"][0]["text"].to_string();
            assert!(answer.contains("the client has closed its end"), "{answer}");
            assert!(answer.contains("was not sent"), "{answer}");
        }
        assert_eq!(session.finish().messages, Vec::<Value>::new());
    }
}

#[test]
fn a_change_cancelled_after_sending_is_made_but_not_answered() {
    for drips in [false, true] {
        let host = Host::new("http");
        let mut session = host.connect();
        let stop = json!({
            "name": "proxmox_stop_vm", "arguments": { "node": "pve1", "vmid": 100 },
        });
        session.send(&request("stop", "tools/call", stop));
        let mut stream = host.take("POST ");
        let sent = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        sent.expect("the server reads");
        let drip = drips.then(|| Drip::start(stream.try_clone().expect("it is open"), b" "));

        session.send(&cancel("stop"));
        session.send(&ping("ping"));
        assert_eq!(session.receive()["id"], "ping");
        drop(drip.map(Drip::stop));
        let sent = stream.write_all(json!({ "data": UPID }).to_string().as_bytes());
        sent.expect("the server reads");
        drop(stream);

        let remains = session.finish();
        assert_eq!(remains.messages, Vec::<Value>::new());
        assert!(remains.log.contains(UPID), "{}", remains.log);
    }
}

#[test]
fn a_call_cancelled_after_its_change_leaves_the_change_in_the_log() {
    let host = Host::new("http");
    let mut session = host.connect();
    let resize = json!({
        "name": "proxmox_resize_vm", "arguments": { "node": "pve1", "vmid": 100, "cores": 2 },
    });
    session.send(&request("resize", "tools/call", resize));
    let settings = json!([{ "key": "digest", "value": "d1" }, { "key": "cores", "value": 1 }]);
    for (method, data) in [("GET ", settings), ("PUT ", Value::Null)] {
        respond(host.take(method), &data);
    }
    // The outcome of the change is no longer reported.
    let stream = host.take("GET ");
    session.send(&cancel("resize"));
    session.send(&ping("ping"));
    assert_eq!(session.receive()["id"], "ping");
    let remains = session.finish();
    drop(stream);
    assert_eq!(remains.messages, Vec::<Value>::new());
    let change = "PUT /nodes/pve1/qemu/100/config";
    assert_eq!(remains.log.matches(change).count(), 1, "{}", remains.log);
}

#[test]
fn answers_open_calls_after_the_end_of_input_without_sending_more() {
    let fake = Fake::playing(json!([
        { "request": "POST /nodes/pve1/qemu/100/status/stop", "answer": { "data": UPID } },
    ]));
    fake.take(Duration::from_secs(4));
    let mut session = start(&fake, Session::start);
    for id in ["first", "second", "third"] {
        session.send(&stop(id));
    }
    session.close();
    let closed = Instant::now();
    let first = answer(&mut session)["result"]["content"][0]["text"].to_string();
    assert!(first.contains("may have been processed"), "{first}");
    for id in ["second", "third"] {
        let answer = answer(&mut session);
        assert_eq!(answer["id"], id);
        assert_eq!(answer["result"]["isError"], true, "{answer}");
    }
    session.finish();
    assert!(closed.elapsed() < Duration::from_secs(3));
    assert_eq!(fake.problems(), Vec::<String>::new());
}

/// Answers the request on this connection.
fn respond(mut stream: TcpStream, data: &Value) {
    let body = json!({ "data": data });
    let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}");
    let sent = stream.write_all(answer.as_bytes());
    sent.expect("the server reads");
}

#[test]
fn a_call_cancelled_before_its_turn_is_never_started() {
    for is_batch in [false, true] {
        let host = Host::new("http");
        let mut session = host.connect();
        if is_batch {
            let open = json!({ "protocolVersion": "2025-03-26", "capabilities": {} });
            session.send(&request("again", "initialize", open));
            assert_eq!(answer(&mut session)["id"], "again");
        }
        let nodes = |id| request(id, "tools/call", json!({ "name": "proxmox_get_nodes" }));
        match is_batch {
            true => session.send(&format!("[{},{}]", nodes("first"), stop("second"))),
            false => {
                session.send(&nodes("first"));
                session.send(&stop("second"));
            }
        }
        let first = host.take("GET ");
        session.send(&cancel("second"));
        session.send(&ping("ping"));
        assert_eq!(answer(&mut session)["id"], "ping");
        respond(first, &json!([]));
        let answers = answer(&mut session);
        match is_batch {
            true => {
                assert_eq!(answers[0]["id"], "first", "{answers}");
                assert_eq!(answers[1], Value::Null, "{answers}");
            }
            false => assert_eq!(answers["id"], "first"),
        }
        assert_eq!(session.finish().messages, Vec::<Value>::new());
    }
}

#[test]
fn ignores_a_cancellation_that_is_late_or_names_no_request() {
    let fake = host(0, false);
    let mut session = start(&fake, Session::start);
    session.send(&stop("call"));
    assert_eq!(answer(&mut session)["id"], "call");
    for line in [cancel("call"), cancel("nothing"), cancel("hello")] {
        session.send(&line);
    }
    session.send(&list("list"));
    assert_eq!(answer(&mut session)["id"], "list");
    session.finish();
}

#[test]
fn the_end_of_input_ends_a_wait_with_what_is_known() {
    for how in [Session::start, Session::start_on_socket] {
        let fake = host(50, true);
        let mut session = start(&fake, how);
        session.send(&stop("call"));
        progress(&mut session);
        session.send(&list("list"));
        session.close();
        let closed = Instant::now();
        assert_eq!(answer(&mut session)["id"], "list");
        let result = answer(&mut session);
        assert_eq!(result["id"], "call");
        let text = result["result"]["content"][0]["text"]
            .as_str()
            .unwrap_or_default();
        assert!(
            text.contains("not finished") && text.contains(UPID),
            "{text}"
        );
        // The wait was cut short, so its usual length is not mentioned.
        assert!(!text.contains(" after "), "{text}");
        assert_eq!(session.finish().messages, Vec::<Value>::new());
        assert!(
            closed.elapsed() < Duration::from_millis(500),
            "{:?}",
            closed.elapsed()
        );
    }
}
