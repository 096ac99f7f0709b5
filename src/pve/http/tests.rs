//! The connection to a host that plays a script.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use serde_json::json;

use super::*;
use crate::error::Error;
use crate::mcp::connection::Output;
use crate::mcp::lines::Source;
use crate::pve::trust;
use crate::request::Method;
use crate::settings::{self, Check, Secret, Trust};

const SECRET: &str = "5b6e7a1c-90d2-4f83-a417-2c86f0e9d35b";

/// What the host does on a connection, in turn, before it closes it.
#[derive(Clone)]
pub(crate) enum Step {
    /// Reads a request and answers.
    Answer(Vec<u8>),
    /// Sends something without a request.
    Say(&'static [u8]),
    /// Waits until the client closes.
    Hold,
}
use Step::{Answer, Hold, Say};

/// A host on loopback that plays one script per connection and then stops listening.
pub(crate) struct Host {
    pub(crate) at: SocketAddr,
    thread: JoinHandle<Vec<String>>,
    pub(crate) closed: Receiver<()>,
}

impl Host {
    pub(crate) fn plain(scripts: Vec<Vec<Step>>) -> Self {
        Self::plain_at(listener(), scripts)
    }

    pub(crate) fn plain_at(listener: TcpListener, scripts: Vec<Vec<Step>>) -> Self {
        Self::start(listener, scripts, |socket, script, requests| {
            play(socket, script, requests);
        })
    }

    /// Presents these certificates from the fixtures, the server's own first.
    pub(crate) fn tls(certificates: &str, scripts: Vec<Vec<Step>>) -> Self {
        Self::tls_of(rustls::DEFAULT_VERSIONS, certificates, scripts)
    }

    fn tls_of(
        versions: &[&'static rustls::SupportedProtocolVersion],
        certificates: &str,
        scripts: Vec<Vec<Step>>,
    ) -> Self {
        let key = PrivateKeyDer::from_pem_file(fixture("key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = provider.key_provider.load_private_key(key).unwrap();
        let certified = CertifiedKey::new(certificates.split(' ').map(read).collect(), key);
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        let config = Arc::new(config);
        Self::start(listener(), scripts, move |socket, script, requests| {
            let tls = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(tls, socket);
            play(&mut stream, script, requests);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        })
    }

    fn start(
        listener: TcpListener,
        scripts: Vec<Vec<Step>>,
        serve: impl Fn(TcpStream, Vec<Step>, &mut Vec<String>) + Send + 'static,
    ) -> Self {
        let at = listener.local_addr().unwrap();
        let (tell, closed): (Sender<()>, _) = channel();
        let thread = thread::spawn(move || {
            let mut requests = Vec::new();
            for script in scripts {
                let (socket, peer) = listener.accept().unwrap();
                serve(socket, script, &mut requests);
                await_close(at, peer);
                let _ = tell.send(());
            }
            requests
        });
        Self { at, thread, closed }
    }

    /// Returns the requests that arrived, once the whole script was played.
    pub(crate) fn requests(self) -> Vec<String> {
        self.thread.join().unwrap()
    }
}

/// Waits until the system has told `peer` that the connection was closed at `own`: on a busy machine that takes a
/// moment, in which the connection still looks open there. Where the system does not say, it is not waited for.
fn await_close(own: SocketAddr, peer: SocketAddr) {
    let [own, peer] = [own, peer].map(|at| format!("0100007F:{:04X}", at.port()));
    let is_open = || {
        let connections = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        connections.lines().any(|line| {
            let mut columns = line.split_whitespace().skip(1);
            let ends = (columns.next(), columns.next(), columns.next());
            ends == (Some(&peer), Some(&own), Some("01"))
        })
    };
    for _ in 0..1_000 {
        if !is_open() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Returns an address that nothing listens on.
pub(crate) fn nowhere() -> SocketAddr {
    // Not 127.0.0.1, where another test could be given the port.
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    listener.local_addr().unwrap()
}

fn play(mut stream: impl Read + Write, script: Vec<Step>, requests: &mut Vec<String>) {
    for step in script {
        match step {
            Answer(bytes) => {
                let Some(request) = request(&mut stream) else {
                    return;
                };
                requests.push(request);
                let _ = stream.write_all(&bytes).and_then(|()| stream.flush());
            }
            Say(bytes) => stream.write_all(bytes).unwrap(),
            Hold => {
                let _ = stream.read_to_end(&mut Vec::new());
            }
        }
    }
}

/// Reads one request, head and body; returns `None` if the client disconnected or TLS failed.
pub(crate) fn request(stream: &mut impl Read) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head.to_lowercase();
    let length = length
        .split_once("content-length: ")
        .map_or(0, |(_, rest)| rest.lines().next().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(head + &String::from_utf8(body).unwrap())
}

fn fixture(name: &str) -> PathBuf {
    format!("{}/fixtures/tls/{name}.pem", env!("CARGO_MANIFEST_DIR")).into()
}

pub(crate) fn read(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(fixture(name)).unwrap()
}

pub(crate) fn ok(json: &str) -> Step {
    let length = json.len();
    Answer(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{json}").into_bytes())
}

pub(crate) fn raw(answer: &str) -> Step {
    Answer(answer.as_bytes().to_vec())
}

pub(crate) fn connection(tls: bool, at: SocketAddr, check: Check, listed: &[&str]) -> Connection {
    let host = settings::Host {
        tls,
        name: at.ip().to_string(),
        port: at.port(),
        trust: Trust {
            check,
            listed: listed.iter().map(|name| read(name)).collect(),
            pins: vec![None],
            place: 0,
            may_tolerate: true,
        },
    };
    Connection {
        hosts: vec![host],
        token_id: "root@pam!mcp".to_owned(),
        token_secret: Secret::new(SECRET.to_owned()),
        timeout: Duration::from_secs(20),
        login: None,
    }
}

impl Http {
    /// Sends a request with the API token.
    pub(crate) fn exchange(&self, request: &Request) -> Result<Response, Failure> {
        self.exchange_as(request, None)
    }
}

pub(crate) fn http(
    connection: &Connection,
    peer: Peer,
    bundles: Vec<PathBuf>,
    largest_answer: u64,
) -> Http {
    let host = &connection.hosts[0];
    let connect = Duration::from_secs(10);
    Http {
        largest_answer,
        ..Http::new(connection, host, connect, peer, bundles)
    }
}

fn plain(host: &Host) -> Http {
    let connection = connection(false, host.at, Check::Strict, &[]);
    http(&connection, Peer::none(), Vec::new(), LARGEST_ANSWER)
}

pub(crate) fn get() -> Request {
    Request::new(Method::Get, "/version")
}

pub(crate) fn post() -> Request {
    Request::new(Method::Post, "/nodes/pve1/qemu/100/status/start")
}

#[track_caller]
pub(crate) fn not_sent(outcome: Result<Response, Failure>) -> String {
    match outcome {
        Err(Failure::NotSent {
            what,
            cause,
            remedy,
        }) => format!("{what}: {cause}\n{remedy}"),
        Err(other) => panic!("{other:?}"),
        Ok(reply) => panic!("status {}", reply.status),
    }
}

#[track_caller]
pub(crate) fn maybe_processed(outcome: Result<Response, Failure>) -> String {
    match outcome {
        Err(Failure::MaybeProcessed {
            what,
            cause,
            remedy,
        }) => format!("{what}: {cause}\n{remedy}"),
        Err(other) => panic!("{other:?}"),
        Ok(reply) => panic!("status {}", reply.status),
    }
}

/// Calls a host that has this certificate once; returns the failure, or an empty text.
fn call_with(certificate: &str, check: Check, listed: &[&str], bundles: &[&str]) -> String {
    let host = Host::tls(certificate, vec![vec![ok("{}")]]);
    let connection = connection(true, host.at, check, listed);
    let bundles = bundles.iter().map(|name| fixture(name)).collect();
    let http = http(&connection, Peer::none(), bundles, LARGEST_ANSWER);
    let outcome = http.exchange(&get());
    drop(http);
    let came = host.requests().len();
    match outcome {
        Ok(_) => {
            assert_eq!(came, 1);
            String::new()
        }
        outcome => {
            assert_eq!(came, 0);
            not_sent(outcome)
        }
    }
}

#[track_caller]
pub(crate) fn assert_holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

/// Returns the client of a call `1` that it has cancelled.
pub(crate) fn cancelled() -> Peer {
    let line = br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    let peer = Peer::new(Box::new(&line[..]), io::sink());
    let id = crate::mcp::rpc::Id::new(&json!(1)).expect("an id");
    peer.begin_call(&id, &serde_json::Map::new());
    peer
}

thread_local! {
    static LOG: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Collects what the calling thread logs: an `Http` only logs on its own thread.
struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}\n", record.level(), record.args());
        LOG.with_borrow_mut(|log| log.push_str(&line));
    }

    fn flush(&self) {}
}

pub(crate) fn logged(act: impl FnOnce()) -> String {
    // Another test may have installed the logger already.
    let _ = log::set_logger(&Log);
    log::set_max_level(log::LevelFilter::Trace);
    LOG.take();
    act();
    LOG.take()
}

mod trusting {
    use super::*;

    fn sha256_of(name: &str) -> [u8; 32] {
        trust::sha256(&read(name))
    }

    fn pin_line(name: &str) -> String {
        format!(
            "PROXMOX_FINGERPRINT={}",
            trust::fingerprint(&sha256_of(name))
        )
    }

    #[test]
    fn accepts_what_a_listed_ca_signed() {
        for check in [Check::Strict, Check::Verify] {
            assert_eq!(call_with("server", check, &["ca"], &[]), "");
        }
    }

    #[test]
    fn accepts_what_a_ca_of_the_first_bundle_with_certificates_signed() {
        let bundles = ["missing", "key", "ca", "alone"];
        assert_eq!(call_with("server", Check::Strict, &[], &bundles), "");
    }

    #[test]
    fn refuses_an_unknown_issuer_and_says_what_to_set() {
        let text = call_with("server", Check::Strict, &[], &["alone"]);
        let fingerprint = trust::fingerprint(&sha256_of("server"));
        assert_holds(
            &text,
            &[
                "not trusted: unknown issuer.",
                "subject O=Proxmox Virtual Environment, OU=PVE Cluster Node, CN=localhost;",
                "issuer CN=Proxmox Virtual Environment, OU=00000000-",
                "valid 2020-01-01 00:00:00Z to 2126-01-01 00:00:00Z;",
                &format!("SHA-256 {fingerprint}"),
                "PROXMOX_CA_FILE",
                "/etc/pve/pve-root-ca.pem",
                "openssl x509 -noout -fingerprint -sha256",
                &pin_line("server"),
            ],
        );
    }

    #[test]
    fn says_so_when_there_is_no_ca_at_all() {
        let text = call_with("server", Check::Strict, &[], &["missing"]);
        assert_holds(
            &text,
            &["no CA certificates", "PROXMOX_CA_FILE", &pin_line("server")],
        );
    }

    #[test]
    fn verify_tolerates_an_unknown_issuer_and_warns_once() {
        for (certificate, bundles) in [
            ("server", [].as_slice()),
            ("server", &["alone"]),
            ("alone", &[]),
            ("alone-ca", &[]),
        ] {
            let text = call_with(certificate, Check::Verify, &[], bundles);
            assert_eq!(text, "", "{certificate}");
        }
        let log = logged(|| {
            let host = Host::tls("server", vec![vec![ok("{}")], vec![ok("{}")]]);
            let connection = connection(true, host.at, Check::Verify, &[]);
            let http = http(&connection, Peer::none(), Vec::new(), LARGEST_ANSWER);
            http.exchange(&get()).unwrap();
            host.closed.recv().unwrap();
            http.exchange(&get()).unwrap();
        });
        assert_eq!(log.matches("WARN").count(), 1, "{log}");
        assert_holds(&log, &["active attacker", &pin_line("server")]);
    }

    #[test]
    fn verify_does_not_warn_about_a_known_issuer() {
        let log = logged(|| assert_eq!(call_with("server", Check::Verify, &[], &["ca"]), ""));
        assert!(!log.contains("WARN"), "{log}");
    }

    #[test]
    fn strict_refuses_a_self_signed_certificate_until_it_is_listed() {
        for (certificate, why) in [
            ("alone", "unknown issuer, it is self-signed"),
            ("alone-ca", "unknown issuer, it is a self-signed CA"),
        ] {
            let text = call_with(certificate, Check::Strict, &[], &["ca"]);
            assert_holds(
                &text,
                &[why, "copy of this certificate", &pin_line(certificate)],
            );
            let text = call_with(certificate, Check::Strict, &[certificate], &[]);
            assert_eq!(text, "", "{certificate}");
        }
    }

    #[test]
    fn checks_only_the_name_of_a_listed_certificate() {
        for check in [Check::Strict, Check::Verify] {
            assert_eq!(call_with("expired", check, &["expired"], &[]), "");
            let text = call_with("elsewhere", check, &["elsewhere"], &[]);
            assert_holds(&text, &["wrong name"]);
        }
    }

    #[test]
    fn strict_and_verify_both_refuse_wrong_dates_and_names() {
        for (certificate, why) in [
            ("expired", "expired since 2011-01-01 00:00:00Z"),
            ("future", "not yet valid, until 2125-01-01 00:00:00Z"),
            (
                "elsewhere",
                "wrong name: asked for 127.0.0.1, it has pve1.example.com, pve1, 192.0.2.1",
            ),
            ("nameless", "wrong name: asked for 127.0.0.1, it has none"),
        ] {
            for (check, listed) in [
                (Check::Strict, ["ca"].as_slice()),
                (Check::Verify, &["ca"]),
                (Check::Verify, &[]),
            ] {
                let text = call_with(certificate, check, listed, &[]);
                assert_holds(&text, &[why, &pin_line(certificate)]);
            }
        }
    }

    #[test]
    fn names_an_unknown_issuer_and_a_wrong_name_together() {
        for (certificate, bundles, issuer) in [
            ("elsewhere", ["alone"].as_slice(), "unknown issuer"),
            ("elsewhere", &["missing"], "no CA certificates"),
            ("nameless", &["alone"], "unknown issuer"),
        ] {
            let text = call_with(certificate, Check::Strict, &[], bundles);
            assert_holds(
                &text,
                &[
                    issuer,
                    ", and wrong name: asked for 127.0.0.1, it has",
                    "Set PROXMOX_HOST to a name that it has. Or if",
                    &pin_line(certificate),
                ],
            );
            assert_holds(&text, &["/etc/pve/pve-root-ca.pem. Set PROXMOX_HOST"]);
            assert!(!text.contains("PROXMOX_SSL_MODE=verify"), "{text}");
        }
        // `verify` would accept it only if the issuer were the only problem.
        let text = call_with("server", Check::Strict, &[], &["alone"]);
        assert_holds(&text, &["PROXMOX_SSL_MODE=verify tolerates"]);
    }

    #[test]
    fn does_not_blame_the_certificate_for_one_above_it() {
        for check in [Check::Strict, Check::Verify] {
            let text = call_with("below-middle middle", check, &["ca"], &[]);
            assert_holds(&text, &["a certificate of its chain is out of date"]);
        }
        assert_eq!(call_with("below-middle", Check::Verify, &["ca"], &[]), "");
    }

    #[test]
    fn checks_tls_1_2_in_the_same_way() {
        let only = &[&rustls::version::TLS12];
        for (check, worked) in [
            (Check::Pin(sha256_of("server")), true),
            (Check::Strict, true),
            (Check::Pin(sha256_of("alone")), false),
        ] {
            let host = Host::tls_of(only, "server", vec![vec![ok("{}")]]);
            let connection = connection(true, host.at, check, &["ca"]);
            let http = http(&connection, Peer::none(), Vec::new(), LARGEST_ANSWER);
            assert_eq!(http.exchange(&get()).is_ok(), worked);
        }
        let host = Host::tls_of(only, "ca", vec![vec![ok("{}")]]);
        let connection = connection(true, host.at, Check::Pin(sha256_of("ca")), &[]);
        let http = http(&connection, Peer::none(), Vec::new(), LARGEST_ANSWER);
        let text = not_sent(http.exchange(&get()));
        assert_holds(
            &text,
            &["the server does not hold the certificate's private key"],
        );
    }

    #[test]
    fn a_fingerprint_accepts_one_certificate_whatever_else_is_wrong_with_it() {
        for certificate in [
            "server",
            "expired",
            "future",
            "elsewhere",
            "nameless",
            "alone-ca",
        ] {
            let check = Check::Pin(sha256_of(certificate));
            assert_eq!(call_with(certificate, check, &[], &[]), "", "{certificate}");
        }
        let text = call_with("server", Check::Pin(sha256_of("alone")), &["ca"], &["ca"]);
        assert_holds(
            &text,
            &[
                "it does not match PROXMOX_FINGERPRINT, ",
                &trust::fingerprint(&sha256_of("alone")),
                &pin_line("server"),
            ],
        );
    }

    #[test]
    fn insecure_accepts_all_and_warns() {
        for certificate in ["expired", "elsewhere", "alone-ca"] {
            let log = logged(|| {
                assert_eq!(call_with(certificate, Check::Insecure, &[], &[]), "");
            });
            assert_eq!(log.matches("WARN").count(), 1, "{log}");
        }
    }

    /// The fixtures share a key, which is not that of `ca`.
    #[test]
    fn no_mode_accepts_a_certificate_without_its_key() {
        for check in [Check::Pin(sha256_of("ca")), Check::Insecure] {
            let text = call_with("ca", check, &[], &[]);
            assert_holds(
                &text,
                &["the server does not hold the certificate's private key"],
            );
        }
    }

    #[test]
    fn says_that_a_version_1_certificate_cannot_be_checked() {
        for check in [Check::Pin(sha256_of("v1")), Check::Insecure] {
            let text = call_with("v1", check, &[], &[]);
            assert_holds(
                &text,
                &["cannot be checked: UnsupportedCertVersion", "X.509 v1"],
            );
        }
    }
}

mod exchanging {
    use super::*;

    #[test]
    fn recovers_the_reason_phrase() {
        let host = Host::plain(vec![
            vec![raw(
                "HTTP/1.1 500 unable to find configuration file for VM 100\r\n\
                 Content-Length: 13\r\nConnection: close\r\n\r\n{\"data\":null}",
            )],
            vec![
                raw("HTTP/1.1 401 No ticket\r\nContent-Length: 0\r\n\r\n"),
                Hold,
            ],
        ]);
        let http = plain(&host);
        let reply = http.exchange(&get()).unwrap();
        assert_eq!(reply.status, 500);
        assert_eq!(reply.reason, "unable to find configuration file for VM 100");
        assert_eq!(reply.body, json!({"data": null}));
        let reply = http.exchange(&get()).unwrap();
        assert_eq!((reply.status, reply.reason.as_str()), (401, "No ticket"));
        assert_eq!(reply.body, Value::Null);
    }

    #[test]
    fn takes_a_status_line_in_pieces() {
        let mut exchange = crate::pve::connector::Exchange::default();
        for piece in [
            b"HTTP/1.1 40".as_slice(),
            b"3 Permi",
            b"ssion\r\nDate: x\r\n",
            b"later\r\n",
        ] {
            exchange.note(piece);
        }
        assert_eq!(reason(&exchange.status_line, 403), "Permission");
        assert_eq!(reason(&exchange.status_line, 200), "");
        assert_eq!(reason(b"HTTP/1.1 200\r", 200), "");
    }

    #[test]
    fn reads_a_compressed_answer_that_it_did_not_ask_for() {
        let gzip: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\x4a\x49\x2c\x49\x54\xb2\x8a\x56\xca\
            \xcb\x57\x48\xce\xcf\x2b\x49\xcd\x2b\x51\x8a\xad\x05\x00\xf0\x81\xbc\x49\x17\x00\x00\x00";
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            gzip.len()
        );
        let answer = Answer([head.as_bytes(), gzip].concat());
        let host = Host::plain(vec![vec![answer, ok("{}")]]);
        let http = plain(&host);
        let reply = http.exchange(&get()).unwrap();
        assert_eq!(reply.body, json!({"data": ["no content"]}));
        // The connection is kept, too.
        http.exchange(&get()).unwrap();
        for request in host.requests() {
            assert!(
                !request.to_lowercase().contains("accept-encoding"),
                "{request}"
            );
        }
    }

    #[test]
    fn sends_the_token_the_form_and_its_length() {
        let host = Host::plain(vec![vec![ok("{}"), ok("{}"), ok("{}"), ok("{}")]]);
        let http = plain(&host);
        http.exchange(&post()).unwrap();
        http.exchange(&post().with("skiplock", "1")).unwrap();
        let delete = Request::new(Method::Delete, "/nodes/pve1/lxc/101").with("force", "1");
        http.exchange(&delete).unwrap();
        http.exchange(&get()).unwrap();
        let requests = host.requests();
        let [empty, form, delete, get] = requests.as_slice() else {
            panic!("{requests:?}");
        };
        let header = format!("authorization: PVEAPIToken=root@pam!mcp={SECRET}\r\n");
        assert!(requests.iter().all(|request| request.contains(&header)));
        let start = "POST /api2/json/nodes/pve1/qemu/100/status/start HTTP/1.1\r\n";
        assert_holds(empty, &[start, "content-length: 0\r\n"]);
        assert!(empty.ends_with("\r\n\r\n"));
        let kind = "content-type: application/x-www-form-urlencoded\r\n";
        assert_holds(form, &[start, kind, "content-length: 10\r\n"]);
        assert!(form.ends_with("\r\n\r\nskiplock=1"));
        assert_holds(
            delete,
            &["DELETE /api2/json/nodes/pve1/lxc/101?force=1 HTTP/1.1\r\n"],
        );
        for bare in [delete, get] {
            assert!(!bare.contains("content-length"), "{bare}");
        }
        assert!(
            requests
                .iter()
                .all(|request| !request.contains("transfer-encoding"))
        );
    }

    #[test]
    fn sends_a_form_longer_than_its_buffers() {
        let host = Host::tls("server", vec![vec![ok("{}")]]);
        let connection = connection(true, host.at, Check::Strict, &["ca"]);
        let http = http(&connection, Peer::none(), Vec::new(), LARGEST_ANSWER);
        let long = "x".repeat(10 * BUFFER);
        http.exchange(&post().with("description", &*long)).unwrap();
        let requests = host.requests();
        assert!(requests[0].ends_with(&format!("\r\n\r\ndescription={long}")));
    }

    #[test]
    fn puts_an_ipv6_address_in_brackets() {
        let mut connection = connection(true, "[::1]:8006".parse().unwrap(), Check::Strict, &[]);
        assert_eq!(
            http(&connection, Peer::none(), Vec::new(), LARGEST_ANSWER).base,
            "https://[::1]:8006/api2/json"
        );
        connection.hosts[0].name = "pve1".to_owned();
        assert_eq!(
            http(&connection, Peer::none(), Vec::new(), LARGEST_ANSWER).base,
            "https://pve1:8006/api2/json"
        );
    }

    #[test]
    fn returns_the_date_of_the_answer_if_it_has_one() {
        let dated =
            "HTTP/1.1 200 OK\r\nDate: Tue, 29 Feb 2000 00:00:00 GMT\r\nContent-Length: 2\r\n\r\n{}";
        let host = Host::plain(vec![vec![raw(dated), ok("{}")]]);
        let http = plain(&host);
        assert_eq!(http.exchange(&get()).unwrap().date, Some(951_782_400));
        assert_eq!(http.exchange(&get()).unwrap().date, None);
    }

    #[test]
    fn keeps_one_connection() {
        // The script has one connection; a second would be refused.
        let host = Host::tls("server", vec![vec![ok("{}"), ok("[1]"), ok("\"a\""), Hold]]);
        let connection = connection(true, host.at, Check::Strict, &["ca"]);
        let http = http(&connection, Peer::none(), Vec::new(), LARGEST_ANSWER);
        for body in [json!({}), json!([1]), json!("a")] {
            assert_eq!(http.exchange(&get()).unwrap().body, body);
        }
        drop(http);
        assert_eq!(host.requests().len(), 3);
    }

    #[test]
    fn replaces_a_connection_the_server_closed() {
        for request in [get(), post()] {
            let scripts = vec![vec![ok("{}")], vec![ok("{}")]];
            let host = Host::tls("server", scripts.clone());
            let connection = connection(true, host.at, Check::Strict, &["ca"]);
            let http = http(&connection, Peer::none(), Vec::new(), LARGEST_ANSWER);
            http.exchange(&request).unwrap();
            host.closed.recv().unwrap();
            http.exchange(&request).unwrap();
            assert_eq!(host.requests().len(), 2);

            let host = Host::plain(scripts);
            let http = plain(&host);
            http.exchange(&request).unwrap();
            host.closed.recv().unwrap();
            http.exchange(&request).unwrap();
            assert_eq!(host.requests().len(), 2);
        }
    }

    #[test]
    fn does_not_repeat_a_request_after_the_connection_broke() {
        for request in [get(), post()] {
            // Once on a new connection and once on a kept one. The last connection is there to be misused.
            for kept in [vec![], vec![ok("{}")]] {
                let first = [kept.clone(), vec![raw("")]].concat();
                let host = Host::tls("server", vec![first, vec![ok("{}")]]);
                let connection = connection(true, host.at, Check::Strict, &["ca"]);
                let http = http(&connection, Peer::none(), Vec::new(), LARGEST_ANSWER);
                for _ in &kept {
                    http.exchange(&request).unwrap();
                }
                let text = maybe_processed(http.exchange(&request));
                assert_holds(&text, &["the connection broke before an answer came"]);
                assert_eq!(
                    text.contains("may have been processed"),
                    request.method == Method::Post
                );
                http.exchange(&get()).unwrap();
                let requests = host.requests();
                assert_eq!(requests.len(), kept.len() + 2);
                assert!(requests[kept.len() + 1].starts_with("GET"));
            }
        }
    }

    #[test]
    fn treats_a_truncated_or_foreign_success_as_a_failure() {
        for (answer, why) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"data\":[",
                "the answer breaks off",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"data\":[",
                "the answer breaks off",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
                "not by the Proxmox VE API: the answer is not the JSON of the Proxmox API",
            ),
            ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "something that is not HTTP"),
        ] {
            let host = Host::plain(vec![vec![raw(answer)]]);
            let text = maybe_processed(plain(&host).exchange(&post()));
            assert_holds(&text, &[why, "may have been processed", "task list"]);
            assert_eq!(host.requests().len(), 1);
        }
    }

    #[test]
    fn a_web_page_is_not_an_answer_of_the_api() {
        let page = |status: &str| {
            raw(&format!(
                "HTTP/1.1 {status}\r\nContent-Type: Text/HTML; charset=utf-8\r\nContent-Length: 6\r\n\r\n<html>"
            ))
        };
        for request in [get(), post()] {
            let host = Host::plain(vec![vec![page("200 OK")]]);
            let text = maybe_processed(plain(&host).exchange(&request));
            assert_holds(
                &text,
                &[
                    "was answered, but not by the Proxmox VE API: ",
                    "sends a web page with status 200",
                    "Another web server, a proxy or a router",
                    "check PROXMOX_HOST and PROXMOX_PORT",
                ],
            );
            assert_eq!(
                text.contains("may have been processed"),
                request.method == Method::Post
            );
        }
        for (answer, is_page) in [
            (page("502 Bad Gateway"), true),
            (raw("HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n"), false),
        ] {
            let host = Host::plain(vec![vec![answer]]);
            let reply = plain(&host).exchange(&get()).unwrap();
            assert_eq!(reply.is_page, is_page, "{}", reply.status);
            assert!(reply.took > Duration::ZERO);
        }
    }

    #[test]
    fn says_that_a_header_is_too_long() {
        let long = |length: usize| {
            let filler = "x".repeat(length);
            raw(&format!(
                "HTTP/1.1 200 OK\r\nX-Filler: {filler}\r\nContent-Length: 2\r\n\r\n{{}}"
            ))
        };
        let host = Host::plain(vec![vec![long(LONGEST_HEADER - 200)]]);
        assert!(plain(&host).exchange(&get()).is_ok());
        for length in [LONGEST_HEADER, 4 * LONGEST_HEADER] {
            let host = Host::plain(vec![vec![long(length)]]);
            let text = maybe_processed(plain(&host).exchange(&get()));
            assert_holds(
                &text,
                &["got an answer that cannot be used: its header is longer than 32767 bytes"],
            );
        }
    }

    #[test]
    fn does_not_suspect_tls_of_a_host_that_has_spoken_http() {
        let host = Host::plain(vec![vec![ok("{}"), Answer(Vec::new())]]);
        let http = plain(&host);
        http.exchange(&get()).unwrap();
        let text = maybe_processed(http.exchange(&get()));
        assert_holds(
            &text,
            &["got no answer: the connection broke before an answer came"],
        );
        assert!(!text.contains("https://"), "{text}");
    }

    #[test]
    fn reads_an_empty_success_and_a_foreign_error_as_null() {
        for (answer, status) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
            ("HTTP/1.1 502 Bad\r\nContent-Length: 6\r\n\r\n<html>", 502),
            ("HTTP/1.1 596 Timed out\r\nContent-Length: 6\r\n\r\n", 596),
        ] {
            let host = Host::plain(vec![vec![raw(answer)]]);
            let reply = plain(&host).exchange(&get()).unwrap();
            assert_eq!((reply.status, reply.body), (status, Value::Null));
        }
    }

    #[test]
    fn neither_follows_a_redirection_nor_repeats_its_text() {
        let answer = "HTTP/1.1 301 Moved\r\n\
                      Location: https://u:secret@pve1:8006/?secret#secret\r\n\
                      Content-Length: 0\r\n\r\n";
        let host = Host::plain(vec![vec![raw(answer)]]);
        let text = maybe_processed(plain(&host).exchange(&get()));
        assert_holds(&text, &["301", "https://pve1:8006,", "PROXMOX_HOST"]);
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn reads_an_answer_up_to_the_limit_and_no_byte_more() {
        for (limit, fits) in [(10, true), (9, false)] {
            let host = Host::plain(vec![vec![ok("[\"12345\"] ")]]);
            let connection = connection(false, host.at, Check::Strict, &[]);
            let http = http(&connection, Peer::none(), Vec::new(), limit);
            let outcome = http.exchange(&get());
            if fits {
                assert_eq!(outcome.unwrap().body, json!(["12345"]));
            } else {
                let text = maybe_processed(outcome);
                assert_holds(
                    &text,
                    &[
                        "got an answer that cannot be used: ",
                        "longer than 9 bytes",
                        "Narrow the request",
                    ],
                );
            }
        }
    }

    #[test]
    fn refuses_an_answer_whose_values_take_too_much_memory() {
        // Each of these objects takes some 700 bytes.
        let answer = format!("{{\"data\":[{}0]}}", "{\"\":0},".repeat(1_000));
        for (most_memory, fits) in [(1_000_000, true), (500_000, false)] {
            let host = Host::plain(vec![vec![ok(&answer)]]);
            let http = Http {
                most_memory,
                ..plain(&host)
            };
            let outcome = http.exchange(&get());
            if fits {
                assert_eq!(outcome.unwrap().body["data"][1_000], 0);
            } else {
                let text = maybe_processed(outcome);
                assert_holds(&text, &["of memory", "Narrow the request"]);
            }
        }
    }

    #[test]
    fn keeps_the_secret_out_of_the_log() {
        let log = logged(|| {
            let host = Host::plain(vec![vec![ok("{}"), raw("HTTP/1.1 500 no\r\n\r\n")]]);
            let http = plain(&host);
            log::debug!("{:?}", http.token.as_ref().unwrap().headers);
            http.exchange(&get()).unwrap();
            http.exchange(&post().with("password", "hunter2hunter2"))
                .unwrap();
            host.requests();
            log::debug!("{}", not_sent(http.exchange(&get())));
        });
        assert_holds(
            &log,
            &[
                "POST /nodes/pve1/qemu/100/status/start: 500",
                "HEADERS ARE REDACTED",
            ],
        );
        assert!(!log.contains("TRACE"), "{log}");
        assert!(!log.contains("hunter2"), "{log}");
        for piece in SECRET.as_bytes().windows(8) {
            let piece = str::from_utf8(piece).unwrap();
            assert!(!log.contains(piece), "{log}");
        }
    }
}

pub(crate) mod failing {
    use super::*;

    fn call(connection: &Connection) -> Result<Response, Failure> {
        http(connection, Peer::none(), Vec::new(), LARGEST_ANSWER).exchange(&post())
    }

    #[test]
    fn names_the_settings_when_the_connection_is_refused() {
        for tls in [true, false] {
            let text = not_sent(call(&connection(tls, nowhere(), Check::Strict, &["ca"])));
            let parts = [
                "connection refused",
                "PROXMOX_HOST",
                "PROXMOX_PORT",
                "pveproxy",
            ];
            assert_holds(&text, &parts);
        }
    }

    /// A label has at most 63 letters (RFC 1035), so the resolver sends no query for this one.
    #[test]
    fn names_the_setting_when_there_is_no_address() {
        let mut connection = connection(true, nowhere(), Check::Strict, &["ca"]);
        connection.hosts[0].name = format!("{}.invalid", "p".repeat(64));
        let text = not_sent(call(&connection));
        assert_holds(&text, &["no address", ".invalid", "PROXMOX_HOST"]);
    }

    #[test]
    fn sends_nothing_in_plain_text_beyond_loopback() {
        for host in ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "0.0.0.0"] {
            let mut connection = connection(false, nowhere(), Check::Strict, &[]);
            connection.hosts[0].name = host.to_owned();
            let text = not_sent(call(&connection));
            assert_holds(&text, &["would show the token", "https://"]);
        }
    }

    #[test]
    fn says_after_how_long_no_answer_came() {
        let host = Host::plain(vec![vec![raw(""), Hold]]);
        let mut connection = connection(false, host.at, Check::Strict, &[]);
        connection.timeout = Duration::from_secs(1);
        let text = maybe_processed(call(&connection));
        assert_holds(
            &text,
            &[
                "no answer within 1 s (PROXMOX_TIMEOUT)",
                "may have been processed",
            ],
        );
        assert_eq!(host.requests().len(), 1);
    }

    #[test]
    fn says_after_how_long_the_answer_was_not_complete() {
        let host = Host::plain(vec![vec![
            raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
            Hold,
        ]]);
        let mut connection = connection(false, host.at, Check::Strict, &[]);
        connection.timeout = Duration::from_secs(1);
        let text = maybe_processed(call(&connection));
        assert_holds(&text, &["not complete within 1 s"]);
    }

    /// Runs a host of the test's own on one connection.
    pub(crate) fn host(play: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
        let listener = listener();
        let at = listener.local_addr().unwrap();
        thread::spawn(move || play(listener.accept().unwrap().0));
        at
    }

    /// Sends a byte again and again, until the other side closes.
    fn drip(mut socket: TcpStream) {
        while socket.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn bounds_head_and_body_together() {
        const MOST_OF_IT: Duration = Duration::from_millis(1_000);
        let at = host(|mut socket| {
            request(&mut socket);
            thread::sleep(MOST_OF_IT);
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
            socket.write_all(head).unwrap();
            thread::sleep(MOST_OF_IT);
            let _ = socket.write_all(b"{}");
        });
        let mut connection = connection(false, at, Check::Strict, &[]);
        connection.timeout = Duration::from_millis(1_500);
        let text = maybe_processed(call(&connection));
        assert_holds(&text, &["the answer was not complete within 1.5 s"]);
    }

    #[test]
    fn bounds_an_answer_that_arrives_a_byte_at_a_time() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n";
        for begun in [head, &head[..13]] {
            let at = host(move |mut socket| {
                request(&mut socket);
                socket.write_all(begun.as_bytes()).unwrap();
                drip(socket);
            });
            let mut connection = connection(false, at, Check::Strict, &[]);
            // Enough for the request to be sent, however busy the machine is.
            connection.timeout = Duration::from_secs(1);
            let text = maybe_processed(call(&connection));
            assert_holds(&text, &["the answer was not complete within 1 s"]);
        }
    }

    /// Returns a client: where the test sends its lines, its peer, and what the peer was sent.
    pub(crate) fn client() -> (Sender<&'static str>, Peer, Output) {
        struct Lines(Receiver<&'static str>);
        impl Read for Lines {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                unreachable!("it is only looked at")
            }
        }
        impl Source for Lines {
            fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match self.0.try_recv() {
                    Ok(line) => {
                        buffer[..line.len()].copy_from_slice(line.as_bytes());
                        Ok(line.len())
                    }
                    Err(_) => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
        }
        let (lines, source) = channel();
        let output = Output::default();
        let peer = Peer::new(Box::new(Lines(source)), output.clone());
        let id = crate::mcp::rpc::Id::new(&json!(1)).expect("an id");
        peer.begin_call(&id, &serde_json::Map::new());
        (lines, peer, output)
    }

    #[test]
    fn polls_the_client_while_the_host_reads_the_request() {
        let (lines, peer, output) = client();
        let at = host(move |mut socket| {
            let mut first = [0];
            socket.read_exact(&mut first).unwrap();
            // Part of the request was sent, so it is not abandoned.
            let cancel =
                r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
            lines.send(cancel).unwrap();
            lines
                .send("\n{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ping\"}\n")
                .unwrap();
            // The rest does not fit into the buffers in between.
            while output.0.lock().unwrap().is_empty() {
                thread::sleep(Duration::from_millis(10));
            }
            request(&mut first.chain(&mut socket));
            socket
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                .unwrap();
        });
        let connection = connection(false, at, Check::Strict, &[]);
        let http = http(&connection, peer, Vec::new(), LARGEST_ANSWER);
        let long = post().with("description", "x".repeat(32 << 20));
        assert_eq!(http.exchange(&long).unwrap().body, json!({}));
    }

    #[test]
    fn gives_up_a_handshake_that_nobody_waits_for_and_sends_nothing() {
        let (lines, peer, _) = client();
        let (tell, closed) = channel();
        let at = host(move |mut socket| {
            let mut hello = [0];
            socket.read_exact(&mut hello).unwrap();
            let cancel = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":1}}\n";
            lines.send(cancel).unwrap();
            // The bytes of a handshake message that never ends.
            socket.write_all(b"\x16\x03\x03\x3f\xff").unwrap();
            drip(socket);
            tell.send(()).unwrap();
        });
        let connection = connection(true, at, Check::Strict, &["ca"]);
        let http = http(&connection, peer, Vec::new(), LARGEST_ANSWER);
        let failure = http.exchange(&post()).err();
        assert!(
            matches!(failure, Some(Failure::GivenUp { sent: false })),
            "{failure:?}"
        );
        assert_eq!(http.progress(), Progress::NotSent);
        closed.recv().unwrap();
    }

    #[test]
    fn gives_up_a_handshake_that_does_not_end() {
        let host = Host::plain(vec![vec![Hold]]);
        let mut connection = connection(true, host.at, Check::Strict, &["ca"]);
        connection.timeout = Duration::from_millis(50);
        let text = not_sent(call(&connection));
        assert_holds(&text, &["no TLS handshake within 0.05 s", "PROXMOX_PORT"]);
    }

    #[test]
    fn says_that_the_port_does_not_speak_tls() {
        let host = Host::plain(vec![vec![Say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Hold]]);
        let text = not_sent(call(&connection(true, host.at, Check::Strict, &["ca"])));
        assert_holds(&text, &["its answer is not TLS", "PROXMOX_PORT"]);
        let host = Host::plain(vec![vec![]]);
        let text = not_sent(call(&connection(true, host.at, Check::Strict, &["ca"])));
        assert_holds(&text, &["closed the connection during the TLS handshake"]);
    }

    #[test]
    fn says_that_the_port_wants_https() {
        for host in [
            Host::tls("server", vec![vec![ok("{}")]]),
            Host::plain(vec![vec![raw("")]]),
        ] {
            let text = maybe_processed(call(&connection(false, host.at, Check::Strict, &[])));
            assert_holds(&text, &["PROXMOX_HOST says http://", "try https://"]);
        }
    }

    #[test]
    fn says_which_step_failed_in_the_headline() {
        let refused = connection(true, nowhere(), Check::Strict, &["ca"]);
        let mut unknown = connection(true, nowhere(), Check::Strict, &["ca"]);
        unknown.hosts[0].name = format!("{}.invalid", "p".repeat(64));
        let host = Host::tls("server", vec![vec![ok("{}")]]);
        let untrusted = connection(true, host.at, Check::Strict, &[]);
        for (connection, expected) in [
            (
                &refused,
                format!("cannot reach 127.0.0.2:{}", refused.hosts[0].port),
            ),
            (
                &unknown,
                format!(
                    "there is no address for the host name {}",
                    unknown.hosts[0].name
                ),
            ),
            (
                &untrusted,
                format!("the certificate of {} is not trusted", host.at),
            ),
        ] {
            let failure = call(connection).err().unwrap();
            let text = Error::unanswered(&post(), failure).to_string();
            let headline = format!("❌ Error: {expected}, {} was not sent\n\n", post());
            assert!(text.starts_with(&headline), "{text}");
        }
    }

    #[test]
    fn refuses_a_token_that_is_invalid_in_a_header() {
        let mut connection = connection(false, nowhere(), Check::Strict, &[]);
        connection.token_secret = Secret::new(format!("{SECRET}\n"));
        let text = not_sent(call(&connection));
        assert!(!text.contains(SECRET));
        assert_holds(&text, &["PROXMOX_TOKEN_NAME"]);
    }

    #[test]
    fn gives_up_a_read_that_nobody_waits_for() {
        let host = Host::plain(vec![vec![Hold]]);
        let connection = connection(false, host.at, Check::Strict, &[]);
        let http = http(&connection, cancelled(), Vec::new(), LARGEST_ANSWER);
        let failure = http.exchange(&Request::new(Method::Get, "/nodes")).err();
        assert!(
            matches!(failure, Some(Failure::GivenUp { .. })),
            "{failure:?}"
        );
    }

    #[test]
    fn refuses_an_invalid_host_name() {
        let mut connection = connection(true, nowhere(), Check::Strict, &[]);
        connection.hosts[0].name = "pve 1".to_owned();
        assert_holds(&not_sent(call(&connection)), &["PROXMOX_HOST"]);
    }
}
