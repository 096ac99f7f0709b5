//! A question to a person, as plain data: whoever is refused for want of an answer holds it.

use serde_json::{Value, json};

/// A question to a person.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) message: String,
    /// The name of the one value in the answer, and what it must be.
    pub(crate) field: &'static str,
    pub(crate) word: String,
    /// What must come back with the answer, where the client keeps it.
    pub(crate) state: String,
}

/// What the one value in an answer is called: about a guest, and otherwise.
pub(crate) const FIELDS: [&str; 2] = ["vmid", "confirm"];

impl Question {
    /// The parameters of `elicitation/create`, but for its mode.
    pub(crate) fn params(&self) -> Value {
        let Self { field, word, .. } = self;
        json!({
            "message": self.message,
            "requestedSchema": {
                "type": "object",
                "properties": { *field: {
                    "type": "string",
                    "title": match *field {
                        "vmid" => "VMID",
                        _ => "Confirmation",
                    },
                    "description": format!("Type {word} to confirm"),
                } },
                "required": [field],
            },
        })
    }
}
