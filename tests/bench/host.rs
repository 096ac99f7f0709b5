//! A host on loopback with TLS that answers each request at once, from memory.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::fixture;

const GUESTS: u64 = 20_000;

/// Starts it; its port. Its threads end with the process.
pub(crate) fn serve() -> u16 {
    let certificates = CertificateDer::pem_slice_iter(&fixture("tls/server.pem"))
        .collect::<Result<Vec<_>, _>>()
        .expect("certificates in PEM");
    let key = PrivateKeyDer::from_pem_slice(&fixture("tls/key.pem")).expect("a key in PEM");
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .expect("the key is that of the certificate");
    let config = Arc::new(config);
    let answers = Arc::new([
        ("/nodes/pve1/status", status()),
        ("/cluster/resources", guests()),
    ]);
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let (config, answers) = (config.clone(), answers.clone());
            thread::spawn(move || answer(socket, config, &*answers));
        }
    });
    port
}

/// Answers the requests of one connection until its client ends it.
fn answer(socket: TcpStream, config: Arc<ServerConfig>, answers: &[(&str, String)]) {
    socket.set_nodelay(true).expect("it is a TCP socket");
    let tls = ServerConnection::new(config).expect("the configuration holds");
    let mut stream = BufReader::new(StreamOwned::new(tls, socket));
    let mut line = String::new();
    let mut path = String::new();
    while stream.read_line(&mut line).is_ok_and(|length| length > 0) {
        if line.starts_with("GET ") {
            path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        } else if line == "\r\n" {
            let found = answers.iter().find(|(part, _)| path.contains(part));
            let body = found.map_or(r#"{"data":[]}"#, |(_, body)| body);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let stream = stream.get_mut();
            let sent = stream.write_all(format!("{head}{body}").as_bytes());
            if sent.and_then(|()| stream.flush()).is_err() {
                return;
            }
        }
        line.clear();
    }
}

/// The answer in the fixture of the tool that reads it.
fn status() -> String {
    let fixture: Value = serde_json::from_slice(&fixture("tools/proxmox_get_node_status.json"))
        .expect("a fixture is JSON");
    fixture["cases"][0]["exchanges"][0]["answer"].to_string()
}

fn guests() -> String {
    let guests = (0..GUESTS).map(|index| {
        json!({
            "id": format!("qemu/{}", 100 + index), "vmid": 100 + index, "type": "qemu",
            "name": format!("guest-{index}"), "node": format!("pve{}", index % 16),
            "status": if index % 3 == 0 { "stopped" } else { "running" },
            "cpu": 0.01 * (index % 90) as f64, "maxcpu": 4, "disk": 0, "maxdisk": 34_359_738_368_u64,
            "mem": 1_073_741_824 + index, "maxmem": 4_294_967_296_u64, "memhost": 1_273_741_824,
            "diskread": 4_123_168_604_u64, "diskwrite": 9_812_364_288_u64, "netin": 7_340_032_000_u64,
            "netout": 12_884_901_888_u64, "uptime": 1_283_640 + index, "template": 0, "tags": "prod;web",
        })
    });
    json!({ "data": guests.collect::<Vec<_>>() }).to_string()
}
