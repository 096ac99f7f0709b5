//! The program seen from outside: the binary, over real pipes, against a fake host.

// The means.

/// A Proxmox host on loopback that plays exchanges and checks how it is asked.
mod fake;
/// The files of `fixtures/tools`.
mod fixture;
/// A running server: lines in, answers out.
mod session;
/// Files that the tests write with `UPDATE_FIXTURES=1` and compare without.
mod snapshot;

// The subjects.

mod access;
/// All guests of a node or the cluster by one request, or several by one each.
mod bulk;
/// Ceph and disks: what is refused, and what a question says of those who use them.
mod ceph;
/// The doctor: a verdict for each step, and what fixes it.
mod check;
/// The files of clients, changed by `config CLIENT --write`.
mod clients;
/// From a cloud image to running VMs.
mod cloud;
/// Certificates, client configurations, completions, the manual page and packages.
mod commands;
/// A day of work, each step waited for.
mod day;
/// Each request in a fixture against the parameters that the API declares.
mod facts;
/// What grants what a refused call lacks.
mod grants;
/// Several hosts, of which some cannot be reached or do not answer.
mod hosts;
/// What only a user can do who has logged in.
mod login;
/// Every recorded call under every setting that withholds permission.
mod matrix;
/// Migration and the guest agent.
mod migration;
/// Networks of nodes and of the cluster.
mod network;
/// README.md and the pages beside the source.
mod pages;
/// The picture of a session in README.md.
mod picture;
/// Recorded dialogues of both eras, and the framing of lines.
mod protocol;
/// Which part of the source may import which.
mod rooms;
/// Tools that send one of several requests: versions, boundaries, questions.
mod rows;
/// Boundaries, previews, questions and the audit log.
mod safety;
/// Tokens and passwords show up nowhere.
mod secrets;
/// Flags, variables, commands and exit codes; the secret in no output.
mod settings;
/// One call about several guests.
mod several;
mod side_by_side;
/// Uploads, restored files, and backups that are removed.
mod storage;
/// Calls that go on as tasks of MCP, followed and stopped by their ids.
mod tasks;
/// Each tool does what its fixture shows.
mod tools;
/// The pages that clients show in place of answers.
mod views;
/// Pings, cancellations and the end of input while a call waits.
mod waiting;
