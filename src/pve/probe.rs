//! A look at one host on the way to its API, step by step, with nothing of HTTP sent.

use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

pub(crate) use crate::pve::connector::NoConnection;
pub(crate) use crate::pve::trust::sha256;

use crate::pve::certificate::Certificate;
use crate::pve::connector::HostConnector;
use crate::pve::hosts::longest_connect;
use crate::pve::trust::{self, Opinion};
use crate::settings::Host;

/// One host of a connection.
pub(crate) struct Probe<'a> {
    pub(crate) host: &'a Host,
    connector: HostConnector,
    limit: Duration,
}

/// What a host presents.
pub(crate) struct Presented {
    /// `None` where it cannot be read.
    pub(crate) certificate: Option<Certificate>,
    /// SHA-256, `AA:BB:…`.
    pub(crate) fingerprint: String,
    /// What each way of checking says of it.
    pub(crate) opinions: Vec<Opinion>,
    /// The setting that accepts this certificate alone.
    pub(crate) line_to_set: String,
}

impl<'a> Probe<'a> {
    /// Each of `hosts` hosts gets its share of the time; no step takes longer than `timeout`.
    pub(crate) fn new(host: &'a Host, hosts: usize, timeout: Duration) -> Self {
        Self {
            host,
            connector: HostConnector::trusting_any(host),
            limit: longest_connect(hosts).min(timeout),
        }
    }

    /// The addresses of its name.
    pub(crate) fn addresses(&self) -> Result<Vec<IpAddr>, NoConnection> {
        let found = self.connector.addresses()?;
        Ok(found.iter().map(|address| address.ip()).collect())
    }

    /// Connects to the first of the addresses that takes it.
    pub(crate) fn connect(&self) -> Result<TcpStream, NoConnection> {
        let addresses = self.connector.addresses()?;
        let deadline = Instant::now() + self.limit;
        self.connector.dial(&addresses, deadline, self.limit)
    }

    /// Shakes hands and looks at the certificate, whatever it is.
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
