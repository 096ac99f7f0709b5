//! The MCP client: JSON-RPC messages, the lines that carry them, and the connection.
//!
//! May import: `text`.

pub(crate) mod connection;
pub(crate) mod lines;
mod queue;
pub(crate) mod rpc;
