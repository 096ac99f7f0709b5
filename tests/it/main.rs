//! The integration tests: one binary, one module per subject.

/// A running server: lines in, answers out. For every other module.
mod session;

/// Recorded dialogues of both eras, and the framing of lines.
mod protocol;
