//! What a request risks, which its user may have to confirm first.
//!
//! A risk is the declared harm, judged for the request that is about to be sent.

use crate::row::Loss;

/// What a request destroys, interrupts or runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Risk {
    /// A program runs inside the guest with this standard input.
    Command {
        argv: Vec<String>,
        input: Option<String>,
    },
    /// The declared harm: what the request does, unless the sentence of the loss says so, what is lost, and
    /// the object before the change.
    Loss {
        does: Option<String>,
        loss: Loss,
        before: String,
    },
    DeleteGuest,
    DeleteSnapshot(String),
    /// A volume on a storage of a node.
    DeleteVolume {
        storage: String,
        volume: String,
    },
    /// Options are changed that protect the guest or run something on its node.
    Options(Vec<GuestOption>),
    /// Disks or mount points are removed from these slots of the guest; whether their volumes are erased.
    RemoveDisks {
        slots: Vec<String>,
        erases: bool,
    },
    /// This backup replaces an existing guest.
    RestoreOver(String),
    Rollback(String),
    /// The guest is stopped hard, if it is running.
    Stop,
    /// Nothing is known about this request.
    Unknown(String),
}

/// An option that is changed, and its new value unless it is removed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum GuestOption {
    Hookscript(Option<String>),
    Lock(Option<String>),
    /// It is lifted.
    Protection,
}

/// A kind of risk that this program knows by itself, for `src/settings/README.md`.
#[cfg(test)]
pub(crate) struct Kind {
    /// Whether data is lost for good. If not, something is interrupted or run.
    pub(crate) destroys: bool,
    /// The words that follow "is confirmed:".
    pub(crate) words: &'static str,
}

/// Generates the list of kinds and `Risk::destroys` from the same lines.
macro_rules! kinds {
    ($($destroys:literal $words:literal: $pattern:pat,)+) => {
        #[cfg(test)]
        pub(crate) static KINDS: &[Kind] = &[$(Kind { destroys: $destroys, words: $words }),+];

        impl Risk {
            pub(super) fn destroys(&self) -> bool {
                match self {
                    Risk::Loss { loss, .. } => loss.destroys,
                    $($pattern => $destroys,)+
                }
            }
        }
    };
}

kinds! {
    true "deleting a guest": Risk::DeleteGuest,
    true "deleting a snapshot": Risk::DeleteSnapshot(_),
    true "deleting a backup or another volume": Risk::DeleteVolume { .. },
    true "rolling back to a snapshot": Risk::Rollback(_),
    true "restoring over a guest": Risk::RestoreOver(_),
    true "removing a disk with its volume": Risk::RemoveDisks { erases: true, .. },
    true "any change that this program does not know": Risk::Unknown(_),
    false "detaching a disk": Risk::RemoveDisks { erases: false, .. },
    false "stopping a guest that runs (also by `force_stop`, or by giving it less than 60 s to shut down)": Risk::Stop,
    false "running a command in a guest": Risk::Command { .. },
    false "changing a guest's `hookscript` or `lock`, or lifting its `protection`": Risk::Options(_),
}
