//! A program under measurement, and an MCP session with it over its standard input and output.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How a program is started.
pub(crate) struct Program {
    path: String,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

/// What a call costs.
pub(crate) struct Cost {
    pub(crate) time: Duration,
    pub(crate) cpu: Duration,
    /// The most memory that the program ever held, in kB.
    pub(crate) peak: u64,
}

impl Program {
    /// The server, or the build of it that `PROXMOX_MCP` names, such as the static file.
    pub(crate) fn server(port: u16) -> Self {
        let built = || env!("CARGO_BIN_EXE_proxmox-mcp").to_owned();
        let ca = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tls/ca.pem");
        Self {
            path: env::var("PROXMOX_MCP").unwrap_or_else(|_| built()),
            arguments: Vec::new(),
            environment: vec![
                ("PROXMOX_HOST", format!("localhost:{port}")),
                ("PROXMOX_TOKEN_NAME", "bench".to_owned()),
                (
                    "PROXMOX_TOKEN_VALUE",
                    "12345678-9abc-4def-8123-456789abcdef".to_owned(),
                ),
                ("PROXMOX_CA_FILE", ca.to_owned()),
                ("PROXMOX_ALLOW_ELEVATED", "true".to_owned()),
            ],
        }
    }

    /// This executable as another program.
    pub(crate) fn floor(arguments: &[&str]) -> Self {
        let path = env::current_exe().expect("this program runs from a file");
        Self {
            path: path.to_str().expect("its name is text").to_owned(),
            arguments: arguments
                .iter()
                .map(|argument| (*argument).to_owned())
                .collect(),
            environment: Vec::new(),
        }
    }
}

/// A program that runs.
pub(crate) struct Session {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    asked: u64,
}

impl Session {
    pub(crate) fn start(program: &Program) -> Self {
        let mut child = Command::new(&program.path)
            .args(&program.arguments)
            .env_clear()
            .envs(
                program
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().expect("it is piped")),
            child,
            asked: 0,
        }
    }

    /// One that has been opened.
    pub(crate) fn open(program: &Program) -> Self {
        let mut session = Self::start(program);
        session.greet();
        session
    }

    /// Opens it; what was answered.
    pub(crate) fn greet(&mut self) -> String {
        self.ask(&json!({ "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "bench", "version": "1" },
        }}))
    }

    /// Sends a request and reads its answer.
    pub(crate) fn ask(&mut self, message: &Value) -> String {
        self.send(message, 1);
        self.read()
    }

    /// Sends the same request so many times, then reads all answers.
    pub(crate) fn ask_all(&mut self, message: &Value, times: u64) {
        self.send(message, times);
        for _ in 0..times {
            self.read();
        }
    }

    fn send(&mut self, message: &Value, times: u64) {
        let mut lines = String::new();
        for _ in 0..times {
            self.asked += 1;
            let mut message = message.clone();
            message["jsonrpc"] = "2.0".into();
            message["id"] = self.asked.into();
            lines.push_str(&format!("{message}\n"));
        }
        let input = self.input.as_mut().expect("the session is open");
        input
            .write_all(lines.as_bytes())
            .expect("the program reads");
    }

    fn read(&mut self) -> String {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .expect("the program answers in text");
        let failed =
            line.is_empty() || line.contains(r#""error":"#) || line.contains(r#""isError":true"#);
        assert!(!failed, "{line}");
        line
    }

    /// What it has computed so far, on all cores (`proc_pid_schedstat(5)`).
    pub(crate) fn cpu(&self) -> Duration {
        let text = self.proc("schedstat");
        let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
        Duration::from_nanos(nanoseconds.expect("a number"))
    }

    /// The most memory that it ever held, in kB.
    pub(crate) fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// The memory that it holds, in kB.
    pub(crate) fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    fn memory(&self, name: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        number.expect("a number of kB")
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(path).expect("it runs")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.input = None;
        // Whatever became of it, it has no part in the next measurement.
        let _ = self.child.wait();
    }
}

pub(crate) fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}
