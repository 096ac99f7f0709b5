//! A Model Context Protocol server for Proxmox VE.

mod input;
mod pve;
mod settings;
mod tool;
mod tools;

fn main() {}
