//! A running server, and the pipes to it.
//!
//! ```ignore
//! let mut session = Session::start(&[], &[("PROXMOX_HOST", "127.0.0.1:8006")]);
//! let result = session.call("proxmox_get_nodes", json!({}));
//! session.finish();
//! ```
//!
//! The environment has only the given variables. Every wait has a deadline, and every failure shows what the
//! server wrote to standard error. A session that is dropped without [`Session::finish`] kills its server.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

/// How long any one answer may take. Generous, since it only ends tests that fail.
const DEADLINE: Duration = Duration::from_secs(30);

/// The error of [`Session::next`] if the server has closed its output.
const ENDED: &str = "ended without an answer";

/// A running server.
pub(crate) struct Session {
    child: Child,
    /// `None` once it is closed.
    input: Option<Box<dyn Write + Send>>,
    lines: Receiver<String>,
    log: Option<JoinHandle<String>>,
    requests: u32,
}

/// The remaining output of a server.
pub(crate) struct Remains {
    /// The messages that were not received.
    pub(crate) messages: Vec<Value>,
    /// Everything that it wrote to standard error.
    pub(crate) log: String,
}

impl Session {
    /// Starts a server with these arguments and variables, on pipes like those of Python clients.
    #[track_caller]
    pub(crate) fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = command(arguments, variables)
            .stdin(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let input = child.stdin.take().expect("it is piped");
        Self::of(child, Box::new(input))
    }

    /// Starts a server whose standard input is a socket, as with Node clients.
    #[cfg(unix)]
    #[track_caller]
    pub(crate) fn start_on_socket(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        use std::os::fd::OwnedFd;
        use std::os::unix::net::UnixStream;

        let (ours, theirs) = UnixStream::pair().expect("there are sockets");
        // Some clients leave their end in the mode that their own library needs.
        let set = theirs.set_nonblocking(true);
        set.expect("a socket need not block");
        let child = command(arguments, variables)
            .stdin(OwnedFd::from(theirs))
            .spawn()
            .expect("the server starts");
        Self::of(child, Box::new(ours))
    }

    fn of(mut child: Child, input: Box<dyn Write + Send>) -> Self {
        let output = child.stdout.take().expect("it is piped");
        let mut errors = child.stderr.take().expect("it is piped");
        // The pipes are read all the time, so that the server never waits for the test.
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                if sender.send(line.expect("the output is UTF-8")).is_err() {
                    break;
                }
            }
        });
        let log = thread::spawn(move || {
            let mut log = Vec::new();
            errors.read_to_end(&mut log).expect("it can be read");
            String::from_utf8_lossy(&log).into_owned()
        });
        Self {
            child,
            input: Some(input),
            lines,
            log: Some(log),
            requests: 0,
        }
    }

    /// Sends one line.
    #[track_caller]
    pub(crate) fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes());
    }

    /// Sends these bytes without a newline.
    #[track_caller]
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("it is still open");
        if let Err(err) = input.write_all(bytes).and_then(|()| input.flush()) {
            self.fail(&format!("cannot be written to: {err}"));
        }
    }

    /// Keeps sending this line from now on, as fast as the server reads, until the server ends.
    pub(crate) fn flood(&mut self, line: &str) {
        let mut input = self.input.take().expect("it is still open");
        let lines = format!("{line}\n").repeat(1_000);
        thread::spawn(move || while input.write_all(lines.as_bytes()).is_ok() {});
    }

    /// Closes the input: the server answers what it was sent, and ends.
    pub(crate) fn close(&mut self) {
        self.input = None;
    }

    /// Returns the next message.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> Value {
        match self.next() {
            Ok(message) => message,
            Err(reason) => self.fail(&reason),
        }
    }

    /// Returns the next message, or why there is none.
    pub(crate) fn next(&mut self) -> Result<Value, String> {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => serde_json::from_str(&line)
                .map_err(|err| format!("wrote a line that is no JSON: {err}: {line}")),
            Err(RecvTimeoutError::Timeout) => Err("did not answer in time".to_owned()),
            Err(RecvTimeoutError::Disconnected) => Err(ENDED.to_owned()),
        }
    }

    /// Sends a request of revision 2026-07-28 and returns its answer, which must be the next message.
    #[track_caller]
    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        self.request_as(json!({}), method, params)
    }

    /// Does the same for a client with these capabilities.
    #[track_caller]
    pub(crate) fn request_as(
        &mut self,
        capabilities: Value,
        method: &str,
        mut params: Value,
    ) -> Value {
        self.requests += 1;
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": capabilities,
        });
        let id = self.requests;
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.send(&request.to_string());
        let answer = self.receive();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    /// Calls a tool and returns its result.
    #[track_caller]
    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let params = json!({ "name": tool, "arguments": arguments });
        let mut answer = self.request("tools/call", params);
        assert!(answer["result"].is_object(), "{answer}");
        answer["result"].take()
    }

    /// Closes the input and waits for the end, which must be a success.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Remains {
        self.close();
        let mut messages = Vec::new();
        loop {
            match self.next() {
                Ok(message) => messages.push(message),
                Err(reason) if reason == ENDED => break,
                Err(reason) => self.fail(&reason),
            }
        }
        let status = self.child.wait().expect("it can be waited for");
        let log = self.log();
        assert_eq!(
            status.code(),
            Some(0),
            "{status}; it wrote to standard error:\n{log}"
        );
        Remains { messages, log }
    }

    #[track_caller]
    fn fail(&mut self, what: &str) -> ! {
        let _: io::Result<()> = self.child.kill();
        panic!(
            "the server {what}; it wrote to standard error:\n{}",
            self.log()
        );
    }

    fn log(&mut self) -> String {
        match self.log.take() {
            Some(log) => log.join().expect("reading it does not panic"),
            None => String::new(),
        }
    }
}

/// Returns the program, with pipes for its output.
fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Drop for Session {
    fn drop(&mut self) {
        // It has already ended, unless the test failed.
        let _: io::Result<()> = self.child.kill();
        let _ = self.child.wait();
    }
}
