//! The files of `fixtures/tools`: calls of one tool, the exchanges behind each, and what it returns.

use std::fs;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::snapshot;

/// One file: what one tool does.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fixture {
    /// Where the exchanges come from: `recorded, PVE 9.0.3` or `written from …`.
    pub(crate) source: String,
    pub(crate) cases: Vec<Case>,
}

/// One call.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// What it shows, as no other case of the file does.
    pub(crate) shows: String,
    pub(crate) arguments: Map<String, Value>,
    pub(crate) exchanges: Vec<Exchange>,
    /// The lines of the text that the call returns.
    pub(crate) text: Vec<String>,
    /// Absent where the call fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) structured: Option<Value>,
}

/// One request and its answer.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchange {
    /// Method and path as sent, the path without `/api2/json`.
    pub(crate) request: String,
    /// Each parameter, decoded, as `name=value`, in the order sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) form: Vec<String>,
    #[serde(default = "ok", skip_serializing_if = "is_ok")]
    pub(crate) status: u16,
    /// Where absent: the `message` of the answer, as the host does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The body; absent where it is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<Value>,
}

fn ok() -> u16 {
    200
}

fn is_ok(status: &u16) -> bool {
    *status == ok()
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

    /// The file that holds it.
    pub(crate) fn render(&self) -> String {
        let json = serde_json::to_string_pretty(self).expect("its maps have text for keys");
        json + "\n"
    }
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
