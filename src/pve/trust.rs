//! Decides which server certificates are trusted, and explains a refusal.

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Once, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use crate::pve::certificate::Certificate;
use crate::pve::connector::NoConnection;
use crate::settings::{Check, Host, Trust};

/// Where distributions keep the CA certificates that the system trusts.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why no CA is trusted where there is no bundle. What Windows trusts is in its registry, which only its own
/// functions read.
const NO_ROOTS: &str = match cfg!(windows) {
    true => "the CA certificates of Windows are in no file that could be read",
    false => "this machine has no CA certificates",
};

/// Returns where the system's CA bundle may be, `SSL_CERT_FILE` first, as OpenSSL looks.
pub(super) fn system_bundles() -> Vec<PathBuf> {
    let own = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty());
    own.map(PathBuf::from)
        .into_iter()
        .chain(BUNDLES.iter().map(PathBuf::from))
        .collect()
}

/// Returns the TLS configuration for one server.
///
/// A resumed session is not verified again, so hosts with different trust settings never share one.
pub(super) fn client_config(host: &Host, bundles: &[PathBuf]) -> Arc<ClientConfig> {
    let roots = match host.trust.check {
        Check::Strict | Check::Verify => Roots::new(&host.trust, bundles),
        Check::Pin(_) | Check::Insecure => Roots::default(),
    };
    let provider = Arc::new(default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let verifier = Verifier::new(host, Arc::new(roots), algorithms);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the suites of the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Arc::new(config)
}

/// The trusted issuers: those in `PROXMOX_CA_FILE`, and the system's.
#[derive(Default)]
struct Roots {
    listed: Vec<CertificateDer<'static>>,
    bundles: Vec<PathBuf>,
    of_file: OnceLock<RootCertStore>,
    /// Loaded only if the file's are not enough: reading the system's takes milliseconds, and memory.
    all: OnceLock<RootCertStore>,
}

impl Roots {
    fn new(trust: &Trust, bundles: &[PathBuf]) -> Self {
        Self {
            listed: trust.listed.clone(),
            bundles: bundles.to_vec(),
            ..Self::default()
        }
    }

    fn of_file(&self) -> &RootCertStore {
        self.of_file.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(self.listed.iter().cloned());
            roots
        })
    }

    fn all(&self) -> &RootCertStore {
        self.all.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(system_certificates(&self.bundles));
            roots.extend(self.of_file().roots.iter().cloned());
            roots
        })
    }
}

/// The verdict of one mode on a certificate.
pub(crate) struct Opinion {
    /// `strict`, `verify` or `insecure`; `fingerprint` for a pin.
    pub(crate) mode: &'static str,
    /// Whether this mode is the one in use.
    pub(crate) is_set: bool,
    /// Whether the certificate is accepted although its issuer is unknown.
    pub(crate) tolerated: bool,
    /// Why it is refused, if it is.
    pub(crate) refusal: Option<Reason>,
}

/// Why a certificate is refused.
pub(crate) struct Reason {
    /// Everything that is wrong with the certificate, as a phrase.
    pub(crate) why: String,
    /// The ways out other than pinning; all of them are needed. Empty if pinning is the only one.
    pub(crate) remedies: Vec<Remedy>,
}

/// A way to fix a refused certificate other than pinning it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Trust the cluster's own CA, its issuer.
    TrustCa,
    /// Replace the trusted CA by the newer one of the same name.
    TrustNewCa,
    /// Trust this certificate, which no CA issued.
    TrustCertificate,
    /// Use a host name that the certificate covers.
    RenameHost,
    /// Renew it.
    Renew,
    /// Issue a new one.
    Replace,
}

impl Remedy {
    /// Returns whether it takes a copy of the cluster's CA.
    pub(crate) fn copies_ca(self) -> bool {
        matches!(self, Remedy::TrustCa | Remedy::TrustNewCa)
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Remedy::TrustCa => "Set PROXMOX_CA_FILE to a copy of a node's /etc/pve/pve-root-ca.pem",
            Remedy::TrustNewCa => {
                "Set PROXMOX_CA_FILE to a new copy of a node's /etc/pve/pve-root-ca.pem"
            }
            Remedy::TrustCertificate => {
                "Set PROXMOX_CA_FILE to a copy of this certificate, taken from the node"
            }
            Remedy::RenameHost => "Set PROXMOX_HOST to a name that it has",
            Remedy::Renew => {
                "Renew it on the node (pvecm updatecerts --force, or pvenode acme cert renew) and \
                 check the clocks"
            }
            Remedy::Replace => "Make a new one on the node (pvecm updatecerts --force)",
        })
    }
}

/// Returns the verdict of each mode on the certificates that a host presented, its own first.
pub(super) fn opinions(
    host: &Host,
    bundles: &[PathBuf],
    presented: &[CertificateDer<'_>],
    name: &ServerName<'_>,
) -> Vec<Opinion> {
    let Some((leaf, chain)) = presented.split_first() else {
        return Vec::new();
    };
    let roots = Arc::new(Roots::new(&host.trust, bundles));
    let algorithms = default_provider().signature_verification_algorithms;
    let set = host.trust.check;
    let modes = [Check::Strict, Check::Verify, Check::Insecure];
    let pin = Some(set).filter(|check| matches!(check, Check::Pin(_)));
    let opinions = modes.into_iter().chain(pin).map(|check| {
        let mut host = host.clone();
        host.trust.check = check;
        let verifier = Verifier::new(&host, roots.clone(), algorithms);
        let outcome = verifier.check(leaf, chain, name, UnixTime::now());
        Opinion {
            mode: match check {
                Check::Strict => "strict",
                Check::Verify => "verify",
                Check::Insecure => "insecure",
                Check::Pin(_) => "fingerprint",
            },
            is_set: check == set,
            tolerated: matches!(outcome, Ok(Accepted::Tolerated)),
            refusal: outcome
                .err()
                .map(|refusals| verifier.reason(leaf, &refusals)),
        }
    });
    opinions.collect()
}

/// Returns the certificates of the first bundle that has any.
fn system_certificates(bundles: &[PathBuf]) -> Vec<CertificateDer<'static>> {
    for path in bundles {
        let read = std::fs::read(path).map_err(|err| (err.kind(), err.to_string()));
        let certificates = read.and_then(|pem| {
            let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
            all.map_err(|err| (ErrorKind::InvalidData, err.to_string()))
        });
        match certificates {
            Ok(certificates) if certificates.is_empty() => {}
            Ok(certificates) => return certificates,
            Err((ErrorKind::NotFound, _)) => {}
            Err((_, err)) => log::warn!("{}: {err}", path.display()),
        }
    }
    Vec::new()
}

/// Formats the SHA-256 of a certificate as openssl and Proxmox do: `AA:BB:…`.
pub(crate) fn fingerprint(bytes: &[u8; 32]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

/// Returns the setting that pins this certificate for its host and keeps the pins of the other hosts.
pub(super) fn line_to_set(trust: &Trust, leaf: &CertificateDer<'_>) -> String {
    let mut pins = trust.pins.clone();
    pins[trust.place] = Some(sha256(leaf));
    let pins = pins.iter().map(|pin| pin.as_ref().map(fingerprint));
    let entries: Vec<String> = pins.map(Option::unwrap_or_default).collect();
    format!("PROXMOX_FINGERPRINT={}", entries.join(","))
}

/// Computes a SHA-256 with the hash of one of rustls' cipher suites, which saves a crate.
pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    let suite = cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
    let hash = suite.expect("a suite of TLS 1.3").common.hash_provider;
    let hash = hash.hash(data);
    hash.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

struct Verifier {
    host: Host,
    roots: Arc<Roots>,
    algorithms: WebPkiSupportedAlgorithms,
    warned: Once,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({:?})", self.host.trust.check)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.check(leaf, chain, name, now) {
            Ok(Accepted::Trusted) => {}
            Ok(Accepted::Tolerated) => self.warned.call_once(|| {
                log::warn!(
                    "{}: unknown issuer, tolerated by PROXMOX_SSL_MODE=verify, which does not \
                     rule out an active attacker. To accept this certificate alone, compare it on \
                     the node and set:\n{}",
                    self.host,
                    line_to_set(&self.host.trust, leaf)
                );
            }),
            Err(refusals) => return Err(self.rejection(leaf, &refusals)),
        }
        Ok(ServerCertVerified::assertion())
    }

    // In every mode the server has to prove that it holds the certificate's private key: a fingerprint
    // proves nothing without that.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
            .map_err(|err| self.unproven(leaf, &err))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
            .map_err(|err| self.unproven(leaf, &err))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl Verifier {
    fn new(host: &Host, roots: Arc<Roots>, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self {
            host: host.clone(),
            roots,
            algorithms,
            warned: Once::new(),
        }
    }

    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<Accepted, Vec<Refusal>> {
        let trust = &self.host.trust;
        let tolerant = match trust.check {
            Check::Insecure => return Ok(Accepted::Trusted),
            Check::Pin(pinned) if pinned == sha256(leaf) => return Ok(Accepted::Trusted),
            Check::Pin(pinned) => return Err(vec![Refusal::NotPinned(pinned)]),
            Check::Strict => false,
            Check::Verify => true,
        };
        let server = ParsedCertificate::try_from(leaf).map_err(|err| vec![err.into()])?;
        let name = verify_server_name(&server, name);
        let issuer = self.check_issuer(leaf, &server, chain, tolerant, now);
        match (issuer, name) {
            (Ok(accepted), Ok(())) => Ok(accepted),
            (issuer, name) => {
                let name = name.err().map(Refusal::from);
                Err(issuer.err().into_iter().chain(name).collect())
            }
        }
    }

    /// Checks everything but the name.
    fn check_issuer(
        &self,
        leaf: &CertificateDer<'_>,
        server: &ParsedCertificate<'_>,
        chain: &[CertificateDer<'_>],
        tolerant: bool,
        now: UnixTime,
    ) -> Result<Accepted, Refusal> {
        if self.host.trust.listed.contains(leaf) {
            return Ok(Accepted::Trusted);
        }
        let path = |roots, chain| {
            let all = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(server, roots, chain, now, all)
        };
        if path(self.roots.of_file(), chain).is_ok() {
            return Ok(Accepted::Trusted);
        }
        if self.roots.all().is_empty() && !tolerant {
            return Err(Refusal::NoRoots);
        }
        match path(self.roots.all(), chain) {
            Ok(()) => Ok(Accepted::Trusted),
            // webpki looks for an issuer last, so the issuer is all that is missing.
            Err(err) if tolerant && is(&err, &CertificateError::UnknownIssuer) => {
                Ok(Accepted::Tolerated)
            }
            // It has checked the dates by then. The certificate's own signature is not verified: anyone who
            // can make such a certificate can sign it.
            Err(err) if tolerant && is_lone_ca(&err, leaf) => Ok(Accepted::Tolerated),
            Err(err) => {
                // Without roots and chain, a sound certificate fails for its unknown issuer alone.
                let alone = path(&RootCertStore::empty(), &[]);
                let in_order = alone.is_err_and(|err| is(&err, &CertificateError::UnknownIssuer));
                Err(match err {
                    Error::InvalidCertificate(
                        CertificateError::ExpiredContext { .. }
                        | CertificateError::NotValidYetContext { .. },
                    ) if in_order => Refusal::ChainOutOfDate,
                    err => err.into(),
                })
            }
        }
    }

    fn rejection(&self, leaf: &CertificateDer<'_>, refusals: &[Refusal]) -> Error {
        let Reason { why, remedies } = self.reason(leaf, refusals);
        let pin = format!(
            "if on the node `openssl x509 -noout -fingerprint -sha256 -in \
             /etc/pve/local/pve-ssl.pem` (pveproxy-ssl.pem where that exists) shows the \
             same fingerprint, set:\n{}",
            line_to_set(&self.host.trust, leaf)
        );
        let remedy = match &*remedies {
            [] => format!("Only {pin}"),
            // `verify` only helps where the issuer is the whole problem.
            [Remedy::TrustCa] if self.host.trust.may_tolerate => format!(
                "{}. Or {pin}\n\
                 (PROXMOX_SSL_MODE=verify tolerates any issuer, an active attacker's too.)",
                Remedy::TrustCa
            ),
            remedies => {
                let remedies: Vec<String> = remedies.iter().map(Remedy::to_string).collect();
                format!("{}. Or {pin}", remedies.join(". "))
            }
        };
        self.error(leaf, &why, remedy)
    }

    /// Explains why the certificate is refused, and how to fix that other than by pinning it.
    fn reason(&self, leaf: &CertificateDer<'_>, refusals: &[Refusal]) -> Reason {
        let faults = refusals.iter().map(|refusal| self.fault(leaf, refusal));
        let (whys, remedies): (Vec<String>, Vec<Option<Remedy>>) = faults.unzip();
        Reason {
            why: whys.join(", and "),
            remedies: remedies.into_iter().flatten().collect(),
        }
    }

    /// Explains one refusal, and how to fix it if there is a way other than pinning.
    fn fault(&self, leaf: &CertificateDer<'_>, refusal: &Refusal) -> (String, Option<Remedy>) {
        let read = Certificate::read(leaf);
        let read = read.as_ref();
        let date = |get: fn(&Certificate) -> &String| read.map_or("?", |read| get(read));
        let (why, remedy) = match refusal {
            Refusal::NotPinned(pinned) => {
                let pinned = fingerprint(pinned);
                return (
                    format!("it does not match PROXMOX_FINGERPRINT, {pinned}"),
                    None,
                );
            }
            Refusal::NoRoots => (
                format!("{NO_ROOTS}, and PROXMOX_CA_FILE names none"),
                Remedy::TrustCa,
            ),
            Refusal::ChainOutOfDate => (
                "a certificate of its chain is out of date".to_owned(),
                Remedy::Renew,
            ),
            Refusal::Rustls(err) if is_lone_ca(err, leaf) => (
                "unknown issuer, it is a self-signed CA".to_owned(),
                Remedy::TrustCertificate,
            ),
            Refusal::Rustls(Error::InvalidCertificate(err)) => match err {
                CertificateError::UnknownIssuer if read.is_some_and(|read| read.self_issued) => (
                    "unknown issuer, it is self-signed".to_owned(),
                    Remedy::TrustCertificate,
                ),
                CertificateError::UnknownIssuer => ("unknown issuer".to_owned(), Remedy::TrustCa),
                CertificateError::BadSignature => (
                    "its issuer has the name of a trusted CA, but another key".to_owned(),
                    Remedy::TrustNewCa,
                ),
                CertificateError::ExpiredContext { .. } => {
                    let since = date(|read| &read.not_after);
                    (format!("expired since {since}"), Remedy::Renew)
                }
                CertificateError::NotValidYetContext { .. } => {
                    let until = date(|read| &read.not_before);
                    (format!("not yet valid, until {until}"), Remedy::Renew)
                }
                CertificateError::NotValidForNameContext { .. } => {
                    let names = read.map(|read| read.names.join(", ")).unwrap_or_default();
                    let names = if names.is_empty() { "none" } else { &names };
                    (
                        format!("wrong name: asked for {}, it has {names}", self.host.name),
                        Remedy::RenameHost,
                    )
                }
                err => (phrase(err), Remedy::Replace),
            },
            Refusal::Rustls(err) => (err.to_string(), Remedy::Replace),
        };
        (why, Some(remedy))
    }

    /// Explains a handshake signature that was not made with the certificate's key, or that cannot be checked.
    fn unproven(&self, leaf: &CertificateDer<'_>, err: &Error) -> Error {
        match err {
            Error::InvalidCertificate(CertificateError::BadSignature) => self.error(
                leaf,
                "the server does not hold the certificate's private key",
                "Someone may stand between this machine and the node.".to_owned(),
            ),
            err => {
                let why = match err {
                    Error::InvalidCertificate(err) => phrase(err),
                    err => err.to_string(),
                };
                self.error(
                    leaf,
                    &format!("whether the server holds its private key cannot be checked: {why}"),
                    "X.509 v1 and unusual kinds of keys are accepted in no mode: make a new \
                     certificate on the node (pvecm updatecerts --force)."
                        .to_owned(),
                )
            }
        }
    }

    fn error(&self, leaf: &CertificateDer<'_>, what: &str, remedy: String) -> Error {
        let seen = match Certificate::read(leaf) {
            Some(read) => format!(
                "subject {}; issuer {}; valid {} to {}",
                read.subject, read.issuer, read.not_before, read.not_after
            ),
            None => "unreadable".to_owned(),
        };
        let cause = format!(
            "{what}.\nIt is: {seen}; SHA-256 {}",
            fingerprint(&sha256(leaf))
        );
        let error = Arc::new(NoConnection {
            what: format!("the certificate of {} is not trusted", self.host),
            cause,
            remedy,
        });
        CertificateError::Other(OtherError(error)).into()
    }
}

/// How a certificate is accepted.
enum Accepted {
    Trusted,
    /// Although its issuer is unknown.
    Tolerated,
}

/// One reason not to trust a certificate.
enum Refusal {
    NotPinned([u8; 32]),
    NoRoots,
    ChainOutOfDate,
    Rustls(Error),
}

impl From<Error> for Refusal {
    fn from(err: Error) -> Self {
        Refusal::Rustls(err)
    }
}

fn is(err: &Error, wanted: &CertificateError) -> bool {
    matches!(err, Error::InvalidCertificate(err) if err == wanted)
}

/// Returns the text of an error without the `Other(OtherError(..))` around it.
fn phrase(err: &CertificateError) -> String {
    match err {
        CertificateError::Other(OtherError(inner)) => inner.to_string(),
        err => err.to_string(),
    }
}

/// Returns whether the only fault is that a self-issued certificate calls itself a CA, as those made by
/// `openssl req -x509` do. webpki's error type is not reachable from here, only its text.
fn is_lone_ca(err: &Error, leaf: &CertificateDer<'_>) -> bool {
    matches!(err, Error::InvalidCertificate(err) if phrase(err) == "CaUsedAsEndEntity")
        && Certificate::read(leaf).is_some_and(|read| read.self_issued)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn path(name: &str) -> PathBuf {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tls");
        PathBuf::from(folder).join(name)
    }

    fn certificate(name: &str) -> CertificateDer<'static> {
        let pem = fs::read(path(name)).expect("it is a fixture");
        CertificateDer::from_pem_slice(&pem).expect("it is PEM")
    }

    /// Checks the certificate in `leaf` while the system trusts `ca.pem` and `PROXMOX_CA_FILE` has `listed`.
    /// Returns whether it is trusted, and whether the system's certificates were read.
    fn check(check: Check, listed: &[&str], leaf: &str) -> (bool, bool) {
        let host = Host {
            tls: true,
            name: "localhost".to_owned(),
            port: 8006,
            trust: Trust {
                check,
                listed: listed.iter().map(|name| certificate(name)).collect(),
                pins: vec![None],
                place: 0,
                may_tolerate: true,
            },
        };
        let roots = Arc::new(Roots::new(&host.trust, &[path("ca.pem")]));
        let algorithms = default_provider().signature_verification_algorithms;
        let verifier = Verifier::new(&host, roots.clone(), algorithms);
        let name = ServerName::try_from("localhost").expect("it is a name");
        let outcome = verifier.check(&certificate(leaf), &[], &name, UnixTime::now());
        let is_trusted = matches!(outcome, Ok(Accepted::Trusted));
        (is_trusted, roots.all.get().is_some())
    }

    #[test]
    fn the_certificates_of_the_system_are_read_only_where_they_are_needed() {
        assert_eq!(
            check(Check::Strict, &["ca.pem"], "server.pem"),
            (true, false)
        );
        assert_eq!(check(Check::Strict, &[], "server.pem"), (true, true));
        let other = ["alone-ca.pem"];
        assert_eq!(check(Check::Strict, &other, "server.pem"), (true, true));
        let pin = Check::Pin(sha256(&certificate("server.pem")));
        assert_eq!(check(pin, &[], "server.pem"), (true, false));
        assert_eq!(check(Check::Insecure, &[], "alone.pem"), (true, false));
    }
}
