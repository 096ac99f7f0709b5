//! A Model Context Protocol server for Proxmox VE.

mod input;
mod pve;
mod rpc;
mod settings;
mod tool;
mod tools;

fn main() {}
