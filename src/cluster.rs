//! What several tools read from the cluster: guests, tasks and volumes.
//!
//! May import: `text`, `request`, `settings`, `error`, `pve`, `param`, `answer`, `row`.

pub(crate) mod diagnosis;
pub(crate) mod guests;
pub(crate) mod patience;
pub(crate) mod tasks;
pub(crate) mod volume;
pub(crate) mod volumes;
