//! HTTP to one Proxmox host: the agent, its connection, and the answers as they came.

use crate::pve::request::Request;
use crate::settings::Connection;

/// The connection to one host.
pub(crate) struct Http {}

/// An answer, whatever its status.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The reason phrase of the status line: the only error text of hosts before PVE 8.4.
    pub(crate) reason: String,
    /// The body as JSON, or `Value::Null` where it is empty or no JSON.
    pub(crate) body: serde_json::Value,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing of the request left this machine, or the host cannot have acted on it.
    NotSent { cause: String, remedy: String },
    /// The request was sent and may have been processed.
    MaybeProcessed { cause: String, remedy: String },
}

impl Http {
    pub(crate) fn new(_connection: &Connection) -> Self {
        Self {}
    }

    /// Sends one request, once.
    pub(crate) fn exchange(&self, _request: &Request) -> Result<Reply, Failure> {
        Err(Failure::NotSent {
            cause: String::new(),
            remedy: String::new(),
        })
    }
}
