//! The certificate that a host presents, for a person to compare and to pin.

use crate::error::Error;
use crate::pve::certificate::Certificate;
use crate::pve::connector::{HostConnector, NoConnection};
use crate::pve::http::{Failure, LONGEST_CONNECT};
use crate::pve::trust;
use crate::settings::Endpoint;

/// Connects without a token and shows the certificate, its fingerprint and the line that pins it.
pub(crate) fn show(endpoint: &Endpoint) -> Result<String, Error> {
    let server = trust::server(&endpoint.host, endpoint.port);
    if !endpoint.tls {
        return Err(Error::impossible(
            format!("{server} has no certificate"),
            "http:// is plain HTTP.\nGive the host with https:// in PROXMOX_HOST.",
        ));
    }
    let connector = HostConnector::trusting_any(endpoint);
    let certificate = connector
        .certificate(LONGEST_CONNECT.min(endpoint.timeout))
        .map_err(failure)?;
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
        None => "It cannot be read; only its fingerprint is known.\n".to_owned(),
    };
    Ok(format!(
        "{server} presents this certificate, unchecked:\n\
         {seen}\
         SHA-256:  {fingerprint}\n\
         \n\
         Whoever sits in between could have shown another one. If on the node\n  \
         openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem\n\
         (pveproxy-ssl.pem where that exists) shows the same fingerprint, set:\n\
         PROXMOX_FINGERPRINT={fingerprint}\n"
    ))
}

fn failure(
    NoConnection {
        what,
        cause,
        remedy,
    }: NoConnection,
) -> Error {
    Error::Unanswered {
        request: "the token".to_owned(),
        failure: Failure::NotSent {
            what,
            cause,
            remedy,
        },
    }
}
