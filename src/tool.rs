//! What a tool is, and how a call of one runs.

use serde_json::{Map, Value};

use crate::settings::Settings;

/// One MCP tool: everything the server knows about it.
pub(crate) struct Tool {
    /// Its name for people.
    pub(crate) title: &'static str,
}

/// What a call gives back.
pub(crate) struct Outcome {
    pub(crate) text: String,
    /// An object; absent for errors.
    pub(crate) structured: Option<Value>,
    pub(crate) is_error: bool,
}

/// What all calls share: the settings and, once one was needed, the connection.
pub(crate) struct Context {}

impl Context {
    pub(crate) fn new(_settings: Settings) -> Self {
        Self {}
    }

    /// For `--demo`: the recorded cluster answers.
    pub(crate) fn demo(_settings: Settings) -> Self {
        Self {}
    }

    /// Whether the recorded cluster answers.
    pub(crate) fn is_demo(&self) -> bool {
        false
    }

    /// Whether elevated tools may be called.
    pub(crate) fn allows_elevated(&self) -> bool {
        false
    }
}

impl Tool {
    /// Its entry in `tools/list`.
    pub(crate) fn definition(&self, name: &str) -> Value {
        serde_json::json!({ "name": name, "title": self.title })
    }

    /// Gate, arguments, requests, text: never fails, since every failure is for the model to read.
    pub(crate) fn call(&self, _context: &Context, _arguments: Map<String, Value>) -> Outcome {
        Outcome {
            text: String::new(),
            structured: None,
            is_error: true,
        }
    }
}
