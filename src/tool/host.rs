//! The host that answered a call is named where it was not the first.

use crate::pve::hosts::AnsweredBy;
use crate::tool::{Context, End, Outcome, Turn};

/// Goes on with a call, and names the host in its outcome.
pub(super) fn naming<'a>(context: &Context, turn: impl FnOnce() -> Turn<'a>) -> Turn<'a> {
    // A turn may end before anything is sent.
    if let Some(cluster) = context.cluster.get() {
        cluster.forget_host();
    }
    match (turn(), context.cluster.get()) {
        (Turn::Ended(End::Outcome(outcome)), Some(cluster)) => {
            Turn::Ended(End::Outcome(outcome.naming_host(cluster.answered_by())))
        }
        (turn, _) => turn,
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
