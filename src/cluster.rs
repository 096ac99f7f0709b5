//! What is read of the cluster for more than one tool: guests, tasks, volumes.
//!
//! May import: `text`, `request`, `mcp`, `settings`, `error`, `pve`, `param`, `answer`.

pub(crate) mod diagnosis;
pub(crate) mod guests;
pub(crate) mod tasks;
pub(crate) mod volume;
pub(crate) mod volumes;
