//! The hosts of one cluster: a request goes to the host that answered last, and to the next only if none of
//! it was sent.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::Failure;
use crate::mcp::connection::Peer;
use crate::pve::http::{Credentials, Http, Progress};
use crate::pve::trust;
use crate::request::Request;
use crate::request::Response;
use crate::settings::Connection;
use crate::text;

#[cfg(test)]
mod tests;

/// How long connecting to a host may take, TLS handshake included.
pub(super) const LONGEST_CONNECT: Duration = Duration::from_secs(10);

/// The same, with several hosts.
const LONGEST_CONNECT_OF_SEVERAL: Duration = Duration::from_secs(5);

/// How long connecting to all hosts in turn may take, apart from resolving their names, which resolv.conf
/// limits. Clients give up on a call after 60 s.
const LONGEST_CONNECT_OF_ALL: Duration = Duration::from_secs(20);

/// When to try the first host, which is preferred, again after it could not be reached. If it accepted a
/// request without answering, the wait is ten times as long, since trying it may cost another call.
const RETURN_AFTER: Duration = Duration::from_secs(60);

/// The hosts of a connection.
pub(crate) struct Hosts {
    nodes: Vec<Node>,
    /// The host to try first.
    current: Cell<usize>,
    /// When to try the first host first again, after it failed.
    return_at: Cell<Option<Instant>>,
    return_after: Duration,
    /// The host that answered the last request.
    answered: Cell<Option<usize>>,
}

struct Node {
    /// With its port.
    name: String,
    http: Http,
    /// Why it could not be used last time.
    fault: RefCell<Option<String>>,
}

/// The host that answered, if it was not the first.
pub(crate) struct AnsweredBy {
    /// With its port.
    pub(crate) host: String,
    /// Why the hosts before it did not answer.
    faults: String,
}

impl Hosts {
    /// Creates the hosts without connecting.
    pub(crate) fn new(connection: &Connection, peer: Peer) -> Self {
        Self::with(connection, peer, &trust::system_bundles(), RETURN_AFTER)
    }

    fn with(
        connection: &Connection,
        peer: Peer,
        bundles: &[PathBuf],
        return_after: Duration,
    ) -> Self {
        let hosts = &connection.hosts;
        let nodes = hosts.iter().map(|host| Node {
            name: host.to_string(),
            http: Http::new(
                connection,
                host,
                longest_connect(hosts.len()),
                peer.clone(),
                bundles.to_vec(),
            ),
            fault: RefCell::new(None),
        });
        Self {
            nodes: nodes.collect(),
            current: Cell::new(0),
            return_at: Cell::new(None),
            return_after,
            answered: Cell::new(None),
        }
    }

    /// Sends a request to one host after another until one accepts it.
    ///
    /// A host that received any part of it is the last to get it, whatever the outcome. If that host did not
    /// answer, the next request tries another first.
    pub(crate) fn exchange(&self, request: &Request) -> Result<Response, Failure> {
        self.exchange_as(request, None)
    }

    /// Does the same as somebody other than the API token.
    pub(super) fn exchange_as(
        &self,
        request: &Request,
        other: Option<&Credentials>,
    ) -> Result<Response, Failure> {
        self.answered.set(None);
        let mut failures = Vec::new();
        for place in self.order() {
            let http = &self.nodes[place].http;
            let failure = match http.exchange_as(request, other) {
                Ok(reply) => {
                    self.settle_on(place, failures);
                    return Ok(reply);
                }
                Err(given_up @ Failure::GivenUp { .. }) => return Err(given_up),
                Err(failure) => failure,
            };
            match http.progress() {
                Progress::Answered => {
                    self.settle_on(place, failures);
                    return Err(self.naming(place, failure));
                }
                Progress::Sent => {
                    self.note(failures);
                    self.turn_from(place);
                    return Err(self.naming(place, failure));
                }
                Progress::NotSent => {
                    self.put_off(place, self.return_after);
                    failures.push((place, failure));
                }
            }
        }
        Err(unreachable(failures))
    }

    /// Returns all hosts in the order to try them.
    fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let current = self.current.get();
        let is_due = self.return_at.get().is_none_or(|at| at <= Instant::now());
        let first = (is_due && current != 0).then_some(0);
        let rest = (current..self.nodes.len()).chain(0..current);
        let rest = rest.filter(move |place| first != Some(*place));
        first.into_iter().chain(rest)
    }

    /// Stays with a host that answered after others failed.
    fn settle_on(&self, place: usize, failures: Vec<(usize, Failure)>) {
        self.note(failures);
        self.nodes[place].fault.take();
        self.current.set(place);
        self.answered.set(Some(place));
    }

    /// Turns to the next host after this one accepted a request without answering.
    fn turn_from(&self, place: usize) {
        let node = &self.nodes[place];
        node.fault
            .replace(Some(format!("{} gave no answer", node.name)));
        self.put_off(place, self.return_after * 10);
        self.current.set((place + 1) % self.nodes.len());
    }

    /// Records that a host failed; if it is the first, requests try others before it for this long.
    fn put_off(&self, place: usize, delay: Duration) {
        if place == 0 {
            self.return_at.set(Some(Instant::now() + delay));
        }
    }

    /// Records why hosts could not be used. Logs it if it is new, since another host's answer hides it.
    fn note(&self, failures: Vec<(usize, Failure)>) {
        for (place, failure) in failures {
            let Some((what, cause, remedy)) = parts(failure) else {
                continue;
            };
            let line = cause.lines().next().unwrap_or_default();
            let fault = format!("{what}: {}", line.trim_end_matches('.'));
            let fault = Some(text::cut(&text::inline(&fault), 200));
            if self.nodes[place].fault.replace(fault.clone()) != fault {
                log::warn!("{what}: {cause}\n{remedy}");
            }
        }
    }

    /// Adds the host's name to a failure, if there are several hosts.
    fn naming(&self, place: usize, failure: Failure) -> Failure {
        match failure {
            Failure::MaybeProcessed {
                what,
                cause,
                remedy,
            } if self.nodes.len() > 1 => Failure::MaybeProcessed {
                what,
                cause: format!("{}: {cause}", self.nodes[place].name),
                remedy,
            },
            failure => failure,
        }
    }

    /// Returns the addresses of both ends of the connection to the host that answered last, this machine's
    /// first.
    pub(crate) fn ends(&self) -> Option<(IpAddr, SocketAddr)> {
        self.nodes[self.answered.get()?].http.ends()
    }

    /// Forgets which host answered the last request.
    pub(crate) fn forget(&self) {
        self.answered.set(None);
    }

    /// Returns the host that answered the last request, unless it was the first.
    pub(crate) fn answered_by(&self) -> Option<AnsweredBy> {
        let place = self.answered.get().filter(|place| *place > 0)?;
        let before = self.nodes[..place].iter();
        let faults: Vec<String> = before
            .filter_map(|node| node.fault.borrow().clone())
            .collect();
        Some(AnsweredBy {
            host: self.nodes[place].name.clone(),
            faults: text::cut(&faults.join("; "), 500),
        })
    }
}

impl fmt::Display for AnsweredBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answered by {} ({})", self.host, self.faults)
    }
}

/// Returns how long connecting to one of this many hosts may take.
pub(super) fn longest_connect(hosts: usize) -> Duration {
    match u32::try_from(hosts) {
        Ok(0 | 1) => LONGEST_CONNECT,
        Ok(hosts) => LONGEST_CONNECT_OF_SEVERAL.min(LONGEST_CONNECT_OF_ALL / hosts),
        Err(_) => Duration::ZERO,
    }
}

/// Returns the failure if no host accepted the request: each cause and remedy, with repeated remedies once.
fn unreachable(mut failures: Vec<(usize, Failure)>) -> Failure {
    if failures.len() == 1 {
        return failures.remove(0).1;
    }
    let what = format!("none of {} hosts can be used", failures.len());
    let mut reasons = Vec::new();
    let mut advice = String::new();
    for (what, cause, remedy) in failures
        .into_iter()
        .filter_map(|(_, failure)| parts(failure))
    {
        if remedy != advice && !advice.is_empty() {
            reasons.push(advice);
        }
        reasons.push(format!("{what}: {cause}"));
        advice = remedy;
    }
    Failure::NotSent {
        what,
        cause: reasons.join("\n"),
        remedy: advice,
    }
}

/// Returns what, cause and remedy of a request that was not sent.
fn parts(failure: Failure) -> Option<(String, String, String)> {
    match failure {
        Failure::NotSent {
            what,
            cause,
            remedy,
        } => Some((what, cause, remedy)),
        Failure::NotRecorded { .. } | Failure::MaybeProcessed { .. } | Failure::GivenUp { .. } => {
            None
        }
    }
}
