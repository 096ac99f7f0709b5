//! Checks the way to one host step by step, up to its certificate, without sending HTTP.

use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

pub(crate) use crate::pve::connector::NoConnection;
pub(crate) use crate::pve::trust::sha256;

use crate::pve::certificate::Certificate;
use crate::pve::connector::HostConnector;
use crate::pve::hosts::longest_connect;
use crate::pve::trust::{self, Opinion};
use crate::settings::Host;

/// A probe of one host.
pub(crate) struct Probe<'a> {
    pub(crate) host: &'a Host,
    connector: HostConnector,
    limit: Duration,
}

/// What a host presents.
pub(crate) struct Presented {
    /// `None` if it cannot be parsed.
    pub(crate) certificate: Option<Certificate>,
    /// SHA-256, `AA:BB:…`.
    pub(crate) fingerprint: String,
    /// The verdict of each SSL mode.
    pub(crate) opinions: Vec<Opinion>,
    /// The setting that accepts only this certificate.
    pub(crate) line_to_set: String,
}

impl<'a> Probe<'a> {
    /// Creates a probe. With several hosts, each gets its share of the time, and no step takes longer than
    /// `timeout`.
    pub(crate) fn new(host: &'a Host, hosts: usize, timeout: Duration) -> Self {
        Self {
            host,
            connector: HostConnector::trusting_any(host),
            limit: longest_connect(hosts).min(timeout),
        }
    }

    /// Resolves the name of the host.
    pub(crate) fn addresses(&self) -> Result<Vec<IpAddr>, NoConnection> {
        let found = self.connector.addresses()?;
        Ok(found.iter().map(|address| address.ip()).collect())
    }

    /// Connects to the first address that accepts.
    pub(crate) fn connect(&self) -> Result<TcpStream, NoConnection> {
        let addresses = self.connector.addresses()?;
        let deadline = Instant::now() + self.limit;
        self.connector.dial(&addresses, deadline, self.limit)
    }

    /// Performs the TLS handshake and returns the certificate, trusted or not.
    pub(crate) fn certificate(&self, socket: &TcpStream) -> Result<Presented, NoConnection> {
        let presented = self.connector.certificates(socket, self.limit)?;
        let name = self.connector.server_name()?;
        let leaf = presented
            .first()
            .expect("a server that was verified has presented a certificate");
        Ok(Presented {
            certificate: Certificate::read(leaf),
            fingerprint: trust::fingerprint(&sha256(leaf)),
            opinions: trust::opinions(self.host, &trust::system_bundles(), &presented, &name),
            line_to_set: trust::line_to_set(&self.host.trust, leaf),
        })
    }
}
