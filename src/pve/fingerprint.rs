//! Shows the certificates that hosts present, for a person to compare and pin.

use crate::error::Error;
use crate::mcp::connection::Peer;
use crate::pve::certificate::Certificate;
use crate::pve::connector::{HostConnector, NoConnection, Seen};
use crate::pve::hosts::LONGEST_CONNECT;
use crate::pve::trust;
use crate::settings::Host;

/// Connects to each host without a token. Returns the certificates, their fingerprints and the line that pins
/// them, if any host presents one, and why the other hosts do not.
pub(crate) fn show(hosts: &[Host]) -> (Option<String>, Vec<Error>) {
    let mut text = String::new();
    let mut fingerprints = Vec::new();
    let mut failures = Vec::new();
    for host in hosts {
        let looked = look(host).map_err(|error| failures.push(error));
        let (seen, fingerprint) = looked.unwrap_or_default();
        text.push_str(&seen);
        // An empty entry leaves its host to the SSL mode.
        fingerprints.push(fingerprint);
    }
    if text.is_empty() {
        return (None, failures);
    }
    text.push_str(
        "Anyone between here and the host could have presented another one. If on the node\n  \
         openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem\n\
         (pveproxy-ssl.pem where that exists) shows the same fingerprint, set:\n\
         PROXMOX_FINGERPRINT=",
    );
    text.push_str(&fingerprints.join(","));
    text.push('\n');
    (Some(text), failures)
}

/// Returns a description of the certificate that a host presents, and its fingerprint.
fn look(host: &Host) -> Result<(String, String), Error> {
    if !host.tls {
        return Err(Error::impossible(
            format!("{host} has no certificate"),
            "http:// is plain HTTP.",
        )
        .hint("Give the host with https:// in PROXMOX_HOST."));
    }
    let connector = HostConnector::new(host, Peer::none(), Vec::new(), Seen::default());
    let certificate = connector.certificate(LONGEST_CONNECT).map_err(failure)?;
    let fingerprint = trust::fingerprint(&trust::sha256(&certificate));
    let seen = match Certificate::read(&certificate) {
        Some(read) => format!(
            "subject:  {}\nissuer:   {}\nvalid:    {} to {}\nnames:    {}\n",
            read.subject,
            read.issuer,
            read.not_before,
            read.not_after,
            match &*read.names {
                [] => "none".to_owned(),
                names => names.join(", "),
            }
        ),
        None => "It cannot be parsed; only its fingerprint is known.\n".to_owned(),
    };
    let seen =
        format!("{host} presents this certificate, unchecked:\n{seen}SHA-256:  {fingerprint}\n\n");
    Ok((seen, fingerprint))
}

fn failure(
    NoConnection {
        what,
        cause,
        remedy,
    }: NoConnection,
) -> Error {
    Error::impossible(what, cause).hint(remedy)
}
