//! The cluster as tools see it: requests go out, data or errors a model can act on come back.

use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::error::{Error, Refusal};
use crate::pve::demo::Demonstration;
use crate::pve::http::{Failure, Http};
use crate::pve::request::{Method, Request};
use crate::settings::Connection;

/// The one way to the cluster: everything that is sent goes through [`Client::answer`].
pub(crate) struct Client {
    cluster: Cluster,
    /// `user@realm!name`, for error texts.
    token_id: String,
}

/// Who answers.
enum Cluster {
    Demonstration(Demonstration),
    Host(Http),
}

impl Client {
    pub(crate) fn new(connection: &Connection) -> Self {
        Self {
            cluster: Cluster::Host(Http::new(connection)),
            token_id: connection.token_id.clone(),
        }
    }

    pub(crate) fn demo(demonstration: Demonstration) -> Self {
        Self {
            cluster: Cluster::Demonstration(demonstration),
            token_id: "demo@pve!mcp".to_owned(),
        }
    }

    /// Told before each call: the demonstration then replays the recording of that tool.
    pub(crate) fn begin(&self, tool: &str) {
        if let Cluster::Demonstration(demonstration) = &self.cluster {
            demonstration.begin(tool);
        }
    }

    /// The `data` of the answer.
    pub(crate) fn send(&self, request: &Request) -> Result<Value, Error> {
        Ok(self.answer(request)?["data"].take())
    }

    /// The `data` at `path`, which has no part to fill in.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Error> {
        self.send(&Request::new(Method::Get, path))
    }

    /// The whole answer: `data`, and on a few endpoints `total` or `changes` beside it.
    pub(crate) fn answer(&self, request: &Request) -> Result<Value, Error> {
        let reply = match &self.cluster {
            Cluster::Demonstration(demonstration) => demonstration.exchange(request),
            Cluster::Host(http) => http.exchange(request),
        };
        let reply = reply.map_err(|failure| Error::Unanswered {
            request: request.to_string(),
            failure,
        })?;
        if (200..300).contains(&reply.status) {
            return match reply.body {
                // A web server that is none of Proxmox.
                body if body.get("data").is_none() && !body.is_null() => Err(Error::Unanswered {
                    request: request.to_string(),
                    failure: Failure::MaybeProcessed {
                        cause: "the answer is not that of the Proxmox API".to_owned(),
                        remedy: "Check that PROXMOX_HOST and PROXMOX_PORT are those of a Proxmox VE node."
                            .to_owned(),
                    },
                }),
                body => Ok(body),
            };
        }
        let refusal = Refusal::new(
            request,
            reply.status,
            &reply.reason,
            &reply.body,
            &self.token_id,
        );
        Err(Error::Refused(Box::new(refusal)))
    }

    /// Seconds since 1970. The demonstration's clock stands at the time of its recording.
    pub(crate) fn now(&self) -> u64 {
        match &self.cluster {
            Cluster::Demonstration(_) => Demonstration::RECORDED_AT,
            Cluster::Host(_) => SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        }
    }

    /// Waits; in the demonstration nothing takes time.
    pub(crate) fn sleep(&self, delay: Duration) {
        match &self.cluster {
            Cluster::Demonstration(_) => (),
            Cluster::Host(_) => thread::sleep(delay),
        }
    }
}
