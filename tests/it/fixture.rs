//! The files of `fixtures/tools`, calls of a tool and the exchanges behind each, and those of
//! `fixtures/answers`, what each call returns.
//!
//! The first are written by hand, and the demonstration is made of them. The second are written by
//! `UPDATE_FIXTURES=1 cargo test`, to be read.

use std::fs;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::snapshot;

/// What one tool does.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fixture {
    /// The source of the exchanges: `recorded, PVE 9.0.3` or `written from …`.
    #[expect(dead_code, reason = "read by people; that it is there is checked")]
    pub(crate) source: String,
    pub(crate) cases: Vec<Case>,
}

/// One call.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// What only this case of the file shows.
    pub(crate) shows: String,
    pub(crate) arguments: Map<String, Value>,
    pub(crate) exchanges: Vec<Exchange>,
}

/// What a call returned.
pub(crate) struct Answer {
    pub(crate) text: String,
    /// Absent where the call failed.
    pub(crate) structured: Option<Value>,
}

/// One request and its answer.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchange {
    /// Method and path as sent, the path without `/api2/json`.
    pub(crate) request: String,
    /// Each parameter, decoded, as `name=value`, in the order sent.
    #[serde(default)]
    pub(crate) form: Vec<String>,
    #[serde(default = "ok")]
    pub(crate) status: u16,
    /// Where absent: the `message` of the answer, as the host does it.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// The body; absent where it is empty.
    #[serde(default)]
    pub(crate) answer: Option<Value>,
    /// The body where it is a file rather than an answer of the API.
    #[serde(default)]
    pub(crate) file: Option<String>,
}

fn ok() -> u16 {
    200
}

impl Fixture {
    /// The fixture of `tool`, or why it cannot be used.
    pub(crate) fn of(tool: &str) -> Result<Self, String> {
        let path = path(tool);
        let text = fs::read_to_string(snapshot::below_package(&path))
            .map_err(|error| format!("{path}: {error}"))?;
        let fixture: Self =
            serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
        let mut shown: Vec<&str> = fixture.cases.iter().map(|case| &*case.shows).collect();
        shown.sort_unstable();
        match shown.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("{path}: two cases show {:?}", pair[0])),
            None if shown.is_empty() => Err(format!("{path}: no case")),
            None => Ok(fixture),
        }
    }
}

/// What opens a call in a file of answers; no text of a tool begins a line like this.
const MARK: &str = "=== ";

/// The file of answers for these cases.
pub(crate) fn render(cases: &[Case], answers: &[Answer]) -> String {
    let calls = cases.iter().zip(answers).map(|(case, answer)| {
        let Case {
            shows, arguments, ..
        } = case;
        let arguments = Value::Object(arguments.clone());
        let structured = answer
            .structured
            .as_ref()
            .map(|data| format!("\n--- {data}"));
        let structured = structured.unwrap_or_default();
        format!("{MARK}{shows} {arguments}\n{}{structured}\n", answer.text)
    });
    calls.collect::<Vec<_>>().join("\n")
}

/// The text that the first case of `tool` returns.
pub(crate) fn first_answer(tool: &str) -> String {
    let path = answers_path(tool);
    let file = fs::read_to_string(snapshot::below_package(&path))
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    let text = file.split_once('\n').map_or("", |(_, rest)| rest);
    let end = text.find("\n--- ").unwrap_or(text.len());
    text[..end].to_owned()
}

/// The tools that have a fixture, sorted.
pub(crate) fn tools() -> Vec<String> {
    let folder = snapshot::below_package("fixtures/tools");
    let mut tools: Vec<String> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    tools.sort_unstable();
    tools
}

/// Where the fixture of `tool` is, below the package.
pub(crate) fn path(tool: &str) -> String {
    format!("fixtures/tools/{tool}.json")
}

/// Where the answers of `tool` are, below the package.
pub(crate) fn answers_path(tool: &str) -> String {
    format!("fixtures/answers/{tool}.txt")
}
