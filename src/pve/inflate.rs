//! Inflates gzip data that is built into the program.
//!
//! Of the dependencies only ureq brings a decompressor, and it inflates nothing but answers. So it gets the
//! data as the answer of a host in memory.

use std::collections::VecDeque;
use std::io::Read;

use ureq::Agent;
use ureq::config::Config;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use crate::pve::connector::NoResolver;

/// The size of the buffers on the way, in bytes.
const BUFFER: usize = 16 * 1024;

/// Returns the text that `data` holds; an error if it is not gzip of UTF-8.
pub(super) fn inflate(data: &'static [u8]) -> Result<String, ureq::Error> {
    let agent = Agent::with_parts(Config::default(), Memory(data), NoResolver);
    let answer = agent.get("http://memory/").call()?;
    answer.into_body().read_to_string()
}

/// A host that answers every request with this gzip data.
#[derive(Debug)]
struct Memory(&'static [u8]);

impl Connector for Memory {
    type Out = MemoryTransport;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            self.0.len()
        );
        Ok(Some(MemoryTransport {
            buffers: LazyBuffers::new(BUFFER, BUFFER),
            rest: [head.as_bytes(), self.0].concat().into(),
        }))
    }
}

#[derive(Debug)]
struct MemoryTransport {
    buffers: LazyBuffers,
    /// What was not read yet of the answer.
    rest: VecDeque<u8>,
}

impl Transport for MemoryTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, _: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        let amount = self.rest.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        false
    }
}
