//! The way to one host: its name, its port, its certificate.

use std::time::{Duration, SystemTime};

use crate::check::report::Report;
use crate::check::{NAME, TCP, TLS};
use crate::pve::probe::{NoConnection, Presented, Probe};
use crate::settings::Host;
use crate::text;

/// How long before its end that of a certificate is worth a warning.
const LEAST_VALIDITY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Whether a host can be reached and is trusted.
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
    report.ok(TCP, format!("{host} takes connections"));
    if !host.tls {
        report.ok(
            TLS,
            format!("{host}: none, plain http:// within this machine"),
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

fn unreachable(report: &mut Report, check: &'static str, fault: NoConnection) {
    report.failed(
        check,
        format!("{}: {}", fault.what, fault.cause),
        fault.remedy,
    );
}

/// Whether the certificate is accepted as set.
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
            None if opinion.tolerated => format!("{mode}{set} takes it, tolerating its issuer"),
            None => format!("{mode}{set} takes it"),
            Some(reason) => format!("{mode}{set} refuses it: {}", reason.why),
        }
    });
    lines.extend(modes);
    let lines = lines.join("\n");
    let pin = format!(
        "To take this certificate alone, compare its fingerprint on the node:\n  \
         openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem\n\
         (pveproxy-ssl.pem where that exists), and if it is the same, set:\n  {}",
        presented.line_to_set
    );
    if let Some(reason) = refusal {
        let headline = format!("{host}: the certificate is not trusted, {}", reason.why);
        let advice = reason.remedies.iter().map(|advice| {
            if advice.ends_with("/etc/pve/pve-root-ca.pem") {
                format!(
                    "{advice}:\n  scp root@{}:/etc/pve/pve-root-ca.pem . && export \
                     PROXMOX_CA_FILE=$PWD/pve-root-ca.pem\n",
                    match host.name.contains(':') {
                        true => format!("[{}]", host.name),
                        false => host.name.clone(),
                    }
                )
            } else {
                format!("{advice}.\n")
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
    // Dates of this form are in the order of their texts.
    let ends = presented.certificate.as_ref().map(|read| &read.not_after);
    let ends_soon = ends.is_some_and(|ends| *ends < soon);
    if checks_nothing {
        report.warning(
            TLS,
            format!("{host}: not checked, whoever sits in between can read the token\n{lines}"),
            pin,
        );
    } else if tolerates {
        report.warning(
            TLS,
            format!("{host}: of an unknown issuer, which an attacker's would be, too\n{lines}"),
            pin,
        );
    } else if ends_soon {
        let ends = ends.map_or("?", |ends| ends);
        report.warning(
            TLS,
            format!("{host}: the certificate ends {ends}\n{lines}"),
            "Renew it on the node:\n  pvecm updatecerts --force\nor, where it comes from ACME:\n  \
             pvenode acme cert renew",
        );
    } else {
        report.ok(TLS, format!("{host}: trusted\n{lines}"));
    }
    true
}
