//! The checks of one host: its name, its port, its certificate.

use std::time::{Duration, SystemTime};

use crate::check::report::Report;
use crate::check::{NAME, TCP, TLS, exported};
use crate::pve::probe::{NoConnection, Presented, Probe};
use crate::settings::Host;
use crate::text;

/// How long before a certificate expires the check begins to warn.
const LEAST_VALIDITY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Reports whether a host can be reached and is trusted, and returns true if both hold.
pub(super) fn reach(report: &mut Report, probe: &Probe) -> bool {
    let host = probe.host;
    match probe.addresses() {
        Ok(addresses) => {
            let mut addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            addresses.dedup();
            report.ok(
                NAME,
                match addresses.join(", ") {
                    address if address == host.name => format!("{address} is an address"),
                    addresses => format!("{} is {addresses}", host.name),
                },
            );
        }
        Err(fault) => {
            unreachable(report, NAME, fault);
            report.skipped(TCP, format!("{host}: needs an address"));
            report.skipped(TLS, format!("{host}: needs an address"));
            return false;
        }
    }
    let socket = match probe.connect() {
        Ok(socket) => socket,
        Err(fault) => {
            unreachable(report, TCP, fault);
            report.skipped(TLS, format!("{host}: needs a connection"));
            return false;
        }
    };
    report.ok(TCP, format!("{host} accepts connections"));
    if !host.tls {
        report.ok(
            TLS,
            format!("{host}: not used, plain http:// to this machine"),
        );
        return true;
    }
    match probe.certificate(&socket) {
        Ok(presented) => trusted(report, host, &presented),
        Err(fault) => {
            unreachable(report, TLS, fault);
            false
        }
    }
}

/// Reports a check that failed because there is no connection.
fn unreachable(report: &mut Report, check: &'static str, fault: NoConnection) {
    report.failed(
        check,
        format!("{}: {}", fault.what, fault.cause),
        fault.remedy,
    );
}

/// Reports the certificate and what each mode makes of it, and returns true if the settings accept it.
fn trusted(report: &mut Report, host: &Host, presented: &Presented) -> bool {
    let set = presented.opinions.iter().find(|opinion| opinion.is_set);
    let refusal = set.and_then(|opinion| opinion.refusal.as_ref());
    let mut lines = match &presented.certificate {
        Some(read) => {
            let names = match read.names.join(", ") {
                names if names.is_empty() => "no names".to_owned(),
                names => format!("for {names}"),
            };
            vec![
                format!("subject {}, issuer {}", read.subject, read.issuer),
                format!("valid {} to {}, {names}", read.not_before, read.not_after),
            ]
        }
        None => vec!["a certificate that cannot be read".to_owned()],
    };
    lines.push(format!("SHA-256 {}", presented.fingerprint));
    let modes = presented.opinions.iter().map(|opinion| {
        let mode = opinion.mode;
        let set = if opinion.is_set { " (in use)" } else { "" };
        match &opinion.refusal {
            None if opinion.tolerated => format!("{mode}{set} accepts it despite its issuer"),
            None => format!("{mode}{set} accepts it"),
            Some(reason) => format!("{mode}{set} rejects it: {}", reason.why),
        }
    });
    lines.extend(modes);
    let lines = lines.join("\n");
    let pin = format!(
        "To accept only this certificate, compare its fingerprint on the node:\n  \
         openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem\n\
         (pveproxy-ssl.pem if that exists), and if they match, set:\n  {}",
        presented.line_to_set
    );
    if let Some(reason) = refusal {
        let headline = format!("{host}: the certificate is not trusted: {}", reason.why);
        let advice = reason.remedies.iter().map(|remedy| {
            if remedy.copies_ca() {
                format!(
                    "{remedy}:\n  scp root@{}:/etc/pve/pve-root-ca.pem .{}{}\n",
                    match host.name.contains(':') {
                        true => format!("[{}]", host.name),
                        false => host.name.clone(),
                    },
                    if cfg!(windows) { "; " } else { " && " },
                    exported("PROXMOX_CA_FILE=$PWD/pve-root-ca.pem", cfg!(windows))
                )
            } else {
                format!("{remedy}.\n")
            }
        });
        let advice: String = advice.collect();
        report.failed(
            TLS,
            format!("{headline}\n{lines}"),
            format!("{advice}{pin}"),
        );
        return false;
    }
    let tolerates = set.is_some_and(|opinion| opinion.tolerated);
    let checks_nothing = set.is_some_and(|opinion| opinion.mode == "insecure");
    let soon = SystemTime::now() + LEAST_VALIDITY;
    let soon = soon
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or_else(|_| String::new(), |since| text::time(since.as_secs()));
    // As text, dates of this form sort by time.
    let expiry = presented.certificate.as_ref().map(|read| &read.not_after);
    let expires_soon = expiry.is_some_and(|expiry| *expiry < soon);
    if checks_nothing {
        report.warning(
            TLS,
            format!(
                "{host}: not checked, so anyone on the network path can read the token\n{lines}"
            ),
            pin,
        );
    } else if tolerates {
        report.warning(
            TLS,
            format!("{host}: from an unknown issuer, as an attacker's would be\n{lines}"),
            pin,
        );
    } else if expires_soon {
        let expiry = expiry.map_or("?", |expiry| expiry);
        report.warning(
            TLS,
            format!("{host}: the certificate expires {expiry}\n{lines}"),
            "Renew it on the node:\n  pvecm updatecerts --force\nor, if it comes from ACME:\n  \
             pvenode acme cert renew",
        );
    } else {
        report.ok(TLS, format!("{host}: trusted\n{lines}"));
    }
    true
}
