//! The hosts: lists of addresses, ports and fingerprints, separated by commas.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustls::pki_types::DnsName;

use crate::settings::{
    self, CA_FILE, Check, FINGERPRINT, HOST, PORT, Reader, SSL_MODE, Setting, Trust, USER,
};
use crate::text::list;

/// The maximum number of hosts: with more, too little time would be left to connect to each.
const MOST: usize = 16;

/// A node of the cluster that requests can be sent to.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// Whether to use TLS; plain HTTP is only allowed for loopback.
    pub(crate) tls: bool,
    /// A name or an address; an IPv6 address without brackets.
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) trust: Trust,
}

impl Host {
    /// Returns the hosts and how each is trusted, even if the token is missing; none if one of their settings
    /// is invalid.
    pub(crate) fn all(
        flags: &[(&'static Setting, OsString)],
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Vec<Self> {
        let mut reader = Reader::new(flags, &environment);
        let hosts = reader.hosts();
        let hosts = hosts.filter(|_| reader.problems.is_empty());
        hosts.unwrap_or_default()
    }

    /// Returns the same host as the login reaches it: its certificate must be trusted, not only tolerated.
    pub(crate) fn for_login(&self) -> Self {
        let mut host = self.clone();
        if matches!(host.trust.check, Check::Insecure | Check::Verify) {
            host.trust.check = Check::Strict;
        }
        host.trust.may_tolerate = false;
        host
    }
}

/// The host with its port, as in a URL.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

impl Reader<'_> {
    /// Returns the hosts and how each is trusted; `None` if a setting is invalid.
    pub(super) fn hosts(&mut self) -> Option<Vec<Host>> {
        let addresses = self.read_text(&HOST, addresses);
        let ports = self.ports(addresses.as_deref());
        let mode = self.read_text(&SSL_MODE, settings::ssl_mode);
        let listed = self.read_file(&CA_FILE, settings::certificates);
        let pins = self.pins(addresses.as_ref().map(Vec::len));
        let (mode, pins, listed) = (mode?, pins?, listed.unwrap_or_default());
        let places = addresses?.into_iter().zip(ports?).enumerate();
        let hosts = places.map(|(place, (address, port))| Host {
            tls: address.tls,
            name: address.name,
            port,
            trust: Trust {
                check: pins[place].map_or(mode, Check::Pin),
                listed: listed.clone(),
                pins: pins.clone(),
                place,
                may_tolerate: true,
            },
        });
        Some(hosts.collect())
    }

    /// Returns the hosts whose certificates to show, so none of them is verified.
    pub(super) fn unchecked_hosts(&mut self) -> Option<Vec<Host>> {
        let addresses = self.read_text(&HOST, addresses);
        let ports = self.ports(addresses.as_deref());
        let places = addresses?.into_iter().zip(ports?);
        let hosts = places.map(|(address, port)| Host {
            tls: address.tls,
            name: address.name,
            port,
            trust: Trust {
                check: Check::Insecure,
                listed: Vec::new(),
                pins: vec![None],
                place: 0,
                may_tolerate: true,
            },
        });
        Some(hosts.collect())
    }

    /// Returns the port of each host: its own, or that of the setting.
    fn ports(&mut self, addresses: Option<&[Address]>) -> Option<Vec<u16>> {
        let port = self.read_text(&PORT, settings::port);
        let addresses = addresses?;
        if let (Some(host), Some(given)) = (self.given(&HOST), self.given(&PORT))
            && port.is_some()
            && addresses.iter().all(|address| address.port.is_some())
            && addresses.iter().all(|address| address.port != port)
        {
            self.reject(format!(
                "{} and the port in {} differ: set only one of them",
                given.name, host.name
            ));
        }
        let ports = addresses.iter().map(|address| address.port.or(port));
        let ports: Vec<u16> = ports.collect::<Option<_>>()?;
        let key = |at: usize| (addresses[at].name.to_ascii_lowercase(), ports[at]);
        let twice = |later: &usize| (0..*later).any(|earlier| key(earlier) == key(*later));
        if let (Some(again), Some(host)) = ((1..ports.len()).find(twice), self.given(&HOST)) {
            self.reject(format!(
                "{} entry {} is the same host as an earlier one",
                host.name,
                again + 1
            ));
        }
        Some(ports)
    }

    /// Returns the pinned fingerprint of each host, if the number of hosts is known.
    fn pins(&mut self, hosts: Option<usize>) -> Option<Vec<Option<[u8; 32]>>> {
        let Some(given) = self.given(&FINGERPRINT) else {
            return Some(vec![None; hosts?]);
        };
        let pins = self.read_text(&FINGERPRINT, |text| list::each(text, pin))?;
        match (pins.len(), hosts?) {
            (1, hosts) => Some(vec![pins[0]; hosts]),
            (entries, hosts) if entries == hosts => Some(pins),
            (entries, hosts) => {
                self.reject(format!(
                    "{} has {entries} entries: set one for all hosts or one for each ({hosts}), which \
                     may be empty",
                    given.name
                ));
                None
            }
        }
    }
}

fn addresses(text: &str) -> Result<Vec<Address>, String> {
    let addresses = list::each(text, address)?;
    if addresses.len() > MOST {
        return Err(format!("must have at most {MOST} hosts"));
    }
    Ok(addresses)
}

/// Parses a fingerprint; an empty entry leaves its host to the SSL mode.
fn pin(text: &str) -> Result<Option<[u8; 32]>, String> {
    match text {
        "" => Ok(None),
        text => fingerprint(text).map(Some),
    }
}

/// Returns whether a list of fingerprints has an empty entry.
pub(super) fn leaves_one_out(fingerprints: &OsStr) -> bool {
    let fingerprints = fingerprints.to_string_lossy();
    fingerprints.split(',').any(|entry| entry.trim().is_empty())
}

/// A parsed entry of `PROXMOX_HOST`.
struct Address {
    tls: bool,
    name: String,
    port: Option<u16>,
}

fn address(text: &str) -> Result<Address, String> {
    const FORM: &str = "must be a host name, an IPv4 or IPv6 address, `host:port`, `[IPv6]:port` \
                        or an `https://` URL";
    if text.is_empty() {
        return Err("is empty".into());
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("contains a space or line end; it {FORM}"));
    }
    // A browser shows `https://pve1:8006/#v1:0:18:4`.
    let text = match text.split_once("/#") {
        Some((url, _)) => url,
        None => text.strip_suffix('/').unwrap_or(text),
    };
    let (tls, authority) = match text.split_once("://") {
        None => (true, text),
        Some((scheme, rest)) => {
            let tls = match scheme.to_ascii_lowercase().as_str() {
                "https" => true,
                "http" => false,
                _ => return Err(format!("has a scheme other than https; it {FORM}")),
            };
            (tls, rest)
        }
    };
    if authority.contains('@') {
        return Err(format!(
            "must have no user before the host: that belongs in {}",
            USER.variable
        ));
    }
    if authority.contains(['/', '?']) {
        return Err("must end after the host or its port: no path, no query".into());
    }
    let (name, port) = host_and_port(authority).ok_or(FORM)?;
    let port = port
        .map(settings::port)
        .transpose()
        .map_err(|problem| format!("has a port, which {problem}"))?;
    if !tls && !is_loopback(&name) {
        return Err(
            "must be an `https://` URL, since the token would be sent unencrypted: `http://` is only \
             allowed for loopback (localhost, 127.0.0.0/8, ::1)"
                .into(),
        );
    }
    Ok(Address { tls, name, port })
}

/// Splits the authority of a URL into host and port.
fn host_and_port(authority: &str) -> Option<(String, Option<&str>)> {
    if let Ok(address) = authority.parse::<Ipv6Addr>() {
        return Some((address.to_string(), None));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            let port = match rest {
                "" => None,
                _ => Some(rest.strip_prefix(':')?),
            };
            (address.parse::<Ipv6Addr>().ok()?.to_string(), port)
        }
        None => {
            let (host, port) = match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            };
            let known = host.parse::<Ipv4Addr>().is_ok() || DnsName::try_from(host).is_ok();
            (known.then(|| host.to_owned())?, port)
        }
    };
    // With more than one colon, it is a malformed IPv6 address.
    let fits = port.is_none_or(|port| !port.contains(':'));
    fits.then_some((host, port))
}

fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

fn fingerprint(text: &str) -> Result<[u8; 32], String> {
    // openssl prints `sha256 Fingerprint=AA:…`.
    let text = match text.split_once('=') {
        Some((label, rest)) if label.eq_ignore_ascii_case("sha256 fingerprint") => rest.trim(),
        _ => text,
    };
    let pairs: Vec<&[u8]> = match text.contains(':') {
        true => text.as_bytes().split(|byte| *byte == b':').collect(),
        false => text.as_bytes().chunks(2).collect(),
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes: Option<Vec<u8>> = pairs
        .iter()
        .map(|pair| match **pair {
            [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
            _ => None,
        })
        .collect();
    let problem = match bytes.map(<[u8; 32]>::try_from) {
        Some(Ok(bytes)) => return Ok(bytes),
        Some(Err(bytes)) if bytes.len() == 20 => "is a SHA-1 fingerprint, with 20 pairs".to_owned(),
        Some(Err(bytes)) => format!("has {} pairs", bytes.len()),
        None => "does not consist of pairs of hexadecimal digits".to_owned(),
    };
    Err(format!(
        "{problem}; a SHA-256 fingerprint has 32 pairs of hexadecimal digits, with or without \
         colons: `proxmox-mcp fingerprint` shows it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Problem, Settings};
    use crate::tools;

    /// Reads these settings and those that every connection needs.
    fn read(variables: &[(&str, &str)]) -> Result<Vec<Host>, Vec<Problem>> {
        let needed = [
            ("PROXMOX_TOKEN_NAME", "mcp"),
            ("PROXMOX_TOKEN_VALUE", "secret"),
        ];
        let settings = Settings::read(&tools::known(), &[], |name| {
            let mut all = variables.iter().chain(&needed);
            let (_, value) = all.find(|(variable, _)| *variable == name)?;
            Some(value.into())
        });
        settings.connection.map(|connection| connection.hosts)
    }

    #[track_caller]
    fn hosts(variables: &[(&str, &str)]) -> Vec<Host> {
        read(variables).unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    #[track_caller]
    fn problem(variables: &[(&str, &str)]) -> String {
        match read(variables) {
            Ok(hosts) => panic!("{hosts:?}"),
            Err(problems) => settings::on_one_line(&problems),
        }
    }

    #[test]
    fn accepts_several_hosts_with_and_without_a_port() {
        let list = "pve1, https://pve2:443/,[2001:db8::1] ,http://localhost:8001,2001:db8::2";
        let hosts = hosts(&[("PROXMOX_HOST", list), ("PROXMOX_PORT", "8007")]);
        let shown: Vec<String> = hosts.iter().map(Host::to_string).collect();
        assert_eq!(
            shown,
            [
                "pve1:8007",
                "pve2:443",
                "[2001:db8::1]:8007",
                "localhost:8001",
                "[2001:db8::2]:8007",
            ]
        );
        let tls: Vec<bool> = hosts.iter().map(|host| host.tls).collect();
        assert_eq!(tls, [true, true, true, false, true]);
    }

    #[test]
    fn names_the_invalid_entry() {
        for (list, expected) in [
            ("pve1,", "PROXMOX_HOST entry 2 is empty"),
            (",pve1", "PROXMOX_HOST entry 1 is empty"),
            ("pve1,,pve2", "PROXMOX_HOST entry 2 is empty"),
            (
                "pve1,pve 2",
                "PROXMOX_HOST entry 2 contains a space or line end; it must be a host name",
            ),
            ("pve1,pve2:0", "PROXMOX_HOST entry 2 has a port, which must"),
            ("pve1,http://pve2", "PROXMOX_HOST entry 2 must be an `https"),
        ] {
            let problem = problem(&[("PROXMOX_HOST", list)]);
            assert!(problem.starts_with(expected), "{list}: {problem}");
        }
    }

    #[test]
    fn rejects_duplicate_hosts_and_too_many() {
        for list in ["pve1,PVE1", "pve1,pve1:8006", "::1,https://[0::1]/"] {
            assert_eq!(
                problem(&[("PROXMOX_HOST", list)]),
                "PROXMOX_HOST entry 2 is the same host as an earlier one",
                "{list}"
            );
        }
        assert_eq!(hosts(&[("PROXMOX_HOST", "pve1,pve1:443")]).len(), 2);
        let names: Vec<String> = (0..=MOST).map(|number| format!("pve{number}")).collect();
        assert_eq!(
            hosts(&[("PROXMOX_HOST", &names[1..].join(","))]).len(),
            MOST
        );
        assert_eq!(
            problem(&[("PROXMOX_HOST", &names.join(","))]),
            "PROXMOX_HOST must have at most 16 hosts; for example: pve1.example.com"
        );
    }

    #[test]
    fn rejects_a_port_that_no_host_uses() {
        let port = |list| [("PROXMOX_HOST", list), ("PROXMOX_PORT", "8006")];
        assert_eq!(
            problem(&port("pve1:443,pve2:444")),
            "PROXMOX_PORT and the port in PROXMOX_HOST differ: set only one of them"
        );
        for list in ["pve1:443,pve2", "pve1:443,pve2:8006"] {
            assert_eq!(hosts(&port(list))[1].port, 8006, "{list}");
        }
    }

    #[test]
    fn accepts_one_fingerprint_for_all_hosts_or_one_for_each() {
        let [a, b] = ["aa".repeat(32), "bb".repeat(32)];
        let [pin_a, pin_b] = [0xaa, 0xbb].map(|byte| Check::Pin([byte; 32]));
        for (list, expected) in [
            (a.clone(), [pin_a, pin_a]),
            (format!("{a},{b}"), [pin_a, pin_b]),
            (format!(" {a} ,{b}\n"), [pin_a, pin_b]),
            (format!("sha256 Fingerprint={a},{b}"), [pin_a, pin_b]),
            (format!(",{b}"), [Check::Verify, pin_b]),
            (format!("{a},"), [pin_a, Check::Verify]),
        ] {
            let hosts = hosts(&[
                ("PROXMOX_HOST", "pve1,pve2"),
                ("PROXMOX_SSL_MODE", "verify"),
                ("PROXMOX_FINGERPRINT", &list),
            ]);
            let checks: Vec<Check> = hosts.iter().map(|host| host.trust.check).collect();
            assert_eq!(checks, expected, "{list}");
        }
        for (list, expected) in [
            (
                format!("{a},{b},{a}"),
                "PROXMOX_FINGERPRINT has 3 entries: set one for all hosts or one for each (2)",
            ),
            (
                format!("{a},{}", &b[1..]),
                "PROXMOX_FINGERPRINT entry 2 does not consist of pairs of hexadecimal digits; a SHA-256 fingerprint has 32 pairs",
            ),
        ] {
            let problem = problem(&[
                ("PROXMOX_HOST", "pve1,pve2"),
                ("PROXMOX_FINGERPRINT", &list),
            ]);
            assert!(problem.starts_with(expected), "{problem}");
        }
    }
}
