//! The host that answered a call is named where it was not the first.

use crate::pve::hosts::AnsweredBy;
use crate::tool::{Context, End, Outcome};

/// Runs a call, and names the host in its outcome.
pub(super) fn naming(context: &Context, call: impl FnOnce() -> End) -> End {
    // A call may end before anything is sent.
    if let Some(cluster) = context.cluster.get() {
        cluster.forget_host();
    }
    match (call(), context.cluster.get()) {
        (End::Outcome(outcome), Some(cluster)) => {
            End::Outcome(outcome.naming_host(cluster.answered_by()))
        }
        (end, _) => end,
    }
}

impl Outcome {
    /// The same, with a line and a key for the host that answered last, where it is not the first.
    pub(crate) fn naming_host(mut self, answered: Option<AnsweredBy>) -> Self {
        if let Some(answered) = answered {
            self.text = format!("{}\n\n{answered}", self.text.trim_end());
            if let Some(structured) = &mut self.structured {
                structured["answered_by"] = answered.host.into();
            }
        }
        self
    }
}
