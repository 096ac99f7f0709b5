//! Names the host that answered a call if it is not the first one configured.

use crate::pve::hosts::AnsweredBy;
use crate::tool::{CallState, Context, End, Outcome};

/// Advances a call, and adds the host to its outcome.
pub(super) fn naming_host<'a>(
    context: &Context,
    advance: impl FnOnce() -> CallState<'a>,
) -> CallState<'a> {
    // A call may end without sending anything.
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
    /// Adds a line and a key with the host that answered last, unless it is the first one.
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
