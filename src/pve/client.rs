//! The cluster as tools see it: requests go out, data or errors a model can act on come back.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::error::{Error, Refusal};
use crate::format;
use crate::peer::{Interruption, Peer};
use crate::pve::demo::Demonstration;
use crate::pve::hosts::{AnsweredBy, Hosts};
use crate::pve::http::Failure;
use crate::pve::request::{Method, Request};
use crate::settings::Connection;

/// The one way to the cluster: everything that is sent goes through [`Client::answer`].
pub(crate) struct Client {
    cluster: Cluster,
    /// `user@realm!name`, for error texts.
    token_id: String,
    /// Who waits for what the tools find out.
    peer: Peer,
}

/// Who answers.
enum Cluster {
    Demonstration(Demonstration),
    Hosts(Hosts),
}

impl Client {
    pub(crate) fn new(connection: &Connection, peer: Peer) -> Self {
        Self {
            cluster: Cluster::Hosts(Hosts::new(connection, peer.clone())),
            token_id: connection.token_id.clone(),
            peer,
        }
    }

    pub(crate) fn demo(demonstration: Demonstration, peer: Peer) -> Self {
        Self {
            cluster: Cluster::Demonstration(demonstration),
            token_id: "demo@pve!mcp".to_owned(),
            peer,
        }
    }

    /// Told before each call: the demonstration then replays the recording of that tool.
    pub(crate) fn begin(&self, tool: &str) {
        if let Cluster::Demonstration(demonstration) = &self.cluster {
            demonstration.begin(tool);
        }
    }

    /// Forgets who answered last.
    pub(crate) fn forget_host(&self) {
        if let Cluster::Hosts(hosts) = &self.cluster {
            hosts.forget();
        }
    }

    /// The host that answered last, where it is not the first.
    pub(crate) fn answered_by(&self) -> Option<AnsweredBy> {
        match &self.cluster {
            Cluster::Demonstration(_) => None,
            Cluster::Hosts(hosts) => hosts.answered_by(),
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
        if self.peer.interruption() == Some(Interruption::Cancelled) {
            return Err(Error::Cancelled);
        }
        if self.peer.is_over() {
            return Err(Error::Unanswered {
                request: request.to_string(),
                failure: Failure::NotSent {
                    what: "the client has closed its end".to_owned(),
                    cause: "the host did not answer in time".to_owned(),
                    remedy: "Keep standard input open until the answers have come.".to_owned(),
                },
            });
        }
        let reply = match &self.cluster {
            Cluster::Demonstration(demonstration) => demonstration.exchange(request),
            Cluster::Hosts(hosts) => hosts.exchange(request),
        };
        let reply = reply.map_err(|failure| match failure {
            Failure::GivenUp if self.peer.interruption() == Some(Interruption::Cancelled) => {
                Error::Cancelled
            }
            failure => self.unanswered(request, failure),
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
                body => {
                    self.note_unwanted(request, &body["data"]);
                    Ok(body)
                }
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

    fn unanswered(&self, request: &Request, failure: Failure) -> Error {
        // Where it took too long to fail, the next would as well.
        self.peer.note_late();
        let failure = match failure {
            Failure::GivenUp => Failure::MaybeProcessed {
                cause: "no answer came before the client closed its end, nor shortly after"
                    .to_owned(),
                remedy: match request.method.only_reads() {
                    true => "Keep standard input open until the answers have come.",
                    false => {
                        "The request was sent and may have been processed: look at the object and the node's task list before repeating this."
                    }
                }
                .to_owned(),
            },
            failure => failure,
        };
        Error::Unanswered {
            request: request.to_string(),
            failure,
        }
    }

    /// Leaves a trace of a change whose answer nobody will see.
    fn note_unwanted(&self, request: &Request, data: &Value) {
        if !request.method.only_reads() && self.peer.interruption() == Some(Interruption::Cancelled)
        {
            let upid = data
                .as_str()
                .filter(|upid| format::upid_node(upid).is_some());
            let upid = upid.unwrap_or("no task");
            log::warn!("{request}: cancelled after it was sent, and done: {upid}");
        }
    }

    /// Seconds since 1970. The demonstration's clock stands at the time of its recording.
    pub(crate) fn now(&self) -> u64 {
        match &self.cluster {
            Cluster::Demonstration(_) => Demonstration::RECORDED_AT,
            Cluster::Hosts(_) => SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        }
    }

    /// Waits, unless the client has enough of it; in the demonstration nothing takes time.
    pub(crate) fn pause(&self, delay: Duration) -> Result<(), Interruption> {
        match &self.cluster {
            Cluster::Demonstration(_) => Ok(()),
            Cluster::Hosts(_) => self.peer.pause(delay),
        }
    }

    /// Who waits.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }
}
