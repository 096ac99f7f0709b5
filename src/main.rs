//! A Model Context Protocol server for Proxmox VE.

mod input;
mod nearest;
mod pve;
mod rpc;
mod server;
mod settings;
mod tool;
mod tools;

use std::io;

use crate::settings::Settings;
use crate::tool::Context;

fn main() -> io::Result<()> {
    let context = Context::new(Settings {
        connection: Err(Vec::new()),
        allow_elevated: false,
    });
    server::serve(&context, input::standard()?, io::stdout().lock())
}
