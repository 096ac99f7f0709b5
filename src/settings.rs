//! What the user set: flags and variables, read once and checked together.

use std::fmt;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

/// Everything the user set.
pub(crate) struct Settings {
    /// How to reach the cluster, or every reason why that is not known, each naming its setting.
    pub(crate) connection: Result<Connection, Vec<String>>,
    /// Whether elevated tools may be called.
    pub(crate) allow_elevated: bool,
}

/// How to reach the cluster.
pub(crate) struct Connection {
    /// Whether to speak TLS; plain HTTP is for loopback alone.
    pub(crate) tls: bool,
    /// A name or an address; an IPv6 address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `user@realm!name`
    pub(crate) token_id: String,
    pub(crate) token_secret: Secret,
    pub(crate) trust: Trust,
    /// How long an answer may take.
    pub(crate) timeout: Duration,
}

/// Which server certificates are accepted.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    pub(crate) check: Check,
    /// The certificates of `PROXMOX_CA_FILE`.
    pub(crate) listed: Vec<CertificateDer<'static>>,
}

/// What is asked of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Nothing but possession of its key.
    Insecure,
    /// The SHA-256 fingerprint, and nothing else.
    Pin([u8; 32]),
    /// Chain to a trusted root, name, dates.
    Strict,
    /// As strict, but an unknown issuer is tolerated.
    Verify,
}

/// A text that is never shown.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one header that carries it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
