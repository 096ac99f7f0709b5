//! Each tool, called over MCP, sends and returns what its fixture shows.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::fake::Fake;
use crate::fixture::{self, Fixture};
use crate::snapshot;

#[test]
fn each_tool_sends_and_returns_what_its_fixture_shows() {
    let problems: Vec<String> = fixture::tools()
        .iter()
        .flat_map(|tool| replay(tool))
        .collect();
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n\n"));
}

#[test]
fn every_tool_has_a_fixture() {
    let fake = Fake::start();
    let listed = Session::start(&fake).request("tools/list", &json!({}));
    let listed = listed.expect("tools are listed");
    let tools = listed["tools"].as_array().expect("an array of tools");
    let tools: BTreeSet<&str> = tools
        .iter()
        .filter_map(|tool| tool["name"].as_str())
        .collect();
    let fixtures = fixture::tools();
    let fixtures: BTreeSet<&str> = fixtures.iter().map(String::as_str).collect();
    let without: Vec<&&str> = tools.difference(&fixtures).collect();
    let unknown: Vec<&&str> = fixtures.difference(&tools).collect();
    assert!(
        without.is_empty() && unknown.is_empty(),
        "tools without a fixture: {without:?}; fixtures without a tool: {unknown:?}"
    );
}

/// Plays all cases of one tool; says what is not as its fixture shows it.
fn replay(tool: &str) -> Vec<String> {
    let path = fixture::path(tool);
    let mut fixture = match Fixture::of(tool) {
        Ok(fixture) => fixture,
        Err(problem) => return vec![problem],
    };
    let fake = Fake::start();
    let mut session = Session::start(&fake);
    let mut problems = Vec::new();
    for case in &mut fixture.cases {
        fake.play(case.exchanges.clone());
        let called = session.call(tool, json!(case.arguments));
        let wrong = fake
            .problems()
            .into_iter()
            .chain(called.as_ref().err().cloned());
        problems.extend(wrong.map(|problem| format!("{path}: {}:\n    {problem}", case.shows)));
        let Ok((text, structured)) = called else {
            break;
        };
        case.text = text.split('\n').map(str::to_owned).collect();
        case.structured = structured;
    }
    // What came of a wrong request is not worth a look, and must not get into the file.
    if problems.is_empty() {
        problems.extend(snapshot::difference(&path, &fixture.render()));
    }
    problems
}

/// The program, connected to a fake host.
struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    fn start(fake: &Fake) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_proxmox-mcp"))
            .env_clear()
            .envs(fake.environment())
            .env("PROXMOX_ALLOW_ELEVATED", "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut session = Self {
            child,
            input,
            output,
        };
        let hello = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        });
        // Where this fails, so does all that follows, and says so.
        let _ = session.request("initialize", &hello);
        let _ = writeln!(
            session.input,
            r#"{{"jsonrpc":"2.0","method":"notifications/initialized"}}"#
        );
        session
    }

    /// The text and the structured content of a call.
    fn call(&mut self, tool: &str, arguments: Value) -> Result<(String, Option<Value>), String> {
        let params = json!({ "name": tool, "arguments": arguments });
        let result = self.request("tools/call", &params)?;
        let structured = result.get("structuredContent").cloned();
        let one_text = match result["content"].as_array().map(Vec::as_slice) {
            Some([content]) => content["type"] == "text",
            _ => false,
        };
        let is_error = result["isError"] == true;
        if !one_text || is_error == structured.as_ref().is_some_and(Value::is_object) {
            return Err(format!(
                "neither a success nor an error of a tool: {result}"
            ));
        }
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        Ok((text.to_owned(), structured))
    }

    /// The result of a request.
    fn request(&mut self, method: &str, params: &Value) -> Result<Value, String> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut line = String::new();
        writeln!(self.input, "{request}")
            .and_then(|()| self.output.read_line(&mut line))
            .map_err(|error| format!("{method}: {error}"))?;
        let mut answer: Value =
            serde_json::from_str(&line).map_err(|_| format!("{method} is answered by {line:?}"))?;
        match answer.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(format!("{method} is answered by {answer}")),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It has nothing to finish, and the result is no concern of a test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
