//! How ureq reaches the host: TCP, TLS by rustls, and what ureq itself does not report.
//!
//! ureq's own connectors accept no verifier or fingerprint, drop the reason phrase, and resolve names in a
//! thread whenever a timeout covers that.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, OtherError};
use ureq::Timeout;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use crate::mcp::connection::{INPUT_INTERVAL, Peer};
use crate::pve::trust;
use crate::settings::{Check, Host};

/// How long a read or write may block, and the least time between two polls of the client. Together they take
/// at most [`INPUT_INTERVAL`].
const PACE: Duration = Duration::from_millis(INPUT_INTERVAL.as_millis() as u64 / 2);

/// Status lines are kept up to this length.
const LONGEST_STATUS_LINE: usize = 4096;

/// How long connecting by TCP may take; the client is not polled meanwhile. A lost packet is sent again after
/// 1 s and 3 s.
const LONGEST_DIAL: Duration = Duration::from_secs(5);

/// Why connecting failed; nothing was sent.
#[derive(Clone, Debug)]
pub(crate) struct NoConnection {
    /// What failed, with the host's name.
    pub(crate) what: String,
    pub(crate) cause: String,
    pub(crate) remedy: String,
}

impl fmt::Display for NoConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for NoConnection {}

impl From<NoConnection> for ureq::Error {
    fn from(none: NoConnection) -> Self {
        ureq::Error::Other(Box::new(none))
    }
}

/// What the connection has observed of the current exchange.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Exchange>>);

pub(super) struct Exchange {
    /// Whether the request changes nothing.
    only_reads: bool,
    /// When the whole answer must have arrived.
    deadline: Instant,
    /// When the client is polled next.
    next_poll: Instant,
    /// Whether the client no longer wants the answer.
    pub(super) given_up: bool,
    /// Whether any byte of the request was sent.
    pub(super) sent: bool,
    /// Whether the whole request may have been sent. An upload sets this with its last bytes: Proxmox does
    /// not process an incomplete one.
    pub(super) is_whole: bool,
    /// Whether the connection turned out to be closed before any byte was sent.
    pub(super) was_stale: bool,
    /// The status line, once it is complete.
    pub(super) status_line: Vec<u8>,
    complete: bool,
    /// The addresses of both ends of the connection, this machine's first.
    pub(super) ends: Option<(IpAddr, SocketAddr)>,
}

impl Seen {
    /// Begins another exchange on the same connection.
    pub(super) fn begin(&self, only_reads: bool, deadline: Instant) {
        let mut exchange = self.lock();
        let ends = exchange.ends;
        *exchange = Exchange {
            ends,
            ..Exchange::new(only_reads, deadline)
        };
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Exchange> {
        self.0.lock().expect("nothing panics while it holds this")
    }
}

impl Default for Exchange {
    /// Sets a distant deadline: probes have limits of their own.
    fn default() -> Self {
        Self::new(true, Instant::now() + Duration::from_secs(24 * 60 * 60))
    }
}

impl Exchange {
    fn new(only_reads: bool, deadline: Instant) -> Self {
        let now = Instant::now();
        Self {
            only_reads,
            deadline,
            // The client was polled right before a read; a change may have waited for its audit record since.
            next_poll: match only_reads {
                true => now + PACE,
                false => now,
            },
            given_up: false,
            sent: false,
            is_whole: true,
            was_stale: false,
            status_line: Vec::new(),
            complete: false,
            ends: None,
        }
    }

    /// Returns whether the host may have acted on the request.
    pub(super) fn may_be_processed(&self) -> bool {
        self.sent && self.is_whole
    }

    /// Returns how long the answer may still take.
    #[cfg(test)]
    pub(super) fn left(&self) -> Duration {
        left(self.deadline)
    }

    /// Moves the deadline while a file is transferred.
    pub(super) fn extend(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Polls the client; returns an error if the exchange is to be abandoned. A cancellation does not abandon
    /// a change that was sent, since its result is logged.
    fn poll_client(&mut self, peer: &Peer) -> io::Result<()> {
        self.next_poll = Instant::now() + PACE;
        self.given_up = peer.abandons_request(self.only_reads || !self.may_be_processed());
        match self.given_up {
            true => Err(io::Error::other("given up")),
            false => Ok(()),
        }
    }

    /// Collects bytes of the answer until the first line is complete.
    pub(super) fn note(&mut self, input: &[u8]) {
        if self.complete {
            return;
        }
        let line = input.split(|byte| *byte == b'\n').next().unwrap_or(input);
        self.complete = line.len() < input.len();
        let room = LONGEST_STATUS_LINE.saturating_sub(self.status_line.len());
        self.status_line
            .extend_from_slice(&line[..line.len().min(room)]);
    }
}

/// Connects to one host.
pub(super) struct HostConnector {
    host: Host,
    bundles: Vec<PathBuf>,
    /// Created by the first connection, since reading the system's certificates takes milliseconds.
    config: OnceLock<Arc<ClientConfig>>,
    seen: Seen,
    peer: Peer,
}

impl fmt::Debug for HostConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostConnector({})", self.host)
    }
}

impl HostConnector {
    pub(super) fn new(host: &Host, peer: Peer, bundles: Vec<PathBuf>, seen: Seen) -> Self {
        Self {
            host: host.clone(),
            bundles,
            config: OnceLock::new(),
            seen,
            peer,
        }
    }

    /// Creates a connector that accepts any certificate, to inspect it; never send anything secret over it.
    pub(super) fn trusting_any(host: &Host) -> Self {
        let mut host = host.clone();
        host.trust.check = Check::Insecure;
        Self::new(&host, Peer::none(), Vec::new(), Seen::default())
    }

    /// Resolves the name on this thread; only resolv.conf limits how long that takes.
    pub(super) fn addresses(&self) -> Result<Vec<SocketAddr>, NoConnection> {
        let host = &self.host.name;
        let no_address = |why: String| NoConnection {
            what: format!("there is no address for the host name {host}"),
            cause: why,
            remedy: "Check PROXMOX_HOST and this machine's DNS, or give the node's IP address in \
                     PROXMOX_HOST."
                .to_owned(),
        };
        let found = (host.as_str(), self.host.port).to_socket_addrs();
        let found: Vec<_> = found.map_err(|err| no_address(err.to_string()))?.collect();
        if found.is_empty() {
            return Err(no_address("the lookup found none".to_owned()));
        }
        if let Some(far) = found
            .iter()
            .find(|at| !at.ip().to_canonical().is_loopback())
            && !self.host.tls
        {
            return Err(NoConnection {
                what: format!("{host} is not this machine"),
                cause: format!(
                    "http:// to {} would show the token on the network",
                    far.ip()
                ),
                remedy: "Use https:// in PROXMOX_HOST; http:// is for loopback addresses only."
                    .to_owned(),
            });
        }
        Ok(found)
    }

    /// Connects to the first address that accepts. Neither this nor the name resolution can be interrupted.
    pub(super) fn dial(
        &self,
        addresses: &[SocketAddr],
        deadline: Instant,
        limit: Duration,
    ) -> Result<TcpStream, NoConnection> {
        let limit = limit.min(LONGEST_DIAL);
        let deadline = deadline.min(Instant::now() + limit);
        let mut failed = None;
        for (index, address) in addresses.iter().enumerate() {
            // Each address gets a share of the time, lest one that swallows packets takes all of it.
            let rest = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
            let share = (left(deadline) / rest).max(Duration::from_millis(1));
            let socket = TcpStream::connect_timeout(address, share);
            match socket.and_then(|socket| socket.set_nodelay(true).map(|()| socket)) {
                Ok(socket) => {
                    let own = socket.local_addr().ok();
                    self.seen.lock().ends = own.map(|own| (own.ip().to_canonical(), *address));
                    return Ok(socket);
                }
                Err(err) => failed = Some((address, err)),
            }
        }
        let (address, err) = failed.expect("there is at least one address");
        let (what, remedy) = match err.kind() {
            ErrorKind::ConnectionRefused => (
                "connection refused".to_owned(),
                "Check PROXMOX_HOST and PROXMOX_PORT, whether pveproxy runs on the node \
                 (systemctl status pveproxy), and the firewall.",
            ),
            ErrorKind::TimedOut => (
                format!("no connection within {} s", limit.as_secs_f32()),
                "Check PROXMOX_HOST and PROXMOX_PORT, whether the node is up, and the firewall.",
            ),
            _ => (
                err.to_string(),
                "Check PROXMOX_HOST, PROXMOX_PORT and the network.",
            ),
        };
        Err(NoConnection {
            what: format!("cannot reach {}", self.host),
            cause: if address.ip().to_string() == self.host.name {
                what
            } else {
                format!("{what} (at {})", address.ip())
            },
            remedy: remedy.to_owned(),
        })
    }

    /// Returns the error for a handshake that failed.
    fn tls_failure(&self, err: &io::Error, limit: Duration) -> NoConnection {
        let tls = err.get_ref().and_then(|err| err.downcast_ref());
        if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner)))) =
            tls
            && let Some(rejection) = inner.downcast_ref::<NoConnection>()
        {
            return rejection.clone();
        }
        let what = match (tls, err.kind()) {
            (Some(rustls::Error::InvalidMessage(_)), _) => "its answer is not TLS".to_owned(),
            (_, ErrorKind::TimedOut) => {
                format!("no TLS handshake within {} s", limit.as_secs_f32())
            }
            (_, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                "it closed the connection during the TLS handshake".to_owned()
            }
            _ => format!("the TLS handshake failed: {err}"),
        };
        NoConnection {
            what: format!("no TLS with {}", self.host),
            cause: what,
            remedy: "Check PROXMOX_PORT: is it the port of pveproxy (8006), and does that speak \
                     HTTPS?"
                .to_owned(),
        }
    }

    fn handshake(
        &self,
        socket: &TcpStream,
        deadline: Instant,
        limit: Duration,
    ) -> Result<ClientConnection, NoConnection> {
        let name = self.server_name()?;
        let config = self
            .config
            .get_or_init(|| trust::client_config(&self.host, &self.bundles));
        let client = ClientConnection::new(config.clone(), name).map_err(io::Error::other);
        let shaken = client.and_then(|mut client| {
            client.complete_io(&mut Watched {
                socket,
                limits: &mut Limits::default(),
                deadline,
                seen: &self.seen,
                peer: &self.peer,
                carries_request: false,
            })?;
            Ok(client)
        });
        shaken.map_err(|err| self.tls_failure(&err, limit))
    }

    pub(super) fn server_name(&self) -> Result<ServerName<'static>, NoConnection> {
        ServerName::try_from(self.host.name.clone()).map_err(|err| NoConnection {
            what: format!("{:?} is not a host name", self.host.name),
            cause: err.to_string(),
            remedy: "Check PROXMOX_HOST.".to_owned(),
        })
    }

    /// Returns the certificates that the host presents, its own first, without sending HTTP.
    pub(super) fn certificates(
        &self,
        socket: &TcpStream,
        limit: Duration,
    ) -> Result<Vec<CertificateDer<'static>>, NoConnection> {
        let tls = self.handshake(socket, Instant::now() + limit, limit)?;
        let presented = tls.peer_certificates().unwrap_or_default().iter();
        Ok(presented.map(|der| der.clone().into_owned()).collect())
    }

    /// Returns the host's own certificate, trusted or not.
    pub(super) fn certificate(
        &self,
        limit: Duration,
    ) -> Result<CertificateDer<'static>, NoConnection> {
        let addresses = self.addresses()?;
        let socket = self.dial(&addresses, Instant::now() + limit, limit)?;
        let presented = self.certificates(&socket, limit)?;
        let own = presented.into_iter().next();
        Ok(own.expect("a server that was verified has presented one"))
    }

    fn connect(&self, config: &Config) -> Result<HostTransport, ureq::Error> {
        let poll = || self.seen.lock().poll_client(&self.peer);
        poll()?;
        let addresses = self.addresses()?;
        poll()?;
        let limit = config.timeouts().connect.unwrap_or_default();
        let deadline = self.seen.lock().deadline.min(Instant::now() + limit);
        let socket = self.dial(&addresses, deadline, limit)?;
        poll()?;
        let mut tls = None;
        if self.host.tls {
            if self.host.trust.check == Check::Insecure && self.config.get().is_none() {
                log::warn!(
                    "PROXMOX_SSL_MODE=insecure: the certificate of {} is not checked; \
                     anyone in between can read the token",
                    self.host
                );
            }
            tls = Some(self.handshake(&socket, deadline, limit)?);
        }
        Ok(HostTransport {
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
            socket,
            limits: Limits::default(),
            tls,
            has_just_answered: false,
            seen: self.seen.clone(),
            peer: self.peer.clone(),
        })
    }
}

impl Connector for HostConnector {
    type Out = HostTransport;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<HostTransport>, ureq::Error> {
        self.connect(details.config).map(Some)
    }
}

/// Resolves nothing: ureq would resolve names before every request, even on an open connection, so the
/// connector resolves them when it connects.
#[derive(Debug)]
pub(super) struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

/// The time limits in effect on a socket: setting one takes a system call, so only changes are applied.
#[derive(Default)]
struct Limits {
    read: Duration,
    write: Duration,
}

/// A socket with a deadline, which polls the client while it waits.
struct Watched<'a> {
    socket: &'a TcpStream,
    limits: &'a mut Limits,
    deadline: Instant,
    seen: &'a Seen,
    peer: &'a Peer,
    /// Whether it carries requests rather than a handshake, whose bytes do not count as sent.
    carries_request: bool,
}

impl Watched<'_> {
    /// Repeats a bounded operation until it completes, the deadline passes or the client gives up.
    fn persist<T>(
        &mut self,
        mut act: impl FnMut(&TcpStream, &mut Limits, Duration) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            let mut exchange = self.seen.lock();
            if exchange.next_poll <= Instant::now() {
                exchange.poll_client(self.peer)?;
            }
            drop(exchange);
            let left = left(self.deadline);
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            // The same each time until the deadline is near, so that it rarely has to be set; never zero.
            let wait = left.min(PACE).max(Duration::from_millis(1));
            match act(self.socket, self.limits, wait) {
                // A socket timeout is reported as `WouldBlock` on Unix.
                Err(err)
                    if matches!(
                        err.kind(),
                        ErrorKind::Interrupted | ErrorKind::TimedOut | ErrorKind::WouldBlock
                    ) => {}
                outcome => return outcome,
            }
        }
    }
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.persist(|mut socket, limits, wait| {
            if limits.read != wait {
                socket.set_read_timeout(Some(wait))?;
                limits.read = wait;
            }
            socket.read(buffer)
        })
    }
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.persist(|mut socket, limits, wait| {
            if limits.write != wait {
                socket.set_write_timeout(Some(wait))?;
                limits.write = wait;
            }
            socket.write(bytes)
        })?;
        self.seen.lock().sent |= self.carries_request && written > 0;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The connection that ureq uses.
pub(super) struct HostTransport {
    buffers: LazyBuffers,
    socket: TcpStream,
    limits: Limits,
    tls: Option<ClientConnection>,
    /// Whether part of an answer arrived and nothing has happened since.
    has_just_answered: bool,
    seen: Seen,
    peer: Peer,
}

impl fmt::Debug for HostTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostTransport")
    }
}

impl HostTransport {
    /// Reads the next part of the answer.
    fn take_in(&mut self) -> io::Result<usize> {
        let buffer = self.buffers.input_append_buf();
        let mut socket = watched(&self.socket, &mut self.limits, &self.seen, &self.peer);
        let read = match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls, &mut socket).read(buffer),
            None => socket.read(buffer),
        }?;
        self.seen.lock().note(&buffer[..read]);
        self.buffers.input_appended(read);
        Ok(read)
    }
}

impl Transport for HostTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        let out = &self.buffers.output()[..amount];
        let mut socket = watched(&self.socket, &mut self.limits, &self.seen, &self.peer);
        let done = match &mut self.tls {
            Some(tls) => {
                let mut stream = rustls::Stream::new(tls, &mut socket);
                stream.write_all(out).and_then(|()| stream.flush())
            }
            None => socket.write_all(out),
        };
        let Err(err) = done else {
            return Ok(());
        };
        let mut exchange = self.seen.lock();
        exchange.was_stale = !exchange.sent && is_gone(&err);
        let is_refused = exchange.sent && !exchange.is_whole && is_gone(&err);
        drop(exchange);
        // A host that refuses an upload says why before it closes the connection.
        if is_refused {
            let _ = self.take_in();
        }
        Err(interrupted(err, Timeout::SendRequest))
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        let read = self.take_in();
        let read = read.map_err(|err| interrupted(err, Timeout::RecvResponse))?;
        self.has_just_answered = read > 0;
        Ok(read > 0)
    }

    /// Returns whether the connection can be used again. ureq asks twice: after an answer, whether to keep
    /// the connection, and before the next request. Only the second time matters.
    fn is_open(&mut self) -> bool {
        if mem::take(&mut self.has_just_answered) {
            return true;
        }
        let socket = &self.socket;
        let idle = socket.set_nonblocking(true).is_ok()
            && matches!(socket.peek(&mut [0]), Err(err) if err.kind() == ErrorKind::WouldBlock);
        idle && socket.set_nonblocking(false).is_ok()
            && self.tls.as_ref().is_none_or(|tls| tls.wants_read())
    }

    fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
}

/// Returns the socket of a connection, watched during an exchange.
fn watched<'a>(
    socket: &'a TcpStream,
    limits: &'a mut Limits,
    seen: &'a Seen,
    peer: &'a Peer,
) -> Watched<'a> {
    Watched {
        socket,
        limits,
        deadline: seen.lock().deadline,
        seen,
        peer,
        carries_request: true,
    }
}

/// Returns whether the other side has closed the connection.
fn is_gone(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::NotConnected
    )
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn interrupted(err: io::Error, phase: Timeout) -> ureq::Error {
    match err.kind() {
        ErrorKind::TimedOut => ureq::Error::Timeout(phase),
        _ => ureq::Error::Io(err),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener};

    use super::*;

    /// Returns a connection to a host on loopback, and the host's end of it.
    fn connected() -> (HostTransport, TcpStream) {
        let host = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = host.local_addr().expect("it is bound");
        let socket = TcpStream::connect(address).expect("the host listens");
        let transport = HostTransport {
            buffers: LazyBuffers::new(64, 64),
            socket,
            limits: Limits::default(),
            tls: None,
            has_just_answered: false,
            seen: Seen::default(),
            peer: Peer::none(),
        };
        let (host, _) = host.accept().expect("it is connected");
        (transport, host)
    }

    #[test]
    fn does_not_reuse_a_connection_that_was_closed_after_its_answer() {
        let (mut transport, mut host) = connected();
        host.write_all(b"HTTP/1.1 200 OK").expect("it is read");
        assert!(matches!(
            transport.await_input(NextTimeout::default()),
            Ok(true)
        ));
        drop(host);
        // Reading it shows that the connection's end has arrived.
        let read = transport.socket.peek(&mut [0]);
        assert_eq!(read.expect("the limit is not reached"), 0);
        assert!(
            transport.is_open(),
            "the first check right after an answer does not count"
        );
        assert!(!transport.is_open());
    }

    #[test]
    fn does_not_reuse_a_connection_with_unexpected_data() {
        let (mut transport, mut host) = connected();
        assert!(transport.is_open());
        host.write_all(b"?").expect("it is read");
        transport.socket.peek(&mut [0]).expect("it arrives");
        assert!(!transport.is_open());
    }

    #[test]
    fn sets_a_limit_of_the_socket_only_if_it_changes() {
        let (mut transport, mut host) = connected();
        transport.seen.begin(true, Instant::now() + PACE * 100);
        host.write_all(b"HTTP").expect("it is read");
        let read = transport.await_input(NextTimeout::default());
        assert!(matches!(read, Ok(true)));
        assert_eq!(transport.limits.read, PACE);
        let limit = transport.socket.read_timeout().expect("it can be read");
        assert!(limit.is_some_and(|limit| limit >= PACE));
        // Near the deadline, no read may outlast it.
        let left = Duration::from_millis(20);
        transport.seen.begin(true, Instant::now() + left);
        let read = transport.await_input(NextTimeout::default());
        assert!(matches!(read, Err(ureq::Error::Timeout(_))));
        assert!(transport.limits.read <= left);
    }

    #[test]
    fn recognises_a_connection_that_was_closed_before_anything_was_sent() {
        let (mut transport, _host) = connected();
        let shut = transport.socket.shutdown(Shutdown::Write);
        shut.expect("it is connected");
        transport.buffers().output()[..4].copy_from_slice(b"POST");
        transport
            .transmit_output(4, NextTimeout::default())
            .expect_err("nobody can write to it");
        let exchange = transport.seen.lock();
        assert!(exchange.was_stale && !exchange.sent);
    }
}
