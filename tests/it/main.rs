//! What the program does, seen from outside: the binary over real pipes, against a fake host.

// A Proxmox host on loopback that plays exchanges and checks how it is asked.
mod fake;
// Each request in a fixture against the parameters that the API declares.
mod facts;
// The files of `fixtures/tools`.
mod fixture;
// Files that the tests write with `UPDATE_FIXTURES=1` and compare without.
mod snapshot;
// Each tool does what its fixture shows.
mod tools;
