//! Programs that do the least: the same lines in and out, the same crates to the host, and nothing
//! that makes the server what it is.

use std::fmt;
use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use crate::fixture;

/// Answers two requests with the lines of a file.
pub(crate) fn nothing(file: &str) {
    let answers = fs::read_to_string(file).expect("it was written");
    let mut output = io::stdout().lock();
    for (_, answer) in io::stdin().lock().lines().zip(answers.lines()) {
        output
            .write_all(format!("{answer}\n").as_bytes())
            .expect("it is read");
        output.flush().expect("it is read");
    }
}

/// Answers each call with what the host answered, as it came; a list of guests is parsed into rows,
/// and the first hundred are shown.
pub(crate) fn floor(port: &str) {
    let agent = agent();
    let base = format!("https://localhost:{port}/api2/json");
    let mut input = io::stdin().lock();
    let mut output = io::stdout().lock();
    let mut line = String::new();
    while input.read_line(&mut line).expect("text") > 0 {
        let message: Message = serde_json::from_str(&line).expect("a message");
        let result = match message.params.and_then(|params| params.name).as_deref() {
            None => json!({}),
            Some("proxmox_get_vms") => {
                guests(&get(&agent, &format!("{base}/cluster/resources?type=vm")))
            }
            Some(_) => {
                let body = get(&agent, &format!("{base}/nodes/pve1/status"));
                let text = String::from_utf8(body).expect("text");
                json!({ "content": [{ "type": "text", "text": text }] })
            }
        };
        let answer = json!({ "jsonrpc": "2.0", "id": message.id, "result": result });
        output
            .write_all(format!("{answer}\n").as_bytes())
            .expect("it is read");
        output.flush().expect("it is read");
        line.clear();
    }
}

#[derive(Deserialize)]
struct Message {
    id: u64,
    params: Option<Params>,
}

#[derive(Deserialize)]
struct Params {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Guests<'a> {
    #[serde(borrow)]
    data: Vec<Guest<'a>>,
}

#[derive(Deserialize)]
struct Guest<'a> {
    vmid: u64,
    name: &'a str,
    node: &'a str,
    status: &'a str,
    cpu: f64,
    mem: u64,
    maxmem: u64,
    uptime: u64,
}

fn guests(body: &[u8]) -> Value {
    let Guests { mut data } = serde_json::from_slice(body).expect("guests");
    data.sort_by_key(|guest| guest.vmid);
    let mut text = format!("{} guests", data.len());
    for guest in data.iter().take(100) {
        let Guest {
            vmid,
            name,
            node,
            status,
            cpu,
            mem,
            maxmem,
            uptime,
        } = guest;
        text.push_str(&format!(
            "\n{vmid}\t{name}\t{node}\t{status}\t{cpu}\t{mem}\t{maxmem}\t{uptime}"
        ));
    }
    json!({ "content": [{ "type": "text", "text": text }] })
}

fn get(agent: &Agent, url: &str) -> Vec<u8> {
    let answer = agent
        .get(url)
        .header("Authorization", "PVEAPIToken=root@pam!bench=none")
        .call();
    let mut body = Vec::new();
    let mut reader = answer.expect("an answer").into_body().into_reader();
    reader.read_to_end(&mut body).expect("a whole answer");
    body
}

fn agent() -> Agent {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&fixture("tls/ca.pem")) {
        roots.add(certificate.expect("PEM")).expect("a certificate");
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let options = Agent::config_builder().proxy(None).build();
    Agent::with_parts(options, Loopback(Arc::new(config)), Nowhere)
}

struct Loopback(Arc<ClientConfig>);

impl fmt::Debug for Loopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loopback")
    }
}

impl Connector for Loopback {
    type Out = Connection;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<Connection>, ureq::Error> {
        let port = details.uri.port_u16().unwrap_or(443);
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").expect("a name");
        let client = ClientConnection::new(self.0.clone(), name).map_err(io::Error::other)?;
        let config = details.config;
        Ok(Some(Connection {
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
            stream: StreamOwned::new(client, socket),
        }))
    }
}

struct Connection {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.write_all(&self.buffers.output()[..amount])?;
        Ok(self.stream.flush()?)
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        true
    }

    fn is_tls(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(
        &self,
        _: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}
