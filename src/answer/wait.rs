//! What a call waits for before it ends, and what it does then: data, which whoever runs the call keeps.

use std::fmt;
use std::time::Duration;

use super::Answer;
use crate::error::Error;
use crate::param::Args;
use crate::pve::reader::Reader;
use crate::request::{Reply, Request};

/// Something that is no task, and that is looked at until it has ended.
pub(crate) trait Pollable {
    /// Looks at it once: what to say once it has ended.
    fn poll(&self, client: &Reader, args: &Args) -> Result<Option<Answer>, Error>;

    /// What to say of it where it still goes on and is no longer waited for.
    fn unfinished(&self, args: &Args) -> Answer;
}

/// Something to wait for, and for how long.
pub(crate) struct Wait {
    pub(crate) subject: Box<dyn Pollable>,
    pub(crate) limit: Duration,
}

/// A change that follows the good end of a task. It passes the gate when it is sent.
pub(crate) struct FollowUp {
    pub(crate) request: Request,
    pub(crate) reply: Reply,
    /// What it does: `Start VM 200`.
    pub(crate) what: String,
    /// What is said once it was sent.
    pub(crate) note: String,
    /// What is said where the task was not waited for to its end.
    pub(crate) unsent: &'static str,
    /// What is said where it fails: what has failed, and what to do.
    pub(crate) failure: [String; 2],
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wait for {:?}", self.limit)
    }
}

/// Without the request, whose parameters can be secret.
impl fmt::Debug for FollowUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FollowUp {}", self.what)
    }
}
