//! What a call waits for before it ends, and what follows, as data that the caller of the tool keeps.

use std::fmt;
use std::time::Duration;

use super::Answer;
use crate::error::Error;
use crate::param::Args;
use crate::pve::reader::Reader;
use crate::request::{Reply, Request};

/// Something other than a task that is polled until it ends.
pub(crate) trait Pollable {
    /// Polls it once; returns the answer if it has ended.
    fn poll(&self, client: &Reader, args: &Args) -> Result<Option<Answer>, Error>;

    /// Returns the answer for the case that it has not ended by the time limit.
    fn unfinished(&self, args: &Args) -> Answer;
}

/// Something to wait for, and for how long.
pub(crate) struct Wait {
    pub(crate) subject: Box<dyn Pollable>,
    pub(crate) limit: Duration,
}

/// A change that follows a successful task. It passes the gate when it is sent.
pub(crate) struct FollowUp {
    pub(crate) request: Request,
    pub(crate) reply: Reply,
    /// What it does: `Start VM 200`.
    pub(crate) what: String,
    /// The line to add once it was sent.
    pub(crate) note: String,
    /// The line to add if the call ends before the task.
    pub(crate) unsent: &'static str,
    /// What failed and what to do, if it fails.
    pub(crate) failure: [String; 2],
    /// The change that follows this one.
    pub(crate) next: Option<Box<FollowUp>>,
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wait for {:?}", self.limit)
    }
}

/// Omits the request, whose parameters may be secret.
impl fmt::Debug for FollowUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FollowUp {}", self.what)
    }
}
