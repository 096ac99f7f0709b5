//! The cluster as tools see it: what they read goes straight to it, what they change through the gate.

use std::ops::Deref;

use serde_json::Value;

use super::Gate;
use crate::error::Error;
use crate::pve::reader::Reader;
use crate::request::{Reply, Request};

/// A reader that can change as well what the gate lets through.
pub(crate) struct Client<'a> {
    reader: Reader<'a>,
    gate: &'a Gate<'a>,
}

impl<'a> Client<'a> {
    pub(crate) fn new(reader: Reader<'a>, gate: &'a Gate<'a>) -> Self {
        Self { reader, gate }
    }

    /// Sends a request that changes something, and returns the `data` of its answer: that of a change
    /// that was made, and nothing else.
    pub(crate) fn change(&self, request: &Request, reply: Reply) -> Result<Value, Error> {
        let pass = self.gate.admit(&self.reader, request)?;
        let outcome = self.gate.keeper.changes.send(&self.reader, request, reply);
        self.gate.close(pass, &outcome);
        Ok(outcome?["data"].take())
    }
}

impl Client<'_> {
    /// Notes the object that is about to be changed: the question and the preview show it, and what is lost
    /// can depend on it.
    pub(crate) fn show_before(&self, object: &Value) {
        object.clone_into(&mut self.gate.before.borrow_mut());
    }

    /// Notes what was found out about what the change may do, for the same.
    pub(crate) fn show_findings(&self, lines: Vec<String>) {
        *self.gate.findings.borrow_mut() = lines;
    }
}

impl<'a> Deref for Client<'a> {
    type Target = Reader<'a>;

    fn deref(&self) -> &Reader<'a> {
        &self.reader
    }
}
