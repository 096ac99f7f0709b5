//! The cluster as tools see it: reads go straight to it, changes go through the gate.

use std::ops::Deref;

use serde_json::Value;

use super::Gate;
use super::files::Files;
use crate::error::Error;
use crate::pve::reader::Reader;
use crate::request::{Reply, Request};

/// A reader that can also send the changes that the gate lets through.
pub(crate) struct Client<'a> {
    reader: Reader<'a>,
    gate: &'a Gate<'a>,
}

impl<'a> Client<'a> {
    pub(crate) fn new(reader: Reader<'a>, gate: &'a Gate<'a>) -> Self {
        Self { reader, gate }
    }

    /// Sends a request that changes something and returns the `data` of the answer, which always confirms the
    /// change.
    pub(crate) fn change(&self, request: &Request, reply: Reply) -> Result<Value, Error> {
        let pass = self.gate.authorize(&self.reader, request)?;
        let outcome = self.gate.state.changes.send(&self.reader, request, reply);
        self.gate.record_outcome(pass, &outcome);
        Ok(outcome?["data"].take())
    }
}

impl Client<'_> {
    /// Returns the files of this machine that may be sent or created.
    pub(crate) fn files(&self) -> Files<'_> {
        Files(&self.gate.safety.upload_dirs)
    }

    /// Sets the object about to be changed: question and preview show it, and the loss may depend on it.
    pub(crate) fn show_before(&self, object: &Value) {
        object.clone_into(&mut self.gate.before.borrow_mut());
    }

    /// Sets what was found out about the effects of the change, for the question and the preview.
    pub(crate) fn show_findings(&self, lines: &[String]) {
        lines.clone_into(&mut self.gate.findings.borrow_mut());
    }
}

impl<'a> Deref for Client<'a> {
    type Target = Reader<'a>;

    fn deref(&self) -> &Reader<'a> {
        &self.reader
    }
}
