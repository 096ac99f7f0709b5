//! What is read of the cluster for more than one tool: tasks, volumes.
//!
//! May import: `text`, `request`, `mcp`, `error`, `pve`, `param`, `answer`.

pub(crate) mod diagnosis;
pub(crate) mod tasks;
pub(crate) mod volume;
