//! Names the host that answered a call if it is not the first one configured.

use crate::pve::hosts::AnsweredBy;
use crate::tool::{CallState, Context, End, Outcome};

/// Advances a call, and names the host in its outcome.
pub(super) fn naming_host<'a>(
    context: &Context,
    advance: impl FnOnce() -> CallState<'a>,
) -> CallState<'a> {
    // A call may end before anything is sent.
    if let Some(cluster) = context.cluster.get() {
        cluster.forget_host();
    }
    match (advance(), context.cluster.get()) {
        (CallState::Ended(End::Outcome(outcome)), Some(cluster)) => {
            CallState::Ended(End::Outcome(outcome.with_host(cluster.answered_by())))
        }
        (state, _) => state,
    }
}

impl Outcome {
    /// Adds a line and a key for the host that answered last, if it is not the first one.
    pub(crate) fn with_host(mut self, answered: Option<AnsweredBy>) -> Self {
        if let Some(answered) = answered {
            self.text = format!("{}\n\n{answered}", self.text.trim_end());
            if let Some(structured) = &mut self.structured {
                structured["answered_by"] = answered.host.into();
            }
        }
        self
    }
}
