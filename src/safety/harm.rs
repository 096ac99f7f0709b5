//! What a request does that its user may have to confirm first.

use crate::row::Loss;

/// What a request loses, interrupts or runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Harm {
    /// A program runs inside the guest, with this on its standard input.
    Command {
        argv: Vec<String>,
        input: Option<String>,
    },
    /// What the row of a request says: what it does, what is lost by that, and what its object was before.
    Declared {
        does: String,
        loss: Loss,
        before: String,
    },
    DeleteGuest,
    DeleteSnapshot(String),
    /// On a storage of a node, by its volume ID.
    DeleteVolume {
        storage: String,
        volume: String,
    },
    /// Options of the guest that keep it from harm, or run something on its node.
    Options(Vec<GuestOption>),
    /// Every guest of the node or cluster is interrupted: what is done to it.
    Outage(&'static str),
    /// Disks or mount points of the guest, by their slots; whether their volumes are erased.
    RemoveDisks {
        slots: Vec<String>,
        erases: bool,
    },
    /// From a backup, over the guest that is there.
    RestoreOver(String),
    Rollback(String),
    /// Hard, if it runs.
    Stop,
    /// Whatever it does: the request itself.
    Unknown(String),
    /// A disk of the node.
    Wipe(String),
}

/// An option that is changed, with its new value where it gets one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum GuestOption {
    Hookscript(Option<String>),
    Lock(Option<String>),
    /// It is taken away.
    Protection,
}

/// One kind of harm that this program knows by itself, for README.
#[cfg(test)]
pub(crate) struct Kind {
    /// Whether data is lost for good; else something is interrupted, or runs.
    pub(crate) destroys: bool,
    /// To follow "is confirmed:".
    pub(crate) words: &'static str,
}

/// Writes the list of kinds and the `match` that tells which harm destroys from the same lines.
macro_rules! kinds {
    ($($destroys:literal $words:literal: $pattern:pat,)+) => {
        #[cfg(test)]
        pub(crate) static KINDS: &[Kind] = &[$(Kind { destroys: $destroys, words: $words }),+];

        impl Harm {
            pub(super) fn destroys(&self) -> bool {
                match self {
                    Harm::Declared { loss, .. } => loss.destroys,
                    $($pattern => $destroys,)+
                }
            }
        }
    };
}

kinds! {
    true "deleting a guest": Harm::DeleteGuest,
    true "deleting a snapshot": Harm::DeleteSnapshot(_),
    true "deleting a backup or another volume": Harm::DeleteVolume { .. },
    true "rolling back to a snapshot": Harm::Rollback(_),
    true "restoring over a guest": Harm::RestoreOver(_),
    true "removing a disk with its volume": Harm::RemoveDisks { erases: true, .. },
    true "wiping a disk of a node": Harm::Wipe(_),
    true "any change that this program does not know": Harm::Unknown(_),
    false "detaching a disk": Harm::RemoveDisks { erases: false, .. },
    false "stopping a guest that runs (also by `force_stop`, or by giving it less than 60 s to shut down)": Harm::Stop,
    false "running a command in a guest": Harm::Command { .. },
    false "changing a guest's `hookscript` or `lock`, or lifting its `protection`": Harm::Options(_),
    false "rebooting a node or applying its network settings": Harm::Outage(_),
}
