//! A question to the user, as plain data in the error of a call that needs an answer first.

use serde_json::{Value, json};

/// A question to the user.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) message: String,
    /// The name of the only value in the answer.
    pub(crate) field: &'static str,
    /// The value that confirms.
    pub(crate) word: String,
    /// The state that must come back with the answer, if the client stores it.
    pub(crate) state: String,
}

/// The names of that value: for one guest, for several, and otherwise.
pub(crate) const FIELDS: [&str; 3] = ["vmid", "count", "confirm"];

impl Question {
    /// Returns the parameters of `elicitation/create`, except its mode.
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
                        "count" => "Number of guests",
                        _ => "Confirmation",
                    },
                    "description": format!("Type {word} to confirm"),
                } },
                "required": [field],
            },
        })
    }
}
